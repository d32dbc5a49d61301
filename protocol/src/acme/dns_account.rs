//! dns-account-01 (draft-ietf-acme-dns-account-label): dns-01 below a label of the account's own.
//!
//! Two accounts, or two places, can prove control of one name at the same time without sharing a record.

use aws_lc_rs::digest::{SHA256, digest};

/// How many octets of the account URL's digest make the label (section 3.2).
const LABEL_OCTETS: usize = 10;

/// The alphabet of base32 (RFC 4648 section 6) in lower case, as names in the DNS are compared.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Returns the labels below which the TXT record is: those in front of the validated name, without a dot behind.
///
/// The account URL counts octet by octet, as the Location header of newAccount shows it.
pub fn validation_labels(account_url: &str) -> String {
    let digest = digest(&SHA256, account_url.as_bytes());
    format!("_{}._acme-challenge", base32(&digest.as_ref()[..LABEL_OCTETS]))
}

/// Encodes without padding; ten octets need none.
fn base32(octets: &[u8]) -> String {
    let bits = octets
        .iter()
        .flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let letter = |five: &[u8]| {
        let index = (0..5).fold(0, |index, at| {
            index << 1 | usize::from(five.get(at).copied().unwrap_or(0))
        });
        char::from(BASE32[index])
    };
    bits.chunks(5).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_labels_of_the_draft() {
        let labels = validation_labels("https://example.com/acme/acct/ExampleAccount");
        assert_eq!(labels, "_ujmmovf2vn55tgye._acme-challenge");
    }

    #[test]
    fn each_account_url_has_labels_of_its_own() {
        let url = "https://example.com/acme/acct/ExampleAccount";
        for other in [format!("{url}/"), url.replace("com", "COM"), String::new()] {
            assert_ne!(validation_labels(&other), validation_labels(url), "{other}");
        }
    }

    #[test]
    fn encodes_the_vectors_of_rfc_4648() {
        for (text, encoded) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("fooba", "mzxw6ytb"),
        ] {
            assert_eq!(base32(text.as_bytes()), encoded, "{text}");
        }
    }
}
