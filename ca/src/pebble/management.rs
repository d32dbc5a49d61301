//! Pebble's management interface: roots, intermediates and their keys by number, a certificate's status, renewal
//! information, and here also the rules of chaos.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use sigillo_protocol::x509::{cert_id::CertificateId, reason::RevocationReason};

use super::{chaos::Chaos, renewal::Overrides};
use crate::{
    model::{Certificate, Serial},
    pem,
    store::Store,
};

/// The largest body: a certificate and an answer about it, or rules.
const BODY_MAX: usize = 64 * 1024;

const CERTIFICATE_PEM: &str = "application/pem-certificate-chain; charset=utf-8";
const KEY_PEM: &str = "application/x-pem-file; charset=utf-8";

/// What is shown of a chain.
pub(super) struct ShownChain {
    pub(super) root: String,
    pub(super) root_key: String,
    pub(super) intermediate: String,
}

/// What the interface looks into.
pub(super) struct Management {
    pub(super) chains: Vec<ShownChain>,
    pub(super) intermediate_key: String,
    pub(super) base: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) overrides: Arc<Overrides>,
    pub(super) chaos: Arc<Chaos>,
}

type Shared = State<Arc<Management>>;

/// Builds the routes.
pub(super) fn router(management: Management) -> Router {
    Router::new()
        .route("/roots/{number}", get(root))
        .route("/root-keys/{number}", get(root_key))
        .route("/intermediates/{number}", get(intermediate))
        .route("/intermediate-keys/{number}", get(intermediate_key))
        .route("/cert-status-by-serial/{serial}", get(status))
        .route("/set-renewal-info/", post(set_renewal_info))
        .route("/set-renewal-info", post(set_renewal_info))
        .route("/chaos", get(show_rules).post(set_rules).delete(clear_rules))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::new(management))
}

async fn root(State(own): Shared, Path(number): Path<String>) -> Response {
    own.show("roots", &number, CERTIFICATE_PEM, |chain| &chain.root)
}

async fn root_key(State(own): Shared, Path(number): Path<String>) -> Response {
    own.show("root-keys", &number, KEY_PEM, |chain| &chain.root_key)
}

async fn intermediate(State(own): Shared, Path(number): Path<String>) -> Response {
    own.show("intermediates", &number, CERTIFICATE_PEM, |chain| &chain.intermediate)
}

/// The intermediate's certificates differ from chain to chain; its key is one.
async fn intermediate_key(State(own): Shared, Path(number): Path<String>) -> Response {
    own.show("intermediate-keys", &number, KEY_PEM, |_| &own.intermediate_key)
}

impl Management {
    fn show<'a>(
        &'a self,
        list: &str,
        number: &str,
        kind: &'static str,
        what: impl Fn(&'a ShownChain) -> &'a String,
    ) -> Response {
        let found = number
            .parse::<usize>()
            .ok()
            .filter(|number| *number < self.chains.len());
        let Some(number) = found else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let mut response = Response::new(Body::from(what(&self.chains[number]).clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for other in (0..self.chains.len()).filter(|other| *other != number) {
            let link = format!("<{}/{list}/{other}>;rel=\"alternate\"", self.base);
            if let Ok(link) = HeaderValue::from_str(&link) {
                headers.append(header::LINK, link);
            }
        }
        response
    }
}

async fn status(State(own): Shared, Path(text): Path<String>) -> Response {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !digits {
        return (StatusCode::BAD_REQUEST, "a serial number has hexadecimal digits\n").into_response();
    }
    // Digits that are no serial number of ours name a certificate that nobody issued.
    let Ok(serial) = text.parse::<Serial>() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match own.store.certificate(serial).await {
        Ok(found) => found
            .as_ref()
            .and_then(shown_status)
            .map_or_else(|| StatusCode::NOT_FOUND.into_response(), |shown| json_response(&shown)),
        Err(error) => {
            tracing::error!(%error, "a certificate's status cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn shown_status(certificate: &Certificate) -> Option<serde_json::Value> {
    let serial = certificate.serial.to_string();
    let mut shown = json!({
        "Status": "Valid",
        "Serial": serial.trim_start_matches('0'),
        "Certificate": pem::certificate(certificate.der()?),
    });
    if let Some(revocation) = certificate.revocation() {
        shown["Status"] = json!("Revoked");
        shown["Reason"] = json!(revocation.reason.map_or(0, RevocationReason::code));
        shown["RevokedAt"] = json!(revocation.at.to_string());
    }
    Some(shown)
}

/// What Pebble takes at `/set-renewal-info/`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfoWish {
    /// PEM.
    certificate: String,
    /// The body of the answer, as text.
    ari_response: String,
}

async fn set_renewal_info(State(own): Shared, body: Bytes) -> Response {
    let refused = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response();
    let wish: RenewalInfoWish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return refused(error.to_string()),
    };
    let Ok(block) = ::pem::parse(&wish.certificate) else {
        return refused("certificate is not PEM".to_owned());
    };
    let id = match CertificateId::from_certificate_der(block.contents()) {
        Ok(id) => id,
        Err(error) => return refused(error.to_string()),
    };
    match own.overrides.set(id, wish.ari_response) {
        true => StatusCode::OK.into_response(),
        false => (StatusCode::INSUFFICIENT_STORAGE, "too many are set already\n").into_response(),
    }
}

async fn show_rules(State(own): Shared) -> Response {
    json_response(&own.chaos.show())
}

async fn set_rules(State(own): Shared, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body);
    match own.chaos.replace(&text) {
        Ok(()) => json_response(&own.chaos.show()),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn clear_rules(State(own): Shared) -> Response {
    own.chaos.clear();
    json_response(&own.chaos.show())
}

fn json_response(value: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(format!("{value:#}\n")));
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
