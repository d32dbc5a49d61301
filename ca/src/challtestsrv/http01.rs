//! The web servers: key authorizations under the well-known path, redirects under any, over HTTP and HTTPS.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header, uri::Uri},
    response::Response,
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Shared, book::Kind, history::Event};

/// Where http-01 looks (RFC 8555 section 8.3).
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// How many connections are served at a time.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection may stay; one request is served on it, or a few over HTTP/2.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many octets of headers a request may have.
const HEADER_OCTETS_MAX: usize = 16 * 1024;

/// Serves until it is told to stop: over TLS if there is an acceptor.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, super::accept(&listener).await)
        };
        let (permit, stream) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, converse(stream, tls, shared)).await;
        });
    }
    connections.shutdown().await;
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let Some(tls) = tls else {
        return talk(stream, Via { server_name: None }, shared).await;
    };
    // A handshake that fails is the other side's business.
    if let Ok(stream) = tls.accept(stream).await {
        let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
        talk(
            stream,
            Via {
                server_name: Some(name),
            },
            shared,
        )
        .await;
    }
}

/// How a request came.
#[derive(Debug, Clone)]
struct Via {
    /// The name that was asked for in the TLS handshake, empty if none was; `None` without TLS.
    server_name: Option<String>,
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, via: Via, shared: Arc<Shared>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&shared, &via, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // A validator must ask anew each time, not see a connection of the try before.
        .keep_alive(false)
        .max_buf_size(HEADER_OCTETS_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_OCTETS_MAX as u32);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Answers a request: a redirect where one was told (never over HTTPS, so that a path can lead to its own
/// HTTPS side), else a key authorization, else nothing with 200, as pebble-challtestsrv does.
fn respond<B>(shared: &Shared, via: &Via, request: &Request<B>) -> Response {
    let uri = request.uri();
    shared.history.add(Event::Http {
        url: uri
            .path_and_query()
            .map_or_else(|| uri.to_string(), ToString::to_string),
        host: host(request),
        https: via.server_name.is_some(),
        server_name: via.server_name.clone().unwrap_or_default(),
    });
    let mut response = Response::new(Body::empty());
    if via.server_name.is_none()
        && let Some(target) = shared.book.value(Kind::Redirect, uri.path())
        && let Ok(location) = HeaderValue::try_from(absolute(&target, uri))
    {
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(header::LOCATION, location);
        return response;
    }
    let token = uri.path().strip_prefix(WELL_KNOWN);
    if let Some(content) = token.and_then(|token| shared.book.value(Kind::Http01, token)) {
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        *response.body_mut() = Body::from(content);
    }
    response
}

/// Returns the host that was asked for: HTTP/2 has it in the URI.
fn host<B>(request: &Request<B>) -> String {
    let header = request.headers().get(header::HOST);
    match (header, request.uri().authority()) {
        (Some(host), _) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        (None, Some(authority)) => authority.to_string(),
        (None, None) => String::new(),
    }
}

/// Puts a target that is neither a URL nor begins at the root beside the path that leads to it.
fn absolute(target: &str, from: &Uri) -> String {
    if target.starts_with('/') || target.contains("://") {
        return target.to_owned();
    }
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challtestsrv::{book::Value, history::EventKind};

    fn get(shared: &Shared, server_name: Option<&str>, path: &str) -> Response {
        let request = Request::builder()
            .uri(path)
            .header("host", "a.test:5002")
            .body(())
            .unwrap();
        let via = Via {
            server_name: server_name.map(str::to_owned),
        };
        respond(shared, &via, &request)
    }

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), 1024).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn serves_key_authorizations_and_nothing_else() {
        let shared = Shared::default();
        shared.book.put(Kind::Http01, "aaaa", Value::text("aaaa.bbbb")).unwrap();
        let path = "/.well-known/acme-challenge/aaaa";
        assert_eq!(body(get(&shared, None, path)).await, b"aaaa.bbbb");
        assert_eq!(body(get(&shared, Some("a.test"), path)).await, b"aaaa.bbbb");
        for path in ["/.well-known/acme-challenge/none", "/aaaa", "/"] {
            let response = get(&shared, None, path);
            assert_eq!(response.status(), StatusCode::OK);
            assert!(body(response).await.is_empty());
        }
        let seen = shared.history.of(EventKind::Http, "a.test");
        assert_eq!(seen.len(), 5);
        assert_eq!(
            seen[1],
            Event::Http {
                url: path.into(),
                host: "a.test:5002".into(),
                https: true,
                server_name: "a.test".into()
            }
        );
    }

    #[test]
    fn redirects_over_http_alone() {
        let shared = Shared::default();
        let put = |path: &str, target: &str| shared.book.put(Kind::Redirect, path, Value::text(target)).unwrap();
        put("/a", "https://b.test/c?d");
        put("/x/a", "b?c");
        put("/x/r", "/root");
        for (path, location) in [("/a", "https://b.test/c?d"), ("/x/a?q", "/x/b?c"), ("/x/r", "/root")] {
            let response = get(&shared, None, path);
            assert_eq!(response.status(), StatusCode::FOUND);
            assert_eq!(response.headers()[header::LOCATION], location);
        }
        assert_eq!(get(&shared, Some(""), "/a").status(), StatusCode::OK);
    }
}
