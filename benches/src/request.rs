//! Certification requests as clients send them.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use sigillo_protocol::x509::key::KeyKind;

/// The names that a request asks for: a site and its `www`, as most do.
pub const NAMES: [&str; 2] = ["example.test", "www.example.test"];

/// Makes a key of a kind and a request that it signs, in DER: two names, no common name.
///
/// # Panics
/// For RSA of another length than 2048, which is not measured.
pub fn certification_request(kind: KeyKind) -> Vec<u8> {
    let algorithm = match kind {
        KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyKind::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        KeyKind::Rsa(2048) => &rcgen::PKCS_RSA_SHA256,
        KeyKind::Rsa(bits) => panic!("requests with RSA of {bits} bits are not measured"),
    };
    let key = KeyPair::generate_for(algorithm).expect("a key is made");
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).expect("the names are DNS names");
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).expect("the request is encoded");
    request.der().to_vec()
}
