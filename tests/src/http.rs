//! A plain HTTP/1.1 client that sends exactly the bytes it is given, over TCP or TLS.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// How long one request may take to be connected and between two reads.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The largest answer that is kept (a big CRL fits).
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why there is no answer.
pub type HttpError = Box<dyn std::error::Error + Send + Sync>;

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The fields in their order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The content, with the transfer coding undone.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the first field of a name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null)
    }
}

/// A client: one connection per request, TLS sessions resumed.
#[derive(Debug, Clone)]
pub struct Http {
    tls: Arc<ClientConfig>,
}

impl Http {
    /// Makes a client that trusts the certificates of a PEM file, and nothing else.
    ///
    /// # Panics
    ///
    /// If the file holds none.
    pub fn trusting(roots: &Path) -> Self {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(roots).expect("a file of roots") {
            store.add(certificate.expect("PEM")).expect("a root certificate");
        }
        assert!(!store.is_empty(), "{} holds no certificate", roots.display());
        Self::with(store)
    }

    /// Makes a client for plain HTTP.
    pub fn trusting_nobody() -> Self {
        Self::with(RootCertStore::empty())
    }

    fn with(store: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("invariant: the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(store)
            .with_no_client_auth();
        Self { tls: Arc::new(tls) }
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn get(&self, url: &str) -> Result<Response, HttpError> {
        self.request("GET", url, &[], b"")
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, HttpError> {
        let target = Target::parse(url)?;
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", target.path, target.authority);
        head.push_str("Connection: close\r\nUser-Agent: sigillo-tests\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        let raw = self.exchange(&target, &bytes)?;
        parse(&raw, method)
    }

    /// Sends bytes as they are to the server of a URL and returns what comes back until it closes.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or says nothing at all.
    pub fn raw(&self, url: &str, bytes: &[u8]) -> Result<Vec<u8>, HttpError> {
        self.exchange(&Target::parse(url)?, bytes)
    }

    fn exchange(&self, target: &Target, bytes: &[u8]) -> Result<Vec<u8>, HttpError> {
        let address = target
            .authority_with_port()
            .to_socket_addrs()?
            .next()
            .ok_or("no address")?;
        let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.set_nodelay(true)?;
        if !target.secure {
            return converse(stream, bytes);
        }
        let name = ServerName::try_from(target.host.clone())?;
        converse_secretly(ClientConnection::new(Arc::clone(&self.tls), name)?, stream, bytes)
    }
}

// A server may refuse before it has read everything and close. Then sending fails, and the answer
// that came before counts, not our broken pipe: so both functions go on to read.

fn converse(mut stream: TcpStream, bytes: &[u8]) -> Result<Vec<u8>, HttpError> {
    let sent = stream.write_all(bytes).and_then(|()| stream.flush());
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map(drop);
    settled(answer, sent.and(read))
}

fn converse_secretly(mut tls: ClientConnection, mut stream: TcpStream, bytes: &[u8]) -> Result<Vec<u8>, HttpError> {
    let mut joined = rustls::Stream::new(&mut tls, &mut stream);
    let mut outcome = joined.write_all(bytes).and_then(|()| joined.flush());
    let mut answer = Vec::new();
    loop {
        // First what has arrived already: sending may have read it.
        let state = tls.process_new_packets()?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut plain)?;
        answer.extend_from_slice(&plain);
        if answer.len() as u64 >= ANSWER_BYTES_MAX {
            break;
        }
        match tls.read_tls(&mut stream) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                outcome = outcome.and(Err(error));
                break;
            }
        }
    }
    settled(answer, outcome)
}

/// Prefers an answer to an error: the parser sees whether it is whole.
fn settled(answer: Vec<u8>, outcome: std::io::Result<()>) -> Result<Vec<u8>, HttpError> {
    if answer.is_empty() {
        outcome?;
        let silence = "the server closed without an answer";
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, silence).into());
    }
    Ok(answer)
}

#[derive(Debug)]
struct Target {
    secure: bool,
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, HttpError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("not a URL: {url}"))?;
        let secure = scheme == "https";
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse()?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self {
            secure,
            authority: authority.to_owned(),
            host,
            port,
            path: path.to_owned(),
        })
    }

    fn authority_with_port(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }
}

pub(crate) fn parse(raw: &[u8], method: &str) -> Result<Response, HttpError> {
    let end = raw
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or("no end of the head")?;
    let head = std::str::from_utf8(&raw[..end])?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).ok_or("no status")?.parse()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response {
        status,
        headers,
        body: raw[end + 4..].to_vec(),
    };
    if method == "HEAD" || status == 204 || status == 304 {
        response.body.clear();
    } else if response
        .header("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        response.body = unchunk(&response.body)?;
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse()?;
        if response.body.len() < length {
            return Err("the answer is cut short".into());
        }
        response.body.truncate(length);
    }
    Ok(response)
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, HttpError> {
    let mut whole = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|w| w == b"\r\n")
            .ok_or("a chunk is cut short")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        if size == 0 {
            return Ok(whole);
        }
        let data = rest.get(end + 2..end + 2 + size).ok_or("a chunk is cut short")?;
        whole.extend_from_slice(data);
        rest = rest.get(end + 4 + size..).ok_or("a chunk is cut short")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_chunks_and_heeds_lengths() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked, "GET").unwrap().body, b"abcde");
        let whole = b"HTTP/1.1 404 No\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nabc";
        let response = parse(whole, "GET").unwrap();
        assert_eq!((response.status, response.body.as_slice()), (404, &b"ab"[..]));
        assert_eq!(response.header("x-y"), Some("z"));
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "GET").is_err());
    }

    #[test]
    fn reads_urls() {
        let target = Target::parse("https://127.0.0.1:9443/acme/directory").unwrap();
        assert_eq!(
            (target.secure, target.port, target.path.as_str()),
            (true, 9443, "/acme/directory")
        );
        let target = Target::parse("http://[::1]:80").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("::1", 80, "/")
        );
    }
}
