//! The man in the middle between suite and daemon: ends TLS, alters, passes on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::fault::{Fault, Scene};
use super::message::{Answer, Request};
use crate::http::{self, Http};

/// Longer requests are cut off: no case sends more.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a silent peer is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the connections of one mutation share.
#[derive(Debug)]
pub struct Route {
    /// What a fault can use.
    pub scene: Scene,
    /// The client towards the daemon.
    pub http: Http,
    /// Where the daemon serves ACME.
    pub https_port: u16,
    /// Where the daemon serves status.
    pub http_port: u16,
}

/// The fault in force.
pub type Current = Arc<std::sync::RwLock<Arc<Fault>>>;

/// Returns the fault in force.
pub fn current(fault: &Current) -> Arc<Fault> {
    Arc::clone(&fault.read().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// A TLS identity for localhost: what clients have to trust in PEM, and the configuration.
///
/// # Panics
///
/// If the machine has no randomness.
pub fn identity() -> (String, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("invariant: key and certificate belong together");
    (made.cert.pem(), Arc::new(config))
}

/// Serves connections, each on a thread of its own.
pub fn accept(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(SILENCE_MAX));
                let _ = stream.set_write_timeout(Some(SILENCE_MAX));
                let _ = stream.set_nodelay(true);
                serve(stream);
            });
        }
    });
}

impl Route {
    /// Serves ACME over TLS, or over nothing where that is the fault.
    pub fn serve_acme(&self, fault: &Fault, tls: &Arc<ServerConfig>, mut stream: TcpStream) {
        let mut first = [0];
        let is_tls = matches!(stream.peek(&mut first), Ok(1) if first[0] == 0x16);
        if !is_tls {
            if fault.plain {
                self.converse(fault, true, &mut stream);
            }
            return;
        }
        let Ok(connection) = rustls::ServerConnection::new(Arc::clone(tls)) else {
            return;
        };
        let mut secured = rustls::StreamOwned::new(connection, stream);
        self.converse(fault, true, &mut secured);
        secured.conn.send_close_notify();
        let _ = secured.flush();
    }

    /// Serves status over plain HTTP.
    pub fn serve_status(&self, fault: &Fault, mut stream: TcpStream) {
        self.converse(fault, false, &mut stream);
    }

    fn converse(&self, fault: &Fault, secure: bool, stream: &mut (impl Read + Write)) {
        let Some(mut request) = read(stream, secure) else {
            return;
        };
        let mut answer = match fault.meet(&self.scene, &mut request) {
            Some(answer) => answer,
            None => self.forward(&request),
        };
        fault.spoil(&self.scene, &request, &mut answer);
        let _ = stream
            .write_all(&written(&request, &answer))
            .and_then(|()| stream.flush());
    }

    /// Lets the daemon answer.
    fn forward(&self, request: &Request) -> Answer {
        let base = if request.secure {
            format!("https://localhost:{}", self.https_port)
        } else {
            format!("http://127.0.0.1:{}", self.http_port)
        };
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), &request.body].concat();
        self.http
            .raw(&format!("{base}/"), &bytes)
            .and_then(|raw| http::parse(&raw, &request.method))
            .unwrap_or_else(|_| Answer::refusal(502, "serverInternal"))
    }
}

/// Reads one request.
fn read(stream: &mut impl Read, secure: bool) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let mut request = Request {
        secure,
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: bytes[end + 4..].to_vec(),
    };
    let length: usize = request
        .header("content-length")
        .map_or(Some(0), |text| text.parse().ok())?;
    while request.body.len() < length.min(REQUEST_BYTES_MAX) {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        request.body.extend_from_slice(&buffer[..count]);
    }
    Some(request)
}

/// An answer as it goes out; the length follows what became of the body.
fn written(request: &Request, answer: &Answer) -> Vec<u8> {
    let bodiless = request.method == "HEAD" || matches!(answer.status, 204 | 304);
    let mut head = format!("HTTP/1.1 {} Said\r\n", answer.status);
    for (name, value) in &answer.headers {
        let ours = ["connection", "transfer-encoding"].contains(&name.as_str());
        if !ours && (bodiless || name != "content-length") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if !bodiless {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    head.push_str("connection: close\r\n\r\n");
    let body = if request.method == "HEAD" {
        &[][..]
    } else {
        &answer.body
    };
    [head.as_bytes(), body].concat()
}
