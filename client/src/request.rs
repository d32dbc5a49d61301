//! The certification request: made from a key of ours, or the user's own.

use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SanType};
use sigillo_protocol::acme::identifier::Name;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::error::{Error, Result};

/// The largest file that is taken for a request.
const REQUEST_OCTETS_MAX: u64 = 64 * 1024;

/// A certification request with what must come back in the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificationRequest {
    /// The request, DER.
    pub der: Vec<u8>,
    /// The names in it.
    pub names: Vec<Name>,
    /// Its public key: SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

impl CertificationRequest {
    /// Makes a request for names with a key.
    ///
    /// The subject stays empty: names belong in the subject alternative name.
    ///
    /// # Errors
    /// When there is no name, or the key cannot sign.
    pub fn new(names: &[Name], key: &KeyPair) -> Result<Self> {
        let cannot = |e: rcgen::Error| Error::local("cannot make the certification request", e);
        if names.is_empty() {
            return Err(Error::usage("a certificate needs at least one name"));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.subject_alt_names.push(match name {
                Name::Ip(address) => SanType::IpAddress(*address),
                dns => SanType::DnsName(dns.to_string().as_str().try_into().map_err(cannot)?),
            });
        }
        let request = params.serialize_request(key).map_err(cannot)?;
        Ok(Self {
            der: request.der().to_vec(),
            names: names.to_vec(),
            public_key: key.subject_public_key_info(),
        })
    }

    /// Reads the user's own request, PEM or DER.
    ///
    /// # Errors
    /// When the file is no request, or has no names.
    pub fn from_file(path: &Path) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| Error::file("use the request", path, why);
        let size = std::fs::metadata(path).map_err(|e| wrong(&e))?.len();
        if size > REQUEST_OCTETS_MAX {
            return Err(wrong(&format!("it is larger than {REQUEST_OCTETS_MAX} octets")));
        }
        let content = std::fs::read(path).map_err(|e| wrong(&e))?;
        let der = match pem::parse(&content) {
            Ok(block) if block.tag().ends_with("CERTIFICATE REQUEST") => block.into_contents(),
            Ok(block) => return Err(wrong(&format!("it is a {}", block.tag()))),
            Err(_) => content,
        };
        Self::from_der(der).map_err(|why| wrong(&why))
    }

    fn from_der(der: Vec<u8>) -> std::result::Result<Self, String> {
        let (rest, parsed) =
            X509CertificationRequest::from_der(&der).map_err(|_| "it is no certification request".to_owned())?;
        if !rest.is_empty() {
            return Err("there is something behind the request".into());
        }
        let info = &parsed.certification_request_info;
        let mut names = Vec::new();
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(alternative) = extension {
                for name in &alternative.general_names {
                    names.push(name_of(name)?);
                }
            }
        }
        for name in info.subject.iter_common_name() {
            let text = name.as_str().map_err(|e| e.to_string())?;
            names.push(text.parse().map_err(|e| format!("the common name {text:?}: {e}"))?);
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name: &Name| seen.insert(name.clone()));
        if names.is_empty() {
            return Err("it has no names".into());
        }
        let public_key = info.subject_pki.raw.to_vec();
        Ok(Self { names, public_key, der })
    }
}

/// Reads a name of a request or a certificate.
pub(crate) fn name_of(name: &GeneralName<'_>) -> std::result::Result<Name, String> {
    match name {
        GeneralName::DNSName(text) => Name::from_dns_value(text).map_err(|e| format!("the name {text:?}: {e}")),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Ok(Name::Ip(
                <[u8; 4]>::try_from(*octets).map_err(|e| e.to_string())?.into(),
            )),
            16 => Ok(Name::Ip(
                <[u8; 16]>::try_from(*octets).map_err(|e| e.to_string())?.into(),
            )),
            _ => Err("there is an address of a wrong length".into()),
        },
        other => Err(format!("there is a name that ACME cannot prove: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    #[test]
    fn a_request_is_read_back_as_it_was_made() {
        let names: Vec<Name> = ["a.example", "*.a.example", "192.0.2.1", "2001:db8::1"]
            .map(|n| n.parse().unwrap())
            .into();
        for kind in KeyType::ALL {
            let key = kind.generate().unwrap();
            let made = CertificationRequest::new(&names, &key).unwrap();
            let read = CertificationRequest::from_der(made.der.clone()).unwrap();
            assert_eq!(read, made, "{kind}");
            let (_, parsed) = X509CertificationRequest::from_der(&made.der).unwrap();
            parsed.verify_signature().unwrap_or_else(|e| panic!("{kind}: {e}"));
            assert_eq!(parsed.certification_request_info.subject.iter().count(), 0);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("csr");
        for content in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, content).unwrap();
            assert!(CertificationRequest::from_file(&path).is_err(), "{content:?}");
        }
        assert!(CertificationRequest::new(&[], &KeyType::EcdsaP256.generate().unwrap()).is_err());
    }
}
