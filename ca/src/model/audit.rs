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
    CertificateRenewNow,
    KeyBlocked,
    CrlPublished,
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
    pub hash: [u8; 32],
}
