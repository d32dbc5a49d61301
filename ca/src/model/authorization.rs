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
    /// Its state as of the last writing; a time that has passed shows as expired when read.
    pub status: AuthorizationStatus,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it can be used.
    pub expires: Timestamp,
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
    /// The random part: 128 bits as base64url.
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
