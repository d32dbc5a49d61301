//! The CRL builder: version 2, each entry encoded once into one buffer that becomes the CRL.
//!
//! A million entries are about 50 MB. So the entries are appended as they come, the parts in front
//! of them are written into a gap that was left for them, and the whole is never copied.

use std::collections::TryReserveError;

use der::{Decode, Encode};
use jiff::Timestamp;
use sigillo_protocol::x509::reason::RevocationReason;
use x509_cert::{Certificate, ext::pkix::SubjectKeyIdentifier};

use super::encode::{
    UnencodableTime, algorithm_identifier, element, push, push_bit_string, push_generalized_time, push_header,
    push_time, tag, unsigned,
};
use crate::{
    model::{Revocation, Serial, StatusRecord},
    signer::{SharedSigner, SignError},
};

/// Who signs a CRL, and under which name and address it is published.
#[derive(Clone)]
pub struct CrlIssuer {
    /// The issuer's subject, byte for byte as in its certificate.
    pub subject_der: Vec<u8>,
    /// The issuer's subject key identifier.
    pub key_identifier: Vec<u8>,
    /// The issuer's key.
    pub signer: SharedSigner,
    /// The address of this CRL, byte for byte as in the CRLDP of the certificates that it covers.
    pub distribution_point_url: String,
}

impl CrlIssuer {
    /// Takes name and key identifier from the issuer's certificate.
    ///
    /// # Errors
    /// When the certificate cannot be read, is another key's, or has no subject key identifier.
    pub fn from_certificate(
        certificate_der: &[u8],
        signer: SharedSigner,
        distribution_point_url: String,
    ) -> Result<Self, CrlError> {
        let unusable = |why: &str| CrlError::Certificate(why.to_owned());
        let certificate = Certificate::from_der(certificate_der).map_err(|error| unusable(&error.to_string()))?;
        let tbs = &certificate.tbs_certificate;
        let spki = tbs
            .subject_public_key_info
            .to_der()
            .map_err(|error| unusable(&error.to_string()))?;
        if spki != signer.spki_der() {
            return Err(unusable("the key is another one"));
        }
        let identifier = tbs
            .get::<SubjectKeyIdentifier>()
            .map_err(|error| unusable(&error.to_string()))?;
        let (_, identifier) = identifier.ok_or_else(|| unusable("it has no subject key identifier"))?;
        let subject_der = tbs.subject.to_der().map_err(|error| unusable(&error.to_string()))?;
        Ok(Self {
            subject_der,
            key_identifier: identifier.0.into_bytes(),
            signer,
            distribution_point_url,
        })
    }
}

/// One line of a CRL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlEntry {
    /// Which certificate.
    pub serial: Serial,
    /// When and why it was revoked.
    pub revocation: Revocation,
}

impl CrlEntry {
    /// Takes what a CRL shows from a status record; `None` for a certificate that is good.
    pub fn from_record(record: &StatusRecord) -> Option<Self> {
        Some(Self {
            serial: record.serial,
            revocation: record.revocation?,
        })
    }
}

/// A CRL that was not made.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// The entries do not rise by serial: one is there twice, or the source is out of order.
    #[error("serial {0} does not follow the serial before it")]
    Unordered(Serial),
    /// thisUpdate is not before nextUpdate.
    #[error("thisUpdate {this_update} is not before nextUpdate {next_update}")]
    EmptyValidity {
        /// The one.
        this_update: Timestamp,
        /// The other.
        next_update: Timestamp,
    },
    /// The distribution point is no URI of visible ASCII.
    #[error("the distribution point is no URI: {0:?}")]
    DistributionPoint(String),
    /// The issuer's certificate cannot be used.
    #[error("the issuer's certificate cannot be used: {0}")]
    Certificate(String),
    /// A time cannot be written.
    #[error(transparent)]
    Time(#[from] UnencodableTime),
    /// There is not enough memory for the list.
    #[error("no memory for the list: {0}")]
    Memory(#[from] TryReserveError),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The reason to publish, in CRL and OCSP alike: unspecified is left out (RFC 5280 section 5.3.1), and
/// removeFromCRL has no place in a complete CRL.
pub fn published_reason(revocation: &Revocation) -> Option<RevocationReason> {
    revocation
        .reason
        .filter(|reason| !matches!(reason, RevocationReason::Unspecified | RevocationReason::RemoveFromCrl))
}

/// Builds and signs a complete CRL over all certificates of the issuer. Entries rise by serial.
///
/// # Errors
/// [`CrlError`]; entries that are out of order or there twice are refused.
pub fn build_crl(
    issuer: &CrlIssuer,
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
    entries: impl Iterator<Item = CrlEntry>,
) -> Result<Vec<u8>, CrlError> {
    let mut list = CrlList::new(issuer)?;
    for entry in entries {
        list.push(entry)?;
    }
    list.sign(issuer, number, this_update, next_update)
}

/// Room in front of the entries for all that comes before them except the issuer's name: two outer
/// headers, version, algorithm, two times and the header of the list take less than 80 octets.
const GAP_BESIDES_NAME: usize = 128;

/// How much room the buffer asks for when it is short of it: far more than an entry takes.
const GROWTH: usize = 4 * 1024;

/// The entries of a CRL while they are collected.
pub struct CrlList {
    buffer: Vec<u8>,
    gap: usize,
    last: Option<Serial>,
    count: u64,
}

impl CrlList {
    /// Starts an empty list for an issuer.
    ///
    /// # Errors
    /// When the issuer's distribution point is no URI.
    pub fn new(issuer: &CrlIssuer) -> Result<Self, CrlError> {
        let url = &issuer.distribution_point_url;
        if url.is_empty() || !url.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(CrlError::DistributionPoint(url.clone()));
        }
        let gap = GAP_BESIDES_NAME + issuer.subject_der.len();
        Ok(Self {
            buffer: vec![0; gap],
            gap,
            last: None,
            count: 0,
        })
    }

    /// Returns how many entries there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the serial does not follow the one before, or a time cannot be written.
    pub fn push(&mut self, entry: CrlEntry) -> Result<(), CrlError> {
        if self.last.is_some_and(|last| last >= entry.serial) {
            return Err(CrlError::Unordered(entry.serial));
        }
        if self.buffer.capacity() - self.buffer.len() < GROWTH {
            self.buffer.try_reserve(GROWTH)?;
        }
        push_entry(&mut self.buffer, &entry)?;
        self.last = Some(entry.serial);
        self.count += 1;
        Ok(())
    }

    /// Puts head and extensions around the entries, signs, and returns the whole CRL.
    ///
    /// Hashing a long list takes a while: call it off the async threads.
    ///
    /// # Errors
    /// When the times contradict each other or the key does not sign.
    pub fn sign(
        mut self,
        issuer: &CrlIssuer,
        number: u64,
        this_update: Timestamp,
        next_update: Timestamp,
    ) -> Result<Vec<u8>, CrlError> {
        if this_update.as_second() >= next_update.as_second() {
            return Err(CrlError::EmptyValidity {
                this_update,
                next_update,
            });
        }
        let algorithm = algorithm_identifier(issuer.signer.algorithm());
        let entries_length = self.buffer.len() - self.gap;
        let mut head = Vec::with_capacity(self.gap);
        push(&mut head, tag::INTEGER, &[1]);
        head.extend_from_slice(algorithm);
        head.extend_from_slice(&issuer.subject_der);
        push_time(&mut head, this_update)?;
        push_time(&mut head, next_update)?;
        // No entry, no list: revokedCertificates is absent, not empty (RFC 5280 section 5.1.2.6).
        if entries_length > 0 {
            push_header(&mut head, tag::SEQUENCE, entries_length);
        }
        self.buffer.extend_from_slice(&extensions(issuer, number));
        let mut start = self.prepend(self.gap, &head);
        start = self.prepend_sequence_header(start);
        let signature = issuer.signer.sign(&self.buffer[start..])?;
        self.buffer.extend_from_slice(algorithm);
        push_bit_string(&mut self.buffer, &signature);
        start = self.prepend_sequence_header(start);
        self.buffer.drain(..start);
        Ok(self.buffer)
    }

    /// Writes octets so that they end at `end`; returns where they begin.
    fn prepend(&mut self, end: usize, octets: &[u8]) -> usize {
        let start = end - octets.len();
        self.buffer[start..end].copy_from_slice(octets);
        start
    }

    /// Wraps all from `start` on into a SEQUENCE; returns where it begins.
    fn prepend_sequence_header(&mut self, start: usize) -> usize {
        let mut header = Vec::with_capacity(10);
        push_header(&mut header, tag::SEQUENCE, self.buffer.len() - start);
        self.prepend(start, &header)
    }
}

/// Appends an entry. Its content is at most 19 + 17 + 2 + 12 + 28 octets, so its length always takes one octet.
fn push_entry(out: &mut Vec<u8>, entry: &CrlEntry) -> Result<(), UnencodableTime> {
    let start = out.len();
    out.extend_from_slice(&[tag::SEQUENCE, 0]);
    push_serial(out, entry.serial);
    push_time(out, entry.revocation.at)?;
    let reason = published_reason(&entry.revocation);
    let invalid_since = entry.revocation.invalid_since;
    if reason.is_some() || invalid_since.is_some() {
        push_entry_extensions(out, reason, invalid_since)?;
    }
    out[start + 1] = (out.len() - start - 2) as u8;
    Ok(())
}

fn push_serial(out: &mut Vec<u8>, serial: Serial) {
    let octets = serial.as_bytes();
    let magnitude = &octets[octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1)..];
    let sign = usize::from(magnitude[0] & 0x80 != 0);
    push_header(out, tag::INTEGER, magnitude.len() + sign);
    if sign == 1 {
        out.push(0);
    }
    out.extend_from_slice(magnitude);
}

/// id-ce-cRLReasons, 2.5.29.21, as a whole element.
const REASON_CODE: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x15];
/// id-ce-invalidityDate, 2.5.29.24, as a whole element.
const INVALIDITY_DATE: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x18];
/// Content length of the extension that holds a reason code.
const REASON_LENGTH: usize = REASON_CODE.len() + 2 + 3;
/// Content length of the extension that holds an invalidity date.
const INVALIDITY_LENGTH: usize = INVALIDITY_DATE.len() + 2 + 17;

fn push_entry_extensions(
    out: &mut Vec<u8>,
    reason: Option<RevocationReason>,
    invalid_since: Option<Timestamp>,
) -> Result<(), UnencodableTime> {
    let length = reason.map_or(0, |_| REASON_LENGTH + 2) + invalid_since.map_or(0, |_| INVALIDITY_LENGTH + 2);
    push_header(out, tag::SEQUENCE, length);
    if let Some(reason) = reason {
        push_header(out, tag::SEQUENCE, REASON_LENGTH);
        out.extend_from_slice(&REASON_CODE);
        out.extend_from_slice(&[tag::OCTET_STRING, 3, tag::ENUMERATED, 1, reason.code()]);
    }
    if let Some(since) = invalid_since {
        push_header(out, tag::SEQUENCE, INVALIDITY_LENGTH);
        out.extend_from_slice(&INVALIDITY_DATE);
        push_header(out, tag::OCTET_STRING, 17);
        push_generalized_time(out, since)?;
    }
    Ok(())
}

/// The CRL's extensions under their tag: authority key identifier and number, not critical, and the critical
/// issuing distribution point.
fn extensions(issuer: &CrlIssuer, number: u64) -> Vec<u8> {
    let key_identifier = element(tag::SEQUENCE, &element(tag::CONTEXT_0, &issuer.key_identifier));
    let number = element(tag::INTEGER, &unsigned(number));
    let uri = element(tag::CONTEXT_6, issuer.distribution_point_url.as_bytes());
    let full_name = element(tag::CONTEXT_0_CONSTRUCTED, &uri);
    let point = element(tag::SEQUENCE, &element(tag::CONTEXT_0_CONSTRUCTED, &full_name));
    let all = [
        extension(35, false, &key_identifier),
        extension(20, false, &number),
        extension(28, true, &point),
    ]
    .concat();
    element(tag::CONTEXT_0_CONSTRUCTED, &element(tag::SEQUENCE, &all))
}

/// One extension of the arc id-ce, 2.5.29.
fn extension(arc: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = element(tag::OBJECT_IDENTIFIER, &[0x55, 0x1d, arc]);
    if critical {
        push(&mut content, tag::BOOLEAN, &[0xff]);
    }
    push(&mut content, tag::OCTET_STRING, value);
    element(tag::SEQUENCE, &content)
}
