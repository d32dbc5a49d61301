//! Reading a CRL and looking a certificate up in it (RFC 5280 section 6.3).

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_CRL_NUMBER, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use super::report::{RevocationStatus, StatusReport};
use super::{signature, staleness};
use crate::revoke;
use crate::transport::{Request, Transport};

/// The largest CRL that is read: a million entries are about 40 MB.
const CRL_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// What is looked up.
pub(super) struct LookUp<'a> {
    /// The certificate, DER.
    pub certificate: &'a [u8],
    /// Its issuer's, DER.
    pub issuer: &'a [u8],
    /// The distribution points that the certificate itself names.
    pub named: &'a [String],
}

/// Reads the CRLs in turn until one counts.
pub(super) async fn look_up(
    transport: &Transport,
    look_up: &LookUp<'_>,
    urls: &[String],
    now: Timestamp,
) -> StatusReport {
    let mut last = None;
    for url in urls {
        let report = match look_up_one(transport, look_up, url, now).await {
            Ok(report) => return report,
            Err(why) => StatusReport::error(url, why),
        };
        last = Some(report);
    }
    last.unwrap_or_else(|| StatusReport::error("", "there is no CRL to read"))
}

async fn look_up_one(
    transport: &Transport,
    look_up: &LookUp<'_>,
    url: &str,
    now: Timestamp,
) -> Result<StatusReport, String> {
    let response = transport
        .fetch(Request::get(url).body_max(CRL_OCTETS_MAX))
        .await
        .map_err(|e| e.to_string())?;
    if response.status != 200 {
        return Err(format!("the server answered with status {}", response.status));
    }
    let der = match pem::parse(&response.body) {
        Ok(block) if block.tag() == "X509 CRL" => block.into_contents(),
        _ => response.body.to_vec(),
    };
    judge(look_up, &der, url, now)
}

/// Decides what a CRL says about the certificate, or why it does not count.
fn judge(look_up: &LookUp<'_>, der: &[u8], url: &str, now: Timestamp) -> Result<StatusReport, String> {
    let (rest, crl) = CertificateRevocationList::from_der(der).map_err(|_| "it is no CRL".to_owned())?;
    if !rest.is_empty() {
        return Err("there is something behind the CRL".into());
    }
    let (_, certificate) = X509Certificate::from_der(look_up.certificate).map_err(|e| e.to_string())?;
    let (_, issuer) = X509Certificate::from_der(look_up.issuer).map_err(|e| e.to_string())?;
    require_issuer(&crl, &certificate, &issuer)?;
    require_scope(&crl, &certificate, look_up.named)?;
    let this_update = time(crl.last_update().timestamp())?;
    let next_update = crl.next_update().map(|next| time(next.timestamp())).transpose()?;
    staleness(this_update, next_update, now).map_err(|why| format!("the CRL does not count: {why}"))?;
    let entry = crl
        .iter_revoked_certificates()
        .find(|entry| entry.raw_serial() == certificate.raw_serial());
    let status = match entry {
        None => RevocationStatus::Good,
        Some(entry) => revoked(entry)?,
    };
    let mut report = StatusReport::new(url, status);
    report.this_update = Some(this_update);
    report.next_update = next_update;
    report.signed_by = Some("the CA itself".to_owned());
    report.number = crl.crl_number().map(ToString::to_string);
    Ok(report)
}

fn time(seconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_second(seconds).map_err(|e| e.to_string())
}

fn revoked(entry: &RevokedCertificate<'_>) -> Result<RevocationStatus, String> {
    // A critical entry extension that is not understood makes the whole list unusable.
    let known = |e: &&x509_parser::extensions::X509Extension<'_>| {
        matches!(
            e.parsed_extension(),
            ParsedExtension::ReasonCode(_) | ParsedExtension::InvalidityDate(_)
        )
    };
    if entry.extensions().iter().any(|e| e.critical && !known(&e)) {
        return Err("its entry has an unknown critical extension".into());
    }
    Ok(RevocationStatus::Revoked {
        at: time(entry.revocation_date.timestamp())?,
        reason: entry.reason_code().map(|(_, code)| revoke::reason_name(code.0)),
    })
}

/// Checks that the list is the certificate's issuer's, who may sign lists.
fn require_issuer(
    crl: &CertificateRevocationList<'_>,
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<(), String> {
    if crl.issuer().as_raw() != certificate.issuer().as_raw() {
        return Err("the CRL is another CA's".into());
    }
    if let Ok(Some(usage)) = issuer.key_usage()
        && !usage.value.crl_sign()
    {
        return Err("the CA's certificate is not for signing CRLs".into());
    }
    let signed = crl.tbs_cert_list.as_ref();
    signature::verify(
        issuer.public_key(),
        &crl.signature_algorithm,
        &crl.signature_value,
        signed,
    )
    .map_err(|why| format!("the CRL does not count: {why}"))
}

/// Checks that the list covers the certificate (RFC 5280 sections 5.2.5 and 6.3.3).
fn require_scope(
    crl: &CertificateRevocationList<'_>,
    certificate: &X509Certificate<'_>,
    named: &[String],
) -> Result<(), String> {
    let known = [
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
        OID_X509_EXT_CRL_NUMBER,
        OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
    ];
    for extension in crl.extensions() {
        if extension.critical && !known.contains(&extension.oid) {
            return Err(format!(
                "the CRL has a critical extension that is not understood: {}",
                extension.oid
            ));
        }
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => covers(point, certificate, named)?,
            ParsedExtension::ParseError { .. } if extension.critical => {
                return Err("a critical extension of the CRL cannot be read".into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn covers(
    point: &IssuingDistributionPoint<'_>,
    certificate: &X509Certificate<'_>,
    named: &[String],
) -> Result<(), String> {
    let ca = certificate.is_ca();
    if (point.only_contains_user_certs && ca)
        || (point.only_contains_ca_certs && !ca)
        || point.only_contains_attribute_certs
    {
        return Err("the CRL is not for certificates of this kind".into());
    }
    if point.indirect_crl || point.only_some_reasons.is_some() {
        return Err("the CRL covers only a part, or several CAs".into());
    }
    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
        let is_named = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(url) if named.iter().any(|n| n == url));
        if !named.is_empty() && !names.iter().any(is_named) {
            return Err("the CRL is for another distribution point".into());
        }
    }
    Ok(())
}
