//! Account keys of every type sign what their public half verifies.

use super::*;
use crate::jose::jws::{self, KeyRef, SignWith, UnverifiedJws};

fn pkcs8(alg: Algorithm) -> Vec<u8> {
    let alg = match alg {
        Algorithm::Es256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Algorithm::Es384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        Algorithm::EdDsa => &rcgen::PKCS_ED25519,
        Algorithm::Rs256 | Algorithm::Ps256 => &rcgen::PKCS_RSA_SHA256,
    };
    rcgen::KeyPair::generate_for(alg).unwrap().serialize_der()
}

#[test]
fn signs_with_every_key_type_and_keeps_the_key() {
    for alg in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256] {
        let der = pkcs8(alg);
        let key = SigningKey::from_pkcs8(&der).unwrap();
        assert_eq!((key.algorithm(), key.to_pkcs8()), (alg, der.as_slice()));
        let signature = key.sign(b"input").unwrap();
        assert_eq!(key.jwk().verify(alg, b"input", &signature), Ok(()));
        assert_eq!(SigningKey::from_pkcs8(key.to_pkcs8()).unwrap().jwk(), key.jwk());
    }
}

#[test]
fn a_signed_request_comes_back_as_it_was() {
    for alg in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::from_pkcs8(&pkcs8(alg)).unwrap();
        let body = jws::sign(&key, Some("abc"), "https://ca.example/x", SignWith::Jwk, b"{}").unwrap();
        let request = UnverifiedJws::parse(body.as_bytes()).unwrap();
        assert_eq!((request.alg(), request.nonce()), (alg, Some("abc")));
        assert_eq!(request.key(), &KeyRef::Jwk(key.jwk().clone()));
        let verified = request.verify_embedded().unwrap();
        assert_eq!(
            (verified.payload(), verified.url()),
            (b"{}".as_slice(), "https://ca.example/x")
        );
        assert!(!verified.is_post_as_get());
        let body = jws::sign(
            &key,
            None,
            "https://ca.example/y",
            SignWith::Kid("https://ca.example/1"),
            b"",
        )
        .unwrap();
        let verified = UnverifiedJws::parse(body.as_bytes())
            .unwrap()
            .verify(key.jwk())
            .unwrap();
        assert!(verified.is_post_as_get());
        assert_eq!(
            (verified.nonce(), verified.key()),
            (None, &KeyRef::Kid("https://ca.example/1".to_owned()))
        );
    }
}

#[test]
fn refuses_what_is_no_private_key_and_shows_none() {
    let der = pkcs8(Algorithm::Es256);
    for bad in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &der[..der.len() - 1]] {
        assert_eq!(SigningKey::from_pkcs8(bad).err(), Some(SigningKeyError::Unsupported));
    }
    let key = SigningKey::from_pkcs8(&der).unwrap();
    assert!(!format!("{key:?}").contains("pkcs8"));
}
