//! The chain that a server delivers: certificates and nothing else (RFC 8555 section 11.4).

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::error::{Error, Result};

/// How many certificates a chain may have: real ones have two to four.
const CHAIN_LENGTH_MAX: usize = 10;

/// A delivered chain whose every block is a certificate and whose first one is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Vec<u8>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Chain {
    /// Reads a `application/pem-certificate-chain` body.
    ///
    /// # Errors
    /// When it holds anything but certificates, none or too many, or one that cannot be read.
    pub fn from_pem(body: &[u8]) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| Error::server("cannot use the certificate", why);
        let text = std::str::from_utf8(body).map_err(|_| wrong(&"it is no text"))?;
        // A private key in the file would silently replace ours in some servers that load it.
        let blocks = pem::parse_many(text).map_err(|e| wrong(&e))?;
        if let Some(other) = blocks.iter().find(|block| block.tag() != "CERTIFICATE") {
            return Err(wrong(&format!("the chain holds a {:?}", other.tag())));
        }
        let begins = text.matches("-----BEGIN").count();
        if begins != blocks.len() || !only_blank_between(text) {
            return Err(wrong(&"the chain holds something that is no certificate"));
        }
        Self::from_der(blocks.into_iter().map(pem::Pem::into_contents).collect())
            .map_err(|why| wrong(&why))
    }

    fn from_der(certificates: Vec<Vec<u8>>) -> std::result::Result<Self, String> {
        if certificates.len() > CHAIN_LENGTH_MAX {
            return Err(format!(
                "the chain has more than {CHAIN_LENGTH_MAX} certificates"
            ));
        }
        let mut validity = None;
        for der in &certificates {
            match X509Certificate::from_der(der) {
                Ok((rest, certificate)) if rest.is_empty() => {
                    validity.get_or_insert_with(|| certificate.validity().clone());
                }
                _ => return Err("the chain holds a block that is no X.509 certificate".into()),
            }
        }
        let validity = validity.ok_or("the chain is empty")?;
        let time = |t: ASN1Time| Timestamp::from_second(t.timestamp()).map_err(|e| e.to_string());
        let (not_before, not_after) = (time(validity.not_before)?, time(validity.not_after)?);
        Ok(Self {
            certificates,
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

/// Tells whether there is only white space outside of the blocks.
fn only_blank_between(text: &str) -> bool {
    let mut inside = false;
    text.lines().all(|line| {
        let line = line.trim();
        if line.starts_with("-----BEGIN") {
            inside = true;
        } else if line.starts_with("-----END") {
            inside = false;
        } else {
            return inside || line.is_empty();
        }
        true
    })
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
    fn c8555_11_4_01_refuses_a_chain_with_anything_but_certificates() {
        let (key, pem) = certificate();
        assert_eq!(
            Chain::from_pem(format!("{pem}\n{pem}").as_bytes())
                .unwrap()
                .certificates()
                .len(),
            2
        );
        let explained = "subject=a.example\n";
        for bad in [
            format!("{pem}{}", key.serialize_pem()),
            format!("{}{pem}", key.serialize_pem()),
            format!("{explained}{pem}"),
            format!("{pem}trailing"),
            format!("{pem}-----BEGIN PRIVATE KEY-----\nAAAA\n"),
            pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            String::new(),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            pem.repeat(11),
        ] {
            assert!(Chain::from_pem(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        use rcgen::PublicKeyData;
        let (key, pem) = certificate();
        let chain = Chain::from_pem(pem.as_bytes()).unwrap();
        chain.require_key(&key.subject_public_key_info()).unwrap();
        let other = KeyType::EcdsaP256.generate().unwrap();
        assert!(chain.require_key(&other.subject_public_key_info()).is_err());
    }
}
