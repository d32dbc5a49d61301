//! Runs an open house: listeners, workers, and an end without loss.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::SignedDuration;

use axum::Router;
use sigillo_protocol::acme::directory::AuditLogMeta;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{
    ADMIN_SOCKET, House,
    own_certificate::OwnCertificate,
    sockets::{self, Sockets},
};
use crate::{
    admin,
    clock::SharedClock,
    front::{
        acme::{self, AcmeFront},
        health::{self, Health},
        limits::RateLimits,
        links::Links,
        listen,
        status::{self, IssuerFiles, StatusFiles, StatusFront},
        tls::{self, Identity},
    },
    issuer::{self, Issuer, folder},
    registrar::{Pruner, Renewer},
    store::Store,
    validator::{Applicant, ApplicantOf, ValidationWorker},
};

/// How many operators may be at the socket at once.
const ADMIN_CONNECTIONS_MAX: usize = 16;

/// How often it is looked for certificates whose issuing got stuck.
const SETTLE_EVERY: Duration = Duration::from_secs(30);

/// How old an intention has to be before it counts as stuck: signing and committing take well under a second.
const SETTLE_AFTER: SignedDuration = SignedDuration::from_secs(60);

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

/// What is behind the listeners over TLS.
pub struct Doors {
    /// The certificate that they show; the CA's own if `None`.
    pub identity: Option<Arc<Identity>>,
    /// The ACME resources.
    pub acme: Router,
    /// The URL of the ACME directory.
    pub directory: String,
    /// Other listeners, with what they serve.
    pub others: Vec<(SocketAddr, Router)>,
    /// What relying parties find besides the files of the issuing CA and its root.
    pub files: Vec<IssuerFiles>,
}

impl Doors {
    /// Returns what a daemon serves.
    fn usual(house: &House) -> Self {
        let links = Links::new(house.settings.server.public_https.clone());
        let directory = links.directory();
        let limits = RateLimits::new(&house.settings.limits);
        let front = AcmeFront::new(house.registrar.clone(), links, limits).with_log(log_meta(house));
        Self {
            identity: None,
            acme: acme::router(Arc::new(front)),
            directory,
            others: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// Serves until `stop` turns true, then drains connections and ends the workers.
///
/// # Errors
/// When it cannot start; nothing is left running then.
pub async fn run(
    house: House,
    sockets: &Sockets,
    stop: watch::Receiver<bool>,
    ready: impl FnOnce(&Ready),
) -> Result<(), ServeError> {
    let doors = Doors::usual(&house);
    run_behind(house, doors, sockets, stop, ready).await
}

/// Serves like [`run`], with other doors.
///
/// # Errors
/// As for [`run`].
pub async fn run_behind(
    house: House,
    doors: Doors,
    sockets: &Sockets,
    stop: watch::Receiver<bool>,
    ready: impl FnOnce(&Ready),
) -> Result<(), ServeError> {
    let server = &house.settings.server;
    let https = bind(sockets, server.https).await?;
    let http = bind(sockets, server.http).await?;
    let health_listener = match server.health {
        Some(address) => Some(bind(sockets, address).await?),
        None => None,
    };
    let mut addresses = server.addresses();
    let mut others = Vec::new();
    for (address, router) in doors.others {
        others.push((bind(sockets, address).await?, router));
        addresses.push(address);
    }
    sockets.keep_only(&addresses);
    let socket_path = house.dir.join(ADMIN_SOCKET);
    let socket = sockets::operators(&socket_path, &house.dir.join(folder::KEYS_FOLDER)).map_err(|source| {
        ServeError::Listen {
            what: socket_path.display().to_string(),
            source,
        }
    })?;
    let own = OwnCertificate::obtain(&house).await?;
    let tls_config = tls::server_config(doors.identity.unwrap_or_else(|| own.identity()))?;
    let acceptor = TlsAcceptor::from(Arc::new(tls_config));

    let applicant = applicant_of(Links::new(server.public_https.clone()));
    let told = Ready {
        directory: doors.directory,
        http: server.public_http.clone(),
    };
    let connections = house.settings.limits.connections;
    let metrics = house.metrics.clone();
    let counted = doors.acme.layer(axum::middleware::map_response(
        move |response: axum::response::Response| {
            metrics.count_acme(response.status().as_u16());
            std::future::ready(response)
        },
    ));

    let mut tasks = JoinSet::new();
    for (listener, router) in others {
        let acceptor = acceptor.clone();
        tasks.spawn(listen::serve_tls(listener, acceptor, router, connections, stop.clone()));
    }
    tasks.spawn(listen::serve_tls(https, acceptor, counted, connections, stop.clone()));
    tasks.spawn(status::serve(
        http,
        Arc::new(status_front(&house, doors.files)?),
        connections,
        stop.clone(),
    ));
    tasks.spawn(listen::serve_unix(
        socket,
        admin::router(house.admin()),
        ADMIN_CONNECTIONS_MAX,
        stop.clone(),
    ));
    if let Some(listener) = health_listener {
        let router = health::router(Health {
            store: house.store.clone(),
            issuer: house.issuer.id().clone(),
            metrics: house.metrics.clone(),
        });
        tasks.spawn(listen::serve_plain(
            listener,
            router,
            HEALTH_CONNECTIONS_MAX,
            stop.clone(),
        ));
    }
    let status = house.status.clone();
    let status_stop = stop.clone();
    tasks.spawn(async move { status.run(status_stop).await });
    let lifetime = house.settings.acme.authorization_lifetime;
    let end = Arc::new(move |now| lifetime.after(now));
    tasks.spawn(
        ValidationWorker::new(
            house.store.clone(),
            house.clock.clone(),
            house.validator.clone(),
            end,
            applicant,
        )
        .run(stop.clone()),
    );
    if house.settings.acme.auto_renewal.is_some() {
        let links = Links::new(server.public_https.clone());
        let account_url = Arc::new(move |account| links.account(account));
        tasks.spawn(Renewer::new(house.registrar.clone(), account_url).run(stop.clone()));
    }
    tasks.spawn(Pruner::new(house.store.clone(), house.clock.clone(), house.settings.prune).run(stop.clone()));
    if let Some(notary) = house.notary.clone() {
        tasks.spawn(notary.run(stop.clone()));
    }
    tasks.spawn(own.keep(stop.clone()));
    tasks.spawn(settle_interrupted(
        house.store.clone(),
        house.issuer.clone(),
        house.clock.clone(),
        stop.clone(),
    ));
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
    let _ = std::fs::remove_file(&socket_path);
    tracing::info!("stopped");
    Ok(())
}

/// Tells how accounts are named in records of the DNS: as the answers to their holders name them.
fn applicant_of(links: Links) -> ApplicantOf {
    Arc::new(move |account| Applicant {
        account_url: links.account(account.id),
        hash_prefix: links.account_hash_prefix(),
        thumbprints: account.thumbprints(),
    })
}

/// Finishes or gives up what was intended and got stuck: a key that did not sign, a disk that was full for a while.
///
/// Without this, such an order would stay in processing until the next start.
async fn settle_interrupted(
    store: Arc<dyn Store>,
    issuer: Arc<Issuer>,
    clock: SharedClock,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SETTLE_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let now = clock.now();
        let before = now.checked_sub(SETTLE_AFTER).unwrap_or(now);
        match issuer::resume_before(&*store, std::slice::from_ref(&*issuer), now, before).await {
            Ok(settled) if settled.finished.is_empty() && settled.voided.is_empty() => {}
            Ok(settled) => {
                let (finished, voided) = (settled.finished.len(), settled.voided.len());
                tracing::warn!(finished, voided, "certificates whose issuing got stuck are settled");
            }
            Err(error) => tracing::warn!(%error, "certificates whose issuing got stuck are not settled yet"),
        }
    }
}

/// Collects what relying parties can fetch: the issuing CA's and the root's certificates and CRLs.
fn status_front(house: &House, others: Vec<IssuerFiles>) -> Result<StatusFront, ServeError> {
    let roots = folder::certificates(&house.dir.join(folder::ROOT_FILE))
        .map_err(super::house::part("the root's certificate"))?;
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
    files.extend(others);
    if let (Some(root), Some(crl)) = (roots.first(), root_crl) {
        let id = folder::root_id();
        files.push(IssuerFiles {
            id,
            certificate_der: root.clone(),
            chain: vec![],
            crl: Some(crl),
        });
    }
    let files = StatusFiles::new(files, &roots).map_err(super::house::part("what is served to relying parties"))?;
    Ok(StatusFront::new(house.status.clone(), files, house.clock.clone()).with_log(house.notary.clone()))
}

/// Tells ACME clients, over TLS, where the audit log is and which key verifies it.
fn log_meta(house: &House) -> Option<AuditLogMeta> {
    house.notary.as_ref().map(|notary| AuditLogMeta {
        url: format!("{}/log/{}", house.settings.server.public_http, notary.epoch()),
        key: notary.key().to_string(),
    })
}

async fn bind(sockets: &Sockets, address: SocketAddr) -> Result<TcpListener, ServeError> {
    sockets.listen(address).await.map_err(|source| ServeError::Listen {
        what: address.to_string(),
        source,
    })
}
