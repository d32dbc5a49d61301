//! The ACME front under each name by which clients call: as with Pebble, links have the host that the client asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::Request,
    http::{header, uri::Authority},
    response::Response,
};
use tower::ServiceExt;

use crate::{
    config::LimitSettings,
    front::{
        acme::{self, AcmeFront},
        limits::RateLimits,
        links::{Links, Paths},
    },
    registrar::Registrar,
};

/// Where Pebble has its resources: some test suites look for these paths in URLs.
pub(super) const PATHS: Paths = Paths {
    directory: "/dir",
    new_nonce: "/nonce-plz",
    new_account: "/sign-me-up",
    new_order: "/order-plz",
    new_authz: "/authz-plz",
    revoke_cert: "/revoke-cert",
    key_change: "/rollover-account-key",
    renewal_info: "/renewal-info",
    account: "/my-account",
    orders: "/list-orderz",
    order: "/my-order",
    authz: "/authZ",
    challenge: "/chalZ",
    certificate: "/certZ",
    star_certificate: "/star-certZ",
};

/// Under how many names the server answers: each has nonces of its own. Who comes with more gets the usual one's links.
const NAMES_MAX: usize = 32;

/// The longest `host:port` that is taken for one.
const AUTHORITY_OCTETS_MAX: usize = 253 + 6;

/// The fronts that were called for.
pub(super) struct Fronts {
    registrar: Arc<Registrar>,
    limits: LimitSettings,
    usual: Router,
    others: Mutex<HashMap<String, Router>>,
}

impl Fronts {
    /// Makes the front for the usual base, such as `https://localhost:14000`.
    pub(super) fn new(registrar: Arc<Registrar>, limits: LimitSettings, base: &str) -> Self {
        Self {
            usual: front(&registrar, &limits, base),
            registrar,
            limits,
            others: Mutex::new(HashMap::new()),
        }
    }

    /// Answers a request under the name that it came for.
    pub(super) async fn answer(&self, request: Request) -> Response {
        let router = match asked_host(&request) {
            Some(host) => self.under(&host),
            None => self.usual.clone(),
        };
        let answered = router.oneshot(request).await;
        answered.unwrap_or_else(|never| match never {})
    }

    fn under(&self, host: &str) -> Router {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(host) {
            return known.clone();
        }
        if others.len() >= NAMES_MAX {
            return self.usual.clone();
        }
        let made = front(&self.registrar, &self.limits, &format!("https://{host}"));
        others.insert(host.to_owned(), made.clone());
        made
    }
}

fn front(registrar: &Arc<Registrar>, limits: &LimitSettings, base: &str) -> Router {
    let links = Links::new(base).with_paths(PATHS);
    acme::router(Arc::new(AcmeFront::new(
        registrar.clone(),
        links,
        RateLimits::new(limits),
    )))
}

/// Returns the `host:port` that the client has asked: of HTTP/2's `:authority`, or of `Host`.
fn asked_host(request: &Request) -> Option<String> {
    let authority: Authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => request.headers().get(header::HOST)?.to_str().ok()?.parse().ok()?,
    };
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    let text = authority.as_str();
    let fits = text.len() <= AUTHORITY_OCTETS_MAX && !text.is_empty() && text.bytes().all(plain);
    fits.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn takes_the_host_that_was_asked_and_nothing_else() {
        let request = |host: &str| {
            let request = Request::builder().uri("/dir").header(header::HOST, host);
            asked_host(&request.body(Body::empty()).unwrap())
        };
        assert_eq!(request("LocalHost:14000").as_deref(), Some("localhost:14000"));
        assert_eq!(request("[::1]:14000").as_deref(), Some("[::1]:14000"));
        for wrong in ["", "user@host", "a b", "host/path", "host\"><"] {
            assert_eq!(request(wrong), None, "{wrong}");
        }
        let absolute = Request::builder().uri("https://pebble:14000/dir").body(Body::empty());
        assert_eq!(asked_host(&absolute.unwrap()).as_deref(), Some("pebble:14000"));
    }
}
