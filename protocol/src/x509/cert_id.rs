//! The unique identifier of a certificate in renewal information (RFC 9773 section 4.1).

use std::{fmt, str::FromStr};

use x509_parser::{extensions::ParsedExtension, prelude::FromDer};

use crate::base64url;

/// Names a certificate by its authority key identifier and serial number.
///
/// As text it is both parts in base64url with a dot between them, the form of `replaces` in an
/// order and of the last path segment under `renewalInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId {
    /// The keyIdentifier of the authority key identifier extension.
    pub key_identifier: Vec<u8>,
    /// The content octets of the serial number's DER, with the leading zero of a set high bit.
    pub serial: Vec<u8>,
}

/// Text or a certificate without a usable identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateIdError {
    /// The text is not two base64url parts with one dot between them.
    #[error(
        "a certificate is named by the base64url of its key identifier, a dot, and the base64url of its serial number"
    )]
    Form,
    /// The serial part is not what DER would hold.
    #[error("the serial number is not the content of a DER INTEGER")]
    Serial,
    /// The bytes are no certificate.
    #[error("not a certificate")]
    NoCertificate,
    /// The certificate names no issuer key.
    #[error("the certificate has no authority key identifier")]
    NoKeyIdentifier,
}

impl CertificateId {
    /// The longest text that is read: 64 octets of key identifier and 21 of serial number in base64url.
    pub const TEXT_LENGTH_MAX: usize = 86 + 1 + 28;

    /// Reads the identifier off a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateIdError::NoCertificate`] or [`CertificateIdError::NoKeyIdentifier`].
    pub fn from_certificate_der(der: &[u8]) -> Result<Self, CertificateIdError> {
        let (rest, certificate) =
            x509_parser::certificate::X509Certificate::from_der(der).map_err(|_| CertificateIdError::NoCertificate)?;
        if !rest.is_empty() {
            return Err(CertificateIdError::NoCertificate);
        }
        let key_identifier = certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.as_ref(),
                _ => None,
            })
            .ok_or(CertificateIdError::NoKeyIdentifier)?;
        Ok(Self {
            key_identifier: key_identifier.0.to_vec(),
            serial: certificate.raw_serial().to_vec(),
        })
    }
}

/// Tells whether these are the content octets of a non-negative INTEGER in DER.
fn is_der_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [first, ..] if first & 0x80 != 0 => false,
        [0, second, ..] => second & 0x80 != 0,
        _ => true,
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            base64url::encode(&self.key_identifier),
            base64url::encode(&self.serial)
        )
    }
}

impl FromStr for CertificateId {
    type Err = CertificateIdError;

    fn from_str(text: &str) -> Result<Self, CertificateIdError> {
        if text.len() > Self::TEXT_LENGTH_MAX {
            return Err(CertificateIdError::Form);
        }
        let (key_identifier, serial) = text.split_once('.').ok_or(CertificateIdError::Form)?;
        let part = |text| base64url::decode(text).map_err(|_| CertificateIdError::Form);
        let (key_identifier, serial) = (part(key_identifier)?, part(serial)?);
        if key_identifier.is_empty() {
            return Err(CertificateIdError::Form);
        }
        if !is_der_integer(&serial) {
            return Err(CertificateIdError::Serial);
        }
        Ok(Self { key_identifier, serial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9773 section 4.1.
    const VECTOR: &str = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";

    #[test]
    fn reads_and_writes_the_vector_of_rfc_9773() {
        let id: CertificateId = VECTOR.parse().unwrap();
        assert_eq!(id.serial, [0x00, 0x87, 0x65, 0x43, 0x21]);
        assert_eq!(id.key_identifier[..4], [0x69, 0x88, 0x5b, 0x6b]);
        assert_eq!(id.to_string(), VECTOR);
    }

    #[test]
    fn refuses_text_that_names_no_certificate() {
        let cases = [
            "",
            "x",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.",
            ".AIdlQyE",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE=",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE.AA",
            // 87654321 without its leading zero would be negative.
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ",
            // A zero that DER would not write.
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AAE",
        ];
        for case in cases {
            assert!(case.parse::<CertificateId>().is_err(), "{case}");
        }
        assert!(
            "A".repeat(CertificateId::TEXT_LENGTH_MAX + 1)
                .parse::<CertificateId>()
                .is_err()
        );
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_identifier() {
        assert_eq!(
            CertificateId::from_certificate_der(&[0x30, 0]),
            Err(CertificateIdError::NoCertificate)
        );
    }
}
