//! Orders (RFC 8555 section 7.4).

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use sigillo_protocol::{
    acme::{
        account::OrdersPage,
        auto_renewal::AutoRenewal as WireAutoRenewal,
        order::{Finalize, NewOrder, Order as WireOrder, OrderStatus, OrderUpdate},
        problem::Problem,
    },
    base64url,
};

use super::{AcmeFront, Answer, Shared, append_link, id, json_response, require_own, with_location, with_retry_after};
use crate::{
    model::{AccountId, AutoRenewal, OrderId, Progress},
    registrar::{NewOrderRequest, StandingOrder},
};

pub(super) async fn create(State(front): Shared, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    let wish: NewOrder = signed.payload()?;
    front.limits.new_order(signed.account.id)?;
    let standing = front
        .registrar
        .new_order(NewOrderRequest {
            account: &signed.account,
            order: &wish,
        })
        .await
        .map_err(|refusal| front.trouble_for(&signed.account, refusal))?;
    Ok(front.order_response(StatusCode::CREATED, &standing))
}

/// Shows an order, or cancels it.
pub(super) async fn show(State(front): Shared, Path(text): Path<String>, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    let (account, id) = (signed.account.id, id(&text)?);
    let standing = if signed.is_post_as_get() {
        front.registrar.order(account, id).await
    } else {
        let update: OrderUpdate = signed.payload()?;
        if update.status.as_deref() != Some("canceled") {
            let detail = "An order can only be fetched, or its status set to canceled (RFC 8739 section 3.1.2).";
            return Err(Problem::malformed(detail).into());
        }
        front.registrar.cancel_order(account, id).await
    };
    Ok(front.order_response(StatusCode::OK, &standing.map_err(|r| front.trouble(r))?))
}

pub(super) async fn finalize(State(front): Shared, Path(text): Path<String>, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    let wish: Finalize = signed.payload()?;
    let csr = base64url::decode(&wish.csr)
        .map_err(|error| Problem::malformed(format!("csr is not base64url of a DER request: {error}")))?;
    let account_url = front.links.account(signed.account.id);
    let standing = front
        .registrar
        .finalize(signed.account.id, id(&text)?, &csr, &account_url)
        .await
        .map_err(|refusal| front.trouble(refusal))?;
    Ok(front.order_response(StatusCode::OK, &standing))
}

pub(super) async fn list(State(front): Shared, Path(text): Path<String>, request: Request) -> Answer {
    page(&front, &text, None, request).await
}

pub(super) async fn list_after(
    State(front): Shared,
    Path((text, after)): Path<(String, String)>,
    request: Request,
) -> Answer {
    page(&front, &text, Some(&after), request).await
}

async fn page(front: &AcmeFront, account: &str, after: Option<&str>, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    signed.require_post_as_get()?;
    let account: AccountId = id(account)?;
    require_own(&signed.account, account)?;
    let after: Option<OrderId> = after.map(id).transpose()?;
    let (orders, next) = front
        .registrar
        .orders_page(account, after)
        .await
        .map_err(|r| front.trouble(r))?;
    let page = OrdersPage {
        orders: orders.into_iter().map(|order| front.links.order(order)).collect(),
    };
    let mut response = json_response(StatusCode::OK, &page);
    if let Some(next) = next {
        append_link(response.headers_mut(), &front.links.orders_after(account, next), "next");
    }
    Ok(response)
}

impl AcmeFront {
    fn order_response(&self, status: StatusCode, standing: &StandingOrder) -> Response {
        let response = json_response(status, &self.wire_order(standing));
        let response = with_location(response, &self.links.order(standing.order.id));
        match standing.status {
            OrderStatus::Pending | OrderStatus::Processing => with_retry_after(response),
            _ => response,
        }
    }

    fn wire_order(&self, standing: &StandingOrder) -> WireOrder {
        let order = &standing.order;
        WireOrder {
            status: standing.status,
            expires: Some(order.expires),
            identifiers: order.names.iter().map(|name| name.identifier()).collect(),
            not_before: order.not_before,
            not_after: order.not_after,
            error: standing.error.clone(),
            authorizations: order
                .authorizations
                .iter()
                .map(|a| self.links.authorization(*a))
                .collect(),
            finalize: self.links.finalize(order.id),
            certificate: match order.progress {
                Progress::Valid { certificate } => Some(self.links.certificate(certificate)),
                _ => None,
            },
            replaces: order.replaces.clone(),
            profile: Some(order.profile.clone()),
            auto_renewal: order.auto_renewal.as_ref().map(wire_auto_renewal),
            star_certificate: match order.progress {
                Progress::Renewing(_) => Some(self.links.star_certificate(order.id)),
                _ => None,
            },
        }
    }
}

/// Shows what was agreed, as it was adjusted (RFC 8739 section 3.1.1).
fn wire_auto_renewal(renewal: &AutoRenewal) -> WireAutoRenewal {
    WireAutoRenewal {
        start_date: renewal.start.filter(|_| renewal.start_given),
        end_date: renewal.end,
        lifetime: renewal.lifetime_seconds,
        lifetime_adjust: renewal.adjust_seconds,
        allow_certificate_get: renewal.allow_get.then_some(true),
    }
}
