//! What is needed to renew a certificate without asking anybody, and when.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::acme::renewal_info::Window;

use crate::key::KeyType;

/// How control of the names is proven, as the user chose it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChallengeSettings {
    /// The one challenge type to use; otherwise whatever is offered and configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// The port that answers http-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http01_port: Option<u16>,
    /// The folder that a web server serves, for http-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webroot: Option<PathBuf>,
    /// The port that answers tls-alpn-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_alpn01_port: Option<u16>,
    /// The program that sets TXT records, for dns-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_hook: Option<PathBuf>,
    /// The file that describes a server for dynamic updates, for dns-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_rfc2136: Option<PathBuf>,
    /// How many seconds a new TXT record is given to become visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_wait: Option<u64>,
}

/// How and when a certificate is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// The directory of the server that issued it.
    pub directory: String,
    /// The roots that the server's own certificate was checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_root: Option<PathBuf>,
    /// The names that were asked for, as they were written.
    pub names: Vec<String>,
    /// How control of them is proven.
    #[serde(default)]
    pub challenges: ChallengeSettings,
    /// What kind of key the next certificate gets.
    #[serde(default)]
    pub key_type: KeyType,
    /// Whether the next certificate keeps the key.
    #[serde(default)]
    pub reuse_key: bool,
    /// The profile it was ordered under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The user's own request, where the key is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<PathBuf>,
    /// The program that runs after a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_hook: Option<PathBuf>,
    /// When it is renewed.
    #[serde(default)]
    pub state: RenewalState,
}

/// What is known about the time of the next renewal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalState {
    /// The window that the server suggested last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The moment that was chosen, at random, inside the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Timestamp>,
    /// When the server is asked again for its window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_again: Option<Timestamp>,
    /// How many times in a row asking has failed.
    pub ask_failures: u32,
    /// How many times in a row renewing has failed.
    pub renew_failures: u32,
    /// Before this time renewing is not tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Set when the certificate was revoked: it is not renewed by itself any more.
    pub revoked: bool,
}
