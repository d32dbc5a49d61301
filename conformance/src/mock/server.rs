//! A small HTTP server that answers as it is told and keeps what it was asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// The suite's own requests are small; what is longer is not of the suite.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// How long the server waits for a client that says nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Said {
    pub(crate) fn new(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), media_type.into())],
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, object: &Value) -> Self {
        Self::new(status, "application/json", object.to_string())
    }

    /// A problem document of this ACME type.
    pub(crate) fn problem(status: u16, kind: &str) -> Self {
        let object = serde_json::json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "status": status});
        Self::new(status, "application/problem+json", object.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Mock {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    closing: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Mock {
    /// Serves what `answer` says, one request at a time; `answer` is told the server's own origin.
    pub(crate) fn start(answer: impl Fn(&str, &Received) -> Said + Send + 'static) -> Result<Self, String> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("a mock server: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (received, closing) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (kept, closed, origin) = (received.clone(), closing.clone(), format!("http://{address}"));
        let serve = move || {
            for stream in listener.incoming().flatten() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away early is the client's business.
                let _ = exchange(stream, &kept, |request| answer(&origin, request));
            }
        };
        let serving = std::thread::Builder::new().name("mock".into()).spawn(serve);
        Ok(Self {
            address,
            received,
            closing,
            serving: Some(serving.map_err(|error| error.to_string())?),
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Whoever waits for a connection gets one, and sees that it was the last.
        if TcpStream::connect(self.address).is_ok()
            && let Some(serving) = self.serving.take()
        {
            let _ = serving.join();
        }
    }
}

fn exchange(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    answer: impl FnOnce(&Received) -> Said,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let Some(request) = read(&mut stream)? else {
        return Ok(());
    };
    received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    let said = answer(&request);
    let mut head = format!("HTTP/1.1 {} Said\r\n", said.status);
    for (name, value) in &said.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        said.body.len()
    ));
    let body = if request.method == "HEAD" {
        Vec::new()
    } else {
        said.body
    };
    stream.write_all(&[head.into_bytes(), body].concat())
}

/// One whole request, unless the client stops in the middle or sends too much.
fn read(stream: &mut TcpStream) -> std::io::Result<Option<Received>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(request) = parse(&bytes) {
            return Ok(Some(request));
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

fn parse(bytes: &[u8]) -> Option<Received> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Received {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    request.body = bytes[end + 4..].get(..length.unwrap_or(0))?.to_vec();
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Client, Request};

    #[test]
    fn answers_as_it_is_told_and_keeps_what_came() {
        let mock = Mock::start(|origin, request| {
            Said::new(201, "text/plain", format!("{origin}{}", request.path)).header("X-Method", &request.method)
        })
        .expect("a port");
        let client = Client::new(Some(b"")).expect("no anchors are needed");
        let request = Request::new("POST", &mock.url("/a?b"))
            .header("X-Mine", "1")
            .body("text");
        let answer = client.send(&request).expect("an answer");
        assert_eq!((answer.status, answer.text()), (201, mock.url("/a?b")));
        assert_eq!(answer.header("x-method"), Some("POST"));
        let received = mock.received();
        assert_eq!((received.len(), received[0].body.as_slice()), (1, &b"text"[..]));
        assert_eq!(received[0].header("x-mine"), Some("1"));
    }
}
