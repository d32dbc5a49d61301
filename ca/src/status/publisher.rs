//! The CRL publisher: a worker that waits for the store's signal and its schedule.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::{
    crl::{CrlEntry, CrlError, CrlIssuer, CrlList},
    time_guard::{ClockWentBack, TimeGuard},
};
use crate::{
    clock::SharedClock,
    model::{Action, Actor, AuditEvent, CrlRecord, IssuerId},
    store::{Batch, Change, CommitError, Page, ReadError, Store},
};

/// When CRLs are made.
#[derive(Debug, Clone, Copy)]
pub struct CrlSettings {
    /// From thisUpdate to nextUpdate.
    pub validity: SignedDuration,
    /// How long after one CRL the next one is made; at most half the validity is used, so that there is time to mend a failure.
    pub interval: SignedDuration,
    /// Whether a revocation makes a CRL at once.
    pub on_revocation: bool,
    /// How long a revocation waits for others, so that many make one CRL.
    pub coalesce: Duration,
}

impl Default for CrlSettings {
    /// Valid for a week, made daily and on revocation.
    fn default() -> Self {
        Self {
            validity: SignedDuration::from_hours(7 * 24),
            interval: SignedDuration::from_hours(24),
            on_revocation: true,
            coalesce: Duration::from_millis(250),
        }
    }
}

/// The CRL that is given out now.
#[derive(Debug)]
pub struct PublishedCrl {
    /// The whole CRL.
    pub der: Bytes,
    /// SHA-256 of it, in hexadecimal digits.
    pub etag: String,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is there at the latest.
    pub next_update: Timestamp,
    /// The store feed's position that it reflects.
    pub position: u64,
}

impl PublishedCrl {
    fn from_record(record: CrlRecord) -> Self {
        let etag = super::entity_tag(&record.der);
        let CrlRecord {
            number,
            this_update,
            next_update,
            position,
            der,
            ..
        } = record;
        Self {
            der: der.into(),
            etag,
            number,
            this_update,
            next_update,
            position,
        }
    }
}

/// A CRL that was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No such issuer signs CRLs here.
    #[error("no issuer {0} signs CRLs here")]
    NoIssuer(IssuerId),
    /// The clock shows a time before the last CRL's.
    #[error(transparent)]
    Clock(#[from] ClockWentBack),
    /// It cannot be built or signed.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Times or numbers are beyond what can be counted.
    #[error("the CRL's times or its number are out of range")]
    OutOfRange,
    /// The work broke off.
    #[error("building the CRL broke off: {0}")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// How often another node may be faster before the attempt is given up; the worker tries again later.
const CONFLICTS_MAX: usize = 3;

/// How long a failed attempt rests.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often the worker looks at the clock: timers alone do not notice that the time of day was set.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// How much longer than it took to make a CRL the next one rests: a mass revocation then costs
/// a fifth of the machine at most, however long the list.
const REST_FACTOR: u32 = 4;

struct Slot {
    id: IssuerId,
    issuer: CrlIssuer,
    current: RwLock<Option<Arc<PublishedCrl>>>,
    /// One CRL of an issuer is made at a time.
    making: Mutex<()>,
}

/// Publishes the CRLs of some issuers.
pub struct Publisher {
    store: Arc<dyn Store>,
    clock: SharedClock,
    guard: Arc<TimeGuard>,
    settings: CrlSettings,
    slots: Vec<Slot>,
}

/// When an issuer's next CRL is due.
fn due_at(current: Option<&PublishedCrl>, settings: &CrlSettings) -> Timestamp {
    let Some(current) = current else {
        return Timestamp::MIN;
    };
    let half = current.next_update.duration_since(current.this_update) / 2;
    current
        .this_update
        .checked_add(settings.interval.min(half))
        .unwrap_or(current.next_update)
}

impl Publisher {
    /// Makes a publisher and takes up the CRLs that the store has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        guard: Arc<TimeGuard>,
        settings: CrlSettings,
        issuers: Vec<(IssuerId, CrlIssuer)>,
    ) -> Result<Self, ReadError> {
        let slot = |(id, issuer)| Slot {
            id,
            issuer,
            current: RwLock::new(None),
            making: Mutex::new(()),
        };
        let publisher = Self {
            store,
            clock,
            guard,
            settings,
            slots: issuers.into_iter().map(slot).collect(),
        };
        for slot in &publisher.slots {
            publisher.adopt_stored(slot).await?;
        }
        Ok(publisher)
    }

    /// Returns the issuer's CRL.
    pub fn current(&self, issuer: &IssuerId) -> Option<Arc<PublishedCrl>> {
        self.slots.iter().find(|slot| slot.id == *issuer)?.current()
    }

    /// Makes and publishes a CRL now.
    ///
    /// # Errors
    /// [`PublishError`]; the CRL before stays.
    pub async fn publish(&self, issuer: &IssuerId) -> Result<Arc<PublishedCrl>, PublishError> {
        let slot = self.slots.iter().find(|slot| slot.id == *issuer);
        self.publish_slot(slot.ok_or_else(|| PublishError::NoIssuer(issuer.clone()))?)
            .await
    }

    /// Makes and publishes every issuer's CRL now.
    ///
    /// # Errors
    /// [`PublishError`] of the first that fails; its CRL before stays.
    pub async fn publish_now(&self) -> Result<(), PublishError> {
        for slot in &self.slots {
            self.publish_slot(slot).await?;
        }
        Ok(())
    }

    /// Publishes on schedule and on revocation until told to stop.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut signal = self.store.changed();
        // Revocations since the last CRL, also those before this start.
        let mut followed = self
            .slots
            .iter()
            .filter_map(Slot::current)
            .map(|crl| crl.position)
            .min()
            .unwrap_or(0);
        loop {
            let stopped = async { _ = shutdown.wait_for(|stop| *stop).await };
            let rest = tokio::select! {
                () = stopped => return,
                rest = self.turn(&mut followed, &mut signal) => rest,
            };
            let stopped = async { _ = shutdown.wait_for(|stop| *stop).await };
            let next_look = async {
                tokio::time::sleep(rest).await;
                tokio::time::timeout(self.until_due().saturating_sub(rest), signal.changed()).await
            };
            tokio::select! {
                () = stopped => return,
                changed = next_look => if let Ok(Err(_)) = changed { return },
            }
        }
    }

    /// One turn of the worker; returns how long it must rest.
    async fn turn(&self, followed: &mut u64, signal: &mut watch::Receiver<u64>) -> Duration {
        match self.take_turn(followed, signal).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::error!(%error, "no CRL was published; the one before stays until its nextUpdate");
                RETRY_AFTER
            }
        }
    }

    async fn take_turn(&self, followed: &mut u64, signal: &mut watch::Receiver<u64>) -> Result<Duration, PublishError> {
        signal.borrow_and_update();
        let mut revoking = self.issuers_revoking(followed).await?;
        if !revoking.is_empty() && self.settings.on_revocation {
            tokio::time::sleep(self.settings.coalesce).await;
            signal.borrow_and_update();
            revoking.append(&mut self.issuers_revoking(followed).await?);
        }
        let began = Instant::now();
        let mut published = false;
        let mut failed = None;
        for slot in &self.slots {
            let current = slot.current();
            if !self.is_due(slot, current.as_deref(), &revoking) {
                continue;
            }
            // One issuer's trouble is not another's: the rest is published before the failure is told.
            match self.publish_slot(slot).await {
                Ok(_) => published = true,
                Err(error) => {
                    // What was followed is looked at again, or the revocation would wait for the schedule.
                    *followed = current.map_or(0, |current| current.position).min(*followed);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None if published => Ok(began.elapsed() * REST_FACTOR),
            None => Ok(Duration::ZERO),
        }
    }

    /// Decides whether an issuer's next CRL is to be made now.
    fn is_due(&self, slot: &Slot, current: Option<&PublishedCrl>, revoking: &BTreeSet<(IssuerId, u64)>) -> bool {
        // A place in the feed that a CRL made meanwhile reflects is no reason for another.
        let unlisted = |position: u64| current.is_none_or(|current| current.position < position);
        let revoked = revoking
            .iter()
            .any(|(id, position)| *id == slot.id && unlisted(*position));
        self.clock.now() >= due_at(current, &self.settings) || (self.settings.on_revocation && revoked)
    }

    /// Follows the feed; returns the issuers that have revoked, with where in the feed.
    async fn issuers_revoking(&self, followed: &mut u64) -> Result<BTreeSet<(IssuerId, u64)>, ReadError> {
        let mut revoking = std::collections::BTreeMap::new();
        loop {
            let records = self.store.status_feed(*followed, Page::<u64>::LIMIT_MAX).await?;
            let Some(last) = records.last() else { break };
            *followed = last.position;
            for record in records.into_iter().filter(|record| record.revocation.is_some()) {
                revoking.insert(record.issuer, record.position);
            }
        }
        Ok(revoking.into_iter().collect())
    }

    fn until_due(&self) -> Duration {
        let now = self.clock.now();
        let until = |slot: &Slot| {
            let due = due_at(slot.current().as_deref(), &self.settings);
            Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
        };
        self.slots.iter().map(until).min().unwrap_or(IDLE_LOOK).min(IDLE_LOOK)
    }

    async fn publish_slot(&self, slot: &Slot) -> Result<Arc<PublishedCrl>, PublishError> {
        let _making = slot.making.lock().await;
        let mut conflicts = 0;
        loop {
            let record = self.make(slot).await?;
            let (number, entries) = (record.number, record.entries);
            match self.store.commit(batch_for(record.clone())).await {
                Ok(()) => {
                    tracing::info!(issuer = %slot.id, number, entries, "a CRL is published");
                    return Ok(slot.set_current(record));
                }
                Err(CommitError::Conflict | CommitError::Duplicate(_)) if conflicts < CONFLICTS_MAX => {
                    conflicts += 1;
                    self.adopt_stored(slot).await?;
                }
                Err(error) => {
                    if matches!(error, CommitError::Failed { in_doubt: true, .. }) {
                        self.adopt_stored(slot).await?;
                    }
                    return Err(error.into());
                }
            }
        }
    }

    /// Takes up the store's last CRL if it is newer than what is given out.
    async fn adopt_stored(&self, slot: &Slot) -> Result<(), ReadError> {
        if let Some(record) = self.store.crl(&slot.id).await? {
            self.guard.note(record.this_update);
            if slot.current().is_none_or(|current| current.number < record.number) {
                slot.set_current(record);
            }
        }
        Ok(())
    }

    /// Builds and signs the CRL that follows the current one.
    async fn make(&self, slot: &Slot) -> Result<CrlRecord, PublishError> {
        let last = slot.current();
        let now = self.guard.check(self.clock.now())?;
        let this_update = Timestamp::from_second(now.as_second()).map_err(|_| PublishError::OutOfRange)?;
        if let Some(last) = last.as_deref().filter(|last| last.this_update > this_update) {
            return Err(ClockWentBack {
                latest: last.this_update,
                now,
            }
            .into());
        }
        let number = next_number(last.as_deref(), now).ok_or(PublishError::OutOfRange)?;
        let wanted = this_update
            .checked_add(self.settings.validity)
            .map_err(|_| PublishError::OutOfRange)?;
        let next_update = last.as_deref().map_or(wanted, |last| wanted.max(last.next_update));
        // Read before the list: a revocation in between is on the list or makes another CRL, or both.
        let (position, _) = self.store.status_position().await?;
        // What expired after the last CRL was not on one after its expiry yet (RFC 5280 section 3.3).
        let since = last.as_deref().map_or(Timestamp::MIN, |last| last.this_update);
        let list = self.collect(slot, since).await?;
        let entries = list.count();
        let issuer = slot.issuer.clone();
        let der = tokio::task::spawn_blocking(move || list.sign(&issuer, number, this_update, next_update)).await??;
        Ok(CrlRecord {
            issuer: slot.id.clone(),
            number,
            this_update,
            next_update,
            entries,
            position,
            der,
        })
    }

    async fn collect(&self, slot: &Slot, since: Timestamp) -> Result<CrlList, PublishError> {
        let mut list = CrlList::new(&slot.issuer)?;
        let mut after = None;
        loop {
            let page = Page {
                after,
                limit: Page::<u64>::LIMIT_MAX,
            };
            let records = self.store.revoked(&slot.id, since, page).await?;
            let Some(last) = records.last() else {
                return Ok(list);
            };
            after = Some(last.serial);
            for entry in records.iter().filter_map(CrlEntry::from_record) {
                list.push(entry)?;
            }
        }
    }
}

impl Slot {
    fn current(&self) -> Option<Arc<PublishedCrl>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_current(&self, record: CrlRecord) -> Arc<PublishedCrl> {
        let published = Arc::new(PublishedCrl::from_record(record));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(published.clone());
        published
    }
}

/// The number after the last one, and at least the time in milliseconds: so it also rises when the store was
/// restored from a backup that does not know the last CRLs.
fn next_number(last: Option<&PublishedCrl>, now: Timestamp) -> Option<u64> {
    let by_time = u64::try_from(now.as_millisecond()).ok()?.max(1);
    match last {
        Some(last) => Some(last.number.checked_add(1)?.max(by_time)),
        None => Some(by_time),
    }
}

fn batch_for(record: CrlRecord) -> Batch {
    let event = AuditEvent {
        at: record.this_update,
        actor: Actor::System("crl-publisher".to_owned()),
        action: Action::CrlPublished,
        subject: record.issuer.to_string(),
        detail: serde_json::json!({ "number": record.number, "entries": record.entries }),
    };
    Batch::new(event).with(Change::Crl(record))
}
