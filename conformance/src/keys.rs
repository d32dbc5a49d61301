//! Key pairs of every kind the suite signs with: accounts, requests, validation certificates.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::base64;
use crate::der;

/// A key pair.
#[derive(Debug)]
pub(crate) enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

const FRESH: &str = "invariant: making a key needs only memory and randomness";

impl Key {
    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(FRESH))
    }

    pub(crate) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect(FRESH))
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect(FRESH))
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect(FRESH)))
    }

    /// The JWS algorithm that goes with the key.
    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public key's octets: the EC point, the Ed25519 key, or the DER of RSAPublicKey.
    pub(crate) fn public(&self) -> &[u8] {
        match self {
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    /// Modulus and exponent of an RSA key, least octets.
    pub(crate) fn rsa_members(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let Self::Rsa(_) = self else { return None };
        let parts = der::single(self.public(), der::SEQUENCE).ok()?.inside().all().ok()?;
        let least = |element: &der::Element<'_>| {
            let content = element.content;
            content[usize::from(content.first() == Some(&0))..].to_vec()
        };
        Some((least(parts.first()?), least(parts.get(1)?)))
    }

    /// The public key as a JWK with only its required members.
    pub(crate) fn jwk(&self) -> Value {
        let public = self.public();
        let point = |curve: &str| {
            let (x, y) = public[1..].split_at((public.len() - 1) / 2);
            json!({"kty": "EC", "crv": curve, "x": base64::url(x), "y": base64::url(y)})
        };
        match self {
            Self::P256(_) => point("P-256"),
            Self::P384(_) => point("P-384"),
            Self::Ed25519(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64::url(public)}),
            Self::Rsa(_) => {
                let (n, e) = self.rsa_members().unwrap_or_default();
                json!({"kty": "RSA", "n": base64::url(n), "e": base64::url(e)})
            }
        }
    }

    /// RFC 7638: SHA-256 over the required members in lexicographic order.
    pub(crate) fn thumbprint(&self) -> String {
        thumbprint(&self.jwk())
    }

    /// A JWS signature over these octets.
    pub(crate) fn sign(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) | Self::P384(pair) => pair.sign(&random, input).expect(FRESH).as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature)
                    .expect(FRESH);
                signature
            }
        }
    }

    /// A signature as X.509 carries it.
    pub(crate) fn sign_x509(&self, input: &[u8]) -> Vec<u8> {
        let signature = self.sign(input);
        match self {
            Self::P256(_) | Self::P384(_) => {
                let (r, s) = signature.split_at(signature.len() / 2);
                der::sequence(&[der::unsigned(r), der::unsigned(s)])
            }
            _ => signature,
        }
    }

    /// The AlgorithmIdentifier of [`Self::sign_x509`].
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        match self {
            Self::P256(_) => der::sequence(&[der::oid("1.2.840.10045.4.3.2")]),
            Self::P384(_) => der::sequence(&[der::oid("1.2.840.10045.4.3.3")]),
            Self::Ed25519(_) => der::sequence(&[der::oid("1.3.101.112")]),
            Self::Rsa(_) => der::sequence(&[der::oid("1.2.840.113549.1.1.11"), der::null()]),
        }
    }

    /// The DER of SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let algorithm = match self {
            Self::P256(_) => der::sequence(&[der::oid("1.2.840.10045.2.1"), der::oid("1.2.840.10045.3.1.7")]),
            Self::P384(_) => der::sequence(&[der::oid("1.2.840.10045.2.1"), der::oid("1.3.132.0.34")]),
            Self::Ed25519(_) => der::sequence(&[der::oid("1.3.101.112")]),
            Self::Rsa(_) => der::sequence(&[der::oid("1.2.840.113549.1.1.1"), der::null()]),
        };
        der::sequence(&[algorithm, der::bit_string(self.public())])
    }

    /// The private key in PKCS#8, for a TLS answerer.
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        match self {
            Self::P256(pair) | Self::P384(pair) => pair.to_pkcs8v1().expect(FRESH).as_ref().to_vec(),
            Self::Ed25519(pair) => pair.to_pkcs8().expect(FRESH).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let document: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().expect(FRESH);
                document.as_ref().to_vec()
            }
        }
    }
}

/// RFC 7638 thumbprint of a JWK, from its required members alone.
pub(crate) fn thumbprint(jwk: &Value) -> String {
    let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
    let canonical = match jwk["kty"].as_str() {
        Some("EC") => {
            format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                member("crv"),
                member("x"),
                member("y")
            )
        }
        Some("RSA") => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, member("e"), member("n")),
        _ => format!(r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#, member("crv"), member("x")),
    };
    base64::url(sha256(canonical))
}

/// SHA-256.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    digest(&SHA256, bytes.as_ref()).as_ref().to_vec()
}

/// SHA-1, for OCSP's identifiers alone.
pub(crate) fn sha1(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes.as_ref())
        .as_ref()
        .to_vec()
}

/// Random octets.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).expect(FRESH);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_thumbprints() {
        let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
                 tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            thumbprint(&json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": "extra"})),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}
