//! Orders.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::acme::{identifier::Name, problem::Problem};

use super::{AccountId, AuthorizationId, AutoRenewal, OrderId, Renewing, Serial, Version};

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
    /// What it rests on: together they cover all names, each stands once; never changed after creation.
    pub authorizations: Vec<AuthorizationId>,
    /// How its certificates are renewed, if they are (RFC 8739).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_renewal: Option<AutoRenewal>,
    /// How far it has come.
    pub progress: Progress,
}

impl Order {
    /// Returns when the next certificate has to be begun, if one is to be renewed: the store keeps an index on it.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.progress {
            Progress::Renewing(renewing) => renewing.due,
            // It counts among those that are renewed already, and nobody has to act on it.
            Progress::Processing { .. } if self.auto_renewal.is_some() => Some(Timestamp::MAX),
            _ => None,
        }
    }
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
    /// Its certificates are renewed until its end date (RFC 8739).
    Renewing(Renewing),
    /// Its certificates were renewed, and are not any more (RFC 8739 section 3.1.2).
    Canceled {
        /// The last one.
        certificate: Option<Serial>,
        /// When it was canceled.
        at: Timestamp,
        /// Why, if it was not the client's wish.
        error: Option<Problem>,
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
            Self::Renewing(_) => "renewing",
            Self::Canceled { .. } => "canceled",
            Self::Invalid { .. } => "invalid",
        }
    }
}
