//! Accepts connections within bounds and serves them until it is told to stop.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request's headers may take; also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How many octets of headers a request may have.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How many requests one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 64;

/// How long connections may take to end once the daemon stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection lives at most: keeping one open costs a place, and a new one little.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// How long a connection that has asked for nothing yet may still do so when the daemon stops or reloads.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(500);

/// How long to wait when the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// Which protocol a connection speaks; known from the start, so that nobody has to wait for its first octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves a router over TLS.
pub async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    connections_max: usize,
    stop: watch::Receiver<bool>,
) {
    let shake_hands = move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // Whoever breaks off a handshake is no news; scanners do it all day.
            let shaking = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
            let stream = shaking.await.ok()?.ok()?;
            let protocol = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            Some((stream, protocol))
        }
    };
    serve(|| accept(&listener), shake_hands, router, connections_max, stop).await;
}

/// Serves a router over plain TCP.
pub async fn serve_plain(listener: TcpListener, router: Router, connections_max: usize, stop: watch::Receiver<bool>) {
    let plain = async |stream| Some((stream, Protocol::Http1));
    serve(|| accept(&listener), plain, router, connections_max, stop).await;
}

/// Serves a router on a Unix socket.
pub async fn serve_unix(listener: UnixListener, router: Router, connections_max: usize, stop: watch::Receiver<bool>) {
    let plain = async |stream| Some((stream, Protocol::Http1));
    serve(|| accept_unix(&listener), plain, router, connections_max, stop).await;
}

/// Takes connections while there is room, prepares and serves each in a task of its own; once told to stop, lets
/// them end what they are at, and cuts those that take too long.
async fn serve<R, A, AF, U, UF, S>(
    accept: A,
    prepare: U,
    router: Router,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) where
    R: Send + 'static,
    A: Fn() -> AF,
    AF: Future<Output = (R, Option<ClientAddress>)>,
    U: Fn(R) -> UF,
    UF: Future<Output = Option<(S, Protocol)>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, accept().await)
        };
        let (permit, (stream, address)) = tokio::select! {
            next = next => next,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (preparing, router, stop) = (prepare(stream), router.clone(), stop.clone());
        connections.spawn(async move {
            // The room is given back when the connection ends, however it does.
            let _permit = permit;
            if let Some((stream, protocol)) = preparing.await {
                serve_connection(stream, protocol, router, address, stop).await;
            }
        });
    }
    let draining = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, draining).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
    connections.shutdown().await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request has made the daemon panic; only its connection was lost");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, Option<ClientAddress>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and whole: waiting to fill a packet only costs time.
                let _ = stream.set_nodelay(true);
                return (stream, Some(ClientAddress(address.ip())));
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn accept_unix(listener: &UnixListener) -> (UnixStream, Option<ClientAddress>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, None),
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn pause_after(error: &io::Error) {
    // Most often the system is out of descriptors; trying on at once would only burn time.
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn serve_connection<S>(
    stream: S,
    protocol: Protocol,
    router: Router,
    address: Option<ClientAddress>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = asked.clone();
    let service = router.map_request(move |mut request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        if let Some(address) = address {
            request.extensions_mut().insert(address);
        }
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| never));
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIMEOUT)
        .keep_alive_timeout(HANDSHAKE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let time_is_up = async {
        tokio::select! {
            () = tokio::time::sleep(CONNECTION_LIFETIME) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = time_is_up => {
            // A connection that was taken and not used yet has a request on its way: it is let in.
            if !asked.load(Ordering::Relaxed)
                && let Ok(ended) = tokio::time::timeout(FIRST_REQUEST_GRACE, connection.as_mut()).await
            {
                return report_end(ended);
            }
            // What is being answered is answered to its end; nothing new is taken.
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_TIMEOUT, connection.as_mut()).await.unwrap_or(Ok(()))
        }
    };
    report_end(ended);
}

fn report_end<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
