//! Makes the tries that the store says are due, and writes down what came of them.
//!
//! Nobody calls it: it waits for the store's signal or the next due time, whichever comes first,
//! and reads what is due. What it was doing when the process ended is still due at the next start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sigillo_protocol::acme::account::AccountStatus;
use sigillo_protocol::acme::challenge::{ChallengeStatus, ChallengeType};
use sigillo_protocol::acme::problem::{ErrorType, Problem};
use sigillo_protocol::state::authorization::AuthorizationLife;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::{Applicant, Failure, Proof, Target, Validator};
use crate::clock::SharedClock;
use crate::model::{Account, AccountId, Action, Actor, AuditEvent, Authorization, AuthorizationId, Challenge};
use crate::store::{Batch, Change, CommitError, ReadError, Store};

/// How many tries run at the same time: each holds a socket or two, and most of its time it waits.
const CONCURRENCY_MAX: usize = 64;

/// How many of them may be one account's: targets that stay silent hold their places for as long as a try may
/// take, and one account has no end of them. The others find three quarters free.
const PER_ACCOUNT_MAX: usize = CONCURRENCY_MAX / 4;

/// How many tries a challenge gets. With the pauses between them a target has about seven seconds
/// to get ready after the client's word that it is; clients give up on a CA that takes a minute.
const TRIES_MAX: u32 = 3;

/// The pauses after the first try, the second, and so on.
const PAUSES: [SignedDuration; TRIES_MAX as usize - 1] = [SignedDuration::from_secs(2), SignedDuration::from_secs(5)];

/// The longest sleep: a clock that was set back is noticed after this at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long the worker leaves a store alone that has just failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often an outcome is decided anew because somebody else changed the authorization.
const CONFLICTS_MAX: u32 = 5;

/// Gives the moment until which an authorization that becomes valid now can be used.
pub type AuthorizationEnd = Arc<dyn Fn(Timestamp) -> Timestamp + Send + Sync>;

/// Tells how an account is named in records of the DNS.
pub type ApplicantOf = Arc<dyn Fn(&Account) -> Applicant + Send + Sync>;

/// The worker, to be started once in each process.
pub struct ValidationWorker {
    context: Arc<Context>,
}

/// What each try needs.
struct Context {
    store: Arc<dyn Store>,
    clock: SharedClock,
    validator: Arc<Validator>,
    end: AuthorizationEnd,
    applicant: ApplicantOf,
}

/// The tries that are running.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    ids: HashMap<Id, (AuthorizationId, AccountId)>,
}

impl ValidationWorker {
    /// Puts the worker together.
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        validator: Arc<Validator>,
        end: AuthorizationEnd,
        applicant: ApplicantOf,
    ) -> Self {
        Self {
            context: Arc::new(Context {
                store,
                clock,
                validator,
                end,
                applicant,
            }),
        }
    }

    /// Works until it is told to stop.
    ///
    /// Tries that are running then are given up: nothing of theirs is written, so they stay due.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut changed = self.context.store.changed();
        let mut running = Running::default();
        loop {
            // Marked as seen before reading, so that no change falls between the two.
            changed.borrow_and_update();
            let sleep = match self.start_due(&mut running).await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(%error, "what is due for validation cannot be read");
                    STORE_PAUSE
                }
            };
            let full = running.tasks.len() >= CONCURRENCY_MAX;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                Some(ended) = running.tasks.join_next_with_id() => running.forget(ended),
                () = tokio::time::sleep(sleep), if !full => {}
                Ok(()) = changed.changed(), if !full => {}
            }
        }
    }

    /// Starts what is due and not running, and says how long to wait for the next.
    async fn start_due(&self, running: &mut Running) -> Result<Duration, ReadError> {
        let now = self.context.clock.now();
        // Each round but the last ends with one more account at its share, and so many of those fill all places.
        for _ in 0..=CONCURRENCY_MAX / PER_ACCOUNT_MAX {
            let free = CONCURRENCY_MAX.saturating_sub(running.tasks.len());
            if free == 0 {
                break;
            }
            let at_share = running.at_share();
            let at: Vec<AuthorizationId> = running.ids.values().map(|(id, _)| *id).collect();
            let (due, next) = self.context.store.authorizations_due(now, &at, &at_share, free).await?;
            let full_list = due.len() >= free;
            for authorization in due {
                if running.has_place_for(&authorization) {
                    running.start(self.context.clone(), authorization);
                }
            }
            // Behind a list that others have filled, somebody may be waiting who still has a share.
            if !full_list || running.at_share().len() == at_share.len() {
                return Ok(until(next, now));
            }
        }
        Ok(SLEEP_MAX)
    }
}

/// How long to sleep until the next falls due.
fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait = next.map_or(SLEEP_MAX, |next| {
        Duration::try_from(next.duration_since(now)).unwrap_or_default()
    });
    wait.clamp(Duration::from_millis(1), SLEEP_MAX)
}

impl Running {
    /// Tells whether an authorization is not being tried yet and may be, by the number of all tries and of its account's.
    fn has_place_for(&self, authorization: &Authorization) -> bool {
        self.tasks.len() < CONCURRENCY_MAX
            && self.count(authorization.account) < PER_ACCOUNT_MAX
            && !self.ids.values().any(|(id, _)| *id == authorization.id)
    }

    fn count(&self, account: AccountId) -> usize {
        self.ids.values().filter(|(_, whose)| *whose == account).count()
    }

    /// Returns the accounts that have all the tries that one may have.
    fn at_share(&self) -> Vec<AccountId> {
        let accounts: HashSet<AccountId> = self.ids.values().map(|(_, account)| *account).collect();
        let full = |account: &AccountId| self.count(*account) >= PER_ACCOUNT_MAX;
        accounts.into_iter().filter(full).collect()
    }

    fn start(&mut self, context: Arc<Context>, authorization: Authorization) {
        let id = (authorization.id, authorization.account);
        let task = self.tasks.spawn(async move { context.attend(authorization).await });
        self.ids.insert(task.id(), id);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a validation task ended badly");
                error.id()
            }
        };
        self.ids.remove(&id);
    }
}

impl Context {
    /// Makes one try for an authorization and writes the outcome.
    async fn attend(&self, authorization: Authorization) {
        let Some(position) = due_challenge(&authorization) else {
            return;
        };
        let outcome = self.attempt(&authorization, position).await;
        let id = authorization.id;
        if let Err(error) = self.write(authorization, position, &outcome).await {
            tracing::error!(%error, %id, "the outcome of a validation could not be written");
            // It is still due; the pause keeps a store that fails from being run against.
            tokio::time::sleep(STORE_PAUSE).await;
        }
        self.validator.decisions().tell(id);
    }

    async fn attempt(&self, authorization: &Authorization, position: usize) -> Result<Proof, Failure> {
        let now = self.clock.now();
        if !is_pending(authorization, now) {
            return Err(Failure::lasting(
                ErrorType::Malformed,
                "The authorization expired before its challenge was decided.",
            ));
        }
        let challenge = &authorization.challenges[position];
        let Some(key_authorization) = challenge.key_authorization.clone() else {
            return Err(Failure::lasting(
                ErrorType::ServerInternal,
                "The response to this challenge was recorded without its key authorization.",
            ));
        };
        let account = self.open_account(authorization.account).await?;
        let target = Target {
            name: authorization.name.clone(),
            subdomains: authorization.subdomains,
            challenge: challenge.kind,
            token: challenge.token.clone(),
            key_authorization,
            applicant: (self.applicant)(&account),
            now,
        };
        // A task of its own, so that a defect in a parser costs one try and not the worker. It is
        // dropped, and with it ended, when this one is.
        let validator = self.validator.clone();
        let mut tries = JoinSet::new();
        tries.spawn(async move { validator.attempt(&target).await });
        match tries.join_next().await {
            Some(Ok(outcome)) => outcome,
            ended => {
                tracing::error!(?ended, name = %authorization.name, "a validation panicked");
                Err(Failure::transient(
                    ErrorType::ServerInternal,
                    "The validation broke off.",
                ))
            }
        }
    }

    /// Reads the account as it stands at this try: one that was closed since proves nothing any more.
    async fn open_account(&self, id: AccountId) -> Result<Account, Failure> {
        match self.store.account(id).await {
            Ok(Some(account)) if account.status == AccountStatus::Valid => Ok(account),
            Ok(_) => Err(Failure::lasting(ErrorType::Unauthorized, "The account is closed.")),
            Err(error) => {
                tracing::warn!(%error, account = %id, "the account of a validation cannot be read");
                let detail = "The account could not be read.";
                Err(Failure::transient(ErrorType::ServerInternal, detail))
            }
        }
    }

    /// Remembers a validation by dns-persist-01 that has failed for good.
    fn note(&self, decided: &Authorization, position: usize, now: Timestamp) {
        let challenge = &decided.challenges[position];
        let failed = challenge.kind == ChallengeType::DnsPersist01 && challenge.status == ChallengeStatus::Invalid;
        if let Some(name) = decided.name.dns_name().filter(|_| failed) {
            self.validator.persist_failures.note(decided.account, name, now);
        }
    }

    /// Writes an outcome; decides anew if somebody else has changed the authorization meanwhile.
    async fn write(
        &self,
        authorization: Authorization,
        position: usize,
        outcome: &Result<Proof, Failure>,
    ) -> Result<(), CommitError> {
        let id = authorization.id;
        let tries = authorization.challenges[position].tries;
        let mut current = authorization;
        for _ in 0..CONFLICTS_MAX {
            // Somebody else has decided, or counted this try already.
            let still_ours = current
                .challenges
                .get(position)
                .is_some_and(|challenge| challenge.status == ChallengeStatus::Processing && challenge.tries == tries);
            if !still_ours || current.due().is_none() {
                return Ok(());
            }
            let now = self.clock.now();
            let decided = decide(current, position, outcome, now, &*self.end);
            let told = event(&decided, position, outcome, now);
            let (name, challenge) = (decided.name.clone(), decided.challenges[position].kind);
            let batch = Batch::new(told).with(Change::Authorization(decided.clone()));
            match self.store.commit(batch).await {
                Err(CommitError::Conflict) => {}
                written => {
                    self.note(&decided, position, now);
                    if let Err(failure) = outcome {
                        tracing::info!(%name, %challenge, tries, because = failure.problem.detail, "a validation failed");
                    }
                    return written;
                }
            }
            current = match self.store.authorization(id).await {
                Ok(Some(current)) => current,
                Ok(None) => return Ok(()),
                Err(ReadError(message)) => {
                    return Err(CommitError::Failed {
                        message,
                        in_doubt: false,
                    });
                }
            };
        }
        Err(CommitError::Conflict)
    }
}

/// Returns the position of the challenge that has been due for the longest time.
fn due_challenge(authorization: &Authorization) -> Option<usize> {
    let due = |challenge: &Challenge| {
        let processing = challenge.status == ChallengeStatus::Processing;
        challenge.next_try.filter(|_| processing)
    };
    (0..authorization.challenges.len())
        .filter_map(|position| Some((due(&authorization.challenges[position])?, position)))
        .min()
        .map(|(_, position)| position)
}

fn is_pending(authorization: &Authorization, now: Timestamp) -> bool {
    let life = AuthorizationLife::read(authorization.status, authorization.expires, now);
    matches!(life, AuthorizationLife::Pending(_))
}

/// Decides what an outcome makes of an authorization: a pure function of both and the time.
///
/// A challenge that succeeds makes the authorization valid, one that fails for good makes it
/// invalid (RFC 8555 section 7.1.6), and one that may yet succeed is tried again after a pause.
fn decide(
    mut authorization: Authorization,
    position: usize,
    outcome: &Result<Proof, Failure>,
    now: Timestamp,
    end: &(dyn Fn(Timestamp) -> Timestamp + Send + Sync),
) -> Authorization {
    let life = AuthorizationLife::read(authorization.status, authorization.expires, now);
    let challenge = &mut authorization.challenges[position];
    challenge.tries += 1;
    let failure = match (life, outcome) {
        (AuthorizationLife::Pending(pending), Ok(proof)) => {
            challenge.status = ChallengeStatus::Valid;
            challenge.validated = Some(now);
            challenge.next_try = None;
            challenge.error = None;
            authorization.status = pending.validate().status();
            authorization.expires = proof.until.map_or(end(now), |until| until.min(end(now)));
            authorization.persist_until = proof.until;
            return authorization;
        }
        (AuthorizationLife::Pending(pending), Err(failure)) => {
            if let Some(pause) = pause(failure, challenge.tries) {
                challenge.error = Some(failure.problem.clone());
                challenge.next_try = Some(now.checked_add(pause).unwrap_or(Timestamp::MAX));
                return authorization;
            }
            authorization.status = pending.fail().status();
            failure.problem.clone()
        }
        // What came too late is written as what it is, so that it does not stay due.
        (life, outcome) => {
            authorization.status = life.status();
            let late = "The authorization expired before its challenge was decided.";
            outcome
                .as_ref()
                .err()
                .map_or_else(|| Problem::malformed(late), |failure| failure.problem.clone())
        }
    };
    challenge.status = ChallengeStatus::Invalid;
    challenge.next_try = None;
    challenge.error = Some(failure);
    authorization
}

/// Returns the pause before the next try, if there is to be one.
fn pause(failure: &Failure, tries: u32) -> Option<SignedDuration> {
    let after = usize::try_from(tries).ok()?.checked_sub(1)?;
    PAUSES.get(after).copied().filter(|_| failure.transient)
}

/// Tells what came of a try.
fn event(
    authorization: &Authorization,
    position: usize,
    outcome: &Result<Proof, Failure>,
    at: Timestamp,
) -> AuditEvent {
    let challenge = &authorization.challenges[position];
    let mut detail = json!({
        "name": authorization.name.to_string(),
        "account": authorization.account.to_string(),
        "challenge": challenge.kind.as_str(),
        "tries": challenge.tries,
    });
    let action = match outcome {
        Ok(_) if challenge.status == ChallengeStatus::Valid => Action::ChallengeValidated,
        _ => {
            detail["final"] = json!(challenge.status == ChallengeStatus::Invalid);
            detail["error"] = json!(challenge.error.as_ref().map(ToString::to_string));
            Action::ChallengeFailed
        }
    };
    AuditEvent {
        at,
        actor: Actor::System("validator".to_owned()),
        action,
        subject: authorization.id.to_string(),
        detail,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
