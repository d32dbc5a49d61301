//! What is known about each certificate: the store's feed followed, the local index where it is level with
//! the store, the store itself where it is not.
//!
//! The rule that all of this serves: once `catch_up` has returned, nothing that was said before the
//! changes which the store had committed by then is said again.

use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::index::{IndexError, StatusIndex};
use crate::{
    clock::SharedClock,
    model::{IssuerId, Serial, StatusRecord},
    store::{Page, ReadError, Store},
};

/// How many feed records are read at a time.
const FEED_PAGE: usize = Page::<u64>::LIMIT_MAX;

/// How many counters tell which certificates changed. Two certificates on one counter only cost a signature.
const REVISION_SLOTS: usize = 1 << 16;

/// How long a failed follower waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the follower looks even without a signal, and mends a lost index.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// How long the index speaks for an expired certificate; the store goes on knowing it as long as it keeps it.
const INDEX_RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long a failed attempt to build the index rests.
const BUILD_EVERY: Duration = Duration::from_secs(60);

/// What is known about a certificate, and since when it is known to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The certificate's record; `None` for what this issuer never issued.
    pub record: Option<StatusRecord>,
    /// The latest time at which this was certainly right.
    pub at: Timestamp,
}

/// The state of a certificate's counter at a moment: equal counters mean that nothing changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    slot: u16,
    count: u32,
}

/// Follows the store's status feed and answers what is known.
pub struct StatusView {
    store: Arc<dyn Store>,
    clock: SharedClock,
    signal: watch::Receiver<u64>,
    index_dir: Option<PathBuf>,
    index_certificates: NonZeroU32,
    index: RwLock<Option<Arc<StatusIndex>>>,
    revisions: Box<[AtomicU32]>,
    /// The place in the feed up to which changes have taken effect here.
    position: Mutex<u64>,
    identity: [u8; 16],
    passes_begun: AtomicU64,
    pass_done: AtomicU64,
    /// The store's signal as it was when the last complete pass began, and the time.
    level_signal: AtomicU64,
    level_at: AtomicI64,
    doubt: AtomicBool,
}

impl StatusView {
    /// Starts at the store's present position; nothing older can have been answered from here.
    /// With `index_dir`, [`run`](Self::run) builds the local index there, for so many certificates.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        index_dir: Option<PathBuf>,
        index_certificates: NonZeroU32,
    ) -> Result<Self, ReadError> {
        let signal = store.changed();
        let level_signal = *signal.borrow();
        let level_at = clock.now();
        let (position, identity) = store.status_position().await?;
        Ok(Self {
            store,
            clock,
            signal,
            index_dir,
            index_certificates,
            index: RwLock::new(None),
            revisions: (0..REVISION_SLOTS).map(|_| AtomicU32::new(0)).collect(),
            position: Mutex::new(position),
            identity,
            passes_begun: AtomicU64::new(0),
            pass_done: AtomicU64::new(0),
            level_signal: AtomicU64::new(level_signal),
            level_at: AtomicI64::new(level_at.as_microsecond()),
            doubt: AtomicBool::new(false),
        })
    }

    /// Finds what is known about a certificate of an issuer.
    ///
    /// # Errors
    /// When the store cannot be read and the index does not know enough either.
    pub async fn lookup(&self, issuer: &IssuerId, serial: Serial) -> Result<Known, ReadError> {
        let now = self.clock.now();
        if self.is_level()
            && let Some(record) = self.indexed(serial, now)
        {
            return Ok(Known {
                record: of_issuer(record, issuer),
                at: now,
            });
        }
        match self.store.status(serial).await {
            Ok(record) => Ok(Known {
                record: record.and_then(|record| of_issuer(record, issuer)),
                at: now,
            }),
            Err(error) => self.lookup_without_store(issuer, serial).ok_or(error),
        }
    }

    /// Answers from the index alone while the store cannot be read, as of the last time that both were level.
    /// A certificate that is not in the index may have been issued since; one that is good may have been revoked
    /// if somebody was told so and the change could not be read.
    fn lookup_without_store(&self, issuer: &IssuerId, serial: Serial) -> Option<Known> {
        let at = Timestamp::from_microsecond(self.level_at.load(Ordering::SeqCst)).ok()?;
        let record = self.indexed(serial, self.clock.now())?;
        if record.revocation.is_none() && self.is_in_doubt() {
            return None;
        }
        Some(Known {
            record: of_issuer(record, issuer),
            at,
        })
    }

    /// Makes all that the store has committed by now count here: for whoever commits a revocation, before
    /// anybody is told of it.
    ///
    /// # Errors
    /// When the store cannot be read. Until a later pass succeeds, nothing is then called good from memory.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        let result = self.follow().await;
        if result.is_err() {
            self.doubt.store(true, Ordering::SeqCst);
        }
        result
    }

    /// Returns whether a change may have been announced that could not be read here yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.load(Ordering::SeqCst)
    }

    /// Returns the state of a certificate's counter.
    pub(super) fn revision(&self, serial: Serial) -> Revision {
        let slot = slot_of(serial);
        Revision {
            slot,
            count: self.revisions[usize::from(slot)].load(Ordering::SeqCst),
        }
    }

    /// Returns whether nothing changed since that state was taken.
    pub(super) fn is_current(&self, revision: Revision) -> bool {
        self.revisions[usize::from(revision.slot)].load(Ordering::SeqCst) == revision.count
    }

    /// Follows the store until told to stop, builds the index and keeps it small.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut signal = self.signal.clone();
        let mut chores = Chores {
            next_build: Instant::now(),
        };
        loop {
            let stopped = async { _ = shutdown.wait_for(|stop| *stop).await };
            tokio::select! {
                () = stopped => break,
                () = self.look(&mut chores) => {}
            }
            let stopped = async { _ = shutdown.wait_for(|stop| *stop).await };
            tokio::select! {
                () = stopped => break,
                changed = signal.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(IDLE_LOOK) => {}
            }
        }
        self.close_index();
    }

    /// One turn of the follower.
    async fn look(&self, chores: &mut Chores) {
        if let Err(error) = self.follow().await {
            tracing::warn!(%error, "the status feed cannot be followed");
            return tokio::time::sleep(RETRY_AFTER).await;
        }
        let now = Instant::now();
        if self.live_index().is_none() && chores.next_build <= now {
            chores.next_build = now + BUILD_EVERY;
            self.build_index().await;
        }
    }

    /// Makes one pass over the feed, or shares one that began after this call.
    async fn follow(&self) -> Result<(), ReadError> {
        let called_at = self.passes_begun.load(Ordering::SeqCst);
        let mut position = self.position.lock().await;
        if self.pass_done.load(Ordering::SeqCst) > called_at {
            return Ok(());
        }
        let pass = self.passes_begun.fetch_add(1, Ordering::SeqCst) + 1;
        let signal = *self.signal.borrow();
        let began_at = self.clock.now();
        self.take_changes(&mut position).await?;
        self.pass_done.store(pass, Ordering::SeqCst);
        self.level_signal.store(signal, Ordering::SeqCst);
        self.level_at.store(began_at.as_microsecond(), Ordering::SeqCst);
        self.doubt.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Lets every change after `position` take effect: first in the index, then on the counters, so that an
    /// answer made from the older index never carries the newer counter.
    async fn take_changes(&self, position: &mut u64) -> Result<(), ReadError> {
        loop {
            let records = self.store.status_feed(*position, FEED_PAGE).await?;
            let Some(last) = records.last() else {
                return Ok(());
            };
            let reached = last.position;
            if let Some(index) = self.live_index()
                && let Err(error) = index.apply(&records)
            {
                self.lose_index(&error);
            }
            for record in &records {
                self.revisions[usize::from(slot_of(record.serial))].fetch_add(1, Ordering::SeqCst);
            }
            *position = reached;
        }
    }

    /// Returns whether no commit happened since the last complete pass.
    fn is_level(&self) -> bool {
        *self.signal.borrow() == self.level_signal.load(Ordering::SeqCst) && !self.is_in_doubt()
    }

    fn live_index(&self) -> Option<Arc<StatusIndex>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds a record in the index, unless the store may have forgotten the certificate meanwhile.
    fn indexed(&self, serial: Serial, now: Timestamp) -> Option<StatusRecord> {
        match self.live_index()?.get(serial) {
            Ok(record) => record.filter(|record| now.duration_since(record.not_after) <= INDEX_RETENTION),
            Err(error) => {
                self.lose_index(&error);
                None
            }
        }
    }

    fn lose_index(&self, error: &IndexError) {
        tracing::error!(%error, "the status index failed; answers come from the store until it is rebuilt");
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn close_index(&self) {
        let index = self.index.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(index) = index
            && let Err(error) = index.flush()
        {
            tracing::warn!(%error, "the status index was not written out; it will be rebuilt");
        }
    }

    /// Opens the index, lets it catch up beside the follower, and takes it into use once it is level.
    async fn build_index(&self) {
        let Some(dir) = self.index_dir.clone() else {
            return;
        };
        let (identity, reached) = (self.identity, *self.position.lock().await);
        let certificates = self.index_certificates;
        let opened =
            tokio::task::spawn_blocking(move || StatusIndex::open(&dir, identity, reached, certificates)).await;
        let index = match opened {
            Ok(Ok(index)) => Arc::new(index),
            Ok(Err(error)) => return tracing::error!(%error, "the status index cannot be opened"),
            Err(error) => return tracing::error!(%error, "opening the status index broke off"),
        };
        if let Err(error) = self.fill_index(&index).await {
            tracing::error!(%error, "the status index was not filled");
        }
    }

    async fn fill_index(&self, index: &Arc<StatusIndex>) -> Result<(), FillError> {
        loop {
            let records = self.store.status_feed(index.position(), FEED_PAGE).await?;
            let is_last = records.len() < FEED_PAGE;
            let target = index.clone();
            tokio::task::spawn_blocking(move || target.apply(&records))
                .await
                .map_err(FillError::BrokeOff)??;
            if is_last {
                break;
            }
            self.follow().await?;
        }
        // The little that is left, with the follower standing still.
        let mut position = self.position.lock().await;
        self.take_changes(&mut position).await?;
        while index.position() < *position {
            let records = self.store.status_feed(index.position(), FEED_PAGE).await?;
            if records.is_empty() {
                return Err(FillError::FeedEnded);
            }
            index.apply(&records)?;
        }
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        drop(position);
        tracing::info!(position = index.position(), "the status index is in use");
        Ok(())
    }

    /// Returns whether lookups use the index now.
    #[cfg(test)]
    pub(super) fn has_index(&self) -> bool {
        self.live_index().is_some()
    }
}

/// When the follower's rarer duties are due.
struct Chores {
    next_build: Instant,
}

/// An index that did not become level.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("writing it broke off: {0}")]
    BrokeOff(tokio::task::JoinError),
    #[error("the feed ended before the position that the store named")]
    FeedEnded,
}

fn of_issuer(record: StatusRecord, issuer: &IssuerId) -> Option<StatusRecord> {
    (record.issuer == *issuer).then_some(record)
}

/// Serials are random, so their last octets spread them evenly.
fn slot_of(serial: Serial) -> u16 {
    let [.., high, low] = *serial.as_bytes();
    u16::from_be_bytes([high, low])
}
