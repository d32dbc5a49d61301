//! The issuers that are answered for, and the delegated responder that signs for each.

use std::sync::{Arc, RwLock};

use aws_lc_rs::digest::{self, digest};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::ID_KP_OCSP_SIGNING,
        rfc5912::{ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512},
    },
};
use der::{Decode, Encode};
use jiff::Timestamp;
use x509_cert::{Certificate, ext::pkix::ExtendedKeyUsage};

use crate::{
    model::IssuerId,
    signer::{SharedSigner, SignatureAlgorithm},
    status::encode::{algorithm_identifier, element, tag},
};

/// The hash algorithms by which a CertID may name an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-1: what most clients still send. It only finds the issuer; nothing rests on its strength.
    Sha1,
    /// SHA-256: what RFC 9919 asks for.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Finds the algorithm of an object identifier.
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.oid() == oid)
    }

    /// Finds the algorithm of an object identifier's content octets.
    pub(super) fn from_oid_content(content: &[u8]) -> Option<Self> {
        Some(match content {
            [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Self::Sha1,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => Self::Sha256,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => Self::Sha384,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => Self::Sha512,
            _ => return None,
        })
    }

    /// Returns its object identifier.
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => ID_SHA_1,
            Self::Sha256 => ID_SHA_256,
            Self::Sha384 => ID_SHA_384,
            Self::Sha512 => ID_SHA_512,
        }
    }

    fn hash(self, octets: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest(algorithm, octets)
    }
}

/// A responder that cannot sign for its issuer.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// A certificate is not DER, or not such as it encodes again.
    #[error("a certificate cannot be used: {0}")]
    Certificate(String),
    /// The key is not the certificate's.
    #[error("the key is not the one in the responder's certificate")]
    OtherKey,
    /// The certificate was not issued by the CA that it is to answer for.
    #[error("the responder's certificate was not issued by the CA that it is to answer for")]
    OtherIssuer,
    /// The certificate does not say that it may sign OCSP answers.
    #[error("the responder's certificate lacks the extended key usage OCSPSigning")]
    NotDelegated,
}

impl From<der::Error> for ResponderError {
    fn from(error: der::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

/// A key with the certificate that delegates the signing of answers to it.
pub struct Responder {
    pub(super) signer: SharedSigner,
    certificate: Certificate,
    /// The ResponderID, encoded.
    pub(super) id_der: Vec<u8>,
    /// The AlgorithmIdentifier of its signatures, encoded.
    pub(super) algorithm_der: &'static [u8],
    /// The `certs` of its answers, encoded: its own certificate.
    pub(super) certs_der: Vec<u8>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Whether signing is slow enough to be kept off the async threads.
    pub(super) slow: bool,
}

impl Responder {
    /// Takes a key and its certificate. `remote` says that the key is not in this process, so that signing waits.
    ///
    /// # Errors
    /// When the certificate cannot be used or is not the key's.
    pub fn new(certificate_der: &[u8], signer: SharedSigner, remote: bool) -> Result<Self, ResponderError> {
        let certificate = read_certificate(certificate_der)?;
        let tbs = &certificate.tbs_certificate;
        if tbs.subject_public_key_info.to_der()? != signer.spki_der() {
            return Err(ResponderError::OtherKey);
        }
        // byKey is the SHA-1 of the key's bits whatever else is hashed how (RFC 6960 section 4.2.2.3).
        let key_hash = HashAlgorithm::Sha1.hash(tbs.subject_public_key_info.subject_public_key.raw_bytes());
        let id_der = element(
            tag::CONTEXT_2_CONSTRUCTED,
            &element(tag::OCTET_STRING, key_hash.as_ref()),
        );
        let certs_der = element(tag::CONTEXT_0_CONSTRUCTED, &element(tag::SEQUENCE, certificate_der));
        let not_before = timestamp(tbs.validity.not_before)?;
        let not_after = timestamp(tbs.validity.not_after)?;
        let slow = remote || signer.algorithm() == SignatureAlgorithm::RsaSha256;
        Ok(Self {
            algorithm_der: algorithm_identifier(signer.algorithm()),
            signer,
            certificate,
            id_der,
            certs_der,
            not_before,
            not_after,
            slow,
        })
    }

    /// Returns whether its certificate is valid at a time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

fn read_certificate(der: &[u8]) -> Result<Certificate, ResponderError> {
    let certificate = Certificate::from_der(der)?;
    if certificate.to_der()? != der {
        return Err(ResponderError::Certificate(
            "it does not encode again to itself".to_owned(),
        ));
    }
    Ok(certificate)
}

fn timestamp(time: x509_cert::time::Time) -> Result<Timestamp, ResponderError> {
    let seconds = time.to_unix_duration().as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| ResponderError::Certificate("its validity cannot be read".to_owned()))
}

/// An issuer that is answered for.
pub struct OcspIssuer {
    id: IssuerId,
    subject: x509_cert::name::Name,
    issuer_key_spki: Vec<u8>,
    hashes: Vec<(HashAlgorithm, digest::Digest, digest::Digest)>,
    responder: RwLock<Arc<Responder>>,
}

impl OcspIssuer {
    /// Takes an issuer's certificate and its responder, which may be the issuer itself.
    ///
    /// # Errors
    /// When the responder is not entitled to sign for the issuer.
    pub fn new(id: IssuerId, certificate_der: &[u8], responder: Responder) -> Result<Self, ResponderError> {
        let certificate = read_certificate(certificate_der)?;
        let tbs = certificate.tbs_certificate;
        let subject_der = tbs.subject.to_der()?;
        let key_bits = tbs.subject_public_key_info.subject_public_key.raw_bytes();
        let hashes = HashAlgorithm::ALL
            .into_iter()
            .map(|algorithm| (algorithm, algorithm.hash(&subject_der), algorithm.hash(key_bits)))
            .collect();
        let issuer_key_spki = tbs.subject_public_key_info.to_der()?;
        check_delegation(&tbs.subject, &issuer_key_spki, &responder)?;
        Ok(Self {
            id,
            subject: tbs.subject,
            issuer_key_spki,
            hashes,
            responder: RwLock::new(Arc::new(responder)),
        })
    }

    /// Returns the issuer's name in URLs and records.
    pub fn id(&self) -> &IssuerId {
        &self.id
    }

    /// Returns who signs for it now.
    pub fn responder(&self) -> Arc<Responder> {
        self.responder
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Lets another responder sign from now on, for example with a renewed certificate.
    ///
    /// # Errors
    /// When it is not entitled to sign for the issuer; the old one stays.
    pub fn replace_responder(&self, responder: Responder) -> Result<(), ResponderError> {
        check_delegation(&self.subject, &self.issuer_key_spki, &responder)?;
        *self
            .responder
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(responder);
        Ok(())
    }

    /// Returns whether both hashes are those of this issuer.
    pub(super) fn is_named_by(&self, algorithm: HashAlgorithm, name_hash: &[u8], key_hash: &[u8]) -> bool {
        self.hashes
            .iter()
            .any(|(known, name, key)| *known == algorithm && name.as_ref() == name_hash && key.as_ref() == key_hash)
    }
}

fn check_delegation(
    subject: &x509_cert::name::Name,
    issuer_spki: &[u8],
    responder: &Responder,
) -> Result<(), ResponderError> {
    if responder.signer.spki_der() == issuer_spki {
        return Ok(());
    }
    let tbs = &responder.certificate.tbs_certificate;
    if tbs.issuer != *subject {
        return Err(ResponderError::OtherIssuer);
    }
    let usage = tbs.get::<ExtendedKeyUsage>()?;
    match usage {
        Some((_, usage)) if usage.0.contains(&ID_KP_OCSP_SIGNING) => Ok(()),
        _ => Err(ResponderError::NotDelegated),
    }
}
