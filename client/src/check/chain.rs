//! Whether a certificate leads to a trusted root.

use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::report::Finding;
use super::signature;
use crate::transport::Trust;

/// How many certificates a path may have.
const PATH_LENGTH_MAX: usize = 8;

/// Checks the path from a certificate over the known ones to a root.
pub(super) fn verify(leaf: &[u8], known: &[Vec<u8>], trust: &Trust, now: Timestamp) -> Finding {
    let roots = match roots(trust) {
        Ok(roots) => roots,
        Err(why) => return Finding::failed(why),
    };
    let outcome = match X509Certificate::from_der(leaf) {
        Ok((_, certificate)) if certificate.is_ca() => walk(leaf, known, &roots, now),
        _ => path(leaf, known, &roots, now),
    };
    match outcome {
        Ok(root) => Finding::ok(format!("leads to {root}")),
        Err(why) => Finding::failed(why),
    }
}

fn roots(trust: &Trust) -> Result<Vec<CertificateDer<'static>>, String> {
    match trust {
        Trust::Roots(roots) => Ok(roots.clone()),
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err("the system has no trusted roots that can be read".into());
            }
            Ok(found.certs)
        }
    }
}

/// A certificate of an end entity: the whole of RFC 5280 section 6, name constraints included.
fn path(leaf: &[u8], known: &[Vec<u8>], roots: &[CertificateDer<'static>], now: Timestamp) -> Result<String, String> {
    let leaf = CertificateDer::from(leaf);
    let leaf = webpki::EndEntityCert::try_from(&leaf).map_err(|e| e.to_string())?;
    let intermediates: Vec<CertificateDer<'_>> = known.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    // A system's store may hold roots that this library cannot read; the others still count.
    let readable = |root| Some((root, webpki::anchor_from_trusted_cert(root).ok()?));
    let anchors: Vec<(&CertificateDer<'_>, TrustAnchor<'_>)> = roots.iter().filter_map(readable).collect();
    let only: Vec<TrustAnchor<'_>> = anchors.iter().map(|(_, anchor)| anchor.clone()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().unwrap_or(0)));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let verified = leaf
        .verify_for_usage(algorithms, &only, &intermediates, time, AnyUsage, None, None)
        .map_err(|e| format!("no path to a trusted root: {e}"))?;
    let anchor = verified.anchor();
    let found = anchors.iter().find(|(_, candidate)| candidate == anchor);
    Ok(found.map_or_else(|| "a trusted root".to_owned(), |(der, _)| name_of(der)))
}

/// A certificate may be for anything: what it is for is not judged here.
struct AnyUsage;

impl webpki::ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, usages: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut usages = usages;
        usages.try_for_each(|usage| usage.map(drop))
    }
}

/// A CA's own certificate: signatures, times and the right to sign, step by step.
fn walk(leaf: &[u8], known: &[Vec<u8>], roots: &[CertificateDer<'static>], now: Timestamp) -> Result<String, String> {
    let mut current = leaf;
    for _ in 0..PATH_LENGTH_MAX {
        let (_, certificate) = X509Certificate::from_der(current).map_err(|e| e.to_string())?;
        let seconds = now.as_second();
        let validity = certificate.validity();
        if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp() {
            return Err(format!("{} is not valid now", certificate.subject()));
        }
        if roots.iter().any(|root| root.as_ref() == current) {
            return Ok(name_of(current));
        }
        let candidates = roots.iter().map(AsRef::as_ref).chain(known.iter().map(Vec::as_slice));
        let mut issuers = candidates.filter(|candidate| *candidate != current && may_sign(candidate));
        current = issuers
            .find(|candidate| signature::is_issued_by(current, candidate))
            .ok_or_else(|| format!("no trusted issuer of {} is known", certificate.subject()))?;
    }
    Err(format!("the path is longer than {PATH_LENGTH_MAX}"))
}

fn may_sign(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let signs = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    certificate.is_ca() && signs
}

fn name_of(der: &[u8]) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => crate::error::printable(&certificate.subject().to_string()),
        Err(_) => "a trusted root".to_owned(),
    }
}
