//! The entries of a long list, kept encoded and in order, in pieces of which a change touches one.

use bytes::Bytes;
use jiff::Timestamp;

use super::crl::{CrlEntry, CrlError, push_entry};
use crate::model::Serial;

/// How long a piece is before the next one begins: a change copies one or two of these, and a list of a million entries has
/// about a thousand.
const PIECE_OCTETS: usize = 32 * 1024;

/// How long a piece may grow by changes before it is divided. Far above the length at which it was begun, or each change of
/// a full piece would split a little one off.
const PIECE_OCTETS_MAX: usize = 2 * PIECE_OCTETS;

/// How much an encoded entry takes at most; its length is always one octet.
const ENTRY_OCTETS_MAX: usize = 80;

/// An entry, and until when it matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub entry: CrlEntry,
    pub not_after: Timestamp,
}

/// Some entries that stand next to each other.
#[derive(Debug)]
struct Piece {
    first: Serial,
    octets: Bytes,
    /// Until when each entry matters, in microseconds.
    ends: Vec<i64>,
    earliest: i64,
}

/// All entries of a list.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pieces: Vec<Piece>,
}

/// Entries while they are written in order.
#[derive(Debug)]
pub(super) struct EntryWriter {
    pieces: Vec<Piece>,
    octets: Vec<u8>,
    ends: Vec<i64>,
    first: Option<Serial>,
    last: Option<Serial>,
    piece_octets: usize,
}

impl Default for EntryWriter {
    fn default() -> Self {
        Self::with_pieces_of(PIECE_OCTETS)
    }
}

impl EntryWriter {
    fn with_pieces_of(piece_octets: usize) -> Self {
        Self {
            pieces: Vec::new(),
            octets: Vec::new(),
            ends: Vec::new(),
            first: None,
            last: None,
            piece_octets,
        }
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the serial does not follow the one before, or a time cannot be written.
    pub fn push(&mut self, kept: &Kept) -> Result<(), CrlError> {
        if self.last.is_some_and(|last| last >= kept.entry.serial) {
            return Err(CrlError::Unordered(kept.entry.serial));
        }
        self.begin(kept.entry.serial, kept.not_after.as_microsecond())?;
        push_entry(&mut self.octets, &kept.entry)?;
        Ok(())
    }

    fn push_encoded(&mut self, serial: Serial, encoded: &[u8], end: i64) -> Result<(), CrlError> {
        self.begin(serial, end)?;
        self.octets.extend_from_slice(encoded);
        Ok(())
    }

    /// Makes room for an entry.
    fn begin(&mut self, serial: Serial, end: i64) -> Result<(), CrlError> {
        if self.octets.len() >= self.piece_octets {
            self.end_piece();
        }
        if self.octets.capacity() == 0 {
            self.octets
                .try_reserve_exact(self.piece_octets.min(PIECE_OCTETS_MAX) + ENTRY_OCTETS_MAX)?;
        }
        self.first.get_or_insert(serial);
        self.last = Some(serial);
        self.ends.push(end);
        Ok(())
    }

    fn end_piece(&mut self) {
        let Some(first) = self.first.take() else { return };
        let mut octets = std::mem::take(&mut self.octets);
        octets.shrink_to_fit();
        let mut ends = std::mem::take(&mut self.ends);
        ends.shrink_to_fit();
        self.pieces.push(Piece {
            first,
            octets: octets.into(),
            earliest: ends.iter().copied().min().unwrap_or(i64::MAX),
            ends,
        });
    }

    /// Returns the list.
    pub fn finish(mut self) -> Entries {
        self.end_piece();
        Entries { pieces: self.pieces }
    }
}

impl Entries {
    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.ends.len() as u64).sum()
    }

    /// Returns the encoded entries, sharing them.
    pub fn octets(&self) -> Vec<Bytes> {
        self.pieces.iter().map(|piece| piece.octets.clone()).collect()
    }

    /// Puts entries in, each in the place of one with the same serial if there is one; of two with one serial the later
    /// counts. Costs as much as the pieces that they fall into.
    ///
    /// # Errors
    /// When a time cannot be written; the list is as before then, as far as the entries of later serials go.
    pub fn merge(&mut self, mut changes: Vec<Kept>) -> Result<(), CrlError> {
        changes.reverse();
        changes.sort_by_key(|kept| kept.entry.serial);
        changes.dedup_by_key(|kept| kept.entry.serial);
        // From the last, so that the places before stay as they are.
        let mut end = changes.len();
        while end > 0 {
            let serial = changes[end - 1].entry.serial;
            let place = self
                .pieces
                .partition_point(|piece| piece.first <= serial)
                .saturating_sub(1);
            let start = match self.pieces.get(place) {
                Some(piece) if place > 0 => changes[..end].partition_point(|kept| kept.entry.serial < piece.first),
                _ => 0,
            };
            let rewritten = rewritten(self.pieces.get(place), &changes[start..end])?;
            let replaced = place..self.pieces.len().min(place + 1);
            self.pieces.splice(replaced, rewritten);
            end = start;
        }
        Ok(())
    }

    /// Takes out what ended at a moment or before; returns which those were.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn take_ended(&mut self, by: Timestamp) -> Result<Vec<Serial>, CrlError> {
        let by = by.as_microsecond();
        let mut ended = Vec::new();
        if self.pieces.iter().all(|piece| piece.earliest > by) {
            return Ok(ended);
        }
        let mut left = Vec::with_capacity(self.pieces.len());
        for piece in std::mem::take(&mut self.pieces) {
            if piece.earliest > by {
                left.push(piece);
                continue;
            }
            let mut writer = EntryWriter::with_pieces_of(usize::MAX);
            for ((serial, encoded), end) in walk(&piece.octets).zip(&piece.ends) {
                if *end > by {
                    writer.push_encoded(serial, encoded, *end)?;
                } else {
                    ended.push(serial);
                }
            }
            left.append(&mut writer.finish().pieces);
        }
        self.pieces = left;
        Ok(ended)
    }

    /// Returns all serials, in order.
    pub fn serials(&self) -> impl Iterator<Item = Serial> + '_ {
        self.pieces
            .iter()
            .flat_map(|piece| walk(&piece.octets).map(|(serial, _)| serial))
    }
}

/// Writes a piece anew with changes in it.
fn rewritten(piece: Option<&Piece>, changes: &[Kept]) -> Result<Vec<Piece>, CrlError> {
    let octets = piece.map_or(0, |piece| piece.octets.len()) + changes.len() * ENTRY_OCTETS_MAX;
    let limit = if octets <= PIECE_OCTETS_MAX {
        PIECE_OCTETS_MAX
    } else {
        PIECE_OCTETS
    };
    let mut writer = EntryWriter::with_pieces_of(limit);
    let mut changes = changes.iter().peekable();
    if let Some(piece) = piece {
        for ((serial, encoded), end) in walk(&piece.octets).zip(&piece.ends) {
            while let Some(kept) = changes.next_if(|kept| kept.entry.serial < serial) {
                writer.push(kept)?;
            }
            match changes.next_if(|kept| kept.entry.serial == serial) {
                Some(kept) => writer.push(kept)?,
                None => writer.push_encoded(serial, encoded, *end)?,
            }
        }
    }
    for kept in changes {
        writer.push(kept)?;
    }
    Ok(writer.finish().pieces)
}

/// Goes through encoded entries: the serial and the whole of each. Ends at what is none.
pub(super) fn walk(octets: &[u8]) -> impl Iterator<Item = (Serial, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.get(1)?);
        let (encoded, after) = rest.split_at_checked(length + 2)?;
        let serial = encoded.get(4..4 + usize::from(*encoded.get(3)?))?;
        rest = after;
        Some((Serial::from_der_content(serial)?, encoded))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::status::testing::{now, revocation, serial};

    fn kept(number: u128, end: Timestamp) -> Kept {
        Kept {
            entry: CrlEntry {
                serial: serial(number),
                revocation: revocation(now(), None),
            },
            not_after: end,
        }
    }

    /// Numbers without order that are the same in every run.
    fn scattered(place: u128) -> u128 {
        (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn is_the_same_list_however_the_entries_came() {
        let end = now();
        let mut merged = Entries::default();
        let mut expected = BTreeMap::new();
        for turn in 0..60u128 {
            let size = if turn % 7 == 0 { 900 } else { 1 };
            let some: Vec<_> = (0..size)
                .map(|place| kept(scattered(turn * 1000 + place), end))
                .collect();
            expected.extend(some.iter().map(|kept| (kept.entry.serial, *kept)));
            merged.merge(some).unwrap();
        }
        let mut writer = EntryWriter::default();
        expected.values().for_each(|kept| writer.push(kept).unwrap());
        let written = writer.finish();
        assert_eq!(merged.octets().concat(), written.octets().concat());
        assert_eq!(merged.count(), expected.len() as u64);
        assert!(merged.serials().eq(expected.keys().copied()));
        let longest = merged.pieces.iter().map(|piece| piece.octets.len()).max();
        assert!(longest.is_some_and(|longest| longest <= PIECE_OCTETS_MAX + ENTRY_OCTETS_MAX));
        let octets: usize = merged.pieces.iter().map(|piece| piece.octets.len()).sum();
        assert!(
            merged.pieces.len() <= octets / PIECE_OCTETS * 3 + 2,
            "{} pieces for {octets} octets",
            merged.pieces.len()
        );
    }

    #[test]
    fn a_later_entry_takes_the_place_of_an_earlier_one() {
        let mut entries = Entries::default();
        let first = kept(5, now());
        let mut second = first;
        second.entry.revocation.reason = Some(sigillo_protocol::x509::reason::RevocationReason::KeyCompromise);
        entries.merge(vec![first, second]).unwrap();
        let mut alone = EntryWriter::default();
        alone.push(&second).unwrap();
        let alone = alone.finish();
        assert_eq!(entries.octets(), alone.octets());
        entries.merge(vec![first]).unwrap();
        entries.merge(vec![second]).unwrap();
        assert_eq!((entries.octets(), entries.count()), (alone.octets(), 1));
    }

    #[test]
    fn what_has_ended_leaves_and_is_told() {
        let at = now();
        let later = at + jiff::SignedDuration::from_secs(1);
        let mut entries = Entries::default();
        let some = (1..3000).map(|number| kept(number, if number % 3 == 0 { at } else { later }));
        entries.merge(some.collect()).unwrap();
        let ended = entries.take_ended(at).unwrap();
        assert_eq!(ended, (1..1000).map(|third| serial(third * 3)).collect::<Vec<_>>());
        assert_eq!(entries.count(), 2000);
        assert_eq!(entries.take_ended(at).unwrap(), []);
        assert_eq!(entries.take_ended(later).unwrap().len(), 2000);
        assert_eq!(entries.count(), 0);
    }
}
