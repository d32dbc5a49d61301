//! Answers http-01 queries by script and records them.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::open;

/// A query's head may be this long.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What is said to one query.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status and a body.
    Body(u16, Vec<u8>),
    /// A redirect.
    Redirect(u16, String),
    /// The reply after a pause.
    Late(Duration, Box<Reply>),
    /// A body that never ends: this many octets a second, for as long as the peer listens.
    Endless(usize),
    /// Headers that never end.
    EndlessHeaders,
    /// The connection is closed without a word.
    Nothing,
}

/// One query that came.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
}

/// The answerer.
#[derive(Debug, Clone)]
pub(crate) struct Http01 {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    scripts: Mutex<HashMap<String, VecDeque<Reply>>>,
    queries: Mutex<Vec<Query>>,
}

impl Http01 {
    pub(crate) fn start(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).map_err(|error| format!("http-01 at {address}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let inner = Arc::new(Inner::default());
        let served = inner.clone();
        super::accept(listener, move |stream| {
            // A peer that goes away early is the peer's business.
            let _ = serve(&served, stream);
        })
        .map_err(|error| error.to_string())?;
        Ok(Self { address, inner })
    }

    /// Answers for this path; the last reply repeats.
    pub(crate) fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        open(&self.inner.scripts).insert(path.to_owned(), replies.into_iter().collect());
    }

    /// Answers a challenge rightly.
    pub(crate) fn provide(&self, token: &str, key_authorization: &str) {
        self.script(&challenge_path(token), [Reply::Body(200, key_authorization.into())]);
    }

    /// The queries that came for this path.
    pub(crate) fn queries(&self, path: &str) -> Vec<Query> {
        open(&self.inner.queries)
            .iter()
            .filter(|query| query.path == path)
            .cloned()
            .collect()
    }
}

/// Where RFC 8555 section 8.3 puts the key authorization.
pub(crate) fn challenge_path(token: &str) -> String {
    format!("/.well-known/acme-challenge/{token}")
}

fn serve(inner: &Inner, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let header = |name: &str| {
        let mut values = head.lines().filter_map(|line| line.split_once(':'));
        values
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    open(&inner.queries).push(Query {
        method,
        path: path.clone(),
        host: header("host").unwrap_or_default(),
    });
    let reply = {
        let mut scripts = open(&inner.scripts);
        match scripts.get_mut(&path) {
            Some(script) if script.len() > 1 => script.pop_front(),
            Some(script) => script.front().cloned(),
            None => None,
        }
    };
    answer(
        &mut stream,
        reply.unwrap_or_else(|| Reply::Body(404, b"nothing here".to_vec())),
    )
}

fn answer(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Body(status, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &body].concat())
        }
        Reply::Redirect(status, location) => {
            let head = format!(
                "HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes())
        }
        Reply::Late(pause, reply) => {
            std::thread::sleep(pause);
            answer(stream, *reply)
        }
        Reply::Endless(rate) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
            let pieces = rate.div_ceil(64 * 1024).max(1);
            loop {
                for _ in 0..pieces {
                    stream.write_all(&vec![b'x'; rate / pieces])?;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Reply::EndlessHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(&[b"X-Filler: ".as_slice(), &[b'x'; 16 * 1024], b"\r\n"].concat())?;
            }
        }
        Reply::Nothing => Ok(()),
    }
}
