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
    mut stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let watcher = Arc::new(graceful);
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, address) = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let acceptor = acceptor.clone();
        let router = router.clone();
        let watcher = watcher.watcher();
        tokio::spawn(async move {
            let _permit = permit;
            // Whoever breaks off a handshake is no news; scanners do it all day.
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else {
                return;
            };
            serve_connection(stream, router, Some(ClientAddress(address)), watcher).await;
        });
    }
    drain(watcher).await;
}

/// Serves a router over plain TCP.
pub async fn serve_plain(listener: TcpListener, router: Router, connections_max: usize, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let watcher = Arc::new(GracefulShutdown::new());
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, address) = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (router, watcher) = (router.clone(), watcher.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            serve_connection(stream, router, Some(ClientAddress(address)), watcher).await;
        });
    }
    drain(watcher).await;
}

/// Serves a router on a Unix socket.
pub async fn serve_unix(listener: UnixListener, router: Router, connections_max: usize, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let watcher = Arc::new(GracefulShutdown::new());
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permit else { break };
        let stream = tokio::select! {
            stream = accept_unix(&listener) => stream,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (router, watcher) = (router.clone(), watcher.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            serve_connection(stream, router, None, watcher).await;
        });
    }
    drain(watcher).await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and whole: waiting to fill a packet only costs time.
                let _ = stream.set_nodelay(true);
                return (stream, address.ip());
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn accept_unix(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
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

async fn drain(graceful: Arc<GracefulShutdown>) {
    // Tasks hold watchers, not this value, so it is the only one left.
    if let Ok(graceful) = Arc::try_unwrap(graceful)
        && tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err()
    {
        tracing::warn!("some connections did not end in time and are cut");
    }
}
