//! Signed notes (c2sp.org/signed-note): a text, and under it the lines of those who signed it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Malformed, base64, decimal, merkle::sha256};

/// The longest note that is read: a checkpoint with more cosignatures than anybody collects.
pub const NOTE_OCTETS_MAX: usize = 64 * 1024;

/// How many signatures of a note are read; the format asks for 16 at least.
pub const SIGNATURES_MAX: usize = 64;

/// The longest name of a key.
pub const NAME_OCTETS_MAX: usize = 255;

/// What begins a line with a signature.
const DASH: &str = "\u{2014} ";

/// What a key signs with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519 over the note's text.
    Ed25519,
    /// A witness's Ed25519 over the time and a checkpoint's text (c2sp.org/tlog-cosignature).
    Cosignature,
}

impl KeyKind {
    fn octet(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A name with the public key that verifies what is signed under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: [u8; 32],
}

impl VerifierKey {
    /// Names a key.
    ///
    /// # Errors
    /// When the name is empty, too long, or holds a space or a plus sign.
    pub fn new(name: impl Into<String>, kind: KeyKind, key: [u8; 32]) -> Result<Self, Malformed> {
        let name = name.into();
        if !is_name(&name) {
            return Err(Malformed("it is no name of a key"));
        }
        Ok(Self { name, kind, key })
    }

    /// Reads a key as it is handed out: `NAME+ID+KEY`.
    ///
    /// # Errors
    /// When it is not of that form, not of a kind that is known, or its parts do not fit together.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Malformed("a key is written NAME+ID+KEY"));
        };
        let octets = STANDARD
            .decode(key)
            .map_err(|_| Malformed("the key's last part is not base64"))?;
        let (kind, key) = match octets.split_first() {
            Some((0x01, key)) => (KeyKind::Ed25519, key),
            Some((0x04, key)) => (KeyKind::Cosignature, key),
            _ => return Err(Malformed("the key is of a kind that is not known here")),
        };
        let key = key.try_into().map_err(|_| Malformed("an Ed25519 key has 32 octets"))?;
        let found = Self::new(name, kind, key)?;
        if id != hex(found.id()) {
            return Err(Malformed("the key's ID does not fit its name and its key"));
        }
        Ok(found)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the same key under another name or for another kind of signature.
    ///
    /// # Errors
    /// As for [`VerifierKey::new`].
    pub fn renamed(&self, name: &str, kind: KeyKind) -> Result<Self, Malformed> {
        Self::new(name, kind, self.key)
    }

    /// Returns what it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the key's ID: which of the keys of that name it is.
    pub fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[self.kind.octet()], &self.key]);
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Writes the line of a signature by this key.
    pub fn line(&self, signature: &[u8]) -> SignatureLine {
        SignatureLine {
            name: self.name.clone(),
            id: self.id(),
            signature: signature.to_vec(),
        }
    }

    /// Tells whether a line claims to be by this key.
    pub fn claims(&self, line: &SignatureLine) -> bool {
        line.name == self.name && line.id == self.id()
    }

    /// Tells whether a line is a good signature by this key under a text, which ends with a line feed.
    pub fn verify(&self, text: &str, line: &SignatureLine) -> bool {
        if !self.claims(line) {
            return false;
        }
        match self.kind {
            KeyKind::Ed25519 => verify_ed25519(&self.key, text.as_bytes(), &line.signature),
            KeyKind::Cosignature => match cosigned(&line.signature) {
                Some((time, signature)) => {
                    verify_ed25519(&self.key, cosignature_message(time, text).as_bytes(), signature)
                }
                None => false,
            },
        }
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut octets = vec![self.kind.octet()];
        octets.extend(self.key);
        write!(f, "{}+{}+{}", self.name, hex(self.id()), base64(&octets))
    }
}

/// Returns what a witness signs: the time, in seconds since 1970, and a checkpoint's text.
pub fn cosignature_message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Takes a cosignature apart: when it was made, and the signature itself.
pub fn cosigned(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = signature.split_first_chunk()?;
    let time = u64::from_be_bytes(*time);
    (time <= i64::MAX.unsigned_abs() && signature.len() == 64).then_some((time, signature))
}

fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else {
        return false;
    };
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

/// A line with a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name of whoever signed.
    pub name: String,
    /// Which of his keys.
    pub id: [u8; 4],
    /// The signature, as that key's kind has it.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Reads a line, without its line feed.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let bad = Malformed("a line of a signature is a dash, a name and base64");
        let (name, encoded) = line
            .strip_prefix(DASH)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| bad.clone())?;
        let octets = STANDARD.decode(encoded).map_err(|_| bad.clone())?;
        match octets.split_first_chunk() {
            Some((id, signature)) if is_name(name) && !signature.is_empty() => Ok(Self {
                name: name.to_owned(),
                id: *id,
                signature: signature.to_vec(),
            }),
            _ => Err(bad),
        }
    }
}

impl std::fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut octets = self.id.to_vec();
        octets.extend(&self.signature);
        write!(f, "{DASH}{} {}", self.name, base64(&octets))
    }
}

/// A text and its signatures, none of them verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last line feed.
    pub text: String,
    /// Who says that he signed it.
    pub signatures: Vec<SignatureLine>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// When it is too long, holds control characters, or has no signatures where they belong.
    pub fn parse(note: &str) -> Result<Self, Malformed> {
        if note.len() > NOTE_OCTETS_MAX {
            return Err(Malformed("the note is too long"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(Malformed("the note holds control characters"));
        }
        let (text, lines) = note
            .rfind("\n\n")
            .map(|at| (&note[..=at], &note[at + 2..]))
            .ok_or(Malformed("no empty line divides the note's text from its signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(Malformed("the note's last line does not end"))?;
        let signatures = lines
            .split('\n')
            .map(SignatureLine::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(Malformed("the note has too many signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// Tells whether a key has signed: one good line by it, and no bad one.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let mut claimed = self.signatures.iter().filter(|line| key.claims(line)).peekable();
        claimed.peek().is_some() && claimed.all(|line| key.verify(&self.text, line))
    }

    /// Returns the times at which a witness has cosigned.
    pub fn cosigned_at(&self, witness: &VerifierKey) -> Option<u64> {
        let good = self.signatures.iter().filter(|line| witness.verify(&self.text, line));
        good.filter_map(|line| cosigned(&line.signature))
            .map(|(time, _)| time)
            .max()
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_OCTETS_MAX).contains(&name.len());
    fits && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn hex(octets: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(octets))
}

/// Reads a size as a witness answers it: a number and a line feed.
pub fn size_answer(text: &str) -> Option<u64> {
    decimal(text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    /// The example of Go's golang.org/x/mod/sumdb/note, where the format comes from.
    const KNOWN_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const KNOWN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_known_note_is_signed_by_its_known_key() {
        let key = VerifierKey::parse(KNOWN_KEY).unwrap();
        assert_eq!(key.to_string(), KNOWN_KEY);
        let note = Note::parse(KNOWN_NOTE).unwrap();
        assert!(note.is_signed_by(&key));
        assert_eq!(note.to_string(), KNOWN_NOTE);
    }

    #[test]
    fn no_octet_of_a_note_can_be_another() {
        let key = VerifierKey::parse(KNOWN_KEY).unwrap();
        for at in 0..KNOWN_NOTE.len() {
            let mut octets = KNOWN_NOTE.as_bytes().to_vec();
            octets[at] ^= 1;
            let good = String::from_utf8(octets)
                .ok()
                .and_then(|text| Note::parse(&text).ok())
                .is_some_and(|note| note.is_signed_by(&key));
            assert!(!good, "octet {at}");
        }
    }

    #[test]
    fn a_cosignature_is_over_the_time_and_the_text() {
        let signing = SigningKey::from_bytes(&[5; 32]);
        let key = signing.verifying_key().to_bytes();
        let witness = VerifierKey::new("witness.example/w1", KeyKind::Cosignature, key).unwrap();
        let log = VerifierKey::new("witness.example/w1", KeyKind::Ed25519, key).unwrap();
        assert_ne!(witness.id(), log.id(), "the kind is part of the ID");
        let text = "log.example\n1\nAAAA\n";
        let message = cosignature_message(1_679_315_147, text);
        assert_eq!(message, "cosignature/v1\ntime 1679315147\nlog.example\n1\nAAAA\n");
        let mut signature = 1_679_315_147_u64.to_be_bytes().to_vec();
        signature.extend(signing.sign(message.as_bytes()).to_bytes());
        let line = witness.line(&signature);
        assert!(witness.verify(text, &line));
        assert!(!log.verify(text, &line));
        let mut later = signature.clone();
        later[7] += 1;
        assert!(!witness.verify(text, &witness.line(&later)));
        let note = Note {
            text: text.to_owned(),
            signatures: vec![line],
        };
        assert_eq!(note.cosigned_at(&witness), Some(1_679_315_147));
    }

    #[test]
    fn what_is_no_key_or_no_note_is_refused() {
        for key in [
            "",
            "a",
            "a+b",
            "a b+c74f20a3+AQ==",
            "a+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(VerifierKey::parse(key).is_err(), "{key}");
        }
        let line = "\u{2014} a AAAAAAA=\n";
        for note in [
            "",
            "text\n",
            "text\n\n",
            &format!("text\n{line}"),
            &format!("te\rxt\n\n{line}"),
        ] {
            assert!(Note::parse(note).is_err(), "{note:?}");
        }
        let many = format!("text\n\n{}", line.repeat(SIGNATURES_MAX + 1));
        assert!(Note::parse(&many).is_err());
    }
}
