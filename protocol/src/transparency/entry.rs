//! What Sigillo's audit log has for entries: 32 octets each, that tell nobody anything without their salt.
//!
//! An entry commits to an event of the log and, where the event is a certificate's issuance, to the
//! certificate. Whoever has the certificate and one more hash can show that the log holds it, and learns
//! nothing of the event; whoever has the event and its salt can show what was done.

use super::merkle::{Hash, sha256};

/// How long a salt is.
pub const SALT_OCTETS: usize = 32;

/// Keeps an event's hash apart from every other hash.
const EVENT: &[u8] = b"sigillo-audit-event-v1\0";

/// Keeps an entry apart from every other hash.
const ENTRY: &[u8] = b"sigillo-audit-entry-v1\0";

/// Returns the salted hash of an event's canonical JSON.
pub fn blinded(salt: &[u8; SALT_OCTETS], canonical_event: &[u8]) -> Hash {
    sha256(&[EVENT, salt, canonical_event])
}

/// Returns an entry, from the event's salted hash and the SHA-256 of the certificate that was issued, if one was.
pub fn entry(certificate_sha256: Option<&Hash>, blinded: &Hash) -> Hash {
    sha256(&[ENTRY, certificate_sha256.unwrap_or(&[0; 32]), blinded])
}

/// Returns the entry of a certificate's issuance, from the certificate's DER.
pub fn of_certificate(certificate_der: &[u8], blinded: &Hash) -> Hash {
    entry(Some(&sha256(&[certificate_der])), blinded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts() {
        let event = blinded(&[1; 32], b"{}");
        let all = [
            event,
            blinded(&[2; 32], b"{}"),
            blinded(&[1; 32], b"{ }"),
            entry(None, &event),
            entry(Some(&[3; 32]), &event),
            of_certificate(b"der", &event),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
        assert_eq!(of_certificate(b"der", &event), entry(Some(&sha256(&[b"der"])), &event));
    }
}
