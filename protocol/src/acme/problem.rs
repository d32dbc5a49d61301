//! Problem documents (RFC 9457) with the error types of ACME (RFC 8555 section 6.7).

use serde::{Deserialize, Serialize};

use super::identifier::Identifier;

/// The prefix of every registered ACME error type.
pub const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// An ACME error type: the last part of its URN.
///
/// The list is the IANA registry's for the RFCs that this crate speaks. Anything else a server
/// sends is kept as [`ErrorType::Other`] with its whole URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorType {
    /// The request names an account that does not exist.
    AccountDoesNotExist,
    /// The certificate to revoke was revoked before.
    AlreadyRevoked,
    /// The certificate named in `replaces` has a successor (RFC 9773).
    AlreadyReplaced,
    /// The order's certificates are not renewed any more: it was canceled (RFC 8739).
    AutoRenewalCanceled,
    /// The order cannot be canceled: it is not valid (RFC 8739).
    AutoRenewalCancellationInvalid,
    /// The order's certificates are not renewed any more: its end date has passed (RFC 8739).
    AutoRenewalExpired,
    /// The certificate is renewed automatically, so its order is canceled instead (RFC 8739).
    AutoRenewalRevocationNotSupported,
    /// The CSR cannot be accepted.
    BadCsr,
    /// The nonce cannot be accepted: retry with the one in this response.
    BadNonce,
    /// The JWS or the CSR holds a key that cannot be accepted.
    BadPublicKey,
    /// The server does not allow the reason.
    BadRevocationReason,
    /// The JWS is signed with an algorithm that the server does not support.
    BadSignatureAlgorithm,
    /// CAA records forbid issuance.
    Caa,
    /// Several errors: see the subproblems.
    Compound,
    /// The server could not connect to the validation target.
    Connection,
    /// A DNS query failed during validation.
    Dns,
    /// The request must carry an external account binding.
    ExternalAccountRequired,
    /// The response did not match the challenge.
    IncorrectResponse,
    /// A contact URL is invalid.
    InvalidContact,
    /// The profile is unknown or does not fit the order (profiles draft).
    InvalidProfile,
    /// The request is malformed.
    Malformed,
    /// The order is not ready to be finalized.
    OrderNotReady,
    /// A limit was exceeded.
    RateLimited,
    /// The server does not issue for the identifier.
    RejectedIdentifier,
    /// The server failed.
    ServerInternal,
    /// The validation target answered TLS wrongly.
    Tls,
    /// The client lacks the authorization.
    Unauthorized,
    /// A contact URL has an unsupported scheme.
    UnsupportedContact,
    /// An identifier has an unsupported type.
    UnsupportedIdentifier,
    /// The user must act at the `instance` URL.
    UserActionRequired,
    /// Any other URI.
    Other(String),
}

macro_rules! error_types {
    ($($variant:ident = $name:literal),* $(,)?) => {
        impl ErrorType {
            /// Returns the whole URI, as in the `type` member.
            pub fn uri(&self) -> String {
                match self {
                    $(Self::$variant => format!("{NAMESPACE}{}", $name),)*
                    Self::Other(uri) => uri.clone(),
                }
            }

            /// Reads a `type` member.
            pub fn from_uri(uri: &str) -> Self {
                match uri.strip_prefix(NAMESPACE) {
                    $(Some($name) => Self::$variant,)*
                    _ => Self::Other(uri.to_owned()),
                }
            }
        }
    };
}

error_types! {
    AccountDoesNotExist = "accountDoesNotExist",
    AlreadyRevoked = "alreadyRevoked",
    AlreadyReplaced = "alreadyReplaced",
    AutoRenewalCanceled = "autoRenewalCanceled",
    AutoRenewalCancellationInvalid = "autoRenewalCancellationInvalid",
    AutoRenewalExpired = "autoRenewalExpired",
    AutoRenewalRevocationNotSupported = "autoRenewalRevocationNotSupported",
    BadCsr = "badCSR",
    BadNonce = "badNonce",
    BadPublicKey = "badPublicKey",
    BadRevocationReason = "badRevocationReason",
    BadSignatureAlgorithm = "badSignatureAlgorithm",
    Caa = "caa",
    Compound = "compound",
    Connection = "connection",
    Dns = "dns",
    ExternalAccountRequired = "externalAccountRequired",
    IncorrectResponse = "incorrectResponse",
    InvalidContact = "invalidContact",
    InvalidProfile = "invalidProfile",
    Malformed = "malformed",
    OrderNotReady = "orderNotReady",
    RateLimited = "rateLimited",
    RejectedIdentifier = "rejectedIdentifier",
    ServerInternal = "serverInternal",
    Tls = "tls",
    Unauthorized = "unauthorized",
    UnsupportedContact = "unsupportedContact",
    UnsupportedIdentifier = "unsupportedIdentifier",
    UserActionRequired = "userActionRequired",
}

impl ErrorType {
    /// Returns the HTTP status that goes with the type unless a text demands another one.
    ///
    /// Source: RFC 8555 sections 6.2, 6.5, 7.3.6, 7.4 and 7.6, RFC 8739 sections 3.1.2 and 3.3, RFC 9773 section 5; where no text
    /// names a status, the usual one for who must act.
    pub fn default_status(&self) -> u16 {
        match self {
            Self::Unauthorized
            | Self::OrderNotReady
            | Self::UserActionRequired
            | Self::Caa
            | Self::RejectedIdentifier
            | Self::ExternalAccountRequired
            | Self::AutoRenewalCanceled
            | Self::AutoRenewalExpired
            | Self::AutoRenewalRevocationNotSupported => 403,
            Self::AlreadyReplaced => 409,
            Self::RateLimited => 429,
            Self::ServerInternal => 500,
            _ => 400,
        }
    }
}

impl Serialize for ErrorType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri())
    }
}

impl<'de> Deserialize<'de> for ErrorType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_uri(&String::deserialize(deserializer)?))
    }
}

/// A problem document (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: ErrorType,
    /// What happened this time, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The HTTP status, where the problem is or was a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where the user must act ([`ErrorType::UserActionRequired`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The supported algorithms ([`ErrorType::BadSignatureAlgorithm`], RFC 8555 section 6.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// The single problems, each about one identifier (RFC 8555 section 6.7.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Subproblem>,
}

fn about_blank() -> ErrorType {
    ErrorType::Other("about:blank".to_owned())
}

/// One of several problems, about one identifier (RFC 8555 section 6.7.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subproblem {
    /// What kind of problem.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// What happened, for a person.
    #[serde(default)]
    pub detail: String,
    /// Which identifier it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
}

impl Problem {
    /// Makes a problem with the type's usual status.
    pub fn new(kind: ErrorType, detail: impl Into<String>) -> Self {
        Self {
            status: Some(kind.default_status()),
            kind,
            detail: detail.into(),
            instance: None,
            algorithms: None,
            subproblems: Vec::new(),
        }
    }

    /// Sets another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Makes the problem that a request is malformed.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Malformed, detail)
    }

    /// Makes the problem that the client may not do this.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Unauthorized, detail)
    }

    /// Makes one problem of several: the single one itself, or a `compound` with subproblems.
    ///
    /// Returns `None` for an empty list.
    pub fn compound(problems: Vec<Subproblem>) -> Option<Self> {
        let first = problems.first()?;
        let kind = if problems.iter().all(|p| p.kind == first.kind) {
            first.kind.clone()
        } else {
            ErrorType::Compound
        };
        let detail = match problems.as_slice() {
            [only] => only.detail.clone(),
            several => format!("{} identifiers were refused: {}", several.len(), first.detail),
        };
        let mut problem = Self::new(kind, detail);
        problem.subproblems = problems;
        Some(problem)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let uri = self.kind.uri();
        let name = uri.strip_prefix(NAMESPACE).unwrap_or(&uri);
        write!(f, "{name}: {}", self.detail)?;
        for sub in &self.subproblems {
            if let Some(identifier) = &sub.identifier {
                write!(f, "; {identifier}: {}", sub.detail)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_a_round_trip() {
        for name in [
            "badCSR",
            "alreadyReplaced",
            "userActionRequired",
            "autoRenewalCanceled",
            "autoRenewalCancellationInvalid",
            "autoRenewalExpired",
            "autoRenewalRevocationNotSupported",
        ] {
            let uri = format!("{NAMESPACE}{name}");
            let kind = ErrorType::from_uri(&uri);
            assert!(!matches!(kind, ErrorType::Other(_)), "{name}");
            assert_eq!(kind.uri(), uri);
        }
        assert_eq!(ErrorType::from_uri("about:blank").uri(), "about:blank");
    }

    #[test]
    fn compound_keeps_a_common_type() {
        let sub = |kind| Subproblem {
            kind,
            detail: "no".into(),
            identifier: None,
        };
        let same = Problem::compound(vec![sub(ErrorType::Caa), sub(ErrorType::Caa)]).unwrap();
        assert_eq!(same.kind, ErrorType::Caa);
        let mixed = Problem::compound(vec![sub(ErrorType::Caa), sub(ErrorType::Dns)]).unwrap();
        assert_eq!(mixed.kind, ErrorType::Compound);
        assert!(Problem::compound(vec![]).is_none());
    }
}
