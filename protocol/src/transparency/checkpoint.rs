//! Checkpoints (c2sp.org/tlog-checkpoint): what a log says about itself at one size.

use super::{
    Malformed, base64, decimal, hash,
    merkle::Hash,
    note::{Note, VerifierKey},
};

/// A log's name, size and root hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text that is signed. Lines after the third are allowed, and say nothing here.
    ///
    /// # Errors
    /// When a line is missing or is not what belongs there.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let lines = text
            .strip_suffix('\n')
            .ok_or(Malformed("the checkpoint's text does not end with a line feed"))?;
        let mut lines = lines.split('\n');
        let origin = lines
            .next()
            .filter(|origin| !origin.is_empty())
            .ok_or(Malformed("the checkpoint does not name its log"))?;
        let size = lines
            .next()
            .and_then(decimal)
            .ok_or(Malformed("the checkpoint's second line is not a size"))?;
        let root = lines
            .next()
            .and_then(hash)
            .ok_or(Malformed("the checkpoint's third line is not a hash"))?;
        if lines.any(str::is_empty) {
            return Err(Malformed("the checkpoint has an empty line"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// Reads a checkpoint that a log has signed.
    ///
    /// # Errors
    /// When it is none, or not signed by this key, or about another log than the key's.
    pub fn signed(note: &str, key: &VerifierKey) -> Result<Self, Malformed> {
        let note = Note::parse(note)?;
        if !note.is_signed_by(key) {
            return Err(Malformed("the checkpoint is not signed by the log's key"));
        }
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != key.name() {
            return Err(Malformed("the checkpoint is about another log than its key"));
        }
        Ok(checkpoint)
    }

    /// Writes the text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }
}

/// Writes what a witness is asked with (c2sp.org/tlog-witness, `add-checkpoint`).
pub fn witness_request(old_size: u64, proof: &[Hash], note: &str) -> String {
    let mut request = format!("old {old_size}\n");
    for hash in proof {
        request.push_str(&base64(hash));
        request.push('\n');
    }
    request.push('\n');
    request.push_str(note);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_read() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let checkpoint = Checkpoint::parse(text).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root[0]), (20_852_163, 0x0a));
        assert_eq!(checkpoint.text(), text);
        assert!(Checkpoint::parse(&format!("{text}more\n")).is_ok());
    }

    #[test]
    fn refuses_what_is_none() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for text in [
            String::new(),
            format!("\n1\n{root}\n"),
            format!("log\n01\n{root}\n"),
            format!("log\n-1\n{root}\n"),
            format!("log\n1\n{root}"),
            "log\n1\nAAAA\n".to_owned(),
            format!("log\n1\n{root}\n\nmore\n"),
        ] {
            assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        }
    }
}
