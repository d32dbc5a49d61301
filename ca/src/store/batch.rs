//! A Batch: a change of state and the record of it, as one durable transaction.

use crate::model::{
    Account, AccountId, AuditEvent, Authorization, AuthorizationId, BlockedKey, Certificate, CrlRecord, ExternalKey,
    Order, Version,
};

/// One change. Records are written whole.
///
/// A record whose version is [`Version::NEW`](crate::model::Version::NEW) is inserted; any other is replaced only
/// if the stored version equals the one given. The store writes the next version.
#[derive(Debug, Clone)]
pub enum Change {
    /// Writes an account; its key's thumbprint is unique.
    Account(Account),
    /// Writes a key for external account binding; its `kid` is unique.
    ExternalKey(ExternalKey),
    /// Writes an order.
    Order(Order),
    /// Writes an authorization.
    Authorization(Authorization),
    /// Writes a certificate; its serial is unique. A change of what OCSP and CRL say about it
    /// (issued, revoked) also adds an entry to the status feed.
    Certificate(Certificate),
    /// Blocks a key; blocking it again changes nothing.
    BlockedKey(BlockedKey),
    /// Begins another history of the audit log's heads, under another name.
    LogEpoch([u8; 8]),
    /// Publishes a CRL; its number must be greater than the issuer's last one, or equal to that of another kind with
    /// the same `this_update`.
    Crl(CrlRecord),
}

/// Changes and events that become durable together or not at all.
///
/// The constructor wants an event, so that nothing changes unrecorded.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) events: Vec<AuditEvent>,
    pub(crate) premises: Vec<Premise>,
}

/// A record that the decision rests on without changing it: if it is another by now, the batch is refused as a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Premise {
    /// The account has this version.
    Account(AccountId, Version),
    /// The authorization has this version.
    Authorization(AuthorizationId, Version),
    /// The account has fewer orders than this whose certificates are still to be renewed.
    RenewedOrdersBelow(AccountId, u64),
    /// No such key is blocked (SHA-256 of its SubjectPublicKeyInfo).
    KeyNotBlocked([u8; 32]),
}

impl Batch {
    /// Starts a batch with what will be told about it.
    pub fn new(event: AuditEvent) -> Self {
        Self {
            changes: Vec::new(),
            events: vec![event],
            premises: Vec::new(),
        }
    }

    /// Adds a change.
    #[must_use]
    pub fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds an event.
    #[must_use]
    pub fn and(mut self, event: AuditEvent) -> Self {
        self.events.push(event);
        self
    }

    /// Adds something that the decision rests on.
    #[must_use]
    pub fn provided(mut self, premise: Premise) -> Self {
        self.premises.push(premise);
        self
    }

    /// Returns what the decision rests on.
    pub fn premises(&self) -> &[Premise] {
        &self.premises
    }

    /// Adds a change in place.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Adds an event in place.
    pub fn record(&mut self, event: AuditEvent) {
        self.events.push(event);
    }

    /// Returns the changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the events.
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }
}
