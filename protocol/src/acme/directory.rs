//! The directory (RFC 8555 section 7.1.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::auto_renewal::AutoRenewalMeta;

/// The directory: where everything else is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// Where nonces come from.
    pub new_nonce: String,
    /// Where accounts are made.
    pub new_account: String,
    /// Where orders are made.
    pub new_order: String,
    /// Where authorizations are made before an order, where that is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_authz: Option<String>,
    /// Where certificates are revoked.
    pub revoke_cert: String,
    /// Where account keys are changed.
    pub key_change: String,
    /// The base of the renewal information (RFC 9773), where that is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_info: Option<String>,
    /// About the server.
    #[serde(default)]
    pub meta: Meta,
}

/// What a server says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The terms that have to be agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_of_service: Option<String>,
    /// A page about the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// The issuer names that the server honours in CAA records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caa_identities: Vec<String>,
    /// Whether newAccount needs an external account binding.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external_account_required: bool,
    /// The profiles on offer with their descriptions (profiles draft).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, String>,
    /// Which short-term certificates are renewed automatically, where any are (RFC 8739).
    #[serde(default, rename = "auto-renewal", skip_serializing_if = "Option::is_none")]
    pub auto_renewal: Option<AutoRenewalMeta>,
    /// The issuer names that records of dns-persist-01 may show, where that is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuer_domain_names: Vec<String>,
    /// What the `accounturi` of such records begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_hash_prefix: Option<String>,
    /// Whether an authorization can be good for all names below its own (RFC 9444 section 4.4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subdomain_auth_allowed: bool,
    /// Where the server's audit log can be read, and the key that verifies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<AuditLogMeta>,
}

/// A log that proves itself (c2sp.org/tlog-tiles).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLogMeta {
    /// What its URLs begin with, without the last slash.
    pub url: String,
    /// Its key: `NAME+ID+KEY`.
    pub key: String,
}
