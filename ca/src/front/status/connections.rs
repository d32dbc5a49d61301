//! Connections of relying parties: accepted within bounds, cut when they are slow, drained at the end.

use std::{sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{StatusFront, patience::ConnectionTimer};

/// How many connections may be open at once unless told otherwise. More wait in the system's queue.
pub const CONNECTIONS_MAX_DEFAULT: usize = 1_024;

/// How long a request's headers may take; also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// How many octets a request's line and headers may have. The longest sensible GET has about 300.
const HEADER_OCTETS_MAX: usize = 16 * 1024;

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// How long one connection may last: then it takes no more requests. Bounds readers that let a CRL trickle.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

/// How long a connection may take to end once it was asked to.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait when the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until told to stop, then lets the open ones finish.
pub async fn serve(
    listener: TcpListener,
    front: Arc<StatusFront>,
    connections_max: usize,
    mut shutdown: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            break;
        };
        let (front, shutdown) = (front.clone(), shutdown.clone());
        connections.spawn(async move {
            serve_connection(stream, front, shutdown).await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Each connection heard of the end itself and takes DRAIN_TIMEOUT at most.
    while connections.join_next().await.is_some() {}
}

/// Waits for room, then for a connection.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, permit)),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, front: Arc<StatusFront>, mut shutdown: watch::Receiver<bool>) {
    // An answer is one small write: waiting to fill a segment only costs time.
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let front = front.clone();
        async move { front.handle(request).await }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(ConnectionTimer::default())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_OCTETS_MAX)
        .max_headers(HEADERS_MAX)
        .auto_date_header(false);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        // How a connection ended is the peer's affair.
        _ = connection.as_mut() => return,
        _ = shutdown.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep(CONNECTION_LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
}
