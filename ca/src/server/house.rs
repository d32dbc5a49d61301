//! The house: every room with what it rests on, opened from a state folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::SignedDuration;
use sigillo_protocol::x509::key::KeyKind;

use crate::{
    admin::Admin,
    clock::{SharedClock, SystemClock},
    config::{ConfigError, Settings},
    issuer::{self, Issuer, folder},
    notary::{Notary, NotaryParts},
    policy::KnownKeys,
    registrar::{Parts, Registrar},
    signer::{Keyring, Passphrase, PrivateKey},
    status::{CrlIssuer, CrlSettings, OcspIssuer, OcspSettings, StatusParts, StatusService},
    store::{
        Store,
        embedded::{self, SqliteStore},
    },
    telemetry::Metrics,
    validator::Validator,
};

/// A state folder that cannot be opened: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no CA in the folder.
    #[error("there is no CA in {}: make one with sigillo-ca init", .0.display())]
    NoCa(PathBuf),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process has the store open.
    #[error("{0}")]
    InUse(String),
    /// A part of it cannot be opened.
    #[error("{what} cannot be opened: {message}")]
    Part {
        /// Which part.
        what: &'static str,
        /// Why.
        message: String,
    },
}

pub(super) fn part<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> OpenError {
    move |error| OpenError::Part {
        what,
        message: error.to_string(),
    }
}

fn store_error(error: embedded::OpenError) -> OpenError {
    match error {
        in_use @ embedded::OpenError::InUse(_) => OpenError::InUse(in_use.to_string()),
        other => part("the store")(other),
    }
}

/// Every room of an open CA.
pub struct House {
    pub(super) dir: PathBuf,
    pub(super) settings: Settings,
    pub(super) clock: SharedClock,
    pub(super) store: Arc<dyn Store>,
    pub(super) keyring: Keyring,
    pub(super) issuer: Arc<Issuer>,
    pub(super) validator: Arc<Validator>,
    pub(super) status: Arc<StatusService>,
    pub(super) registrar: Arc<Registrar>,
    pub(super) notary: Option<Arc<Notary>>,
    pub(super) metrics: Arc<Metrics>,
}

impl House {
    /// Opens a state folder: one process at a time can.
    ///
    /// What a crash has left half done is finished or given up before this returns.
    ///
    /// # Errors
    /// [`OpenError`] with what the operator has to do.
    pub async fn open(dir: &Path, settings: Settings, passphrase: Option<Passphrase>) -> Result<Self, OpenError> {
        if !dir.join(folder::CHAIN_FILE).is_file() {
            return Err(OpenError::NoCa(dir.to_owned()));
        }
        let keyring = Keyring::new(dir.join(folder::KEYS_FOLDER), passphrase);
        let issuer = folder::load(dir, &keyring, &settings.server.public_http).map_err(part("the issuing CA"))?;
        Self::open_with(dir, settings, keyring, issuer).await
    }

    /// Opens a state folder under an issuer that has been made ready.
    ///
    /// # Errors
    /// As for [`House::open`].
    pub async fn open_with(
        dir: &Path,
        settings: Settings,
        keyring: Keyring,
        issuer: Issuer,
    ) -> Result<Self, OpenError> {
        let clock: SharedClock = Arc::new(SystemClock);
        let issuer = Arc::new(issuer);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&settings.store.path).map_err(store_error)?);
        let resumed = issuer::resume(&*store, std::slice::from_ref(&*issuer), clock.now())
            .await
            .map_err(part("what a crash left"))?;
        if !resumed.finished.is_empty() || !resumed.voided.is_empty() {
            let (finished, voided) = (resumed.finished.len(), resumed.voided.len());
            tracing::info!(finished, voided, "certificates that a crash interrupted are settled");
        }
        if !resumed.left.is_empty() {
            let left = resumed.left.len();
            tracing::error!(
                left,
                "certificates are left unfinished: does the clock show a time before they were begun?"
            );
        }
        let responder = super::own_certificate::responder(&keyring, &issuer, &*store, &clock).await?;
        let status = StatusService::open(
            store.clone(),
            clock.clone(),
            StatusParts {
                ocsp_issuers: vec![
                    OcspIssuer::new(issuer.id().clone(), &issuer.certificate().der, responder)
                        .map_err(part("the OCSP responder"))?,
                ],
                ocsp: OcspSettings {
                    validity: signed(settings.ocsp.validity),
                    cache_octets: u64::from(settings.ocsp.cache_megabytes) << 20,
                    index_certificates: settings.ocsp.index_certificates,
                    ..OcspSettings::default()
                },
                crl_issuers: vec![(issuer.id().clone(), crl_issuer(&issuer))],
                crl: CrlSettings {
                    validity: signed(settings.crl.validity),
                    interval: signed(settings.crl.interval),
                    on_revocation: settings.crl.on_revocation,
                    coalesce: settings.crl.gather,
                    delta: settings.crl.delta.map(signed),
                },
                index_dir: Some(dir.join("store/status-index")),
            },
        )
        .await
        .map_err(part("the status services"))?;
        let validator = Arc::new(Validator::new(settings.validation.clone()).map_err(part("the validator"))?);
        let known_keys = match &settings.keys.blocklist {
            Some(path) => KnownKeys::load(path).map_err(part("the list of keys to refuse"))?,
            None => KnownKeys::default(),
        };
        let registrar = Arc::new(Registrar::new(Parts {
            store: store.clone(),
            clock: clock.clone(),
            settings: settings.acme.clone(),
            profiles: settings.profiles.clone(),
            names: settings.names.clone(),
            known_keys,
            issuer: issuer.clone(),
            validator: validator.clone(),
            status: status.clone(),
        }));
        let notary = open_notary(dir, &settings, &keyring, &store, &clock).await?;
        let metrics = Arc::new(Metrics::default());
        Ok(Self {
            dir: dir.to_owned(),
            settings,
            clock,
            store,
            keyring,
            issuer,
            validator,
            status,
            registrar,
            notary,
            metrics,
        })
    }

    /// Returns who decides.
    pub fn registrar(&self) -> &Arc<Registrar> {
        &self.registrar
    }

    /// Returns what is remembered.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the clock.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns what operators can do.
    pub fn admin(&self) -> Admin {
        Admin {
            registrar: self.registrar.clone(),
            status: self.status.clone(),
            notary: self.notary.clone(),
        }
    }
}

/// Opens the audit log's notary, whose key is made where there is none yet.
///
/// A log that was altered stops no certificate and no status answer: it is told, and nothing is signed about it.
async fn open_notary(
    dir: &Path,
    settings: &Settings,
    keyring: &Keyring,
    store: &Arc<dyn Store>,
    clock: &SharedClock,
) -> Result<Option<Arc<Notary>>, OpenError> {
    let id = folder::log_id();
    if !keyring.holds(&id) {
        let key = PrivateKey::generate(KeyKind::Ed25519).map_err(part("the log's key"))?;
        keyring.store(&id, &key).map_err(part("the log's key"))?;
    }
    let base = &settings.server.public_http;
    let base = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
    let parts = NotaryParts {
        store: store.clone(),
        clock: clock.clone(),
        signer: keyring.load(&id).map_err(part("the log's key"))?,
        name: format!("{base}/log"),
        witnesses: settings.audit.witnesses.clone(),
        gather: settings.audit.gather,
        folder: Some(dir.to_owned()),
    };
    match Notary::open(parts).await {
        Ok(notary) => Ok(Some(notary)),
        Err(error) => {
            tracing::error!(%error, "no heads of the audit log are signed or served");
            Ok(None)
        }
    }
}

fn crl_issuer(issuer: &Issuer) -> CrlIssuer {
    CrlIssuer {
        subject_der: issuer.certificate().subject_der.clone(),
        key_identifier: issuer.certificate().key_identifier.clone(),
        signer: issuer.signer().clone(),
        distribution_point_url: issuer.urls().crl.clone(),
    }
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
