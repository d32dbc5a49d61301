//! What operators can do, as resources on a Unix socket that only the CA's own user can open.
//!
//! The same routes serve the command line without a daemon: there they are called in the process.

mod accounts;
mod answers;
mod audit;
mod bulk;
mod certificates;
mod crl;
mod keys;
mod log;
mod orders;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use crate::{notary::Notary, registrar::Registrar, status::StatusService};

pub use answers::AdminError;

/// The shapes of the answers, for the command line.
pub mod answers_for_cli {
    pub use super::{
        accounts::ShownAccount,
        answers::ListPage,
        bulk::{BulkAnswer, BulkWish, SelectionWish, ShownBlockedKey, ShownReplacements},
        certificates::{ShownCertificate, SignedAnswer},
        crl::ShownCrl,
        keys::{NewKey, ShownKey},
        log::{Cosignatures, ShownLog, Text},
        orders::ShownOrder,
    };
}

/// What the operations work on.
pub struct Admin {
    /// Decides and records.
    pub registrar: Arc<Registrar>,
    /// Publishes CRLs.
    pub status: Arc<StatusService>,
    /// Signs the audit log's heads; `None` if it cannot.
    pub notary: Option<Arc<Notary>>,
}

type Shared = axum::extract::State<Arc<Admin>>;

/// Builds the routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/certs", get(certificates::list))
        .route("/certs/{serial}", get(certificates::show))
        .route("/certs/{serial}/revoke", post(certificates::revoke))
        .route("/certs/{serial}/renew-now", post(certificates::renew_now))
        .route("/certs-selected", post(bulk::select))
        .route("/certs-selected/revoke", post(bulk::revoke))
        .route("/certs-selected/renew-now", post(bulk::renew_now))
        .route("/certs-selected/replacements", post(bulk::replacements))
        .route("/blocked-keys", get(bulk::blocked).post(bulk::block))
        .route("/sign", post(certificates::sign))
        .route("/accounts", get(accounts::list))
        .route("/accounts/{id}/deactivate", post(accounts::deactivate))
        .route("/eab", get(keys::list).post(keys::create))
        .route("/eab/{kid}/disable", post(keys::disable))
        .route("/orders", get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/cancel", post(orders::cancel))
        .route("/crl", get(crl::show))
        .route("/crl/publish", post(crl::publish))
        .route("/audit", get(audit::list))
        .route("/audit/sign", post(log::sign))
        .route("/audit/heads", get(log::heads))
        .route("/audit/tiles/{index}", get(audit::tile))
        .route("/audit/cosign", post(log::cosign))
        .route("/audit/witness-request", get(log::witness_request))
        .route("/backup", post(audit::backup))
        .with_state(Arc::new(admin))
}
