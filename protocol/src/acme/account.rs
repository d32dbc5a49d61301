//! Accounts (RFC 8555 section 7.1.2).

use serde::{Deserialize, Serialize};

/// The state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// It can be used.
    Valid,
    /// Its holder has closed it.
    Deactivated,
    /// The server has closed it.
    Revoked,
}

/// An account as the server shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its state.
    pub status: AccountStatus,
    /// URLs by which its holder can be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact: Vec<String>,
    /// Whether the terms were agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_of_service_agreed: Option<bool>,
    /// The verified binding, unchanged as it was received (RFC 8555 section 7.3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<Box<serde_json::value::RawValue>>,
    /// Where the list of its orders is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<String>,
}

/// The payload of a newAccount request (RFC 8555 section 7.3). Unknown members are ignored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewAccount {
    /// URLs by which the holder can be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact: Vec<String>,
    /// Whether the terms are agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_of_service_agreed: Option<bool>,
    /// Whether only an existing account is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_return_existing: Option<bool>,
    /// A flattened JWS that binds the key to an account known elsewhere, as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<Box<serde_json::value::RawValue>>,
}

/// The payload of a POST to an account URL (RFC 8555 sections 7.3.2 and 7.3.6).
///
/// Only `contact` and `status` can be changed; everything else is ignored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountUpdate {
    /// The new contacts, all of them; absent means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Vec<String>>,
    /// `deactivated` closes the account; other values are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The payload of the inner JWS of a key change (RFC 8555 section 7.3.5).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyChange {
    /// The account's URL.
    pub account: String,
    /// The key in use until now, as a JWK.
    pub old_key: Box<serde_json::value::RawValue>,
}

/// A page of an account's orders (RFC 8555 section 7.1.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrdersPage {
    /// Their URLs.
    pub orders: Vec<String>,
}
