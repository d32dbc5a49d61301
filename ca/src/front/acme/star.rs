//! The present certificate of an order that is renewed (RFC 8739 sections 3.3 and 3.4): one URL, its content rolls on.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::{
    AcmeFront, Answer, Shared,
    certificates::{chain_response, no_certificate, prefers_der},
    id, insert,
};
use crate::{
    model::{AccountId, OrderId},
    registrar::StarCertificate,
};

const CERT_NOT_BEFORE: HeaderName = HeaderName::from_static("cert-not-before");
const CERT_NOT_AFTER: HeaderName = HeaderName::from_static("cert-not-after");

pub(super) async fn show(State(front): Shared, Path(order): Path<String>, request: Request) -> Answer {
    signed(&front, &order, 0, request).await
}

pub(super) async fn show_alternate(
    State(front): Shared,
    Path((order, position)): Path<(String, String)>,
    request: Request,
) -> Answer {
    signed(&front, &order, alternate(&position)?, request).await
}

pub(super) async fn show_unsigned(State(front): Shared, Path(order): Path<String>, headers: HeaderMap) -> Answer {
    unsigned(&front, &order, 0, &headers).await
}

pub(super) async fn show_alternate_unsigned(
    State(front): Shared,
    Path((order, position)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    unsigned(&front, &order, alternate(&position)?, &headers).await
}

fn alternate(text: &str) -> Result<usize, crate::front::problem::Trouble> {
    match id(text)? {
        0 => Err(no_certificate()),
        position => Ok(position),
    }
}

async fn signed(front: &AcmeFront, order: &str, position: usize, request: Request) -> Answer {
    let wants_der = prefers_der(request.headers());
    let signed = front.open_by_account(request).await?;
    signed.require_post_as_get()?;
    let order = id(order)?;
    let found = find(front, order, Some(signed.account.id)).await?;
    let mut response = front.star_response(order, &found.ok_or_else(no_certificate)?, position, wants_der)?;
    // What an account fetches is nobody else's to keep.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Answers an unsigned request where both sides allow it, and as everywhere else where they do not (RFC 8555 section 6.3);
/// nobody learns from the answer whether there is such an order.
async fn unsigned(front: &AcmeFront, order: &str, position: usize, headers: &HeaderMap) -> Answer {
    let refused = || (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    let Ok(order) = order.parse::<OrderId>() else {
        return Ok(refused());
    };
    let Some(found) = find(front, order, None).await? else {
        return Ok(refused());
    };
    let mut response = front.star_response(order, &found, position, prefers_der(headers))?;
    let now = front.registrar.now();
    let seconds = found.fresh_until.as_second().saturating_sub(now.as_second()).max(0);
    let headers = response.headers_mut();
    // A cache has to ask again when the next one is expected, and never keeps it beyond its end (RFC 8739 section 4.3).
    insert(
        headers,
        header::CACHE_CONTROL,
        &format!("public, max-age={seconds}, no-transform, must-revalidate"),
    );
    insert_date(headers, header::EXPIRES, found.fresh_until);
    Ok(response)
}

async fn find(
    front: &AcmeFront,
    order: OrderId,
    asker: Option<AccountId>,
) -> Result<Option<StarCertificate>, crate::front::problem::Trouble> {
    let found = front.registrar.star_certificate(order, asker).await;
    found.map_err(|refusal| front.trouble(refusal))
}

impl AcmeFront {
    fn star_response(&self, order: OrderId, found: &StarCertificate, position: usize, wants_der: bool) -> Answer {
        let certificate = &found.certificate;
        let leaf = certificate.der().ok_or_else(no_certificate)?.to_vec();
        let mut response = chain_response(self, leaf, position, wants_der, |position| match position {
            0 => self.links.star_certificate(order),
            other => self.links.star_alternate(order, other),
        })?;
        let headers: &mut HeaderMap = response.headers_mut();
        insert_date(headers, CERT_NOT_BEFORE, certificate.not_before);
        insert_date(headers, CERT_NOT_AFTER, certificate.not_after);
        Ok::<Response, _>(response)
    }
}

fn insert_date(headers: &mut HeaderMap, name: HeaderName, time: Timestamp) {
    // Only years that no certificate has cannot be written.
    if let Ok(text) = DateTimePrinter::new().timestamp_to_rfc9110_string(&time) {
        insert(headers, name, &text);
    }
}
