//! Certification requests (PKCS#10) and self-signed certificates, sound and with one fault.

use crate::der;
use crate::keys::{Key, random};

/// The extensionRequest attribute of PKCS#9.
pub(crate) const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
pub(crate) const COMMON_NAME: &str = "2.5.4.3";

/// A request before it is signed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Csr {
    pub(crate) version: u8,
    /// Attribute type and value, one RDN each.
    pub(crate) subject: Vec<(String, String)>,
    /// GeneralNames as encoded.
    pub(crate) names: Vec<Vec<u8>>,
    /// Whole Extension values beside the names.
    pub(crate) extensions: Vec<Vec<u8>>,
    /// Whole Attribute values beside the extensionRequest.
    pub(crate) attributes: Vec<Vec<u8>>,
    /// Another key than the signer's.
    pub(crate) spki: Option<Vec<u8>>,
}

impl Csr {
    /// Names in the SAN, the subject empty.
    pub(crate) fn of(names: &[String]) -> Self {
        Self {
            names: names.iter().map(|name| dns_name(name)).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn common_name(mut self, name: &str) -> Self {
        self.subject.push((COMMON_NAME.into(), name.into()));
        self
    }

    pub(crate) fn subject(mut self, oid: &str, value: &str) -> Self {
        self.subject.push((oid.into(), value.into()));
        self
    }

    pub(crate) fn extension(mut self, oid: &str, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(crate::read::ocsp::extension(oid, critical, value));
        self
    }

    /// The part that is signed.
    pub(crate) fn info(&self, key: &Key) -> Vec<u8> {
        let mut extensions = Vec::new();
        if !self.names.is_empty() {
            let names = der::sequence(&self.names);
            extensions.push(crate::read::ocsp::extension("2.5.29.17", false, &names));
        }
        extensions.extend(self.extensions.iter().cloned());
        let mut attributes = self.attributes.clone();
        if !extensions.is_empty() {
            attributes.push(attribute(EXTENSION_REQUEST, &der::sequence(&extensions)));
        }
        der::sequence(&[
            der::tlv(der::INTEGER, [self.version]),
            name(&self.subject),
            self.spki.clone().unwrap_or_else(|| key.spki()),
            der::tlv(der::constructed(0), attributes.concat()),
        ])
    }

    /// The signed request.
    pub(crate) fn sign(&self, key: &Key) -> Vec<u8> {
        let info = self.info(key);
        let signature = key.sign_x509(&info);
        der::sequence(&[info, key.signature_algorithm(), der::bit_string(&signature)])
    }
}

/// An Attribute with one value.
pub(crate) fn attribute(oid: &str, value: &[u8]) -> Vec<u8> {
    der::sequence(&[der::oid(oid), der::set(&[value.to_vec()])])
}

/// A Name of one attribute for each RDN.
pub(crate) fn name(attributes: &[(String, String)]) -> Vec<u8> {
    let rdns = attributes.iter().map(|(oid, value)| {
        let tag = match oid.as_str() {
            "2.5.4.6" | "2.5.4.5" => der::PRINTABLE_STRING,
            "1.2.840.113549.1.9.1" => der::IA5_STRING,
            _ => der::UTF8_STRING,
        };
        der::set(&[der::sequence(&[der::oid(oid), der::tlv(tag, value)])])
    });
    der::sequence(&rdns.collect::<Vec<_>>())
}

/// A dNSName.
pub(crate) fn dns_name(name: &str) -> Vec<u8> {
    der::tlv(der::context(2), name)
}

/// An iPAddress.
pub(crate) fn ip_address(octets: &[u8]) -> Vec<u8> {
    der::tlv(der::context(7), octets)
}

/// A self-signed certificate with these GeneralNames and Extensions beside them, valid around now.
pub(crate) fn self_signed(key: &Key, names: &[Vec<u8>], extensions: &[Vec<u8>]) -> Vec<u8> {
    self_signed_as(
        key,
        &random::<16>(),
        &name(&[(COMMON_NAME.into(), "conformance".into())]),
        names,
        extensions,
    )
}

/// The same with serial and names of the caller's own.
pub(crate) fn self_signed_as(
    key: &Key,
    serial: &[u8],
    issuer: &[u8],
    names: &[Vec<u8>],
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let mut all = Vec::new();
    if !names.is_empty() {
        all.push(crate::read::ocsp::extension("2.5.29.17", false, &der::sequence(names)));
    }
    all.extend(extensions.iter().cloned());
    let time = |text: &str| der::tlv(der::UTC_TIME, text);
    // A long life: what a validator checks of this certificate is not its dates.
    let validity = [time("200101000000Z"), time("491231235959Z")];
    certificate(key, serial, [issuer, issuer], &validity, &key.spki(), &all)
}

/// A certificate: issuer and subject, the two encoded times, the subject's key, and whole Extension values.
pub(crate) fn certificate(
    signer: &Key,
    serial: &[u8],
    [issuer, subject]: [&[u8]; 2],
    validity: &[Vec<u8>; 2],
    spki: &[u8],
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let tbs = der::sequence(&[
        der::tlv(der::constructed(0), der::tlv(der::INTEGER, [2])),
        der::unsigned(serial),
        signer.signature_algorithm(),
        issuer.to_vec(),
        der::sequence(validity),
        subject.to_vec(),
        spki.to_vec(),
        der::tlv(der::constructed(3), der::sequence(extensions)),
    ]);
    let signature = signer.sign_x509(&tbs);
    der::sequence(&[tbs, signer.signature_algorithm(), der::bit_string(&signature)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::certificate::{Certificate, verify};

    #[test]
    fn makes_certificates_that_its_own_reader_reads_and_verifies() {
        for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa()] {
            let der = self_signed(&key, &[dns_name("a.test"), ip_address(&[127, 0, 0, 1])], &[]);
            let certificate = Certificate::read(&der).expect("own encoding");
            assert_eq!(certificate.dns_names(), ["a.test"]);
            assert_eq!(certificate.spki, key.spki());
            assert_eq!(certificate.is_signed_by(&certificate), Ok(()));
            let mut changed = certificate.clone();
            changed.tbs[20] ^= 1;
            assert!(changed.is_signed_by(&certificate).is_err());
        }
    }

    #[test]
    fn signs_requests_with_the_key_they_name() {
        let key = Key::p256();
        let csr = Csr::of(&["a.test".into()]).common_name("a.test").sign(&key);
        let parts = der::single(&csr, der::SEQUENCE)
            .and_then(|csr| csr.inside().all())
            .expect("own encoding");
        let [info, algorithm, signature] = parts.as_slice() else {
            panic!("three parts")
        };
        assert_eq!(
            verify(&key.spki(), algorithm.whole, info.whole, &signature.content[1..]),
            Ok(())
        );
    }

    #[test]
    fn refuses_parameters_that_the_algorithm_does_not_have() {
        let key = Key::p256();
        let odd = der::sequence(&[der::oid("1.2.840.10045.4.3.2"), der::null()]);
        assert!(verify(&key.spki(), &odd, b"text", &key.sign_x509(b"text")).is_err());
    }
}
