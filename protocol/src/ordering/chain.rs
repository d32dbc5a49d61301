//! Certificate chains as a server sends them (RFC 8555 section 9.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// The longest chain in octets: far beyond any real one, far below what hurts.
pub const MAX_CHAIN_BYTES: usize = 256 * 1024;
/// The longest chain in certificates.
pub const MAX_CHAIN_CERTIFICATES: usize = 16;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The line length of RFC 7468 section 2.
const LINE: usize = 64;

/// Why a chain is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is too long.
    #[error("the chain is longer than {MAX_CHAIN_BYTES} octets or {MAX_CHAIN_CERTIFICATES} certificates")]
    TooLong,
    /// It is no text.
    #[error("the chain is not ASCII text")]
    NotText,
    /// It holds something else than certificates (RFC 8555 section 11.4).
    #[error("the chain holds something else than certificates in line {line}")]
    Foreign {
        /// The line.
        line: usize,
    },
    /// A block has no end, or is not base64.
    #[error("block {block} of the chain cannot be decoded")]
    Encoding {
        /// The block, counted from 1.
        block: usize,
    },
    /// A block is no certificate.
    #[error("block {block} of the chain is not a certificate")]
    Certificate {
        /// The block, counted from 1.
        block: usize,
    },
    /// There is no certificate at all.
    #[error("the chain is empty")]
    Empty,
}

/// A chain of certificates and nothing else, the end-entity certificate first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Vec<u8>>,
}

impl Chain {
    /// Reads PEM text that holds certificates and nothing else.
    ///
    /// The text ends up in files that other programs read, where a private key or a text of the
    /// server's choice could do harm (RFC 8555 section 11.4).
    ///
    /// # Errors
    ///
    /// [`ChainError`] for anything but whole certificates between their boundary lines.
    pub fn from_pem(text: &[u8]) -> Result<Self, ChainError> {
        if text.len() > MAX_CHAIN_BYTES {
            return Err(ChainError::TooLong);
        }
        let text = str::from_utf8(text)
            .ok()
            .filter(|text| text.is_ascii())
            .ok_or(ChainError::NotText)?;
        let mut certificates = Vec::new();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if line.trim_end().is_empty() {
                continue;
            }
            if line.trim_end() != BEGIN {
                return Err(ChainError::Foreign { line: number });
            }
            if certificates.len() == MAX_CHAIN_CERTIFICATES {
                return Err(ChainError::TooLong);
            }
            let block = certificates.len() + 1;
            certificates.push(certificate(lines.by_ref().map(|(line, _)| line), block)?);
        }
        if certificates.is_empty() {
            Err(ChainError::Empty)
        } else {
            Ok(Self { certificates })
        }
    }

    /// Returns the end-entity certificate in DER.
    pub fn leaf(&self) -> &[u8] {
        self.certificates.first().expect("invariant: a chain is never empty")
    }

    /// Returns all certificates in DER.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// Returns the chain as PEM, encoded anew.
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.certificates {
            text.push_str(BEGIN);
            text.push('\n');
            let encoded = STANDARD.encode(certificate);
            for (at, character) in encoded.char_indices() {
                text.push(character);
                if at % LINE == LINE - 1 || at == encoded.len() - 1 {
                    text.push('\n');
                }
            }
            text.push_str(END);
            text.push('\n');
        }
        text
    }
}

/// Reads the lines of a block up to its end.
fn certificate<'a>(lines: impl Iterator<Item = &'a str>, block: usize) -> Result<Vec<u8>, ChainError> {
    let mut encoded = String::new();
    for line in lines {
        let line = line.trim_end();
        if line == END {
            let der = STANDARD.decode(&encoded).map_err(|_| ChainError::Encoding { block })?;
            return match X509Certificate::from_der(&der) {
                Ok(([], _)) => Ok(der),
                _ => Err(ChainError::Certificate { block }),
            };
        }
        encoded.push_str(line);
    }
    Err(ChainError::Encoding { block })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn reads_certificates_and_writes_them_again() {
        let text = format!("{}\r\n\n{}", one().replace('\n', "\r\n"), one());
        let chain = Chain::from_pem(text.as_bytes()).unwrap();
        assert_eq!(chain.certificates().len(), 2);
        assert_eq!(chain.leaf(), chain.certificates()[0]);
        assert!(chain.to_pem().lines().all(|line| line.len() <= 64 && line.is_ascii()));
        assert_eq!(Chain::from_pem(chain.to_pem().as_bytes()), Ok(chain));
    }

    #[test]
    fn c8555_11_4_01_refuses_anything_but_certificates() {
        let good = one();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for text in [
            format!("{good}{key}"),
            format!("{key}{good}"),
            key.clone(),
            format!("subject=example.org\n{good}"),
            format!("{good}trailing"),
            good.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            good.replace("CERTIFICATE", "X509 CRL"),
            format!(" {good}"),
            format!("\u{feff}{good}"),
        ] {
            let refused = Chain::from_pem(text.as_bytes()).unwrap_err();
            assert!(
                matches!(refused, ChainError::Foreign { .. } | ChainError::NotText),
                "{refused:?}"
            );
        }
        // A private key dressed up as a certificate.
        let dressed = key.replace("PRIVATE KEY", "CERTIFICATE");
        assert_eq!(
            Chain::from_pem(dressed.as_bytes()),
            Err(ChainError::Certificate { block: 1 })
        );
    }

    #[test]
    fn refuses_broken_and_endless_chains() {
        let good = one();
        assert_eq!(Chain::from_pem(b""), Err(ChainError::Empty));
        assert_eq!(Chain::from_pem(b"\n\n"), Err(ChainError::Empty));
        assert_eq!(Chain::from_pem(b"\xff"), Err(ChainError::NotText));
        let cut = &good[..good.len() - 30];
        assert_eq!(Chain::from_pem(cut.as_bytes()), Err(ChainError::Encoding { block: 1 }));
        assert_eq!(
            Chain::from_pem(good.replacen('M', "*", 1).as_bytes()),
            Err(ChainError::Encoding { block: 1 })
        );
        assert!(Chain::from_pem(good.repeat(MAX_CHAIN_CERTIFICATES).as_bytes()).is_ok());
        assert_eq!(
            Chain::from_pem(good.repeat(MAX_CHAIN_CERTIFICATES + 1).as_bytes()),
            Err(ChainError::TooLong)
        );
        assert_eq!(
            Chain::from_pem(&vec![b'\n'; MAX_CHAIN_BYTES + 1]),
            Err(ChainError::TooLong)
        );
    }
}
