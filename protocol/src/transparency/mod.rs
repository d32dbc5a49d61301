//! Logs that prove themselves: Merkle trees (RFC 6962, RFC 9162), signed notes, checkpoints, tiles and proofs (C2SP).
//!
//! What a log commits to is a list of entries; [`merkle`] turns them into one root hash, [`note`] and
//! [`checkpoint`] into text that somebody has signed, [`tile`] names the portions in which the hashes are
//! published, [`proof`] is what shows one entry to somebody who has only the log's key, and [`entry`] is
//! what Sigillo's audit log has for entries.

pub mod checkpoint;
pub mod entry;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod tile;

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

/// Reads a number as these formats write it: decimal digits, without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Reads one hash in base64.
pub(crate) fn hash(text: &str) -> Option<merkle::Hash> {
    use base64::Engine as _;
    let octets = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    octets.try_into().ok()
}

/// Writes octets in base64.
pub(crate) fn base64(octets: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(octets)
}
