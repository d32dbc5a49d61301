//! Certificates, taken apart by RFC 5280 section 4.1.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use jiff::Timestamp;

use crate::der::{self, Element, Reader};
use crate::read::time;

pub(crate) const AUTHORITY_INFORMATION_ACCESS: &str = "1.3.6.1.5.5.7.1.1";
pub(crate) const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
pub(crate) const KEY_USAGE: &str = "2.5.29.15";
pub(crate) const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";
pub(crate) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(crate) const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub(crate) const CRL_DISTRIBUTION_POINTS: &str = "2.5.29.31";
pub(crate) const CERTIFICATE_POLICIES: &str = "2.5.29.32";
pub(crate) const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
pub(crate) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub(crate) const FRESHEST_CRL: &str = "2.5.29.46";
pub(crate) const NO_REVOCATION_AVAILABLE: &str = "2.5.29.56";
pub(crate) const OCSP_NO_CHECK: &str = "1.3.6.1.5.5.7.48.1.5";
pub(crate) const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const ACCESS_OCSP: &str = "1.3.6.1.5.5.7.48.1";
pub(crate) const ACCESS_CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// One extension.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    pub(crate) oid: String,
    pub(crate) critical: bool,
    /// What the OCTET STRING holds.
    pub(crate) value: Vec<u8>,
}

/// Reads the SEQUENCE OF Extension inside an explicit tag.
pub(crate) fn extensions(explicit: &Element<'_>) -> Result<Vec<Extension>, String> {
    let list = der::single(explicit.content, der::SEQUENCE)?;
    if list.content.is_empty() {
        return Err("an empty list of extensions".into());
    }
    list.inside().all()?.iter().map(extension).collect()
}

fn extension(element: &Element<'_>) -> Result<Extension, String> {
    let mut parts = element.inside();
    let oid = der::dotted(parts.expect(der::OID)?.content);
    let critical = match parts.optional(der::BOOLEAN)? {
        Some(flag) if flag.content == [0xff] => true,
        Some(_) => return Err(format!("extension {oid} writes a default or unsound critical flag")),
        None => false,
    };
    let value = parts.expect(der::OCTET_STRING)?.content.to_vec();
    parts.end()?;
    Ok(Extension { oid, critical, value })
}

/// A certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) tbs: Vec<u8>,
    /// The version as written: 2 means v3.
    pub(crate) version: u8,
    /// Content octets of the serial number.
    pub(crate) serial: Vec<u8>,
    pub(crate) inner_algorithm: Vec<u8>,
    pub(crate) outer_algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) spki: Vec<u8>,
    pub(crate) unique_identifiers: bool,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: Vec<u8>,
}

impl Certificate {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut outer = der::single(bytes, der::SEQUENCE)?.inside();
        let tbs = outer.expect(der::SEQUENCE)?;
        let outer_algorithm = outer.expect(der::SEQUENCE)?.whole.to_vec();
        let signature = bits(&outer.expect(der::BIT_STRING)?)?.to_vec();
        outer.end()?;
        let mut inner = tbs.inside();
        let version = match inner.optional(der::constructed(0))? {
            Some(explicit) => *der::single(explicit.content, der::INTEGER)?
                .content
                .last()
                .unwrap_or(&0),
            None => 0,
        };
        let serial = inner.expect(der::INTEGER)?.content.to_vec();
        let inner_algorithm = inner.expect(der::SEQUENCE)?.whole.to_vec();
        let issuer = inner.expect(der::SEQUENCE)?.whole.to_vec();
        let validity = inner.expect(der::SEQUENCE)?.inside().all()?;
        let [not_before, not_after] = validity.as_slice() else {
            return Err("validity is not two times".into());
        };
        let subject = inner.expect(der::SEQUENCE)?.whole.to_vec();
        let spki = inner.expect(der::SEQUENCE)?.whole.to_vec();
        let unique_identifiers =
            inner.optional(der::context(1))?.is_some() | inner.optional(der::context(2))?.is_some();
        let extensions = match inner.optional(der::constructed(3))? {
            Some(explicit) => extensions(&explicit)?,
            None => Vec::new(),
        };
        inner.end()?;
        Ok(Self {
            der: bytes.to_vec(),
            tbs: tbs.whole.to_vec(),
            version,
            serial,
            inner_algorithm,
            outer_algorithm,
            issuer,
            subject,
            not_before: time::x509(not_before)?,
            not_after: time::x509(not_after)?,
            spki,
            unique_identifiers,
            extensions,
            signature,
        })
    }

    pub(crate) fn extension(&self, oid: &str) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// The key's octets without tag, length and unused-bits octet, as OCSP hashes them.
    pub(crate) fn key_bits(&self) -> Vec<u8> {
        key_bits(&self.spki).unwrap_or_default()
    }

    pub(crate) fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        let value = &self.extension(SUBJECT_KEY_IDENTIFIER)?.value;
        der::single(value, der::OCTET_STRING)
            .ok()
            .map(|element| element.content.to_vec())
    }

    pub(crate) fn authority_key_identifier(&self) -> Option<Vec<u8>> {
        key_identifier(&self.extension(AUTHORITY_KEY_IDENTIFIER)?.value)
    }

    /// Tag and content of each alternative name.
    pub(crate) fn names(&self) -> Result<Vec<(u8, Vec<u8>)>, String> {
        let Some(extension) = self.extension(SUBJECT_ALTERNATIVE_NAME) else {
            return Ok(Vec::new());
        };
        let names = der::single(&extension.value, der::SEQUENCE)?.inside().all()?;
        Ok(names.iter().map(|name| (name.tag, name.content.to_vec())).collect())
    }

    /// The dNSName entries, in lower case and sorted.
    pub(crate) fn dns_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .names()
            .unwrap_or_default()
            .into_iter()
            .filter(|(tag, _)| *tag == der::context(2))
            .map(|(_, name)| String::from_utf8_lossy(&name).to_ascii_lowercase())
            .collect();
        names.sort();
        names
    }

    /// URIs of one access method of the AIA extension.
    pub(crate) fn access(&self, method: &str) -> Vec<String> {
        let Some(extension) = self.extension(AUTHORITY_INFORMATION_ACCESS) else {
            return Vec::new();
        };
        let read = || -> Result<Vec<String>, String> {
            let mut uris = Vec::new();
            for description in der::single(&extension.value, der::SEQUENCE)?.inside().all()? {
                let mut parts = description.inside();
                let oid = parts.expect(der::OID)?;
                let location = parts.any()?;
                if der::dotted(oid.content) == method && location.tag == der::context(6) {
                    uris.push(String::from_utf8_lossy(location.content).into_owned());
                }
            }
            Ok(uris)
        };
        read().unwrap_or_default()
    }

    /// URIs of the CRL distribution points.
    pub(crate) fn crl_uris(&self) -> Vec<String> {
        self.extension(CRL_DISTRIBUTION_POINTS)
            .map(|e| distribution_uris(&e.value))
            .unwrap_or_default()
    }

    pub(crate) fn extended_usages(&self) -> Vec<String> {
        let Some(extension) = self.extension(EXTENDED_KEY_USAGE) else {
            return Vec::new();
        };
        let usages = der::single(&extension.value, der::SEQUENCE).and_then(|list| list.inside().all());
        usages
            .unwrap_or_default()
            .iter()
            .map(|usage| der::dotted(usage.content))
            .collect()
    }

    /// Whether a key usage bit is set.
    pub(crate) fn has_usage(&self, bit: usize) -> bool {
        let Some(extension) = self.extension(KEY_USAGE) else {
            return false;
        };
        let Ok(element) = der::single(&extension.value, der::BIT_STRING) else {
            return false;
        };
        element
            .content
            .get(1 + bit / 8)
            .is_some_and(|octet| octet & (0x80 >> (bit % 8)) != 0)
    }

    pub(crate) fn is_ca(&self) -> bool {
        let Some(extension) = self.extension(BASIC_CONSTRAINTS) else {
            return false;
        };
        let Ok(element) = der::single(&extension.value, der::SEQUENCE) else {
            return false;
        };
        element
            .inside()
            .optional(der::BOOLEAN)
            .ok()
            .flatten()
            .is_some_and(|flag| flag.content == [0xff])
    }

    /// Checks this certificate's signature with the key of `issuer`.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> Result<(), String> {
        verify(&issuer.spki, &self.outer_algorithm, &self.tbs, &self.signature)
    }

    /// What an error message calls it.
    pub(crate) fn label(&self) -> String {
        let serial: String = self.serial.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("certificate {serial}")
    }
}

/// keyIdentifier of an AuthorityKeyIdentifier.
pub(crate) fn key_identifier(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = der::single(value, der::SEQUENCE).ok()?.inside();
    parts
        .optional(der::context(0))
        .ok()?
        .map(|element| element.content.to_vec())
}

/// URIs of a CRLDistributionPoints or FreshestCRL value.
pub(crate) fn distribution_uris(value: &[u8]) -> Vec<String> {
    let read = || -> Result<Vec<String>, String> {
        let mut uris = Vec::new();
        for point in der::single(value, der::SEQUENCE)?.inside().all()? {
            if let Some(name) = point.inside().optional(der::constructed(0))? {
                uris.extend(full_name_uris(&name)?);
            }
        }
        Ok(uris)
    };
    read().unwrap_or_default()
}

/// URIs of a DistributionPointName in its fullName form.
pub(crate) fn full_name_uris(name: &Element<'_>) -> Result<Vec<String>, String> {
    let full = name.inside().expect(der::constructed(0))?;
    let names = full.inside().all()?;
    let uris = names.iter().filter(|name| name.tag == der::context(6));
    Ok(uris
        .map(|name| String::from_utf8_lossy(name.content).into_owned())
        .collect())
}

/// The octets of a BIT STRING without unused bits.
pub(crate) fn bits<'a>(element: &Element<'a>) -> Result<&'a [u8], String> {
    match element.content.split_first() {
        Some((0, octets)) => Ok(octets),
        _ => Err("a bit string with unused bits".into()),
    }
}

fn key_bits(spki: &[u8]) -> Result<Vec<u8>, String> {
    let mut parts = der::single(spki, der::SEQUENCE)?.inside();
    parts.expect(der::SEQUENCE)?;
    Ok(bits(&parts.expect(der::BIT_STRING)?)?.to_vec())
}

/// Dotted OID of an AlgorithmIdentifier, and its parameters.
pub(crate) fn algorithm(identifier: &[u8]) -> Result<(String, Option<Vec<u8>>), String> {
    let mut parts: Reader<'_> = der::single(identifier, der::SEQUENCE)?.inside();
    let oid = der::dotted(parts.expect(der::OID)?.content);
    let parameters = if parts.is_empty() {
        None
    } else {
        Some(parts.any()?.whole.to_vec())
    };
    parts.end()?;
    Ok((oid, parameters))
}

/// Verifies a signature; parameters have to be as RFC 5758, 4055 and 8410 want them.
pub(crate) fn verify(spki: &[u8], identifier: &[u8], message: &[u8], signature: &[u8]) -> Result<(), String> {
    let (oid, parameters) = algorithm(identifier)?;
    let mut parts = der::single(spki, der::SEQUENCE)?.inside();
    let key_algorithm = parts.expect(der::SEQUENCE)?;
    let key = bits(&parts.expect(der::BIT_STRING)?)?;
    let p256 = key_algorithm.whole.ends_with(&der::oid("1.2.840.10045.3.1.7"));
    let algorithm: &'static dyn VerificationAlgorithm = match (oid.as_str(), p256) {
        ("1.2.840.10045.4.3.2", true) => &ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", true) => &ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.2", false) => &ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", false) => &ECDSA_P384_SHA384_ASN1,
        ("1.3.101.112", _) => &ED25519,
        ("1.2.840.113549.1.1.11", _) => &RSA_PKCS1_2048_8192_SHA256,
        ("1.2.840.113549.1.1.12", _) => &RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", _) => &RSA_PKCS1_2048_8192_SHA512,
        (other, _) => return Err(format!("signature algorithm {other}, which the suite does not verify")),
    };
    let wants_null = oid.starts_with("1.2.840.113549.");
    if parameters != wants_null.then(der::null) {
        return Err(format!("parameters of signature algorithm {oid} are not as defined"));
    }
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .map_err(|_| "the signature does not verify".into())
}
