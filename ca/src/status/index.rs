//! The local status index: the latest part of the status feed in sled, that may be lost at any time.
//!
//! It has a fixed number of slots, and each certificate has its slot, where the last that was issued or revoked
//! stays: so it is bounded without sweeps, and the store is asked for what is not in it. It never holds an older
//! state of a certificate than the feed has at its position.
//!
//! sled survives a kill but not every power cut: it may panic at opening, come up empty, or lose some of what
//! it had. So the index keeps a tally of all its records in the same atomic batch as the records, and adds
//! them up again at opening. What does not add up is thrown away and built anew from the store, which holds the truth.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sigillo_protocol::x509::reason::RevocationReason;

use crate::{
    digest::sha256,
    model::{IssuerId, Revocation, Serial, StatusRecord},
};

/// How much memory sled may use for pages. It takes several times as much besides.
const PAGE_CACHE_OCTETS: u64 = 16 * 1024 * 1024;

/// How many certificates the index holds unless told otherwise: sled then takes about 70 MB of memory.
pub const INDEX_CERTIFICATES_DEFAULT: u32 = 1 << 18;

/// How many records go into one atomic batch. sled keeps what a batch replaced until the whole batch is done, some
/// kilobytes for each record: a million records in batches of ten thousand took more than three gigabytes.
const BATCH_RECORDS_MAX: usize = 128;

/// How often sled writes out what it has, in milliseconds. What is lost is read again from the feed.
const FLUSH_MILLISECONDS: u64 = 1_000;

/// How long to wait for an engine that is still being closed; it lets go of its files a little late.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The key of the tally. Record keys have 4 octets, so it cannot be taken for one.
const TALLY_KEY: &[u8] = b"tally";

/// The form of what is stored. Another form than this is rebuilt.
const FORMAT: u8 = 2;

/// An index that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// sled reports an error.
    #[error("the index engine failed: {0}")]
    Engine(#[from] sled::Error),
    /// Somebody else has it open.
    #[error("the index is in use elsewhere")]
    InUse,
    /// sled panicked.
    #[error("the index engine broke down")]
    Panic,
    /// A record cannot be read.
    #[error("a record of the index cannot be read")]
    Record,
    /// The old files cannot be removed.
    #[error("the index's folder cannot be cleared: {0}")]
    Clear(std::io::Error),
}

/// The sum over all records, kept beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tally {
    identity: [u8; 16],
    slots: u32,
    position: u64,
    count: u64,
    /// All records' hashes, combined by exclusive or: independent of order, and a record can be taken out again.
    sum: [u8; 16],
}

/// The index in use.
#[derive(Debug)]
pub struct StatusIndex {
    db: sled::Db,
    slots: NonZeroU32,
    tally: Mutex<Tally>,
    position: AtomicU64,
}

impl StatusIndex {
    /// Opens the index of a store, for so many certificates, or makes it anew if it is missing, unreadable, of
    /// another store or size, ahead of that store (`store_position`), too far behind it, or does not add up.
    ///
    /// A new one begins that many places before the store's: what came before would only be written over.
    ///
    /// # Errors
    /// When even a new one cannot be made.
    pub fn open(dir: &Path, identity: [u8; 16], store_position: u64, slots: NonZeroU32) -> Result<Self, IndexError> {
        let first = store_position.saturating_sub(slots.get().into());
        match Self::open_existing(dir, identity, slots) {
            Ok(Some(index)) if (first..=store_position).contains(&index.position()) => return Ok(index),
            Ok(Some(_)) => {
                tracing::warn!("the status index is ahead of the store, or too far behind it, and is rebuilt")
            }
            Ok(None) => tracing::info!("the status index is built"),
            // Whoever has it open must not lose it under his hands.
            Err(IndexError::InUse) => return Err(IndexError::InUse),
            Err(error) => tracing::warn!(%error, "the status index cannot be read and is rebuilt"),
        }
        Self::create(dir, identity, slots, first)
    }

    fn open_existing(dir: &Path, identity: [u8; 16], slots: NonZeroU32) -> Result<Option<Self>, IndexError> {
        if !dir.exists() {
            return Ok(None);
        }
        guarded(|| {
            let db = engine(dir)?;
            let Some(stored) = db.get(TALLY_KEY)? else {
                return Ok(None);
            };
            let tally = Tally::decode(&stored).ok_or(IndexError::Record)?;
            if tally.identity != identity || tally.slots != slots.get() || !adds_up(&db, tally)? {
                return Ok(None);
            }
            Ok(Some(Self {
                db,
                slots,
                tally: Mutex::new(tally),
                position: AtomicU64::new(tally.position),
            }))
        })
    }

    fn create(dir: &Path, identity: [u8; 16], slots: NonZeroU32, position: u64) -> Result<Self, IndexError> {
        match std::fs::remove_dir_all(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(IndexError::Clear(error)),
        }
        guarded(|| {
            let db = engine(dir)?;
            let tally = Tally {
                identity,
                slots: slots.get(),
                position,
                count: 0,
                sum: [0; 16],
            };
            db.insert(TALLY_KEY, tally.encode())?;
            Ok(Self {
                db,
                slots,
                tally: Mutex::new(tally),
                position: AtomicU64::new(position),
            })
        })
    }

    /// Returns the place in the feed that it has reached.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// Finds a certificate's record; `None` if another certificate has its slot, or it is not known here.
    ///
    /// # Errors
    /// When the index failed; it must not be used any more then.
    pub fn get(&self, serial: Serial) -> Result<Option<StatusRecord>, IndexError> {
        guarded(|| {
            let Some(value) = self.db.get(self.slot_of(serial))? else {
                return Ok(None);
            };
            let record = decode_record(&value).ok_or(IndexError::Record)?;
            Ok(Some(record).filter(|record| record.serial == serial))
        })
    }

    /// Takes in the next records of the feed. What does not fit into one batch comes after it: the position tells how
    /// far it has come, also when it breaks off.
    ///
    /// # Errors
    /// When the index failed; it must not be used any more then.
    pub fn apply(&self, records: &[StatusRecord]) -> Result<(), IndexError> {
        records
            .chunks(BATCH_RECORDS_MAX)
            .try_for_each(|batch| self.write(batch))
    }

    /// The place of a certificate's record. Serials are random, so their last octets spread them evenly.
    fn slot_of(&self, serial: Serial) -> [u8; 4] {
        let [.., a, b, c, d, e, f, g, h] = *serial.as_bytes();
        let slot = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(self.slots.get());
        // Less than the number of slots, which has 32 bits.
        (slot as u32).to_be_bytes()
    }

    /// Writes out what is in memory.
    ///
    /// # Errors
    /// When the index failed.
    pub fn flush(&self) -> Result<(), IndexError> {
        guarded(|| Ok(self.db.flush().map(|_| ())?))
    }

    /// Writes records together with the tally, in one atomic batch.
    fn write(&self, records: &[StatusRecord]) -> Result<(), IndexError> {
        let Some(last) = records.last() else {
            return Ok(());
        };
        // Of several records with one slot, the latest counts.
        let latest: BTreeMap<[u8; 4], &StatusRecord> = records
            .iter()
            .map(|record| (self.slot_of(record.serial), record))
            .collect();
        let mut current = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = guarded(|| {
            let mut tally = *current;
            let mut batch = sled::Batch::default();
            for (slot, record) in latest {
                if let Some(old) = self.db.get(slot)? {
                    tally.remove(&slot, &old);
                }
                let value = encode_record(record);
                tally.add(&slot, &value);
                batch.insert(slot.as_slice(), value);
            }
            tally.position = last.position;
            batch.insert(TALLY_KEY, tally.encode());
            self.db.apply_batch(batch)?;
            Ok(tally)
        })?;
        *current = tally;
        self.position.store(tally.position, Ordering::SeqCst);
        Ok(())
    }
}

fn engine(dir: &Path) -> Result<sled::Db, IndexError> {
    let config = sled::Config::new()
        .path(dir)
        .mode(sled::Mode::HighThroughput)
        .cache_capacity(PAGE_CACHE_OCTETS)
        .flush_every_ms(Some(FLUSH_MILLISECONDS));
    let began = Instant::now();
    loop {
        match config.open() {
            Err(error) if is_locked(&error) && began.elapsed() < LOCK_WAIT => sleep(Duration::from_millis(20)),
            Err(error) if is_locked(&error) => return Err(IndexError::InUse),
            opened => return Ok(opened?),
        }
    }
}

/// sled tells a held lock from other trouble by its words alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

/// Runs what calls sled; a panic in there becomes an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(IndexError::Panic))
}

fn adds_up(db: &sled::Db, stored: Tally) -> Result<bool, IndexError> {
    let mut found = Tally {
        count: 0,
        sum: [0; 16],
        ..stored
    };
    for entry in db.iter() {
        let (key, value) = entry?;
        if key.as_ref() != TALLY_KEY {
            found.add(&key, &value);
        }
    }
    Ok(found == stored)
}

impl Tally {
    const LENGTH: usize = 1 + 16 + 4 + 8 + 8 + 16;

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.mix(key, value);
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.mix(key, value);
    }

    fn mix(&mut self, key: &[u8], value: &[u8]) {
        let hash = sha256(&[key, value].concat());
        self.sum.iter_mut().zip(hash).for_each(|(sum, octet)| *sum ^= octet);
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LENGTH);
        out.push(FORMAT);
        out.extend_from_slice(&self.identity);
        out.extend_from_slice(&self.slots.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.sum);
        out
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader(octets);
        let [format] = reader.take()?;
        let tally = Self {
            identity: reader.take()?,
            slots: u32::from_be_bytes(reader.take()?),
            position: u64::from_be_bytes(reader.take()?),
            count: u64::from_be_bytes(reader.take()?),
            sum: reader.take()?,
        };
        (format == FORMAT && reader.0.is_empty()).then_some(tally)
    }
}

/// What stands for "none" where a reason code would stand; 7 was never assigned, and neither was this.
const NO_REASON: u8 = 0xff;

/// A record's value: serial, position, end, issuer, and for a revoked one when, why and since when.
fn encode_record(record: &StatusRecord) -> Vec<u8> {
    let issuer = record.issuer.as_str().as_bytes();
    let mut out = Vec::with_capacity(64 + issuer.len());
    out.extend_from_slice(record.serial.as_bytes());
    out.extend_from_slice(&record.position.to_be_bytes());
    out.extend_from_slice(&record.not_after.as_microsecond().to_be_bytes());
    // An issuer's name has at most 64 octets.
    out.push(issuer.len() as u8);
    out.extend_from_slice(issuer);
    if let Some(revocation) = &record.revocation {
        out.extend_from_slice(&revocation.at.as_microsecond().to_be_bytes());
        out.push(revocation.reason.map_or(NO_REASON, RevocationReason::code));
        if let Some(since) = revocation.invalid_since {
            out.extend_from_slice(&since.as_microsecond().to_be_bytes());
        }
    }
    out
}

fn decode_record(value: &[u8]) -> Option<StatusRecord> {
    let mut reader = Reader(value);
    let serial = Serial::from_bytes(reader.take()?);
    let position = u64::from_be_bytes(reader.take()?);
    let not_after = reader.time()?;
    let [issuer_length] = reader.take()?;
    let issuer: IssuerId = std::str::from_utf8(reader.slice(issuer_length.into())?)
        .ok()?
        .parse()
        .ok()?;
    let revocation = if reader.0.is_empty() {
        None
    } else {
        Some(decode_revocation(&mut reader)?)
    };
    reader.0.is_empty().then_some(StatusRecord {
        position,
        issuer,
        serial,
        not_after,
        revocation,
    })
}

fn decode_revocation(reader: &mut Reader<'_>) -> Option<Revocation> {
    let at = reader.time()?;
    let reason = match reader.take()? {
        [NO_REASON] => None,
        [code] => Some(RevocationReason::from_code(code.into())?),
    };
    let invalid_since = if reader.0.is_empty() {
        None
    } else {
        Some(reader.time()?)
    };
    Some(Revocation {
        at,
        reason,
        invalid_since,
    })
}

/// Takes fixed pieces off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(piece)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        Timestamp::from_microsecond(i64::from_be_bytes(self.take()?)).ok()
    }
}
