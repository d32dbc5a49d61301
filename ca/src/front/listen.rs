//! Accepts connections within bounds and serves them until it is told to stop.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
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

/// How long to wait when the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

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
        // Whoever breaks off a handshake is no news; scanners do it all day.
        async move {
            tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
                .await
                .ok()?
                .ok()
        }
    };
    serve(|| accept(&listener), shake_hands, router, connections_max, stop).await;
}

/// Serves a router over plain TCP.
pub async fn serve_plain(listener: TcpListener, router: Router, connections_max: usize, stop: watch::Receiver<bool>) {
    serve(
        || accept(&listener),
        async |stream| Some(stream),
        router,
        connections_max,
        stop,
    )
    .await;
}

/// Serves a router on a Unix socket.
pub async fn serve_unix(listener: UnixListener, router: Router, connections_max: usize, stop: watch::Receiver<bool>) {
    serve(
        || accept_unix(&listener),
        async |stream| Some(stream),
        router,
        connections_max,
        stop,
    )
    .await;
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
    UF: Future<Output = Option<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, accept().await)
        };
        let (permit, (stream, address)) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let (preparing, router, watcher) = (prepare(stream), router.clone(), graceful.watcher());
        connections.spawn(async move {
            // The room is given back when the connection ends, however it does.
            let _permit = permit;
            if let Some(stream) = preparing.await {
                serve_connection(stream, router, address, watcher).await;
            }
        });
    }
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
    connections.shutdown().await;
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
    router: Router,
    address: Option<ClientAddress>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: Request<Incoming>| {
        if let Some(address) = address {
            request.extensions_mut().insert(address);
        }
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| never));
    let mut builder = auto::Builder::new(TokioExecutor::new());
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
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
