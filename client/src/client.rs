//! The whole client in one hand: one server, one folder.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::KeyPair;
use sigillo_protocol::acme::account::Account;
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::jose::jws::JwsSigner;
use sigillo_protocol::jose::signing_key::SigningKey;
use zeroize::Zeroizing;

use crate::account::{self, ActiveAccount, Registration};
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::hook::{self, Hook};
use crate::key::{self, KeyType};
use crate::keystore::{
    AccountRecord, CertificateName, CertificateSet, ChallengeSettings, Keystore, Renewal, StoredCertificate,
};
use crate::obtain::{self, OrderRequest};
use crate::progress::{Event, Progress};
use crate::renew;
use crate::request::CertificationRequest;
use crate::revoke;
use crate::session::Session;
use crate::solver::Solvers;
use crate::transport::Transport;

/// What the user wants when ordering.
#[derive(Debug, Clone, Default)]
pub struct OrderSettings {
    /// The names, as they are to stand in the certificate. Empty with a request of the user's own.
    pub names: Vec<Name>,
    /// What the certificate is kept as; the first name when it is not given.
    pub keep_as: Option<CertificateName>,
    /// What kind of key to make.
    pub key_type: KeyType,
    /// Whether renewals keep the key.
    pub reuse_key: bool,
    /// The user's own request.
    pub csr: Option<PathBuf>,
    /// The profile to issue under.
    pub profile: Option<String>,
    /// The program to run afterwards, now and at each renewal.
    pub deploy_hook: Option<PathBuf>,
    /// How control is proven at renewals: what the solvers given to [`Client::order`] were made of.
    pub challenges: ChallengeSettings,
    /// Where the roots are that the server's own certificate is checked against.
    pub ca_root: Option<PathBuf>,
}

/// One server and the folder in which keys and certificates are kept.
pub struct Client {
    session: Session,
    store: Keystore,
}

impl Client {
    /// Reads the server's directory.
    ///
    /// # Errors
    /// When the server cannot be reached, is not trusted, or is no ACME server.
    pub async fn connect(transport: Transport, directory: &str, store: Keystore) -> Result<Self> {
        Ok(Self {
            session: Session::connect(transport, directory).await?,
            store,
        })
    }

    /// Returns the session with the server.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the folder.
    pub fn store(&self) -> &Keystore {
        &self.store
    }

    /// Makes an account, or finds the one that the kept key has.
    ///
    /// # Errors
    /// When the terms are not agreed to, a binding is missing, or the server refuses.
    pub async fn register(&self, registration: &Registration, progress: &dyn Progress) -> Result<AccountRecord> {
        let key: Arc<dyn JwsSigner> = Arc::new(self.account_key()?);
        let (active, new) = account::register(&self.session, &key, registration).await?;
        let url = active.url;
        progress.event(&Event::Account { url: url.clone(), new });
        let directory = self.session.directory_url().to_owned();
        let mut record = AccountRecord {
            directory,
            url,
            contact: registration.contact.clone(),
        };
        if !new {
            let known = self.active(&record, &key);
            record.contact = known.show().await?.contact;
        }
        let _lock = self.store.lock()?;
        self.store.store_account(&record)?;
        Ok(record)
    }

    /// Returns the kept account key, or makes one and keeps it before it is used.
    fn account_key(&self) -> Result<SigningKey> {
        let directory = self.session.directory_url();
        let _lock = self.store.lock()?;
        if let Some(key) = self.store.account_key(directory)? {
            return Ok(key);
        }
        let pem = key::generate_account_key()?;
        self.store.store_account_key(directory, &pem)?;
        key::account_key_from_pem(pem.as_bytes())
    }

    /// Returns the account at this server.
    ///
    /// # Errors
    /// When there is none yet.
    pub fn account(&self) -> Result<(AccountRecord, Arc<dyn JwsSigner>)> {
        let directory = self.session.directory_url();
        let found = self.store.account(directory)?;
        let found = found.map(|(record, key)| (record, Arc::new(key) as Arc<dyn JwsSigner>));
        found.ok_or_else(|| {
            Error::usage(format!(
                "there is no account at {directory} yet: use `sigillo register`"
            ))
        })
    }

    /// Orders a certificate and keeps it with its key.
    ///
    /// # Errors
    /// When no solver fits a name, the server refuses, or the files cannot be written.
    pub async fn order(
        &self,
        settings: &OrderSettings,
        solvers: &Solvers,
        progress: &dyn Progress,
    ) -> Result<StoredCertificate> {
        let (csr, key) = match &settings.csr {
            Some(path) => (own_request(path, &settings.names)?, None),
            None => {
                let key = settings.key_type.generate()?;
                (CertificationRequest::new(&settings.names, &key)?, Some(key))
            }
        };
        let name = match &settings.keep_as {
            Some(name) => name.clone(),
            None => CertificateName::for_identifier(&csr.names[0].to_string())?,
        };
        let renewal = Renewal {
            directory: self.session.directory_url().to_owned(),
            ca_root: absolute(settings.ca_root.as_ref())?,
            names: csr.names.iter().map(ToString::to_string).collect(),
            challenges: settings.challenges.clone(),
            key_type: settings.key_type,
            reuse_key: settings.reuse_key,
            profile: settings.profile.clone(),
            csr: absolute(settings.csr.as_ref())?,
            deploy_hook: absolute(settings.deploy_hook.as_ref())?,
            state: Default::default(),
        };
        self.obtain(&name, csr, key, renewal, None, solvers, progress).await
    }

    /// Renews a certificate under the terms it was ordered with.
    ///
    /// # Errors
    /// As [`Client::order`], and when there is no certificate of this name.
    pub async fn renew(
        &self,
        name: &CertificateName,
        solvers: &Solvers,
        progress: &dyn Progress,
    ) -> Result<StoredCertificate> {
        let old = self.store.require_certificate(name)?;
        let renewal = &old.renewal;
        let names: Vec<Name> = renewal
            .names
            .iter()
            .map(|n| {
                n.parse()
                    .map_err(|e| Error::local(format!("cannot renew {name}: {n}"), e))
            })
            .collect::<Result<_>>()?;
        let (csr, key) = match &renewal.csr {
            Some(path) => (own_request(path, &names)?, None),
            None => {
                let key = match old.key()? {
                    Some(pem) if renewal.reuse_key => {
                        KeyPair::from_pem(&pem).map_err(|e| Error::local(format!("cannot use the key of {name}"), e))?
                    }
                    _ => renewal.key_type.generate()?,
                };
                (CertificationRequest::new(&names, &key)?, Some(key))
            }
        };
        let replaces = renew::ari_identifier(&old.leaf);
        self.obtain(name, csr, key, renewal.clone(), replaces, solvers, progress)
            .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call each from order and renew, all needed"
    )]
    async fn obtain(
        &self,
        name: &CertificateName,
        csr: CertificationRequest,
        key: Option<KeyPair>,
        mut renewal: Renewal,
        replaces: Option<String>,
        solvers: &Solvers,
        progress: &dyn Progress,
    ) -> Result<StoredCertificate> {
        let (record, account_key) = self.account()?;
        let active = self.active(&record, &account_key);
        let profile = renewal.profile.clone();
        let request = OrderRequest { csr, profile, replaces };
        let chain = obtain::obtain(&active, &request, solvers, progress).await?;
        renewal.state = renew::first_state(&validity(&chain), renew::random_fraction()?);
        let set = CertificateSet {
            certificates: chain.to_pem(),
            key: key.map(|key| Zeroizing::new(key.serialize_pem())),
            renewal,
        };
        let lock = self.store.lock()?;
        let dir = self.store.store_certificate(&lock, name, &set)?;
        drop(lock);
        progress.event(&Event::Stored { dir });
        self.store.require_certificate(name)
    }

    /// Runs the deploy hook of a certificate, if it has one.
    ///
    /// # Errors
    /// When the hook fails.
    pub async fn deploy(&self, stored: &StoredCertificate, progress: &dyn Progress) -> Result<()> {
        let Some(program) = &stored.renewal.deploy_hook else {
            return Ok(());
        };
        let dir = self.store.certificate_dir(&stored.name);
        let dir = std::path::absolute(&dir).map_err(|e| Error::file("find", &dir, e))?;
        let domains = &stored.renewal.names;
        hook::deploy(&Hook::new(program)?, stored.name.as_str(), domains, &dir).await?;
        progress.event(&Event::Deployed);
        Ok(())
    }

    /// Revokes a kept certificate; it is not renewed by itself any more.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn revoke(&self, name: &CertificateName, reason: Option<i64>, progress: &dyn Progress) -> Result<()> {
        let mut stored = self.store.require_certificate(name)?;
        self.revoke_certificate(&stored.leaf, None, reason, progress).await?;
        stored.renewal.state.revoked = true;
        let _lock = self.store.lock()?;
        self.store.update_renewal(&stored)
    }

    /// Revokes any certificate (DER): with its own key where that is given, else as this account.
    ///
    /// # Errors
    /// When the server refuses, or there is neither a key nor an account.
    pub async fn revoke_certificate(
        &self,
        certificate: &[u8],
        own_key: Option<Arc<dyn JwsSigner>>,
        reason: Option<i64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let serial = revoke::serial(certificate)?;
        match own_key {
            Some(key) => revoke::revoke(&self.session, &key, None, certificate, reason).await?,
            None => {
                let (record, key) = self.account()?;
                revoke::revoke(&self.session, &key, Some(&record.url), certificate, reason).await?;
            }
        }
        progress.event(&Event::Revoked { serial });
        Ok(())
    }

    /// Fetches what the server says about the account.
    ///
    /// # Errors
    /// When there is no account, or the server refuses.
    pub async fn show_account(&self) -> Result<(AccountRecord, Account)> {
        let (record, key) = self.account()?;
        let account = self.active(&record, &key).show().await?;
        Ok((record, account))
    }

    /// Replaces the account's contacts.
    ///
    /// # Errors
    /// When there is no account, or the server refuses one of them.
    pub async fn update_contact(&self, contact: Vec<String>) -> Result<AccountRecord> {
        let (mut record, key) = self.account()?;
        record.contact = self.active(&record, &key).update_contact(contact).await?.contact;
        let _lock = self.store.lock()?;
        self.store.store_account(&record)?;
        Ok(record)
    }

    /// Gives the account a new key.
    ///
    /// The new key is on the disk before the server hears of it. If the answer is lost, the next
    /// call finds out which of the two keys the server knows.
    ///
    /// # Errors
    /// When there is no account, or the server refuses.
    pub async fn change_key(&self) -> Result<()> {
        let (record, key) = self.account()?;
        let directory = self.session.directory_url();
        let _lock = self.store.lock()?;
        if let Some(staged) = self.store.staged_account_key(directory)?
            && let staged = Arc::new(staged) as Arc<dyn JwsSigner>
            && let Some(found) = account::find(&self.session, &staged).await?
            && found.url == record.url
        {
            return self.store.adopt_staged_account_key(directory);
        }
        let pem = key::generate_account_key()?;
        self.store.stage_account_key(directory, &pem)?;
        let new: Arc<dyn JwsSigner> = Arc::new(key::account_key_from_pem(pem.as_bytes())?);
        match self.active(&record, &key).change_key(&*new).await {
            Ok(()) => self.store.adopt_staged_account_key(directory),
            Err(e) => {
                // A refusal leaves the old key in force; anything else leaves that open.
                if e.problem().is_some() {
                    self.store.drop_staged_account_key(directory);
                }
                Err(e)
            }
        }
    }

    /// Closes the account for good and forgets its key.
    ///
    /// # Errors
    /// When there is no account, or the server refuses.
    pub async fn deactivate(&self) -> Result<()> {
        let (record, key) = self.account()?;
        self.active(&record, &key).deactivate().await?;
        let _lock = self.store.lock()?;
        self.store.forget_account(self.session.directory_url())
    }

    fn active<'a>(&'a self, record: &AccountRecord, key: &Arc<dyn JwsSigner>) -> ActiveAccount<'a> {
        ActiveAccount {
            session: &self.session,
            key: key.clone(),
            url: record.url.clone(),
        }
    }
}

fn validity(chain: &Chain) -> renew::Validity {
    renew::Validity {
        not_before: chain.not_before(),
        not_after: chain.not_after(),
    }
}

/// Reads the user's request; names given beside it have to be those in it.
fn own_request(path: &std::path::Path, names: &[Name]) -> Result<CertificationRequest> {
    let csr = CertificationRequest::from_file(path)?;
    let set = |names: &[Name]| names.iter().cloned().collect::<std::collections::BTreeSet<_>>();
    if names.is_empty() || set(names) == set(&csr.names) {
        return Ok(csr);
    }
    let inside: Vec<String> = csr.names.iter().map(ToString::to_string).collect();
    Err(Error::usage(format!(
        "the request {} is for {}",
        path.display(),
        inside.join(", ")
    )))
}

fn absolute(path: Option<&PathBuf>) -> Result<Option<PathBuf>> {
    let one = |path: &PathBuf| std::path::absolute(path).map_err(|e| Error::file("find", path, e));
    path.map(one).transpose()
}

/// Returns how many whole days are left until a moment; negative when it has passed.
pub fn days_left(until: Timestamp, now: Timestamp) -> i64 {
    until.duration_since(now).as_secs().div_euclid(24 * 3600)
}
