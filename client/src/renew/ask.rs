//! Asking the server when to renew (RFC 9773 section 4).

use jiff::Timestamp;
use sigillo_protocol::acme::renewal_info::RenewalInfo;
use sigillo_protocol::{base64url, json};
use x509_parser::prelude::*;

use super::moment::{Answer, Validity};
use crate::error::{Error, Result};
use crate::session::{self, Session};
use crate::transport::Request;

/// The largest renewal information that is read: it is two dates and a URL.
const RENEWAL_INFO_OCTETS_MAX: usize = 16 * 1024;

/// Returns the identifier of a certificate (RFC 9773 section 4.1), if it can have one.
pub fn ari_identifier(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let key_identifier = parsed.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.as_ref().map(|k| k.0),
        _ => None,
    })?;
    let serial = base64url::encode(parsed.raw_serial());
    Some(format!("{}.{serial}", base64url::encode(key_identifier)))
}

/// Returns from when to when a certificate is valid.
///
/// # Errors
/// When it is no certificate.
pub fn validity_of(certificate: &[u8]) -> Result<Validity> {
    let wrong = |e: String| Error::local("cannot read the certificate", e);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| wrong(e.to_string()))?;
    let time = |t: ASN1Time| Timestamp::from_second(t.timestamp()).map_err(|e| wrong(e.to_string()));
    let validity = parsed.validity();
    Ok(Validity {
        not_before: time(validity.not_before)?,
        not_after: time(validity.not_after)?,
    })
}

/// Asks the server for its window. Never fails: what went wrong is part of the answer.
pub async fn ask(session: &Session, certificate: &[u8]) -> Answer {
    let (Some(base), Some(identifier)) = (&session.directory().renewal_info, ari_identifier(certificate)) else {
        return Answer::LongTerm;
    };
    let url = format!("{}/{identifier}", base.trim_end_matches('/'));
    let mut request = Request::get(url).body_max(RENEWAL_INFO_OCTETS_MAX);
    request.accept = Some("application/json");
    let response = match session.transport().send(request).await {
        Ok(response) => response,
        Err(e) => {
            tracing::debug!(error = %e, "renewal information");
            return Answer::Temporary { retry_after: None };
        }
    };
    let retry_after = session::retry_after(&response);
    match session::accept("cannot get renewal information", response) {
        Ok(response) => match json::from_slice::<RenewalInfo>(&response.body) {
            Ok(info) => Answer::Window {
                window: info.suggested_window,
                retry_after,
            },
            Err(_) => Answer::LongTerm,
        },
        Err(e) if e.is_temporary() => Answer::Temporary { retry_after },
        Err(_) => Answer::LongTerm,
    }
}
