//! The page at which an account's holder agrees to new terms (RFC 8555 section 7.3.3).
//!
//! Its URL is a capability: it holds the account's id, 128 random bits that only the account and
//! the CA know. Agreeing takes a POST, so that following a link agrees to nothing.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use super::{Answer, Shared, id};
use crate::{front::links::Links, model::AccountId};

pub(super) const PATH: &str = "/acme/terms";

pub(super) fn agree_url(links: &Links, account: AccountId) -> String {
    links.to(&format!("{PATH}/{account}"))
}

pub(super) async fn show(State(front): Shared, Path(text): Path<String>) -> Answer {
    let account: AccountId = id(&text)?;
    front
        .registrar
        .signing_account(account)
        .await
        .map_err(|r| front.trouble(r))?;
    let url = front.registrar.settings().terms.clone().unwrap_or_default();
    let url = escape(&url);
    Ok(page(&format!(
        "<p>This certificate authority has new terms of service: <a href=\"{url}\">{url}</a></p>\
         <form method=\"post\"><button>I agree to these terms</button></form>"
    )))
}

pub(super) async fn agree(State(front): Shared, Path(text): Path<String>) -> Answer {
    front
        .registrar
        .agree_to_terms(id(&text)?)
        .await
        .map_err(|r| front.trouble(r))?;
    Ok(page("<p>Thank you. The account can order certificates again.</p>"))
}

fn page(body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Terms of service</title><h1>Terms of service</h1>{body}</html>"
    );
    let mut response = (StatusCode::OK, Html(html)).into_response();
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    );
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
