//! OCSP: requests built by hand, sound and unsound, and responses taken apart by RFC 6960 section 4.2.

use jiff::Timestamp;

use crate::der;
use crate::keys::{sha1, sha256};
use crate::read::certificate::{self, Certificate, Extension, bits};
use crate::read::time;

pub(crate) const SHA1: &str = "1.3.14.3.2.26";
pub(crate) const SHA256: &str = "2.16.840.1.101.3.4.2.1";
pub(crate) const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";
pub(crate) const NONCE: &str = "1.3.6.1.5.5.7.48.1.2";
pub(crate) const ACCEPTABLE: &str = "1.3.6.1.5.5.7.48.1.4";
pub(crate) const PREFERRED_ALGORITHMS: &str = "1.3.6.1.5.5.7.48.1.8";
pub(crate) const EXTENDED_REVOKE: &str = "1.3.6.1.5.5.7.48.1.9";

/// A CertID from its parts.
pub(crate) fn cert_id(hash: &str, name_hash: &[u8], key_hash: &[u8], serial: &[u8], null: bool) -> Vec<u8> {
    let mut algorithm = vec![der::oid(hash)];
    if null {
        algorithm.push(der::null());
    }
    der::sequence(&[
        der::sequence(&algorithm),
        der::octet_string(name_hash),
        der::octet_string(key_hash),
        der::tlv(der::INTEGER, serial),
    ])
}

/// The CertID of a certificate of this issuer.
pub(crate) fn cert_id_of(hash: &str, issuer: &Certificate, serial: &[u8]) -> Vec<u8> {
    let digest = |bytes: &[u8]| if hash == SHA1 { sha1(bytes) } else { sha256(bytes) };
    cert_id(
        hash,
        &digest(&issuer.subject),
        &digest(&issuer.key_bits()),
        serial,
        true,
    )
}

/// One Extension.
pub(crate) fn extension(oid: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(oid)];
    if critical {
        parts.push(der::boolean(true));
    }
    parts.push(der::octet_string(value));
    der::sequence(&parts)
}

/// What goes into a request; everything but the CertIDs may stay empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question {
    pub(crate) ids: Vec<Vec<u8>>,
    /// A GeneralName.
    pub(crate) requestor: Option<Vec<u8>>,
    pub(crate) single_extensions: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Question {
    pub(crate) fn about(id: Vec<u8>) -> Self {
        Self {
            ids: vec![id],
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub(crate) fn tbs(&self) -> Vec<u8> {
        let requests = self.ids.iter().map(|id| {
            let mut parts = vec![id.clone()];
            if !self.single_extensions.is_empty() {
                parts.push(der::tlv(der::constructed(0), der::sequence(&self.single_extensions)));
            }
            der::sequence(&parts)
        });
        let mut parts = Vec::new();
        if let Some(name) = &self.requestor {
            parts.push(der::tlv(der::constructed(1), name));
        }
        parts.push(der::sequence(&requests.collect::<Vec<_>>()));
        if !self.extensions.is_empty() {
            parts.push(der::tlv(der::constructed(2), der::sequence(&self.extensions)));
        }
        der::sequence(&parts)
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        der::sequence(&[self.tbs()])
    }
}

/// What an answer says of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Good,
    Revoked { at: Timestamp, reason: Option<u8> },
    Unknown,
}

/// One SingleResponse.
#[derive(Debug, Clone)]
pub(crate) struct Single {
    pub(crate) id: Vec<u8>,
    pub(crate) status: Status,
    pub(crate) this_update: Timestamp,
    pub(crate) next_update: Option<Timestamp>,
    pub(crate) extensions: Vec<Extension>,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Responder {
    Name(Vec<u8>),
    Key(Vec<u8>),
}

/// A basic response.
#[derive(Debug, Clone)]
pub(crate) struct Basic {
    pub(crate) tbs: Vec<u8>,
    pub(crate) explicit_version: bool,
    pub(crate) responder: Responder,
    pub(crate) produced: Timestamp,
    pub(crate) singles: Vec<Single>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) empty_certificates: bool,
}

/// An OCSPResponse: its status, and the basic response of a successful one.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u8,
    pub(crate) basic: Option<Basic>,
}

impl Response {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut outer = der::single(bytes, der::SEQUENCE)?.inside();
        let status = outer.expect(der::ENUMERATED)?;
        let &[status] = status.content else {
            return Err("a status of several octets".into());
        };
        let basic = match outer.optional(der::constructed(0))? {
            None => None,
            Some(explicit) => {
                let mut parts = der::single(explicit.content, der::SEQUENCE)?.inside();
                let kind = der::dotted(parts.expect(der::OID)?.content);
                if kind != BASIC {
                    return Err(format!("response type {kind} where id-pkix-ocsp-basic belongs"));
                }
                let body = parts.expect(der::OCTET_STRING)?;
                parts.end()?;
                Some(Basic::read(body.content)?)
            }
        };
        outer.end()?;
        Ok(Self { status, basic })
    }
}

impl Basic {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut outer = der::single(bytes, der::SEQUENCE)?.inside();
        let tbs = outer.expect(der::SEQUENCE)?;
        let algorithm = outer.expect(der::SEQUENCE)?.whole.to_vec();
        let signature = bits(&outer.expect(der::BIT_STRING)?)?.to_vec();
        let mut certificates = Vec::new();
        let mut empty_certificates = false;
        if let Some(explicit) = outer.optional(der::constructed(0))? {
            let list = der::single(explicit.content, der::SEQUENCE)?.inside().all()?;
            empty_certificates = list.is_empty();
            certificates = list
                .iter()
                .map(|element| Certificate::read(element.whole))
                .collect::<Result<_, _>>()?;
        }
        outer.end()?;
        let mut inner = tbs.inside();
        let explicit_version = inner.optional(der::constructed(0))?.is_some();
        let responder = inner.any()?;
        let responder = match responder.tag {
            tag if tag == der::constructed(1) => Responder::Name(responder.content.to_vec()),
            tag if tag == der::constructed(2) => {
                Responder::Key(der::single(responder.content, der::OCTET_STRING)?.content.to_vec())
            }
            tag => return Err(format!("tag {tag:02x} where the responder belongs")),
        };
        let produced = time::generalized(&inner.any()?)?;
        let singles = inner
            .expect(der::SEQUENCE)?
            .inside()
            .all()?
            .iter()
            .map(single)
            .collect::<Result<_, _>>()?;
        let extensions = match inner.optional(der::constructed(1))? {
            Some(explicit) => certificate::extensions(&explicit)?,
            None => Vec::new(),
        };
        inner.end()?;
        Ok(Self {
            tbs: tbs.whole.to_vec(),
            explicit_version,
            responder,
            produced,
            singles,
            extensions,
            algorithm,
            signature,
            certificates,
            empty_certificates,
        })
    }

    pub(crate) fn extension(&self, oid: &str) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// The signer: the certificate that came along and fits the responder's name or key, or the issuer.
    pub(crate) fn signer<'a>(&'a self, issuer: &'a Certificate) -> Option<&'a Certificate> {
        self.certificates
            .iter()
            .chain([issuer])
            .find(|candidate| match &self.responder {
                Responder::Name(name) => candidate.subject == *name,
                Responder::Key(hash) => sha1(candidate.key_bits()) == *hash,
            })
    }

    /// The signature verifies, and the signer may speak for the issuer.
    pub(crate) fn check(&self, issuer: &Certificate) -> Result<(), String> {
        let signer = self
            .signer(issuer)
            .ok_or("no certificate fits the responder identifier")?;
        certificate::verify(&signer.spki, &self.algorithm, &self.tbs, &self.signature)?;
        if signer.der == issuer.der {
            return Ok(());
        }
        signer
            .is_signed_by(issuer)
            .map_err(|why| format!("the signer is not of this issuer: {why}"))?;
        if signer.issuer != issuer.subject {
            return Err("the signer's issuer is not the CA's name".into());
        }
        if !signer
            .extended_usages()
            .iter()
            .any(|usage| usage == certificate::OCSP_SIGNING)
        {
            return Err("the signer lacks id-kp-OCSPSigning".into());
        }
        let now = Timestamp::now();
        if now < signer.not_before || now > signer.not_after {
            return Err("the signer's certificate is not valid now".into());
        }
        Ok(())
    }
}

fn single(element: &der::Element<'_>) -> Result<Single, String> {
    let mut parts = element.inside();
    let id = parts.expect(der::SEQUENCE)?.whole.to_vec();
    let status = parts.any()?;
    let status = match status.tag {
        tag if tag == der::context(0) && status.content.is_empty() => Status::Good,
        tag if tag == der::context(2) && status.content.is_empty() => Status::Unknown,
        tag if tag == der::constructed(1) => {
            let mut info = status.inside();
            let at = time::generalized(&info.any()?)?;
            let reason = match info.optional(der::constructed(0))? {
                Some(explicit) => der::single(explicit.content, der::ENUMERATED)?.content.last().copied(),
                None => None,
            };
            info.end()?;
            Status::Revoked { at, reason }
        }
        tag => return Err(format!("certificate status with tag {tag:02x}")),
    };
    let this_update = time::generalized(&parts.any()?)?;
    let next_update = match parts.optional(der::constructed(0))? {
        Some(explicit) => Some(time::generalized(&der::single(
            explicit.content,
            der::GENERALIZED_TIME,
        )?)?),
        None => None,
    };
    let extensions = match parts.optional(der::constructed(1))? {
        Some(explicit) => certificate::extensions(&explicit)?,
        None => Vec::new(),
    };
    parts.end()?;
    Ok(Single {
        id,
        status,
        this_update,
        next_update,
        extensions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;

    fn response(key: &Key, issuer: &Certificate, status: &[u8], certificates: &[Vec<u8>]) -> Vec<u8> {
        let time = |text: &str| der::tlv(der::GENERALIZED_TIME, text);
        let id = cert_id_of(SHA256, issuer, &[1]);
        let single = der::sequence(&[
            id,
            status.to_vec(),
            time("20260101000000Z"),
            der::tlv(der::constructed(0), time("20260102000000Z")),
        ]);
        let responder = der::tlv(der::constructed(2), der::octet_string(sha1(key.public())));
        let tbs = der::sequence(&[responder, time("20260101000000Z"), der::sequence(&[single])]);
        let mut parts = vec![
            tbs.clone(),
            key.signature_algorithm(),
            der::bit_string(&key.sign_x509(&tbs)),
        ];
        if !certificates.is_empty() {
            parts.push(der::tlv(der::constructed(0), der::sequence(certificates)));
        }
        let body = der::sequence(&[der::oid(BASIC), der::octet_string(der::sequence(&parts))]);
        der::sequence(&[der::tlv(der::ENUMERATED, [0]), der::tlv(der::constructed(0), body)])
    }

    #[test]
    fn takes_an_answer_of_the_ca_and_of_nobody_else() {
        let (key, stranger) = (Key::p256(), Key::p256());
        let issuer = Certificate::read(&crate::request::self_signed(&key, &[], &[])).err();
        assert!(issuer.is_some(), "an empty list of extensions is no DER");
        let issuer = crate::request::self_signed(&key, &[crate::request::dns_name("ca.test")], &[]);
        let issuer = Certificate::read(&issuer).expect("own encoding");
        let good = der::tlv(der::context(0), []);
        let read = |der: &[u8]| {
            Response::read(der)
                .expect("own encoding")
                .basic
                .expect("a basic response")
        };
        let basic = read(&response(&key, &issuer, &good, &[]));
        assert_eq!(
            (basic.check(&issuer), &basic.singles[0].status),
            (Ok(()), &Status::Good)
        );
        assert!(read(&response(&stranger, &issuer, &good, &[])).check(&issuer).is_err());
        let other = crate::request::self_signed(&stranger, &[crate::request::dns_name("x.test")], &[]);
        assert!(
            read(&response(&stranger, &issuer, &good, &[other]))
                .check(&issuer)
                .is_err()
        );
    }

    #[test]
    fn reads_time_and_reason_of_a_revocation() {
        let key = Key::p256();
        let issuer = crate::request::self_signed(&key, &[crate::request::dns_name("ca.test")], &[]);
        let issuer = Certificate::read(&issuer).expect("own encoding");
        let reason = der::tlv(der::constructed(0), der::tlv(der::ENUMERATED, [4]));
        let at = der::tlv(der::GENERALIZED_TIME, "20260101000000Z");
        let revoked = der::tlv(der::constructed(1), [at, reason].concat());
        let read = Response::read(&response(&key, &issuer, &revoked, &[])).expect("own encoding");
        let status = &read.basic.expect("a basic response").singles[0].status;
        assert!(matches!(status, Status::Revoked { reason: Some(4), .. }), "{status:?}");
    }

    #[test]
    fn builds_the_nonce_of_rfc_9654() {
        let nonce = extension(NONCE, false, &der::octet_string([7; 32]));
        let front = [
            0x30, 0x2f, 0x06, 0x09, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2, 4, 0x22, 4, 0x20,
        ];
        assert!(nonce.starts_with(&front), "{nonce:02x?}");
    }
}
