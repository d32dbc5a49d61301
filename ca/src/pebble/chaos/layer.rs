//! Carries faults out, in front of the ACME resources.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value, json};
use sigillo_protocol::base64url;

use super::{
    broken,
    engine::{Chaos, Strike},
    rewrite,
    rule::{Fault, RetryAfter, Target},
};
use crate::pebble::{Behind, fronts::PATHS};

/// The largest request that is looked into; the front takes none that is larger.
const REQUEST_MAX: usize = 64 * 1024;

/// The largest answer that is looked into: a page of orders or a long chain is far from it.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A nonce that no mint has made: what a refused one becomes on its way to the front.
const NO_NONCE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

struct Layer {
    chaos: Arc<Chaos>,
    behind: Arc<Behind>,
}

/// Builds the layer before what is behind it.
pub(in crate::pebble) fn router(chaos: Arc<Chaos>, behind: Arc<Behind>) -> Router {
    Router::new()
        .fallback(pass)
        .with_state(Arc::new(Layer { chaos, behind }))
}

/// What is being asked for, for the log and the memory.
struct Asked {
    method: Method,
    path: String,
}

async fn pass(State(layer): State<Arc<Layer>>, request: Request) -> Response {
    let asked = Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
    };
    let strikes = layer.chaos.draw(Target::of(&asked.path), &asked.method);
    let request = match layer.before(&asked, &strikes, request).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let mut response = layer.behind.answer(request).await;
    response = layer.rewritten(&asked, &strikes, response).await;
    layer.after(&asked, &strikes, response).await
}

impl Layer {
    /// Waits, refuses, or lets the request through; perhaps with a nonce that will be refused.
    async fn before(&self, asked: &Asked, strikes: &[Strike], request: Request) -> Result<Request, Response> {
        for strike in strikes {
            match &strike.fault {
                Fault::Delay(..) => {
                    tell(strike, asked);
                    tokio::time::sleep(strike.delay).await;
                }
                Fault::Drop => {
                    tell(strike, asked);
                    return Err(Response::new(broken::at_once()));
                }
                Fault::Html => {
                    tell(strike, asked);
                    return Err(proxy_page());
                }
                Fault::Status {
                    status,
                    kind,
                    retry_after,
                } => {
                    tell(strike, asked);
                    let (parts, _) = request.into_parts();
                    return Err(self.refusal(&parts, *status, kind, *retry_after).await);
                }
                _ => {}
            }
        }
        Ok(self.doubt_nonce(asked, strikes, request).await)
    }

    /// Makes a nonce one that is refused, where a rule wants that; the front then refuses it as it refuses any.
    async fn doubt_nonce(&self, asked: &Asked, strikes: &[Strike], request: Request) -> Request {
        let strike = strikes.iter().find(|strike| strike.fault == Fault::RejectNonce);
        if asked.method != Method::POST || (strike.is_none() && !self.chaos.has_refused()) {
            return request;
        }
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, REQUEST_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            // Too large or broken off: what comes through is refused by the front for the same reason.
            Err(_) => return Request::from_parts(parts, Body::from(vec![b' '; REQUEST_MAX + 1])),
        };
        let refused = nonce_of(&body).filter(|nonce| self.chaos.refuses(nonce, strike.is_some()));
        let changed = refused.and_then(|_| with_nonce(&body, NO_NONCE));
        if let (Some(_), Some(strike)) = (&changed, strike) {
            tell(strike, asked);
        }
        Request::from_parts(parts, changed.map_or_else(|| Body::from(body), Body::from))
    }

    /// A problem document, with the headers that the front gives its own.
    async fn refusal(&self, to: &Parts, status: u16, kind: &str, wait: Option<RetryAfter>) -> Response {
        let problem = json!({
            "type": format!("urn:ietf:params:acme:error:{kind}"),
            "detail": "Refused by a rule of this test server.",
            "status": status,
        });
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(Ok(wait)) = wait.map(|wait| HeaderValue::from_str(&self.chaos.wait(wait))) {
            headers.insert(header::RETRY_AFTER, wait);
        }
        let fresh = self.behind.answer(nonce_request(to)).await;
        for name in [REPLAY_NONCE, header::LINK] {
            for value in fresh.headers().get_all(&name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        response
    }

    /// Changes what a JSON answer says.
    async fn rewritten(&self, asked: &Asked, strikes: &[Strike], response: Response) -> Response {
        let wanted = |strike: &&Strike| {
            matches!(
                strike.fault,
                Fault::Shuffle | Fault::Unknown | Fault::UnknownChallenge | Fault::Show(..)
            )
        };
        let strikes: Vec<&Strike> = strikes.iter().filter(wanted).collect();
        if strikes.is_empty() || !response.status().is_success() || !is_json(response.headers()) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, ANSWER_MAX).await else {
            return Response::from_parts(parts, broken::at_once());
        };
        let Ok(Value::Object(mut object)) = serde_json::from_slice(&body) else {
            return Response::from_parts(parts, Body::from(body));
        };
        for strike in strikes {
            self.rewrite(asked, strike, &mut object, &mut parts.headers);
        }
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(Value::Object(object).to_string()))
    }

    fn rewrite(&self, asked: &Asked, strike: &Strike, object: &mut Map<String, Value>, headers: &mut HeaderMap) {
        match &strike.fault {
            Fault::Shuffle => self.chaos.with_dice(|dice| rewrite::shuffle(object, dice)),
            Fault::Unknown => rewrite::add_unknown(object),
            Fault::UnknownChallenge => rewrite::add_unknown_challenge(object),
            Fault::Show(shown, _) => {
                let resource = asked.path.trim_end_matches("/finalize");
                if !rewrite::changes(object, *shown) || !self.chaos.shows(strike, resource) {
                    return;
                }
                rewrite::show(object, *shown);
                headers
                    .entry(header::RETRY_AFTER)
                    .or_insert(HeaderValue::from_static("1"));
            }
            _ => return,
        }
        tell(strike, asked);
    }

    /// Changes headers, and breaks what is broken on the way back.
    async fn after(&self, asked: &Asked, strikes: &[Strike], mut response: Response) -> Response {
        for strike in strikes {
            match &strike.fault {
                Fault::RetryAfter(wait) if response.headers().contains_key(header::RETRY_AFTER) => {
                    if let Ok(wait) = HeaderValue::from_str(&self.chaos.wait(*wait)) {
                        response.headers_mut().insert(header::RETRY_AFTER, wait);
                    }
                }
                Fault::Omit(name) if response.headers().contains_key(name) => {
                    response.headers_mut().remove(name);
                }
                Fault::Lose => response = Response::new(broken::at_once()),
                Fault::Cut | Fault::Truncate => {
                    response = halved(response, strike.fault == Fault::Cut).await;
                }
                _ => continue,
            }
            tell(strike, asked);
        }
        response
    }
}

/// One line for each fault; what every answer has by itself is no news.
fn tell(strike: &Strike, asked: &Asked) {
    let (rule, method, path) = (&strike.text, &asked.method, &asked.path);
    let usual = strike.built_in && strike.fault != Fault::RejectNonce;
    if usual {
        tracing::debug!(rule, %method, path, "chaos");
    } else {
        tracing::info!(rule, %method, path, "chaos");
    }
}

async fn halved(response: Response, breaks_off: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_MAX).await else {
        return Response::from_parts(parts, broken::at_once());
    };
    let half = body.slice(..body.len() / 2);
    if !breaks_off {
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::from(half));
    }
    // The whole length is promised, so that everybody can tell that something is missing.
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(parts, broken::after(half))
}

fn proxy_page() -> Response {
    let page = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body>\n</html>\n";
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    let kind = HeaderValue::from_static("text/html");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Asks for a nonce under the name that a request came for.
fn nonce_request(like: &Parts) -> Request {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::HEAD;
    let host = match like.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => like.headers.get(header::HOST).cloned(),
    };
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = axum::http::Uri::from_static(PATHS.new_nonce);
    request
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim() == "application/json")
    })
}

fn protected_of(jws: &Map<String, Value>) -> Option<Map<String, Value>> {
    let octets = base64url::decode(jws.get("protected")?.as_str()?).ok()?;
    serde_json::from_slice(&octets).ok()
}

fn nonce_of(body: &Bytes) -> Option<String> {
    let jws: Map<String, Value> = serde_json::from_slice(body).ok()?;
    Some(protected_of(&jws)?.get("nonce")?.as_str()?.to_owned())
}

fn with_nonce(body: &Bytes, nonce: &str) -> Option<Vec<u8>> {
    let mut jws: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let mut protected = protected_of(&jws)?;
    protected.insert("nonce".to_owned(), json!(nonce));
    let text = base64url::encode(Value::Object(protected).to_string());
    jws.insert("protected".to_owned(), json!(text));
    Some(Value::Object(jws).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nonce_of_a_request_is_changed() {
        let protected = base64url::encode(r#"{"alg":"ES256","nonce":"abc","url":"u"}"#);
        let body = Bytes::from(json!({ "protected": protected, "payload": "", "signature": "s" }).to_string());
        assert_eq!(nonce_of(&body).as_deref(), Some("abc"));
        let changed = Bytes::from(with_nonce(&body, NO_NONCE).unwrap());
        assert_eq!(nonce_of(&changed).as_deref(), Some(NO_NONCE));
        let jws: Map<String, Value> = serde_json::from_slice(&changed).unwrap();
        assert_eq!(jws["signature"], "s");
        assert_eq!(protected_of(&jws).unwrap()["url"], "u");
        assert_eq!(nonce_of(&Bytes::from_static(b"{}")), None);
    }
}
