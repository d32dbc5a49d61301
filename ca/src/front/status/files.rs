//! The files that are served: issuers' certificates, the roots, and CRLs that were signed elsewhere.

use std::collections::HashMap;

use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::{
    model::IssuerId,
    pem,
    status::{DELTA_SUFFIX, certs_only, entity_tag},
};

/// How long certificates may be kept: they hardly ever change.
pub(super) const MAX_AGE: SignedDuration = SignedDuration::from_hours(1);

/// How long a CRL may be kept, if it does not end before: a revocation may bring the next one any moment.
pub(super) const CRL_MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

pub(super) const PKIX_CRL: &str = "application/pkix-crl";
const PKIX_CERT: &str = "application/pkix-cert";
const PKCS7_MIME: &str = "application/pkcs7-mime; smime-type=certs-only";
const PEM: &str = "application/x-pem-file";

/// A file that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A certificate cannot be read.
    #[error("the certificate of {0} cannot be read")]
    Certificate(String),
    /// A CRL cannot be read, or lacks its nextUpdate.
    #[error("the CRL of {0} cannot be read or lacks nextUpdate")]
    Crl(IssuerId),
}

/// An issuer's files.
pub struct IssuerFiles {
    /// Its name in URLs.
    pub id: IssuerId,
    /// Its certificate.
    pub certificate_der: Vec<u8>,
    /// What goes into the bundle besides: the certificates above it.
    pub chain: Vec<Vec<u8>>,
    /// Its CRL, where that is signed elsewhere, as an offline root's is; `None` where the publisher has it.
    pub crl: Option<Vec<u8>>,
}

/// A file that never changes while the daemon runs.
pub(super) struct FixedFile {
    pub content_type: &'static str,
    pub body: Bytes,
    pub etag: String,
    pub modified: Timestamp,
}

/// A CRL that was signed elsewhere.
pub(super) struct FixedCrl {
    pub body: Bytes,
    pub etag: String,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
}

/// What a path leads to.
pub(super) enum Resource<'a> {
    /// A file.
    Fixed(&'a FixedFile),
    /// The publisher's CRL.
    Crl(&'a IssuerId),
    /// The publisher's delta CRL.
    DeltaCrl(&'a IssuerId),
    /// A CRL from elsewhere.
    FixedCrl(&'a FixedCrl),
}

enum Entry {
    Fixed(FixedFile),
    Crl(IssuerId),
    DeltaCrl(IssuerId),
    FixedCrl(FixedCrl),
}

/// All files, by their exact path.
pub struct StatusFiles {
    entries: HashMap<String, Entry>,
}

impl StatusFiles {
    /// Collects the files of all issuers and the roots.
    ///
    /// # Errors
    /// When a certificate or a CRL cannot be read.
    pub fn new(issuers: Vec<IssuerFiles>, roots: &[Vec<u8>]) -> Result<Self, FilesError> {
        let mut entries = HashMap::new();
        for issuer in issuers {
            add_issuer(&mut entries, issuer)?;
        }
        let dates = roots
            .iter()
            .map(|root| not_before(root, "a root"))
            .collect::<Result<Vec<_>, _>>()?;
        let modified = dates.into_iter().max().unwrap_or(Timestamp::UNIX_EPOCH);
        let text: String = roots.iter().map(|root| pem::certificate(root)).collect();
        entries.insert("/ca/roots.pem".to_owned(), fixed(PEM, text.into_bytes(), modified));
        Ok(Self { entries })
    }

    pub(super) fn find(&self, path: &str) -> Option<Resource<'_>> {
        Some(match self.entries.get(path)? {
            Entry::Fixed(file) => Resource::Fixed(file),
            Entry::Crl(issuer) => Resource::Crl(issuer),
            Entry::DeltaCrl(issuer) => Resource::DeltaCrl(issuer),
            Entry::FixedCrl(crl) => Resource::FixedCrl(crl),
        })
    }
}

fn add_issuer(entries: &mut HashMap<String, Entry>, issuer: IssuerFiles) -> Result<(), FilesError> {
    let IssuerFiles {
        id,
        certificate_der,
        chain,
        crl,
    } = issuer;
    let modified = not_before(&certificate_der, id.as_str())?;
    let bundle: Vec<&[u8]> = std::iter::once(&certificate_der)
        .chain(&chain)
        .map(Vec::as_slice)
        .collect();
    entries.insert(
        format!("/ca/{id}.p7c"),
        fixed(PKCS7_MIME, certs_only(&bundle), modified),
    );
    entries.insert(format!("/ca/{id}.cer"), fixed(PKIX_CERT, certificate_der, modified));
    let crl = match crl {
        Some(der) => Entry::FixedCrl(fixed_crl(der).ok_or_else(|| FilesError::Crl(id.clone()))?),
        None => {
            entries.insert(format!("/crl/{id}{DELTA_SUFFIX}"), Entry::DeltaCrl(id.clone()));
            Entry::Crl(id.clone())
        }
    };
    entries.insert(format!("/crl/{id}.crl"), crl);
    Ok(())
}

fn fixed(content_type: &'static str, body: Vec<u8>, modified: Timestamp) -> Entry {
    Entry::Fixed(FixedFile {
        content_type,
        etag: entity_tag(&body),
        body: body.into(),
        modified,
    })
}

fn fixed_crl(der: Vec<u8>) -> Option<FixedCrl> {
    let (rest, crl) = CertificateRevocationList::from_der(&der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let this_update = Timestamp::from_second(crl.last_update().timestamp()).ok()?;
    let next_update = Timestamp::from_second(crl.next_update()?.timestamp()).ok()?;
    Some(FixedCrl {
        etag: entity_tag(&der),
        body: der.into(),
        this_update,
        next_update,
    })
}

fn not_before(der: &[u8], whose: &str) -> Result<Timestamp, FilesError> {
    let unreadable = || FilesError::Certificate(whose.to_owned());
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    Timestamp::from_second(certificate.validity().not_before.timestamp()).map_err(|_| unreadable())
}
