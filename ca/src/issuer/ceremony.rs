//! The ceremony that makes a CA: root, issuing CA, OCSP responder, their keys and the root's CRL.
//!
//! Everything is made in a folder of its own inside the CA's and moved into place when all of it is
//! there; `root.pem` comes last, so that its presence means a whole CA.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{Timestamp, ToSpan};
use sigillo_protocol::x509::key::KeyKind;

use super::{
    authority::{self, AuthorityError, Subject},
    certificate::{Issuer, IssuerCertificate, IssuerError, IssuerUrls},
    encode,
    issue::SignFailure,
    lint::LintError,
    prepare::{IssueRequest, PrepareError, prepare},
};
use crate::{
    model::{Action, Actor, AuditEvent, Certificate, IssuerId, Serial},
    policy::{
        NameConstraints,
        profile::{CalendarSpan, Profile, Validity},
    },
    signer::{KeyMaterialError, Keyring, KeyringError, Passphrase, PrivateKey, SharedSigner, SoftwareSigner},
    store::{Batch, CommitError, Store},
};

/// What kind of CA to make.
#[derive(Debug, Clone)]
pub struct CeremonyOptions {
    /// What it is called: the certificates are named `NAME Root CA` and `NAME Issuing CA 1`.
    pub name: String,
    /// The organisation in the certificates' subjects.
    pub organization: Option<String>,
    /// The kind of all its keys.
    pub key: KeyKind,
    /// How long the root lasts.
    pub root_validity: CalendarSpan,
    /// How long the issuing CA lasts; the root's CRL lasts as long, since the root's key is not
    /// expected to be at hand before the next ceremony.
    pub issuer_validity: CalendarSpan,
    /// For which names the issuing CA may issue.
    pub constraints: NameConstraints,
    /// What the keys are encrypted with.
    pub passphrase: Option<Passphrase>,
    /// The base of the URLs in certificates.
    pub public_http: String,
    /// The text of `sigillo.toml`, unless one is there already.
    pub configuration: String,
}

/// A CA that was not made. Nothing of it was left behind.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The folder holds a CA.
    #[error("{}: there is a CA already", .0.display())]
    AlreadyThere(PathBuf),
    /// The folder holds something with a name that the CA needs.
    #[error("{}: is in the way; if it remains from an interrupted init, remove it", .0.display())]
    InTheWay(PathBuf),
    /// The name does not fit into a certificate.
    #[error(
        "a CA's name has between 1 and {} characters, none of them a control character",
        CeremonyOptions::NAME_MAX
    )]
    Name,
    /// The root would end before the issuing CA, or never.
    #[error("the issuing CA must end before the root, and both within the calendar")]
    Validity,
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyMaterialError),
    /// A key cannot be kept.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A CA certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The issuing CA cannot be used.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The OCSP responder's certificate cannot be issued.
    #[error("the OCSP responder's certificate: {0}")]
    Responder(#[from] ResponderError),
    /// What was made before cannot be read back.
    #[error(transparent)]
    Folder(#[from] super::folder::FolderError),
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(String),
}

/// An OCSP responder's certificate that was not issued.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// It was not decided on.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A mistake of ours.
    #[error(transparent)]
    Lint(#[from] LintError),
    /// It was not recorded.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It was not signed.
    #[error(transparent)]
    Sign(#[from] SignFailure),
}

impl CeremonyOptions {
    /// The longest name: with what is put behind it, a common name holds 64 characters.
    pub const NAME_MAX: usize = 64 - " Issuing CA 1".len();

    /// Makes options with the usual choices: ECDSA P-256, a root for 20 years, an issuing CA for 5.
    pub fn new(name: impl Into<String>, public_http: impl Into<String>) -> Self {
        let span = |text| CalendarSpan::parse(text).expect("invariant: the text is a length of time");
        Self {
            name: name.into(),
            organization: None,
            key: KeyKind::EcdsaP256,
            root_validity: span("20y"),
            issuer_validity: span("5y"),
            constraints: NameConstraints::default(),
            passphrase: None,
            public_http: public_http.into(),
            configuration: String::new(),
        }
    }
}

/// A CA that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The root.
    pub root: IssuerCertificate,
    /// The issuing CA.
    pub issuing: IssuerCertificate,
    /// The OCSP responder's certificate.
    pub ocsp: Serial,
    /// SHA-256 of the root's certificate, to be compared by people.
    pub root_sha256: [u8; 32],
}

const ROOT: &str = "root";
const ISSUING: &str = "issuing-1";
/// What the issuing CA is, behind its name.
pub(super) const ISSUING_ROLE: &str = "Issuing CA 1";
const OCSP: &str = "ocsp-1";
const CONFIGURATION: &str = "sigillo.toml";
const ROOT_PEM: &str = "root.pem";
/// What is moved into place, in this order; `root.pem` last.
const ENTRIES: [&str; 6] = ["keys", "store", CONFIGURATION, "chain.pem", "root.crl", ROOT_PEM];

/// The folder in which a CA is put together.
const WORKSHOP: &str = ".init";

/// Makes a CA in a folder.
///
/// `open_store` opens the store whose files are to be below the given folder (`store` in the end);
/// the store must have let go of its files when the last reference to it is dropped.
///
/// # Errors
/// Why not; the folder is then as it was before.
pub async fn init(
    dir: &Path,
    options: &CeremonyOptions,
    now: Timestamp,
    open_store: impl FnOnce(&Path) -> Result<Arc<dyn Store>, String>,
) -> Result<Made, CeremonyError> {
    check_name(&options.name)?;
    check_folder(dir)?;
    let workshop = dir.join(WORKSHOP);
    let file = |source| CeremonyError::File {
        path: workshop.clone(),
        source,
    };
    let dir_was_there = dir.exists();
    fs::create_dir_all(dir).map_err(file)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&workshop)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CeremonyError::InTheWay(workshop.clone()),
            _ => file(error),
        })?;
    let made = match build(&workshop, options, now, open_store).await {
        Ok(made) => move_into_place(&workshop, dir).map(|()| made),
        Err(error) => Err(error),
    };
    let cleared = fs::remove_dir_all(&workshop);
    if made.is_err() && !dir_was_there {
        // Fails if somebody else put something in; then it shall stay.
        let _ = fs::remove_dir(dir);
    }
    let made = made?;
    cleared.map_err(file)?;
    Ok(made)
}

fn check_name(name: &str) -> Result<(), CeremonyError> {
    let fits = (1..=CeremonyOptions::NAME_MAX).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(CeremonyError::Name) }
}

fn check_folder(dir: &Path) -> Result<(), CeremonyError> {
    if dir.join(ROOT_PEM).exists() {
        return Err(CeremonyError::AlreadyThere(dir.to_owned()));
    }
    for entry in ENTRIES.into_iter().filter(|entry| *entry != CONFIGURATION) {
        let path = dir.join(entry);
        if path.exists() {
            return Err(CeremonyError::InTheWay(path));
        }
    }
    Ok(())
}

async fn build(
    folder: &Path,
    options: &CeremonyOptions,
    now: Timestamp,
    open_store: impl FnOnce(&Path) -> Result<Arc<dyn Store>, String>,
) -> Result<Made, CeremonyError> {
    let ring = Keyring::new(folder.join("keys"), options.passphrase.clone());
    let (root, crl, issuer) = make_authorities(&ring, options, now)?;

    let store_folder = folder.join("store");
    let file = |path: &Path, source| CeremonyError::File {
        path: path.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&store_folder)
        .map_err(|e| file(&store_folder, e))?;
    let store = open_store(&store_folder).map_err(CeremonyError::Store)?;
    let responder_key = new_key(&ring, OCSP, options.key)?;
    let told = Batch::new(initialised(&root, &issuer, now));
    let name = format!("{} OCSP 1", options.name);
    let responder = issue_responder(store.as_ref(), &issuer, &responder_key, &name, now, Some(told)).await?;
    drop(store);

    let chain = encode::certificate_pem(&issuer.certificate().der) + &encode::certificate_pem(&root.der);
    write(&folder.join(CONFIGURATION), options.configuration.as_bytes(), 0o600)?;
    write(&folder.join("chain.pem"), chain.as_bytes(), 0o644)?;
    write(&folder.join("root.crl"), &crl, 0o644)?;
    write(
        &folder.join(ROOT_PEM),
        encode::certificate_pem(&root.der).as_bytes(),
        0o644,
    )?;
    Ok(Made {
        root_sha256: encode::sha256(&root.der),
        issuing: issuer.certificate().clone(),
        root,
        ocsp: responder.serial,
    })
}

/// Makes root and issuing CA, and the root's first CRL.
fn make_authorities(
    ring: &Keyring,
    options: &CeremonyOptions,
    now: Timestamp,
) -> Result<(IssuerCertificate, Vec<u8>, Issuer), CeremonyError> {
    let (root_id, issuing_id) = (issuer_id(ROOT), issuer_id(ISSUING));
    let root_urls = IssuerUrls::new(&options.public_http, &root_id)?;
    let issuing_urls = IssuerUrls::new(&options.public_http, &issuing_id)?;
    let root_validity = validity(&options.root_validity, now)?;
    let issuing_validity = validity(&options.issuer_validity, now)?;
    if issuing_validity.not_after > root_validity.not_after {
        return Err(CeremonyError::Validity);
    }
    let root_key = new_key(ring, ROOT, options.key)?;
    let root = authority::make_root(&root_id, &subject(options, "Root CA"), root_validity, &root_key)?;
    let crl = authority::root_crl(
        &root,
        &root_key,
        1,
        root_validity.not_before,
        issuing_validity.not_after,
    )?;
    let issuing_key = new_key(ring, ISSUING, options.key)?;
    let issuing = authority::make_under(
        0,
        &issuing_id,
        &subject(options, ISSUING_ROLE),
        issuing_validity,
        issuing_key.spki_der(),
        &options.constraints,
        (&root, &root_key, &root_urls),
    )?;
    let issuer = Issuer::new(issuing, std::slice::from_ref(&root.der), issuing_key, issuing_urls)?;
    Ok((root, crl, issuer))
}

pub(super) fn issuer_id(text: &str) -> IssuerId {
    text.parse().expect("invariant: the text is an issuer's name")
}

pub(super) fn subject(options: &CeremonyOptions, role: &str) -> Subject {
    Subject {
        common_name: format!("{} {role}", options.name),
        organization: options.organization.clone(),
    }
}

/// An hour back, so that machines with slow clocks trust a new CA at once.
pub(super) fn validity(span: &CalendarSpan, now: Timestamp) -> Result<Validity, CeremonyError> {
    let second = Timestamp::from_second(now.as_second()).map_err(|_| CeremonyError::Validity)?;
    let not_before = second.checked_sub(1.hour()).map_err(|_| CeremonyError::Validity)?;
    let not_after = span.last_second(not_before).ok_or(CeremonyError::Validity)?;
    Ok(Validity { not_before, not_after })
}

pub(super) fn new_key(ring: &Keyring, id: &str, kind: KeyKind) -> Result<SharedSigner, CeremonyError> {
    let key = PrivateKey::generate(kind)?;
    ring.store(&issuer_id(id), &key)?;
    Ok(Arc::new(SoftwareSigner::new(&key)?))
}

fn initialised(root: &IssuerCertificate, issuer: &Issuer, now: Timestamp) -> AuditEvent {
    AuditEvent {
        at: now,
        actor: Actor::System("ceremony".to_owned()),
        action: Action::CaInitialised,
        subject: issuer.id().to_string(),
        detail: serde_json::json!({
            "root_not_after": root.not_after.to_string(),
            "issuer_not_after": issuer.certificate().not_after.to_string(),
        }),
    }
}

/// Issues a certificate for the OCSP responder's key, the way every certificate is issued.
///
/// To be called again before the last one ends; `common_name` is for people.
///
/// # Errors
/// Why it was not issued.
pub async fn issue_ocsp_responder(
    store: &dyn Store,
    issuer: &Issuer,
    responder: &SharedSigner,
    common_name: &str,
    now: Timestamp,
) -> Result<Certificate, ResponderError> {
    issue_responder(store, issuer, responder, common_name, now, None).await
}

async fn issue_responder(
    store: &dyn Store,
    issuer: &Issuer,
    responder: &SharedSigner,
    common_name: &str,
    now: Timestamp,
    told: Option<Batch>,
) -> Result<Certificate, ResponderError> {
    let request = IssueRequest {
        spki_der: responder.spki_der().to_vec(),
        common_name: Some(common_name.to_owned()),
        ..IssueRequest::default()
    };
    let profile = Profile::ocsp_responder();
    let linted = prepare(issuer, &profile, request, Serial::random(), now)?.lint()?;
    let recorded = match told {
        Some(batch) => linted.record(store, batch).await?,
        None => linted.record_alone(store).await?,
    };
    let signed = recorded.sign(issuer)?;
    let mut certificate = signed.certificate().clone();
    store
        .commit(signed.batch(Actor::System("issuer".to_owned()), now))
        .await?;
    certificate.version = certificate.version.next();
    Ok(certificate)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CeremonyError> {
    let written = fs::write(path, bytes)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::File::open(path)?.sync_all());
    written.map_err(|source| CeremonyError::File {
        path: path.to_owned(),
        source,
    })
}

/// Moves everything into place, or nothing.
fn move_into_place(workshop: &Path, dir: &Path) -> Result<(), CeremonyError> {
    let mut moved = Vec::new();
    for entry in ENTRIES {
        let (from, to) = (workshop.join(entry), dir.join(entry));
        // An operator's own configuration stays.
        if entry == CONFIGURATION && to.exists() {
            continue;
        }
        if let Err(source) = fs::rename(&from, &to) {
            for (from, to) in moved.iter().rev() {
                let _ = fs::rename(to, from);
            }
            return Err(CeremonyError::File { path: to, source });
        }
        moved.push((from, to));
    }
    let synced = fs::File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(|source| CeremonyError::File {
        path: dir.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
