//! Keys whose private half others have too: those that standards show, and those of a list that the operator keeps.
//!
//! The list has the form of the `blocklist.dat` of the badkeys project, so that theirs, with the keys of
//! CVE-2008-0166 and some hundred thousand others, can be used as it is: records of 16 octets that rise, of which 15 are
//! the first octets of the SHA-256 of the key's number (modulus, x, or the octets of an Ed25519 key, without zeros in front)
//! and one says where the key is from.

use std::{io, path::Path};

use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

use crate::digest::sha256;

/// One key of the list.
const RECORD: usize = 16;
/// How much of a digest a record holds.
const DIGEST: usize = 15;
/// A list of sixteen million keys; a longer file is none.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// SHA-256 of the SubjectPublicKeyInfo of keys that RFCs print with their private half, and where.
const PUBLISHED: &[(&str, &str)] = &[
    (
        "5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4",
        "RFC 6979",
    ),
    (
        "2f95601fa82060b909bfc6b979dbd303d34d34e0afb27ea496beac362f242a4b",
        "RFC 6979",
    ),
    (
        "2bd1bb0c44a897c30a7aa0991cde38d8062fe441de50da0f46825344f602e827",
        "RFC 7515",
    ),
    (
        "de5f0f8eeaeeb2a0d8aeb372acace509d41ed65282c37f42f7c9205b575ffe82",
        "RFC 9216",
    ),
    (
        "49a768630145afd3bbf9b23c26cff109b31790c1523ddfc1a2a08055c0b537a7",
        "RFC 9216",
    ),
    (
        "8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878",
        "RFC 9500",
    ),
    (
        "96465ea5dc9bb2da7b351d808a7196e5761f2412a5040131c68d719aaba28fb9",
        "RFC 9500",
    ),
    (
        "b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e",
        "RFC 9500",
    ),
    (
        "c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a",
        "RFC 9500",
    ),
];

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownKeysError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is too long.
    #[error("{0} octets are too many for a list of keys")]
    Size(u64),
    /// It is no such list.
    #[error("it is no list of records of 16 octets that rise")]
    Form,
}

/// The keys that are refused because others know them.
#[derive(Debug, Default)]
pub struct KnownKeys {
    list: Vec<u8>,
}

impl KnownKeys {
    /// Reads the operator's list.
    ///
    /// # Errors
    /// When it cannot be read, is too long, or is no such list.
    pub fn load(path: &Path) -> Result<Self, KnownKeysError> {
        let size = std::fs::metadata(path)?.len();
        if size > LIST_BYTES_MAX {
            return Err(KnownKeysError::Size(size));
        }
        Self::from_list(std::fs::read(path)?)
    }

    fn from_list(list: Vec<u8>) -> Result<Self, KnownKeysError> {
        let (records, rest) = list.as_chunks::<RECORD>();
        if rest.is_empty() && records.is_sorted() {
            Ok(Self { list })
        } else {
            Err(KnownKeysError::Form)
        }
    }

    /// Says where a key, given as SubjectPublicKeyInfo in DER, is known from.
    pub fn source(&self, spki_der: &[u8]) -> Option<&'static str> {
        let digest: String = sha256(spki_der).iter().map(|octet| format!("{octet:02x}")).collect();
        if let Some((_, source)) = PUBLISHED.iter().find(|(known, _)| *known == digest) {
            return Some(source);
        }
        self.lists(&number(spki_der)?).then_some("a list of compromised keys")
    }

    fn lists(&self, number: &[u8]) -> bool {
        let digest = sha256(number);
        let (records, _) = self.list.as_chunks::<RECORD>();
        records
            .binary_search_by(|record| record[..DIGEST].cmp(&digest[..DIGEST]))
            .is_ok()
    }
}

/// The number that tells a key from others, without zeros in front.
fn number(spki_der: &[u8]) -> Option<Vec<u8>> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki_der).ok()?;
    let number = match spki.parsed().ok()? {
        PublicKey::RSA(key) => key.modulus.to_vec(),
        // An uncompressed point: 4, x, y.
        PublicKey::EC(point) => {
            let point = point.data().get(1..)?;
            point[..point.len() / 2].to_vec()
        }
        _ => spki.subject_public_key.data.to_vec(),
    };
    let start = number.iter().position(|octet| *octet != 0)?;
    Some(number[start..].to_vec())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
    };

    use super::*;

    fn spki() -> Vec<u8> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        key.public_key().as_der().unwrap().as_ref().to_vec()
    }

    fn record(number: &[u8]) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..DIGEST].copy_from_slice(&sha256(number)[..DIGEST]);
        record
    }

    #[test]
    fn knows_the_keys_that_rfcs_print() {
        // RFC 9500 section 2.3: the test key on P-256.
        let point = "0442254\
             8f88fb782ffb5eca3744452c72a1e558fbd6f73be5e48e93232cc45c5b16c4cd10c4cb8d5b8a17139e94882c8992572993425f41419ab7e90a42a494272";
        let point: Vec<u8> = (0..point.len() / 2)
            .map(|at| u8::from_str_radix(&point[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let mut known = spki();
        let at = known.len() - point.len();
        known[at..].copy_from_slice(&point);
        assert_eq!(KnownKeys::default().source(&known), Some("RFC 9500"));
        assert_eq!(KnownKeys::default().source(&spki()), None);
    }

    #[test]
    fn finds_the_keys_of_a_list_and_no_others() {
        let (listed, other) = (spki(), spki());
        let mut records = [b"a".as_slice(), b"b", &number(&listed).unwrap()].map(record);
        records.sort();
        let keys = KnownKeys::from_list(records.concat()).unwrap();
        assert!(keys.source(&listed).is_some());
        assert_eq!(keys.source(&other), None);
    }

    #[test]
    fn refuses_what_is_no_list() {
        let mut records = [record(b"a"), record(b"b")];
        records.sort();
        records.reverse();
        assert!(matches!(
            KnownKeys::from_list(records.concat()),
            Err(KnownKeysError::Form)
        ));
        assert!(matches!(
            KnownKeys::from_list(vec![0; RECORD + 1]),
            Err(KnownKeysError::Form)
        ));
        assert!(KnownKeys::from_list(Vec::new()).is_ok());
    }
}
