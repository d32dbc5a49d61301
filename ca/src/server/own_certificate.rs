//! The CA's own leaves: the certificate that its HTTPS serves with, and its OCSP responder's.
//!
//! Both are issued like any other certificate: prepared, linted, recorded, signed. Their keys lie in the state
//! folder and their certificates are found in the store, so that a restart does not issue again; they are renewed
//! when a third of their life is left or when they were revoked, without a restart.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sigillo_protocol::{acme::identifier::Name, x509::key::KeyKind};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::house::{House, OpenError, part};
use crate::{
    clock::SharedClock,
    digest::sha256,
    front::tls::Identity,
    issuer::{self, IssueRequest, Issuer, folder},
    model::{Actor, Certificate, Serial},
    policy::Profile,
    signer::{Keyring, PrivateKey, Signer, SoftwareSigner},
    status::{Responder, StatusService},
    store::{CertificateFilter, Page, Store},
};

/// How often it looks whether something has to be renewed.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// One is made every few weeks and kept for a year, so far fewer are there.
const RESPONDERS_MAX: usize = 1000;

const TLS_FOLDER: &str = "tls";
const TLS_KEY: &str = "key.pem";

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
        let origin = Origin {
            dir: &house.dir,
            keyring: &house.keyring,
            issuer: &house.issuer,
            store: &*house.store,
            names: &names,
            now,
        };
        let (chain, key) = match load(&origin).await? {
            Some(found) => found,
            None => renewed(&origin).await?,
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
        let origin = Origin {
            dir: &self.dir,
            keyring: &self.keyring,
            issuer: &self.issuer,
            store: &*self.store,
            names: &self.names,
            now,
        };
        if load(&origin).await?.is_none() {
            let (chain, key) = renewed(&origin).await?;
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

const OWN: &str = "the CA's own certificate";

/// Finds the key in the folder and a certificate for it in the store: fresh, not revoked, with exactly these names.
async fn load(from: &Origin<'_>) -> Result<Option<Loaded>, OpenError> {
    let Ok(text) = fs::read_to_string(from.dir.join(TLS_FOLDER).join(TLS_KEY)).map(Zeroizing::new) else {
        return Ok(None);
    };
    let Ok(key) = PrivateKey::from_pem(&text, from.keyring.passphrase()) else {
        return Ok(None);
    };
    let signer = SoftwareSigner::new(&key).map_err(part(OWN))?;
    let filter = CertificateFilter {
        state: Some("issued".to_owned()),
        profile: Some(Profile::CA_SERVER.to_owned()),
        spki_sha256: Some(sha256(signer.spki_der())),
        ..CertificateFilter::default()
    };
    let found = from
        .store
        .certificates(&filter, Page::first(RESPONDERS_MAX))
        .await
        .map_err(part("the store"))?;
    let wanted: BTreeSet<&Name> = from.names.iter().collect();
    let fits = |c: &Certificate| {
        c.issuer == *from.issuer.id()
            && c.names.iter().collect::<BTreeSet<_>>() == wanted
            && c.der().is_some_and(|der| is_fresh(der, from.now))
    };
    match found.into_iter().filter(fits).max_by_key(|c| c.not_after) {
        Some(certificate) => loaded(from.issuer, &certificate, &key).map(Some),
        None => Ok(None),
    }
}

/// What the CA's own certificate is found or made from.
struct Origin<'a> {
    dir: &'a Path,
    keyring: &'a Keyring,
    issuer: &'a Issuer,
    store: &'a dyn Store,
    names: &'a [Name],
    now: Timestamp,
}

async fn renewed(from: &Origin<'_>) -> Result<Loaded, OpenError> {
    // P-256 whatever the CA's own key is: the cheapest full handshake that everybody speaks.
    let key = PrivateKey::generate(KeyKind::EcdsaP256).map_err(part(OWN))?;
    let signer = SoftwareSigner::new(&key).map_err(part(OWN))?;
    let profile = Profile::ca_server();
    let certificate = issue(
        &profile,
        from.names,
        None,
        signer.spki_der(),
        from.issuer,
        from.store,
        from.now,
    )
    .await?;
    let folder = from.dir.join(TLS_FOLDER);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(part(OWN))?;
    // A crash before this leaves a certificate without its key: the next start issues another one.
    let pem = key.to_pem(from.keyring.passphrase()).map_err(part(OWN))?;
    replace_file(&folder.join(TLS_KEY), pem.as_bytes(), 0o600).map_err(part(OWN))?;
    loaded(from.issuer, &certificate, &key)
}

fn loaded(issuer: &Issuer, certificate: &Certificate, key: &PrivateKey) -> Result<Loaded, OpenError> {
    let chain = issuer
        .chain_pem(certificate.der().unwrap_or_default(), 0)
        .unwrap_or_default();
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(part(OWN))?;
    let pem = key.to_pem(None).map_err(part(OWN))?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(part(OWN))?;
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
