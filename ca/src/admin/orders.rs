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
    model::{OrderId, Progress},
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
    /// Why it has failed.
    pub error: Option<Problem>,
}

impl From<StandingOrder> for ShownOrder {
    fn from(standing: StandingOrder) -> Self {
        let order = standing.order;
        Self {
            id: order.id.to_string(),
            account: order.account.to_string(),
            status: standing.status,
            names: order.names.iter().map(ToString::to_string).collect(),
            profile: order.profile,
            created: order.created,
            expires: order.expires,
            certificate: match order.progress {
                Progress::Valid { certificate } | Progress::Processing { certificate } => Some(certificate.to_string()),
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
        .orders(
            None,
            Page {
                after: page.after()?,
                limit,
            },
        )
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

pub(super) async fn show(State(admin): Shared, Path(id): Path<String>) -> Result<Json<ShownOrder>, AdminError> {
    let id: OrderId = id
        .parse()
        .map_err(|_| AdminError::refused(format!("{id:?} is no order id")))?;
    let view = admin
        .registrar
        .store()
        .order(id)
        .await?
        .ok_or_else(|| AdminError::not_found("order"))?;
    Ok(Json(StandingOrder::read(view, admin.registrar.now()).into()))
}
