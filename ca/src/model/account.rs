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
    /// How its holder can be reached: `mailto:` URLs.
    pub contact: Vec<String>,
    /// The URL of the terms that were agreed to.
    pub terms_agreed: Option<String>,
    /// The external account that it was bound to when it was made.
    pub binding: Option<Binding>,
    /// When it was made.
    pub created: Timestamp,
}

/// An external account binding that was verified (RFC 8555 section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The external key's name.
    pub kid: String,
    /// The binding's JWS as it was received: it is shown unchanged.
    pub jws: String,
}
