//! The CRL builder: version 2, the encoded entries shared and not copied.
//!
//! A million entries are about 40 MB. So what stands before and behind them is written around the pieces in which they
//! are kept, and the whole is never in one block.

use std::collections::TryReserveError;

use bytes::Bytes;
use der::{Decode, Encode};
use jiff::Timestamp;
use sigillo_protocol::x509::reason::RevocationReason;
use x509_cert::{Certificate, ext::pkix::SubjectKeyIdentifier};

use super::{
    encode::{
        UnencodableTime, algorithm_identifier, element, push, push_bit_string, push_generalized_time, push_header,
        push_time, tag, unsigned,
    },
    entries::{EntryWriter, Kept},
};
use crate::{
    model::{Pieces, Revocation, Serial, StatusRecord},
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
) -> Result<Pieces, CrlError> {
    let mut writer = EntryWriter::default();
    for entry in entries {
        // How long an entry matters is not asked here.
        let not_after = Timestamp::MAX;
        writer.push(&Kept { entry, not_after })?;
    }
    let head = CrlHead {
        number,
        this_update,
        next_update,
        base: None,
        freshest: None,
    };
    sign_crl(issuer, &head, writer.finish().octets())
}

/// What a CRL says of itself.
#[derive(Debug, Clone)]
pub(super) struct CrlHead {
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    /// For a delta CRL, the number of the complete one that it builds on.
    pub base: Option<u64>,
    /// For a complete CRL, where its deltas are.
    pub freshest: Option<String>,
}

/// Puts head and extensions around encoded entries, and signs. What comes before the entries is the first piece of the
/// result, and what comes behind them the last.
///
/// Hashing a long list takes a while: call it off the async threads.
///
/// # Errors
/// When the times contradict each other, an address is none, or the key does not sign.
pub(super) fn sign_crl(issuer: &CrlIssuer, head: &CrlHead, entries: Vec<Bytes>) -> Result<Pieces, CrlError> {
    for url in std::iter::once(&issuer.distribution_point_url).chain(&head.freshest) {
        if url.is_empty() || !url.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(CrlError::DistributionPoint(url.clone()));
        }
    }
    let (this_update, next_update) = (head.this_update, head.next_update);
    if this_update.as_second() >= next_update.as_second() {
        return Err(CrlError::EmptyValidity {
            this_update,
            next_update,
        });
    }
    let algorithm = algorithm_identifier(issuer.signer.algorithm());
    let mut before = element(tag::INTEGER, &[1]);
    before.extend_from_slice(algorithm);
    before.extend_from_slice(&issuer.subject_der);
    push_time(&mut before, this_update)?;
    push_time(&mut before, next_update)?;
    let entries_length = entries.iter().map(Bytes::len).sum();
    // No entry, no list: revokedCertificates is absent, not empty (RFC 5280 section 5.1.2.6).
    if entries_length > 0 {
        push_header(&mut before, tag::SEQUENCE, entries_length);
    }
    let mut behind = extensions(issuer, head);
    let mut tbs = Vec::with_capacity(before.len() + 10);
    push_header(&mut tbs, tag::SEQUENCE, before.len() + entries_length + behind.len());
    tbs.extend_from_slice(&before);
    let mut signed: Vec<&[u8]> = vec![&tbs];
    signed.extend(entries.iter().map(|piece| &piece[..]));
    signed.push(&behind);
    let signature = issuer.signer.sign_pieces(&signed)?;
    behind.extend_from_slice(algorithm);
    push_bit_string(&mut behind, &signature);
    let mut first = Vec::with_capacity(tbs.len() + 10);
    push_header(&mut first, tag::SEQUENCE, tbs.len() + entries_length + behind.len());
    first.extend_from_slice(&tbs);
    let mut pieces = Vec::with_capacity(entries.len() + 2);
    pieces.push(first.into());
    pieces.extend(entries);
    pieces.push(behind.into());
    Ok(pieces.into())
}

/// Appends an entry. Its content is at most 19 + 17 + 2 + 12 + 28 octets, so its length always takes one octet.
pub(super) fn push_entry(out: &mut Vec<u8>, entry: &CrlEntry) -> Result<(), UnencodableTime> {
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

/// Appends an entry of a delta CRL that takes a certificate out of its base.
pub(super) fn push_removal(out: &mut Vec<u8>, serial: Serial, at: Timestamp) -> Result<(), UnencodableTime> {
    let start = out.len();
    out.extend_from_slice(&[tag::SEQUENCE, 0]);
    push_serial(out, serial);
    push_time(out, at)?;
    push_entry_extensions(out, Some(RevocationReason::RemoveFromCrl), None)?;
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

/// The CRL's extensions under their tag: authority key identifier, number and freshest CRL, not critical, and the critical
/// delta CRL indicator and issuing distribution point.
fn extensions(issuer: &CrlIssuer, head: &CrlHead) -> Vec<u8> {
    let key_identifier = element(tag::SEQUENCE, &element(tag::CONTEXT_0, &issuer.key_identifier));
    let number = element(tag::INTEGER, &unsigned(head.number));
    let point = distribution_point(&issuer.distribution_point_url);
    let mut all = [extension(35, false, &key_identifier), extension(20, false, &number)].concat();
    if let Some(base) = head.base {
        all.extend(extension(27, true, &element(tag::INTEGER, &unsigned(base))));
    }
    all.extend(extension(28, true, &point));
    if let Some(url) = &head.freshest {
        all.extend(extension(46, false, &element(tag::SEQUENCE, &distribution_point(url))));
    }
    element(tag::CONTEXT_0_CONSTRUCTED, &element(tag::SEQUENCE, &all))
}

/// A DistributionPoint or an IssuingDistributionPoint that has nothing but one address.
fn distribution_point(url: &str) -> Vec<u8> {
    let full_name = element(tag::CONTEXT_0_CONSTRUCTED, &element(tag::CONTEXT_6, url.as_bytes()));
    element(tag::SEQUENCE, &element(tag::CONTEXT_0_CONSTRUCTED, &full_name))
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
