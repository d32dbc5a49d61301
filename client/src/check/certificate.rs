//! What a certificate says about itself.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_PKIX_ACCESS_DESCRIPTOR_OCSP};
use x509_parser::prelude::FromDer;

use crate::error::{Error, Result, printable};
use crate::request::name_of;
use crate::revoke;

/// How many URLs of one kind are taken from a certificate.
const URLS_MAX: usize = 8;

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its subject.
    pub subject: String,
    /// Its issuer's name.
    pub issuer: String,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment.
    pub not_after: Timestamp,
    /// Where its OCSP responder is.
    pub ocsp_urls: Vec<String>,
    /// Where its CRL is.
    pub crl_urls: Vec<String>,
    /// Where its issuer's certificate is.
    pub issuer_urls: Vec<String>,
}

/// Tells whether octets are one X.509 certificate.
pub(super) fn is_certificate(der: &[u8]) -> bool {
    matches!(X509Certificate::from_der(der), Ok((rest, _)) if rest.is_empty())
}

impl Subject {
    /// Reads a certificate, DER.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(der: &[u8]) -> Result<Self> {
        let wrong = |e: String| Error::local("cannot read the certificate", e);
        let (_, parsed) = X509Certificate::from_der(der).map_err(|e| wrong(e.to_string()))?;
        let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|e| wrong(e.to_string()));
        let mut read = Self {
            subject: printable(&parsed.subject().to_string()),
            issuer: printable(&parsed.issuer().to_string()),
            serial: revoke::serial(der)?,
            names: Vec::new(),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
            ocsp_urls: Vec::new(),
            crl_urls: Vec::new(),
            issuer_urls: Vec::new(),
        };
        for extension in parsed.extensions() {
            read.take(extension.parsed_extension());
        }
        Ok(read)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                let shown = |name: &GeneralName<'_>| match name_of(name) {
                    Ok(name) => name.to_string(),
                    Err(_) => printable(&name.to_string()),
                };
                self.names.extend(names.general_names.iter().map(shown));
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for description in access.iter() {
                    let urls = match &description.access_method {
                        method if *method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP => &mut self.ocsp_urls,
                        method if *method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS => &mut self.issuer_urls,
                        _ => continue,
                    };
                    push_url(urls, &description.access_location);
                }
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in points.iter() {
                    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
                        names.iter().for_each(|name| push_url(&mut self.crl_urls, name));
                    }
                }
            }
            _ => {}
        }
    }
}

fn push_url(urls: &mut Vec<String>, name: &GeneralName<'_>) {
    if let GeneralName::URI(url) = name
        && (url.starts_with("http://") || url.starts_with("https://"))
        && urls.len() < URLS_MAX
    {
        urls.push((*url).to_owned());
    }
}
