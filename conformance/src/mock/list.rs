//! CRLs of an authority in memory, complete ones and deltas, for judging the judges.

use jiff::Timestamp;

use super::authority::{Authority, from_now, utc};
use crate::der;
use crate::read::crl::{CRL_NUMBER, Crl, DELTA_INDICATOR};
use crate::read::ocsp::extension;

/// A CRL before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) number: u8,
    /// The base's number, in a delta CRL.
    pub(crate) base: Option<u8>,
    pub(crate) this_update: Timestamp,
    /// Whole entries.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Whole Extension values beside key identifier, number and delta indicator.
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl List {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            number,
            base: None,
            this_update: from_now(-600 + i64::from(number)),
            entries: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// A delta to the complete CRL of this number.
    pub(crate) fn delta(number: u8, base: u8) -> Self {
        Self {
            base: Some(base),
            ..Self::new(number)
        }
    }

    pub(crate) fn with(mut self, entry: Vec<u8>) -> Self {
        self.entries.push(entry);
        self
    }

    pub(crate) fn extended(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The signed list, read back.
    pub(crate) fn sign(&self, authority: &Authority) -> Crl {
        let mut extensions = vec![
            authority.key_identifier(),
            extension(CRL_NUMBER, false, &der::unsigned(&[self.number])),
        ];
        extensions.extend(
            self.base
                .map(|base| extension(DELTA_INDICATOR, true, &der::unsigned(&[base]))),
        );
        extensions.extend(self.extensions.iter().cloned());
        let mut tbs = vec![
            der::tlv(der::INTEGER, [1]),
            authority.key.signature_algorithm(),
            authority.certificate.subject.clone(),
            utc(self.this_update),
            utc(from_now(86_400)),
        ];
        if !self.entries.is_empty() {
            tbs.push(der::sequence(&self.entries));
        }
        tbs.push(der::tlv(der::constructed(0), der::sequence(&extensions)));
        let tbs = der::sequence(&tbs);
        let signature = der::bit_string(&authority.key.sign_x509(&tbs));
        let der = der::sequence(&[tbs, authority.key.signature_algorithm(), signature]);
        Crl::read(&der).expect("invariant: what this crate writes it reads")
    }
}

/// One entry of a CRL with these extensions.
pub(crate) fn entry(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = vec![der::tlv(der::INTEGER, serial), utc(from_now(-900))];
    if !extensions.is_empty() {
        parts.push(der::sequence(extensions));
    }
    der::sequence(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_signs_is_read_back_and_verifies() {
        let ca = Authority::new("ca");
        let list = List::delta(7, 5).with(entry(&[9], &[])).sign(&ca);
        assert_eq!(list.is_signed_by(&ca.certificate), Ok(()));
        assert!(list.is_delta() && list.entry(&[9]).is_some());
    }
}
