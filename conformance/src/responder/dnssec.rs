//! Signs what the name server says (RFC 4034 and 4035): one key for the root and for the zone, each denial made to measure.
//!
//! The target asks nobody but this server, so the server speaks for the root as well: climbing for CAA leads there.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jiff::Timestamp;

use super::message::{DNSKEY, DS, NS, NSEC, RRSIG, RrSet, SOA, wire_name};
use crate::base64;
use crate::keys::{Key, sha256};

/// ECDSA over P-256 with SHA-256 (RFC 6605).
const ALGORITHM: u8 = 13;

/// Zone key and secure entry point: the key signs records and keys alike.
const FLAGS: u16 = 257;

/// Signatures begin this long ago and hold for as long, so that no clock that is roughly right minds.
const WINDOW_SECONDS: u32 = 86_400;

/// A name has no more octets than this on the wire.
const NAME_OCTETS_MAX: usize = 255;

/// What is wrong with the proof of one set of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One bit of the signature is another.
    Broken,
    /// The signature is not there, nor the proof that there is nothing.
    Stripped,
    /// The signature held until an hour ago.
    Expired,
    /// A key signed that the zone does not have.
    Foreign,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Broken, Self::Stripped, Self::Expired, Self::Foreign];
}

/// The key of the root and of the zone.
#[derive(Debug)]
pub(crate) struct ZoneKey {
    key: Key,
    foreign: Key,
}

impl ZoneKey {
    /// Reads a P-256 key in PKCS#8.
    pub(crate) fn read(pkcs8: &[u8]) -> Result<Self, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| "the key for DNSSEC is no P-256 key in PKCS#8")?;
        Ok(Self {
            key: Key::P256(pair),
            foreign: Key::p256(),
        })
    }

    /// What a DNSKEY record holds.
    pub(crate) fn dnskey(&self) -> Vec<u8> {
        // Behind the octet that says "uncompressed point".
        let point = &self.key.public()[1..];
        [&FLAGS.to_be_bytes()[..], &[3, ALGORITHM], point].concat()
    }

    /// RFC 4034 appendix B.
    fn tag(&self) -> u16 {
        let sum: u32 = self
            .dnskey()
            .iter()
            .enumerate()
            .map(|(at, octet)| u32::from(*octet) << (8 * (1 - at % 2)))
            .sum();
        ((sum + (sum >> 16)) & 0xffff) as u16
    }

    /// What the parent's DS record for a zone under this key holds.
    pub(crate) fn ds(&self, zone: &str) -> Vec<u8> {
        let digest = sha256([wire_name(zone), self.dnskey()].concat());
        [&self.tag().to_be_bytes()[..], &[ALGORITHM, 2], &digest].concat()
    }

    /// DNSKEY records of the root and of the zone, as a file of trust anchors has them.
    pub(crate) fn anchors(&self, zone: &str) -> String {
        let key = base64::standard(self.key.public()[1..].as_ref());
        ["", zone]
            .iter()
            .map(|owner| format!("{owner}. 3600 IN DNSKEY {FLAGS} 3 {ALGORITHM} {key}\n"))
            .collect()
    }

    /// What the RRSIG record over a set holds; nothing where the fault is that there is none.
    pub(crate) fn sign(&self, set: &RrSet, zone: &str, fault: Option<Fault>) -> Option<Vec<u8>> {
        let now = Timestamp::now().as_second() as u32;
        let expiration = match fault {
            Some(Fault::Stripped) => return None,
            Some(Fault::Expired) => now - 3600,
            _ => now + WINDOW_SECONDS,
        };
        let labels = set.owner.split('.').filter(|label| !label.is_empty() && *label != "*");
        let head = [
            &set.kind.to_be_bytes()[..],
            &[ALGORITHM, labels.count() as u8],
            &set.ttl.to_be_bytes(),
            &expiration.to_be_bytes(),
            &(now - WINDOW_SECONDS).to_be_bytes(),
            &self.tag().to_be_bytes(),
            &wire_name(zone),
        ]
        .concat();
        let signer = if fault == Some(Fault::Foreign) {
            &self.foreign
        } else {
            &self.key
        };
        let mut signature = signer.sign(&[head.clone(), canonical(set)].concat());
        if fault == Some(Fault::Broken) {
            signature[0] ^= 1;
        }
        Some([head, signature].concat())
    }
}

/// RFC 4034 section 6.3: the records in canonical order, each once.
fn canonical(set: &RrSet) -> Vec<u8> {
    let mut records: Vec<&Vec<u8>> = set.data.iter().collect();
    records.sort();
    records.dedup();
    let record = |data: &Vec<u8>| {
        let mut out = wire_name(&set.owner);
        out.extend(set.kind.to_be_bytes());
        out.extend(1u16.to_be_bytes());
        out.extend(set.ttl.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
        out
    };
    records.into_iter().flat_map(record).collect()
}

/// What an NSEC record holds that says: these types are at `owner`, no others, and the next name is its first child (RFC 4470
/// has the idea). It proves the absence of a type at a name, which is all this server ever denies.
pub(crate) fn nsec(owner: &str, zone: &str, types: &[u16]) -> Vec<u8> {
    let next = [&[1, 0], &wire_name(owner)[..]].concat();
    let next = if next.len() > NAME_OCTETS_MAX {
        wire_name(zone)
    } else {
        next
    };
    let mut types: Vec<u16> = types.iter().copied().chain([RRSIG, NSEC]).collect();
    types.sort_unstable();
    types.dedup();
    [next, bitmap(&types)].concat()
}

/// RFC 4034 section 4.1.2, of types in ascending order.
fn bitmap(types: &[u16]) -> Vec<u8> {
    let mut out = Vec::new();
    for window in types.chunk_by(|one, other| one >> 8 == other >> 8) {
        let mut bits = vec![0; usize::from(window[window.len() - 1] as u8) / 8 + 1];
        for kind in window {
            let low = usize::from(*kind as u8);
            bits[low / 8] |= 0x80 >> (low % 8);
        }
        out.extend([(window[0] >> 8) as u8, bits.len() as u8]);
        out.extend(bits);
    }
    out
}

/// A key for [`ZoneKey::read`].
pub(crate) fn new_key() -> Vec<u8> {
    Key::p256().pkcs8()
}

/// Which zone answers for a name and a type: a delegation's DS belongs to the parent.
pub(crate) fn zone_for<'a>(zone: &'a str, holds: bool, name: &str, kind: u16) -> &'a str {
    if holds && !(name == zone && kind == DS) {
        zone
    } else {
        ""
    }
}

/// The types every zone has at its top.
pub(crate) const APEX: [u16; 3] = [NS, SOA, DNSKEY];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responder::message::{A, CAA, TXT};

    fn key() -> ZoneKey {
        ZoneKey::read(&new_key()).expect("a fresh key")
    }

    #[test]
    fn writes_the_bitmap_of_the_rfc() {
        // RFC 4034 section 4.3: A, MX, RRSIG, NSEC and TYPE1234.
        let mut expected = vec![0x00, 0x06, 0x40, 0x01, 0x00, 0x00, 0x00, 0x03, 0x04, 0x1b];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(bitmap(&[A, 15, RRSIG, NSEC, 1234]), expected);
    }

    #[test]
    fn denies_with_the_types_that_are_there() {
        let denial = nsec("a.test", "test", &[TXT, CAA]);
        assert_eq!(denial[..10], *b"\x01\x00\x01a\x04test\x00");
        assert_eq!(denial[10..], bitmap(&[TXT, RRSIG, NSEC, CAA]));
        let longest = format!("{}.{}", vec!["a".repeat(63); 3].join("."), "a".repeat(61));
        assert_eq!(nsec(&longest, "test", &[])[..6], *b"\x04test\x00");
    }

    #[test]
    fn computes_the_digest_and_tag_of_the_rfc() {
        // RFC 6605 section 6.1.
        let text = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
        let point = base64::from_standard(text).expect("base64");
        let rdata = [&FLAGS.to_be_bytes()[..], &[3, ALGORITHM], &point].concat();
        let digest: String = sha256([wire_name("example.net"), rdata].concat())
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        assert_eq!(
            digest,
            "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"
        );
    }

    #[test]
    fn each_fault_changes_what_a_validator_checks() {
        let key = key();
        let set = RrSet::new("a.test", TXT, 60, vec![vec![1, b'x'], vec![1, b'a']]);
        let verifies = |data: &[u8]| {
            let (head, signature) = data.split_at(data.len() - 64);
            let public = aws_lc_rs::signature::UnparsedPublicKey::new(
                &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
                key.key.public(),
            );
            public
                .verify(&[head.to_vec(), canonical(&set)].concat(), signature)
                .is_ok()
        };
        let sound = key.sign(&set, "test", None).expect("a signature");
        assert!(verifies(&sound));
        assert_eq!(sound[..4], [0, 16, ALGORITHM, 2]);
        assert_eq!(key.sign(&set, "test", Some(Fault::Stripped)), None);
        for fault in [Fault::Broken, Fault::Foreign] {
            assert!(
                !verifies(&key.sign(&set, "test", Some(fault)).expect("a signature")),
                "{fault:?}"
            );
        }
        let expired = key.sign(&set, "test", Some(Fault::Expired)).expect("a signature");
        assert!(verifies(&expired) && expired[8..12] < sound[8..12]);
    }
}
