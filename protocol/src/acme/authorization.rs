//! Authorizations (RFC 8555 section 7.1.4), also of all names below one (RFC 9444).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    challenge::Challenge,
    identifier::{Identifier, RequestedIdentifier},
};

/// The state of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizationStatus {
    /// A challenge has still to be fulfilled.
    Pending,
    /// The account may have certificates for the identifier.
    Valid,
    /// Validation has failed for good.
    Invalid,
    /// Its holder has given it up.
    Deactivated,
    /// Its time is over.
    Expired,
    /// The server has taken it back.
    Revoked,
}

/// An authorization as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// What it is for; a wildcard's without the `*.`.
    pub identifier: Identifier,
    /// Its state.
    pub status: AuthorizationStatus,
    /// Until when it can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What can be, was, or failed to be fulfilled.
    pub challenges: Vec<Challenge>,
    /// True for `*.identifier`, absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wildcard: bool,
    /// True if it is good for all names below the identifier too (RFC 9444 section 4.1), absent otherwise.
    #[serde(default, rename = "subdomainAuthAllowed", skip_serializing_if = "std::ops::Not::not")]
    pub subdomain_auth_allowed: bool,
}

/// The payload of a newAuthz request (RFC 8555 section 7.4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAuthorization {
    /// What it is for, perhaps with all names below it.
    pub identifier: RequestedIdentifier,
}

/// The payload of a POST to an authorization URL (RFC 8555 section 7.5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationUpdate {
    /// `deactivated` gives the authorization up; nothing else is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}
