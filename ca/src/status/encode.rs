//! The few DER encodings that status structures are made of, appended to a buffer.

use jiff::{Timestamp, tz::Offset};

use crate::signer::SignatureAlgorithm;

/// Tags of the types that are written by hand.
pub(super) mod tag {
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const OBJECT_IDENTIFIER: u8 = 0x06;
    pub const ENUMERATED: u8 = 0x0a;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    pub const CONTEXT_0: u8 = 0x80;
    pub const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;
    pub const CONTEXT_1_CONSTRUCTED: u8 = 0xa1;
    pub const CONTEXT_2: u8 = 0x82;
    pub const CONTEXT_2_CONSTRUCTED: u8 = 0xa2;
    pub const CONTEXT_6: u8 = 0x86;
}

/// A moment that no ASN.1 time can hold: before the year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a time that DER cannot hold")]
pub struct UnencodableTime(pub Timestamp);

/// Appends a tag and a definite length in its shortest form.
pub(super) fn push_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let octets = length.to_be_bytes();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    out.push(0x80 | (octets.len() - zeros) as u8);
    out.extend_from_slice(&octets[zeros..]);
}

/// Returns how many octets tag and length take before a content of so many.
pub(super) fn header_octets(length: usize) -> usize {
    match length {
        0..0x80 => 2,
        _ => 2 + (usize::BITS - length.leading_zeros()).div_ceil(8) as usize,
    }
}

/// Appends one whole element.
pub(super) fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    push_header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// Returns one whole element.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    push(&mut out, tag, content);
    out
}

/// Returns the content octets of a non-negative INTEGER.
pub(super) fn unsigned(number: u64) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let mut content = Vec::with_capacity(9);
    if octets[start] & 0x80 != 0 {
        content.push(0);
    }
    content.extend_from_slice(&octets[start..]);
    content
}

/// Appends a Time as RFC 5280 section 4.1.2.5 wants it: UTCTime for 1950 to 2049, else GeneralizedTime.
///
/// # Errors
/// For a moment before the year 0.
pub(super) fn push_time(out: &mut Vec<u8>, time: Timestamp) -> Result<(), UnencodableTime> {
    let year = Offset::UTC.to_datetime(time).year();
    if (1950..=2049).contains(&year) {
        push_header(out, tag::UTC_TIME, 13);
        push_time_digits(out, time, false)
    } else {
        push_generalized_time(out, time)
    }
}

/// Appends a GeneralizedTime in Zulu with seconds and without a fraction.
///
/// # Errors
/// For a moment before the year 0.
pub(super) fn push_generalized_time(out: &mut Vec<u8>, time: Timestamp) -> Result<(), UnencodableTime> {
    push_header(out, tag::GENERALIZED_TIME, 15);
    push_time_digits(out, time, true)
}

fn push_time_digits(out: &mut Vec<u8>, time: Timestamp, century: bool) -> Result<(), UnencodableTime> {
    let civil = Offset::UTC.to_datetime(time);
    let year = u16::try_from(civil.year()).map_err(|_| UnencodableTime(time))?;
    if century {
        push_two_digits(out, (year / 100) as u8);
    }
    push_two_digits(out, (year % 100) as u8);
    for part in [civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second()] {
        push_two_digits(out, part.unsigned_abs());
    }
    out.push(b'Z');
    Ok(())
}

fn push_two_digits(out: &mut Vec<u8>, number: u8) {
    out.push(b'0' + number / 10);
    out.push(b'0' + number % 10);
}

/// Returns the whole AlgorithmIdentifier: parameters absent for ECDSA and Ed25519 (RFC 5758, RFC 8410), NULL for RSA (RFC 4055).
pub(super) fn algorithm_identifier(algorithm: SignatureAlgorithm) -> &'static [u8] {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => {
            &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
        }
        SignatureAlgorithm::EcdsaP384Sha384 => {
            &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]
        }
        SignatureAlgorithm::Ed25519 => &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
        SignatureAlgorithm::RsaSha256 => &[
            0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
        ],
    }
}

/// Appends a BIT STRING of whole octets.
pub(super) fn push_bit_string(out: &mut Vec<u8>, octets: &[u8]) {
    push_header(out, tag::BIT_STRING, octets.len() + 1);
    out.push(0);
    out.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        let cases: [(usize, &[u8]); 5] = [
            (0, &[0x30, 0]),
            (127, &[0x30, 127]),
            (128, &[0x30, 0x81, 128]),
            (256, &[0x30, 0x82, 1, 0]),
            (0x01_00_00_00, &[0x30, 0x84, 1, 0, 0, 0]),
        ];
        for (length, expected) in cases {
            let mut out = Vec::new();
            push_header(&mut out, tag::SEQUENCE, length);
            assert_eq!(out, expected, "length {length}");
            assert_eq!(header_octets(length), expected.len(), "length {length}");
        }
    }

    #[test]
    fn integers_are_minimal_and_positive() {
        let cases: [(u64, &[u8]); 4] = [(0, &[0]), (127, &[127]), (128, &[0, 128]), (256, &[1, 0])];
        for (number, expected) in cases {
            assert_eq!(unsigned(number), expected);
        }
    }

    #[test]
    fn times_are_utc_time_through_2049_and_generalized_later() {
        let cases = [
            ("2049-12-31T23:59:59.999Z", tag::UTC_TIME, "491231235959Z"),
            ("2050-01-01T00:00:00Z", tag::GENERALIZED_TIME, "20500101000000Z"),
            ("1950-01-01T00:00:00Z", tag::UTC_TIME, "500101000000Z"),
            ("1949-12-31T23:59:59Z", tag::GENERALIZED_TIME, "19491231235959Z"),
        ];
        for (time, tag, digits) in cases {
            let mut out = Vec::new();
            push_time(&mut out, time.parse().unwrap()).unwrap();
            assert_eq!(out, element(tag, digits.as_bytes()), "{time}");
        }
    }

    #[test]
    fn refuses_times_before_year_0() {
        let before: Timestamp = "-000001-12-31T00:00:00Z".parse().unwrap();
        assert_eq!(push_time(&mut Vec::new(), before), Err(UnencodableTime(before)));
    }
}
