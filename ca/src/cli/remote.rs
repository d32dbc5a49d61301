//! Reaches the operations: in the running daemon over its socket, or in this process where none runs.

use std::{path::Path, time::Duration};

use axum::{Router, body::Body};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tower::ServiceExt;

use super::{CliError, CliResult, Common};
use crate::server::{ADMIN_SOCKET, House};

/// How large an answer may be: the largest list page is far smaller.
const ANSWER_MAX: usize = 256 * 1024 * 1024;

/// How long the daemon may think: publishing a very long CRL takes longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The operations, wherever they are.
pub enum Operations {
    /// In the daemon.
    Daemon(std::path::PathBuf),
    /// In this process; the house is kept open as long as it is used.
    Here(Box<(Router, House)>),
}

impl Operations {
    /// Finds the daemon, or opens the state folder itself.
    pub async fn reach(common: &Common) -> CliResult<Self> {
        let socket = common.dir.join(ADMIN_SOCKET);
        if UnixStream::connect(&socket).await.is_ok() {
            return Ok(Self::Daemon(socket));
        }
        let house = House::open(&common.dir, common.settings()?, common.passphrase()?).await?;
        let router = crate::admin::router(house.admin());
        Ok(Self::Here(Box::new((router, house))))
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> CliResult<T> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> CliResult<T> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Value>) -> CliResult<T> {
        let body = body.map(|value| Bytes::from(value.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(CliError::from)?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.send(request)).await;
        let (status, bytes) = answer.map_err(|_| CliError::new("the daemon did not answer in time"))??;
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes)?);
        }
        let told = serde_json::from_slice::<Value>(&bytes)
            .ok()
            .and_then(|v| v["error"].as_str().map(str::to_owned));
        Err(CliError::new(told.unwrap_or_else(|| {
            format!("the operation failed with status {status}")
        })))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> CliResult<(StatusCode, Bytes)> {
        match self {
            Self::Here(here) => {
                let response = match here.0.clone().oneshot(request.map(Body::new)).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let status = response.status();
                let bytes = response.into_body().collect().await.map_err(CliError::from)?.to_bytes();
                Ok((status, bytes))
            }
            Self::Daemon(socket) => over_socket(socket, request).await,
        }
    }
}

async fn over_socket(socket: &Path, request: Request<Full<Bytes>>) -> CliResult<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|error| CliError::new(format!("the daemon's answer could not be read: {error}")))?
        .to_bytes();
    driver.abort();
    Ok((status, bytes))
}
