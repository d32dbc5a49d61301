//! The chain of hashes that makes a change of the past visible.
//!
//! Each record's hash is SHA-256 over the hash before it, its place as eight octets (most significant
//! first), and the event's canonical JSON. So whoever kept one hash can tell whether anything before it
//! was altered, removed or reordered; an end that was cut off shows against a hash kept from later.

use aws_lc_rs::digest;
use serde_json::Value;

use crate::model::{AuditEvent, AuditRecord};

/// Where a chain stands: what the next record builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The last record's place; 0 before the first.
    pub sequence: u64,
    /// The last record's hash; all zero before the first.
    pub hash: [u8; 32],
}

impl Chain {
    /// The chain before its first record.
    pub const START: Self = Self {
        sequence: 0,
        hash: [0; 32],
    };

    /// Returns where the chain stands after the event whose canonical JSON is given.
    #[must_use]
    pub fn extended(self, canonical_event: &[u8]) -> Self {
        let sequence = self.sequence + 1;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.hash);
        context.update(&sequence.to_be_bytes());
        context.update(canonical_event);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self { sequence, hash }
    }
}

/// Where and how a chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// A record is not where it belongs: one was removed, doubled or moved.
    #[error("record {found} stands where record {expected} belongs")]
    Sequence {
        /// The place that should have come.
        expected: u64,
        /// The place that came.
        found: u64,
    },
    /// A record's hash does not follow from the record and the hash before it: one of them was altered.
    #[error("record {sequence} or the one before it was altered")]
    Hash {
        /// The record's place.
        sequence: u64,
    },
}

/// Verifies records that follow on `from`, and returns where the chain stands after the last of them.
///
/// Feed a long log in portions: pass each portion's result to the next. Compare the final result with a
/// hash kept elsewhere to find an end that was cut off.
///
/// # Errors
/// The first place at which the chain is broken.
pub fn verify<'a>(from: Chain, records: impl IntoIterator<Item = &'a AuditRecord>) -> Result<Chain, Break> {
    records.into_iter().try_fold(from, |chain, record| {
        let next = chain.extended(&canonical(&record.event));
        if record.sequence != next.sequence {
            return Err(Break::Sequence {
                expected: next.sequence,
                found: record.sequence,
            });
        }
        if record.hash != next.hash {
            return Err(Break::Hash {
                sequence: record.sequence,
            });
        }
        Ok(next)
    })
}

/// Writes an event as JSON in the one form that is hashed: members sorted by name, no white space.
///
/// A number with a fraction is written as text: not every such number survives being read back.
pub fn canonical(event: &AuditEvent) -> Vec<u8> {
    let value = serde_json::to_value(event).expect("invariant: an event's members all have text names");
    let mut out = String::new();
    write_value(&value, &mut out);
    out.into_bytes()
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            // Sorted here, since a map keeps another order when any crate in the build asks for it.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            write_list('{', members, '}', out, |(name, value), out| {
                write_text(name, out);
                out.push(':');
                write_value(value, out);
            });
        }
        Value::Array(items) => write_list('[', items, ']', out, write_value),
        Value::String(text) => write_text(text, out),
        Value::Number(number) if number.is_f64() => write_text(&number.to_string(), out),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Null => out.push_str("null"),
    }
}

fn write_list<T>(
    open: char,
    items: impl IntoIterator<Item = T>,
    close: char,
    out: &mut String,
    write: impl Fn(T, &mut String),
) {
    out.push(open);
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Action, Actor};

    fn event(subject: &str, detail: Value) -> AuditEvent {
        AuditEvent {
            at: "2026-01-02T03:04:05.000006Z".parse().unwrap(),
            actor: Actor::Operator("ann".into()),
            action: Action::KeyBlocked,
            subject: subject.into(),
            detail,
        }
    }

    fn log(count: u64) -> Vec<AuditRecord> {
        let mut chain = Chain::START;
        (1..=count)
            .map(|n| {
                let event = event(&format!("key {n}"), json!({ "b": n, "a": [null, true] }));
                chain = chain.extended(&canonical(&event));
                AuditRecord {
                    sequence: chain.sequence,
                    event,
                    hash: chain.hash,
                    salt: [0; 32],
                    leaf: [0; 32],
                }
            })
            .collect()
    }

    fn check(change: impl Fn(&mut Vec<AuditRecord>), expected: Break) {
        let mut records = log(5);
        change(&mut records);
        assert_eq!(verify(Chain::START, &records), Err(expected));
    }

    #[test]
    fn canonical_form_is_sorted_dense_and_the_same_after_reading_back() {
        let event = event("k", json!({ "z": 1, "a": "\u{1}\"é", "f": 0.1 }));
        let text = canonical(&event);
        assert_eq!(
            String::from_utf8(text.clone()).unwrap(),
            r#"{"action":"key-blocked","actor":{"kind":"operator","name":"ann"},"at":"2026-01-02T03:04:05.000006Z","detail":{"a":"\u0001\"é","f":"0.1","z":1},"subject":"k"}"#
        );
        let again: AuditEvent = serde_json::from_slice(&text).unwrap();
        assert_eq!(canonical(&again), text);
    }

    #[test]
    fn accepts_an_unbroken_chain_in_portions() {
        let records = log(5);
        let whole = verify(Chain::START, &records).unwrap();
        let part = verify(Chain::START, &records[..2]).unwrap();
        assert_eq!(verify(part, &records[2..]), Ok(whole));
        assert_eq!(
            whole,
            Chain {
                sequence: 5,
                hash: records[4].hash
            }
        );
    }

    #[test]
    fn finds_what_was_altered_removed_or_reordered() {
        check(|log| log[2].event.subject.push('!'), Break::Hash { sequence: 3 });
        check(|log| log[2].hash[0] ^= 1, Break::Hash { sequence: 3 });
        check(|log| drop(log.remove(1)), Break::Sequence { expected: 2, found: 3 });
        check(|log| log.swap(1, 2), Break::Sequence { expected: 2, found: 3 });
        check(
            |log| {
                log.remove(1);
                log.iter_mut()
                    .enumerate()
                    .for_each(|(n, record)| record.sequence = n as u64 + 1);
            },
            Break::Hash { sequence: 2 },
        );
        check(
            |log| {
                let (left, right) = log.split_at_mut(2);
                std::mem::swap(&mut left[1].event, &mut right[0].event);
            },
            Break::Hash { sequence: 2 },
        );
    }

    #[test]
    fn an_end_that_was_cut_off_shows_against_a_kept_hash() {
        let records = log(5);
        let kept = verify(Chain::START, &records).unwrap();
        assert_ne!(verify(Chain::START, &records[..4]).unwrap(), kept);
    }
}
