//! A certificate authority in memory: certificates, OCSP answers and CRLs, sound ones and wrong ones.

use jiff::{SignedDuration, Timestamp};

use crate::der;
use crate::keys::{Key, random, sha1};
use crate::read::certificate::{
    AUTHORITY_KEY_IDENTIFIER, BASIC_CONSTRAINTS, Certificate, EXTENDED_KEY_USAGE, SUBJECT_KEY_IDENTIFIER,
};
use crate::read::ocsp::{BASIC, extension};
use crate::request::{COMMON_NAME, certificate, dns_name, name};

/// A key with its certificate.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) key: Key,
    pub(crate) certificate: Certificate,
}

/// A moment so many seconds from now; negative ones are past.
pub(crate) fn from_now(seconds: i64) -> Timestamp {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now)
}

/// GeneralizedTime.
pub(crate) fn generalized(at: Timestamp) -> Vec<u8> {
    der::tlv(der::GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").to_string())
}

/// UTCTime, as certificates and CRLs have it until 2049.
pub(crate) fn utc(at: Timestamp) -> Vec<u8> {
    der::tlv(der::UTC_TIME, at.strftime("%y%m%d%H%M%SZ").to_string())
}

const DAY: i64 = 86_400;

impl Authority {
    /// A root of this common name.
    pub(crate) fn new(common_name: &str) -> Self {
        let key = Key::p256();
        let subject = name(&[(COMMON_NAME.into(), common_name.into())]);
        let ca = extension(BASIC_CONSTRAINTS, true, &der::sequence(&[der::boolean(true)]));
        let identifier = extension(SUBJECT_KEY_IDENTIFIER, false, &der::octet_string(sha1(key.public())));
        let validity = [utc(from_now(-DAY)), utc(from_now(365 * DAY))];
        let der = certificate(
            &key,
            &random::<16>(),
            [&subject, &subject],
            &validity,
            &key.spki(),
            &[ca, identifier],
        );
        Self {
            key,
            certificate: Certificate::read(&der).expect("invariant: what this crate writes it reads"),
        }
    }

    /// A certificate of this authority for a key.
    pub(crate) fn certify(&self, key: &Key, common_name: &str, extensions: &[Vec<u8>]) -> Certificate {
        let subject = name(&[(COMMON_NAME.into(), common_name.into())]);
        let names = extension(
            "2.5.29.17",
            false,
            &der::sequence(&[dns_name(&format!("{common_name}.test"))]),
        );
        let authority = self.key_identifier();
        let extensions = [&[names, authority], extensions].concat();
        let validity = [utc(from_now(-DAY)), utc(from_now(90 * DAY))];
        let mut serial = random::<16>();
        serial[0] = serial[0] & 0x7f | 0x40;
        let der = certificate(
            &self.key,
            &serial,
            [&self.certificate.subject, &subject],
            &validity,
            &key.spki(),
            &extensions,
        );
        Certificate::read(&der).expect("invariant: what this crate writes it reads")
    }

    /// A certificate with these extended key usages.
    pub(crate) fn certify_for(&self, key: &Key, common_name: &str, usages: &[&str]) -> Certificate {
        let usages: Vec<Vec<u8>> = usages.iter().map(|usage| der::oid(usage)).collect();
        let usages = extension(EXTENDED_KEY_USAGE, false, &der::sequence(&usages));
        self.certify(key, common_name, &[usages])
    }

    /// The extension that names this authority's key.
    pub(crate) fn key_identifier(&self) -> Vec<u8> {
        let identifier = der::tlv(der::context(0), sha1(self.key.public()));
        extension(AUTHORITY_KEY_IDENTIFIER, false, &der::sequence(&[identifier]))
    }
}

/// An OCSP answer before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) id: Vec<u8>,
    /// The CertStatus as encoded.
    pub(crate) status: Vec<u8>,
    pub(crate) this_update: Timestamp,
    pub(crate) next_update: Option<Timestamp>,
    /// Whole Extension values.
    pub(crate) single_extensions: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Draft {
    /// `good`, from a minute ago for an hour.
    pub(crate) fn good(id: &[u8]) -> Self {
        Self {
            id: id.to_vec(),
            status: der::tlv(der::context(0), []),
            this_update: from_now(-60),
            next_update: Some(from_now(3600)),
            single_extensions: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// Signs as the holder of `key`; these certificates come along.
    pub(crate) fn sign(&self, key: &Key, certificates: &[&Certificate]) -> Vec<u8> {
        let explicit = |number, content: Vec<u8>| der::tlv(der::constructed(number), content);
        let mut single = vec![self.id.clone(), self.status.clone(), generalized(self.this_update)];
        single.extend(self.next_update.map(|next| explicit(0, generalized(next))));
        if !self.single_extensions.is_empty() {
            single.push(explicit(1, der::sequence(&self.single_extensions)));
        }
        let mut tbs = vec![
            explicit(2, der::octet_string(sha1(key.public()))),
            generalized(self.this_update),
            der::sequence(&[der::sequence(&single)]),
        ];
        if !self.extensions.is_empty() {
            tbs.push(explicit(1, der::sequence(&self.extensions)));
        }
        let tbs = der::sequence(&tbs);
        let signature = der::bit_string(&key.sign_x509(&tbs));
        let mut parts = vec![tbs, key.signature_algorithm(), signature];
        if !certificates.is_empty() {
            let all: Vec<Vec<u8>> = certificates.iter().map(|one| one.der.clone()).collect();
            parts.push(explicit(0, der::sequence(&all)));
        }
        let body = der::sequence(&[der::oid(BASIC), der::octet_string(der::sequence(&parts))]);
        der::sequence(&[der::tlv(der::ENUMERATED, [0]), explicit(0, body)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::certificate::OCSP_SIGNING;
    use crate::read::ocsp::Response;

    #[test]
    fn what_it_signs_is_read_back_and_verifies() {
        let ca = Authority::new("ca");
        let key = Key::p256();
        let signer = ca.certify_for(&key, "signer", &[OCSP_SIGNING]);
        assert_eq!(signer.is_signed_by(&ca.certificate), Ok(()));
        let id = crate::read::ocsp::cert_id_of(crate::read::ocsp::SHA256, &ca.certificate, &[1]);
        let answer = Response::read(&Draft::good(&id).sign(&key, &[&signer])).expect("own encoding");
        assert_eq!(answer.basic.expect("a basic response").check(&ca.certificate), Ok(()));
    }
}
