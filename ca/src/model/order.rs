//! Orders.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::acme::{identifier::Name, problem::Problem};

use super::{AccountId, AuthorizationId, OrderId, Serial, Version};

/// An order for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: OrderId,
    /// Which writing of the record this is.
    pub version: Version,
    /// Whose it is.
    pub account: AccountId,
    /// When it was made.
    pub created: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
    /// The names that the certificate will hold, in the order of the request, none twice.
    pub names: Vec<Name>,
    /// The requested first moment of validity.
    pub not_before: Option<Timestamp>,
    /// The requested last moment of validity.
    pub not_after: Option<Timestamp>,
    /// The profile's name.
    pub profile: String,
    /// The certificate that this one takes over from (RFC 9773 section 5), as the client wrote it.
    pub replaces: Option<String>,
    /// One authorization for each name; never changed after creation.
    pub authorizations: Vec<AuthorizationId>,
    /// How far it has come.
    pub progress: Progress,
}

/// How far an order has come, as far as the order itself knows.
///
/// Pending and ready are not stored: they follow from the authorizations and the time, so that
/// no second copy of that fact can disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Progress {
    /// Not finalized.
    Open,
    /// Finalized; the certificate with this serial is intended and not yet there.
    Processing {
        /// The serial that was recorded.
        certificate: Serial,
    },
    /// The certificate is there.
    Valid {
        /// Its serial.
        certificate: Serial,
    },
    /// Failed for good.
    Invalid {
        /// Why.
        error: Problem,
    },
}

impl Progress {
    /// Returns the word that the store indexes.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Processing { .. } => "processing",
            Self::Valid { .. } => "valid",
            Self::Invalid { .. } => "invalid",
        }
    }
}
