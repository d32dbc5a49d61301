//! Raw primitives: the cryptography itself, with nothing of ours around it.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
        ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use ed25519_dalek::Signer as _;
use sigillo_protocol::x509::key::KeyKind;

/// A signature scheme, with the library that offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA on P-256 with SHA-256, aws-lc-rs.
    EcdsaP256,
    /// ECDSA on P-384 with SHA-384, aws-lc-rs.
    EcdsaP384,
    /// Ed25519 as it is used here: ed25519-dalek, verifying strictly.
    Ed25519,
    /// Ed25519 by aws-lc-rs, to show what the choice of library costs.
    Ed25519AwsLc,
    /// RSA with 2048 bits, PKCS #1 v1.5 with SHA-256, aws-lc-rs.
    Rsa2048,
    /// RSA with 2048 bits, PSS with SHA-256, aws-lc-rs.
    RsaPss2048,
}

impl Scheme {
    /// The schemes that a CA's key can have.
    pub const AUTHORITIES: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048];

    /// Returns the kind of key.
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::EcdsaP256 => KeyKind::EcdsaP256,
            Self::EcdsaP384 => KeyKind::EcdsaP384,
            Self::Ed25519 | Self::Ed25519AwsLc => KeyKind::Ed25519,
            Self::Rsa2048 | Self::RsaPss2048 => KeyKind::Rsa(2048),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "P-256",
            Self::EcdsaP384 => "P-384",
            Self::Ed25519 | Self::Ed25519AwsLc => "Ed25519",
            Self::Rsa2048 => "RSA-2048",
            Self::RsaPss2048 => "RSA-2048-PSS",
        })
    }
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Dalek(ed25519_dalek::SigningKey),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A key with a message and a signature over it: what a raw signature and a raw verification need.
pub struct Primitive {
    key: Key,
    verification: &'static dyn VerificationAlgorithm,
    public_key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Primitive {
    /// Makes a key and signs a message of so many octets: hashing is part of the primitive, so the
    /// length must be that of the message which it stands for.
    pub fn new(scheme: Scheme, message_octets: usize) -> Self {
        let (key, public_key) = generate(scheme);
        let mut primitive = Self {
            key,
            verification: verification(scheme),
            public_key,
            message: vec![0x5a; message_octets],
            signature: Vec::new(),
        };
        primitive.signature = primitive.sign();
        assert!(primitive.verify(), "{scheme}: the signature verifies");
        primitive
    }

    /// Signs.
    pub fn sign(&self) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ecdsa(key) => key
                .sign(&random, &self.message)
                .expect("the key signs")
                .as_ref()
                .to_vec(),
            Key::Dalek(key) => key.sign(&self.message).to_bytes().to_vec(),
            Key::Ed25519(key) => key.sign(&self.message).as_ref().to_vec(),
            Key::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, &self.message, &mut signature)
                    .expect("the key signs");
                signature
            }
        }
    }

    /// Verifies, from the octets of the public key: keys come from strangers, so nothing is prepared.
    pub fn verify(&self) -> bool {
        if let Key::Dalek(_) = self.key {
            let key: &[u8; 32] = self
                .public_key
                .as_slice()
                .try_into()
                .expect("an Ed25519 key has 32 octets");
            let signature = ed25519_dalek::Signature::from_slice(&self.signature).expect("a signature has 64 octets");
            return ed25519_dalek::VerifyingKey::from_bytes(key)
                .and_then(|key| key.verify_strict(&self.message, &signature))
                .is_ok();
        }
        UnparsedPublicKey::new(self.verification, &self.public_key)
            .verify(&self.message, &self.signature)
            .is_ok()
    }
}

fn generate(scheme: Scheme) -> (Key, Vec<u8>) {
    match scheme {
        Scheme::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        Scheme::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        Scheme::Ed25519 => {
            let mut seed = [0; 32];
            aws_lc_rs::rand::fill(&mut seed).expect("the random generator works");
            let key = ed25519_dalek::SigningKey::from_bytes(&seed);
            let public_key = key.verifying_key().to_bytes().to_vec();
            (Key::Dalek(key), public_key)
        }
        Scheme::Ed25519AwsLc => {
            let key = Ed25519KeyPair::generate().expect("a key is made");
            let public_key = key.public_key().as_ref().to_vec();
            (Key::Ed25519(key), public_key)
        }
        Scheme::Rsa2048 => rsa(&RSA_PKCS1_SHA256),
        Scheme::RsaPss2048 => rsa(&RSA_PSS_SHA256),
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> (Key, Vec<u8>) {
    let key = EcdsaKeyPair::generate(algorithm).expect("a key is made");
    let public_key = key.public_key().as_ref().to_vec();
    (Key::Ecdsa(key), public_key)
}

fn rsa(encoding: &'static dyn RsaEncoding) -> (Key, Vec<u8>) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key is made");
    let public_key = key.public_key().as_ref().to_vec();
    (Key::Rsa(key, encoding), public_key)
}

fn verification(scheme: Scheme) -> &'static dyn VerificationAlgorithm {
    match scheme {
        Scheme::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
        Scheme::EcdsaP384 => &ECDSA_P384_SHA384_ASN1,
        Scheme::Ed25519 | Scheme::Ed25519AwsLc => &ED25519,
        Scheme::Rsa2048 => &RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPss2048 => &RSA_PSS_2048_8192_SHA256,
    }
}

/// An RSA account key that signs with PSS, which the client's own keys do not.
pub struct PssAccount {
    key: RsaKeyPair,
    jwk: sigillo_protocol::jose::Jwk,
}

impl PssAccount {
    /// Makes a key.
    pub fn generate() -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key is made");
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("a public key is encoded");
        let jwk = sigillo_protocol::jose::Jwk::from_spki_der(spki.as_ref()).expect("a new key passes the policy");
        Self { key, jwk }
    }
}

impl sigillo_protocol::jose::JwsSigner for PssAccount {
    fn algorithm(&self) -> sigillo_protocol::jose::Algorithm {
        sigillo_protocol::jose::Algorithm::Ps256
    }

    fn jwk(&self) -> &sigillo_protocol::jose::Jwk {
        &self.jwk
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, sigillo_protocol::jose::SignError> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), input, &mut signature)
            .map_err(|_| sigillo_protocol::jose::SignError("the key did not sign".to_owned()))?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_signs_what_verifies_and_nothing_else() {
        for scheme in [Scheme::Ed25519AwsLc, Scheme::RsaPss2048]
            .into_iter()
            .chain(Scheme::AUTHORITIES)
        {
            let mut primitive = Primitive::new(scheme, 100);
            primitive.message[0] ^= 1;
            assert!(!primitive.verify(), "{scheme}");
        }
    }
}
