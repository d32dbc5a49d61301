//! Puts the personality together: chains, keys for account binding, the layer of chaos, the management interface.

use std::{net::SocketAddr, path::Path, sync::Arc};

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use sigillo_protocol::base64url;
use zeroize::Zeroizing;

use super::{
    Config, Environment,
    chaos::{self, Chaos},
    fronts::{Fronts, PATHS},
    management::{self, Management, ShownChain},
    renewal::Overrides,
};
use crate::{
    config::Settings,
    front::{
        status::IssuerFiles,
        tls::{Identity, TlsError},
    },
    issuer::{self, CeremonyError, CeremonyOptions, IssuerError, IssuerUrls, Lineage, folder},
    model::{Action, Actor, AuditEvent, ExternalKey, Version},
    pem,
    server::{Doors, House, OpenError},
    signer::Keyring,
    store::{Batch, Change, CommitError},
};

/// A personality that cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The chains cannot be made.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// The chains do not fit the issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The issuing CA cannot be read back.
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
    /// The house cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The certificate for HTTPS cannot be used.
    #[error("the certificate for HTTPS: {0}")]
    Certificate(String),
    /// It cannot be shown.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key for account binding cannot be used.
    #[error("externalAccountMACKeys: the key of {0:?} is not base64url")]
    MacKey(String),
    /// It cannot be kept.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A key file cannot be read.
    #[error("{file}: {source}")]
    Key {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Where it listens besides the address of the settings.
#[derive(Debug, Clone, Default)]
pub struct Listeners {
    /// For ACME.
    pub acme_besides: Vec<SocketAddr>,
    /// For the management interface; nowhere if it is empty.
    pub management: Vec<SocketAddr>,
}

/// The house with its doors.
pub struct Built {
    /// Every room.
    pub house: House,
    /// What is behind the listeners.
    pub doors: Doors,
    /// Whether HTTPS shows the configured certificate; otherwise it shows one of this CA's own.
    pub configured_identity: bool,
    /// How many roots the management interface shows.
    pub roots: usize,
}

/// What the personality is built from.
pub struct Plan<'a> {
    /// The folder with the CA that was just made.
    pub dir: &'a Path,
    /// How it was made.
    pub options: &'a CeremonyOptions,
    /// Pebble's configuration.
    pub config: &'a Config,
    /// Pebble's environment.
    pub environment: &'a Environment,
    /// What both mean in the daemon's settings.
    pub settings: Settings,
    /// Where it listens besides.
    pub listeners: Listeners,
    /// What goes wrong on purpose.
    pub rules: chaos::Rules,
    /// The present moment.
    pub now: Timestamp,
}

/// Builds the personality.
///
/// # Errors
/// What cannot be made, read or used.
pub async fn build(plan: Plan<'_>) -> Result<Built, StartError> {
    let Plan {
        dir,
        config,
        environment,
        settings,
        listeners,
        rules,
        now,
        ..
    } = plan;
    let keyring = Keyring::new(dir.join(folder::KEYS_FOLDER), None);
    let shape = (environment.alternate_roots, environment.chain_length);
    let lineages = issuer::make_lineages(dir, &keyring, plan.options, shape, now)?;
    let shown = shown_chains(&keyring, &lineages)?;
    let intermediate_key = key_text(&keyring, &folder::issuing_id())?;

    let issuer = issuer_of(&keyring, config, &settings, &lineages)?;
    let base = settings.server.public_https.clone();
    let house = House::open_with(dir, settings, keyring, issuer).await?;
    add_mac_keys(&house, config, now).await?;
    let identity = configured_identity(config)?;

    let overrides = Arc::new(Overrides::default());
    let limits = house.settings().limits.clone();
    let fronts = Fronts::new(house.registrar().clone(), limits, &base);
    let chaos = Arc::new(Chaos::new(rules, house.clock().clone()));
    let mut others = Vec::new();
    if let Some(first) = listeners.management.first() {
        let router = management::router(Management {
            chains: shown,
            intermediate_key,
            base: format!("https://localhost:{}", first.port()),
            store: house.store().clone(),
            overrides: overrides.clone(),
            chaos: chaos.clone(),
        });
        others.extend(listeners.management.iter().map(|address| (*address, router.clone())));
    }
    let acme = chaos::router(chaos, Arc::new(super::Behind { fronts, overrides }));
    others.extend(listeners.acme_besides.iter().map(|address| (*address, acme.clone())));
    let doors = Doors {
        identity,
        acme,
        directory: format!("{base}{}", PATHS.directory),
        others,
        files: files(&lineages),
    };
    Ok(Built {
        configured_identity: doors.identity.is_some(),
        roots: lineages.len(),
        house,
        doors,
    })
}

/// Loads the issuing CA with all its chains, and the OCSP responder that certificates are to name.
fn issuer_of(
    keyring: &Keyring,
    config: &Config,
    settings: &Settings,
    lineages: &[Lineage],
) -> Result<issuer::Issuer, StartError> {
    let chains: Vec<Vec<Vec<u8>>> = lineages
        .iter()
        .map(|lineage| lineage.certificates.iter().map(|c| c.der.clone()).collect())
        .collect();
    let main = &lineages[0].certificates;
    let mut urls = IssuerUrls::new(&settings.server.public_http, &main[0].id)?;
    if let Some(responder) = &config.ocsp_responder {
        urls.ocsp.clone_from(responder);
    }
    let signer = keyring.load(&main[0].id).map_err(folder::FolderError::from)?;
    let above = &chains[0][1..];
    Ok(issuer::Issuer::new(main[0].clone(), above, signer, urls)?.with_chains(&chains)?)
}

fn shown_chains(keyring: &Keyring, lineages: &[Lineage]) -> Result<Vec<ShownChain>, StartError> {
    let shown = |lineage: &Lineage| {
        Ok(ShownChain {
            root: pem::certificate(&lineage.root().der),
            root_key: key_text(keyring, &lineage.root().id)?,
            intermediate: pem::certificate(&lineage.certificates[0].der),
        })
    };
    lineages.iter().map(shown).collect()
}

/// The keys of a test CA are nobody's secret: they are shown to whoever asks, as Pebble does.
fn key_text(keyring: &Keyring, id: &crate::model::IssuerId) -> Result<String, StartError> {
    let path = keyring.path(id);
    std::fs::read_to_string(&path).map_err(|source| StartError::Key {
        file: path.display().to_string(),
        source,
    })
}

/// What relying parties can fetch of the CAs above the issuing one; the main root's is served anyhow.
fn files(lineages: &[Lineage]) -> Vec<IssuerFiles> {
    let main_root = folder::root_id();
    let mut files = Vec::new();
    for lineage in lineages {
        let above = lineage.certificates.iter().enumerate().skip(1).zip(&lineage.crls);
        for ((position, certificate), crl) in above.filter(|((_, own), _)| own.id != main_root) {
            files.push(IssuerFiles {
                id: certificate.id.clone(),
                certificate_der: certificate.der.clone(),
                chain: lineage.certificates[position + 1..]
                    .iter()
                    .map(|c| c.der.clone())
                    .collect(),
                crl: Some(crl.clone()),
            });
        }
    }
    files
}

/// Reads the configured certificate where both its files are there.
fn configured_identity(config: &Config) -> Result<Option<Arc<Identity>>, StartError> {
    let (Some(certificate), Some(key)) = (&config.certificate, &config.private_key) else {
        return Ok(None);
    };
    if !certificate.is_file() || !key.is_file() {
        return Ok(None);
    }
    let failed =
        |path: &Path, error: &dyn std::fmt::Display| StartError::Certificate(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    Ok(Some(Identity::new(chain, key)?))
}

async fn add_mac_keys(house: &House, config: &Config, now: Timestamp) -> Result<(), StartError> {
    for (kid, text) in &config.mac_keys {
        let hmac = base64url::decode(text.trim_end_matches('=')).map_err(|_| StartError::MacKey(kid.clone()))?;
        let key = ExternalKey {
            kid: kid.clone(),
            version: Version::NEW,
            hmac: Zeroizing::new(hmac),
            label: "from the configuration".to_owned(),
            created: now,
            account: None,
            disabled: false,
        };
        let event = AuditEvent {
            at: now,
            actor: Actor::System("pebble".to_owned()),
            action: Action::ExternalKeyCreated,
            subject: kid.clone(),
            detail: json!({}),
        };
        let batch = Batch::new(event).with(Change::ExternalKey(key));
        house.store().commit(batch).await?;
    }
    Ok(())
}
