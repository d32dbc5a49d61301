//! Asks for the status of one certificate over and over: by GET, by POST, with a nonce or without.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use hyper::body::Bytes;
use tokio::task::JoinSet;

use crate::{Failure, connection::Connection, server::Used, tally::Tally};

/// Where in a request the nonce's octets are, so that each request can have its own.
const NONCE_OCTETS: usize = 32;
/// The header of a nonce extension of 32 octets (RFC 9654 section 2.1): what stands before the octets.
const NONCE_HEADER: [u8; 17] = [
    0x30, 0x2f, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02, 0x04, 0x22, 0x04, 0x20,
];

/// How the responder is asked.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// The responder
    #[arg(long)]
    url: String,
    /// A request in DER, for example from `openssl ocsp -reqout`; every request asks this
    #[arg(long)]
    request: PathBuf,
    /// How many connections are kept busy
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// How many answers are had in all
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Asks by GET, the request in the path
    #[arg(long)]
    get: bool,
    /// Gives each request a nonce of its own: the request must hold one of 32 octets
    #[arg(long)]
    nonce: bool,
}

/// Runs the load.
pub async fn run(load: &Load, pid: Option<u32>) -> Result<Tally, Failure> {
    let request = std::fs::read(&load.request)?;
    let nonce_at = match load.nonce {
        true => Some(nonce_at(&request).ok_or("the request holds no nonce of 32 octets")?),
        false => None,
    };
    let asked = Arc::new(Asked {
        url: if load.get {
            get_url(&load.url, &request)
        } else {
            load.url.clone()
        },
        method: if load.get { "GET" } else { "POST" },
        body: if load.get { Vec::new() } else { request },
        nonce_at: if load.get { None } else { nonce_at },
    });
    let taken = Arc::new(AtomicUsize::new(0));
    let count = load.count;
    let before = pid.map(Used::by).transpose()?;
    let began = Instant::now();
    let mut working = JoinSet::new();
    for _ in 0..load.concurrency.max(1) {
        let (asked, taken) = (asked.clone(), taken.clone());
        working.spawn(async move {
            let mut connection = Connection::new(None);
            let (mut each, mut failures) = (Vec::new(), Vec::new());
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return (each, failures);
                }
                let began = Instant::now();
                match asked.once(&mut connection, number).await {
                    Ok(()) => each.push(began.elapsed()),
                    Err(error) => failures.push(error.to_string()),
                }
            }
        });
    }
    let (mut each, mut failures) = (Vec::new(), Vec::new());
    while let Some(ended) = working.join_next().await {
        let (times, failed) = ended?;
        each.extend(times);
        failures.extend(failed);
    }
    let wall = began.elapsed();
    let used = match (pid, before) {
        (Some(pid), Some(before)) => Some(Used::by(pid)?.since(before)),
        _ => None,
    };
    each.sort_unstable();
    Ok(Tally {
        unit: "answer",
        count: each.len(),
        failed: (failures.len(), failures.into_iter().next()),
        wall,
        each,
        used,
        primitives: None,
    })
}

/// What is asked.
struct Asked {
    url: String,
    method: &'static str,
    body: Vec<u8>,
    nonce_at: Option<usize>,
}

impl Asked {
    async fn once(&self, connection: &mut Connection, number: usize) -> Result<(), Failure> {
        let mut body = self.body.clone();
        if let Some(at) = self.nonce_at {
            body[at..at + 8].copy_from_slice(&(number as u64).to_be_bytes());
        }
        let kind = (self.method == "POST").then_some("application/ocsp-request");
        let answer = connection
            .send(self.method, &self.url, kind, &Bytes::from(body))
            .await?;
        // An OCSPResponse that is successful begins with SEQUENCE, and ENUMERATED 0 follows its length.
        let successful = answer
            .body
            .windows(3)
            .take(8)
            .any(|octets| octets == [0x0a, 0x01, 0x00]);
        match (answer.status, successful) {
            (200, true) => Ok(()),
            (status, _) => Err(format!("{status}, {} octets that are no successful answer", answer.body.len()).into()),
        }
    }
}

/// Finds where the octets of the nonce begin.
fn nonce_at(request: &[u8]) -> Option<usize> {
    let header = request
        .windows(NONCE_HEADER.len())
        .position(|octets| octets == NONCE_HEADER)?;
    let at = header + NONCE_HEADER.len();
    (request.len() >= at + NONCE_OCTETS).then_some(at)
}

/// The URL of a GET (RFC 6960 appendix A.1): base64, with what paths give a meaning to escaped.
fn get_url(base: &str, request: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(request);
    let escaped = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("{}/{escaped}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nonce_behind_its_header() {
        let request = [&[0x30, 0x40][..], &NONCE_HEADER, &[7; NONCE_OCTETS]].concat();
        assert_eq!(nonce_at(&request), Some(2 + NONCE_HEADER.len()));
        assert_eq!(nonce_at(&request[..request.len() - 1]), None);
        assert_eq!(nonce_at(&[0x30, 0x00]), None);
    }

    #[test]
    fn escapes_what_a_path_would_take_apart() {
        assert_eq!(
            get_url("http://x/ocsp/", &[0xfb, 0xff, 0xbf, 0]),
            "http://x/ocsp/%2B%2F%2B%2FAA%3D%3D"
        );
    }
}
