//! The one writer: it takes the batches of all that wait, and makes them durable with one fsync.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    apply::{self, Ledger, Refusal},
    log, prune,
};
use crate::{
    model::{LogHead, Version},
    store::{Batch, Change, CommitError, PruneLimits, Pruned},
};

/// How many requests wait for the writer before the next one waits to be let in: a few groups, so
/// that a slow disk shows as waiting and not as memory.
pub(super) const QUEUE_LENGTH_MAX: usize = 1024;

/// How many requests share one fsync. More would make the first wait for the last without saving
/// anything: at this size the fsync is already a small part of the time.
const GROUP_LENGTH_MAX: usize = 256;

/// How long a group waits for those who are expected at most: the time of a sync on a good disk, which they then share.
const GATHER_MAX: Duration = Duration::from_millis(2);

/// How long the writer sleeps between looks for those who are expected.
const GATHER_LOOK: Duration = Duration::from_micros(100);

/// From how many at a time on it is worth waiting for others: one or two would only wait for themselves.
const GATHER_FROM: f64 = 3.0;

/// What the writer is asked for.
pub(super) enum Request {
    /// Make a batch durable.
    Commit(Batch, oneshot::Sender<Result<(), CommitError>>),
    /// Keep a signed head of the audit log.
    KeepHead(LogHead, oneshot::Sender<Result<(), CommitError>>),
    /// Delete what nobody needs.
    Prune(PruneLimits, Timestamp, oneshot::Sender<Result<Pruned, CommitError>>),
    /// Read on the writer's own connection: only where the store is in memory and has no other.
    Read(Box<dyn FnOnce(&Connection) + Send>),
}

/// The writer's end of things. It ends when every sender of its queue is gone.
pub(super) struct Writer {
    connection: Connection,
    ledger: Ledger,
    queue: mpsc::Receiver<Request>,
    changed: Arc<watch::Sender<u64>>,
    /// Whether the present group keeps a head: that moves no ledger, and has to be committed all the same.
    keeps_head: bool,
    known: Arc<Known>,
    /// Why nothing is written any more, once a commit has failed in a way that leaves doubt.
    broken: Option<String>,
    /// Tells others about it.
    writable: Arc<AtomicBool>,
    gathering: Gathering,
}

/// Decides how long a group waits for others to join, so that a sync is shared by as many as there are.
///
/// Whoever commits comes back when he was answered and has done his part; so the next group is about as large as
/// the last ones, if it is waited for. Nobody waits longer than about as long as the last commit took.
#[derive(Debug, Default)]
struct Gathering {
    /// How many are expected: the largest group of late.
    expected: f64,
    /// How long the last commit took.
    last_commit: Duration,
}

impl Gathering {
    /// How much of the largest group's size is left after another group.
    const FADING: f64 = 0.9;
    /// What part of those who are expected is enough.
    const ENOUGH: f64 = 0.75;

    /// Returns how many to wait for, and how long at most.
    fn wish(&self) -> (usize, Duration) {
        if self.expected < GATHER_FROM {
            return (1, Duration::ZERO);
        }
        let wanted = (self.expected * Self::ENOUGH).ceil() as usize;
        (wanted, self.last_commit.min(GATHER_MAX))
    }

    fn note(&mut self, group: usize, took: Duration) {
        self.expected = (self.expected * Self::FADING).max(group as f64);
        self.last_commit = took;
    }
}

/// What is known of the store without reading it: there is no other writer.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The status feed's last position.
    pub position: AtomicU64,
    /// Rises before anybody is told of a change to an account.
    pub accounts_revision: AtomicU64,
}

/// Tells whether a request changes an account that was there before.
fn changes_account(request: &Request) -> bool {
    let is_change = |change: &Change| matches!(change, Change::Account(account) if account.version != Version::NEW);
    matches!(request, Request::Commit(batch, _) if batch.changes.iter().any(is_change))
}

/// How a group ended.
enum GroupOutcome {
    Durable,
    Failed { message: String, in_doubt: bool },
}

impl Writer {
    /// Starts the writer on a thread of its own.
    pub fn start(
        connection: Connection,
        queue: mpsc::Receiver<Request>,
        changed: Arc<watch::Sender<u64>>,
        known: Arc<Known>,
        writable: Arc<AtomicBool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let ledger = Ledger::read(&connection).map_err(std::io::Error::other)?;
        known.position.store(ledger.position, Ordering::SeqCst);
        let writer = Self {
            connection,
            ledger,
            queue,
            changed,
            keeps_head: false,
            known,
            broken: None,
            writable,
            gathering: Gathering::default(),
        };
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
    }

    fn run(mut self) {
        while let Some(request) = self.queue.blocking_recv() {
            let group = self.gather(request);
            let (reads, writes): (Vec<_>, Vec<_>) = group
                .into_iter()
                .partition(|request| matches!(request, Request::Read(_)));
            self.write(writes);
            // After the writes, so that whoever was answered before reads what was written.
            for request in reads {
                if let Request::Read(read) = request {
                    read(&self.connection);
                }
            }
        }
    }

    /// Collects a group: all that wait, and for a moment those who are expected.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        // A read is not to wait for others; it cannot come here but where the store is in memory.
        let in_haste = matches!(first, Request::Read(_));
        let (wanted, patience) = self.gathering.wish();
        let mut group = vec![first];
        let began = Instant::now();
        loop {
            while group.len() < GROUP_LENGTH_MAX
                && let Ok(request) = self.queue.try_recv()
            {
                group.push(request);
            }
            if in_haste || group.len() >= wanted || began.elapsed() >= patience {
                return group;
            }
            thread::sleep(GATHER_LOOK);
        }
    }

    /// Applies a group in one transaction, and answers when COMMIT has returned.
    ///
    /// First without a savepoint for each part: they cost a copy of each page. Where a part is refused after it has
    /// changed something, all is taken back and done again with savepoints.
    fn write(&mut self, group: Vec<Request>) {
        if group.is_empty() {
            return;
        }
        if let Some(reason) = &self.broken {
            let message = format!("nothing is written since a commit failed: {reason}");
            return refuse(group, &message);
        }
        if let Err(error) = apply::run(&self.connection, "BEGIN IMMEDIATE", []) {
            return refuse(group, &error.to_string());
        }
        let (size, before) = (group.len(), self.ledger);
        self.keeps_head = false;
        let mut spoiled = false;
        let all_at_once = self.apply_plainly(&group);
        if all_at_once.is_none() {
            self.ledger = before;
            if !self.connection.is_autocommit()
                && let Err(error) = apply::run(&self.connection, "ROLLBACK TO whole", [])
            {
                tracing::warn!(%error, "a group could not be taken back");
                spoiled = true;
            }
        }
        let results = all_at_once.unwrap_or_else(|| group.iter().map(|r| self.apply(r, &mut spoiled)).collect());
        let began = Instant::now();
        let outcome = self.finish(before, spoiled);
        // However it ended: one look too many costs nothing.
        if group.iter().any(changes_account) {
            self.known.accounts_revision.fetch_add(1, Ordering::SeqCst);
        }
        self.gathering.note(size, began.elapsed());
        let answers = group.into_iter().zip(results);
        if let GroupOutcome::Failed { message, in_doubt } = &outcome {
            tracing::error!(message, in_doubt, "a group of changes was not committed");
        }
        for (request, result) in answers {
            answer(request, result, &outcome);
        }
    }

    /// Applies all parts without savepoints; `None` if one of them has to be taken back.
    fn apply_plainly(&mut self, group: &[Request]) -> Option<Vec<Result<Pruned, Refusal>>> {
        apply::run(&self.connection, "SAVEPOINT whole", []).ok()?;
        let mut results = Vec::with_capacity(group.len());
        for request in group {
            let (ledger, changes) = (self.ledger, self.connection.total_changes());
            let result = match request {
                Request::Commit(batch, _) => {
                    apply::apply_all(&self.connection, &mut self.ledger, batch).map(|()| Pruned::default())
                }
                Request::Prune(limits, now, _) => prune::prune(&self.connection, &mut self.ledger, *limits, *now),
                Request::KeepHead(head, _) => {
                    let kept = log::keep_head(&self.connection, &self.ledger, head);
                    self.keeps_head |= kept.is_ok();
                    kept.map(|()| Pruned::default())
                }
                Request::Read(_) => Ok(Pruned::default()),
            };
            let has_changed = self.ledger != ledger || self.connection.total_changes() != changes;
            if self.connection.is_autocommit() || (result.is_err() && has_changed) {
                return None;
            }
            if let Err(Refusal::Engine(_) | Refusal::Spoiled(_)) = &result {
                return None;
            }
            results.push(result);
        }
        Some(results)
    }

    fn apply(&mut self, request: &Request, spoiled: &mut bool) -> Result<Pruned, Refusal> {
        match request {
            Request::Commit(batch, _) => self
                .attempt(spoiled, |connection, ledger| apply::apply(connection, ledger, batch))
                .map(|()| Pruned::default()),
            Request::Prune(limits, now, _) => self.attempt(spoiled, |connection, ledger| {
                prune::prune(connection, ledger, *limits, *now)
            }),
            Request::KeepHead(head, _) => {
                let kept = self.attempt(spoiled, |connection, ledger| log::keep_head(connection, ledger, head));
                self.keeps_head |= kept.is_ok();
                kept.map(|()| Pruned::default())
            }
            // They were taken out before the transaction began.
            Request::Read(_) => Ok(Pruned::default()),
        }
    }

    /// Applies one part, unless the group cannot be committed any more: outside the group's
    /// transaction, a part would be committed by itself, without anybody having been told.
    fn attempt<T>(
        &mut self,
        spoiled: &mut bool,
        act: impl FnOnce(&Connection, &mut Ledger) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if *spoiled || self.connection.is_autocommit() {
            return Err(Refusal::Abandoned);
        }
        let result = act(&self.connection, &mut self.ledger);
        *spoiled = matches!(result, Err(Refusal::Spoiled(_)));
        result
    }

    /// Ends the transaction: commits what was applied, or finds out what failed.
    fn finish(&mut self, before: Ledger, spoiled: bool) -> GroupOutcome {
        if self.connection.is_autocommit() {
            self.ledger = before;
            let message = "the engine gave the transaction up, as for want of space".into();
            return GroupOutcome::Failed {
                message,
                in_doubt: false,
            };
        }
        if spoiled {
            self.ledger = before;
            if let Err(error) = apply::run(&self.connection, "ROLLBACK", []) {
                self.give_up(error.to_string());
            }
            let message = "a part of the group could not be taken back".into();
            return GroupOutcome::Failed {
                message,
                in_doubt: false,
            };
        }
        // Every event moves the chain, so an unmoved ledger means that nothing was changed.
        let end = if self.ledger == before && !self.keeps_head {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        match apply::run(&self.connection, end, []) {
            Ok(_) => {
                if self.ledger != before {
                    self.known.position.store(self.ledger.position, Ordering::SeqCst);
                    self.changed.send_modify(|count| *count += 1);
                }
                GroupOutcome::Durable
            }
            Err(error) => self.commit_failed(before, &error),
        }
    }

    /// Decides what a failed COMMIT leaves behind.
    ///
    /// A full disk stops the log before its commit mark is whole, so the transaction is surely not
    /// there and later ones may well succeed. Anything else may be a failed fsync, after which nobody
    /// knows what the disk holds: asking again would get a yes that means nothing (the kernel reports
    /// such an error once), so nothing more is written until the store was opened anew and has recovered.
    fn commit_failed(&mut self, before: Ledger, error: &rusqlite::Error) -> GroupOutcome {
        self.ledger = before;
        let message = error.to_string();
        let rolled_back = self.connection.is_autocommit() || apply::run(&self.connection, "ROLLBACK", []).is_ok();
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let in_doubt = !(full && rolled_back);
        if in_doubt {
            self.give_up(message.clone());
        }
        GroupOutcome::Failed { message, in_doubt }
    }
}

impl Writer {
    fn give_up(&mut self, reason: String) {
        tracing::error!(reason, "nothing is written any more: look at the disk, then restart");
        self.broken = Some(reason);
        self.writable.store(false, Ordering::SeqCst);
    }
}

/// Answers a request when its group has ended.
fn answer(request: Request, result: Result<Pruned, Refusal>, outcome: &GroupOutcome) {
    let result = judge(result, outcome);
    // Whoever asked may have gone away; what was committed stays committed.
    match request {
        Request::Commit(_, answer) | Request::KeepHead(_, answer) => drop(answer.send(result.map(drop))),
        Request::Prune(_, _, answer) => drop(answer.send(result)),
        Request::Read(_) => {}
    }
}

/// Returns what a request gets, from how it was applied and how its group ended.
fn judge<T>(result: Result<T, Refusal>, outcome: &GroupOutcome) -> Result<T, CommitError> {
    let failed = |message: String| CommitError::Failed {
        message,
        in_doubt: false,
    };
    match (result, outcome) {
        (Ok(value), GroupOutcome::Durable) => Ok(value),
        (Ok(_), GroupOutcome::Failed { message, in_doubt }) => Err(CommitError::Failed {
            message: message.clone(),
            in_doubt: *in_doubt,
        }),
        (Err(Refusal::Engine(error) | Refusal::Spoiled(error)), _) => Err(failed(error.to_string())),
        (Err(Refusal::Forbidden(why)), _) => Err(failed(why.to_owned())),
        (Err(Refusal::Conflict), GroupOutcome::Durable) => Err(CommitError::Conflict),
        (Err(Refusal::Duplicate(unique)), GroupOutcome::Durable) => Err(CommitError::Duplicate(unique)),
        // It clashed perhaps with one that is not there now, so the clash says nothing.
        (Err(Refusal::Conflict | Refusal::Duplicate(_)), GroupOutcome::Failed { message, .. }) => {
            Err(failed(message.clone()))
        }
        (Err(Refusal::Abandoned), _) => Err(failed("the group that it was in was given up".into())),
    }
}

fn refuse(group: Vec<Request>, message: &str) {
    let failed = || CommitError::Failed {
        message: message.to_owned(),
        in_doubt: false,
    };
    for request in group {
        // Whoever asked may have gone away.
        match request {
            Request::Commit(_, answer) => drop(answer.send(Err(failed()))),
            Request::KeepHead(_, answer) => drop(answer.send(Err(failed()))),
            Request::Prune(_, _, answer) => drop(answer.send(Err(failed()))),
            Request::Read(_) => {}
        }
    }
}
