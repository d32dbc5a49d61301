//! Certificates, their revocation, and what is published of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::{acme::identifier::Name, x509::reason::RevocationReason};

use super::{AccountId, IssuerId, OrderId, Serial, Version};

/// A certificate from the moment at which the CA decided to sign it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial number: unique over all issuers.
    pub serial: Serial,
    /// Which writing of the record this is.
    pub version: Version,
    /// Who signs it.
    pub issuer: IssuerId,
    /// The account that it was issued to; `None` for one that an operator signed.
    pub account: Option<AccountId>,
    /// The order that it answers.
    pub order: Option<OrderId>,
    /// The profile's name.
    pub profile: String,
    /// The names in it.
    pub names: Vec<Name>,
    /// The subject as text, for people.
    pub subject: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// The to-be-signed bytes: what was decided, before any signature exists. Empty once it is signed: the whole holds them.
    pub tbs: Vec<u8>,
    /// How far it has come.
    pub state: CertificateState,
    /// When the decision was recorded.
    pub created: Timestamp,
    /// The order that replaces it (RFC 9773 section 5), unless that order has failed.
    pub replaced_by: Option<OrderId>,
    /// An operator's wish that it be renewed now: renewal information says so from this time on.
    pub renew_from: Option<Timestamp>,
}

/// How far a certificate has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum CertificateState {
    /// Recorded, and perhaps signed, but handed to nobody.
    Intended,
    /// Signed.
    Issued {
        /// The whole certificate.
        der: Vec<u8>,
    },
    /// Signed and revoked.
    Revoked {
        /// The whole certificate.
        der: Vec<u8>,
        /// When and why.
        revocation: Revocation,
    },
    /// Given up before it was handed out; the serial stays used.
    Void,
}

impl CertificateState {
    /// Returns the word that the store indexes.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Issued { .. } => "issued",
            Self::Revoked { .. } => "revoked",
            Self::Void => "void",
        }
    }
}

impl Certificate {
    /// Returns the whole certificate, once it is signed.
    pub fn der(&self) -> Option<&[u8]> {
        match &self.state {
            CertificateState::Issued { der } | CertificateState::Revoked { der, .. } => Some(der),
            CertificateState::Intended | CertificateState::Void => None,
        }
    }

    /// Returns when and why it was revoked.
    pub fn revocation(&self) -> Option<Revocation> {
        match &self.state {
            CertificateState::Revoked { revocation, .. } => Some(*revocation),
            _ => None,
        }
    }
}

/// When and why a certificate was revoked. CRL, OCSP and record all show exactly this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When, in whole seconds and never in the future.
    pub at: Timestamp,
    /// Why; `None` where none was given, and then none is published.
    pub reason: Option<RevocationReason>,
    /// Since when the key is thought to have been unsafe, if that is known.
    pub invalid_since: Option<Timestamp>,
}

/// One entry of the feed that the status services follow: a certificate's status after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// Its place in the feed: rises with every change.
    pub position: u64,
    /// Who issued it.
    pub issuer: IssuerId,
    /// Which certificate.
    pub serial: Serial,
    /// Until when it matters.
    pub not_after: Timestamp,
    /// Revoked when and why; `None` is good.
    pub revocation: Option<Revocation>,
}

/// A key that no certificate and no account may use again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedKey {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// When it was blocked.
    pub since: Timestamp,
    /// Why, for people.
    pub comment: String,
}
