//! The record of who did what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum Actor {
    /// An ACME account, by its id.
    Account(String),
    /// The holder of a certificate's key, by the certificate's serial.
    KeyHolder(String),
    /// Somebody at the operator's socket.
    Operator(String),
    /// The daemon itself, by the room that acted.
    System(String),
}

/// What was done. The words are stable: they are what people search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each name says it")]
pub enum Action {
    CaInitialised,
    AccountCreated,
    AccountUpdated,
    AccountKeyChanged,
    AccountDeactivated,
    ExternalKeyCreated,
    ExternalKeyDisabled,
    OrderCreated,
    OrderFinalized,
    OrderFailed,
    OrderRenewed,
    OrderRenewalFailed,
    OrderCanceled,
    OrderApproved,
    OrderRejected,
    AuthorizationCreated,
    AuthorizationDeactivated,
    ChallengeAnswered,
    ChallengeValidated,
    ChallengeFailed,
    CertificateIntended,
    CertificateIssued,
    CertificateVoided,
    CertificateRevoked,
    CertificatesRevoked,
    CertificateRenewNow,
    CertificatesRenewNow,
    KeyBlocked,
    CrlPublished,
    LogRestarted,
    Pruned,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// To what: an id, a serial, a name.
    pub subject: String,
    /// What else matters: small, and without secrets.
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// An event in its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its place, from 1 without a gap.
    pub sequence: u64,
    /// The event.
    pub event: AuditEvent,
    /// SHA-256 over the hash before it, its place and the event's canonical JSON.
    #[serde(with = "hexadecimal")]
    pub hash: [u8; 32],
    /// What keeps the event from being guessed from its entry in the public log.
    #[serde(with = "hexadecimal")]
    pub salt: [u8; 32],
    /// The hash of its entry, as it stands in the log's tree.
    #[serde(with = "hexadecimal")]
    pub leaf: [u8; 32],
}

/// The audit log as its heads describe it: which log, how long, and the hashes at its growing edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Tells this history from another one of the same CA, as after a restore.
    pub epoch: [u8; 8],
    /// How many events there are.
    pub size: u64,
    /// The hashes of the last, partial tile of each level, from the leaves up.
    pub edges: Vec<Vec<[u8; 32]>>,
}

/// A signed head of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The day on which it was signed, counted from 1970; one head of each day is kept.
    pub day: i64,
    /// How many events it covers.
    pub size: u64,
    /// The checkpoint with its signatures.
    pub note: String,
}

/// Hashes as hexadecimal digits.
mod hexadecimal {
    use std::fmt::Write as _;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(octets: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for octet in octets {
            let _ = write!(text, "{octet:02x}");
        }
        to.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        crate::audit::hex(&text).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }
}
