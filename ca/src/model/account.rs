//! Accounts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::{acme::account::AccountStatus, jose::Thumbprint};

use super::{AccountId, Version};

/// An ACME account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name for life.
    pub id: AccountId,
    /// Which writing of the record this is.
    pub version: Version,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Its public key, as canonical JWK text.
    pub jwk: String,
    /// The RFC 7638 thumbprint of that key; unique over all accounts.
    pub thumbprint: Thumbprint,
    /// The thumbprints of the keys before it, the latest last: records of dns-persist-01 under them stay good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_keys: Vec<Thumbprint>,
    /// How its holder can be reached: `mailto:` URLs.
    pub contact: Vec<String>,
    /// The URL of the terms that were agreed to.
    pub terms_agreed: Option<String>,
    /// The external account that it was bound to when it was made.
    pub binding: Option<Binding>,
    /// When it was made.
    pub created: Timestamp,
}

/// How many earlier keys an account remembers. Somebody who changes the key every week comes here after two years;
/// then the oldest is forgotten, since a change of keys must never be refused.
pub const EARLIER_KEYS_MAX: usize = 100;

impl Account {
    /// Gives it another key and remembers the present one.
    #[must_use]
    pub fn with_key(mut self, jwk: String, thumbprint: Thumbprint) -> Self {
        let replaced = std::mem::replace(&mut self.thumbprint, thumbprint);
        self.jwk = jwk;
        self.earlier_keys.retain(|key| *key != replaced && *key != thumbprint);
        self.earlier_keys.push(replaced);
        let surplus = self.earlier_keys.len().saturating_sub(EARLIER_KEYS_MAX);
        self.earlier_keys.drain(..surplus);
        self
    }

    /// Returns the thumbprints of all its keys, the present one first.
    pub fn thumbprints(&self) -> Vec<Thumbprint> {
        let earlier = self.earlier_keys.iter().rev().copied();
        std::iter::once(self.thumbprint).chain(earlier).collect()
    }
}

/// An external account binding that was verified (RFC 8555 section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The external key's name.
    pub kid: String,
    /// The binding's JWS as it was received: it is shown unchanged.
    pub jws: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Thumbprint {
        Thumbprint([number; 32])
    }

    fn account() -> Account {
        Account {
            id: AccountId::random(),
            version: Version::NEW,
            status: AccountStatus::Valid,
            jwk: "{}".into(),
            thumbprint: key(0),
            earlier_keys: vec![],
            contact: vec![],
            terms_agreed: None,
            binding: None,
            created: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn remembers_each_key_once_and_so_many_at_most() {
        let mut account = account().with_key("{}".into(), key(1)).with_key("{}".into(), key(2));
        assert_eq!(account.thumbprints(), [key(2), key(1), key(0)]);
        account = account.with_key("{}".into(), key(0));
        assert_eq!(account.thumbprints(), [key(0), key(2), key(1)]);
        for number in 3..=255 {
            account = account.with_key("{}".into(), key(number));
        }
        assert_eq!(account.earlier_keys.len(), EARLIER_KEYS_MAX);
        assert_eq!(account.thumbprints()[..2], [key(255), key(254)]);
    }

    #[test]
    fn a_record_from_before_there_was_a_memory_can_be_read() {
        let mut record = serde_json::to_value(account()).unwrap();
        assert!(record.get("earlier_keys").is_none());
        record["contact"] = serde_json::json!([]);
        let read: Account = serde_json::from_value(record).unwrap();
        assert_eq!(read.earlier_keys, []);
    }
}
