//! Renewal information that a test has set: it is told in the place of the CA's own.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderValue, Method, header},
    response::Response,
};
use sigillo_protocol::x509::cert_id::CertificateId;

use super::fronts::PATHS;

/// How many certificates can have one.
const OVERRIDES_MAX: usize = 1024;

/// How long clients wait before they ask again, in seconds: tests do not want to.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What was set, by the certificate's identifier.
#[derive(Default)]
pub(super) struct Overrides {
    set: Mutex<HashMap<CertificateId, String>>,
}

impl Overrides {
    /// Sets an answer; returns whether there was room for it.
    pub(super) fn set(&self, certificate: CertificateId, answer: String) -> bool {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        if set.len() >= OVERRIDES_MAX && !set.contains_key(&certificate) {
            return false;
        }
        set.insert(certificate, answer);
        true
    }

    /// Answers a request for renewal information that was set.
    pub(super) fn answer(&self, method: &Method, asked: &str) -> Option<Response> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let text = asked.strip_prefix(PATHS.renewal_info)?.strip_prefix('/')?;
        let certificate: CertificateId = text.parse().ok()?;
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut response = Response::new(Body::from(set.get(&certificate)?.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        Some(response)
    }
}
