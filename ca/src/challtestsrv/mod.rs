//! Responders for tests of ACME clients: web, TLS and name servers that answer what a test tells them.
//!
//! A stand-in for pebble-challtestsrv: the same flags, the same management interface. It obeys anybody who
//! reaches it, so it listens on loopback unless told otherwise, and it is no part of the CA: of the other
//! rooms it knows only how `front` listens.

mod book;
mod dns;
mod doh;
mod history;
mod http01;
mod listen;
mod management;
mod tls_alpn01;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

pub use self::listen::{Place, PlaceError, Reach, places};
use self::{book::Book, history::History, tls_alpn01::TlsAlpn01};
use crate::front::{
    listen::{serve_plain, serve_tls},
    tls::{Identity, TlsError, server_config},
};

/// How many connections the management interface and DNS over HTTPS take at a time, each.
const CONNECTIONS_MAX: usize = 256;

/// How long to wait when the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A chain and the key of its first certificate.
pub type TlsIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Where to listen, and what to answer before anything was told. A responder without a place is not there.
#[derive(Debug)]
pub struct Settings {
    /// The management interface.
    pub management: Vec<Place>,
    /// http-01 over HTTP.
    pub http01: Vec<Place>,
    /// http-01 over HTTPS, as the target of redirects.
    pub https01: Vec<Place>,
    /// tls-alpn-01.
    pub tls_alpn01: Vec<Place>,
    /// DNS over UDP and TCP.
    pub dns: Vec<Place>,
    /// DNS over HTTPS.
    pub doh: Vec<Place>,
    /// What DNS over HTTPS serves with; one is made where there is none.
    pub doh_identity: Option<TlsIdentity>,
    /// The address of names that have none of their own; an empty text is none.
    pub default_ipv4: String,
    /// As for IPv4.
    pub default_ipv6: String,
}

/// Why the responders did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A place cannot be had.
    #[error("cannot listen at {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A test certificate cannot be made.
    #[error("a certificate for the responders cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<(SocketAddr, io::Error)> for StartError {
    fn from((address, source): (SocketAddr, io::Error)) -> Self {
        Self::Listen { address, source }
    }
}

/// Who answers where.
pub type Answering = Vec<(&'static str, SocketAddr)>;

/// What the responders share.
#[derive(Debug, Default)]
struct Shared {
    book: Book,
    history: History,
}

/// Which responders there are.
#[derive(Debug, Clone, Copy)]
struct Offered {
    http: bool,
    dns: bool,
    tls_alpn: bool,
}

/// The responders, listening but not yet answering.
#[derive(Debug)]
pub struct Responders {
    shared: Arc<Shared>,
    offered: Offered,
    answering: Answering,
    management: Vec<TcpListener>,
    http01: Vec<TcpListener>,
    https01: Vec<TcpListener>,
    tls_alpn01: Vec<TcpListener>,
    dns: Vec<(UdpSocket, TcpListener)>,
    doh: Vec<TcpListener>,
    doh_identity: Option<TlsIdentity>,
}

impl Responders {
    /// Takes all the places.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub async fn bind(settings: Settings) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::default());
        shared.book.set_default_ipv4(&settings.default_ipv4);
        shared.book.set_default_ipv6(&settings.default_ipv6);
        let mut answering = Answering::new();
        let mut tcp = Vec::new();
        for (name, places) in [
            ("management", &settings.management),
            ("http01", &settings.http01),
            ("https01", &settings.https01),
            ("tlsalpn01", &settings.tls_alpn01),
            ("doh", &settings.doh),
        ] {
            let mut listeners = Vec::new();
            for place in places {
                listeners.extend(place.tcp().await?);
            }
            let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
            answering.extend(addresses.map(|address| (name, address)));
            tcp.push(listeners);
        }
        let mut dns = Vec::new();
        for place in &settings.dns {
            dns.extend(place.both().await?);
        }
        let addresses = dns.iter().filter_map(|(_, listener)| listener.local_addr().ok());
        answering.extend(addresses.map(|address| ("dns", address)));
        let mut next = tcp.into_iter();
        let mut take = || next.next().unwrap_or_default();
        Ok(Self {
            shared,
            offered: Offered {
                http: !settings.http01.is_empty() || !settings.https01.is_empty(),
                dns: !settings.dns.is_empty() || !settings.doh.is_empty(),
                tls_alpn: !settings.tls_alpn01.is_empty(),
            },
            answering,
            management: take(),
            http01: take(),
            https01: take(),
            tls_alpn01: take(),
            doh: take(),
            dns,
            doh_identity: settings.doh_identity,
        })
    }

    /// Returns who answers where.
    pub fn answering(&self) -> &Answering {
        &self.answering
    }

    /// Answers until told to stop.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), StartError> {
        let shared = self.shared;
        let mut serving = JoinSet::new();
        for listener in self.management {
            let router = management::router(shared.clone(), self.offered);
            serving.spawn(serve_plain(listener, router, CONNECTIONS_MAX, stop.clone()));
        }
        for listener in self.http01 {
            serving.spawn(http01::serve(listener, None, shared.clone(), stop.clone()));
        }
        if !self.https01.is_empty() {
            let acceptor = acceptor(own_identity()?)?;
            for listener in self.https01 {
                let acceptor = Some(acceptor.clone());
                serving.spawn(http01::serve(listener, acceptor, shared.clone(), stop.clone()));
            }
        }
        if !self.doh.is_empty() {
            let identity = self.doh_identity.map_or_else(own_identity, Ok)?;
            let acceptor = acceptor(identity)?;
            for listener in self.doh {
                let router: Router = doh::router(shared.clone());
                serving.spawn(serve_tls(
                    listener,
                    acceptor.clone(),
                    router,
                    CONNECTIONS_MAX,
                    stop.clone(),
                ));
            }
        }
        for (socket, listener) in self.dns {
            serving.spawn(dns::serve_udp(socket, shared.clone(), stop.clone()));
            serving.spawn(dns::serve_tcp(listener, shared.clone(), stop.clone()));
        }
        let tls_alpn01 = Arc::new(TlsAlpn01::new(shared)?);
        for listener in self.tls_alpn01 {
            serving.spawn(tls_alpn01.clone().serve(listener, stop.clone()));
        }
        while serving.join_next().await.is_some() {}
        Ok(())
    }
}

fn acceptor((chain, key): TlsIdentity) -> Result<TlsAcceptor, StartError> {
    let config: ServerConfig = server_config(Identity::new(chain, key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Makes a certificate that nobody has reason to trust: validators do not ask who a redirect's target is.
fn own_identity() -> Result<TlsIdentity, StartError> {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    Ok((vec![certified.cert.der().clone()], key.into()))
}

/// Takes the next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
