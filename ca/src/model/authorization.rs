//! Authorizations and their challenges.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::acme::{
    authorization::AuthorizationStatus,
    challenge::{ChallengeStatus, ChallengeType},
    identifier::Name,
    problem::Problem,
};

use super::{AccountId, AuthorizationId, Version};

/// The right of an account to certificates for one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// Its name.
    pub id: AuthorizationId,
    /// Which writing of the record this is.
    pub version: Version,
    /// Whose it is.
    pub account: AccountId,
    /// What it is for; `Name::Wildcard` for a wildcard.
    pub name: Name,
    /// Whether it is good for all names below too (RFC 9444).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subdomains: bool,
    /// Its state as of the last writing; a time that has passed shows as expired when read.
    pub status: AuthorizationStatus,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it can be used.
    pub expires: Timestamp,
    /// Until when the record that proved it allows anything at all to be issued (`persistUntil` of dns-persist-01).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist_until: Option<Timestamp>,
    /// The ways to prove control, in the order in which they are offered; addressed by position.
    pub challenges: Vec<Challenge>,
}

impl Authorization {
    /// Returns when the validator has to act next, if at all: the store keeps an index on it.
    pub fn due(&self) -> Option<Timestamp> {
        if self.status != AuthorizationStatus::Pending {
            return None;
        }
        self.challenges
            .iter()
            .filter(|c| c.status == ChallengeStatus::Processing)
            .filter_map(|c| c.next_try)
            .min()
    }

    /// Tells whether a certificate may hold a name because of it.
    ///
    /// What is proven for all names below one is proven for the wildcards there too.
    pub fn covers(&self, name: &Name) -> bool {
        let below = |ancestor| self.subdomains && name.is_within(ancestor);
        self.name == *name || matches!(&self.name, Name::Dns(ancestor) if below(ancestor))
    }

    /// Tells whether the record that proved it has said that nothing is to rest on it any more.
    pub fn has_outlived_its_record(&self, now: Timestamp) -> bool {
        self.persist_until.is_some_and(|until| until <= now)
    }

    /// Returns the challenge that made it valid.
    pub fn validated_by(&self) -> Option<&Challenge> {
        self.challenges.iter().find(|c| c.status == ChallengeStatus::Valid)
    }
}

/// One way to prove control of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Which way.
    pub kind: ChallengeType,
    /// The random part: 128 bits as base64url; empty where the type has none.
    pub token: String,
    /// Its state.
    pub status: ChallengeStatus,
    /// The key authorization by the account key at the time of the response (RFC 8555 section 8.3).
    pub key_authorization: Option<String>,
    /// How many times validation was tried.
    pub tries: u32,
    /// When it is tried next.
    pub next_try: Option<Timestamp>,
    /// When it succeeded.
    pub validated: Option<Timestamp>,
    /// Why the last try failed.
    pub error: Option<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(own: &str, subdomains: bool, name: &str) -> bool {
        let authorization = Authorization {
            id: AuthorizationId::random(),
            version: Version::NEW,
            account: AccountId::random(),
            name: own.parse().unwrap(),
            subdomains,
            status: AuthorizationStatus::Valid,
            created: Timestamp::UNIX_EPOCH,
            expires: Timestamp::MAX,
            persist_until: None,
            challenges: vec![],
        };
        authorization.covers(&name.parse().unwrap())
    }

    #[test]
    fn covers_its_own_name_alone() {
        assert!(covers("a.example", false, "a.example"));
        assert!(covers("*.a.example", false, "*.a.example"));
        for other in ["*.a.example", "b.a.example", "example", "ba.example"] {
            assert!(!covers("a.example", false, other), "{other}");
        }
        assert!(!covers("*.a.example", false, "a.example"));
    }

    #[test]
    fn covers_what_lies_below_by_whole_labels() {
        for name in [
            "a.example",
            "b.a.example",
            "c.b.a.example",
            "*.a.example",
            "*.b.a.example",
        ] {
            assert!(covers("a.example", true, name), "{name}");
        }
        for other in [
            "ba.example",
            "*.ba.example",
            "example",
            "*.example",
            "a.example.org",
            "127.0.0.1",
        ] {
            assert!(!covers("a.example", true, other), "{other}");
        }
        assert!(!covers("127.0.0.1", true, "127.0.0.2"));
    }
}
