//! The page at which an account's holder agrees to new terms (RFC 8555 section 7.3.3).
//!
//! Its URL is a capability: it holds a MAC that only the CA can make, over the account and the terms that it is about, and
//! only the account is told it. After a restart the key is another one, and a refused order brings a new URL. Agreeing
//! takes a POST, so that following a link agrees to nothing.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use aws_lc_rs::hmac;
use sigillo_protocol::{acme::problem::Problem, base64url};

use super::{AcmeFront, Answer, Shared};
use crate::{front::problem::Trouble, model::AccountId};

pub(super) const PATH: &str = "/acme/terms";

/// Makes and checks the capabilities.
pub(super) struct Capabilities(hmac::Key);

impl Capabilities {
    pub(super) fn new() -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).expect("invariant: the system's random generator works");
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    fn message(account: AccountId, terms: &str) -> Vec<u8> {
        [account.as_bytes(), terms.as_bytes()].concat()
    }

    fn holds(&self, account: AccountId, terms: &str, token: &str) -> bool {
        let Ok(tag) = base64url::decode(token) else {
            return false;
        };
        hmac::verify(&self.0, &Self::message(account, terms), &tag).is_ok()
    }
}

pub(super) fn agree_url(front: &AcmeFront, account: AccountId) -> String {
    let terms = front.registrar.settings().terms.clone().unwrap_or_default();
    let tag = hmac::sign(&front.capabilities.0, &Capabilities::message(account, &terms));
    front.links.to(&format!("{PATH}/{account}/{}", base64url::encode(tag)))
}

/// Finds the terms that a URL is about, if the URL is one that was handed out.
fn terms_of(front: &AcmeFront, account: &str, token: &str) -> Result<(AccountId, String), Trouble> {
    let gone = || Problem::malformed("There is no such page: place an order again for a new link.").with_status(404);
    let account: AccountId = account.parse().map_err(|_| gone())?;
    let terms = front.registrar.settings().terms.clone().ok_or_else(gone)?;
    match front.capabilities.holds(account, &terms, token) {
        true => Ok((account, terms)),
        false => Err(gone().into()),
    }
}

pub(super) async fn show(State(front): Shared, Path((account, token)): Path<(String, String)>) -> Answer {
    let (_, url) = terms_of(&front, &account, &token)?;
    let url = escape(&url);
    Ok(page(&format!(
        "<p>This certificate authority has new terms of service: <a href=\"{url}\">{url}</a></p>\
         <form method=\"post\"><button>I agree to these terms</button></form>"
    )))
}

pub(super) async fn agree(State(front): Shared, Path((account, token)): Path<(String, String)>) -> Answer {
    let (account, _) = terms_of(&front, &account, &token)?;
    front
        .registrar
        .agree_to_terms(account)
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
