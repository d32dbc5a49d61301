//! An account key in software.
//!
//! This crate makes no keys, since it holds no randomness: the caller generates one, keeps it as
//! PKCS#8, and hands it over. What ECDSA needs per signature, aws-lc-rs draws inside itself.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{self as aws, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use super::{
    alg::Algorithm,
    jwk::{Jwk, JwkError},
    jws::{JwsSigner, SignError},
};

/// Why a private key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// It is not the PKCS#8 of a supported key.
    #[error("not an unencrypted PKCS#8 key of type P-256, P-384, Ed25519 or RSA")]
    Unsupported,
    /// Its public half does not pass the policy.
    #[error(transparent)]
    Policy(#[from] JwkError),
}

enum Private {
    Ecdsa(EcdsaKeyPair),
    Ed25519(ed25519_dalek::SigningKey),
    Rsa(RsaKeyPair),
}

/// A private key that signs requests with ES256, ES384, EdDSA or RS256, by its type.
pub struct SigningKey {
    private: Private,
    jwk: Jwk,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SigningKey {
    /// Reads an unencrypted PKCS#8 key in DER.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError`] when it is none of a supported type, or too weak to be accepted anywhere.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        let (private, jwk) = ecdsa(der)
            .or_else(|| ed25519(der))
            .or_else(|| rsa(der))
            .ok_or(SigningKeyError::Unsupported)?;
        Ok(Self {
            private,
            jwk: jwk?,
            pkcs8: Zeroizing::new(der.to_vec()),
        })
    }

    /// Returns the key as it was read, to be stored.
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

type Loaded = (Private, Result<Jwk, JwkError>);

fn ecdsa(der: &[u8]) -> Option<Loaded> {
    let (pair, algorithm) = [
        (&aws::ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256),
        (&aws::ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384),
    ]
    .into_iter()
    .find_map(|(signing, alg)| EcdsaKeyPair::from_pkcs8(signing, der).ok().map(|pair| (pair, alg)))?;
    let jwk = Jwk::from_sec1(algorithm, pair.public_key().as_ref());
    Some((Private::Ecdsa(pair), jwk))
}

fn ed25519(der: &[u8]) -> Option<Loaded> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    let seed = Zeroizing::new(<[u8; 32]>::try_from(aws_seed(&pair)?.as_slice()).ok()?);
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    let jwk = Jwk::from_ed25519(key.verifying_key().to_bytes());
    Some((Private::Ed25519(key), jwk))
}

fn aws_seed(pair: &Ed25519KeyPair) -> Option<Zeroizing<Vec<u8>>> {
    use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
    let seed: Curve25519SeedBin<'_> = pair.seed().ok()?.as_be_bytes().ok()?;
    Some(Zeroizing::new(seed.as_ref().to_vec()))
}

fn rsa(der: &[u8]) -> Option<Loaded> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let pair = RsaKeyPair::from_pkcs8(der).ok()?;
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
    let jwk = Jwk::from_spki_der(spki.as_ref());
    Some((Private::Rsa(pair), jwk))
}

impl JwsSigner for SigningKey {
    fn algorithm(&self) -> Algorithm {
        // The first one is the preferred one: RS256 for RSA.
        self.jwk.algorithms()[0]
    }

    fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError("the cryptographic library refused".to_owned());
        match &self.private {
            Private::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), input)
                .map(|s| s.as_ref().to_vec())
                .map_err(failed),
            Private::Ed25519(key) => Ok(key.sign(input).to_bytes().to_vec()),
            Private::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&aws::RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("jwk", &self.jwk)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
