//! One kept connection to a server, over TLS or without.

use std::{path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::{HOST, HeaderMap},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, pki_types::pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failure;

/// How long one exchange may take: a server under load answers late, one that hangs never.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(60);
/// The largest answer that is read.
const BODY_MAX: usize = 1024 * 1024;
/// How often a request is sent again because the server had closed the kept connection.
const RECONNECTS_MAX: usize = 3;

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Returns a header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A connection that is opened when it is first needed, and again when the server has closed it.
pub struct Connection {
    tls: Option<TlsConnector>,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// Reads whom to trust.
pub fn trusting(roots: &Path) -> Result<TlsConnector, Failure> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(roots)? {
        store.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Connection {
    /// Prepares a connection; without `tls` only `http` URLs can be reached.
    pub fn new(tls: Option<TlsConnector>) -> Self {
        Self { tls, open: None }
    }

    /// Makes one exchange.
    pub async fn send(&mut self, method: &str, url: &str, kind: Option<&str>, body: &Bytes) -> Result<Answer, Failure> {
        let uri: Uri = url.parse()?;
        for left in (0..=RECONNECTS_MAX).rev() {
            match tokio::time::timeout(EXCHANGE_WITHIN, self.exchange(&uri, method, kind, body)).await? {
                Err(_) if left > 0 => self.open = None,
                outcome => return outcome,
            }
        }
        Err("the server closes every connection".into())
    }

    async fn exchange(&mut self, uri: &Uri, method: &str, kind: Option<&str>, body: &Bytes) -> Result<Answer, Failure> {
        let mut sender = match self.open.take() {
            Some(sender) => sender,
            None => self.connect(uri).await?,
        };
        sender.ready().await?;
        let authority = uri.authority().ok_or("the URL has no host")?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, authority.as_str())
            .header("User-Agent", "sigillo-load");
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        let response = sender.send_request(request.body(Full::new(body.clone()))?).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await?.to_bytes();
        self.open = Some(sender);
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    async fn connect(&self, uri: &Uri) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let host = uri.host().ok_or("the URL has no host")?;
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        stream.set_nodelay(true)?;
        if !secure {
            return handshake(stream).await;
        }
        let tls = self.tls.as_ref().ok_or("https needs --ca-root")?;
        let name = ServerName::try_from(host.to_owned())?;
        handshake(tls.connect(name, stream).await?).await
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}
