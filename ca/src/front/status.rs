//! The plain-HTTP service of relying parties: OCSP, CRLs and the certificates to check them with. Nothing else.

mod body;
mod caching;
mod connections;
mod files;
mod log;
mod patience;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, sync::Arc, task::Poll, time::Duration};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use jiff::Timestamp;

pub use body::ResponseBody;
pub use connections::{CONNECTIONS_MAX_DEFAULT, serve};
pub use files::{FilesError, IssuerFiles, StatusFiles};

use self::{
    caching::{Caching, Validators, is_unchanged, stamp, write_expiry, write_max_age},
    files::Resource,
};
use crate::{
    clock::SharedClock,
    notary::Notary,
    status::{Answer, ErrorStatus, PublishedCrl, REQUEST_OCTETS_MAX, Reply, StatusService, error_reply},
};

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const OCSP_REQUEST: &str = "application/ocsp-request";
const OCSP_RESPONSE: &str = "application/ocsp-response";
const OCSP_PATH: &str = "/ocsp";

/// Standard base64 with or without its padding, as some clients leave it out; nothing else is let through.
const GET_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is served to relying parties.
pub struct StatusFront {
    service: Arc<StatusService>,
    files: StatusFiles,
    log: Option<Arc<Notary>>,
    clock: SharedClock,
}

/// Where a path leads.
enum Route<'a> {
    /// To the responder, by POST.
    Ocsp,
    /// To the responder, by GET, with what follows the base.
    OcspGet(&'a str),
    /// To the audit log, with what follows the base.
    Log(&'a Arc<Notary>, &'a str),
    /// To a file.
    File(Resource<'a>),
    /// Nowhere.
    Nowhere,
}

impl StatusFront {
    /// Serves a node's status services and some files.
    pub fn new(service: Arc<StatusService>, files: StatusFiles, clock: SharedClock) -> Self {
        Self {
            service,
            files,
            log: None,
            clock,
        }
    }

    /// Serves the audit log's public side too.
    #[must_use]
    pub fn with_log(mut self, log: Option<Arc<Notary>>) -> Self {
        self.log = log;
        self
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Never; what goes wrong is an answer too.
    pub async fn handle<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, Infallible>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let head = request.method() == Method::HEAD;
        let mut response = self.answer(request).await;
        stamp(response.headers_mut(), self.clock.now());
        if head {
            *response.body_mut() = ResponseBody::default();
        }
        Ok(response)
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        // The bytes of the path stay as they are: base64 may hold two slashes in a row.
        let path = parts
            .uri
            .path_and_query()
            .map_or("/", hyper::http::uri::PathAndQuery::as_str);
        match (self.route(path), &parts.method) {
            (Route::Nowhere, _) => plain(StatusCode::NOT_FOUND, "not found"),
            (Route::Ocsp, &Method::POST) => self.ocsp_post(&parts.headers, body).await,
            (Route::Ocsp, &Method::GET | &Method::HEAD) => self.ocsp(b"", &parts.headers).await,
            (Route::Ocsp, _) => not_allowed("GET, HEAD, POST"),
            (Route::OcspGet(encoded), &Method::GET | &Method::HEAD) => self.ocsp_get(encoded, &parts.headers).await,
            (Route::File(resource), &Method::GET | &Method::HEAD) => self.file(resource, &parts.headers),
            (Route::Log(notary, rest), &Method::GET | &Method::HEAD) => {
                log::answer(notary, rest, &parts.headers, self.clock.now()).await
            }
            (Route::OcspGet(_) | Route::Log(..) | Route::File(_), _) => not_allowed("GET, HEAD"),
        }
    }

    fn route<'a>(&'a self, path: &'a str) -> Route<'a> {
        if let Some(rest) = path.strip_prefix(OCSP_PATH) {
            return match rest.strip_prefix('/') {
                None if rest.is_empty() => Route::Ocsp,
                None => Route::Nowhere,
                Some("") => Route::Ocsp,
                // A base URL that ends in a slash brings another one. No request's base64 begins with a slash:
                // a SEQUENCE begins with an M.
                Some(encoded) => Route::OcspGet(encoded.strip_prefix('/').unwrap_or(encoded)),
            };
        }
        if let (Some(notary), Some(rest)) = (&self.log, path.strip_prefix(log::PREFIX)) {
            return Route::Log(notary, rest);
        }
        self.files.find(path).map_or(Route::Nowhere, Route::File)
    }

    async fn ocsp_post<B>(&self, headers: &HeaderMap, body: B) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !is_ocsp_request(headers) {
            return plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the content type has to be application/ocsp-request",
            );
        }
        if body.size_hint().lower() > REQUEST_OCTETS_MAX as u64 {
            return too_large();
        }
        let limited = std::pin::pin!(Limited::new(body, REQUEST_OCTETS_MAX));
        let mut collecting = std::pin::pin!(limited.collect());
        // Nearly always the body came with the headers: then no timer is needed.
        let collected = match soon(collecting.as_mut()).await {
            Some(collected) => Ok(collected),
            None => tokio::time::timeout(BODY_TIMEOUT, collecting).await,
        };
        match collected {
            Ok(Ok(collected)) => self.ocsp(&collected.to_bytes(), headers).await,
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => too_large(),
            Ok(Err(_)) => closing(plain(StatusCode::BAD_REQUEST, "the body broke off")),
            Err(_) => closing(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        }
    }

    async fn ocsp_get(&self, encoded: &str, headers: &HeaderMap) -> Response<ResponseBody> {
        match percent_decoded(encoded).and_then(|text| GET_BASE64.decode(text).ok()) {
            Some(request) => self.ocsp(&request, headers).await,
            None => ocsp_error(ErrorStatus::MalformedRequest),
        }
    }

    async fn ocsp(&self, request: &[u8], headers: &HeaderMap) -> Response<ResponseBody> {
        let answer = match self.service.ocsp().answer(request).await {
            Reply::Answer(answer) => answer,
            Reply::Error(status) => return ocsp_error(status),
        };
        let now = self.clock.now();
        let mut response = if let Some(etag) = &answer.etag
            && is_unchanged(headers, &validators(etag, &answer))
        {
            let mut response = Response::new(ResponseBody::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(answer.der.clone().into())
        };
        *response.headers_mut() = answer.headers.get_or_init(|| lasting_headers(&answer)).clone();
        if response.status() == StatusCode::NOT_MODIFIED {
            response.headers_mut().remove(CONTENT_TYPE);
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        write_max_age(response.headers_mut(), answer.refresh_at, now);
        response
    }

    fn file(&self, resource: Resource<'_>, headers: &HeaderMap) -> Response<ResponseBody> {
        let now = self.clock.now();
        match resource {
            Resource::Fixed(file) => {
                let validators = Validators {
                    etag: &file.etag,
                    modified: file.modified,
                };
                found(
                    headers,
                    file.content_type,
                    file.body.clone().into(),
                    validators,
                    Caching::For(files::MAX_AGE),
                    now,
                )
            }
            Resource::Crl(issuer) => match self.service.publisher().current(issuer) {
                Some(crl) => published(headers, &crl, now),
                None => unavailable("there is no CRL yet"),
            },
            Resource::DeltaCrl(issuer) => match self.service.publisher().current_delta(issuer) {
                Some(crl) => published(headers, &crl, now),
                None => plain(StatusCode::NOT_FOUND, "there are no delta CRLs"),
            },
            Resource::FixedCrl(crl) => {
                let times = (crl.this_update, crl.next_update);
                crl_found(headers, crl.body.clone().into(), &crl.etag, times, now)
            }
        }
    }
}

fn validators<'a>(etag: &'a str, answer: &Answer) -> Validators<'a> {
    Validators {
        etag,
        modified: answer.this_update,
    }
}

/// What is said about an answer at any time. Room is left for what changes: the date, and how long it may be kept.
fn lasting_headers(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCSP_RESPONSE));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.der.len()));
    if let Some(etag) = &answer.etag {
        validators(etag, answer).write(&mut headers);
    }
    write_expiry(&mut headers, answer.next_update);
    headers
}

fn published(headers: &HeaderMap, crl: &PublishedCrl, now: Timestamp) -> Response<ResponseBody> {
    crl_found(
        headers,
        crl.der.clone().into(),
        &crl.etag,
        (crl.this_update, crl.next_update),
        now,
    )
}

/// A CRL past its nextUpdate helps nobody and must not be kept anywhere.
fn crl_found(
    headers: &HeaderMap,
    der: ResponseBody,
    etag: &str,
    (this_update, next_update): (Timestamp, Timestamp),
    now: Timestamp,
) -> Response<ResponseBody> {
    if next_update <= now {
        tracing::error!(%next_update, "a CRL is past its nextUpdate and is not given out");
        return unavailable("the CRL is out of date");
    }
    let fresh = now
        .checked_add(files::CRL_MAX_AGE)
        .map_or(next_update, |fresh| fresh.min(next_update));
    let validators = Validators {
        etag,
        modified: this_update,
    };
    let caching = Caching::Until { fresh, expires: fresh };
    found(headers, files::PKIX_CRL, der, validators, caching, now)
}

/// Answers with content, or that it is unchanged.
fn found(
    request: &HeaderMap,
    content_type: &'static str,
    body: ResponseBody,
    validators: Validators<'_>,
    caching: Caching,
    now: Timestamp,
) -> Response<ResponseBody> {
    let unchanged = is_unchanged(request, &validators);
    let length = body.len();
    let mut response = Response::new(if unchanged { ResponseBody::default() } else { body });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    validators.write(response.headers_mut());
    caching.write(response.headers_mut(), now);
    response
}

/// An OCSP error is an answer by HTTP's lights, but none to keep.
fn ocsp_error(status: ErrorStatus) -> Response<ResponseBody> {
    refusal(StatusCode::OK, OCSP_RESPONSE, error_reply(status).into())
}

fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    refusal(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn refusal(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<ResponseBody> {
    let length = body.len();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Caching::Never.write(response.headers_mut(), Timestamp::UNIX_EPOCH);
    response
}

fn not_allowed(methods: &'static str) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn unavailable(text: &'static str) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response
        .headers_mut()
        .insert(hyper::header::RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

fn too_large() -> Response<ResponseBody> {
    closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"))
}

/// What is left of the body is not read, so the connection cannot go on.
fn closing(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response
        .headers_mut()
        .insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Gives a future two chances, between which everything else that its task does has one: what is there already is
/// had by then. `None` if it takes longer.
async fn soon<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut again = true;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if again => {
            again = false;
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn is_ocsp_request(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    if value == OCSP_REQUEST {
        return true;
    }
    let essence = value.to_str().ok().and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(OCSP_REQUEST))
}

/// Decodes `%XX`; everything else stays as it is. `None` for a percent sign without two digits.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut octets = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        if octet != b'%' {
            decoded.push(octet);
            continue;
        }
        let mut digit = || char::from(octets.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push((high * 16 + low) as u8);
    }
    Some(decoded)
}
