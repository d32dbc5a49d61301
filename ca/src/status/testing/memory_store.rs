//! A store of certificates and CRLs in memory, that can be taken away.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

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

use super::{batch, certificate};
use crate::{
    model::{
        Account, AccountId, Action, AuditRecord, Authorization, AuthorizationId, BlockedKey, Certificate,
        CertificateState, CrlKind, CrlRecord, ExternalKey, IssuerId, LogHead, LogState, Order, OrderId, Revocation,
        Serial, StatusRecord,
    },
    store::{
        Batch, CertificateFilter, Change, CommitError, OrderView, Page, PruneLimits, Pruned, ReadError, Store, Unique,
    },
};

#[derive(Default)]
struct Contents {
    certificates: BTreeMap<Serial, Certificate>,
    feed: BTreeMap<Serial, StatusRecord>,
    position: u64,
    crls: BTreeMap<(String, CrlKind), CrlRecord>,
}

/// A store of certificates and CRLs in memory, that can be taken away.
pub(crate) struct MemoryStore {
    contents: Mutex<Contents>,
    signal: watch::Sender<u64>,
    /// While set, nothing can be read.
    pub away: AtomicBool,
    /// How often the status of a certificate was asked for.
    pub status_reads: AtomicU64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            contents: Mutex::default(),
            signal: watch::channel(0).0,
            away: AtomicBool::new(false),
            status_reads: AtomicU64::new(0),
        }
    }
}

impl MemoryStore {
    pub async fn issue(&self, issuer: &IssuerId, serial: Serial, not_after: Timestamp) {
        let certificate = certificate(issuer, serial, not_after, CertificateState::Issued { der: Vec::new() });
        self.commit(batch(Action::CertificateIssued).with(Change::Certificate(certificate)))
            .await
            .unwrap();
    }

    pub async fn intend(&self, issuer: &IssuerId, serial: Serial, state: CertificateState) {
        let certificate = certificate(issuer, serial, Timestamp::MAX, state);
        self.commit(batch(Action::CertificateIntended).with(Change::Certificate(certificate)))
            .await
            .unwrap();
    }

    pub async fn revoke(&self, serial: Serial, revocation: Revocation) {
        let mut certificate = self.contents.lock().unwrap().certificates[&serial].clone();
        certificate.state = CertificateState::Revoked {
            der: Vec::new(),
            revocation,
        };
        self.commit(batch(Action::CertificateRevoked).with(Change::Certificate(certificate)))
            .await
            .unwrap();
    }

    fn read<T>(&self, read: impl FnOnce(&Contents) -> T) -> Result<T, ReadError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(ReadError("it is away".to_owned()));
        }
        Ok(read(&self.contents.lock().unwrap()))
    }
}

fn apply(contents: &mut Contents, change: Change) -> Result<(), CommitError> {
    match change {
        Change::Certificate(certificate) => {
            if let CertificateState::Issued { .. } | CertificateState::Revoked { .. } = certificate.state {
                contents.position += 1;
                let record = StatusRecord {
                    position: contents.position,
                    issuer: certificate.issuer.clone(),
                    serial: certificate.serial,
                    not_after: certificate.not_after,
                    revocation: certificate.revocation(),
                };
                contents.feed.insert(certificate.serial, record);
            }
            contents.certificates.insert(certificate.serial, certificate);
        }
        Change::Crl(crl) => {
            let goes_back = |last: &CrlRecord| {
                let together = last.kind != crl.kind && last.this_update == crl.this_update;
                last.number > crl.number || (last.number == crl.number && !together)
            };
            if contents.crls.values().any(goes_back) {
                return Err(CommitError::Duplicate(Unique::CrlNumber));
            }
            contents.crls.insert((crl.issuer.to_string(), crl.kind), crl);
        }
        other => panic!("no test of the status services writes {other:?}"),
    }
    Ok(())
}

fn elsewhere<T>() -> Result<T, ReadError> {
    Err(ReadError("the status services do not ask this".to_owned()))
}

#[async_trait]
impl Store for MemoryStore {
    fn writable(&self) -> bool {
        true
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        {
            let mut contents = self.contents.lock().unwrap();
            for change in batch.changes() {
                apply(&mut contents, change.clone())?;
            }
        }
        self.signal.send_modify(|signal| *signal += 1);
        Ok(())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.signal.subscribe()
    }

    async fn revoked(
        &self,
        issuer: &IssuerId,
        since: Timestamp,
        page: Page<Serial>,
    ) -> Result<Vec<StatusRecord>, ReadError> {
        self.read(|contents| {
            let wanted = |record: &&StatusRecord| {
                record.issuer == *issuer
                    && record.revocation.is_some()
                    && record.not_after > since
                    && page.after.is_none_or(|after| record.serial > after)
            };
            contents
                .feed
                .values()
                .filter(wanted)
                .take(page.limit)
                .cloned()
                .collect()
        })
    }

    async fn crl(&self, issuer: &IssuerId, kind: CrlKind) -> Result<Option<CrlRecord>, ReadError> {
        self.read(|contents| contents.crls.get(&(issuer.to_string(), kind)).cloned())
    }

    async fn status_feed(&self, after: u64, limit: usize) -> Result<Vec<StatusRecord>, ReadError> {
        self.read(|contents| {
            let mut records: Vec<_> = contents
                .feed
                .values()
                .filter(|record| record.position > after)
                .cloned()
                .collect();
            records.sort_by_key(|record| record.position);
            records.truncate(limit);
            records
        })
    }

    async fn status_position(&self) -> Result<(u64, [u8; 16]), ReadError> {
        self.read(|contents| (contents.position, [7; 16]))
    }

    async fn status(&self, serial: Serial) -> Result<Option<StatusRecord>, ReadError> {
        self.status_reads.fetch_add(1, Ordering::SeqCst);
        self.read(|contents| contents.feed.get(&serial).cloned())
    }

    async fn account(&self, _: AccountId) -> Result<Option<Account>, ReadError> {
        elsewhere()
    }
    async fn account_by_thumbprint(&self, _: Thumbprint) -> Result<Option<Account>, ReadError> {
        elsewhere()
    }
    async fn accounts(&self, _: Page<AccountId>) -> Result<Vec<Account>, ReadError> {
        elsewhere()
    }
    async fn external_key(&self, _: &str) -> Result<Option<ExternalKey>, ReadError> {
        elsewhere()
    }
    async fn external_keys(&self, _: Page<String>) -> Result<Vec<ExternalKey>, ReadError> {
        elsewhere()
    }
    async fn order(&self, _: OrderId) -> Result<Option<OrderView>, ReadError> {
        elsewhere()
    }
    async fn orders_due(&self, _: Timestamp, _: usize) -> Result<(Vec<Order>, Option<Timestamp>), ReadError> {
        elsewhere()
    }
    async fn renewed_orders_of(&self, _: AccountId) -> Result<u64, ReadError> {
        elsewhere()
    }
    async fn orders_of(&self, _: AccountId, _: Page<OrderId>) -> Result<Vec<OrderView>, ReadError> {
        elsewhere()
    }
    async fn orders(&self, _: Page<OrderId>) -> Result<Vec<Order>, ReadError> {
        elsewhere()
    }
    async fn authorization(&self, _: AuthorizationId) -> Result<Option<Authorization>, ReadError> {
        elsewhere()
    }
    async fn valid_authorization(
        &self,
        _: AccountId,
        _: &Name,
        _: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        elsewhere()
    }
    async fn pending_authorization(
        &self,
        _: AccountId,
        _: &Name,
        _: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        elsewhere()
    }
    async fn subdomain_authorization(
        &self,
        _: AccountId,
        _: &[DnsName],
        _: AuthorizationStatus,
        _: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        elsewhere()
    }
    async fn authorizations_due(
        &self,
        _: Timestamp,
        _: &[AuthorizationId],
        _: &[AccountId],
        _: usize,
    ) -> Result<(Vec<Authorization>, Option<Timestamp>), ReadError> {
        elsewhere()
    }
    async fn certificate(&self, _: Serial) -> Result<Option<Certificate>, ReadError> {
        elsewhere()
    }
    async fn certificates(&self, _: &CertificateFilter, _: Page<Serial>) -> Result<Vec<Certificate>, ReadError> {
        elsewhere()
    }
    async fn certificates_intended(&self, _: usize) -> Result<Vec<Certificate>, ReadError> {
        elsewhere()
    }
    async fn blocked_key(&self, _: [u8; 32]) -> Result<Option<BlockedKey>, ReadError> {
        elsewhere()
    }
    async fn blocked_keys(&self, _: Page<[u8; 32]>) -> Result<Vec<BlockedKey>, ReadError> {
        elsewhere()
    }
    async fn audit(&self, _: u64, _: usize) -> Result<Vec<AuditRecord>, ReadError> {
        elsewhere()
    }
    async fn log_state(&self) -> Result<LogState, ReadError> {
        elsewhere()
    }
    async fn log_tile(&self, _: u8, _: u64) -> Result<Option<Vec<u8>>, ReadError> {
        elsewhere()
    }
    async fn log_entries(&self, _: u64, _: usize) -> Result<Vec<[u8; 32]>, ReadError> {
        elsewhere()
    }
    async fn logged_certificate(&self, _: Serial) -> Result<Option<(u64, [u8; 32])>, ReadError> {
        elsewhere()
    }
    async fn log_head(&self) -> Result<Option<LogHead>, ReadError> {
        elsewhere()
    }
    async fn log_heads(&self, _: u64, _: usize) -> Result<Vec<LogHead>, ReadError> {
        elsewhere()
    }
    async fn keep_log_head(&self, _: LogHead) -> Result<(), CommitError> {
        Err(CommitError::Conflict)
    }
    async fn prune(&self, _: PruneLimits, _: Timestamp) -> Result<Pruned, CommitError> {
        Err(CommitError::Conflict)
    }
    async fn backup(&self, _: &Path) -> Result<(), ReadError> {
        elsewhere()
    }
}
