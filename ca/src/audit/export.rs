//! An exported log: a record a line, a signed head after the record that it ends with; and how a copy is verified.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};
use sigillo_protocol::transparency::checkpoint::Checkpoint;

use super::{Fault, Verifier};
use crate::model::AuditRecord;

/// The longest line that is read: an event is far shorter.
const LINE_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// A line that is a head.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadLine {
    /// The checkpoint with its signatures.
    pub checkpoint: String,
}

/// A line that is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is not in the form in which it was written.
    #[error("line {line}: {why}")]
    Line {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A line is well formed and wrong.
    #[error("line {line}: {fault}")]
    Wrong {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The file as a whole lacks something.
    #[error("after line {line}, the last: {fault}")]
    End {
        /// The last line.
        line: u64,
        /// What is wrong.
        fault: Fault,
    },
}

/// What was found in an unbroken file.
#[derive(Debug)]
pub struct Found {
    /// The verifier at the end.
    pub verifier: Verifier,
    /// The last head in the file or beside it.
    pub head: Option<Checkpoint>,
}

/// Verifies a file line by line, and holds it against checkpoints that were kept elsewhere.
///
/// Every octet counts: a line that means the same and is written otherwise is refused too.
///
/// # Errors
/// The first line that is not what it was.
pub fn verify_lines(file: impl BufRead, mut verifier: Verifier, kept: &[String]) -> Result<Found, FileFault> {
    let mut waiting = Vec::new();
    for note in kept {
        let checkpoint = verifier
            .read_head(note)
            .map_err(|fault| FileFault::Wrong { line: 0, fault })?;
        waiting.push((checkpoint.size, note));
    }
    waiting.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut head = None;
    let mut lines = Lines { file, number: 0 };
    while let Some(text) = lines.next()? {
        let line = lines.number;
        let wrong = |fault| FileFault::Wrong { line, fault };
        if text.starts_with("{\"checkpoint\"") {
            let HeadLine { checkpoint } = exactly(&text, line)?;
            head = Some(verifier.head(&checkpoint).map_err(wrong)?);
            continue;
        }
        let record: AuditRecord = exactly(&text, line)?;
        verifier.record(&record).map_err(wrong)?;
        while let Some((_, note)) = waiting.pop_if(|(size, _)| *size == record.sequence) {
            let found = verifier.head(note).map_err(wrong)?;
            head = head.filter(|head: &Checkpoint| head.size > found.size).or(Some(found));
        }
    }
    if let Some((size, _)) = waiting.iter().find(|(size, _)| *size > 0) {
        let fault = Fault::Short {
            size: *size,
            found: verifier.chain().sequence,
        };
        return Err(FileFault::End {
            line: lines.number,
            fault,
        });
    }
    Ok(Found { verifier, head })
}

/// Reads a line, which has to be written as we write it.
fn exactly<T: Serialize + for<'de> Deserialize<'de>>(text: &str, line: u64) -> Result<T, FileFault> {
    let wrong = |why: String| FileFault::Line { line, why };
    let read: T = serde_json::from_str(text).map_err(|error| wrong(format!("it is no record: {error}")))?;
    let again = serde_json::to_string(&read).map_err(|error| wrong(error.to_string()))?;
    if again == text {
        Ok(read)
    } else {
        Err(wrong("it is not written as it was exported".to_owned()))
    }
}

struct Lines<R> {
    file: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<String>, FileFault> {
        let mut octets = Vec::new();
        let mut bounded = io::Read::take(&mut self.file, LINE_OCTETS_MAX);
        bounded.read_until(b'\n', &mut octets)?;
        if octets.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let wrong = |why: &str| FileFault::Line {
            line: self.number,
            why: why.to_owned(),
        };
        if octets.pop() != Some(b'\n') {
            return Err(wrong("it does not end, or is too long"));
        }
        let text = String::from_utf8(octets).map_err(|_| wrong("it is no text"))?;
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use sigillo_protocol::transparency::note::{KeyKind, Note, VerifierKey};

    use super::*;
    use crate::{
        audit::{Chain, HeadKeys, canonical, leaf_of, salt},
        model::{Action, Actor, AuditEvent},
    };

    fn record(chain: &mut Chain, text: &str) -> AuditRecord {
        let event = AuditEvent {
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            actor: Actor::Operator("ann".into()),
            action: Action::KeyBlocked,
            subject: text.into(),
            detail: serde_json::json!({ "b": 1, "a": [true, "x"] }),
        };
        let text = canonical(&event);
        *chain = chain.extended(&text);
        let salt = salt(&[9; 32], chain.sequence);
        AuditRecord {
            sequence: chain.sequence,
            hash: chain.hash,
            leaf: leaf_of(&salt, &text),
            salt,
            event,
        }
    }

    fn signing() -> SigningKey {
        SigningKey::from_bytes(&[4; 32])
    }

    fn key() -> VerifierKey {
        VerifierKey::new("ca.example/log", KeyKind::Ed25519, signing().verifying_key().to_bytes()).unwrap()
    }

    fn head(tree: &sigillo_protocol::transparency::merkle::Frontier) -> String {
        let text = Checkpoint {
            origin: "ca.example/log".into(),
            size: tree.size(),
            root: tree.root(),
        }
        .text();
        let signature = signing().sign(text.as_bytes()).to_bytes();
        let signatures = vec![key().line(&signature)];
        Note { text, signatures }.to_string()
    }

    /// A log with heads after its third and its last record.
    fn export(names: [&str; 5]) -> (String, String) {
        let mut chain = Chain::START;
        let mut tree = sigillo_protocol::transparency::merkle::Frontier::default();
        let mut text = String::new();
        let mut last = String::new();
        for (at, name) in names.into_iter().enumerate() {
            let record = record(&mut chain, name);
            tree.push(record.leaf);
            text += &(serde_json::to_string(&record).unwrap() + "\n");
            if at == 2 || at == 4 {
                last = head(&tree);
                text += &(serde_json::to_string(&HeadLine {
                    checkpoint: last.clone(),
                })
                .unwrap()
                    + "\n");
            }
        }
        (text, last)
    }

    fn judge(text: &[u8], kept: &[String]) -> Result<Found, FileFault> {
        verify_lines(text, Verifier::new(HeadKeys::Key(key())), kept)
    }

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    #[test]
    fn an_unbroken_export_is_accepted_with_its_heads() {
        let (text, last) = export(NAMES);
        let found = judge(text.as_bytes(), &[last]).unwrap();
        assert_eq!(found.verifier.heads(), (3, 5));
        assert_eq!(found.head.unwrap().size, 5);
    }

    #[test]
    fn every_octet_that_is_flipped_is_found_in_its_line() {
        let (text, _) = export(NAMES);
        for at in 0..text.len() {
            let line = 1 + text.as_bytes()[..at].iter().filter(|octet| **octet == b'\n').count() as u64;
            for bit in 0..8 {
                let mut octets = text.as_bytes().to_vec();
                octets[at] ^= 1 << bit;
                let named = match judge(&octets, &[]) {
                    Err(FileFault::Line { line, .. } | FileFault::Wrong { line, .. }) => line,
                    other => panic!("octet {at} bit {bit}: {other:?}"),
                };
                assert_eq!(named, line, "octet {at} bit {bit}");
            }
        }
    }

    #[test]
    fn lines_that_are_removed_doubled_or_moved_are_found() {
        let (text, last) = export(NAMES);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let records = |lines: &[&str]| lines.concat().into_bytes();
        let mut without = lines.clone();
        without.remove(1);
        let error = judge(&records(&without), &[]).unwrap_err().to_string();
        assert_eq!(error, "line 2: record 3 stands where record 2 belongs");
        let mut moved = lines.clone();
        moved.swap(0, 1);
        assert!(
            judge(&records(&moved), &[])
                .unwrap_err()
                .to_string()
                .starts_with("line 1: ")
        );
        let mut doubled = lines.clone();
        doubled.insert(1, lines[0]);
        assert!(
            judge(&records(&doubled), &[])
                .unwrap_err()
                .to_string()
                .starts_with("line 2: ")
        );
        let cut = judge(&records(&lines[..4]), &[last]).unwrap_err().to_string();
        assert_eq!(
            cut,
            "after line 4, the last: a checkpoint covers 5 records, and there are 3: the end was cut off"
        );
    }

    #[test]
    fn a_history_that_was_written_anew_is_not_the_one_that_was_signed() {
        let (_, last) = export(NAMES);
        let (text, _) = export(["a", "b", "c", "D", "e"]);
        let error = judge(text.as_bytes(), std::slice::from_ref(&last))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("records 4 to 5 are not those that were signed"),
            "{error}"
        );
        let other = VerifierKey::new("x", KeyKind::Ed25519, [3; 32]).unwrap();
        let stranger = verify_lines(text.as_bytes(), Verifier::new(HeadKeys::Key(other)), &[]).unwrap_err();
        assert!(
            stranger
                .to_string()
                .starts_with("line 4: the checkpoint of size 3 is not signed")
        );
    }
}
