//! From a ready order, or an operator's request, to a certificate.
//!
//! The order of things: the request is checked, what it asks for is prepared and linted, the intent
//! with its serial is recorded together with the order's state, and only then is the key used. A
//! crash in between leaves an intent that `issuer::resume` finishes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        identifier::Name,
        order::OrderStatus,
        problem::{ErrorType, Problem, Subproblem},
    },
    jose::Jwk,
    state::order::OrderLife,
    x509::csr::{CheckedCsr, ParsedCsr},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Refusal, Registrar, Round, StandingOrder, auto_renewal::FirstTerm, by_account, orders::life, settle};
use crate::{
    issuer::{IssueRequest, Recorded, prepare},
    model::{Account, AccountId, Action, Actor, AuditEvent, Certificate, Order, OrderId, Progress, Serial},
    policy::{Profile, auto_renewal::settled, profile::Validity},
    store::{Batch, Change, OrderView, Premise},
};

/// How many names' CAA records are asked for at once.
const CAA_CONCURRENCY_MAX: usize = 16;

/// How long all of an order's CAA records may take together: clients wait about as long for an answer.
const CAA_TIMEOUT: Duration = Duration::from_secs(25);

/// What a certificate for an order is decided on.
pub(super) struct Issuance<'a> {
    /// Whose order it is.
    pub account: &'a Account,
    /// The order as it stands, and what it rests on.
    pub view: &'a OrderView,
    /// What was requested.
    pub csr: &'a CheckedCsr,
    /// First and last second, where the CA decides on them.
    pub term: Option<Validity>,
    /// Who has it issued.
    pub actor: Actor,
}

impl Registrar {
    /// Finalizes an order (RFC 8555 section 7.4). `account_url` is what CAA records call the account (RFC 8657).
    ///
    /// # Errors
    /// `orderNotReady` (403), `badCSR`, `badPublicKey`, `caa`, `invalidProfile`, `rateLimited`; the order stays ready after all
    /// of them, so that a better request can follow.
    pub async fn finalize(
        self: &Arc<Self>,
        account: AccountId,
        id: OrderId,
        csr_der: &[u8],
        account_url: &str,
    ) -> Result<StandingOrder, Refusal> {
        let view = self.ready_order(account, id).await?;
        let profile = self.profile_of(&view.order)?;
        let csr = ParsedCsr::from_der(csr_der)
            .and_then(|parsed| parsed.check(&profile.keys))
            .map_err(|error| error.problem())?;
        require_names(&csr, &view.order.names)?;
        // CAA takes its time, so it is asked first; everything that can change meanwhile is looked at after it.
        self.require_caa(&view, account_url).await?;
        // From here on a client that goes away stops nothing: half an issuance is no state to leave behind.
        let registrar = self.clone();
        let der = csr_der.to_vec();
        let issued = tokio::spawn(async move { settle(|| registrar.issue_round(account, id, &csr, &der)).await })
            .await
            .unwrap_or_else(|error| Err(Refusal::Internal(format!("issuing broke off: {error}"))));
        let standing = self.order(account, id).await?;
        match issued {
            Ok(()) => Ok(standing),
            // What is recorded goes on by itself: the client is told to wait, not that all is lost.
            Err(Refusal::Internal(message)) if standing.status == OrderStatus::Processing => {
                tracing::error!(%message, order = %id, "issuing got stuck; it is taken up again");
                Ok(standing)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Decides on what is so now, records the intent together with what the decision rests on, signs, and records that.
    async fn issue_round(
        &self,
        account: AccountId,
        id: OrderId,
        csr: &CheckedCsr,
        csr_der: &[u8],
    ) -> Result<(), Round> {
        let known = self.signing_account(account).await?;
        let account = &known.0;
        let mut view = self.ready_order(account.id, id).await?;
        let now = self.clock.now();
        let mut term = None;
        if view.order.auto_renewal.is_some() {
            match self.first_term(&mut view.order, csr_der, now).await? {
                FirstTerm::Now(first) => term = Some(first),
                FirstTerm::Later(due) => return self.await_start(account, &view, csr, due, now).await,
            }
        }
        let issuance = Issuance {
            account,
            view: &view,
            csr,
            term,
            actor: account_actor(account.id),
        };
        let issued = self
            .issue(issuance, now, |serial| {
                let detail = json!({ "certificate": serial.to_string() });
                let event = by_account(now, account.id, Action::OrderFinalized, id, detail);
                (Progress::Processing { certificate: serial }, event)
            })
            .await?;
        tracing::info!(serial = %issued.serial, order = %id, account = %account.id, profile = issued.profile, "certificate issued");
        Ok(())
    }

    /// Issues for an order: `intent` gives the order's progress while it lasts, and the event that tells of it.
    pub(super) async fn issue(
        &self,
        issuance: Issuance<'_>,
        now: Timestamp,
        intent: impl FnOnce(Serial) -> (Progress, AuditEvent),
    ) -> Result<Certificate, Round> {
        let Issuance { account, view, csr, .. } = issuance;
        let profile = self.profile_of(&view.order)?;
        for name in &view.order.names {
            self.permit(name, profile)
                .map_err(|sub| Problem::new(sub.kind, format!("{name}: {}", sub.detail)))?;
        }
        self.require_own_key(csr).await?;
        let request = IssueRequest {
            spki_der: csr.spki_der().to_vec(),
            names: view.order.names.clone(),
            must_staple: csr.must_staple(),
            not_before: view.order.not_before,
            not_after: view.order.not_after,
            term: issuance.term,
            common_name: None,
            account: Some(account.id),
            order: Some(view.order.id),
        };
        let serial = Serial::random();
        let linted = self.prepared(profile, request, serial, now)?;
        let (progress, event) = intent(serial);
        let order = Order {
            progress,
            ..view.order.clone()
        };
        let batch = self.rested_upon(Batch::new(event), account, view, csr);
        // Whoever comes second, another finalize of this order among them, decides again and sees why not (A9).
        let recorded = linted
            .record(&*self.store, batch.with(Change::Order(order.clone())))
            .await?;
        let order = Order {
            version: order.version.next(),
            ..order
        };
        Ok(self.complete(recorded, Some(order), issuance.actor).await?)
    }

    /// Names in a batch what issuing for an order rests on.
    pub(super) fn rested_upon(&self, batch: Batch, account: &Account, view: &OrderView, csr: &CheckedCsr) -> Batch {
        let mut batch = batch
            .provided(Premise::Account(account.id, account.version))
            .provided(Premise::KeyNotBlocked(csr.spki_sha256()));
        for authorization in &view.authorizations {
            batch = batch.provided(Premise::Authorization(authorization.id, authorization.version));
        }
        // An order that is renewed takes its place among the account's once, at its beginning.
        if let (Some(rule), Some(_), Progress::Open) = (
            &self.settings.auto_renewal,
            &view.order.auto_renewal,
            &view.order.progress,
        ) {
            batch = batch.provided(Premise::RenewedOrdersBelow(account.id, rule.orders_max));
        }
        batch
    }

    async fn ready_order(&self, account: AccountId, id: OrderId) -> Result<OrderView, Refusal> {
        let view = self.store.order(id).await?.filter(|view| view.order.account == account);
        let view = view.ok_or_else(Refusal::not_found)?;
        let now = self.clock.now();
        match life(&view.order, &view.authorizations, now) {
            OrderLife::Ready(_) => Ok(view),
            _ => Err(not_ready(&StandingOrder::read(view, now))),
        }
    }

    pub(super) fn profile_of(&self, order: &Order) -> Result<&Profile, Refusal> {
        self.profiles.get(&order.profile).ok_or_else(|| {
            Refusal::new(
                ErrorType::InvalidProfile,
                "The order's profile is not offered any more: place a new order.",
            )
        })
    }

    /// Signs a request for an operator, who answers for the names in it; the CA's name rules hold for him too.
    ///
    /// # Errors
    /// What is wrong with the request or the profile.
    pub async fn sign_for_operator(&self, csr: &[u8], profile: Option<&str>) -> Result<Certificate, Refusal> {
        let profile = match profile {
            None => self.profiles.default_profile(),
            Some(name) => self
                .profiles
                .get(name)
                .ok_or_else(|| Refusal::new(ErrorType::InvalidProfile, format!("There is no profile {name:?}.")))?,
        };
        let csr = ParsedCsr::from_pem_or_der(csr)
            .and_then(|parsed| parsed.check(&profile.keys))
            .map_err(|error| error.problem())?;
        let names: Vec<Name> = csr.names().iter().cloned().collect();
        if names.is_empty() {
            return Err(Refusal::new(ErrorType::BadCsr, "The request holds no name."));
        }
        for name in &names {
            self.permit(name, profile)
                .map_err(|sub| Problem::new(sub.kind, format!("{name}: {}", sub.detail)))?;
        }
        self.require_own_key(&csr).await?;
        let now = self.clock.now();
        let request = IssueRequest {
            spki_der: csr.spki_der().to_vec(),
            names,
            must_staple: csr.must_staple(),
            ..IssueRequest::default()
        };
        let serial = Serial::random();
        let linted = self.prepared(profile, request, serial, now)?;
        let recorded = linted
            .record_alone(&*self.store)
            .await
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        self.complete(recorded, None, super::operator::operator()).await
    }

    fn prepared(
        &self,
        profile: &Profile,
        request: IssueRequest,
        serial: Serial,
        now: Timestamp,
    ) -> Result<crate::issuer::Linted, Refusal> {
        let prepared = prepare(&self.issuer, profile, request, serial, now).map_err(|error| {
            let problem = error.problem();
            match problem.kind {
                ErrorType::ServerInternal => Refusal::Internal(error.to_string()),
                _ => problem.into(),
            }
        })?;
        // What does not pass its own lint is our mistake, never the client's.
        prepared
            .lint()
            .map_err(|error| Refusal::Internal(format!("lint: {error}")))
    }

    /// Signs what was recorded and records that it is there.
    async fn complete(&self, recorded: Recorded, order: Option<Order>, actor: Actor) -> Result<Certificate, Refusal> {
        let signed = recorded
            .sign(&self.issuer)
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        let certificate = signed.certificate().clone();
        let mut batch = signed.batch(actor, self.clock.now());
        if let Some(order) = order {
            batch.push(Change::Order(settled(order, &certificate)));
        }
        self.store
            .commit(batch)
            .await
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(certificate)
    }

    /// Refuses the keys of accounts (RFC 8555 section 11.1) and blocked ones.
    pub(super) async fn require_own_key(&self, csr: &CheckedCsr) -> Result<(), Refusal> {
        if self.store.blocked_key(csr.spki_sha256()).await?.is_some() {
            return Err(Refusal::new(
                ErrorType::BadCsr,
                "The request's key is blocked: make a new one.",
            ));
        }
        if let Some(source) = self.known_keys.source(csr.spki_der()) {
            return Err(Refusal::new(
                ErrorType::BadCsr,
                format!("The request's key is known to others, from {source}: make a new one."),
            ));
        }
        // A key that is no account key's kind has no thumbprint, and no account.
        if let Ok(jwk) = Jwk::from_spki_der(csr.spki_der())
            && self.store.account_by_thumbprint(jwk.thumbprint()).await?.is_some()
        {
            return Err(Refusal::new(
                ErrorType::BadCsr,
                "The request has an account's key: make a key for the certificate.",
            ));
        }
        Ok(())
    }

    /// Asks for CAA records of every name, at the time of issuing (RFC 8657 section 5.5), several at once.
    pub(super) async fn require_caa(&self, view: &OrderView, account_url: &str) -> Result<(), Refusal> {
        let mut asking = JoinSet::new();
        let places = Arc::new(Semaphore::new(CAA_CONCURRENCY_MAX));
        for name in &view.order.names {
            let authorization = view.authorization_for(name).ok_or_else(|| uncovered(name))?;
            let (validator, places) = (self.validator.clone(), places.clone());
            let (name, account_url) = (name.clone(), account_url.to_owned());
            let method = authorization.validated_by().map(|challenge| challenge.kind);
            asking.spawn(async move {
                let _place = places.acquire().await;
                let answer = validator.caa(&name, Some(&account_url), method).await;
                (name, answer)
            });
        }
        let mut refused = Vec::new();
        let all = async {
            while let Some(asked) = asking.join_next().await {
                if let (name, Err(failure)) = asked.map_err(|error| Refusal::Internal(error.to_string()))? {
                    refused.push(Subproblem {
                        kind: failure.problem.kind,
                        detail: failure.problem.detail,
                        identifier: Some(name.identifier()),
                    });
                }
            }
            Ok::<(), Refusal>(())
        };
        match tokio::time::timeout(CAA_TIMEOUT, all).await {
            Ok(asked) => asked?,
            Err(_) => {
                let seconds = CAA_TIMEOUT.as_secs();
                let detail = format!("The CAA records of all names could not be read within {seconds} s.");
                return Err(Problem::new(ErrorType::Dns, detail).with_status(403).into());
            }
        }
        match Problem::compound(refused) {
            Some(problem) => Err(problem.into()),
            None => Ok(()),
        }
    }

    /// Finds a certificate of an account.
    ///
    /// # Errors
    /// 404 if there is none or it is another account's.
    pub async fn certificate(&self, account: AccountId, serial: Serial) -> Result<Certificate, Refusal> {
        let found = self
            .store
            .certificate(serial)
            .await?
            .filter(|c| c.account == Some(account));
        found.ok_or_else(Refusal::not_found)
    }
}

/// An order is made so that each name rests on something; one that does not gets nothing.
fn uncovered(name: &Name) -> Refusal {
    Refusal::Internal(format!("the order rests on no authorization for {name}"))
}

fn account_actor(id: AccountId) -> Actor {
    Actor::Account(id.to_string())
}

fn not_ready(standing: &StandingOrder) -> Refusal {
    let word = serde_json::to_value(standing.status)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    let because = standing
        .error
        .as_ref()
        .map(|error| format!(" {}", error.detail))
        .unwrap_or_default();
    Refusal::new(
        ErrorType::OrderNotReady,
        format!("The order is {word}, not ready.{because}"),
    )
}

/// The request's names are exactly the order's (RFC 8555 section 7.4).
pub(super) fn require_names(csr: &CheckedCsr, ordered: &[Name]) -> Result<(), Refusal> {
    let ordered: BTreeSet<Name> = ordered.iter().cloned().collect();
    if *csr.names() == ordered {
        return Ok(());
    }
    let list = |names: Vec<&Name>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let missing = list(ordered.difference(csr.names()).collect());
    let surplus = list(csr.names().difference(&ordered).collect());
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("it lacks {missing}"));
    }
    if !surplus.is_empty() {
        parts.push(format!("it has {surplus} besides"));
    }
    Err(Refusal::new(
        ErrorType::BadCsr,
        format!("The request's names are not the order's: {}.", parts.join(" and ")),
    ))
}
