//! Which public keys a profile takes, as it is written in the configuration.

use serde::{Deserialize, Serialize};
use sigillo_protocol::x509::key::KeyPolicy;

/// The kinds of key, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKeys {
    /// The kinds: `ecdsa-p256`, `ecdsa-p384`, `ed25519`, `rsa`. All by default.
    pub kinds: Option<Vec<String>>,
    /// The smallest RSA modulus in bits; 2048 by default and at least.
    pub rsa_bits_min: Option<u16>,
    /// The largest RSA modulus in bits; 8192 by default and at most.
    pub rsa_bits_max: Option<u16>,
}

/// Why a list of kinds of key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A kind that does not exist.
    #[error("{0:?} is no kind of key: use ecdsa-p256, ecdsa-p384, ed25519, rsa")]
    Kind(String),
    /// No kind at all.
    #[error("at least one kind of key must be allowed")]
    Empty,
    /// Bounds outside what can be allowed, or the wrong way round.
    #[error("RSA sizes must lie between {} and {} bits", KeyPolicy::RSA_BITS.start(), KeyPolicy::RSA_BITS.end())]
    Sizes,
}

impl RawKeys {
    /// Checks what was written.
    ///
    /// # Errors
    /// When a kind is unknown, none is left, or the sizes are out of bounds.
    pub fn check(&self) -> Result<KeyPolicy, KeysError> {
        let low = self.rsa_bits_min.unwrap_or(*KeyPolicy::RSA_BITS.start());
        let high = self.rsa_bits_max.unwrap_or(*KeyPolicy::RSA_BITS.end());
        if low > high || !KeyPolicy::RSA_BITS.contains(&low) || !KeyPolicy::RSA_BITS.contains(&high) {
            return Err(KeysError::Sizes);
        }
        let Some(kinds) = &self.kinds else {
            return Ok(KeyPolicy {
                rsa_bits: Some(low..=high),
                ..KeyPolicy::default()
            });
        };
        let mut policy = KeyPolicy {
            ecdsa_p256: false,
            ecdsa_p384: false,
            ed25519: false,
            rsa_bits: None,
            ..KeyPolicy::default()
        };
        for kind in kinds {
            match kind.as_str() {
                "ecdsa-p256" => policy.ecdsa_p256 = true,
                "ecdsa-p384" => policy.ecdsa_p384 = true,
                "ed25519" => policy.ed25519 = true,
                "rsa" => policy.rsa_bits = Some(low..=high),
                other => return Err(KeysError::Kind(other.to_owned())),
            }
        }
        if kinds.is_empty() {
            Err(KeysError::Empty)
        } else {
            Ok(policy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_allows_every_good_kind() {
        assert_eq!(RawKeys::default().check(), Ok(KeyPolicy::default()));
    }

    #[test]
    fn what_is_written_narrows_the_kinds() {
        let raw = RawKeys {
            kinds: Some(vec!["rsa".into()]),
            rsa_bits_min: Some(3072),
            rsa_bits_max: None,
        };
        let policy = raw.check().unwrap();
        assert!(!policy.ecdsa_p256 && !policy.ecdsa_p384 && !policy.ed25519);
        assert_eq!(policy.rsa_bits, Some(3072..=8192));
        let kinds = |kinds: &[&str]| {
            let kinds = Some(kinds.iter().map(|k| (*k).to_owned()).collect());
            RawKeys {
                kinds,
                ..RawKeys::default()
            }
            .check()
        };
        assert_eq!(kinds(&[]), Err(KeysError::Empty));
        assert_eq!(kinds(&["dsa"]), Err(KeysError::Kind("dsa".into())));
        for (low, high) in [(1024, 4096), (4096, 2048), (2048, 16384)] {
            let raw = RawKeys {
                kinds: None,
                rsa_bits_min: Some(low),
                rsa_bits_max: Some(high),
            };
            assert_eq!(raw.check(), Err(KeysError::Sizes), "{low} {high}");
        }
    }
}
