//! Challenges (RFC 8555 section 8, RFC 8737, two drafts) and the proof that each one asks for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// How control of an identifier is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChallengeType {
    /// A file over plain HTTP (RFC 8555 section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// A TXT record (RFC 8555 section 8.4).
    #[serde(rename = "dns-01")]
    Dns01,
    /// A self-signed certificate over TLS (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record below a label of the account's own (draft-ietf-acme-dns-account-label).
    #[serde(rename = "dns-account-01")]
    DnsAccount01,
    /// A TXT record that stays (draft-ietf-acme-dns-persist).
    #[serde(rename = "dns-persist-01")]
    DnsPersist01,
}

impl ChallengeType {
    /// All types, in the order in which a server offers them.
    ///
    /// The three that every client knows come first: some take what stands there, and dns-persist-01, which has
    /// no token, comes last.
    pub const ALL: [Self; 5] = [
        Self::Http01,
        Self::Dns01,
        Self::TlsAlpn01,
        Self::DnsAccount01,
        Self::DnsPersist01,
    ];

    /// Returns the name as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::DnsAccount01 => "dns-account-01",
            Self::DnsPersist01 => "dns-persist-01",
        }
    }

    /// Tells whether the proof is in the DNS. Only this kind proves control of more than one host: of a wildcard, or
    /// of all names below one.
    pub fn is_in_dns(self) -> bool {
        matches!(self, Self::Dns01 | Self::DnsAccount01 | Self::DnsPersist01)
    }

    /// Tells whether the challenge has a token; dns-persist-01 names the account instead.
    pub fn has_token(self) -> bool {
        self != Self::DnsPersist01
    }
}

impl std::fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ChallengeType {
    type Err = UnknownChallengeType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|t| t.as_str() == name)
            .ok_or(UnknownChallengeType)
    }
}

/// A name that is no challenge type of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the challenge types are http-01, dns-01, tls-alpn-01, dns-account-01 and dns-persist-01")]
pub struct UnknownChallengeType;

/// The state of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeStatus {
    /// The client has not responded.
    Pending,
    /// The server is trying to validate it.
    Processing,
    /// Validation has succeeded.
    Valid,
    /// Validation has failed for good.
    Invalid,
}

/// A challenge as the server shows it.
///
/// The type is text, since a client meets types that it does not know and has to pass them over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Its type, for example `http-01`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where a response goes.
    pub url: String,
    /// Its state.
    pub status: ChallengeStatus,
    /// When the server validated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<Timestamp>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// The random part of the key authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The names by which a record of dns-persist-01 may name the issuer.
    #[serde(default, rename = "issuerDomainNames", skip_serializing_if = "Vec::is_empty")]
    pub issuer_domain_names: Vec<String>,
}

/// Builds a key authorization (RFC 8555 section 8.1): token, dot, thumbprint.
pub fn key_authorization(token: &str, thumbprint: &str) -> String {
    format!("{token}.{thumbprint}")
}

/// Returns the SHA-256 of a key authorization: what tls-alpn-01 puts in the certificate.
pub fn key_authorization_digest(key_authorization: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
    digest.as_ref().try_into().expect("invariant: SHA-256 gives 32 octets")
}

/// Returns the TXT value of dns-01 (RFC 8555 section 8.4).
pub fn dns01_value(key_authorization: &str) -> String {
    crate::base64url::encode(key_authorization_digest(key_authorization))
}
