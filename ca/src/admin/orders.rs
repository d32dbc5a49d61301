//! Orders for operators.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::acme::{order::OrderStatus, problem::Problem};

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
};
use crate::{
    model::{Order, OrderId, Progress, Renewing},
    registrar::StandingOrder,
    store::Page,
};

/// An order as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownOrder {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Its state.
    pub status: OrderStatus,
    /// The names.
    pub names: Vec<String>,
    /// The profile.
    pub profile: String,
    /// When it was placed.
    pub created: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
    /// The certificate's serial.
    pub certificate: Option<String>,
    /// Why it has failed, or was canceled.
    pub error: Option<Problem>,
    /// How its certificates are renewed, if they are.
    pub auto_renewal: Option<ShownRenewal>,
}

/// The renewal of an order's certificates as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownRenewal {
    /// The first second that a certificate may hold.
    pub start: Option<Timestamp>,
    /// The last second that a certificate may hold.
    pub end: Timestamp,
    /// How long each certificate is valid.
    pub lifetime_seconds: i64,
    /// How far each is dated back besides.
    pub adjust_seconds: i64,
    /// Whether unsigned requests get the certificate.
    pub allow_get: bool,
    /// When the next one is begun; `None` if there will be no more.
    pub due: Option<Timestamp>,
    /// How often in a row the next one could not be made.
    pub failures: u32,
    /// Why it could not be made the last time.
    pub trouble: Option<String>,
}

impl ShownRenewal {
    fn of(order: &Order) -> Option<Self> {
        let renewal = order.auto_renewal.as_ref()?;
        let standing = match &order.progress {
            Progress::Renewing(renewing) => renewing.clone(),
            _ => Renewing::default(),
        };
        Some(Self {
            start: renewal.start,
            end: renewal.end,
            lifetime_seconds: renewal.lifetime_seconds,
            adjust_seconds: renewal.adjust_seconds.unwrap_or(0),
            allow_get: renewal.allow_get,
            due: standing.due,
            failures: standing.failures,
            trouble: standing.trouble,
        })
    }
}

impl From<StandingOrder> for ShownOrder {
    fn from(standing: StandingOrder) -> Self {
        let order = standing.order;
        Self {
            auto_renewal: ShownRenewal::of(&order),
            id: order.id.to_string(),
            account: order.account.to_string(),
            status: standing.status,
            names: order.names.iter().map(ToString::to_string).collect(),
            profile: order.profile,
            created: order.created,
            expires: order.expires,
            certificate: match order.progress {
                Progress::Valid { certificate } | Progress::Processing { certificate } => Some(certificate.to_string()),
                Progress::Renewing(Renewing { certificate, .. }) | Progress::Canceled { certificate, .. } => {
                    certificate.map(|serial| serial.to_string())
                }
                _ => None,
            },
            error: standing.error,
        }
    }
}

pub(super) async fn list(
    State(admin): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Json<ListPage<ShownOrder>>, AdminError> {
    let limit = page.limit();
    let store = admin.registrar.store();
    let found = store
        .orders(Page {
            after: page.after()?,
            limit,
        })
        .await?;
    let next = (found.len() >= limit)
        .then(|| found.last().map(|order| order.id.to_string()))
        .flatten();
    let now = admin.registrar.now();
    let mut items = Vec::with_capacity(found.len());
    for order in found {
        // Read again with its authorizations: its state follows from them.
        if let Some(view) = store.order(order.id).await? {
            items.push(StandingOrder::read(view, now).into());
        }
    }
    Ok(Json(ListPage { items, next }))
}

fn order_id(text: &str) -> Result<OrderId, AdminError> {
    text.parse()
        .map_err(|_| AdminError::refused(format!("{text:?} is no order id")))
}

pub(super) async fn cancel(State(admin): Shared, Path(id): Path<String>) -> Result<Json<ShownOrder>, AdminError> {
    let standing = admin.registrar.cancel_by_operator(order_id(&id)?).await?;
    Ok(Json(standing.into()))
}

pub(super) async fn show(State(admin): Shared, Path(id): Path<String>) -> Result<Json<ShownOrder>, AdminError> {
    let id = order_id(&id)?;
    let view = admin
        .registrar
        .store()
        .order(id)
        .await?
        .ok_or_else(|| AdminError::not_found("order"))?;
    Ok(Json(StandingOrder::read(view, admin.registrar.now()).into()))
}
