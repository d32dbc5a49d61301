//! The one writer: it takes the batches of all that wait, and makes them durable with one fsync.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    apply::{self, Ledger, Refusal},
    prune,
};
use crate::store::{Batch, CommitError, PruneLimits, Pruned};

/// How many requests wait for the writer before the next one waits to be let in: a few groups, so
/// that a slow disk shows as waiting and not as memory.
pub(super) const QUEUE_LENGTH_MAX: usize = 1024;

/// How many requests share one fsync. More would make the first wait for the last without saving
/// anything: at this size the fsync is already a small part of the time.
const GROUP_LENGTH_MAX: usize = 256;

/// What the writer is asked for.
pub(super) enum Request {
    /// Make a batch durable.
    Commit(Batch, oneshot::Sender<Result<(), CommitError>>),
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
    /// Why nothing is written any more, once a commit has failed in a way that leaves doubt.
    broken: Option<String>,
    /// Tells others about it.
    writable: Arc<AtomicBool>,
}

/// An answer that waits for the group's commit.
type Answer = Box<dyn FnOnce(&GroupOutcome) + Send>;

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
        writable: Arc<AtomicBool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let ledger = Ledger::read(&connection).map_err(std::io::Error::other)?;
        let writer = Self {
            connection,
            ledger,
            queue,
            changed,
            broken: None,
            writable,
        };
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
    }

    fn run(mut self) {
        while let Some(request) = self.queue.blocking_recv() {
            let mut group = vec![request];
            while group.len() < GROUP_LENGTH_MAX
                && let Ok(request) = self.queue.try_recv()
            {
                group.push(request);
            }
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

    /// Applies a group in one transaction, and answers when COMMIT has returned.
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
        let before = self.ledger;
        let mut spoiled = false;
        let answers: Vec<Answer> = group
            .into_iter()
            .map(|request| self.apply(request, &mut spoiled))
            .collect();
        let outcome = self.finish(before, spoiled);
        if let GroupOutcome::Failed { message, in_doubt } = &outcome {
            tracing::error!(message, in_doubt, "a group of changes was not committed");
        }
        for answer in answers {
            answer(&outcome);
        }
    }

    fn apply(&mut self, request: Request, spoiled: &mut bool) -> Answer {
        match request {
            Request::Commit(batch, answer) => {
                let result = self.attempt(spoiled, |connection, ledger| apply::apply(connection, ledger, &batch));
                answer_later(answer, result)
            }
            Request::Prune(limits, now, answer) => {
                let prune =
                    |connection: &Connection, ledger: &mut Ledger| prune::prune(connection, ledger, limits, now);
                answer_later(answer, self.attempt(spoiled, prune))
            }
            // They were taken out before the transaction began.
            Request::Read(_) => Box::new(|_| {}),
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
        let end = if self.ledger == before { "ROLLBACK" } else { "COMMIT" };
        match apply::run(&self.connection, end, []) {
            Ok(_) => {
                if self.ledger != before {
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

/// Keeps a request's answer until its group has ended.
fn answer_later<T: Send + 'static>(
    answer: oneshot::Sender<Result<T, CommitError>>,
    result: Result<T, Refusal>,
) -> Answer {
    Box::new(move |outcome| {
        // Whoever asked may have gone away; what was committed stays committed.
        let _ = answer.send(judge(result, outcome));
    })
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
            Request::Prune(_, _, answer) => drop(answer.send(Err(failed()))),
            Request::Read(_) => {}
        }
    }
}
