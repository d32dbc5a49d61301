//! http-01 from a small web server of our own (RFC 8555 section 8.3).

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sigillo_protocol::acme::challenge::ChallengeType;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Proof, Solver, SolverFuture};
use crate::error::{Error, Result};

/// Where validation servers look.
const PATH: &str = "/.well-known/acme-challenge/";
/// How long a visitor may take over its request, so that idle visitors cannot pile up.
const VISIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many visitors are served at once; a CA sends a handful.
const VISITORS_MAX: usize = 64;

/// A web server that answers http-01 and nothing else, while it is needed.
pub struct Http01 {
    addresses: Vec<SocketAddr>,
    state: Mutex<State>,
    proofs: Proofs,
}

type Proofs = Arc<Mutex<HashMap<String, String>>>;

#[derive(Default)]
struct State {
    visible: usize,
    server: Option<Server>,
}

/// A running server; it ends when dropped.
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http01 {
    /// Listens on a port of every address, IPv6 and IPv4.
    pub fn on_port(port: u16) -> Self {
        let addresses = vec![
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ];
        Self {
            addresses,
            state: Mutex::default(),
            proofs: Proofs::default(),
        }
    }

    /// Listens on one address alone.
    pub fn on_address(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            state: Mutex::default(),
            proofs: Proofs::default(),
        }
    }

    async fn begin(&self, proof: &Proof) -> Result<()> {
        lock(&self.proofs).insert(proof.token.as_str().to_owned(), proof.key_authorization.clone());
        let first = {
            let mut state = lock(&self.state);
            state.visible += 1;
            state.server.is_none()
        };
        if first {
            let server = serve(&self.addresses, self.proofs.clone()).await?;
            let mut state = lock(&self.state);
            // Another order may have been quicker; then its server stays and ours is dropped.
            if state.server.is_none() {
                state.server = Some(server);
            }
        }
        Ok(())
    }

    fn end(&self, proof: &Proof) {
        if lock(&self.proofs).remove(proof.token.as_str()).is_none() {
            return;
        }
        let mut state = lock(&self.state);
        state.visible = state.visible.saturating_sub(1);
        if state.visible == 0 {
            state.server = None;
        }
    }
}

impl Solver for Http01 {
    fn kind(&self) -> ChallengeType {
        ChallengeType::Http01
    }

    fn present<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(self.begin(proof))
    }

    fn remove<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(async move {
            self.end(proof);
            Ok(())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds what can be bound: with IPv6 sockets that take IPv4 too, the second bind fails, rightly.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut failure = None;
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(e) => failure = failure.or(Some(format!("{address}: {e}"))),
        }
    }
    match (listeners.is_empty(), failure) {
        (true, failure) => Err(Error::local(
            "cannot listen for the validation",
            failure.unwrap_or_else(|| "no address was given".into()),
        )),
        _ => Ok(listeners),
    }
}

async fn serve(addresses: &[SocketAddr], proofs: Proofs) -> Result<Server> {
    let listeners = bind(addresses).await?;
    let visitors = Arc::new(Semaphore::new(VISITORS_MAX));
    let task = tokio::spawn(async move {
        let mut accepting = tokio::task::JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(listener, proofs.clone(), visitors.clone()));
        }
        accepting.join_all().await;
    });
    Ok(Server(task))
}

async fn accept(listener: TcpListener, proofs: Proofs, visitors: Arc<Semaphore>) {
    // Dropped with the server, and the visits with it.
    let mut visits = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = visitors.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a visitor");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while visits.try_join_next().is_some() {}
        let proofs = proofs.clone();
        visits.spawn(async move {
            let service = service_fn(|request| std::future::ready(answer(&proofs, &request)));
            let visit = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(VISIT_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(VISIT_TIMEOUT, visit).await;
            drop(place);
        });
    }
}

fn answer<B>(
    proofs: &Proofs,
    request: &hyper::Request<B>,
) -> std::result::Result<hyper::Response<Full<Bytes>>, Infallible> {
    let token = request.uri().path().strip_prefix(PATH);
    let found = token.and_then(|token| lock(proofs).get(token).cloned());
    let mut response = hyper::Response::new(Full::default());
    match found {
        Some(text) => {
            let kind = hyper::header::HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
            *response.body_mut() = Full::new(Bytes::from(text));
        }
        None => *response.status_mut() = hyper::StatusCode::NOT_FOUND,
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::{Subject, Token};
    use crate::transport::{Request, Transport, Trust};

    fn proof(token: &str) -> Proof {
        Proof {
            subject: Subject::Dns("a.example".into()),
            token: Token::parse(token).unwrap(),
            key_authorization: format!("{token}.thumb"),
        }
    }

    #[tokio::test]
    async fn shows_the_proof_only_while_it_is_needed() {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let solver = Http01::on_address(address);
        let transport = Transport::new(Trust::Roots(Vec::new())).unwrap();
        let get = |token: &str| {
            let url = format!("http://{address}{PATH}{token}");
            let transport = transport.clone();
            async move { transport.fetch(Request::get(url)).await }
        };
        let (one, two) = (proof("one"), proof("two"));
        solver.present(&one).await.unwrap();
        solver.present(&two).await.unwrap();
        assert_eq!(get("one").await.unwrap().body, "one.thumb");
        assert_eq!(get("three").await.unwrap().status, 404);
        solver.remove(&one).await.unwrap();
        assert_eq!(get("one").await.unwrap().status, 404);
        assert_eq!(get("two").await.unwrap().status, 200);
        solver.remove(&two).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(get("two").await.is_err(), "nobody listens any more");
        solver.present(&one).await.unwrap();
        assert_eq!(get("one").await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn an_occupied_port_is_said_before_the_server_looks() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let solver = Http01::on_address(taken.local_addr().unwrap());
        let error = solver.present(&proof("one")).await.unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
    }
}
