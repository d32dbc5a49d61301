//! The name server over HTTPS (RFC 8484): the same answers, by POST or GET.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Shared,
    dns::{Transport, respond},
};

/// The media type of questions and answers.
const MEDIA_TYPE: &str = "application/dns-message";

/// The longest question.
const QUESTION_OCTETS_MAX: usize = u16::MAX as usize;

/// Answers questions under every path, as pebble-challtestsrv does.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(move |request: Request| answer(shared.clone(), request))
}

async fn answer(shared: Arc<Shared>, request: Request) -> Response {
    let question = match *request.method() {
        Method::POST => match to_bytes(request.into_body(), QUESTION_OCTETS_MAX).await {
            Ok(body) => body.to_vec(),
            Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        },
        Method::GET => match asked_by_get(request.uri().query().unwrap_or_default()) {
            Some(question) => question,
            None => return (StatusCode::BAD_REQUEST, "the query has no dns=BASE64URL\n").into_response(),
        },
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    match respond(&shared, &question, Transport::Stream) {
        Some(answer) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from(answer)).into_response(),
        None => (StatusCode::BAD_REQUEST, "this is no DNS question\n").into_response(),
    }
}

fn asked_by_get(query: &str) -> Option<Vec<u8>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("dns="))?;
    URL_SAFE_NO_PAD.decode(value).ok()
}
