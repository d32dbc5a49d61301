//! Proofs (c2sp.org/tlog-proof): an entry's place, the hashes that lead from it to the root, and the checkpoint.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Malformed, base64, decimal, hash,
    merkle::{Hash, PROOF_HASHES_MAX},
    note::NOTE_OCTETS_MAX,
};

/// The first line.
const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof that is read.
pub const PROOF_OCTETS_MAX: usize = NOTE_OCTETS_MAX + 8 * 1024;

/// A proof that an entry is in a log, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What else is needed to know the entry; whoever reads it must not believe it.
    pub extra: Option<Vec<u8>>,
    /// The entry's place, from 0.
    pub index: u64,
    /// The hashes from the entry's neighbour up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, as the log gave it.
    pub checkpoint: String,
}

impl Proof {
    /// Reads a proof.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > PROOF_OCTETS_MAX {
            return Err(Malformed("the proof is too long"));
        }
        let (lines, checkpoint) = text
            .split_once("\n\n")
            .ok_or(Malformed("the proof holds no checkpoint"))?;
        let mut lines = lines.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return Err(Malformed("it is no proof of a log, or of a later version"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(encoded) => {
                let decoded = STANDARD.decode(encoded);
                lines.next();
                Some(decoded.map_err(|_| Malformed("the proof's extra data is not base64"))?)
            }
            None => None,
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(Malformed("the proof does not say the entry's place"))?;
        let hashes = lines
            .map(hash)
            .collect::<Option<Vec<_>>>()
            .filter(|hashes| hashes.len() <= PROOF_HASHES_MAX)
            .ok_or(Malformed("a line of the proof is not a hash, or there are too many"))?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEAD}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes
            .iter()
            .try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Reads the hashes of a consistency proof: one a line.
///
/// # Errors
/// When a line is no hash, or there are too many.
pub fn parse_hashes(text: &str) -> Result<Vec<Hash>, Malformed> {
    let hashes: Option<Vec<Hash>> = text.lines().take(PROOF_HASHES_MAX + 1).map(hash).collect();
    hashes
        .filter(|hashes| hashes.len() <= PROOF_HASHES_MAX)
        .ok_or(Malformed("a line of the proof is not a hash, or there are too many"))
}

/// Writes the hashes of a consistency proof: one a line.
pub fn write_hashes(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| base64(hash) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_read() {
        let text = "c2sp.org/tlog-proof@v1\nextra AQID\nindex 73894\n\
            gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\nlog\n1\nroot\n\n\u{2014} log AAAAAAA=\n";
        let proof = Proof::parse(text).unwrap();
        assert_eq!((proof.index, proof.hashes.len()), (73_894, 1));
        assert_eq!(proof.extra.as_deref(), Some(&[1, 2, 3][..]));
        assert!(proof.checkpoint.starts_with("log\n1\n"));
        assert_eq!(proof.to_string(), text);
        let bare = Proof {
            extra: None,
            hashes: Vec::new(),
            ..proof
        };
        assert_eq!(Proof::parse(&bare.to_string()).unwrap(), bare);
    }

    #[test]
    fn refuses_what_is_none() {
        let hash = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n".repeat(PROOF_HASHES_MAX + 1);
        for text in [
            String::new(),
            "c2sp.org/tlog-proof@v2\nindex 1\n\nlog\n".to_owned(),
            "c2sp.org/tlog-proof@v1\n\nlog\n".to_owned(),
            "c2sp.org/tlog-proof@v1\nindex 01\n\nlog\n".to_owned(),
            "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nlog\n".to_owned(),
            "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nlog\n".to_owned(),
            format!("c2sp.org/tlog-proof@v1\nindex 1\n{hash}\nlog\n"),
        ] {
            assert!(Proof::parse(&text).is_err(), "{text:?}");
        }
        assert!(parse_hashes(&hash).is_err());
    }
}
