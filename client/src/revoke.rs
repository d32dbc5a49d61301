//! Revocation: by the account, or by the certificate's own key (RFC 8555 section 7.6).

use std::sync::Arc;

use sigillo_protocol::acme::revocation::RevokeCertificate;
use sigillo_protocol::base64url;
use sigillo_protocol::jose::jws::JwsSigner;

use crate::account;
use crate::error::{Error, Result};
use crate::session::Session;

/// The reasons that a subscriber may give (RFC 5280 section 5.3.1), with their codes.
///
/// The others speak about the CA, about attribute certificates, or cannot be undone by ACME.
pub const REASONS: [(&str, i64); 6] = [
    ("unspecified", 0),
    ("keyCompromise", 1),
    ("affiliationChanged", 3),
    ("superseded", 4),
    ("cessationOfOperation", 5),
    ("privilegeWithdrawn", 9),
];

/// Returns the code of a reason, given by name or by number.
///
/// # Errors
/// When there is no such reason; the message lists those that are.
pub fn reason_code(text: &str) -> std::result::Result<i64, String> {
    let found = REASONS
        .iter()
        .find(|(name, code)| name.eq_ignore_ascii_case(text) || text.parse() == Ok(*code));
    found.map(|(_, code)| *code).ok_or_else(|| {
        let names: Vec<&str> = REASONS.iter().map(|(name, _)| *name).collect();
        format!("the reasons are {}", names.join(", "))
    })
}

/// Returns the name of a reason code as RFC 5280 writes it.
pub fn reason_name(code: u8) -> String {
    match code {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        other => return format!("reason {other}"),
    }
    .to_owned()
}

/// Revokes a certificate (DER), signed with the account's key or, without an account, with its own.
///
/// # Errors
/// When the server refuses, for example because it is revoked already.
pub async fn revoke(
    session: &Session,
    key: &Arc<dyn JwsSigner>,
    account: Option<&str>,
    certificate: &[u8],
    reason: Option<i64>,
) -> Result<()> {
    let payload = RevokeCertificate {
        certificate: base64url::encode(certificate),
        reason,
    };
    let payload = account::to_json(&payload)?;
    let url = &session.directory().revoke_cert;
    session
        .post("cannot revoke the certificate", key, account, url, payload)
        .await?;
    Ok(())
}

/// Returns a certificate's serial number in hexadecimal.
///
/// # Errors
/// When it is no certificate.
pub fn serial(certificate: &[u8]) -> Result<String> {
    use x509_parser::prelude::*;
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|e| Error::local("cannot read the certificate", e))?;
    Ok(parsed.raw_serial().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_by_name_and_number() {
        assert_eq!(reason_code("keycompromise"), Ok(1));
        assert_eq!(reason_code("5"), Ok(5));
        for bad in ["2", "6", "7", "8", "10", "cACompromise", ""] {
            assert!(reason_code(bad).is_err(), "{bad}");
        }
    }
}
