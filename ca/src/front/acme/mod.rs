//! The ACME resources over HTTP: RFC 8555, RFC 8739, RFC 9773, and the profiles draft.

mod accounts;
mod authorizations;
mod certificates;
mod directory;
mod orders;
mod star;
mod terms;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use sigillo_protocol::acme::{directory::AuditLogMeta, problem::Problem};

use super::{
    limits::RateLimits,
    links::Links,
    nonce::Nonces,
    problem::{Trouble, problem_response},
};
use crate::{
    model::{Account, AccountId},
    registrar::{Refusal, Registrar},
};

/// The header that carries nonces (RFC 8555 section 6.5.1).
const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// What the resources share.
pub struct AcmeFront {
    registrar: Arc<Registrar>,
    links: Links,
    nonces: Nonces,
    limits: RateLimits,
    capabilities: terms::Capabilities,
    log: Option<AuditLogMeta>,
}

type Shared = State<Arc<AcmeFront>>;
type Answer = Result<Response, Trouble>;

impl AcmeFront {
    /// Puts the front together.
    pub fn new(registrar: Arc<Registrar>, links: Links, limits: RateLimits) -> Self {
        Self {
            registrar,
            links,
            nonces: Nonces::new(),
            limits,
            capabilities: terms::Capabilities::new(),
            log: None,
        }
    }

    /// Names the audit log in the directory.
    #[must_use]
    pub fn with_log(mut self, log: Option<AuditLogMeta>) -> Self {
        self.log = log;
        self
    }

    pub(super) fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    pub(super) fn trouble(&self, refusal: Refusal) -> Trouble {
        Trouble::from_refusal(refusal, &self.links, self.registrar.settings().terms.as_deref(), None)
    }

    fn trouble_for(&self, account: &Account, refusal: Refusal) -> Trouble {
        let agree = terms::agree_url(self, account.id);
        Trouble::from_refusal(
            refusal,
            &self.links,
            self.registrar.settings().terms.as_deref(),
            Some(agree),
        )
    }
}

/// Builds the routes. Everything that is not a resource answers as a problem document.
pub fn router(front: Arc<AcmeFront>) -> Router {
    let paths = *front.links.paths();
    let under = |base: &str, rest: &str| format!("{base}{rest}");
    Router::new()
        .route(paths.directory, get(directory::show).post(directory::show_signed))
        .route(paths.new_nonce, get(directory::nonce).post(directory::nonce_signed))
        .route(paths.new_account, post(accounts::create))
        .route(&under(paths.account, "/{id}"), post(accounts::update))
        .route(paths.key_change, post(accounts::change_key))
        .route(&under(paths.orders, "/{id}"), post(orders::list))
        .route(&under(paths.orders, "/{id}/after/{order}"), post(orders::list_after))
        .route(paths.new_order, post(orders::create))
        .route(&under(paths.order, "/{id}"), post(orders::show))
        .route(&under(paths.order, "/{id}/finalize"), post(orders::finalize))
        .route(paths.new_authz, post(authorizations::create))
        .route(&under(paths.authz, "/{id}"), post(authorizations::update))
        .route(
            &under(paths.challenge, "/{id}/{position}"),
            post(authorizations::respond),
        )
        .route(&under(paths.certificate, "/{serial}"), post(certificates::show))
        .route(
            &under(paths.certificate, "/{serial}/alternate/{position}"),
            post(certificates::show_alternate),
        )
        .route(
            &under(paths.star_certificate, "/{order}"),
            get(star::show_unsigned).post(star::show),
        )
        .route(
            &under(paths.star_certificate, "/{order}/alternate/{position}"),
            get(star::show_alternate_unsigned).post(star::show_alternate),
        )
        .route(paths.revoke_cert, post(certificates::revoke))
        .route(&under(paths.renewal_info, "/{id}"), get(certificates::renewal_info))
        .route(
            &under(terms::PATH, "/{account}/{token}"),
            get(terms::show).post(terms::agree),
        )
        .fallback(no_resource)
        .layer(middleware::from_fn_with_state(front.clone(), common))
        .with_state(front)
}

async fn no_resource() -> Response {
    problem_response(&Problem::malformed("There is no such resource.").with_status(404))
}

/// Adds what every answer has: links, nonces, cross-origin headers; gives bare errors a document.
async fn common(State(front): Shared, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_post = request.method() == Method::POST;
    let is_directory = request.uri().path() == front.links.paths().directory;
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        preflight_response()
    } else {
        next.run(request).await
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = with_document(response, "This resource does not answer this method.");
    }
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let headers = response.headers_mut();
    if (is_post || failed) && !headers.contains_key(REPLAY_NONCE) {
        insert(headers, REPLAY_NONCE, &front.nonces.mint());
    }
    if is_post && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !is_directory {
        append_link(headers, &front.links.directory(), "index");
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Link, Location, Replay-Nonce, Retry-After, Cert-Not-Before, Cert-Not-After"),
    );
    response
}

fn preflight_response() -> Response {
    (
        StatusCode::NO_CONTENT,
        [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ],
    )
        .into_response()
}

fn with_document(bare: Response, detail: &str) -> Response {
    let problem = Problem::malformed(detail).with_status(bare.status().as_u16());
    let mut response = problem_response(&problem);
    if let Some(allow) = bare.headers().get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    response
}

fn insert(headers: &mut axum::http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn append_link(headers: &mut axum::http::HeaderMap, url: &str, relation: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("<{url}>;rel=\"{relation}\"")) {
        headers.append(header::LINK, value);
    }
}

/// Writes a resource as JSON.
fn json_response(status: StatusCode, resource: &impl Serialize) -> Response {
    // Wire types hold strings, numbers, times and lists of such, which always serialise.
    let body = serde_json::to_vec(resource).expect("invariant: a wire type serialises");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn with_location(mut response: Response, url: &str) -> Response {
    insert(response.headers_mut(), header::LOCATION, url);
    response
}

/// How long clients wait before they look again: decisions fall within a second or two.
const POLL_SECONDS: u64 = 1;

fn with_retry_after(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, POLL_SECONDS.into());
    response
}

/// Reads an id from a path; one that is none names nothing.
fn id<T: std::str::FromStr>(text: &str) -> Result<T, Trouble> {
    text.parse().map_err(|_| {
        Problem::malformed("There is no such resource for this account.")
            .with_status(404)
            .into()
    })
}

/// Refuses to show one account's things to another.
fn require_own(account: &Account, id: AccountId) -> Result<(), Trouble> {
    if account.id == id {
        return Ok(());
    }
    Err(Problem::unauthorized("This resource belongs to another account.").into())
}
