//! Orders (RFC 8555 section 7.4): placed, shown, listed.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sigillo_protocol::{
    acme::{
        authorization::AuthorizationStatus,
        identifier::Name,
        order::{NewOrder, OrderStatus},
        problem::{ErrorType, Problem, Subproblem},
    },
    state::{
        authorization::AuthorizationLife,
        order::{Cause, OrderLife, Recorded},
    },
    x509::cert_id::CertificateId,
};

use super::{Refusal, Registrar, Round, by_account, resting::Wanted, settle};
use crate::{
    model::{
        Account, AccountId, Action, Authorization, AutoRenewal, Certificate, CertificateState, Order, OrderId,
        Progress, Serial, Version,
    },
    policy::Profile,
    store::{Batch, Change, OrderView, Page},
};

/// How long an authorization has to last to be reused.
const REUSE_MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// A newOrder request with what the front knows about it.
pub struct NewOrderRequest<'a> {
    /// Who asks.
    pub account: &'a Account,
    /// The payload.
    pub order: &'a NewOrder,
}

/// An order as it stands at a moment.
#[derive(Debug, Clone)]
pub struct StandingOrder {
    /// The record.
    pub order: Order,
    /// Its authorizations.
    pub authorizations: Vec<Authorization>,
    /// Its state.
    pub status: OrderStatus,
    /// Why it is invalid, or why the CA has canceled it.
    pub error: Option<Problem>,
}

impl StandingOrder {
    /// Reads an order as it stands at `now`.
    pub fn read(view: OrderView, now: Timestamp) -> Self {
        let OrderView { order, authorizations } = view;
        let life = life(&order, &authorizations, now);
        let error = match life {
            OrderLife::Invalid(cause) => Some(why(cause, &order, &authorizations)),
            _ => match &order.progress {
                Progress::Canceled { error, .. } => error.clone(),
                _ => None,
            },
        };
        Self {
            status: life.status(),
            error,
            order,
            authorizations,
        }
    }
}

/// Reads the life of an order as it stands at `now`.
pub(super) fn life(order: &Order, authorizations: &[Authorization], now: Timestamp) -> OrderLife {
    let recorded = match &order.progress {
        Progress::Open => Recorded::Open,
        Progress::Processing { .. } => Recorded::Processing,
        Progress::Valid { .. } | Progress::Renewing(_) => Recorded::Valid,
        Progress::Canceled { .. } => Recorded::Canceled,
        Progress::Invalid { .. } => Recorded::Invalid,
    };
    let states: Vec<AuthorizationStatus> = authorizations
        .iter()
        .map(|a| AuthorizationLife::read(a.status, a.expires, now).status())
        .collect();
    OrderLife::read(recorded, order.expires, &states, now)
}

fn why(cause: Cause, order: &Order, authorizations: &[Authorization]) -> Problem {
    match cause {
        Cause::Recorded => match &order.progress {
            Progress::Invalid { error } => error.clone(),
            _ => Problem::new(ErrorType::ServerInternal, "The order has failed."),
        },
        Cause::Expired => Problem::malformed("The order was not finalized in time."),
        Cause::Authorization(position, status) => {
            let authorization = authorizations.get(position);
            let name = authorization.map(|a| a.name.to_string()).unwrap_or_default();
            let failure = authorization
                .and_then(|a| a.challenges.iter().find_map(|c| c.error.as_ref()))
                .filter(|_| status == AuthorizationStatus::Invalid);
            match failure {
                Some(error) => Problem::new(
                    error.kind.clone(),
                    format!("Validation of {name} failed: {}", error.detail),
                ),
                None => {
                    let word = match status {
                        AuthorizationStatus::Deactivated => "was deactivated",
                        AuthorizationStatus::Expired => "has expired",
                        AuthorizationStatus::Revoked => "was revoked",
                        _ => "has failed",
                    };
                    Problem::unauthorized(format!("The authorization for {name} {word}."))
                }
            }
        }
    }
}

fn permit_under(profile: &Profile, name: &Name) -> Result<(), Subproblem> {
    match profile.permits(std::slice::from_ref(name)) {
        Ok(()) => Ok(()),
        Err(mut refused) => Err(refused.remove(0)),
    }
}

impl Registrar {
    /// Places an order (RFC 8555 section 7.4).
    ///
    /// # Errors
    /// `malformed`, `unsupportedIdentifier`, `rejectedIdentifier` (several at once as subproblems),
    /// `invalidProfile`, `alreadyReplaced`, `rateLimited` (too many orders are renewed), [`Refusal::TermsChanged`].
    pub async fn new_order(&self, request: NewOrderRequest<'_>) -> Result<StandingOrder, Refusal> {
        if self.settings.terms.is_some() && request.account.terms_agreed != self.settings.terms {
            return Err(Refusal::TermsChanged);
        }
        let profile = self.profile_for(request.order)?;
        let wanted = self.checked_names(request.order, profile)?;
        let renewal = self.auto_renewal_wish(&request, profile).await?;
        if renewal.is_none() {
            self.check_validity_wish(request.order, profile)?;
        }
        settle(|| self.new_order_round(&request, profile, &wanted, renewal.as_ref())).await
    }

    async fn new_order_round(
        &self,
        request: &NewOrderRequest<'_>,
        profile: &Profile,
        wanted: &[Wanted],
        renewal: Option<&AutoRenewal>,
    ) -> Result<StandingOrder, Round> {
        let now = self.clock.now();
        let account = request.account.id;
        let names: Vec<Name> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let replaced = self.replaced_certificate(request, &names, now).await?;
        let id = OrderId::random();
        let expires = self.settings.order_lifetime.after(now);
        let expires = renewal.map_or(expires, |renewal| expires.min(renewal.end));

        let (authorizations, made) = self.resting(account, wanted, now).await?;
        let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
        let order = Order {
            id,
            version: Version::NEW,
            account,
            created: now,
            expires,
            names,
            not_before: request.order.not_before,
            not_after: request.order.not_after,
            profile: profile.name.clone(),
            replaces: request.order.replaces.clone(),
            auto_renewal: renewal.cloned(),
            authorizations: authorizations.iter().map(|a| a.id).collect(),
            progress: Progress::Open,
        };
        let detail = json!({
            "names": shown,
            "profile": order.profile,
            "replaces": order.replaces,
            "auto_renewal_until": renewal.map(|renewal| renewal.end.to_string()),
        });
        let mut batch =
            Batch::new(by_account(now, account, Action::OrderCreated, id, detail)).with(Change::Order(order.clone()));
        for authorization in &made {
            batch.push(Change::Authorization(authorization.clone()));
        }
        if let Some(certificate) = replaced {
            batch.push(Change::Certificate(Certificate {
                replaced_by: Some(id),
                ..certificate
            }));
        }
        self.store.commit(batch).await?;
        let view = OrderView {
            order: Order {
                version: Version::NEW.next(),
                ..order
            },
            authorizations,
        };
        Ok(StandingOrder::read(view, now))
    }

    /// Whether a valid authorization serves this time.
    pub(super) fn reuses(&self) -> bool {
        let percent = u32::from(self.settings.reuse_percent);
        self.settings.reuse_authorizations
            && (percent >= 100 || getrandom::u32().is_ok_and(|drawn| drawn % 100 < percent))
    }

    /// An authorization is reused only if it outlives the time that a client takes to finalize: an order that is
    /// ready at once and expired a minute later helps nobody.
    pub(super) fn reuse_until(&self, now: Timestamp) -> Timestamp {
        now.checked_add(REUSE_MARGIN)
            .unwrap_or(now)
            .min(self.settings.order_lifetime.after(now))
    }

    fn profile_for(&self, order: &NewOrder) -> Result<&Profile, Problem> {
        match &order.profile {
            None => Ok(self.profiles.default_profile()),
            Some(name) => self.profiles.get(name).ok_or_else(|| {
                Problem::new(
                    ErrorType::InvalidProfile,
                    format!(
                        "There is no such profile; on offer are: {}.",
                        self.profiles
                            .iter()
                            .map(|profile| profile.name.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                )
            }),
        }
    }

    fn checked_names(&self, order: &NewOrder, profile: &Profile) -> Result<Vec<Wanted>, Problem> {
        if order.identifiers.is_empty() {
            return Err(Problem::malformed("An order has at least one identifier."));
        }
        // What the profile refuses is about the profile, where the client has chosen it (profiles draft, section 4).
        let by_profile = |kind| match order.profile {
            Some(_) => ErrorType::InvalidProfile,
            None => kind,
        };
        let max = profile.names_max;
        if order.identifiers.len() > max {
            let detail = format!("An order under this profile has at most {max} identifiers.");
            return Err(Problem::new(by_profile(ErrorType::Malformed), detail));
        }
        let mut names = Vec::with_capacity(order.identifiers.len());
        let mut seen = BTreeSet::new();
        let mut refused = Vec::new();
        for requested in &order.identifiers {
            let checked = requested.identifier.check().and_then(|name| {
                self.permit_at_all(&name)?;
                match permit_under(profile, &name) {
                    Ok(()) => Wanted::read(name, requested, &self.settings),
                    Err(refused) => Err(Subproblem {
                        kind: by_profile(refused.kind),
                        ..refused
                    }),
                }
            });
            match checked {
                Ok(wanted) if seen.insert(wanted.name.clone()) => names.push(wanted),
                Ok(_) => {}
                Err(problem) => refused.push(problem),
            }
        }
        match Problem::compound(refused) {
            Some(problem) => Err(problem),
            None => Ok(names),
        }
    }

    /// Asks everybody who may object to a name: the CA's own rules, the issuer's name constraints, the profile.
    pub(super) fn permit(&self, name: &Name, profile: &Profile) -> Result<(), Subproblem> {
        self.permit_at_all(name)?;
        permit_under(profile, name)
    }

    fn permit_at_all(&self, name: &Name) -> Result<(), Subproblem> {
        self.names.permits(name)?;
        self.issuer.certificate().constraints.permits(name)
    }

    /// Asks whether any profile takes a name: an authorization before an order names no profile.
    pub(super) fn permit_under_any(&self, name: &Name) -> Result<(), Subproblem> {
        self.permit_at_all(name)?;
        match self.profiles.iter().any(|profile| permit_under(profile, name).is_ok()) {
            true => Ok(()),
            false => permit_under(self.profiles.default_profile(), name),
        }
    }

    /// What cannot be met as asked is refused, not altered (RFC 8555 section 7.4).
    fn check_validity_wish(&self, order: &NewOrder, profile: &Profile) -> Result<(), Problem> {
        profile
            .validity
            .decide(order.not_before, order.not_after, self.clock.now())
            .map(|_| ())
            .map_err(|error| match order.profile {
                Some(_) => Problem::new(ErrorType::InvalidProfile, error.to_string()),
                None => Problem::malformed(error.to_string()),
            })
    }

    /// Finds the certificate that the order wants to replace and checks that it may (RFC 9773 section 5).
    async fn replaced_certificate(
        &self,
        request: &NewOrderRequest<'_>,
        names: &[Name],
        now: Timestamp,
    ) -> Result<Option<Certificate>, Round> {
        let Some(text) = &request.order.replaces else {
            return Ok(None);
        };
        let id: CertificateId = text
            .parse()
            .map_err(|_| Problem::malformed("replaces is not a certificate identifier of RFC 9773 section 4.1."))?;
        let certificate = self.certificate_by_ari(&id).await?;
        let foreign = || Problem::unauthorized("replaces names no certificate of this account.");
        let certificate = certificate
            .filter(|c| c.account == Some(request.account.id))
            .ok_or_else(foreign)?;
        if !certificate.names.iter().any(|name| names.contains(name)) {
            return Err(Problem::malformed("The replaced certificate shares no identifier with the order.").into());
        }
        if let Some(successor) = certificate.replaced_by
            && self.may_have_replaced(successor, now).await?
        {
            let detail = "Another order replaces this certificate already.";
            return Err(Problem::new(ErrorType::AlreadyReplaced, detail).into());
        }
        Ok(Some(certificate))
    }

    /// Whether an order replaces what it was placed for, unless it has failed (RFC 9773 section 5).
    ///
    /// An order that was pruned long since counts as one that did: the client is asked to order without `replaces`,
    /// which costs it nothing.
    async fn may_have_replaced(&self, order: OrderId, now: Timestamp) -> Result<bool, Round> {
        let view = self.store.order(order).await?;
        Ok(view.is_none_or(|view| StandingOrder::read(view, now).status != OrderStatus::Invalid))
    }

    /// Finds a certificate of the present issuer by its ARI identifier.
    pub(super) async fn certificate_by_ari(&self, id: &CertificateId) -> Result<Option<Certificate>, Refusal> {
        if id.key_identifier != self.issuer.certificate().key_identifier {
            return Ok(None);
        }
        let Some(serial) = Serial::from_der_content(&id.serial) else {
            return Ok(None);
        };
        let found = self.store.certificate(serial).await?;
        Ok(found.filter(|c| {
            c.issuer == *self.issuer.id()
                && matches!(
                    c.state,
                    CertificateState::Issued { .. } | CertificateState::Revoked { .. }
                )
        }))
    }

    /// Shows an order to its account.
    ///
    /// # Errors
    /// 404 if there is none or it is another account's.
    pub async fn order(&self, account: AccountId, id: OrderId) -> Result<StandingOrder, Refusal> {
        let view = self.store.order(id).await?.filter(|view| view.order.account == account);
        Ok(StandingOrder::read(
            view.ok_or_else(Refusal::not_found)?,
            self.clock.now(),
        ))
    }

    /// Lists an account's orders from the newest, without the invalid ones (RFC 8555 section 7.1.2.1).
    ///
    /// Returns them with the order to go on after, if there are more.
    ///
    /// # Errors
    /// Only internal ones.
    pub async fn orders_page(
        &self,
        account: AccountId,
        after: Option<OrderId>,
    ) -> Result<(Vec<OrderId>, Option<OrderId>), Refusal> {
        let limit = self.settings.orders_page;
        let now = self.clock.now();
        let views = self.store.orders_of(account, Page { after, limit }).await?;
        let next = (views.len() == limit)
            .then(|| views.last().map(|view| view.order.id))
            .flatten();
        let shown = views
            .into_iter()
            .map(|view| StandingOrder::read(view, now))
            .filter(|standing| standing.status != OrderStatus::Invalid)
            .map(|standing| standing.order.id)
            .collect();
        Ok((shown, next))
    }
}
