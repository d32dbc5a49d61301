//! The CA's own leaves: the certificate that its HTTPS serves with, and its OCSP responder's.
//!
//! Both are issued like any other certificate: prepared, linted, recorded, signed. Keys and
//! certificates lie in the state folder, so that a restart does not issue again; they are renewed when a
//! third of their life is left, without a restart.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sigillo_protocol::acme::identifier::Name;
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::house::{House, OpenError, part};
use crate::{
    clock::SharedClock,
    digest::sha256,
    front::tls::Identity,
    issuer::{self, IssueRequest, Issuer, folder},
    model::{Actor, Certificate, Serial},
    policy::Profile,
    signer::{Keyring, PrivateKey},
    status::{Responder, StatusService},
    store::{CertificateFilter, Page, Store},
};

/// How often it looks whether something has to be renewed.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// One is made every few weeks and kept for a year, so far fewer are there.
const RESPONDERS_MAX: usize = 1000;

const TLS_FOLDER: &str = "tls";
const TLS_KEY: &str = "key.pem";
const TLS_CHAIN: &str = "chain.pem";

/// The certificate that HTTPS serves with, and what it takes to renew it and the responder's.
pub struct OwnCertificate {
    dir: PathBuf,
    names: Vec<Name>,
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
    clock: SharedClock,
    keyring: Keyring,
    status: Arc<StatusService>,
    identity: Arc<Identity>,
}

/// Issues one of the CA's own certificates for a key.
pub async fn issue(
    profile: &Profile,
    names: &[Name],
    subject: Option<String>,
    spki_der: &[u8],
    issuer: &Issuer,
    store: &dyn Store,
    now: Timestamp,
) -> Result<Certificate, OpenError> {
    let failed = "a certificate of the CA's own";
    let request = IssueRequest {
        spki_der: spki_der.to_vec(),
        names: names.to_vec(),
        common_name: subject,
        ..IssueRequest::default()
    };
    let linted = issuer::prepare(issuer, profile, request, Serial::random(), now)
        .map_err(part(failed))?
        .lint()
        .map_err(part(failed))?;
    let recorded = linted.record_alone(store).await.map_err(part(failed))?;
    let signed = recorded.sign(issuer).map_err(part(failed))?;
    let certificate = signed.certificate().clone();
    store
        .commit(signed.batch(Actor::System("server".to_owned()), now))
        .await
        .map_err(part(failed))?;
    Ok(certificate)
}

/// Finds the OCSP responder, with a new certificate if there is none or the last one is near its end.
pub async fn responder(
    keyring: &Keyring,
    issuer: &Issuer,
    store: &dyn Store,
    clock: &SharedClock,
) -> Result<Responder, OpenError> {
    let now = clock.now();
    let signer = keyring
        .load(&folder::responder_id())
        .map_err(part("the OCSP responder's key"))?;
    let der = match responder_certificate(store, signer.spki_der(), now).await? {
        Some(der) => der,
        None => {
            let name = format!("OCSP responder of {}", issuer.id());
            issuer::issue_ocsp_responder(store, issuer, &signer, &name, now)
                .await
                .map_err(part("the OCSP responder's certificate"))?
                .der()
                .unwrap_or_default()
                .to_vec()
        }
    };
    Responder::new(&der, signer, false).map_err(part("the OCSP responder"))
}

/// Finds a fresh certificate of the responder's key in the store: no file can lag behind it.
async fn responder_certificate(
    store: &dyn Store,
    spki_der: &[u8],
    now: Timestamp,
) -> Result<Option<Vec<u8>>, OpenError> {
    let filter = CertificateFilter {
        state: Some("issued".to_owned()),
        profile: Some(Profile::OCSP_RESPONDER.to_owned()),
        spki_sha256: Some(sha256(spki_der)),
        ..CertificateFilter::default()
    };
    let found = store
        .certificates(&filter, Page::first(RESPONDERS_MAX))
        .await
        .map_err(part("the store"))?;
    let latest = found.into_iter().max_by_key(|certificate| certificate.not_after);
    Ok(latest
        .and_then(|c| c.der().map(<[u8]>::to_vec))
        .filter(|der| is_fresh(der, now)))
}

/// Whether a certificate has more than a third of its life left.
fn is_fresh(der: &[u8], now: Timestamp) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let (start, end) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    let now = now.as_second();
    start <= now && now < end - (end - start) / 3
}

impl OwnCertificate {
    /// Loads the certificate that HTTPS serves with, or issues one.
    pub async fn obtain(house: &House) -> Result<Self, OpenError> {
        let names = house.settings.server.names.clone();
        let now = house.clock.now();
        let (chain, key) = match load(&house.dir, &house.issuer, &names, now) {
            Some(found) => found,
            None => renewed(&house.dir, &house.issuer, &*house.store, &names, now).await?,
        };
        let identity = Identity::new(chain, key).map_err(part("the CA's own certificate"))?;
        Ok(Self {
            dir: house.dir.clone(),
            names,
            issuer: house.issuer.clone(),
            store: house.store.clone(),
            clock: house.clock.clone(),
            keyring: house.keyring.clone(),
            status: house.status.clone(),
            identity,
        })
    }

    /// Returns what the listener shows.
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.clone()
    }

    /// Renews both certificates in time until told to stop.
    pub async fn keep(self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "a certificate of the CA's own was not renewed; it is tried again");
            }
        }
    }

    async fn look(&self) -> Result<(), OpenError> {
        let now = self.clock.now();
        if load(&self.dir, &self.issuer, &self.names, now).is_none() {
            let (chain, key) = renewed(&self.dir, &self.issuer, &*self.store, &self.names, now).await?;
            self.identity
                .replace(chain, key)
                .map_err(part("the CA's own certificate"))?;
            tracing::info!("the CA's own certificate is renewed");
        }
        let signer = self
            .keyring
            .load(&folder::responder_id())
            .map_err(part("the OCSP responder's key"))?;
        if responder_certificate(&*self.store, signer.spki_der(), now)
            .await?
            .is_none()
        {
            let responder = responder(&self.keyring, &self.issuer, &*self.store, &self.clock).await?;
            for issuer in self.status.ocsp().issuers() {
                if issuer.id() == self.issuer.id() {
                    issuer
                        .replace_responder(responder)
                        .map_err(part("the OCSP responder"))?;
                    break;
                }
            }
            tracing::info!("the OCSP responder's certificate is renewed");
        }
        Ok(())
    }
}

type Loaded = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Loads what lies in the folder, if it is fresh, from this issuer, and has exactly these names.
fn load(dir: &Path, issuer: &Issuer, names: &[Name], now: Timestamp) -> Option<Loaded> {
    let folder = dir.join(TLS_FOLDER);
    let key = PrivateKeyDer::from_pem_file(folder.join(TLS_KEY)).ok()?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(folder.join(TLS_CHAIN))
        .ok()?
        .collect::<Result<_, _>>()
        .ok()?;
    let leaf = chain.first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let ours = parsed.issuer().as_raw() == issuer.certificate().subject_der;
    (ours && is_fresh(leaf, now) && holds(&parsed, names)).then_some((chain, key))
}

fn holds(certificate: &X509Certificate<'_>, names: &[Name]) -> bool {
    use std::collections::BTreeSet;
    use x509_parser::extensions::GeneralName;
    let Ok(Some(san)) = certificate.subject_alternative_name() else {
        return false;
    };
    let held: BTreeSet<String> = san
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => match octets.len() {
                4 => <[u8; 4]>::try_from(*octets)
                    .ok()
                    .map(|o| std::net::Ipv4Addr::from(o).to_string()),
                _ => <[u8; 16]>::try_from(*octets)
                    .ok()
                    .map(|o| std::net::Ipv6Addr::from(o).to_string()),
            },
            _ => None,
        })
        .collect();
    held == names.iter().map(ToString::to_string).collect()
}

async fn renewed(
    dir: &Path,
    issuer: &Issuer,
    store: &dyn Store,
    names: &[Name],
    now: Timestamp,
) -> Result<Loaded, OpenError> {
    let failed = "the CA's own certificate";
    // P-256 whatever the CA's own key is: the cheapest full handshake that everybody speaks.
    let key = PrivateKey::generate(sigillo_protocol::x509::key::KeyKind::EcdsaP256).map_err(part(failed))?;
    let pem = key.to_pem(None).map_err(part(failed))?;
    let signer = crate::signer::SoftwareSigner::new(&key).map_err(part(failed))?;
    let spki = crate::signer::Signer::spki_der(&signer).to_vec();
    let certificate = issue(&Profile::ca_server(), names, None, &spki, issuer, store, now).await?;
    let chain = issuer
        .chain_pem(certificate.der().unwrap_or_default(), 0)
        .unwrap_or_default();
    let folder = dir.join(TLS_FOLDER);
    fs::create_dir_all(&folder).map_err(part(failed))?;
    // Key first: a crash in between leaves a chain that is not the key's, and the next start issues again.
    replace_file(&folder.join(TLS_KEY), pem.as_bytes(), 0o600).map_err(part(failed))?;
    replace_file(&folder.join(TLS_CHAIN), chain.as_bytes(), 0o644).map_err(part(failed))?;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(part(failed))?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(part(failed))?;
    Ok((chain, key))
}

/// Writes a file so that either the old or the new one is there, never a half.
fn replace_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    use io::Write as _;
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
