//! HTTP: one bounded exchange at a time, over TLS unless the caller fetches a signed status object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, Result};

/// How the client names itself (RFC 8555 section 6.1).
pub const USER_AGENT: &str = concat!("sigillo/", env!("CARGO_PKG_VERSION"));

/// How long name resolution, TCP and TLS may take together: longer than three lost SYNs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one exchange may take; some servers sign before they answer `finalize`.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(90);
/// The largest answer of an ACME server that is read: a chain of several certificates is far below.
pub const ACME_BODY_MAX: usize = 1024 * 1024;
/// How many idle connections to one origin are kept.
const IDLE_MAX: usize = 2;

/// Whom the client trusts to speak for a server.
#[derive(Clone)]
pub enum Trust {
    /// What the operating system trusts.
    System,
    /// These roots alone.
    Roots(Vec<CertificateDer<'static>>),
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute URL.
    pub url: String,
    /// The body's type, when there is a body.
    pub content_type: Option<&'static str>,
    /// What the answer should be.
    pub accept: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
    /// The largest body that is read from the answer.
    pub body_max: usize,
}

impl Request {
    /// Makes a request without a body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            content_type: None,
            accept: None,
            body: Vec::new(),
            body_max: ACME_BODY_MAX,
        }
    }

    /// Makes a GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// Makes a POST.
    pub fn post(url: impl Into<String>, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            content_type: Some(content_type),
            body,
            ..Self::new(Method::POST, url)
        }
    }

    /// Sets the largest body that is read.
    #[must_use]
    pub fn body_max(mut self, octets: usize) -> Self {
        self.body_max = octets;
        self
    }
}

/// What came back, whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// Returns a header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns every value of a header field that is text.
    pub fn header_all(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    }

    /// Returns the body's media type without parameters, lower-cased.
    pub fn media_type(&self) -> Option<String> {
        let value = self.header(header::CONTENT_TYPE.as_str())?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

/// Sends requests; cheap to clone, the clones share connections.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    tls: Arc<rustls::ClientConfig>,
    trust: Trust,
    idle: Mutex<HashMap<Origin, Vec<Connection>>>,
}

type Connection = SendRequest<Full<Bytes>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    /// Makes a transport that trusts whom it is told to.
    ///
    /// # Errors
    /// When the system's roots cannot be read, or a given root is no certificate.
    pub fn new(trust: Trust) -> Result<Self> {
        let tls = tls_config(&trust)?;
        let idle = Mutex::new(HashMap::new());
        Ok(Self {
            inner: Arc::new(Inner {
                tls: Arc::new(tls),
                trust,
                idle,
            }),
        })
    }

    /// Returns whom this transport trusts.
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    /// Sends a request over HTTPS; any other scheme is refused (RFC 8555 section 6.1).
    ///
    /// # Errors
    /// When the URL is not https, the server cannot be reached or trusted, or a bound is passed.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let (origin, uri) = parse(&request.url)?;
        if !origin.tls {
            return Err(Error::server(
                format!("cannot use {}", request.url),
                "ACME is spoken over https only",
            ));
        }
        self.exchange(origin, uri, request).await
    }

    /// Sends a request over HTTP or HTTPS, for objects that carry a signature of their own.
    ///
    /// # Errors
    /// As [`Transport::send`], but `http` is allowed.
    pub async fn fetch(&self, request: Request) -> Result<Response> {
        let (origin, uri) = parse(&request.url)?;
        self.exchange(origin, uri, request).await
    }

    async fn exchange(&self, origin: Origin, uri: Uri, request: Request) -> Result<Response> {
        let what = format!("cannot reach {}", request.url);
        let exchange = self.exchange_unbounded(&origin, &uri, &request);
        match tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(why)) => Err(Error::network(what, why)),
            Err(_) => {
                let seconds = EXCHANGE_TIMEOUT.as_secs();
                Err(Error::network(what, format!("no whole answer within {seconds} s")))
            }
        }
    }

    async fn exchange_unbounded(
        &self,
        origin: &Origin,
        uri: &Uri,
        request: &Request,
    ) -> std::result::Result<Response, String> {
        // A kept connection may have been closed by the server meanwhile. What was then certainly
        // not sent is sent again on a fresh one; anything else is for the caller to decide.
        let mut message = build(origin, uri, request)?;
        while let Some(mut kept) = self.take_idle(origin) {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.try_send_request(message).await {
                Ok(response) => return self.read(origin, kept, response, request.body_max).await,
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => message = unsent,
                    None => {
                        message = build(origin, uri, request)?;
                        if request.method != Method::POST {
                            continue;
                        }
                        // A POST's nonce may be spent: the server then says badNonce, which the
                        // session handles, so that one more try is safe.
                        break;
                    }
                },
            }
        }
        let mut fresh = self.connect(origin).await?;
        fresh.ready().await.map_err(|e| reason(&e))?;
        let response = fresh.send_request(message).await.map_err(|e| reason(&e))?;
        self.read(origin, fresh, response, request.body_max).await
    }

    fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = idle.get_mut(origin)?;
        while let Some(connection) = kept.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn read(
        &self,
        origin: &Origin,
        connection: Connection,
        response: hyper::Response<hyper::body::Incoming>,
        body_max: usize,
    ) -> std::result::Result<Response, String> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, body_max).collect().await.map_err(|e| {
            if e.is::<http_body_util::LengthLimitError>() {
                format!("the answer is larger than {body_max} octets")
            } else {
                e.to_string()
            }
        })?;
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = idle.entry(origin.clone()).or_default();
        if kept.len() < IDLE_MAX && !connection.is_closed() {
            kept.push(connection);
        }
        Ok(Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    async fn connect(&self, origin: &Origin) -> std::result::Result<Connection, String> {
        let connecting = async {
            let tcp = TcpStream::connect((origin.host.as_str(), origin.port))
                .await
                .map_err(|e| format!("cannot connect to {}:{}: {e}", origin.host, origin.port))?;
            tcp.set_nodelay(true).map_err(|e| e.to_string())?;
            if !origin.tls {
                return handshake(TokioIo::new(tcp)).await;
            }
            let name =
                ServerName::try_from(origin.host.clone()).map_err(|_| format!("{} is no host name", origin.host))?;
            let tls = TlsConnector::from(self.inner.tls.clone());
            let stream = tls.connect(name, tcp).await.map_err(|e| tls_reason(&e))?;
            handshake(TokioIo::new(stream)).await
        };
        let seconds = CONNECT_TIMEOUT.as_secs();
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| format!("no connection within {seconds} s"))?
    }
}

async fn handshake<T>(io: T) -> std::result::Result<Connection, String>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|e| reason(&e))?;
    tokio::spawn(async move {
        // The exchange that suffers from an error reports it; the task has nobody to tell.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(sender)
}

fn parse(url: &str) -> Result<(Origin, Uri)> {
    let bad = |why: &str| Error::server(format!("cannot use the URL {url:?}"), why);
    let uri: Uri = url.parse().map_err(|_| bad("it is not a URL"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(bad("its scheme is neither https nor http")),
    };
    let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("it holds credentials"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(bad("it names no host"));
    }
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok((
        Origin {
            tls,
            host: host.to_ascii_lowercase(),
            port,
        },
        uri,
    ))
}

fn build(origin: &Origin, uri: &Uri, request: &Request) -> std::result::Result<hyper::Request<Full<Bytes>>, String> {
    let authority = uri.authority().map_or(origin.host.as_str(), |a| a.as_str());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut message = hyper::Request::builder()
        .method(request.method.clone())
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
    if let Some(accept) = request.accept {
        message = message.header(header::ACCEPT, accept);
    }
    if let Some(content_type) = request.content_type {
        message = message.header(header::CONTENT_TYPE, content_type);
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    message.body(body).map_err(|e| e.to_string())
}

fn tls_config(trust: &Trust) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::local("cannot set up TLS", e))?;
    let mut config = match trust {
        Trust::System => builder
            .with_platform_verifier()
            .map_err(|e| Error::local("cannot read the system's trusted roots", e))?
            .with_no_client_auth(),
        Trust::Roots(roots) => {
            let mut store = rustls::RootCertStore::empty();
            for root in roots {
                store
                    .add(root.clone())
                    .map_err(|e| Error::local("cannot use a trusted root", e))?;
            }
            builder.with_root_certificates(store).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns an error with what caused it: hyper's own words alone rarely help.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn tls_reason(error: &std::io::Error) -> String {
    let text = reason(error);
    if text.contains("UnknownIssuer") {
        format!("{text} (is --ca-root missing or another CA's?)")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_http_is_refused_for_acme() {
        let transport = Transport::new(Trust::Roots(Vec::new())).unwrap();
        for url in [
            "http://127.0.0.1:1/directory",
            "ftp://a/",
            "https://u:p@a/",
            "https:///x",
            "x",
        ] {
            let error = transport.send(Request::get(url)).await.unwrap_err();
            assert!(matches!(error, Error::Server { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets() {
        let (origin, _) = parse("https://[::1]:14000/dir").unwrap();
        assert_eq!(
            origin,
            Origin {
                tls: true,
                host: "::1".into(),
                port: 14000
            }
        );
    }
}
