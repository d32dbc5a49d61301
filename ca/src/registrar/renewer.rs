//! Renews the certificates of orders that ask for it (RFC 8739), by and by as they fall due.
//!
//! Nobody calls it: it waits for the store's signal or the next due time, whichever comes first, and reads what is
//! due. What it was doing when the process ended is still due, or is finished, at the next start. Where two of them
//! work on one store, whoever records an intention first makes the certificate, and the other one sees that.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        account::AccountStatus,
        authorization::AuthorizationStatus,
        problem::{ErrorType, Problem},
    },
    base64url,
    x509::csr::{CheckedCsr, ParsedCsr},
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};

use super::{
    Refusal, Registrar, Round,
    auto_renewal::renewer,
    finalize::{Issuance, require_names},
    settle,
};
use crate::{
    model::{Account, AccountId, Action, AuditEvent, AutoRenewal, Order, OrderId, Progress, Renewing},
    policy::auto_renewal::{INTENT_PATIENCE, retry, term},
    store::{Batch, Change, OrderView, ReadError},
};

/// How many certificates are renewed at the same time: most of the time of each goes into waiting for CAA records.
const CONCURRENCY_MAX: usize = 32;

/// The longest sleep: a clock that was set back is noticed after this at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long a store is left alone that has just failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How much of an error is kept in an order and in the audit log.
const TROUBLE_LENGTH_MAX: usize = 500;

/// Gives an account's URL: what CAA records call it (RFC 8657).
pub type AccountUrl = Arc<dyn Fn(AccountId) -> String + Send + Sync>;

/// The worker, to be started once in each process.
pub struct Renewer {
    registrar: Arc<Registrar>,
    account_url: AccountUrl,
}

/// What is being renewed.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    ids: HashMap<Id, OrderId>,
}

impl Renewer {
    /// Puts the worker together.
    pub fn new(registrar: Arc<Registrar>, account_url: AccountUrl) -> Self {
        Self { registrar, account_url }
    }

    /// Works until it is told to stop.
    ///
    /// What is running then is given up: it is still due, or its intention is settled at the next start.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut changed = self.registrar.store.changed();
        let mut running = Running::default();
        loop {
            // Marked as seen before reading, so that no change falls between the two.
            changed.borrow_and_update();
            let sleep = match self.start_due(&mut running).await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(%error, "what is due for renewal cannot be read");
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
        let free = CONCURRENCY_MAX.saturating_sub(running.tasks.len());
        if free == 0 {
            return Ok(SLEEP_MAX);
        }
        let now = self.registrar.clock.now();
        // Those that are running are still due, so there may be as many of them in front.
        let limit = free + running.tasks.len();
        let (due, next) = self.registrar.store.orders_due(now, limit).await?;
        let waiting: Vec<OrderId> = due
            .into_iter()
            .map(|order| order.id)
            .filter(|id| !running.has(*id))
            .take(free)
            .collect();
        for id in waiting {
            let (registrar, account_url) = (self.registrar.clone(), self.account_url.clone());
            running.start(id, async move { attend(&registrar, id, &account_url).await });
        }
        let wait = next.map_or(SLEEP_MAX, |next| {
            Duration::try_from(next.duration_since(now)).unwrap_or_default()
        });
        Ok(wait.clamp(Duration::from_millis(1), SLEEP_MAX))
    }
}

impl Running {
    fn has(&self, id: OrderId) -> bool {
        self.ids.values().any(|running| *running == id)
    }

    fn start(&mut self, id: OrderId, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.ids.insert(task.id(), id);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a renewal ended badly");
                error.id()
            }
        };
        self.ids.remove(&id);
    }
}

async fn attend(registrar: &Registrar, id: OrderId, account_url: &AccountUrl) {
    if let Err(error) = registrar.renew(id, account_url).await {
        tracing::error!(?error, order = %id, "a renewal could not be written down");
        // It is still due; the pause keeps a store that fails from being run against.
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

/// What becomes of an order that is due.
enum Verdict {
    /// It is not due any more.
    Nothing,
    /// It rests on something that was taken back.
    End(Problem),
    /// Its next certificate is made, for this account.
    Renew(Box<Account>),
}

impl Registrar {
    /// Makes the next certificate of an order if it is due, or puts it off, or ends the order.
    pub(super) async fn renew(&self, id: OrderId, account_url: &AccountUrl) -> Result<(), Refusal> {
        let Some(view) = self.store.order(id).await? else {
            return Ok(());
        };
        match self.verdict(&view).await? {
            Verdict::Nothing => return Ok(()),
            Verdict::End(_) => {}
            // CAA takes its time, so it is asked first; everything that can change meanwhile is looked at after it.
            Verdict::Renew(account) => {
                if let Err(refusal) = self.require_caa(&view, &account_url(account.id)).await {
                    return self.put_off(id, &refusal).await;
                }
            }
        }
        match settle(|| self.renew_round(id)).await {
            Ok(()) => Ok(()),
            Err(refusal) => self.put_off(id, &refusal).await,
        }
    }

    /// Decides on what is so now, records the intent together with what the decision rests on, signs, and records that.
    async fn renew_round(&self, id: OrderId) -> Result<(), Round> {
        let Some(view) = self.store.order(id).await? else {
            return Ok(());
        };
        let account = match self.verdict(&view).await? {
            Verdict::Nothing => return Ok(()),
            Verdict::End(why) => return self.end(view, why).await,
            Verdict::Renew(account) => account,
        };
        let now = self.clock.now();
        let (Progress::Renewing(renewing), Some(renewal)) = (&view.order.progress, &view.order.auto_renewal) else {
            return Ok(());
        };
        let csr = self.kept_request(&view.order, renewal)?;
        let term = term(renewal, now).ok_or_else(|| Problem::malformed("The order's end has come."))?;
        let issuance = Issuance {
            account: &account,
            view: &view,
            csr: &csr,
            term: Some(term),
            actor: renewer(),
        };
        let issued = self
            .issue(issuance, now, |serial| {
                let intended = Renewing {
                    next: Some(serial),
                    due: Some(now.checked_add(INTENT_PATIENCE).unwrap_or(Timestamp::MAX)),
                    ..renewing.clone()
                };
                let event = AuditEvent {
                    at: now,
                    actor: renewer(),
                    action: Action::OrderRenewed,
                    subject: id.to_string(),
                    detail: json!({ "certificate": serial.to_string() }),
                };
                (Progress::Renewing(intended), event)
            })
            .await?;
        tracing::info!(serial = %issued.serial, order = %id, account = %account.id, until = %issued.not_after, "certificate renewed");
        Ok(())
    }

    /// Looks at what an order rests on. An authorization that time has ended still counts: what was proven when the
    /// order began holds to its end (RFC 8739 section 1.1), and CAA is asked each time.
    async fn verdict(&self, view: &OrderView) -> Result<Verdict, Refusal> {
        let order = &view.order;
        let now = self.clock.now();
        let (Progress::Renewing(renewing), Some(renewal)) = (&order.progress, &order.auto_renewal) else {
            return Ok(Verdict::Nothing);
        };
        if renewing.due.is_none_or(|due| due > now) {
            return Ok(Verdict::Nothing);
        }
        let ended = |detail: &str| Ok(Verdict::End(Problem::unauthorized(detail)));
        let account = self.store.account(order.account).await?;
        let Some(account) = account.filter(|account| account.status == AccountStatus::Valid) else {
            return ended("The account is closed.");
        };
        let stands = |status| matches!(status, AuthorizationStatus::Valid | AuthorizationStatus::Expired);
        if view.authorizations.len() != order.authorizations.len()
            || !view.authorizations.iter().all(|a| stands(a.status))
        {
            return ended("An authorization that the order rests on was given up.");
        }
        // Nothing may be issued on the strength of a record that has said until when it holds.
        if view.authorizations.iter().any(|a| a.has_outlived_its_record(now)) {
            return ended("The DNS record that an authorization rests on is over.");
        }
        // A request that cannot be read any more is told of when it is judged.
        if let Ok(csr) = self.kept_request(order, renewal)
            && (self.known_keys.source(csr.spki_der()).is_some()
                || self.store.blocked_key(csr.spki_sha256()).await?.is_some())
        {
            return ended("The certificates' key is blocked.");
        }
        Ok(Verdict::Renew(Box::new(account)))
    }

    /// Judges the request that an order was finalized with as if it came now.
    fn kept_request(&self, order: &Order, renewal: &AutoRenewal) -> Result<CheckedCsr, Refusal> {
        let profile = self.profile_of(order)?;
        let der = renewal.csr.as_deref().and_then(|text| base64url::decode(text).ok());
        let der = der.ok_or_else(|| Refusal::Internal(format!("order {} has no request", order.id)))?;
        let csr = ParsedCsr::from_der(&der)
            .and_then(|parsed| parsed.check(&profile.keys))
            .map_err(|error| error.problem())?;
        require_names(&csr, &order.names)?;
        Ok(csr)
    }

    async fn end(&self, view: OrderView, why: Problem) -> Result<(), Round> {
        tracing::warn!(order = %view.order.id, why = why.detail, "an order's certificates are not renewed any more");
        let event = AuditEvent {
            at: self.clock.now(),
            actor: renewer(),
            action: Action::OrderCanceled,
            subject: view.order.id.to_string(),
            detail: json!({ "because": why.detail }),
        };
        self.cancel_round(view, event, Some(why)).await.map(drop)
    }

    /// Writes down that a certificate was not made, and when it is tried again.
    async fn put_off(&self, id: OrderId, refusal: &Refusal) -> Result<(), Refusal> {
        let why = trouble(refusal);
        settle(|| async {
            let Some(view) = self.store.order(id).await? else {
                return Ok(());
            };
            let (Progress::Renewing(renewing), Some(renewal)) = (&view.order.progress, &view.order.auto_renewal) else {
                return Ok(());
            };
            let now = self.clock.now();
            // Somebody else has renewed it, or its intention is recorded and waits to be settled.
            if renewing.due.is_none_or(|due| due > now) {
                return Ok(());
            }
            let failures = renewing.failures.saturating_add(1);
            let due = retry(renewal, failures, now);
            tracing::warn!(order = %id, failures, %why, again = ?due.map(|due| due.to_string()), "a certificate could not be renewed");
            let progress = Progress::Renewing(Renewing {
                due,
                failures,
                trouble: Some(why.clone()),
                ..renewing.clone()
            });
            let event = AuditEvent {
                at: now,
                actor: renewer(),
                action: Action::OrderRenewalFailed,
                subject: id.to_string(),
                detail: json!({ "why": why, "failures": failures, "again": due.map(|due| due.to_string()) }),
            };
            let changed = Change::Order(Order { progress, ..view.order });
            Ok(self.store.commit(Batch::new(event).with(changed)).await?)
        })
        .await
    }
}

/// Says for people why a certificate was not made.
fn trouble(refusal: &Refusal) -> String {
    let text = match refusal {
        Refusal::Problem(problem) => problem.to_string(),
        Refusal::Internal(message) => message.clone(),
        Refusal::RateLimited { detail, .. } => detail.clone(),
        Refusal::TermsChanged | Refusal::KeyInUse(_) => {
            Problem::new(ErrorType::ServerInternal, "an answer that is no renewal's").to_string()
        }
    };
    text.chars().take(TROUBLE_LENGTH_MAX).collect()
}

#[cfg(test)]
#[path = "renewer_tests.rs"]
mod tests;
