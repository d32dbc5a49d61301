//! Certificate revocation lists, taken apart by RFC 5280 section 5.1.

use jiff::Timestamp;

use crate::der::{self, GENERALIZED_TIME, UTC_TIME};
use crate::read::certificate::{self, Certificate, Extension, bits};
use crate::read::time;

pub(crate) const REASON_CODE: &str = "2.5.29.21";
pub(crate) const CRL_NUMBER: &str = "2.5.29.20";
pub(crate) const DELTA_INDICATOR: &str = "2.5.29.27";
pub(crate) const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
pub(crate) const INVALIDITY_DATE: &str = "2.5.29.24";

/// One revoked certificate.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) serial: Vec<u8>,
    pub(crate) revoked: Timestamp,
    pub(crate) extensions: Vec<Extension>,
}

impl Entry {
    /// The reason code as written.
    pub(crate) fn reason(&self) -> Result<Option<u8>, String> {
        let Some(extension) = self.extensions.iter().find(|extension| extension.oid == REASON_CODE) else {
            return Ok(None);
        };
        let code = der::single(&extension.value, der::ENUMERATED)?;
        match code.content {
            &[code] => Ok(Some(code)),
            _ => Err("a reason code of several octets".into()),
        }
    }
}

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct Crl {
    pub(crate) der: Vec<u8>,
    pub(crate) tbs: Vec<u8>,
    pub(crate) version: Option<u8>,
    pub(crate) inner_algorithm: Vec<u8>,
    pub(crate) outer_algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) this_update: Timestamp,
    pub(crate) next_update: Option<Timestamp>,
    /// `None` where the list is absent.
    pub(crate) entries: Option<Vec<Entry>>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: Vec<u8>,
}

impl Crl {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut outer = der::single(bytes, der::SEQUENCE)?.inside();
        let tbs = outer.expect(der::SEQUENCE)?;
        let outer_algorithm = outer.expect(der::SEQUENCE)?.whole.to_vec();
        let signature = bits(&outer.expect(der::BIT_STRING)?)?.to_vec();
        outer.end()?;
        let mut inner = tbs.inside();
        let version = inner
            .optional(der::INTEGER)?
            .and_then(|version| version.content.last().copied());
        let inner_algorithm = inner.expect(der::SEQUENCE)?.whole.to_vec();
        let issuer = inner.expect(der::SEQUENCE)?.whole.to_vec();
        let this_update = time::x509(&inner.any()?)?;
        let next_update = match inner.peek() {
            Some(UTC_TIME | GENERALIZED_TIME) => Some(time::x509(&inner.any()?)?),
            _ => None,
        };
        let entries = match inner.optional(der::SEQUENCE)? {
            Some(list) => Some(list.inside().all()?.iter().map(entry).collect::<Result<_, _>>()?),
            None => None,
        };
        let extensions = match inner.optional(der::constructed(0))? {
            Some(explicit) => certificate::extensions(&explicit)?,
            None => Vec::new(),
        };
        inner.end()?;
        Ok(Self {
            der: bytes.to_vec(),
            tbs: tbs.whole.to_vec(),
            version,
            inner_algorithm,
            outer_algorithm,
            issuer,
            this_update,
            next_update,
            entries,
            extensions,
            signature,
        })
    }

    pub(crate) fn extension(&self, oid: &str) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    pub(crate) fn entry(&self, serial: &[u8]) -> Option<&Entry> {
        self.entries.as_ref()?.iter().find(|entry| entry.serial == serial)
    }

    /// Content octets of the CRL number.
    pub(crate) fn number(&self) -> Option<Vec<u8>> {
        let value = &self.extension(CRL_NUMBER)?.value;
        der::single(value, der::INTEGER)
            .ok()
            .map(|number| number.content.to_vec())
    }

    pub(crate) fn is_delta(&self) -> bool {
        self.extension(DELTA_INDICATOR).is_some()
    }

    pub(crate) fn is_signed_by(&self, issuer: &Certificate) -> Result<(), String> {
        certificate::verify(&issuer.spki, &self.outer_algorithm, &self.tbs, &self.signature)
    }
}

fn entry(element: &der::Element<'_>) -> Result<Entry, String> {
    let mut parts = element.inside();
    let serial = parts.expect(der::INTEGER)?.content.to_vec();
    let revoked = time::x509(&parts.any()?)?;
    let extensions = match parts.optional(der::SEQUENCE)? {
        Some(list) => {
            let explicit = der::tlv(der::constructed(0), list.whole);
            certificate::extensions(&der::single(&explicit, der::constructed(0))?)?
        }
        None => Vec::new(),
    };
    parts.end()?;
    Ok(Entry {
        serial,
        revoked,
        extensions,
    })
}
