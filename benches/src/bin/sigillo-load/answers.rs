//! Answers http-01 for every name: the whole load has one web server.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;

const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// The key authorizations that are asked for, by their token.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<HashMap<String, String>>>);

impl Answers {
    /// Serves on an address until the process ends.
    pub async fn serve(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("http-01 cannot be answered on {address}: {error}"))?;
        let answers = Self::default();
        let shared = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = shared.clone();
                let service = service_fn(move |request| std::future::ready(answers.answer(&request)));
                // A server that breaks its request off fails its own validation.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(answers)
    }

    /// Puts an answer.
    pub fn put(&self, token: &str, key_authorization: String) {
        self.open().insert(token.to_owned(), key_authorization);
    }

    /// Takes an answer away again, so that a long run does not grow.
    pub fn remove(&self, token: &str) {
        self.open().remove(token);
    }

    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let token = request.uri().path().strip_prefix(WELL_KNOWN).unwrap_or_default();
        let found = self.open().get(token).cloned();
        let mut response = Response::new(Full::new(Bytes::from(found.clone().unwrap_or_default())));
        if found.is_none() {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        Ok(response)
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
