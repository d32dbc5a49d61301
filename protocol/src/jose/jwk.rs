//! Public keys as JWK (RFC 7517), their policy, and their thumbprint (RFC 7638).
//!
//! A [`Jwk`] exists only for a key that passed the policy, and only in one canonical form: a key in
//! another dress is the same key, with the same thumbprint.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    signature::{self as aws, RsaPublicKeyComponents, UnparsedPublicKey},
};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

use super::alg::Algorithm;
use crate::{base64url, json};

/// The shortest RSA modulus in bits (RFC 7518 section 3.3).
pub const RSA_MIN_BITS: usize = 2048;
/// The longest RSA modulus in bits: what clients are known to make. With an exponent below
/// [`RSA_MAX_EXPONENT_BYTES`] a verification stays well under a millisecond.
pub const RSA_MAX_BITS: usize = 8192;
/// The longest RSA exponent in octets. Real ones are 3 or 65537; a long one only costs us time.
pub const RSA_MAX_EXPONENT_BYTES: usize = 4;

/// Members that only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4; RFC 8037 section 2).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// A modulus that one of these divides was made by a broken generator.
const SMALL_PRIMES: [u64; 53] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223, 227, 229, 233, 239,
    241, 251,
];

/// The DER of a SubjectPublicKeyInfo for P-256, up to the point (RFC 5480 section 2).
const SPKI_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same for P-384.
const SPKI_P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// The same for Ed25519 (RFC 8410 section 4).
const SPKI_ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key is not accepted. All of it is the sender's to mend, and fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The text is no JSON object.
    #[error("the JWK cannot be read: {0}")]
    Json(#[from] json::JsonError),
    /// A member that the key type needs is missing, no string, or no base64url.
    #[error("the JWK member {0:?} is missing or is not a base64url string of the right kind")]
    Member(&'static str),
    /// The key type is not supported.
    #[error("the key type is not supported: use EC, OKP or RSA")]
    KeyType,
    /// The curve is not supported.
    #[error("the curve is not supported: use P-256, P-384 or Ed25519")]
    Curve,
    /// It holds a private key.
    #[error("the JWK has the member {0:?}: never send a private or symmetric key")]
    Private(&'static str),
    /// A coordinate has not exactly the length of the field.
    #[error("the JWK member {0:?} has not the full length of the curve")]
    CoordinateLength(&'static str),
    /// The point is not on the curve, or is the one at infinity.
    #[error("the point is not on the curve")]
    Point,
    /// The Ed25519 key is of small order or not canonical.
    #[error("the Ed25519 key is weak or not canonical")]
    WeakEd25519,
    /// An RSA number is zero or begins with a zero octet (RFC 7518 section 2, Base64urlUInt).
    #[error("the JWK member {0:?} is zero or begins with a zero octet")]
    LeadingZero(&'static str),
    /// The RSA modulus is too short or too long.
    #[error("the RSA modulus has {0} bits: {RSA_MIN_BITS} to {RSA_MAX_BITS} are accepted")]
    RsaLength(usize),
    /// The RSA exponent is even, 1, or too long.
    #[error("the RSA exponent must be odd, at least 3, and at most {RSA_MAX_EXPONENT_BYTES} octets long")]
    RsaExponent,
    /// The RSA modulus is even or has a small factor.
    #[error("the RSA modulus has a small factor")]
    RsaModulus,
    /// The SubjectPublicKeyInfo is not the DER of a supported key.
    #[error("the SubjectPublicKeyInfo is not the DER of a supported key")]
    Spki,
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The algorithm is none of the key's.
    #[error("the algorithm does not fit the key")]
    Algorithm,
    /// The signature is wrong.
    #[error("the signature does not verify")]
    Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    /// The length of a coordinate in octets.
    const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    const fn spki_prefix(self) -> &'static [u8] {
        match self {
            Self::P256 => SPKI_P256,
            Self::P384 => SPKI_P384,
        }
    }

    fn verification(self) -> &'static aws::EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &aws::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &aws::ECDSA_P384_SHA384_FIXED,
        }
    }
}

/// The numbers of a key, in their only form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Material {
    /// The uncompressed point: 4, x, y.
    Ec { curve: Curve, point: Vec<u8> },
    /// The compressed point of RFC 8032.
    Ed25519 { x: [u8; 32] },
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// A public key that passed the policy: P-256, P-384, Ed25519, or RSA within the bounds above.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Jwk {
    material: Material,
}

impl Jwk {
    /// Reads a JWK. Members that the key type does not need are ignored (RFC 7517 section 4).
    ///
    /// # Errors
    ///
    /// [`JwkError`] when the text is no JWK, or the key does not pass the policy.
    pub fn from_json(text: &str) -> Result<Self, JwkError> {
        Self::from_members(&json::from_slice(text.as_bytes())?)
    }

    /// Reads the members of a JWK that has come through [`json::from_slice`].
    pub(crate) fn from_members(members: &Map<String, Value>) -> Result<Self, JwkError> {
        let kty = text(members, "kty")?;
        if kty == "oct" {
            return Err(JwkError::KeyType);
        }
        if let Some(name) = PRIVATE_MEMBERS.into_iter().find(|name| members.contains_key(*name)) {
            return Err(JwkError::Private(name));
        }
        match kty {
            "EC" => Self::from_ec(members),
            "OKP" => Self::from_okp(members),
            "RSA" => Self::from_rsa(octets(members, "n")?, octets(members, "e")?),
            _ => Err(JwkError::KeyType),
        }
    }

    fn from_ec(members: &Map<String, Value>) -> Result<Self, JwkError> {
        let curve = match text(members, "crv")? {
            "P-256" => Curve::P256,
            "P-384" => Curve::P384,
            _ => return Err(JwkError::Curve),
        };
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = octets(members, name)?;
            if coordinate.len() != curve.field_len() {
                return Err(JwkError::CoordinateLength(name));
            }
            point.extend(coordinate);
        }
        Self::from_point(curve, point)
    }

    fn from_point(curve: Curve, point: Vec<u8>) -> Result<Self, JwkError> {
        UnparsedPublicKey::new(curve.verification(), &point)
            .parse()
            .map_err(|_| JwkError::Point)?;
        Ok(Self {
            material: Material::Ec { curve, point },
        })
    }

    /// Takes an uncompressed point for the curve of an ECDSA algorithm.
    pub(crate) fn from_sec1(alg: Algorithm, point: &[u8]) -> Result<Self, JwkError> {
        let curve = match alg {
            Algorithm::Es256 => Curve::P256,
            Algorithm::Es384 => Curve::P384,
            Algorithm::EdDsa | Algorithm::Rs256 | Algorithm::Ps256 => return Err(JwkError::Curve),
        };
        if point.len() != 1 + 2 * curve.field_len() || point[0] != 4 {
            return Err(JwkError::Point);
        }
        Self::from_point(curve, point.to_vec())
    }

    fn from_okp(members: &Map<String, Value>) -> Result<Self, JwkError> {
        if text(members, "crv")? != "Ed25519" {
            return Err(JwkError::Curve);
        }
        let x = octets(members, "x")?;
        Self::from_ed25519(x.try_into().map_err(|_| JwkError::CoordinateLength("x"))?)
    }

    pub(crate) fn from_ed25519(x: [u8; 32]) -> Result<Self, JwkError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&x).map_err(|_| JwkError::Point)?;
        // A second encoding of one point would be a second thumbprint of one key.
        let canonical = key.to_edwards().compress().to_bytes() == x;
        if key.is_weak() || !canonical {
            return Err(JwkError::WeakEd25519);
        }
        Ok(Self {
            material: Material::Ed25519 { x },
        })
    }

    pub(crate) fn from_rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, JwkError> {
        for (name, number) in [("n", &n), ("e", &e)] {
            if number.first().is_none_or(|first| *first == 0) {
                return Err(JwkError::LeadingZero(name));
            }
        }
        let bits = n.len() * 8 - n[0].leading_zeros() as usize;
        if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
            return Err(JwkError::RsaLength(bits));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !odd(&e) || e == [1] || e.len() > RSA_MAX_EXPONENT_BYTES {
            return Err(JwkError::RsaExponent);
        }
        if !odd(&n) || SMALL_PRIMES.into_iter().any(|prime| remainder(&n, prime) == 0) {
            return Err(JwkError::RsaModulus);
        }
        Ok(Self {
            material: Material::Rsa { n, e },
        })
    }

    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    ///
    /// [`JwkError::Spki`] when the octets are not exactly the DER of a supported key, or what
    /// [`Jwk::from_json`] says about the key itself.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, JwkError> {
        for curve in [Curve::P256, Curve::P384] {
            if let Some(point) = der.strip_prefix(curve.spki_prefix()) {
                if point.len() != 1 + 2 * curve.field_len() || point[0] != 4 {
                    return Err(JwkError::Spki);
                }
                return Self::from_point(curve, point.to_vec());
            }
        }
        if let Some(x) = der.strip_prefix(SPKI_ED25519) {
            return Self::from_ed25519(x.try_into().map_err(|_| JwkError::Spki)?);
        }
        let jwk = Self::from_rsa_spki(der)?;
        // What does not come back unchanged was no DER, or had other parameters.
        if jwk.spki_der() == der {
            Ok(jwk)
        } else {
            Err(JwkError::Spki)
        }
    }

    fn from_rsa_spki(der: &[u8]) -> Result<Self, JwkError> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| JwkError::Spki)?;
        if !rest.is_empty() {
            return Err(JwkError::Spki);
        }
        let Ok(PublicKey::RSA(rsa)) = spki.parsed() else {
            return Err(JwkError::Spki);
        };
        // DER puts one zero octet in front of a number whose first bit is set.
        let unsigned = |number: &[u8]| number.strip_prefix(&[0]).unwrap_or(number).to_vec();
        Self::from_rsa(unsigned(rsa.modulus), unsigned(rsa.exponent))
    }

    /// Returns the JWK with the required members only, sorted and without white space: the form
    /// that RFC 7638 hashes.
    pub fn to_json(&self) -> String {
        let text = |octets: &[u8]| base64url::encode(octets);
        match &self.material {
            Material::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.field_len());
                format!(
                    r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                    curve.name(),
                    text(x),
                    text(y)
                )
            }
            Material::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x))
            }
            Material::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n))
            }
        }
    }

    /// Returns the thumbprint with SHA-256 (RFC 7638 section 3).
    pub fn thumbprint(&self) -> Thumbprint {
        let hash = digest::digest(&digest::SHA256, self.to_json().as_bytes());
        Thumbprint(hash.as_ref().try_into().expect("invariant: SHA-256 gives 32 octets"))
    }

    /// Returns the algorithms that the key can be used with; the first one is preferred.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match &self.material {
            Material::Ec { curve: Curve::P256, .. } => &[Algorithm::Es256],
            Material::Ec { curve: Curve::P384, .. } => &[Algorithm::Es384],
            Material::Ed25519 { .. } => &[Algorithm::EdDsa],
            Material::Rsa { .. } => &[Algorithm::Rs256, Algorithm::Ps256],
        }
    }

    /// Verifies a signature in the form of JWS: r and s in full length for ECDSA, never DER.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says whether the algorithm or the signature is wrong.
    pub fn verify(&self, alg: Algorithm, input: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        if !self.algorithms().contains(&alg) {
            return Err(VerifyError::Algorithm);
        }
        match &self.material {
            Material::Ed25519 { x } => verify_ed25519(x, input, signature),
            Material::Ec { point, .. } => verify_jwt(&DecodingKey::from_ec_der(point), alg, input, signature),
            Material::Rsa { n, e } => verify_jwt(&DecodingKey::from_rsa_raw_components(n, e), alg, input, signature),
        }
    }

    /// Returns the DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> Vec<u8> {
        match &self.material {
            Material::Ec { curve, point } => [curve.spki_prefix(), point].concat(),
            Material::Ed25519 { x } => [SPKI_ED25519, x].concat(),
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .as_der()
                .expect("invariant: the numbers of an RSA key were checked when it was made")
                .as_ref()
                .to_vec(),
        }
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, JwkError> {
    members.get(name).and_then(Value::as_str).ok_or(JwkError::Member(name))
}

fn octets(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    base64url::decode(text(members, name)?).map_err(|_| JwkError::Member(name))
}

/// The remainder of a big-endian number by a divisor below 2^32.
fn remainder(number: &[u8], divisor: u64) -> u64 {
    let (head, words) = number.split_at(number.len() % 4);
    let first = head.iter().fold(0, |rest, octet| (rest << 8) | u64::from(*octet)) % divisor;
    words.chunks_exact(4).fold(first, |rest, word| {
        let word = word.iter().fold(0, |value, octet| (value << 8) | u64::from(*octet));
        ((rest << 32) | word) % divisor
    })
}

fn verify_ed25519(x: &[u8; 32], input: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| VerifyError::Signature)?;
    ed25519_dalek::VerifyingKey::from_bytes(x)
        .and_then(|key| key.verify_strict(input, &signature))
        .map_err(|_| VerifyError::Signature)
}

/// Verifies with the raw primitive of jsonwebtoken: its header and claim rules are not ACME's.
fn verify_jwt(key: &DecodingKey, alg: Algorithm, input: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let alg = match alg {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
    };
    match jsonwebtoken::crypto::verify(&base64url::encode(signature), input, key, alg) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(VerifyError::Signature),
    }
}

/// The SHA-256 thumbprint of a key (RFC 7638): what names it in key authorizations and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 32]);

impl Thumbprint {
    /// Returns the octets.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl FromStr for Thumbprint {
    type Err = base64url::Base64UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octets = base64url::decode(text)?;
        octets.try_into().map(Self).map_err(|_| base64url::Base64UrlError)
    }
}

impl serde::Serialize for Thumbprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Thumbprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
