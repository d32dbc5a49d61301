//! A small HTTP/1.1 client of the suite's own: it can send what a sound client never sends, and shows what came back unchanged.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use crate::case::{Finding, Judgement};

/// Longer answers are cut off: the largest honest one is a CRL.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A target that says nothing for this long does not answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A summary tells so much of a body; the evidence has the whole.
const EXCERPT_MAX: usize = 240;

/// An absolute URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, beginning with a slash.
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if scheme == "https" { 443 } else { 80 }),
        };
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        (!host.is_empty()).then(|| Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// Scheme, host and port as a prefix of URLs.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority())
    }

    /// Host and port as the Host header shows them.
    pub(crate) fn authority(&self) -> String {
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The media type without parameters, in lower case.
    pub(crate) fn media_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Judgement<Value> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Finding::Fail(format!("the body is not JSON ({error}): {}", self.summary())))
    }

    /// The problem type without the ACME namespace, empty if there is none.
    pub(crate) fn problem(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let kind = body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:ietf:params:acme:error:")
            .unwrap_or(kind)
            .to_owned()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status)
    }

    /// Targets of Link headers with this relation.
    pub(crate) fn links(&self, relation: &str) -> Vec<String> {
        self.headers_named("link")
            .filter_map(|field| crate::read::link::parse(field).ok())
            .flatten()
            .filter(|link| link.relations.iter().any(|known| known.eq_ignore_ascii_case(relation)))
            .map(|link| link.target)
            .collect()
    }

    /// Status and what the body comes to, for reports: type and detail of a problem, an excerpt of anything else.
    pub(crate) fn summary(&self) -> String {
        let text = match serde_json::from_slice::<Value>(&self.body) {
            Ok(body) if body["type"].is_string() && body["detail"].is_string() => {
                format!("{} {}", body["type"].as_str().unwrap_or_default(), body["detail"])
            }
            Ok(body) => body.to_string(),
            Err(_) => self.text(),
        };
        let readable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let excerpt: String = readable.take(EXCERPT_MAX).collect();
        let cut = if excerpt.len() < text.len() { "..." } else { "" };
        format!("{} {excerpt}{cut}", self.status).trim_end().to_owned()
    }
}

/// Sends requests, each on a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    tls: Arc<ClientConfig>,
}

impl Client {
    /// A client that trusts these anchors, or the platform's where none are given.
    pub(crate) fn new(anchors_pem: Option<&[u8]>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let tls = match anchors_pem {
            Some(pem) => {
                let mut anchors = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|error| format!("the trust anchors: {error}"))?;
                    anchors
                        .add(certificate)
                        .map_err(|error| format!("the trust anchors: {error}"))?;
                }
                builder.with_root_certificates(anchors).with_no_client_auth()
            }
            None => {
                use rustls_platform_verifier::BuilderVerifierExt;
                builder
                    .with_platform_verifier()
                    .map_err(|error| error.to_string())?
                    .with_no_client_auth()
            }
        };
        Ok(Self { tls: Arc::new(tls) })
    }

    /// Sends the request and reads the whole answer.
    pub(crate) fn send(&self, request: &Request) -> Result<Answer, String> {
        self.exchange(request)
            .map_err(|why| format!("{} {}: {why}", request.method, request.url))
    }

    fn exchange(&self, request: &Request) -> Result<Answer, String> {
        self.open(&request.url)?.send(request)
    }

    /// A connection that is ready to send, its handshake done.
    pub(crate) fn open(&self, url: &str) -> Result<Connection, String> {
        let url = Url::parse(url).ok_or("not an absolute URL")?;
        let mut stream = connect(&url)?;
        if url.scheme == "http" {
            return Ok(Connection {
                url,
                stream: Box::new(stream),
            });
        }
        let name = ServerName::try_from(url.host.trim_matches(['[', ']']).to_owned()).map_err(|e| e.to_string())?;
        let mut connection = ClientConnection::new(self.tls.clone(), name).map_err(|error| error.to_string())?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
        }
        let stream = Box::new(StreamOwned::new(connection, stream));
        Ok(Connection { url, stream })
    }
}

/// A stream to a target.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An open connection; it serves one request.
pub(crate) struct Connection {
    url: Url,
    stream: Box<dyn Stream>,
}

impl Connection {
    pub(crate) fn send(mut self, request: &Request) -> Result<Answer, String> {
        converse(&mut self.stream, &head(request, &self.url), request)
    }
}

/// A TCP connection with the suite's patience.
pub(crate) fn connect(url: &Url) -> Result<TcpStream, String> {
    let host = url.host.trim_matches(['[', ']']);
    let addresses = (host, url.port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, SILENCE_MAX) {
            Ok(stream) => {
                stream
                    .set_read_timeout(Some(SILENCE_MAX))
                    .map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

fn head(request: &Request, url: &Url) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, url.path);
    let given = |name: &str| {
        request
            .headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    for (name, value) in &request.headers {
        line(name, value);
    }
    if !given("host") {
        line("Host", &url.authority());
    }
    if !given("user-agent") {
        line("User-Agent", concat!("sigillo-conformance/", env!("CARGO_PKG_VERSION")));
    }
    if let (Some(body), false) = (&request.body, given("content-length")) {
        line("Content-Length", &body.len().to_string());
    }
    line("Connection", "close");
    head.push_str("\r\n");
    head.into_bytes()
}

fn converse(stream: &mut (impl Read + Write), head: &[u8], request: &Request) -> Result<Answer, String> {
    let body = request.body.as_deref().unwrap_or_default();
    // A target may answer and close before it has read a body it does not want.
    let _ = stream.write_all(&[head, body].concat());
    let _ = stream.flush();
    let mut bytes = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes) {
        // Many servers end TLS without close_notify; the lengths below tell whether all is there.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof && bytes.is_empty() => return Err(error.to_string()),
        _ => {}
    }
    parse(&bytes, request.method == "HEAD")
}

fn parse(bytes: &[u8], headless: bool) -> Result<Answer, String> {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("no complete answer came")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the answer's head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or("no status line")?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let rest = &bytes[end + 4..];
    if (100..200).contains(&status) {
        return parse(rest, headless);
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    if headless || status == 204 || status == 304 {
        answer.body = if headless { Vec::new() } else { rest.to_vec() };
        return Ok(answer);
    }
    let chunked = answer
        .header("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    answer.body = match answer.header("content-length").map(str::parse::<usize>) {
        _ if chunked => dechunk(rest)?,
        Some(Ok(length)) => rest
            .get(..length)
            .ok_or("the body is shorter than its Content-Length")?
            .to_vec(),
        Some(Err(_)) => return Err("an unreadable Content-Length".into()),
        None => rest.to_vec(),
    };
    Ok(answer)
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .ok_or("a chunk without its size")?;
        let size = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| "an unreadable chunk size")?;
        let after = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(after.get(..size).ok_or("a chunk was cut off")?);
        rest = after.get(size + 2..).ok_or("a chunk was cut off")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let url = Url::parse("https://ca.example:9443/acme/new?x=1").expect("a URL");
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("ca.example", 9443, "/acme/new?x=1")
        );
        assert_eq!(Url::parse("http://[::1]/").expect("a URL").host, "[::1]");
        assert_eq!(Url::parse("/relative"), None);
    }

    #[test]
    fn puts_chunks_together() {
        let answer = parse(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            false,
        );
        assert_eq!(answer.expect("sound").body, b"abcde");
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false).is_err());
    }
}
