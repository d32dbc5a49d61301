//! From an event to its entry in the log's tree, which tells nobody anything without the event's salt.

use aws_lc_rs::hmac;
use serde::Deserialize;
use sigillo_protocol::transparency::{
    entry,
    merkle::{self, Hash},
};

/// How the canonical JSON of an issuance begins: its members are sorted, and this one is the first.
const ISSUED: &[u8] = br#"{"action":"certificate-issued","#;

/// What is read of an issuance.
#[derive(Deserialize)]
struct Issued {
    detail: IssuedDetail,
}

#[derive(Deserialize)]
struct IssuedDetail {
    sha256: String,
}

/// Returns an event's salt: only whoever has the store's secret, or an export, knows it.
pub fn salt(secret: &[u8; 32], sequence: u64) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, &sequence.to_be_bytes());
    tag.as_ref()
        .try_into()
        .expect("invariant: HMAC-SHA-256 gives 32 octets")
}

/// Returns the SHA-256 of the certificate whose issuance an event tells, if it tells one.
pub fn certificate_of(canonical_event: &[u8]) -> Option<Hash> {
    if !canonical_event.starts_with(ISSUED) {
        return None;
    }
    let issued: Issued = serde_json::from_slice(canonical_event).ok()?;
    super::hex(&issued.detail.sha256)
}

/// Returns an event's entry.
pub fn entry_of(salt: &[u8; 32], canonical_event: &[u8]) -> Hash {
    let blinded = entry::blinded(salt, canonical_event);
    entry::entry(certificate_of(canonical_event).as_ref(), &blinded)
}

/// Returns the hash of an event's entry.
pub fn leaf_of(salt: &[u8; 32], canonical_event: &[u8]) -> Hash {
    merkle::leaf_hash(&entry_of(salt, canonical_event))
}
