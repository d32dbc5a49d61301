//! Who signed what, with which algorithms counted as signatures at all.

use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use x509_parser::{asn1_rs::BitString, oid_registry::Oid};

/// The shortest RSA key whose signature counts.
const RSA_BITS_MIN: usize = 2048;

/// The algorithms whose signatures count: nothing with SHA-1 or MD5.
const ALGORITHMS: [Oid<'static>; 7] = [
    oid::OID_PKCS1_SHA256WITHRSA,
    oid::OID_PKCS1_SHA384WITHRSA,
    oid::OID_PKCS1_SHA512WITHRSA,
    oid::OID_PKCS1_RSASSAPSS,
    oid::OID_SIG_ECDSA_WITH_SHA256,
    oid::OID_SIG_ECDSA_WITH_SHA384,
    oid::OID_SIG_ED25519,
];

/// Verifies a signature under a key.
///
/// # Errors
/// When it is wrong, or made in a way that no longer counts; the text says which.
pub(super) fn verify(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &AlgorithmIdentifier<'_>,
    signature: &BitString<'_>,
    signed: &[u8],
) -> Result<(), String> {
    if !ALGORITHMS.contains(&algorithm.algorithm) {
        return Err(format!(
            "its signature algorithm {} does not count",
            algorithm.algorithm
        ));
    }
    if let Ok(PublicKey::RSA(rsa)) = key.parsed()
        && rsa.key_size() < RSA_BITS_MIN
    {
        return Err(format!("it is signed with an RSA key of {} bits", rsa.key_size()));
    }
    verify_signature(key, algorithm, signature, signed).map_err(|_| "its signature is wrong".to_owned())
}

/// Tells whether a certificate (DER) names another one (DER) as its issuer and was signed by it.
pub(super) fn is_issued_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, issuer))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(issuer),
    ) else {
        return false;
    };
    is_signed_by(&certificate, &issuer)
}

/// Tells whether a certificate names another one as its issuer and was signed by it.
pub(super) fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    // Byte for byte: a CA copies its own name (RFC 5280 section 7.1 would allow more).
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && verify(
            issuer.public_key(),
            &certificate.signature_algorithm,
            &certificate.signature_value,
            certificate.tbs_certificate.as_ref(),
        )
        .is_ok()
}
