//! Keys: made here, never sent.

use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use serde::{Deserialize, Serialize};
use sigillo_protocol::jose::signing_key::SigningKey;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What kind of key a certificate is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    /// ECDSA on P-256: small, fast, understood everywhere.
    #[default]
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// Ed25519: not every peer takes it.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// RSA with 2048 bits.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA with 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// Returns the name as it is written in options and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Makes a new key of this kind.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate(self) -> Result<KeyPair> {
        let of = |algorithm: &'static SignatureAlgorithm| KeyPair::generate_for(algorithm);
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let made = match self {
            Self::EcdsaP256 => of(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => of(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => of(&rcgen::PKCS_ED25519),
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        made.map_err(|e| Error::local(format!("cannot make an {self} key"), e))
    }
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for KeyType {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("the key types are {}", names.join(", "))
        })
    }
}

/// Makes a new account key (ES256, which every server must support) as PKCS#8 PEM.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate_account_key() -> Result<Zeroizing<String>> {
    let key = KeyType::EcdsaP256.generate()?;
    Ok(Zeroizing::new(key.serialize_pem()))
}

/// Reads an account key from PKCS#8 PEM.
///
/// # Errors
/// When it is not PEM, or no key that can sign for an account.
pub fn account_key_from_pem(pem: &[u8]) -> Result<SigningKey> {
    let block = pem::parse(pem).map_err(|e| Error::local("the key is not PEM", e))?;
    if block.tag() != "PRIVATE KEY" {
        return Err(Error::local(
            "the key is not PKCS#8",
            format!("it is a {}", block.tag()),
        ));
    }
    let der = Zeroizing::new(block.into_contents());
    SigningKey::from_pkcs8(&der).map_err(|e| Error::local("the key cannot be used", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_made_and_read_back() {
        for kind in KeyType::ALL {
            let made = kind.generate().unwrap();
            let read = KeyPair::from_pem(&made.serialize_pem()).unwrap();
            assert_eq!(read.public_key_raw(), made.public_key_raw(), "{kind}");
            assert_eq!(kind.as_str().parse::<KeyType>().unwrap(), kind);
        }
        assert!("dsa-1024".parse::<KeyType>().is_err());
    }

    #[test]
    fn an_account_key_survives_its_file() {
        let pem = generate_account_key().unwrap();
        let key = account_key_from_pem(pem.as_bytes()).unwrap();
        let again = account_key_from_pem(pem.as_bytes()).unwrap();
        use sigillo_protocol::jose::jws::JwsSigner;
        assert_eq!(key.jwk().thumbprint(), again.jwk().thumbprint());
        assert!(account_key_from_pem(b"nothing").is_err());
    }
}
