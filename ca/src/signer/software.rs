//! Keys that live in memory and in files: PKCS #8, signed with by aws-lc-rs or ed25519-dalek.

use aws_lc_rs::{
    digest,
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use const_oid::db::{rfc5912, rfc8410};
use der::{Decode, asn1::ObjectIdentifier};
use ed25519_dalek::Signer as _;
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo, pkcs5::pbes2};
use sigillo_protocol::x509::key::KeyKind;
use zeroize::Zeroizing;

use super::{Passphrase, SignError, SignatureAlgorithm, Signer};

/// A key that cannot be made, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyMaterialError {
    /// The cryptographic library could not make one.
    #[error("a key of kind {0} cannot be made")]
    Generate(KeyKind),
    /// The file holds no PKCS #8 key in PEM.
    #[error("not a private key in PKCS #8 and PEM")]
    Form,
    /// The key is of a kind that does not sign here, or damaged.
    #[error("the private key is damaged or of a kind that a CA cannot use here")]
    Unsupported,
    /// The key is encrypted and no passphrase was given.
    #[error("the private key is encrypted: give its passphrase with --passphrase-file or signer.passphrase_file")]
    PassphraseMissing,
    /// The passphrase does not open the key.
    #[error("the passphrase does not open the private key")]
    PassphraseWrong,
    /// The key could not be encrypted.
    #[error("the private key cannot be encrypted: {0}")]
    Encrypt(String),
}

/// A private key as PKCS #8 in memory, wiped when it is dropped.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

const LABEL_PLAIN: &str = "PRIVATE KEY";
const LABEL_ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The head of a PKCS #8 Ed25519 key (RFC 8410 section 7); 32 octets of seed follow.
const ED25519_PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The head of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4); 32 octets of key follow.
const ED25519_SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyMaterialError::Generate`] for a size that is not offered to CAs, or when randomness fails.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyMaterialError> {
        let failed = || KeyMaterialError::Generate(kind);
        let pkcs8 = match kind {
            KeyKind::EcdsaP256 => generate_ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).ok_or_else(failed)?,
            KeyKind::EcdsaP384 => generate_ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING).ok_or_else(failed)?,
            KeyKind::Ed25519 => generate_ed25519().ok_or_else(failed)?,
            KeyKind::Rsa(bits) => generate_rsa(bits).ok_or_else(failed)?,
        };
        Ok(Self { pkcs8 })
    }

    /// Reads a key from PEM, with a passphrase if it is encrypted.
    ///
    /// # Errors
    /// When it is no key, or the passphrase is missing or wrong.
    pub fn from_pem(text: &str, passphrase: Option<&Passphrase>) -> Result<Self, KeyMaterialError> {
        let (label, document) = der::SecretDocument::from_pem(text).map_err(|_| KeyMaterialError::Form)?;
        let pkcs8 = match label {
            LABEL_PLAIN => document.to_bytes(),
            LABEL_ENCRYPTED => {
                let passphrase = passphrase.ok_or(KeyMaterialError::PassphraseMissing)?;
                let encrypted =
                    EncryptedPrivateKeyInfo::from_der(document.as_bytes()).map_err(|_| KeyMaterialError::Form)?;
                // A wrong passphrase shows as bad padding, or as bytes that are no key.
                let plain = encrypted
                    .decrypt(passphrase.expose())
                    .map_err(|_| KeyMaterialError::PassphraseWrong)?;
                PrivateKeyInfo::from_der(plain.as_bytes()).map_err(|_| KeyMaterialError::PassphraseWrong)?;
                plain.to_bytes()
            }
            _ => return Err(KeyMaterialError::Form),
        };
        Ok(Self { pkcs8 })
    }

    /// Writes the key as PEM, encrypted (PBES2 with scrypt and AES-256) if a passphrase is given.
    ///
    /// # Errors
    /// [`KeyMaterialError::Encrypt`] when that fails.
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, KeyMaterialError> {
        let failed = |error: String| KeyMaterialError::Encrypt(error);
        let document = match passphrase {
            None => der::SecretDocument::try_from(self.pkcs8.as_slice()).map_err(|e| failed(e.to_string()))?,
            Some(passphrase) => {
                let (mut salt, mut iv) = ([0; 16], [0; 16]);
                getrandom::fill(&mut salt).map_err(|e| failed(e.to_string()))?;
                getrandom::fill(&mut iv).map_err(|e| failed(e.to_string()))?;
                let parameters = encryption(&salt, &iv);
                PrivateKeyInfo::from_der(&self.pkcs8)
                    .map_err(|e| failed(e.to_string()))?
                    .encrypt_with_params(parameters, passphrase.expose())
                    .map_err(|e| failed(e.to_string()))?
            }
        };
        let label = if passphrase.is_some() {
            LABEL_ENCRYPTED
        } else {
            LABEL_PLAIN
        };
        document
            .to_pem(label, der::pem::LineEnding::LF)
            .map_err(|e| failed(e.to_string()))
    }
}

/// scrypt as strong as openssl opens without being told: it grants scrypt 32 MiB, so that a greater
/// N would lock operators out of their own keys; p makes up for it. AES-256 in CBC mode.
fn encryption<'a>(salt: &'a [u8; 16], iv: &'a [u8; 16]) -> pbes2::Parameters<'a> {
    let kdf = pbes2::ScryptParams {
        salt,
        cost_parameter: 1 << 14,
        block_size: 8,
        parallelization: 5,
        key_length: None,
    };
    pbes2::Parameters {
        kdf: pbes2::Kdf::Scrypt(kdf),
        encryption: pbes2::EncryptionScheme::Aes256Cbc { iv },
    }
}

fn generate_ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Option<Zeroizing<Vec<u8>>> {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).ok()?;
    Some(Zeroizing::new(document.as_ref().to_vec()))
}

fn generate_ed25519() -> Option<Zeroizing<Vec<u8>>> {
    let mut pkcs8 = Zeroizing::new(ED25519_PKCS8_HEAD.to_vec());
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).ok()?;
    pkcs8.extend_from_slice(seed.as_ref());
    Some(pkcs8)
}

fn generate_rsa(bits: u16) -> Option<Zeroizing<Vec<u8>>> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        _ => return None,
    };
    let key = RsaKeyPair::generate(size).ok()?;
    let document = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).ok()?;
    Some(Zeroizing::new(document.as_ref().to_vec()))
}

/// A key in memory that signs.
pub struct SoftwareSigner {
    key: Key,
    algorithm: SignatureAlgorithm,
    spki_der: Vec<u8>,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Ed25519(ed25519_dalek::SigningKey),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoftwareSigner")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl SoftwareSigner {
    /// Makes a signer of a private key.
    ///
    /// # Errors
    /// [`KeyMaterialError::Unsupported`] when the key is damaged or of another kind.
    pub fn new(key: &PrivateKey) -> Result<Self, KeyMaterialError> {
        let unsupported = KeyMaterialError::Unsupported;
        let info = PrivateKeyInfo::from_der(&key.pkcs8).map_err(|_| unsupported.clone())?;
        match info.algorithm.oid {
            rfc5912::ID_EC_PUBLIC_KEY => {
                let curve: ObjectIdentifier = info.algorithm.parameters_oid().map_err(|_| unsupported.clone())?;
                ecdsa(&key.pkcs8, curve)
            }
            rfc8410::ID_ED_25519 => ed25519(info.private_key),
            rfc5912::RSA_ENCRYPTION => rsa(&key.pkcs8),
            _ => None,
        }
        .ok_or(unsupported)
    }
}

fn ecdsa(pkcs8: &[u8], curve: ObjectIdentifier) -> Option<SoftwareSigner> {
    let (signing, algorithm) = match curve {
        rfc5912::SECP_256_R_1 => (&ECDSA_P256_SHA256_ASN1_SIGNING, SignatureAlgorithm::EcdsaP256Sha256),
        rfc5912::SECP_384_R_1 => (&ECDSA_P384_SHA384_ASN1_SIGNING, SignatureAlgorithm::EcdsaP384Sha384),
        _ => return None,
    };
    let key = EcdsaKeyPair::from_pkcs8(signing, pkcs8).ok()?;
    let spki_der = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())
        .ok()?
        .as_ref()
        .to_vec();
    Some(SoftwareSigner {
        key: Key::Ecdsa(key),
        algorithm,
        spki_der,
    })
}

fn ed25519(private_key: &[u8]) -> Option<SoftwareSigner> {
    // CurvePrivateKey is an OCTET STRING inside the OCTET STRING.
    let seed: &[u8; 32] = private_key.strip_prefix(&[4, 0x20])?.try_into().ok()?;
    let key = ed25519_dalek::SigningKey::from_bytes(seed);
    let spki_der = [&ED25519_SPKI_HEAD[..], key.verifying_key().as_bytes()].concat();
    Some(SoftwareSigner {
        key: Key::Ed25519(key),
        algorithm: SignatureAlgorithm::Ed25519,
        spki_der,
    })
}

fn rsa(pkcs8: &[u8]) -> Option<SoftwareSigner> {
    let key = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
    let spki_der = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())
        .ok()?
        .as_ref()
        .to_vec();
    Some(SoftwareSigner {
        key: Key::Rsa(key),
        algorithm: SignatureAlgorithm::RsaSha256,
        spki_der,
    })
}

impl Signer for SoftwareSigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError("the cryptographic library refused".to_owned());
        match &self.key {
            Key::Ecdsa(key) => Ok(key
                .sign(&SystemRandom::new(), message)
                .map_err(failed)?
                .as_ref()
                .to_vec()),
            Key::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }

    fn sign_pieces(&self, pieces: &[&[u8]]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError("the cryptographic library refused".to_owned());
        let digest = |algorithm| {
            let mut context = digest::Context::new(algorithm);
            pieces.iter().for_each(|piece| context.update(piece));
            context.finish()
        };
        match &self.key {
            Key::Ecdsa(key) => {
                let algorithm = match self.algorithm {
                    SignatureAlgorithm::EcdsaP384Sha384 => &digest::SHA384,
                    _ => &digest::SHA256,
                };
                let signature = key.sign_digest(&digest(algorithm)).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            // It reads its message twice, so it has to be there as a whole (RFC 8032 section 5.1.6).
            Key::Ed25519(_) => self.sign(&pieces.concat()),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign_digest(&RSA_PKCS1_SHA256, &digest(&digest::SHA256), &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::verify;

    #[test]
    fn every_kind_signs_what_verifies_and_nothing_else() {
        for kind in [
            KeyKind::EcdsaP256,
            KeyKind::EcdsaP384,
            KeyKind::Ed25519,
            KeyKind::Rsa(2048),
        ] {
            let key = PrivateKey::generate(kind).unwrap();
            let read = PrivateKey::from_pem(&key.to_pem(None).unwrap(), None).unwrap();
            let signer = SoftwareSigner::new(&read).unwrap();
            assert_eq!(
                signer.spki_der(),
                SoftwareSigner::new(&key).unwrap().spki_der(),
                "{kind}"
            );
            let signature = signer.sign(b"message").unwrap();
            let good =
                |message: &[u8], signature: &[u8]| verify(signer.algorithm(), signer.spki_der(), message, signature);
            assert!(good(b"message", &signature), "{kind}");
            assert!(!good(b"massage", &signature), "{kind}");
            let in_pieces = signer.sign_pieces(&[b"mes", b"", b"sage"]).unwrap();
            assert!(good(b"message", &in_pieces), "{kind}");
            assert!(!good(b"message", &signature[1..]), "{kind}");
        }
        assert!(PrivateKey::generate(KeyKind::Rsa(2056)).is_err());
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
        let right = Passphrase::new("correct horse".to_owned());
        let pem = key.to_pem(Some(&right)).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert_eq!(
            PrivateKey::from_pem(&pem, None).unwrap_err(),
            KeyMaterialError::PassphraseMissing
        );
        let wrong = Passphrase::new("battery staple".to_owned());
        assert_eq!(
            PrivateKey::from_pem(&pem, Some(&wrong)).unwrap_err(),
            KeyMaterialError::PassphraseWrong
        );
        assert_eq!(PrivateKey::from_pem(&pem, Some(&right)).unwrap().pkcs8, key.pkcs8);
    }

    #[test]
    fn what_is_no_key_is_said_to_be_none() {
        for text in ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"] {
            assert_eq!(PrivateKey::from_pem(text, None).unwrap_err(), KeyMaterialError::Form);
        }
        let empty = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        let key = PrivateKey::from_pem(empty, None).unwrap();
        assert_eq!(SoftwareSigner::new(&key).unwrap_err(), KeyMaterialError::Unsupported);
    }
}
