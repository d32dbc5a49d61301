//! Orders (RFC 8555 section 7.1.3), with `replaces` (RFC 9773), `profile` (profiles draft) and `auto-renewal` (RFC 8739).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    auto_renewal::AutoRenewal,
    identifier::{Identifier, RequestedIdentifier},
    problem::Problem,
};

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Authorizations are missing.
    Pending,
    /// It can be finalized.
    Ready,
    /// The certificate is being issued.
    Processing,
    /// The certificate is there.
    Valid,
    /// It has failed for good.
    Invalid,
    /// Its certificates are not renewed any more (RFC 8739 section 3.1.2).
    Canceled,
}

/// An order as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Its state.
    pub status: OrderStatus,
    /// After this time the server gives it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The names that the certificate is to hold.
    pub identifiers: Vec<Identifier>,
    /// The requested first moment of validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The requested last moment of validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// URLs of its authorizations.
    pub authorizations: Vec<String>,
    /// Where the CSR goes.
    pub finalize: String,
    /// Where the certificate is, once the order is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The certificate that this one takes over from (RFC 9773 section 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The profile that it is issued under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// How its certificates are renewed, where they are (RFC 8739).
    #[serde(default, rename = "auto-renewal", skip_serializing_if = "Option::is_none")]
    pub auto_renewal: Option<AutoRenewal>,
    /// Where the present one of its certificates is, where they are renewed; then there is no `certificate`.
    #[serde(default, rename = "star-certificate", skip_serializing_if = "Option::is_none")]
    pub star_certificate: Option<String>,
}

/// The payload of a newOrder request (RFC 8555 section 7.4). Unknown members are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    /// The names that the certificate is to hold.
    pub identifiers: Vec<RequestedIdentifier>,
    /// The requested first moment of validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The requested last moment of validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The ARI identifier of the certificate that this one takes over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The profile to issue under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The wish that the certificate be short-lived and renewed by the server (RFC 8739).
    #[serde(default, rename = "auto-renewal", skip_serializing_if = "Option::is_none")]
    pub auto_renewal: Option<AutoRenewal>,
}

/// The payload of a request to change an order: only to cancel it (RFC 8739 section 3.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderUpdate {
    /// The wished state: `canceled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The payload of a finalize request (RFC 8555 section 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finalize {
    /// The certification request, base64url of its DER.
    pub csr: String,
}
