//! Keys for external account binding (RFC 8555 section 7.3.4).

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{AccountId, Version};

/// A MAC key that an operator handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalKey {
    /// Its name, which the client sends as `kid`.
    pub kid: String,
    /// Which writing of the record this is.
    pub version: Version,
    /// The key itself: 32 octets, since some clients take only multiples of 16.
    pub hmac: Zeroizing<Vec<u8>>,
    /// What the operator calls it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// The account that has used it; a key binds one account only.
    pub account: Option<AccountId>,
    /// Whether an operator has withdrawn it.
    pub disabled: bool,
}

impl std::fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key must never reach a log.
        f.debug_struct("ExternalKey")
            .field("kid", &self.kid)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
