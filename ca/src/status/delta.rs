//! What has changed since the complete CRLs that a delta builds on.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use sigillo_protocol::x509::reason::RevocationReason;
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{
    crl::{CrlEntry, CrlError, push_entry, push_removal},
    encode::unsigned,
};
use crate::model::{Pieces, Serial};

/// How many changes are kept; when there are more, a complete CRL is made instead.
pub(super) const CHANGES_MAX: usize = 10_000;

/// What became of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is revoked, or revoked otherwise than before.
    Revoked(CrlEntry),
    /// It expired, was on one more complete CRL, and is on the next no more.
    Left(Timestamp),
}

/// The changes since the complete CRL before the current one.
///
/// Deltas build on that one and not on the current one, so that they also serve whoever fetched a complete CRL a moment
/// before the last was made, and so that what first stood on a delta is on the deltas until a complete CRL has shown it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The number of the complete CRL before the current one; `None` where deltas build on the current one.
    before: Option<u64>,
    since_before: BTreeMap<Serial, Change>,
    since_current: BTreeMap<Serial, Change>,
    /// There were too many.
    too_many: bool,
}

impl Changes {
    /// Notes a revocation after the current complete CRL.
    pub fn revoked(&mut self, entry: CrlEntry) {
        self.note(entry.serial, Change::Revoked(entry));
    }

    /// Notes that an entry leaves.
    pub fn left(&mut self, serial: Serial, at: Timestamp) {
        self.note(serial, Change::Left(at));
    }

    fn note(&mut self, serial: Serial, change: Change) {
        if !self.too_many {
            self.since_current.insert(serial, change);
        }
        if self.since_current.len() > CHANGES_MAX {
            self.give_up();
        }
    }

    /// Has a complete CRL made next, on which deltas then build.
    pub fn give_up(&mut self) {
        self.too_many = true;
        self.since_current.clear();
    }

    /// Tells whether only a complete CRL can show what has changed.
    pub fn are_too_many(&self) -> bool {
        self.too_many
    }

    /// Notes that a complete CRL is made which follows the one of a number.
    pub fn advance(&mut self, current: Option<u64>) {
        let changes = std::mem::take(self);
        if current.is_some() && !changes.too_many {
            self.since_before = changes.since_current;
            self.before = current;
        }
    }

    /// Returns the number of the CRL to build on.
    pub fn base(&self, current: u64) -> u64 {
        self.before.unwrap_or(current)
    }

    /// Encodes all changes since the base; returns how many those are.
    ///
    /// # Errors
    /// When a time cannot be written.
    pub fn encode(&self) -> Result<(Bytes, u64), CrlError> {
        let mut all = self.since_before.clone();
        all.extend(&self.since_current);
        let mut octets = Vec::new();
        for (serial, change) in &all {
            match change {
                Change::Revoked(entry) => push_entry(&mut octets, entry)?,
                Change::Left(at) => push_removal(&mut octets, *serial, *at)?,
            }
        }
        Ok((octets.into(), all.len() as u64))
    }
}

/// What the last delta before a restart told.
pub(super) struct Told {
    base: u64,
    /// The serials in it; those that it took out with when.
    serials: BTreeMap<Serial, Option<Timestamp>>,
}

impl Told {
    /// Reads a delta of ours; `None` if it is none.
    pub fn read(der: &Pieces) -> Option<Self> {
        let der = der.to_vec();
        let (_, crl) = CertificateRevocationList::from_der(&der).ok()?;
        let indicator = crl
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "2.5.29.27")?;
        let [0x02, length, number @ ..] = indicator.value else {
            return None;
        };
        let base = number.iter().try_fold(0u64, |base, octet| {
            base.checked_mul(256)?.checked_add(u64::from(*octet))
        })?;
        if usize::from(*length) != number.len() || unsigned(base) != number {
            return None;
        }
        let serials = crl.iter_revoked_certificates().map(|entry| {
            let removal = RevocationReason::RemoveFromCrl.code();
            let removed = entry.reason_code().is_some_and(|(_, code)| code.0 == removal);
            let at = Timestamp::from_second(entry.revocation_date.timestamp()).ok()?;
            Some((Serial::from_der_content(entry.raw_serial())?, removed.then_some(at)))
        });
        Some(Self {
            base,
            serials: serials.collect::<Option<_>>()?,
        })
    }

    /// Goes on from it: the changes between the base and the current complete CRL, which `revoked_before` finds the
    /// revocations of.
    pub fn resume(self, current: u64, revoked_before: &BTreeMap<Serial, CrlEntry>, changes: &mut Changes) {
        if self.base == current {
            return;
        }
        changes.before = Some(self.base);
        for (serial, removed) in self.serials {
            let change = match (removed, revoked_before.get(&serial)) {
                (Some(at), _) => Change::Left(at),
                (None, Some(entry)) => Change::Revoked(*entry),
                // Revoked after the current one, and noted as that.
                (None, None) => continue,
            };
            changes.since_before.insert(serial, change);
        }
    }

    /// Tells whether it shows a certificate as revoked.
    pub fn shows(&self, serial: &Serial) -> bool {
        self.serials.get(serial).is_some_and(Option::is_none)
    }
}
