//! Health and metrics, on a listener of their own (`server.health`).

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    model::{CrlKind, IssuerId},
    store::Store,
    telemetry::Metrics,
};

/// What the answers are made from.
#[derive(Clone)]
pub struct Health {
    /// Asked whether it can be read.
    pub store: Arc<dyn Store>,
    /// Whose CRL is told about.
    pub issuer: IssuerId,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Builds `/healthz` (the process answers), `/readyz` (and the store can be read and written) and `/metrics`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    if !health.store.writable() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the store takes no more writes\n").into_response();
    }
    match health.store.status_position().await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n").into_response()
        }
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = health.metrics.render();
    let mut gauge = |name: &str, help: &str, value: i64| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    };
    let writable = i64::from(health.store.writable());
    gauge("sigillo_store_writable", "Whether the store takes commits.", writable);
    if let Ok((position, _)) = health.store.status_position().await {
        let help = "Position of the status feed: rises with every certificate issued or revoked.";
        gauge(
            "sigillo_status_position",
            help,
            i64::try_from(position).unwrap_or(i64::MAX),
        );
    }
    if let Ok(Some(crl)) = health.store.crl(&health.issuer, CrlKind::Complete).await {
        let number = i64::try_from(crl.number).unwrap_or(i64::MAX);
        gauge("sigillo_crl_number", "Number of the last CRL.", number);
        let entries = i64::try_from(crl.entries).unwrap_or(i64::MAX);
        gauge("sigillo_crl_entries", "Certificates on the last CRL.", entries);
        let help = "When the last CRL ends, in seconds since 1970: alert before it does.";
        gauge("sigillo_crl_next_update_seconds", help, crl.next_update.as_second());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
