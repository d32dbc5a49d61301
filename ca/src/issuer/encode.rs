//! Bytes: to-be-signed certificates as rcgen writes them, and what goes around them.
//!
//! rcgen signs while it encodes, and derives the issuer field from a map of attributes. Here it is
//! given a key that only keeps the message, so that the bytes can be linted and recorded before the
//! real key sees them; and the issuer field is put in byte for byte, since RFC 5280 section
//! 4.1.2.4 wants it equal to the issuing certificate's subject however that was encoded.

use std::sync::Mutex;

use aws_lc_rs::digest;
use der::{
    Encode, Reader, SliceReader, Tag,
    asn1::{AnyRef, BitStringRef},
};
use rcgen::{CertificateParams, DistinguishedName, KeyIdMethod, PublicKeyData, SigningKey, SubjectPublicKeyInfo};
use x509_parser::{prelude::FromDer, x509::AlgorithmIdentifier};

use crate::signer::SignatureAlgorithm;

/// A structure that could not be encoded: a mistake of ours, or a key that was not checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be encoded: {0}")]
pub struct EncodeError(pub String);

impl From<rcgen::Error> for EncodeError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<der::Error> for EncodeError {
    fn from(error: der::Error) -> Self {
        Self(error.to_string())
    }
}

/// A key that keeps the message instead of signing it.
struct Recorder {
    algorithm: SignatureAlgorithm,
    message: Mutex<Vec<u8>>,
}

impl PublicKeyData for Recorder {
    fn der_bytes(&self) -> &[u8] {
        // Asked for only to derive a key identifier, which is given.
        &[]
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen_algorithm(self.algorithm)
    }
}

impl SigningKey for Recorder {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut kept = self.message.lock().map_err(|_| rcgen::Error::RemoteKeyError)?;
        *kept = message.to_vec();
        Ok(Vec::new())
    }
}

/// Translates the algorithm.
pub(super) fn rcgen_algorithm(algorithm: SignatureAlgorithm) -> &'static rcgen::SignatureAlgorithm {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        SignatureAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
        SignatureAlgorithm::RsaSha256 => &rcgen::PKCS_RSA_SHA256,
    }
}

/// Returns the AlgorithmIdentifier in DER: parameters absent for ECDSA and EdDSA, NULL for RSA
/// (RFC 5758 section 3.2, RFC 8410 section 3, RFC 4055 section 5).
pub(super) fn algorithm_der(algorithm: SignatureAlgorithm) -> &'static [u8] {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        SignatureAlgorithm::EcdsaP384Sha384 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        SignatureAlgorithm::Ed25519 => &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
        SignatureAlgorithm::RsaSha256 => &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0],
    }
}

/// Tells which of the four algorithms a parsed identifier names.
pub(super) fn read_algorithm(found: &AlgorithmIdentifier<'_>) -> Option<SignatureAlgorithm> {
    [
        SignatureAlgorithm::EcdsaP256Sha256,
        SignatureAlgorithm::EcdsaP384Sha384,
        SignatureAlgorithm::Ed25519,
        SignatureAlgorithm::RsaSha256,
    ]
    .into_iter()
    .find(|algorithm| AlgorithmIdentifier::from_der(algorithm_der(*algorithm)).is_ok_and(|(_, own)| own == *found))
}

/// Encodes the to-be-signed certificate.
pub(super) fn tbs(
    params: &CertificateParams,
    spki_der: &[u8],
    issuer_subject_der: &[u8],
    issuer_key_identifier: &[u8],
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, EncodeError> {
    let recorder = Recorder {
        algorithm,
        message: Mutex::new(Vec::new()),
    };
    let mut nameless = CertificateParams::default();
    nameless.distinguished_name = DistinguishedName::new();
    nameless.key_identifier_method = KeyIdMethod::PreSpecified(issuer_key_identifier.to_vec());
    let issuer = rcgen::Issuer::new(nameless, &recorder);
    let key = SubjectPublicKeyInfo::from_der(spki_der)?;
    params.signed_by(&key, &issuer)?;
    let message = recorder
        .message
        .into_inner()
        .map_err(|_| EncodeError("the recorder failed".into()))?;
    with_issuer(&message, issuer_subject_der)
}

/// The issuer's place among the members of TBSCertificate.
const ISSUER_POSITION: usize = 3;

/// Puts the issuer field into a to-be-signed certificate.
fn with_issuer(tbs: &[u8], issuer_der: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let outer = AnyRef::try_from(tbs)?;
    let mut members = SliceReader::new(outer.value())?;
    let mut content = Vec::with_capacity(tbs.len() + issuer_der.len());
    let mut position = 0;
    while !members.is_finished() {
        let member = members.tlv_bytes()?;
        content.extend_from_slice(if position == ISSUER_POSITION {
            issuer_der
        } else {
            member
        });
        position += 1;
    }
    sequence(&content)
}

/// The subject's place among the members of TBSCertificate.
const SUBJECT_POSITION: usize = 5;

/// Returns the subject field of a to-be-signed certificate.
pub(super) fn subject_of(tbs: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let outer = AnyRef::try_from(tbs)?;
    let mut members = SliceReader::new(outer.value())?;
    for _ in 0..SUBJECT_POSITION {
        members.tlv_bytes()?;
    }
    Ok(members.tlv_bytes()?.to_vec())
}

fn sequence(content: &[u8]) -> Result<Vec<u8>, EncodeError> {
    Ok(AnyRef::new(Tag::Sequence, content)?.to_der()?)
}

/// Puts the parts of a signed structure together.
pub(super) fn signed(tbs: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let signature = BitStringRef::from_bytes(signature)?.to_der()?;
    sequence(&[tbs, algorithm_der(algorithm), &signature].concat())
}

/// Returns the key identifier of a key: the first 20 octets of the SHA-256 over its bits (RFC 7093
/// section 2, method 1).
pub fn key_identifier(spki_der: &[u8]) -> Vec<u8> {
    const LENGTH: usize = 20;
    let bits = match x509_parser::x509::SubjectPublicKeyInfo::from_der(spki_der) {
        Ok(([], spki)) => spki.subject_public_key.data.into_owned(),
        // Any fixed function of the key will do.
        _ => spki_der.to_vec(),
    };
    digest::digest(&digest::SHA256, &bits).as_ref()[..LENGTH].to_vec()
}

/// Returns the SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest
        .as_ref()
        .try_into()
        .expect("invariant: a SHA-256 digest has 32 octets")
}

/// Writes a certificate as PEM with lines of 64 characters (RFC 7468 section 2).
pub(super) fn certificate_pem(der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config)
}

/// Translates a moment for rcgen, which takes another crate's type.
macro_rules! rcgen_time {
    ($timestamp:expr) => {{
        let seconds = u64::try_from($timestamp.as_second()).unwrap_or(0);
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
    }};
}
pub(super) use rcgen_time;
