//! Runs an open house: listeners, workers, and an end without loss.

use std::{io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{ADMIN_SOCKET, House, own_certificate::OwnCertificate};
use crate::{
    admin,
    front::{
        acme::{self, AcmeFront},
        health::{self, Health},
        limits::RateLimits,
        links::{Links, path},
        listen,
        status::{self, IssuerFiles, StatusFiles, StatusFront},
        tls,
    },
    issuer::folder,
    registrar::Pruner,
    validator::ValidationWorker,

};

/// How many operators may be at the socket at once.
const ADMIN_CONNECTIONS_MAX: usize = 16;

/// How many may ask for health at once.
const HEALTH_CONNECTIONS_MAX: usize = 64;

/// What is told when the daemon serves.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The ACME directory's URL.
    pub directory: String,
    /// The base of the status URLs.
    pub http: String,
}

/// A daemon that could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("{what} cannot be listened on: {source}")]
    Listen {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The house is not whole.
    #[error(transparent)]
    Open(#[from] super::OpenError),
}

/// Serves until `stop` turns true, then drains connections and ends the workers.
///
/// # Errors
/// When it cannot start; nothing is left running then.
pub async fn run(house: House, stop: watch::Receiver<bool>, ready: impl FnOnce(&Ready)) -> Result<(), ServeError> {
    let server = &house.settings.server;
    let https = bind(server.https).await?;
    let http = bind(server.http).await?;
    let health_listener = match server.health {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let socket = bind_socket(&house.dir.join(ADMIN_SOCKET))?;
    let own = OwnCertificate::obtain(&house).await?;
    let tls_config = tls::server_config(own.identity())?;
    let acceptor = TlsAcceptor::from(Arc::new(tls_config));

    let links = Links::new(server.public_https.clone());
    let told = Ready { directory: links.to(path::DIRECTORY), http: server.public_http.clone() };
    let front = Arc::new(AcmeFront::new(house.registrar.clone(), links, RateLimits::new(&house.settings.limits)));
    let connections = house.settings.limits.connections;
    let metrics = house.metrics.clone();
    let counted = acme::router(front).layer(axum::middleware::map_response(move |response: axum::response::Response| {
        metrics.count_acme(response.status().as_u16());
        std::future::ready(response)
    }));

    let mut tasks = JoinSet::new();
    tasks.spawn(listen::serve_tls(https, acceptor, counted, connections, stop.clone()));
    tasks.spawn(status::serve(http, Arc::new(status_front(&house)?), connections, stop.clone()));
    tasks.spawn(listen::serve_unix(socket, admin::router(house.admin()), ADMIN_CONNECTIONS_MAX, stop.clone()));
    if let Some(listener) = health_listener {
        let router = health::router(Health { store: house.store.clone(), metrics: house.metrics.clone() });
        tasks.spawn(listen::serve_plain(listener, router, HEALTH_CONNECTIONS_MAX, stop.clone()));
    }
    let status = house.status.clone();
    let status_stop = stop.clone();
    tasks.spawn(async move { status.run(status_stop).await });
    let lifetime = house.settings.acme.authorization_lifetime;
    let end = Arc::new(move |now| lifetime.after(now));
    tasks.spawn(
        ValidationWorker::new(house.store.clone(), house.clock.clone(), house.validator.clone(), end).run(stop.clone()),
    );
    tasks.spawn(Pruner::new(house.store.clone(), house.clock.clone(), house.settings.prune).run(stop.clone()));
    tasks.spawn(own.keep(stop.clone()));
    tracing::info!(directory = told.directory, http = told.http, "serving");
    ready(&told);

    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // A room that panics must not stay dark while the others look well.
            tracing::error!(%error, "a part of the daemon has failed");
            if error.is_panic() {
                std::process::abort();
            }
        }
    }
    let _ = std::fs::remove_file(house.dir.join(ADMIN_SOCKET));
    tracing::info!("stopped");
    Ok(())
}

/// Collects what relying parties can fetch: the issuing CA's and the root's certificates and CRLs.
fn status_front(house: &House) -> Result<StatusFront, ServeError> {
    let roots = folder::certificates(&house.dir.join(folder::ROOT_FILE)).map_err(super::house::part("the root's certificate"))?;
    let issuing = IssuerFiles {
        id: house.issuer.id().clone(),
        certificate_der: house.issuer.certificate().der.clone(),
        chain: roots.clone(),
        crl: None,
    };
    let root_crl = match std::fs::read(house.dir.join(folder::ROOT_CRL_FILE)) {
        Ok(der) => Some(der),
        Err(error) => {
            tracing::warn!(%error, "the root's CRL cannot be read and is not served");
            None
        }
    };
    let mut files = vec![issuing];
    if let (Some(root), Some(crl)) = (roots.first(), root_crl) {
        let id = folder::root_id();
        files.push(IssuerFiles { id, certificate_der: root.clone(), chain: vec![], crl: Some(crl) });
    }
    let files = StatusFiles::new(files, &roots).map_err(super::house::part("what is served to relying parties"))?;
    Ok(StatusFront::new(house.status.clone(), files, house.clock.clone()))
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { what: address.to_string(), source })
}

/// Binds the operators' socket, for the CA's own user alone.
///
/// The store's lock was taken before, so a socket that is there belongs to nobody any more.
fn bind_socket(path: &Path) -> Result<UnixListener, ServeError> {
    let listen = |source| ServeError::Listen { what: path.display().to_string(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(listen(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(listen)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(listen)?;
    Ok(listener)
}
