//! The port to a private key, wherever it is.

use std::sync::Arc;

/// The signature algorithms that a CA key can have. The key's kind decides; there is no choice of digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
    /// Ed25519.
    Ed25519,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
}

/// A private key that signs.
///
/// Only the rooms that build to-be-signed structures from recorded or derived facts hold one
/// (`issuer`, `status`); nothing above them does.
pub trait Signer: Send + Sync + 'static {
    /// Returns the algorithm of every signature.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Returns the public key as DER of its SubjectPublicKeyInfo.
    fn spki_der(&self) -> &[u8];

    /// Signs a message: hashing included; ECDSA as DER, as X.509 wants it.
    ///
    /// # Errors
    /// When the key cannot be reached or refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Signs a message that comes in pieces. Here they are put together first; a key that can hash them one after the
    /// other does, so that a long message is nowhere in one block.
    ///
    /// # Errors
    /// As for [`Signer::sign`].
    fn sign_pieces(&self, pieces: &[&[u8]]) -> Result<Vec<u8>, SignError> {
        self.sign(&pieces.concat())
    }
}

/// A signer that can be shared.
pub type SharedSigner = Arc<dyn Signer>;

/// A signature that was not made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the key did not sign: {0}")]
pub struct SignError(pub String);
