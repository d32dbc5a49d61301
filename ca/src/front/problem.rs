//! How problems become HTTP answers: the one place that knows.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use sigillo_protocol::{
    acme::problem::{ErrorType, Problem},
    jose::JwsError,
    json::JsonError,
};

use super::links::Links;
use crate::registrar::Refusal;

/// An answer that is a problem, with the headers that belong to it.
#[derive(Debug)]
pub struct Trouble {
    problem: Box<Problem>,
    location: Option<String>,
    links: Vec<String>,
    retry_after_seconds: Option<u64>,
}

impl Trouble {
    /// Says no to a media type (RFC 8555 section 6.2: 415).
    pub fn media_type() -> Self {
        Problem::malformed("The body has to be application/jose+json.")
            .with_status(415)
            .into()
    }

    /// Says that a limit was reached (RFC 8555 section 6.6).
    pub fn rate_limited(detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds.max(1)),
            ..Problem::new(ErrorType::RateLimited, detail).into()
        }
    }

    /// Turns a registrar's refusal into an answer; what is internal goes to the log alone.
    pub fn from_refusal(refusal: Refusal, links: &Links, terms: Option<&str>, agree_url: Option<String>) -> Self {
        match refusal {
            Refusal::Problem(problem) => (*problem).into(),
            Refusal::TermsChanged => {
                let mut problem = Problem::new(
                    ErrorType::UserActionRequired,
                    "The terms of service have changed: agree to them at the instance URL.",
                );
                problem.instance = agree_url;
                let links = terms
                    .map(|url| format!("<{url}>;rel=\"terms-of-service\""))
                    .into_iter()
                    .collect();
                Self {
                    links,
                    ..problem.into()
                }
            }
            Refusal::KeyInUse(holder) => Self {
                location: Some(links.account(holder)),
                ..Problem::malformed("Another account has this key.")
                    .with_status(409)
                    .into()
            },
            Refusal::RateLimited {
                detail,
                retry_after_seconds,
            } => Self::rate_limited(detail, retry_after_seconds),
            Refusal::Internal(message) => {
                tracing::error!(%message, "a request failed inside");
                Problem::new(
                    ErrorType::ServerInternal,
                    "The server failed; its operator finds the cause in the log.",
                )
                .into()
            }
        }
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            location: None,
            links: Vec::new(),
            retry_after_seconds: None,
        }
    }
}

impl From<JwsError> for Trouble {
    fn from(error: JwsError) -> Self {
        error.problem().into()
    }
}

impl From<JsonError> for Trouble {
    fn from(error: JsonError) -> Self {
        Problem::malformed(format!("The payload cannot be read: {error}")).into()
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> axum::response::Response {
        let mut response = problem_response(&self.problem);
        let headers = response.headers_mut();
        if let Some(value) = self.location.and_then(|l| HeaderValue::try_from(l).ok()) {
            headers.insert(header::LOCATION, value);
        }
        for link in self.links.into_iter().filter_map(|l| HeaderValue::try_from(l).ok()) {
            headers.append(header::LINK, link);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Writes a problem document with its own status.
pub fn problem_response(problem: &Problem) -> axum::response::Response {
    let status = problem
        .status
        .and_then(|s| StatusCode::from_u16(s).ok())
        .unwrap_or(StatusCode::BAD_REQUEST);
    // The type holds only strings, numbers and lists of such, which always serialise.
    let body = serde_json::to_vec(problem).expect("invariant: a problem document serialises");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}
