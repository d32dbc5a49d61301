//! Public keys in certification requests: their kinds, and which of them are good enough.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey};
use serde::{Deserialize, Serialize};
use x509_parser::{
    der_parser::num_bigint::BigUint,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid,
    },
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

use super::der;

/// The kind of a key: the algorithm with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with a modulus of this many bits.
    Rsa(u16),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ecdsa-p256"),
            Self::EcdsaP384 => f.write_str("ecdsa-p384"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa-{bits}"),
        }
    }
}

/// Text that names no kind of key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of key: use ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096")]
pub struct UnknownKeyKind;

impl FromStr for KeyKind {
    type Err = UnknownKeyKind;

    fn from_str(text: &str) -> Result<Self, UnknownKeyKind> {
        match text {
            "ecdsa-p256" => Ok(Self::EcdsaP256),
            "ecdsa-p384" => Ok(Self::EcdsaP384),
            "ed25519" => Ok(Self::Ed25519),
            _ => {
                let bits: u16 = text
                    .strip_prefix("rsa-")
                    .and_then(|bits| bits.parse().ok())
                    .ok_or(UnknownKeyKind)?;
                let fits = KeyPolicy::RSA_BITS.contains(&bits) && bits.is_multiple_of(8);
                if fits { Ok(Self::Rsa(bits)) } else { Err(UnknownKeyKind) }
            }
        }
    }
}

impl Serialize for KeyKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which public keys a certificate may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Whether ECDSA on P-256 is taken.
    pub ecdsa_p256: bool,
    /// Whether ECDSA on P-384 is taken.
    pub ecdsa_p384: bool,
    /// Whether Ed25519 is taken.
    pub ed25519: bool,
    /// Which sizes of RSA modulus are taken, in bits; `None` for no RSA at all.
    pub rsa_bits: Option<RangeInclusive<u16>>,
    /// The smallest public exponent of RSA. Smaller ones have been the soil of many padding
    /// attacks, and no writer of keys has chosen one by itself for two decades.
    pub rsa_exponent_min: u64,
}

impl KeyPolicy {
    /// The sizes that can be allowed at all: below is weak, above costs every verifier too much (CVE-2023-29409).
    pub const RSA_BITS: RangeInclusive<u16> = 2048..=8192;
    /// The largest public exponent that common verifiers take: 33 bits.
    pub const RSA_EXPONENT_MAX: u64 = (1 << 33) - 1;
    /// How many steps of Fermat's factoring are tried. Primes that were made independently differ
    /// in their upper bits; those of CVE-2022-26320 fall in the first few steps.
    pub const FERMAT_STEPS: usize = 100;
}

impl KeyPolicy {
    /// Checks a key given as SubjectPublicKeyInfo in DER and tells its kind.
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn check_spki(&self, spki_der: &[u8]) -> Result<KeyKind, KeyError> {
        der::check(spki_der).map_err(|_| KeyError::Unsupported)?;
        match SubjectPublicKeyInfo::from_der(spki_der) {
            Ok(([], spki)) => check(&spki, self),
            _ => Err(KeyError::Unsupported),
        }
    }
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self {
            ecdsa_p256: true,
            ecdsa_p384: true,
            ed25519: true,
            rsa_bits: Some(Self::RSA_BITS),
            rsa_exponent_min: 65537,
        }
    }
}

/// A key that is refused. Each text ends up before the person who made the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither RSA, nor ECDSA on a known curve, nor Ed25519; or written unusually.
    #[error("the key is of no supported kind: use ECDSA on the named curve P-256 or P-384, Ed25519, or RSA")]
    Unsupported,
    /// The policy does not allow the kind.
    #[error("keys of kind {0} are not accepted here")]
    Forbidden(KeyKind),
    /// Not a point on the curve in uncompressed form, or one of small order.
    #[error("the key is not a valid uncompressed point on its curve")]
    Point,
    /// The RSA modulus has another size than the policy allows, in bits.
    #[error("an RSA modulus of {0} bits is not accepted here")]
    ModulusSize(u64),
    /// The RSA public exponent is even or out of bounds.
    #[error("the RSA public exponent is not acceptable: use 65537")]
    Exponent,
    /// The RSA modulus cannot be a product of two large primes that were made well.
    #[error("the RSA modulus is weak: {0}")]
    Weak(&'static str),
}

/// Checks a key and tells its kind.
pub(crate) fn check(spki: &SubjectPublicKeyInfo<'_>, policy: &KeyPolicy) -> Result<KeyKind, KeyError> {
    let algorithm = &spki.algorithm;
    if spki.subject_public_key.unused_bits != 0 {
        return Err(KeyError::Unsupported);
    }
    let octets: &[u8] = &spki.subject_public_key.data;
    let kind = if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        check_curve_point(algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()), octets)?
    } else if algorithm.algorithm == OID_SIG_ED25519 {
        if algorithm.parameters.is_some() {
            return Err(KeyError::Unsupported);
        }
        check_ed25519(octets)?
    } else if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        // RFC 3279 section 2.3.1: the parameters are NULL.
        if algorithm.parameters.as_ref().is_none_or(|p| p.as_null().is_err()) {
            return Err(KeyError::Unsupported);
        }
        check_rsa(octets, policy)?
    } else {
        return Err(KeyError::Unsupported);
    };
    let allowed = match kind {
        KeyKind::EcdsaP256 => policy.ecdsa_p256,
        KeyKind::EcdsaP384 => policy.ecdsa_p384,
        KeyKind::Ed25519 => policy.ed25519,
        KeyKind::Rsa(_) => true,
    };
    if allowed {
        Ok(kind)
    } else {
        Err(KeyError::Forbidden(kind))
    }
}

fn check_curve_point(curve: Option<Oid<'_>>, octets: &[u8]) -> Result<KeyKind, KeyError> {
    // No named curve means explicit parameters or none: RFC 5480 section 2.1.1 forbids both.
    let curve = curve.ok_or(KeyError::Unsupported)?;
    let (kind, length) = if curve == OID_EC_P256 {
        (KeyKind::EcdsaP256, 1 + 2 * 32)
    } else if curve == OID_NIST_EC_P384 {
        (KeyKind::EcdsaP384, 1 + 2 * 48)
    } else {
        return Err(KeyError::Unsupported);
    };
    if octets.len() != length || octets[0] != 0x04 {
        return Err(KeyError::Point);
    }
    let parsed = match kind {
        KeyKind::EcdsaP256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, octets),
        _ => ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, octets),
    };
    parsed.map(|_| kind).map_err(|_| KeyError::Point)
}

fn check_ed25519(octets: &[u8]) -> Result<KeyKind, KeyError> {
    let octets: &[u8; 32] = octets.try_into().map_err(|_| KeyError::Point)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(octets).map_err(|_| KeyError::Point)?;
    if key.is_weak() {
        Err(KeyError::Point)
    } else {
        Ok(KeyKind::Ed25519)
    }
}

fn check_rsa(octets: &[u8], policy: &KeyPolicy) -> Result<KeyKind, KeyError> {
    let (modulus, exponent) = rsa_numbers(octets)?;
    let bits = 8 * modulus.len() as u64 - u64::from(modulus[0].leading_zeros());
    let Some(sizes) = &policy.rsa_bits else {
        return Err(KeyError::Forbidden(KeyKind::Rsa(bits.try_into().unwrap_or(u16::MAX))));
    };
    let size = u16::try_from(bits)
        .ok()
        .filter(|size| size.is_multiple_of(8) && sizes.contains(size) && KeyPolicy::RSA_BITS.contains(size));
    let size = size.ok_or(KeyError::ModulusSize(bits))?;
    if exponent.len() > 8 {
        return Err(KeyError::Exponent);
    }
    let exponent = exponent.iter().fold(0u64, |sum, octet| (sum << 8) | u64::from(*octet));
    if exponent.is_multiple_of(2) || exponent < policy.rsa_exponent_min.max(3) || exponent > KeyPolicy::RSA_EXPONENT_MAX
    {
        return Err(KeyError::Exponent);
    }
    match weakness(modulus) {
        Some(reason) => Err(KeyError::Weak(reason)),
        None => Ok(KeyKind::Rsa(size)),
    }
}

/// Reads an RSAPublicKey as the magnitudes of modulus and exponent, without leading zeros.
fn rsa_numbers(octets: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    der::check(octets).map_err(|_| KeyError::Unsupported)?;
    let sequence = der::only_element(octets).map_err(|_| KeyError::Unsupported)?;
    let numbers = der::elements(sequence.content).map_err(|_| KeyError::Unsupported)?;
    match (sequence.tag, numbers.as_slice()) {
        (der::SEQUENCE, [modulus, exponent]) => Ok((magnitude(*modulus)?, magnitude(*exponent)?)),
        _ => Err(KeyError::Unsupported),
    }
}

fn magnitude(number: der::Element<'_>) -> Result<&[u8], KeyError> {
    match (number.tag, number.content) {
        // Zero, and negative numbers, are neither moduli nor exponents.
        (0x02, [0]) => Err(KeyError::Unsupported),
        (0x02, [0, rest @ ..]) => Ok(rest),
        (0x02, content @ [first, ..]) if first & 0x80 == 0 => Ok(content),
        _ => Err(KeyError::Unsupported),
    }
}

/// The primes of the ROCA fingerprint (CVE-2017-15361): in a modulus made by the faulty library
/// each remainder is a power of 65537.
const ROCA_PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// No prime factor below this: a generator that leaves one is broken.
const SMALL_FACTOR_BOUND: u32 = 752;

fn weakness(modulus: &[u8]) -> Option<&'static str> {
    let small_primes = (2..SMALL_FACTOR_BOUND).filter(|divisor| IS_PRIME[*divisor as usize]);
    if small_primes.into_iter().any(|prime| remainder(modulus, prime) == 0) {
        return Some("it has a small factor");
    }
    if ROCA_PRIMES
        .iter()
        .all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
    {
        return Some("it carries the fingerprint of CVE-2017-15361 (ROCA)");
    }
    if has_close_factors(&BigUint::from_bytes_be(modulus)) {
        return Some("its two primes are too close to each other");
    }
    None
}

/// Which numbers below the bound are prime.
const IS_PRIME: [bool; SMALL_FACTOR_BOUND as usize] = {
    let mut prime = [true; SMALL_FACTOR_BOUND as usize];
    (prime[0], prime[1]) = (false, false);
    let mut number = 2;
    while number < prime.len() {
        let mut multiple = number * 2;
        while multiple < prime.len() {
            prime[multiple] = false;
            multiple += number;
        }
        number += 1;
    }
    prime
};

/// Divides a number, most significant octet first, by a small one, four octets at a time.
fn remainder(number: &[u8], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let (head, words) = number.as_rchunks::<4>();
    let head = head
        .iter()
        .fold(0, |rest, octet| (rest * 256 + u64::from(*octet)) % divisor);
    let rest = words.iter().fold(head, |rest, word| {
        ((rest << 32) + u64::from(u32::from_be_bytes(*word))) % divisor
    });
    u32::try_from(rest).expect("invariant: a rest is less than its divisor, which fits")
}

fn is_power_of_65537(value: u32, prime: u32) -> bool {
    let generator = 65537 % prime;
    let mut power = 1;
    // The powers repeat after at most `prime - 1` steps.
    for _ in 0..prime {
        if power == value {
            return true;
        }
        power = power * generator % prime;
    }
    false
}

/// Tries Fermat's factoring: n = a^2 - b^2 with a just above the root of n.
fn has_close_factors(n: &BigUint) -> bool {
    let one = BigUint::from(1u8);
    let mut a = n.sqrt();
    if &a * &a < *n {
        a += &one;
    }
    let mut b_squared = &a * &a - n;
    for _ in 0..KeyPolicy::FERMAT_STEPS {
        if is_square(&b_squared) {
            return true;
        }
        b_squared += (&a << 1u8) + &one;
        a += &one;
    }
    false
}

fn is_square(number: &BigUint) -> bool {
    // Most numbers show by their last bits or digits that they are no square; the root is dear.
    const SQUARES_MOD_64: u64 = 0x0202_0212_0203_0213;
    let low = number.iter_u64_digits().next().unwrap_or(0) % 64;
    if SQUARES_MOD_64 >> low & 1 == 0 {
        return false;
    }
    let root = number.sqrt();
    &root * &root == *number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_division_agrees_with_the_library_at_every_length() {
        let number: Vec<u8> = (1..=23u8).map(|i| i.wrapping_mul(151)).collect();
        for length in 0..=number.len() {
            let octets = &number[..length];
            for divisor in [2, 3, 251, 257, 751] {
                let expected = BigUint::from_bytes_be(octets) % divisor;
                assert_eq!(
                    BigUint::from(remainder(octets, divisor)),
                    expected,
                    "{length} {divisor}"
                );
            }
        }
        let primes: Vec<usize> = (0..30).filter(|n| IS_PRIME[*n]).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }

    #[test]
    fn kinds_survive_a_round_trip_as_text() {
        for text in [
            "ecdsa-p256",
            "ecdsa-p384",
            "ed25519",
            "rsa-2048",
            "rsa-3072",
            "rsa-8192",
        ] {
            assert_eq!(text.parse::<KeyKind>().unwrap().to_string(), text);
        }
        for text in ["rsa", "rsa-", "rsa-1024", "rsa-2049", "rsa-16384", "p256", ""] {
            assert!(text.parse::<KeyKind>().is_err(), "{text}");
        }
    }

    #[test]
    fn squares_are_told_from_other_numbers() {
        let squares: Vec<u32> = (0..200).map(|root| root * root).collect();
        for number in 0..40_000u32 {
            assert_eq!(is_square(&BigUint::from(number)), squares.contains(&number), "{number}");
        }
    }

    #[test]
    fn products_of_close_primes_are_found() {
        // Two primes of 61 and 89 bits (Mersenne's) are far apart; 2^61 - 1 by a neighbour is not.
        let near = BigUint::from((1u64 << 61) - 1) * BigUint::from((1u64 << 61) + 15);
        assert!(has_close_factors(&near));
        let far = BigUint::from((1u64 << 61) - 1) * BigUint::from((1u128 << 89) - 1);
        assert!(!has_close_factors(&far));
    }

    #[test]
    fn the_roca_fingerprint_is_recognised() {
        // 65537^k is its own fingerprint; a prime-like odd number of no such form is not.
        let power = BigUint::from(65537u32).pow(200).to_bytes_be();
        assert!(ROCA_PRIMES.iter().all(|p| is_power_of_65537(remainder(&power, *p), *p)));
        let other = (BigUint::from(65537u32).pow(200) + 2u8).to_bytes_be();
        assert!(!ROCA_PRIMES.iter().all(|p| is_power_of_65537(remainder(&other, *p), *p)));
    }
}
