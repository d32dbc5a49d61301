//! The CRL publisher: a worker that waits for the store's signal and its schedule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::{
    crl::{CrlEntry, CrlError, CrlHead, CrlIssuer, sign_crl},
    delta::{Changes, Told},
    entries::{Entries, EntryWriter, Kept, walk},
    time_guard::{ClockWentBack, TimeGuard},
};
use crate::{
    clock::SharedClock,
    model::{Action, Actor, AuditEvent, CrlKind, CrlRecord, IssuerId, Pieces, StatusRecord},
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
    /// How long after one delta CRL the next one is made; `None` for no deltas. Each is valid for twice as long.
    pub delta: Option<SignedDuration>,
}

impl Default for CrlSettings {
    /// Valid for a week, made daily and on revocation, without deltas.
    fn default() -> Self {
        Self {
            validity: SignedDuration::from_hours(7 * 24),
            interval: SignedDuration::from_hours(24),
            on_revocation: true,
            coalesce: Duration::from_millis(250),
            delta: None,
        }
    }
}

/// The CRL that is given out now.
#[derive(Debug)]
pub struct PublishedCrl {
    /// The whole CRL.
    pub der: Pieces,
    /// SHA-256 of it, in hexadecimal digits.
    pub etag: String,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is there at the latest.
    pub next_update: Timestamp,
    /// How many certificates it lists.
    pub entries: u64,
    /// The store feed's position that it reflects.
    pub position: u64,
}

impl PublishedCrl {
    fn from_record(record: CrlRecord) -> Self {
        let etag = super::entity_tag_of(&record.der);
        let CrlRecord {
            number,
            this_update,
            next_update,
            entries,
            position,
            der,
            ..
        } = record;
        Self {
            der,
            etag,
            number,
            this_update,
            next_update,
            entries,
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

/// How many entries a complete CRL may have to be made with each revocation although there are deltas: so long it costs
/// little more than the delta, and also serves those who read no deltas.
const ENTRIES_WITH_DELTA_MAX: u64 = 10_000;

/// What the address of deltas has in the place of `.crl`.
pub(crate) const DELTA_SUFFIX: &str = "-delta.crl";

struct Slot {
    id: IssuerId,
    issuer: CrlIssuer,
    current: RwLock<Current>,
    /// One CRL of an issuer is made at a time, from what is kept here; `None` before it is read from the store.
    kept: Mutex<Option<KeptList>>,
}

/// What is given out.
#[derive(Debug, Default, Clone)]
struct Current {
    complete: Option<Arc<PublishedCrl>>,
    delta: Option<Arc<PublishedCrl>>,
}

impl Current {
    fn both(&self) -> impl Iterator<Item = &Arc<PublishedCrl>> {
        self.complete.iter().chain(&self.delta)
    }

    /// The store feed's position that the two reflect together.
    fn position(&self) -> Option<u64> {
        self.both().map(|crl| crl.position).max()
    }

    fn number(&self) -> Option<u64> {
        self.both().map(|crl| crl.number).max()
    }

    fn this_update(&self) -> Option<Timestamp> {
        self.both().map(|crl| crl.this_update).max()
    }
}

/// The entries of an issuer as of a position in the store's feed.
struct KeptList {
    position: u64,
    entries: Entries,
    /// `None` where there are no deltas.
    changes: Option<Changes>,
}

/// Publishes the CRLs of some issuers.
pub struct Publisher {
    store: Arc<dyn Store>,
    clock: SharedClock,
    guard: Arc<TimeGuard>,
    settings: CrlSettings,
    slots: Vec<Slot>,
}

/// When the CRL after the current one is due.
fn due_at(current: Option<&PublishedCrl>, interval: SignedDuration) -> Timestamp {
    let Some(current) = current else {
        return Timestamp::MIN;
    };
    let half = current.next_update.duration_since(current.this_update) / 2;
    current
        .this_update
        .checked_add(interval.min(half))
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
            current: RwLock::default(),
            kept: Mutex::new(None),
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

    /// Returns the issuer's complete CRL.
    pub fn current(&self, issuer: &IssuerId) -> Option<Arc<PublishedCrl>> {
        self.current_of(issuer)?.complete
    }

    /// Returns the issuer's delta CRL, if deltas are made.
    pub fn current_delta(&self, issuer: &IssuerId) -> Option<Arc<PublishedCrl>> {
        self.current_of(issuer)?.delta
    }

    fn current_of(&self, issuer: &IssuerId) -> Option<Current> {
        self.slots
            .iter()
            .find(|slot| slot.id == *issuer)
            .map(|slot| slot.current())
    }

    /// Makes and publishes a complete CRL now, and its delta if deltas are made.
    ///
    /// # Errors
    /// [`PublishError`]; the CRLs before stay.
    pub async fn publish(&self, issuer: &IssuerId) -> Result<Arc<PublishedCrl>, PublishError> {
        self.publish_kind(issuer, CrlKind::Complete).await?;
        self.current(issuer)
            .ok_or_else(|| PublishError::NoIssuer(issuer.clone()))
    }

    /// Makes and publishes a CRL of a kind now; a delta where only a complete one can do becomes that.
    ///
    /// # Errors
    /// [`PublishError`]; the CRLs before stay.
    pub async fn publish_kind(&self, issuer: &IssuerId, kind: CrlKind) -> Result<(), PublishError> {
        let slot = self.slots.iter().find(|slot| slot.id == *issuer);
        let slot = slot.ok_or_else(|| PublishError::NoIssuer(issuer.clone()))?;
        self.publish_slot(slot, kind).await
    }

    /// Makes and publishes every issuer's CRLs now.
    ///
    /// # Errors
    /// [`PublishError`] of the first that fails; its CRL before stays.
    pub async fn publish_now(&self) -> Result<(), PublishError> {
        for slot in &self.slots {
            self.publish_slot(slot, CrlKind::Complete).await?;
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
            .filter_map(|slot| slot.current().position())
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
            let Some(kind) = self.due(slot, &current, &revoking) else {
                continue;
            };
            // One issuer's trouble is not another's: the rest is published before the failure is told.
            match self.publish_slot(slot, kind).await {
                Ok(()) => published = true,
                Err(error) => {
                    // What was followed is looked at again, or the revocation would wait for the schedule.
                    *followed = current.position().unwrap_or(0).min(*followed);
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

    /// Decides whether an issuer's next CRL is to be made now, and which.
    fn due(&self, slot: &Slot, current: &Current, revoking: &BTreeSet<(IssuerId, u64)>) -> Option<CrlKind> {
        let now = self.clock.now();
        // A place in the feed that a CRL made meanwhile reflects is no reason for another.
        let unlisted = |position: u64| current.position().is_none_or(|listed| listed < position);
        let revoked = self.settings.on_revocation
            && revoking
                .iter()
                .any(|(id, position)| *id == slot.id && unlisted(*position));
        let complete = current.complete.as_deref();
        let complete_due = now >= due_at(complete, self.settings.interval);
        let Some(interval) = self.settings.delta else {
            return (complete_due || revoked).then_some(CrlKind::Complete);
        };
        let is_short = complete.is_none_or(|complete| complete.entries <= ENTRIES_WITH_DELTA_MAX);
        if complete_due || (revoked && is_short) {
            Some(CrlKind::Complete)
        } else {
            (revoked || now >= due_at(current.delta.as_deref(), interval)).then_some(CrlKind::Delta)
        }
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
            let current = slot.current();
            let complete = due_at(current.complete.as_deref(), self.settings.interval);
            let delta = self.settings.delta.map(|delta| due_at(current.delta.as_deref(), delta));
            let due = delta.map_or(complete, |delta| complete.min(delta));
            Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
        };
        self.slots.iter().map(until).min().unwrap_or(IDLE_LOOK).min(IDLE_LOOK)
    }

    async fn publish_slot(&self, slot: &Slot, kind: CrlKind) -> Result<(), PublishError> {
        let mut kept = slot.kept.lock().await;
        let mut conflicts = 0;
        loop {
            let published = self.try_publish(slot, &mut kept, kind).await;
            if published.is_err() {
                // What is kept may be ahead of what is published: it is read again.
                *kept = None;
            }
            match published {
                Err(PublishError::Commit(CommitError::Conflict | CommitError::Duplicate(_)))
                    if conflicts < CONFLICTS_MAX =>
                {
                    conflicts += 1;
                    self.adopt_stored(slot).await?;
                }
                Err(PublishError::Commit(error @ CommitError::Failed { in_doubt: true, .. })) => {
                    self.adopt_stored(slot).await?;
                    return Err(error.into());
                }
                result => return result,
            }
        }
    }

    async fn try_publish(&self, slot: &Slot, kept: &mut Option<KeptList>, kind: CrlKind) -> Result<(), PublishError> {
        let mut list = match kept.take() {
            Some(list) => list,
            None => self.load(slot).await?,
        };
        let records = self.make(slot, &mut list, kind).await?;
        self.store.commit(batch_for(&records)).await?;
        for record in records {
            let (kind, number, entries) = (record.kind.as_str(), record.number, record.entries);
            tracing::info!(issuer = %slot.id, kind, number, entries, "a CRL is published");
            slot.set_current(record);
        }
        *kept = Some(list);
        Ok(())
    }

    /// Takes up the store's last CRLs if they are newer than what is given out.
    async fn adopt_stored(&self, slot: &Slot) -> Result<(), ReadError> {
        for kind in [CrlKind::Complete, CrlKind::Delta] {
            if let Some(record) = self.store.crl(&slot.id, kind).await? {
                self.guard.note(record.this_update);
                let current = slot.current();
                let current = match kind {
                    CrlKind::Complete => current.complete,
                    CrlKind::Delta => current.delta,
                };
                if current.is_none_or(|current| current.number < record.number) {
                    slot.set_current(record);
                }
            }
        }
        Ok(())
    }

    /// Builds and signs what follows the current CRLs: a complete one with its delta, or a delta alone.
    async fn make(&self, slot: &Slot, list: &mut KeptList, kind: CrlKind) -> Result<Vec<CrlRecord>, PublishError> {
        let current = slot.current();
        let now = self.guard.check(self.clock.now())?;
        let this_update = Timestamp::from_second(now.as_second()).map_err(|_| PublishError::OutOfRange)?;
        if let Some(latest) = current.this_update().filter(|latest| *latest > this_update) {
            return Err(ClockWentBack { latest, now }.into());
        }
        self.follow(slot, list).await?;
        let number = next_number(current.number(), now).ok_or(PublishError::OutOfRange)?;
        let base = match (&current.complete, &current.delta, &list.changes) {
            (Some(complete), Some(_), Some(changes)) if kind == CrlKind::Delta && !changes.are_too_many() => {
                Some(complete.number)
            }
            _ => None,
        };
        let mut records = Vec::new();
        if base.is_none() {
            if let Some(complete) = &current.complete {
                // What expired after the last CRL was not on one after its expiry yet (RFC 5280 section 3.3).
                let ended = list.entries.take_ended(complete.this_update)?;
                if let Some(changes) = &mut list.changes {
                    ended.into_iter().for_each(|serial| changes.left(serial, this_update));
                }
            }
            if let Some(changes) = &mut list.changes {
                changes.advance(current.complete.as_ref().map(|complete| complete.number));
            }
            let next_update = next_update(this_update, self.settings.validity, current.complete.as_deref())?;
            let freshest = self.settings.delta.map(|_| delta_url(&slot.issuer));
            let head = CrlHead {
                number,
                this_update,
                next_update,
                base: None,
                freshest,
            };
            let entries = (list.entries.octets(), list.entries.count());
            records.push(sign(slot, CrlKind::Complete, head, entries, list.position).await?);
        }
        if let (Some(interval), Some(changes)) = (self.settings.delta, &list.changes) {
            let head = CrlHead {
                number,
                this_update,
                next_update: next_update(this_update, interval.saturating_mul(2), current.delta.as_deref())?,
                base: Some(changes.base(base.unwrap_or(number))),
                freshest: None,
            };
            let (octets, count) = changes.encode()?;
            records.push(sign(slot, CrlKind::Delta, head, (vec![octets], count), list.position).await?);
        }
        Ok(records)
    }

    /// Brings what is kept up to the end of the store's feed.
    async fn follow(&self, slot: &Slot, list: &mut KeptList) -> Result<(), PublishError> {
        loop {
            let records = self.store.status_feed(list.position, Page::<u64>::LIMIT_MAX).await?;
            let Some(last) = records.last() else { return Ok(()) };
            let position = last.position;
            let revoked: Vec<Kept> = records
                .iter()
                .filter(|record| record.issuer == slot.id)
                .filter_map(kept)
                .collect();
            if let Some(changes) = &mut list.changes {
                revoked.iter().for_each(|kept| changes.revoked(kept.entry));
            }
            list.entries.merge(revoked)?;
            list.position = position;
        }
    }

    /// Reads from the store, page by page, what is to be kept.
    async fn load(&self, slot: &Slot) -> Result<KeptList, PublishError> {
        let current = slot.current();
        let complete = current.complete.as_deref();
        // Read before the list: a revocation in between is on the list or in what is followed, or in both.
        let (position, _) = self.store.status_position().await?;
        let since = complete.map_or(Timestamp::MIN, |complete| complete.this_update);
        let told = current
            .delta
            .as_deref()
            .filter(|delta| complete.is_some_and(|complete| complete.number <= delta.number))
            .and_then(|delta| Told::read(&delta.der));
        let mut writer = EntryWriter::default();
        let mut changes = Changes::default();
        let mut revoked_before = BTreeMap::new();
        let mut after = None;
        loop {
            let page = Page {
                after,
                limit: Page::<u64>::LIMIT_MAX,
            };
            let records = self.store.revoked(&slot.id, since, page).await?;
            let Some(last) = records.last() else { break };
            after = Some(last.serial);
            for (record, kept) in records.iter().filter_map(|record| Some((record, kept(record)?))) {
                writer.push(&kept)?;
                if complete.is_some_and(|complete| complete.position < record.position) {
                    changes.revoked(kept.entry);
                } else if told.as_ref().is_some_and(|told| told.shows(&record.serial)) {
                    revoked_before.insert(record.serial, kept.entry);
                }
            }
        }
        let entries = writer.finish();
        if self.settings.delta.is_none() {
            return Ok(KeptList {
                position,
                entries,
                changes: None,
            });
        }
        if let Some(complete) = complete {
            if let Some(told) = told {
                told.resume(complete.number, &revoked_before, &mut changes);
            }
            note_what_left(complete, &entries, &mut changes);
        }
        Ok(KeptList {
            position,
            entries,
            changes: Some(changes),
        })
    }
}

/// Notes what stands on the current complete CRL and is kept no more: it leaves with the next one.
fn note_what_left(complete: &PublishedCrl, entries: &Entries, changes: &mut Changes) {
    let [_, pieces @ .., _] = complete.der.pieces() else {
        // Stored in one block before there were pieces.
        changes.give_up();
        return;
    };
    let mut kept = entries.serials().peekable();
    let mut count = 0;
    for (serial, _) in pieces.iter().flat_map(|piece| walk(piece)) {
        count += 1;
        while kept.next_if(|kept| *kept < serial).is_some() {}
        if kept.peek() != Some(&serial) {
            changes.left(serial, complete.this_update);
        }
    }
    if count != complete.entries {
        changes.give_up();
    }
}

fn kept(record: &StatusRecord) -> Option<Kept> {
    Some(Kept {
        entry: CrlEntry::from_record(record)?,
        not_after: record.not_after,
    })
}

/// Signs off the async threads.
async fn sign(
    slot: &Slot,
    kind: CrlKind,
    head: CrlHead,
    (octets, entries): (Vec<Bytes>, u64),
    position: u64,
) -> Result<CrlRecord, PublishError> {
    let (issuer, number) = (slot.issuer.clone(), head.number);
    let (this_update, next_update) = (head.this_update, head.next_update);
    let der = tokio::task::spawn_blocking(move || sign_crl(&issuer, &head, octets)).await??;
    Ok(CrlRecord {
        issuer: slot.id.clone(),
        kind,
        number,
        this_update,
        next_update,
        entries,
        position,
        der,
    })
}

/// Where an issuer's deltas are: beside its complete CRL.
fn delta_url(issuer: &CrlIssuer) -> String {
    let url = &issuer.distribution_point_url;
    format!("{}{DELTA_SUFFIX}", url.strip_suffix(".crl").unwrap_or(url))
}

/// The end of a CRL, which never comes before that of the one before it.
fn next_update(
    this_update: Timestamp,
    validity: SignedDuration,
    last: Option<&PublishedCrl>,
) -> Result<Timestamp, PublishError> {
    let wanted = this_update
        .checked_add(validity)
        .map_err(|_| PublishError::OutOfRange)?;
    Ok(last.map_or(wanted, |last| wanted.max(last.next_update)))
}

impl Slot {
    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_current(&self, record: CrlRecord) {
        let kind = record.kind;
        let published = Some(Arc::new(PublishedCrl::from_record(record)));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match kind {
            CrlKind::Complete => current.complete = published,
            CrlKind::Delta => current.delta = published,
        }
    }
}

/// The number after the last one, and at least the time in milliseconds: so it also rises when the store was
/// restored from a backup that does not know the last CRLs.
fn next_number(last: Option<u64>, now: Timestamp) -> Option<u64> {
    let by_time = u64::try_from(now.as_millisecond()).ok()?.max(1);
    match last {
        Some(last) => Some(last.checked_add(1)?.max(by_time)),
        None => Some(by_time),
    }
}

/// Lists that are made together become durable together.
fn batch_for(records: &[CrlRecord]) -> Batch {
    let event = |record: &CrlRecord| AuditEvent {
        at: record.this_update,
        actor: Actor::System("crl-publisher".to_owned()),
        action: Action::CrlPublished,
        subject: record.issuer.to_string(),
        detail: serde_json::json!({ "number": record.number, "entries": record.entries, "kind": record.kind.as_str() }),
    };
    let (first, others) = records
        .split_first()
        .expect("invariant: make() gives a complete CRL, a delta, or both");
    let batch = Batch::new(event(first)).with(Change::Crl(first.clone()));
    others.iter().fold(batch, |batch, record| {
        batch.and(event(record)).with(Change::Crl(record.clone()))
    })
}
