//! Looking at a certificate the way a relying party does: time, chain, OCSP, CRL, and the CA's log.

mod certificate;
mod chain;
mod crl;
mod log;
mod ocsp;
mod report;
mod signature;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

pub use certificate::Subject;
pub use log::{LogRequest, check_log};
pub use report::{Finding, Report, RevocationStatus, StatusReport};

use crate::error::{Error, Result};
use crate::transport::{Request, Transport, Trust};

/// How far this clock and that of a status server may be apart.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// The largest file that is taken for a certificate with its chain.
const CERTIFICATE_FILE_OCTETS_MAX: u64 = 1024 * 1024;
/// The largest issuer certificate that is fetched.
const ISSUER_OCTETS_MAX: usize = 64 * 1024;

/// What is checked, and with whose help.
#[derive(Clone)]
pub struct CheckRequest {
    /// The certificate, DER, then what is known of its chain.
    pub certificates: Vec<Vec<u8>>,
    /// Its issuer, where it is not in the chain and cannot be fetched.
    pub issuer: Option<Vec<u8>>,
    /// Certificates of OCSP responders that are trusted without being delegated.
    pub responders: Vec<Vec<u8>>,
    /// The OCSP responder to ask instead of the certificate's own.
    pub ocsp_url: Option<String>,
    /// The CRL to read instead of the certificate's own.
    pub crl_url: Option<String>,
    /// Whether OCSP requests carry a nonce.
    pub nonce: bool,
    /// Which roots the chain must end at.
    pub roots: Trust,
}

impl CheckRequest {
    /// Checks a certificate with all that it says about itself.
    pub fn new(certificates: Vec<Vec<u8>>, roots: Trust) -> Self {
        Self {
            certificates,
            issuer: None,
            responders: Vec::new(),
            ocsp_url: None,
            crl_url: None,
            nonce: true,
            roots,
        }
    }
}

/// Reads the certificates of a file, PEM or DER; private keys and others in a PEM file are passed over.
///
/// # Errors
/// When there is no certificate in it.
pub fn certificates_from_file(path: &Path) -> Result<Vec<Vec<u8>>> {
    let size = std::fs::metadata(path).map_err(|e| Error::file("read", path, e))?.len();
    if size > CERTIFICATE_FILE_OCTETS_MAX {
        return Err(Error::file(
            "read",
            path,
            format!("it is larger than {CERTIFICATE_FILE_OCTETS_MAX} octets"),
        ));
    }
    let content = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    let found = certificates_in(&content);
    if found.is_empty() {
        return Err(Error::file("use", path, "there is no certificate in it"));
    }
    Ok(found)
}

fn certificates_in(content: &[u8]) -> Vec<Vec<u8>> {
    if certificate::is_certificate(content) {
        return vec![content.to_vec()];
    }
    let blocks = pem::parse_many(content).unwrap_or_default();
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
    certificates
        .map(pem::Pem::into_contents)
        .filter(|der| certificate::is_certificate(der))
        .collect()
}

/// Checks a certificate.
///
/// Everything that can be found out is found out: a failure in one place does not end the check.
///
/// # Errors
/// When the first certificate cannot be read at all.
pub async fn check(transport: &Transport, request: &CheckRequest, now: Timestamp) -> Result<Report> {
    let leaf = request
        .certificates
        .first()
        .ok_or_else(|| Error::usage("there is no certificate to check"))?;
    let subject = Subject::read(leaf)?;
    let issuer = find_issuer(transport, request, leaf, &subject).await;
    let mut known: Vec<Vec<u8>> = request.certificates[1..].to_vec();
    known.extend(issuer.iter().cloned());
    let chain = chain::verify(leaf, &known, &request.roots, now);
    let mut report = Report::new(&subject, now, chain);
    let ocsp_urls = request
        .ocsp_url
        .as_ref()
        .map_or(subject.ocsp_urls.clone(), |url| vec![url.clone()]);
    let crl_urls = request
        .crl_url
        .as_ref()
        .map_or(subject.crl_urls.clone(), |url| vec![url.clone()]);
    match &issuer {
        Some(issuer) => {
            if !ocsp_urls.is_empty() {
                let question = ocsp::Question {
                    certificate: leaf,
                    issuer,
                    responders: &request.responders,
                    nonce: request.nonce,
                };
                report.ocsp = Some(ocsp::ask(transport, &question, &ocsp_urls, now).await);
            }
            if !crl_urls.is_empty() {
                let look_up = crl::LookUp {
                    certificate: leaf,
                    issuer,
                    named: &subject.crl_urls,
                };
                report.crl = Some(crl::look_up(transport, &look_up, &crl_urls, now).await);
            }
        }
        None if !(ocsp_urls.is_empty() && crl_urls.is_empty()) => {
            report.notes.push(
                "its revocation cannot be checked without the issuer's certificate: give it with --issuer".into(),
            );
        }
        None => {}
    }
    report.conclude();
    Ok(report)
}

/// Returns the issuer's certificate: given, in the chain, among the roots, or fetched.
async fn find_issuer(transport: &Transport, request: &CheckRequest, leaf: &[u8], subject: &Subject) -> Option<Vec<u8>> {
    let roots: &[_] = match &request.roots {
        Trust::Roots(roots) => roots,
        Trust::System => &[],
    };
    let candidates = request.issuer.iter().map(Vec::as_slice);
    let candidates = candidates.chain(request.certificates[1..].iter().map(Vec::as_slice));
    let mut candidates = candidates.chain(roots.iter().map(AsRef::as_ref));
    if let Some(found) = candidates.find(|candidate| signature::is_issued_by(leaf, candidate)) {
        return Some(found.to_vec());
    }
    for url in &subject.issuer_urls {
        let fetch = Request::get(url).body_max(ISSUER_OCTETS_MAX);
        let Ok(response) = transport.fetch(fetch).await else {
            continue;
        };
        // What is fetched counts only if the certificate was really signed by it.
        let mut fetched = certificates_in(&response.body).into_iter();
        if let Some(found) = fetched.find(|candidate| signature::is_issued_by(leaf, candidate)) {
            return Some(found);
        }
    }
    None
}

/// Why a status answer is not current, if it is not (RFC 9919 section 5, RFC 5280 section 6.3.3).
fn staleness(
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    now: Timestamp,
) -> std::result::Result<(), String> {
    let Some(next_update) = next_update else {
        return Err("it does not say when the next one comes (nextUpdate)".into());
    };
    if next_update < this_update {
        return Err("its nextUpdate is before its thisUpdate".into());
    }
    if this_update > now.saturating_add(CLOCK_TOLERANCE).unwrap_or(now) {
        return Err(format!("it is from the future ({this_update})"));
    }
    if next_update < now.saturating_sub(CLOCK_TOLERANCE).unwrap_or(now) {
        return Err(format!("it is out of date since {next_update}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
