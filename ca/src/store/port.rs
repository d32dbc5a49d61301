//! The port that every backend implements and the contract test holds it to.

use async_trait::async_trait;
use jiff::Timestamp;
use sigillo_protocol::{
    acme::{
        authorization::AuthorizationStatus,
        identifier::{DnsName, Name},
    },
    jose::Thumbprint,
};
use tokio::sync::watch;

use super::Batch;
use crate::model::{
    Account, AccountId, AuditRecord, Authorization, AuthorizationId, BlockedKey, Certificate, CrlKind, CrlRecord,
    ExternalKey, IssuerId, LogHead, LogState, Order, OrderId, Serial, StatusRecord,
};

/// What the CA remembers.
///
/// Reads see a consistent snapshot each, with everything that was committed before they began.
/// Lists are in a stable order and paged: `after` is the last key of the page before.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes a batch durable: when this returns `Ok`, it survives kill and power loss.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] if a record has another version than the batch was decided on,
    /// [`CommitError::Duplicate`] if something unique is there already. In both cases nothing was changed.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;

    /// Returns whether commits are taken: a backend that once could not tell whether a commit was durable takes no more.
    fn writable(&self) -> bool;

    /// Returns a signal that moves after every commit, for workers that wait for something to do.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Returns a number that is another one as soon as anybody was told that an account is not what it was; `None` where
    /// the backend cannot tell without asking. What was read while it was the same is still so.
    fn accounts_revision(&self) -> Option<u64> {
        None
    }

    /// Finds an account.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, ReadError>;
    /// Finds an account by its key.
    async fn account_by_thumbprint(&self, thumbprint: Thumbprint) -> Result<Option<Account>, ReadError>;
    /// Lists accounts by id.
    async fn accounts(&self, page: Page<AccountId>) -> Result<Vec<Account>, ReadError>;

    /// Finds a key for external account binding.
    async fn external_key(&self, kid: &str) -> Result<Option<ExternalKey>, ReadError>;
    /// Lists such keys by `kid`.
    async fn external_keys(&self, page: Page<String>) -> Result<Vec<ExternalKey>, ReadError>;

    /// Finds an order with all its authorizations, in one snapshot.
    async fn order(&self, id: OrderId) -> Result<Option<OrderView>, ReadError>;
    /// Lists an account's orders from the newest to the oldest, each with its authorizations.
    async fn orders_of(&self, account: AccountId, page: Page<OrderId>) -> Result<Vec<OrderView>, ReadError>;
    /// Lists all orders from the newest to the oldest.
    async fn orders(&self, page: Page<OrderId>) -> Result<Vec<Order>, ReadError>;

    /// Lists orders whose next certificate is due ([`Order::due`]), the longest due first, and returns when the next
    /// one after `now` falls due.
    async fn orders_due(&self, now: Timestamp, limit: usize) -> Result<(Vec<Order>, Option<Timestamp>), ReadError>;
    /// Counts an account's orders whose certificates are still to be renewed.
    async fn renewed_orders_of(&self, account: AccountId) -> Result<u64, ReadError>;

    /// Finds an authorization.
    async fn authorization(&self, id: AuthorizationId) -> Result<Option<Authorization>, ReadError>;
    /// Finds the account's valid authorization for exactly this name with the latest expiry, if one is still good at `at`.
    async fn valid_authorization(
        &self,
        account: AccountId,
        name: &Name,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError>;
    /// Finds the account's pending authorization for exactly this name with the latest expiry, if one is still good at `at`.
    async fn pending_authorization(
        &self,
        account: AccountId,
        name: &Name,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError>;
    /// Finds the account's authorization for one of these names with all below it (RFC 9444): in this state, with the
    /// latest expiry, still good at `at`.
    async fn subdomain_authorization(
        &self,
        account: AccountId,
        names: &[DnsName],
        status: AuthorizationStatus,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError>;
    /// Lists authorizations that the validator has to act on, the longest due first, without those that it is at and those
    /// of some accounts, and returns when the next one after `now` falls due.
    async fn authorizations_due(
        &self,
        now: Timestamp,
        running: &[AuthorizationId],
        without: &[AccountId],
        limit: usize,
    ) -> Result<(Vec<Authorization>, Option<Timestamp>), ReadError>;

    /// Finds a certificate.
    async fn certificate(&self, serial: Serial) -> Result<Option<Certificate>, ReadError>;
    /// Lists certificates by serial; those that end before a moment by their end, if nothing rarer is asked for.
    async fn certificates(&self, filter: &CertificateFilter, page: Page<Serial>)
    -> Result<Vec<Certificate>, ReadError>;
    /// Lists certificates that are intended and not finished, for the daemon's start.
    async fn certificates_intended(&self, limit: usize) -> Result<Vec<Certificate>, ReadError>;
    /// Lists what a CRL of the issuer must show, by serial: revoked certificates whose `not_after` is later than `since`.
    async fn revoked(
        &self,
        issuer: &IssuerId,
        since: Timestamp,
        page: Page<Serial>,
    ) -> Result<Vec<StatusRecord>, ReadError>;

    /// Finds a blocked key.
    async fn blocked_key(&self, spki_sha256: [u8; 32]) -> Result<Option<BlockedKey>, ReadError>;
    /// Lists blocked keys by their hash.
    async fn blocked_keys(&self, page: Page<[u8; 32]>) -> Result<Vec<BlockedKey>, ReadError>;

    /// Finds the issuer's last CRL of a kind.
    async fn crl(&self, issuer: &IssuerId, kind: CrlKind) -> Result<Option<CrlRecord>, ReadError>;

    /// Lists the status feed after a position.
    async fn status_feed(&self, after: u64, limit: usize) -> Result<Vec<StatusRecord>, ReadError>;
    /// Returns the feed's last position, 0 when nothing ever happened, and the store's own identity:
    /// 16 random octets made once, so that a follower of another store can tell.
    async fn status_position(&self) -> Result<(u64, [u8; 16]), ReadError>;
    /// Finds one certificate's status: `None` for what was never issued (or is only intended, or void).
    async fn status(&self, serial: Serial) -> Result<Option<StatusRecord>, ReadError>;

    /// Lists audit records after a sequence number.
    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, ReadError>;

    /// Returns the audit log's size with the hashes at its edge, in one snapshot.
    async fn log_state(&self) -> Result<LogState, ReadError>;
    /// Returns a tile of the log's tree: the leaves' level is 0. Full tiles never change; of a level above, a growing
    /// one is given too.
    async fn log_tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, ReadError>;
    /// Returns the entries of the log from a place on (from 0), at most `limit`.
    async fn log_entries(&self, from: u64, limit: usize) -> Result<Vec<[u8; 32]>, ReadError>;
    /// Finds the place (from 0) of a certificate's issuance in the log, and the salted hash of that event.
    async fn logged_certificate(&self, serial: Serial) -> Result<Option<(u64, [u8; 32])>, ReadError>;
    /// Returns the last signed head.
    async fn log_head(&self) -> Result<Option<LogHead>, ReadError>;
    /// Lists the heads that are kept, by size: those that cover more than `after` events.
    async fn log_heads(&self, after: u64, limit: usize) -> Result<Vec<LogHead>, ReadError>;
    /// Keeps a signed head; it is refused if it covers less than one that is kept.
    async fn keep_log_head(&self, head: LogHead) -> Result<(), CommitError>;

    /// Deletes what nobody can need any more, within the limits, and records how much in the audit log.
    async fn prune(&self, limits: PruneLimits, now: Timestamp) -> Result<Pruned, CommitError>;

    /// Writes a consistent copy of everything to a new file.
    async fn backup(&self, to: &std::path::Path) -> Result<(), ReadError>;
}

/// An order and the state of all it rests on, from one snapshot.
#[derive(Debug, Clone)]
pub struct OrderView {
    /// The order.
    pub order: Order,
    /// Its authorizations, in the order's order.
    pub authorizations: Vec<Authorization>,
}

impl OrderView {
    /// Returns the authorization that a name rests on; the name's own before one from above.
    pub fn authorization_for(&self, name: &Name) -> Option<&Authorization> {
        let own = self.authorizations.iter().find(|a| a.name == *name);
        own.or_else(|| self.authorizations.iter().find(|a| a.covers(name)))
    }
}

/// Which part of a list.
#[derive(Debug, Clone)]
pub struct Page<K> {
    /// The last key of the page before; `None` for the first page.
    pub after: Option<K>,
    /// At most how many; the backend gives at most [`Page::LIMIT_MAX`].
    pub limit: usize,
}

impl<K> Page<K> {
    /// The longest page that a backend gives.
    pub const LIMIT_MAX: usize = 10_000;

    /// Asks for the first page.
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// Asks for the page after a key.
    pub fn after(key: K, limit: usize) -> Self {
        Self {
            after: Some(key),
            limit,
        }
    }
}

/// Which certificates to list. Each given member narrows the list.
#[derive(Debug, Clone, Default)]
pub struct CertificateFilter {
    /// Only those in this state: a word of [`CertificateState::as_str`](crate::model::CertificateState::as_str).
    pub state: Option<String>,
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Only those under this profile.
    pub profile: Option<String>,
    /// Only those that hold exactly this name.
    pub name: Option<Name>,
    /// Only those with this key that no account has: the CA's own, and what an operator signed.
    pub spki_sha256: Option<[u8; 32]>,
    /// Only those that end before this.
    pub not_after_before: Option<Timestamp>,
}

/// What pruning may delete. Each bound is a moment: what ended before it may go.
#[derive(Debug, Clone, Copy)]
pub struct PruneLimits {
    /// Orders that are over, and authorizations that no remaining order names.
    pub orders_ended_before: Timestamp,
    /// Certificates that expired before this and, if revoked, were on a CRL after their expiry.
    pub certificates_expired_before: Option<Timestamp>,
    /// Certificates of renewed orders that expired before this and were not revoked: there are many of them, each of
    /// little weight.
    pub renewed_expired_before: Timestamp,
    /// At most this many records of each kind in one call, so that writers do not wait.
    pub count_max: usize,
}

/// What pruning deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Orders.
    pub orders: u64,
    /// Authorizations.
    pub authorizations: u64,
    /// Certificates.
    pub certificates: u64,
}

/// What must not be there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// An account key.
    AccountKey,
    /// An external key's `kid`.
    ExternalKey,
    /// A serial number.
    Serial,
    /// A CRL number that is not greater than the last.
    CrlNumber,
    /// Any other identity.
    Identity,
}

/// A batch that was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Another change came first: read again and decide again.
    #[error("a record was changed by somebody else in the meantime")]
    Conflict,
    /// Something unique is there already.
    #[error("{0:?} is there already")]
    Duplicate(Unique),
    /// The backend failed. Whether the batch is durable is unknown only if `in_doubt`.
    #[error("the store failed: {message}")]
    Failed {
        /// What it said, for the log.
        message: String,
        /// Whether the batch may have become durable all the same.
        in_doubt: bool,
    },
}

/// A read that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct ReadError(pub String);
