//! Orders whose certificates are renewed (RFC 8739): taken, begun, shown, canceled.

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        order::OrderStatus,
        problem::{ErrorType, Problem},
    },
    base64url,
    x509::csr::CheckedCsr,
};

use super::{NewOrderRequest, Refusal, Registrar, Round, StandingOrder, by_account, operator::operator, settle};
use crate::{
    model::{
        Account, AccountId, Action, Actor, AuditEvent, AutoRenewal, Certificate, Order, OrderId, Progress, Renewing,
    },
    policy::{
        Profile,
        auto_renewal::{term, wait_for_start},
        profile::Validity,
    },
    store::{Batch, Change, OrderView},
};

/// When the first certificate of an order is made.
pub(super) enum FirstTerm {
    /// Now, and it holds these dates.
    Now(Validity),
    /// Then: the start is far ahead.
    Later(Timestamp),
}

/// The present certificate of an order that is renewed.
#[derive(Debug, Clone)]
pub struct StarCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Until when nothing else is expected at its URL: at the longest to its end.
    pub fresh_until: Timestamp,
}

impl Registrar {
    /// Judges a new order's wish to be renewed, if it has one.
    pub(super) async fn auto_renewal_wish(
        &self,
        request: &NewOrderRequest<'_>,
        profile: &Profile,
    ) -> Result<Option<AutoRenewal>, Refusal> {
        let order = request.order;
        let Some(wish) = &order.auto_renewal else {
            return Ok(None);
        };
        let Some(rule) = &self.settings.auto_renewal else {
            return Err(not_offered().into());
        };
        if order.not_before.is_some() || order.not_after.is_some() {
            let detail = "An order with auto-renewal has no notBefore and notAfter (RFC 8739 section 3.1.1).";
            return Err(Problem::malformed(detail).into());
        }
        let renewal =
            rule.accept(wish, profile, self.clock.now())
                .map_err(|error| match (&order.profile, error.problem()) {
                    (Some(_), problem) if error.is_about_the_profile() => {
                        Problem::new(ErrorType::InvalidProfile, problem.detail)
                    }
                    (_, problem) => problem,
                })?;
        self.require_room(request.account.id).await?;
        Ok(Some(renewal))
    }

    /// Refuses one more order of an account that has as many as it may have.
    async fn require_room(&self, account: AccountId) -> Result<(), Refusal> {
        let most = self.settings.auto_renewal.ok_or_else(not_offered)?.orders_max;
        if self.store.renewed_orders_of(account).await? < most {
            return Ok(());
        }
        let detail = format!(
            "An account has at most {most} orders at a time whose certificates are renewed: cancel one of them."
        );
        Err(Problem::new(ErrorType::RateLimited, detail).into())
    }

    /// Decides on the first certificate, and puts into the order what the later ones need.
    pub(super) async fn first_term(
        &self,
        order: &mut Order,
        csr_der: &[u8],
        now: Timestamp,
    ) -> Result<FirstTerm, Refusal> {
        self.require_room(order.account).await?;
        let over = || {
            Refusal::new(
                ErrorType::OrderNotReady,
                "The order's end-date leaves no time for a certificate.",
            )
        };
        let renewal = order.auto_renewal.as_mut().ok_or_else(over)?;
        renewal.csr = Some(base64url::encode(csr_der));
        if let Some(due) = wait_for_start(renewal, now) {
            return Ok(FirstTerm::Later(due));
        }
        let first = term(renewal, now).ok_or_else(over)?;
        renewal.start.get_or_insert(first.not_before);
        Ok(FirstTerm::Now(first))
    }

    /// Records that an order is finalized whose first certificate has to wait for its start.
    pub(super) async fn await_start(
        &self,
        account: &Account,
        view: &OrderView,
        csr: &CheckedCsr,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), Round> {
        self.require_own_key(csr).await?;
        let order = &view.order;
        let finalized = Order {
            expires: order.auto_renewal.as_ref().map_or(order.expires, |renewal| renewal.end),
            progress: Progress::Renewing(Renewing {
                due: Some(due),
                ..Renewing::default()
            }),
            ..order.clone()
        };
        let detail = json!({ "first_certificate_from": due.to_string() });
        let event = by_account(now, account.id, Action::OrderFinalized, order.id, detail);
        let batch = self.rested_upon(Batch::new(event), account, view, csr);
        Ok(self.store.commit(batch.with(Change::Order(finalized))).await?)
    }

    /// Cancels an order for its account (RFC 8739 section 3.1.2): nothing more is issued for it.
    ///
    /// # Errors
    /// `autoRenewalCancellationInvalid` if it is not valid, or is not renewed at all; 404 if it is no order of the account.
    pub async fn cancel_order(&self, account: AccountId, id: OrderId) -> Result<StandingOrder, Refusal> {
        settle(|| async {
            let view = self.store.order(id).await?.filter(|view| view.order.account == account);
            let view = view.ok_or_else(Refusal::not_found)?;
            let now = self.clock.now();
            let event = by_account(now, account, Action::OrderCanceled, id, json!({}));
            self.cancel_round(view, event, None).await
        })
        .await
    }

    /// Cancels an order for an operator.
    ///
    /// # Errors
    /// 404 if there is none; `autoRenewalCancellationInvalid` if it is not being renewed.
    pub async fn cancel_by_operator(&self, id: OrderId) -> Result<StandingOrder, Refusal> {
        settle(|| async {
            let view = self.store.order(id).await?.ok_or_else(Refusal::not_found)?;
            let why = Problem::unauthorized("The CA has ended the renewal of this order's certificates.");
            let event = AuditEvent {
                at: self.clock.now(),
                actor: operator(),
                action: Action::OrderCanceled,
                subject: id.to_string(),
                detail: json!({}),
            };
            self.cancel_round(view, event, Some(why)).await
        })
        .await
    }

    pub(super) async fn cancel_round(
        &self,
        view: OrderView,
        event: AuditEvent,
        why: Option<Problem>,
    ) -> Result<StandingOrder, Round> {
        let now = event.at;
        let canceled = self.canceled(&view.order, why, now).await?;
        let Some(order) = canceled else {
            let status = StandingOrder::read(view, now).status;
            let word = match status {
                OrderStatus::Valid => "its certificate is not renewed",
                OrderStatus::Canceled => "it was canceled before",
                _ => "it is not valid",
            };
            let detail = format!("The order cannot be canceled: {word}.");
            return Err(Problem::new(ErrorType::AutoRenewalCancellationInvalid, detail).into());
        };
        self.store
            .commit(Batch::new(event).with(Change::Order(order.clone())))
            .await?;
        tracing::info!(order = %order.id, "an order's certificates are not renewed any more");
        let order = Order {
            version: order.version.next(),
            ..order
        };
        Ok(StandingOrder::read(OrderView { order, ..view }, now))
    }

    /// Returns an order as it is once it is canceled; `None` if it is not being renewed.
    ///
    /// It expires with its last certificate, after which there is nothing left of it to be asked for.
    pub(super) async fn canceled(
        &self,
        order: &Order,
        error: Option<Problem>,
        now: Timestamp,
    ) -> Result<Option<Order>, Refusal> {
        let Progress::Renewing(renewing) = &order.progress else {
            return Ok(None);
        };
        let last = match renewing.certificate {
            Some(serial) => self.store.certificate(serial).await?,
            None => None,
        };
        Ok(Some(Order {
            expires: last.map_or(now, |last| last.not_after.max(now)),
            progress: Progress::Canceled {
                certificate: renewing.certificate,
                at: now,
                error,
            },
            ..order.clone()
        }))
    }

    /// Finds the present certificate of an order (RFC 8739 section 3.3), for its account, or for anybody who knows its
    /// URL where both sides allow that (section 3.4). Returns `None` where unsigned requests are not allowed.
    ///
    /// # Errors
    /// `autoRenewalCanceled` and `autoRenewalExpired` (403), 404 if there is none, 503 if its renewal is late.
    pub async fn star_certificate(
        &self,
        id: OrderId,
        asker: Option<AccountId>,
    ) -> Result<Option<StarCertificate>, Refusal> {
        let found = self.store.order(id).await?.map(|view| view.order);
        let order = match asker {
            Some(account) => found
                .filter(|order| order.account == account)
                .ok_or_else(Refusal::not_found)?,
            None => match found.filter(|order| self.may_be_got(order)) {
                Some(order) => order,
                None => return Ok(None),
            },
        };
        let now = self.clock.now();
        let renewing = being_renewed(&order, now)?;
        let certificate = match renewing.certificate {
            Some(serial) => self.store.certificate(serial).await?,
            None => None,
        };
        let certificate = certificate.ok_or_else(|| {
            Problem::malformed("The order's first certificate is not there yet: it is made before its start-date.")
                .with_status(404)
        })?;
        if certificate.not_after < now {
            return Err(Problem::new(
                ErrorType::ServerInternal,
                "The certificate's renewal is late: try again later.",
            )
            .with_status(503)
            .into());
        }
        let fresh_until = renewing.due.unwrap_or(certificate.not_after);
        Ok(Some(StarCertificate {
            fresh_until: fresh_until.clamp(now, certificate.not_after.max(now)),
            certificate,
        }))
    }

    fn may_be_got(&self, order: &Order) -> bool {
        self.settings.auto_renewal.is_some_and(|rule| rule.allow_get)
            && order.auto_renewal.as_ref().is_some_and(|renewal| renewal.allow_get)
    }

    /// Adds to a batch that an operator's revocation ends the renewal too: the next certificate would undo it.
    pub(super) async fn with_order_canceled(
        &self,
        batch: Batch,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<Batch, Round> {
        let Some(id) = certificate.order else {
            return Ok(batch);
        };
        let Some(view) = self.store.order(id).await? else {
            return Ok(batch);
        };
        let why = Problem::unauthorized("The CA has revoked a certificate of this order and renews it no more.");
        Ok(match self.canceled(&view.order, Some(why), now).await? {
            None => batch,
            Some(order) => batch.with(Change::Order(order)).and(AuditEvent {
                at: now,
                actor: operator(),
                action: Action::OrderCanceled,
                subject: id.to_string(),
                detail: json!({ "because": format!("certificate {} was revoked", certificate.serial) }),
            }),
        })
    }

    /// Whether a certificate belongs to an order whose certificates are renewed, which its holder cancels instead of
    /// revoking it (RFC 8739 section 3.1.2).
    pub(super) async fn is_renewed(&self, certificate: &Certificate) -> Result<bool, Refusal> {
        let Some(id) = certificate.order else {
            return Ok(false);
        };
        let view = self.store.order(id).await?;
        Ok(view.is_some_and(|view| view.order.auto_renewal.is_some()))
    }
}

/// Returns how the renewal of an order stands, as far as its certificate may be handed out.
fn being_renewed(order: &Order, now: Timestamp) -> Result<&Renewing, Refusal> {
    match (&order.progress, &order.auto_renewal) {
        (Progress::Canceled { error, .. }, _) => {
            let because = error
                .as_ref()
                .map(|error| format!(" {}", error.detail))
                .unwrap_or_default();
            let detail = format!("The order was canceled, and its certificates are not renewed any more.{because}");
            Err(Refusal::new(ErrorType::AutoRenewalCanceled, detail))
        }
        (Progress::Renewing(_), Some(renewal)) if now > renewal.end => Err(Refusal::new(
            ErrorType::AutoRenewalExpired,
            format!("The order ended on {}: place a new one.", renewal.end),
        )),
        (Progress::Renewing(renewing), Some(_)) => Ok(renewing),
        _ => Err(Refusal::not_found()),
    }
}

fn not_offered() -> Problem {
    Problem::malformed("This CA renews no certificates by itself: leave auto-renewal out.")
}

/// The room that renews, as the audit log names it.
pub(super) fn renewer() -> Actor {
    Actor::System("renewer".to_owned())
}
