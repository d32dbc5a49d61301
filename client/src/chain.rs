//! The chain that a server delivers: certificates and nothing else (RFC 8555 section 11.4).

use jiff::Timestamp;
use sigillo_protocol::ordering;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::error::{Error, Result};

/// A delivered chain whose every block is a certificate and whose first one is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Vec<u8>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Chain {
    /// Takes what was delivered, which consists of certificate blocks alone by then.
    ///
    /// # Errors
    /// When a block is no X.509 certificate.
    pub fn new(delivered: &ordering::Chain) -> Result<Self> {
        let wrong = |why: &str| Error::server("cannot use the certificate", why);
        let mut validity = None;
        for der in delivered.certificates() {
            match X509Certificate::from_der(der) {
                Ok(([], certificate)) => {
                    validity.get_or_insert_with(|| certificate.validity().clone());
                }
                _ => return Err(wrong("the chain holds a block that is no X.509 certificate")),
            }
        }
        let validity = validity.ok_or_else(|| wrong("the chain is empty"))?;
        let time = |t: ASN1Time| Timestamp::from_second(t.timestamp()).map_err(|e| wrong(&e.to_string()));
        let (not_before, not_after) = (time(validity.not_before)?, time(validity.not_after)?);
        Ok(Self {
            certificates: delivered.certificates().to_vec(),
            not_before,
            not_after,
        })
    }

    /// Returns the certificate itself, DER.
    pub fn leaf(&self) -> &[u8] {
        &self.certificates[0]
    }

    /// Returns the certificates, DER, the leaf first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// Returns the certificates as PEM blocks, the leaf first.
    pub fn to_pem(&self) -> Vec<String> {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let block = |der: &Vec<u8>| pem::Pem::new("CERTIFICATE", der.clone());
        self.certificates
            .iter()
            .map(|der| pem::encode_config(&block(der), config))
            .collect()
    }

    /// Returns the leaf's first moment of validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Returns the leaf's last moment of validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Checks that the leaf is for a public key (SubjectPublicKeyInfo, DER).
    ///
    /// # Errors
    /// When it is for another: it would be of no use, and a sign of a confused server.
    pub fn require_key(&self, public_key: &[u8]) -> Result<()> {
        let wrong = |why: &str| Err(Error::server("cannot use the certificate", why));
        match X509Certificate::from_der(self.leaf()) {
            Ok((_, leaf)) if leaf.public_key().raw == public_key => Ok(()),
            Ok(_) => wrong("it is for another key than the one that was sent"),
            Err(_) => wrong("it cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    fn certificate() -> (rcgen::KeyPair, String) {
        let key = KeyType::EcdsaP256.generate().unwrap();
        let params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (key, pem)
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        use rcgen::PublicKeyData;
        let (key, pem) = certificate();
        let chain = Chain::new(&ordering::Chain::from_pem(pem.as_bytes()).unwrap()).unwrap();
        chain.require_key(&key.subject_public_key_info()).unwrap();
        let other = KeyType::EcdsaP256.generate().unwrap();
        assert!(chain.require_key(&other.subject_public_key_info()).is_err());
    }
}
