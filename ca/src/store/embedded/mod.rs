//! The embedded default: SQLite as the truth.
//!
//! One writer thread groups the batches of all that wait into one transaction and one fsync; readers
//! have connections of their own. One process at a time has the store open.

mod apply;
mod backup;
mod connection;
mod log;
mod prune;
mod readers;
mod reads;
mod rows;
mod schema;
mod writer;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use sigillo_protocol::{
    acme::{
        authorization::AuthorizationStatus,
        identifier::{DnsName, Name},
    },
    jose::Thumbprint,
};
use tokio::sync::{mpsc, oneshot, watch};

pub use backup::restore;
use readers::{Readers, snapshot};
use writer::{Known, Request, Writer};

use super::{Batch, CertificateFilter, CommitError, OrderView, Page, PruneLimits, Pruned, ReadError, Store};
use crate::model::{
    Account, AccountId, AuditRecord, Authorization, AuthorizationId, BlockedKey, Certificate, CrlKind, CrlRecord,
    ExternalKey, IssuerId, LogHead, LogState, Order, OrderId, Serial, StatusRecord,
};

/// How many entries of the status feed at most are read in place, without another thread.
const FEED_SHORT_MAX: u64 = 64;

/// A store that cannot be opened, copied or restored.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// A later version of the program has written it.
    #[error("the store has version {found}, and this program knows versions up to {known}")]
    Newer {
        /// The store's version.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The file system lacks what a write-ahead log needs, as network file systems do.
    #[error("{0} is on a file system that cannot hold a write-ahead log; use a local one")]
    NoLog(PathBuf),
    /// It is damaged, or no store.
    #[error("{path} cannot be used: {what}")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The engine refused.
    #[error("the store's engine refused: {0}")]
    Engine(#[from] rusqlite::Error),
}

/// A store in one SQLite file.
///
/// Dropping it waits until everything that was asked for is done, and lets the file go.
pub struct SqliteStore {
    /// `None` only while it is being dropped.
    queue: Option<mpsc::Sender<Request>>,
    readers: Readers,
    changed: Arc<watch::Sender<u64>>,
    known: Arc<Known>,
    writable: Arc<AtomicBool>,
    writer: Option<thread::JoinHandle<()>>,
    /// Held for its lock.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store in a file, and makes file and folder if they are not there.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it open; any other if it cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let lock = lock(path)?;
        match backup::reserve(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let mut connection = connection::writer(path)?;
        schema::migrate(&mut connection)?;
        // The names of new files are durable only when their folder is.
        backup::sync_folder_of(path)?;
        Self::start(connection, Some(lock), |_| Readers::of_file(path.to_owned()))
    }

    /// Opens a store that is gone when it is dropped: for tests, and for measuring without a disk.
    ///
    /// # Errors
    /// If the engine refuses.
    pub fn open_in_memory() -> Result<Self, OpenError> {
        let mut connection = connection::in_memory()?;
        schema::migrate(&mut connection)?;
        Self::start(connection, None, |queue| Readers::Writer(queue.clone()))
    }

    fn start(
        connection: Connection,
        lock: Option<File>,
        readers: impl FnOnce(&mpsc::Sender<Request>) -> Readers,
    ) -> Result<Self, OpenError> {
        let (queue, requests) = mpsc::channel(writer::QUEUE_LENGTH_MAX);
        let changed = Arc::new(watch::Sender::new(0));
        let writable = Arc::new(AtomicBool::new(true));
        let known = Arc::new(Known::default());
        let (told, signal) = (Arc::clone(&known), Arc::clone(&changed));
        let writer = Writer::start(connection, requests, signal, told, Arc::clone(&writable))?;
        Ok(Self {
            readers: readers(&queue),
            queue: Some(queue),
            changed,
            known,
            writable,
            writer: Some(writer),
            _lock: lock,
        })
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Request,
    ) -> Result<T, CommitError> {
        let stopped = |in_doubt| CommitError::Failed {
            message: "the store's writer has stopped".into(),
            in_doubt,
        };
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(|| stopped(false))?;
        queue.send(request(answer)).await.map_err(|_| stopped(false))?;
        // A writer that stops before it answers may have committed.
        answered.await.map_err(|_| stopped(true))?
    }
}

/// Takes the lock that keeps a second process out; the file stays, since removing it would let two in.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = backup::with_suffix(path, ".lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        drop(self.queue.take());
        match &self.readers {
            Readers::Pool(pool) => pool.close(),
            // This one is a sender of the queue too, and the writer waits for the last.
            Readers::Writer(_) => self.readers = Readers::Writer(mpsc::channel(1).0),
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended in a panic");
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn writable(&self) -> bool {
        self.writable.load(Ordering::SeqCst)
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.request(|answer| Request::Commit(batch, answer)).await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn accounts_revision(&self) -> Option<u64> {
        Some(self.known.accounts_revision.load(Ordering::SeqCst))
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>, ReadError> {
        self.readers.short(move |c| reads::account(c, id)).await
    }

    async fn account_by_thumbprint(&self, thumbprint: Thumbprint) -> Result<Option<Account>, ReadError> {
        self.readers
            .short(move |c| reads::account_by_thumbprint(c, thumbprint))
            .await
    }

    async fn accounts(&self, page: Page<AccountId>) -> Result<Vec<Account>, ReadError> {
        self.readers.read(move |c| reads::accounts(c, &page)).await
    }

    async fn external_key(&self, kid: &str) -> Result<Option<ExternalKey>, ReadError> {
        let kid = kid.to_owned();
        self.readers.short(move |c| reads::external_key(c, &kid)).await
    }

    async fn external_keys(&self, page: Page<String>) -> Result<Vec<ExternalKey>, ReadError> {
        self.readers.read(move |c| reads::external_keys(c, &page)).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<OrderView>, ReadError> {
        self.readers.short(move |c| snapshot(c, |c| reads::order(c, id))).await
    }

    async fn orders_of(&self, account: AccountId, page: Page<OrderId>) -> Result<Vec<OrderView>, ReadError> {
        self.readers.read(move |c| reads::orders_of(c, account, &page)).await
    }

    async fn orders(&self, page: Page<OrderId>) -> Result<Vec<Order>, ReadError> {
        self.readers.read(move |c| reads::orders(c, &page)).await
    }

    async fn orders_due(&self, now: Timestamp, limit: usize) -> Result<(Vec<Order>, Option<Timestamp>), ReadError> {
        self.readers.read(move |c| reads::orders_due(c, now, limit)).await
    }

    async fn renewed_orders_of(&self, account: AccountId) -> Result<u64, ReadError> {
        self.readers.read(move |c| reads::renewed_orders_of(c, account)).await
    }

    async fn authorization(&self, id: AuthorizationId) -> Result<Option<Authorization>, ReadError> {
        self.readers.short(move |c| reads::authorization(c, id)).await
    }

    async fn valid_authorization(
        &self,
        account: AccountId,
        name: &Name,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        let name = name.clone();
        let status = AuthorizationStatus::Valid;
        self.readers
            .short(move |c| reads::authorization_for(c, account, &name, status, at))
            .await
    }

    async fn pending_authorization(
        &self,
        account: AccountId,
        name: &Name,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        let name = name.clone();
        let status = AuthorizationStatus::Pending;
        self.readers
            .short(move |c| reads::authorization_for(c, account, &name, status, at))
            .await
    }

    async fn subdomain_authorization(
        &self,
        account: AccountId,
        names: &[DnsName],
        status: AuthorizationStatus,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        let names = names.to_vec();
        self.readers
            .short(move |c| reads::subdomain_authorization(c, account, &names, status, at))
            .await
    }

    async fn authorizations_due(
        &self,
        now: Timestamp,
        running: &[AuthorizationId],
        without: &[AccountId],
        limit: usize,
    ) -> Result<(Vec<Authorization>, Option<Timestamp>), ReadError> {
        let (running, without) = (running.to_vec(), without.to_vec());
        let read = move |c: &Connection| reads::authorizations_due(c, now, &running, &without, limit);
        self.readers.short(move |c| snapshot(c, read)).await
    }

    async fn certificate(&self, serial: Serial) -> Result<Option<Certificate>, ReadError> {
        self.readers.short(move |c| reads::certificate(c, serial)).await
    }

    async fn certificates(
        &self,
        filter: &CertificateFilter,
        page: Page<Serial>,
    ) -> Result<Vec<Certificate>, ReadError> {
        let filter = filter.clone();
        self.readers.read(move |c| reads::certificates(c, &filter, &page)).await
    }

    async fn certificates_intended(&self, limit: usize) -> Result<Vec<Certificate>, ReadError> {
        self.readers.read(move |c| reads::certificates_intended(c, limit)).await
    }

    async fn revoked(
        &self,
        issuer: &IssuerId,
        since: Timestamp,
        page: Page<Serial>,
    ) -> Result<Vec<StatusRecord>, ReadError> {
        let issuer = issuer.clone();
        self.readers
            .read(move |c| reads::revoked(c, &issuer, since, &page))
            .await
    }

    async fn blocked_key(&self, spki_sha256: [u8; 32]) -> Result<Option<BlockedKey>, ReadError> {
        self.readers.short(move |c| reads::blocked_key(c, spki_sha256)).await
    }

    async fn blocked_keys(&self, page: Page<[u8; 32]>) -> Result<Vec<BlockedKey>, ReadError> {
        self.readers.read(move |c| reads::blocked_keys(c, &page)).await
    }

    async fn crl(&self, issuer: &IssuerId, kind: CrlKind) -> Result<Option<CrlRecord>, ReadError> {
        let issuer = issuer.clone();
        self.readers.read(move |c| reads::crl(c, &issuer, kind)).await
    }

    async fn status_feed(&self, after: u64, limit: usize) -> Result<Vec<StatusRecord>, ReadError> {
        let read = move |c: &Connection| reads::status_feed(c, after, limit);
        match self.known.position.load(Ordering::SeqCst).saturating_sub(after) {
            0 => Ok(Vec::new()),
            1..=FEED_SHORT_MAX => self.readers.short(read).await,
            _ => self.readers.read(read).await,
        }
    }

    async fn status_position(&self) -> Result<(u64, [u8; 16]), ReadError> {
        self.readers.short(reads::status_position).await
    }

    async fn status(&self, serial: Serial) -> Result<Option<StatusRecord>, ReadError> {
        self.readers.short(move |c| reads::status(c, serial)).await
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, ReadError> {
        self.readers.read(move |c| reads::audit(c, after, limit)).await
    }

    async fn log_state(&self) -> Result<LogState, ReadError> {
        self.readers.read(log::state).await
    }

    async fn log_tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.readers.read(move |c| log::tile(c, level, index)).await
    }

    async fn log_entries(&self, from: u64, limit: usize) -> Result<Vec<[u8; 32]>, ReadError> {
        self.readers.read(move |c| log::entries(c, from, limit)).await
    }

    async fn logged_certificate(&self, serial: Serial) -> Result<Option<(u64, [u8; 32])>, ReadError> {
        self.readers.read(move |c| log::certificate(c, serial)).await
    }

    async fn log_head(&self) -> Result<Option<LogHead>, ReadError> {
        self.readers.read(log::last_head).await
    }

    async fn log_heads(&self, after: u64, limit: usize) -> Result<Vec<LogHead>, ReadError> {
        self.readers.read(move |c| log::heads(c, after, limit)).await
    }

    async fn keep_log_head(&self, head: LogHead) -> Result<(), CommitError> {
        self.request(|answer| Request::KeepHead(head, answer)).await
    }

    async fn prune(&self, limits: PruneLimits, now: Timestamp) -> Result<Pruned, CommitError> {
        self.request(|answer| Request::Prune(limits, now, answer)).await
    }

    async fn backup(&self, to: &Path) -> Result<(), ReadError> {
        let to = to.to_owned();
        self.readers.copy(move |c| backup::write(c, &to)).await
    }
}
