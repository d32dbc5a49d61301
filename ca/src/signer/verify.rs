//! Whether a signature is good: the check that follows every signing.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use super::SignatureAlgorithm;

/// Tells whether a signature over a message verifies under a key given as SubjectPublicKeyInfo.
pub fn verify(algorithm: SignatureAlgorithm, spki_der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(spki_der) else {
        return false;
    };
    let key: &[u8] = &spki.subject_public_key.data;
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
            .verify(message, signature)
            .is_ok(),
        SignatureAlgorithm::EcdsaP384Sha384 => UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, key)
            .verify(message, signature)
            .is_ok(),
        SignatureAlgorithm::RsaSha256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(message, signature)
            .is_ok(),
        SignatureAlgorithm::Ed25519 => verify_ed25519(key, message, signature),
    }
}

fn verify_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = <&[u8; 32]>::try_from(key) else {
        return false;
    };
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else {
        return false;
    };
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
        return false;
    };
    key.verify_strict(message, &signature).is_ok()
}
