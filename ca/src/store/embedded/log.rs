//! The tree over the audit log: tiles that are full are kept, the rest is worked out from the last events.
//!
//! A tile is written in the transaction of the event that fills it. So an event costs nothing more until the
//! 256th, whose transaction has one tile more, of 8 KiB; and what is durable is always a whole tree.

use rusqlite::{Connection, OptionalExtension, params};
use sigillo_protocol::transparency::{
    merkle::{Frontier, Hash, leaf_hash},
    tile::{self, WIDTH},
};

use super::{
    OpenError,
    apply::{Ledger, Refusal},
    rows::{self, Sql},
};
use crate::{
    audit,
    model::{Action, AuditEvent, LogHead, LogState, Serial},
};

/// The name of the secret from which salts are made, in `meta`.
const SECRET: &str = "log_secret";

/// The name of the log's epoch, in `meta`.
const EPOCH: &str = "log_epoch";

/// How many octets a hash has.
const HASH_OCTETS: usize = 32;

/// Begins the tree of a new store, or that of an older store with the events that it has.
pub(super) fn begin(c: &Connection) -> Result<(), OpenError> {
    let begun: bool = c.query_row("SELECT count(*) FROM meta WHERE name = ?1", [SECRET], |row| row.get(0))?;
    if begun {
        return Ok(());
    }
    let put = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
    c.execute(put, params![SECRET, random::<32>()?])?;
    c.execute(put, params![EPOCH, new_epoch()?])?;
    let size: i64 = c.query_row("SELECT coalesce(max(sequence), 0) FROM audit", [], |row| row.get(0))?;
    for index in 0..size.unsigned_abs() / WIDTH {
        fill(c, index)?;
    }
    let mut issued =
        c.prepare("SELECT sequence, event FROM audit WHERE event LIKE '{\"action\":\"certificate-issued\",%'")?;
    let mut found = issued.query([])?;
    while let Some(row) = found.next()? {
        let event = serde_json::from_str::<AuditEvent>(row.get_ref(1)?.as_str().unwrap_or_default());
        if let Ok(event) = event {
            recorded_certificate(c, rows::number(row, 0)?, &event)?;
        }
    }
    Ok(())
}

/// Returns a name for a history that nobody has seen yet.
pub(super) fn new_epoch() -> Result<[u8; 8], OpenError> {
    random()
}

fn random<const N: usize>() -> Result<[u8; N], OpenError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| OpenError::Io(std::io::Error::other(error.to_string())))?;
    Ok(octets)
}

/// Gives the log's history another name.
pub(super) fn set_epoch(c: &Connection, epoch: &[u8; 8]) -> Sql<()> {
    c.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![EPOCH, epoch])?;
    Ok(())
}

/// Does what an event's place in the tree asks for, in the event's own transaction.
pub(super) fn recorded(c: &Connection, sequence: u64, event: &AuditEvent) -> Sql<()> {
    recorded_certificate(c, sequence, event)?;
    if sequence.is_multiple_of(WIDTH) {
        fill(c, sequence / WIDTH - 1)?;
    }
    Ok(())
}

fn recorded_certificate(c: &Connection, sequence: u64, event: &AuditEvent) -> Sql<()> {
    if event.action == Action::CertificateIssued
        && let Ok(serial) = event.subject.parse::<Serial>()
    {
        c.prepare_cached("UPDATE certificate SET logged = ?2 WHERE serial = ?1")?
            .execute(params![serial.as_bytes(), rows::count(sequence)])?;
    }
    Ok(())
}

/// Writes a full tile of leaves, and its root into the tile above.
fn fill(c: &Connection, index: u64) -> Sql<()> {
    let mut hashes = leaves(c, index * WIDTH, WIDTH)?;
    put(c, 0, index, &hashes)?;
    let (mut level, mut index) = (1, index);
    loop {
        let mut tree = Frontier::default();
        hashes.iter().for_each(|hash| tree.push(*hash));
        let above = index / WIDTH;
        hashes = tile(c, level, above)?.map(|octets| split(&octets)).unwrap_or_default();
        // What a tile holds already stays: only its end is added to.
        hashes.truncate((index % WIDTH) as usize);
        hashes.push(tree.root());
        put(c, level, above, &hashes)?;
        if !(index + 1).is_multiple_of(WIDTH) {
            return Ok(());
        }
        (level, index) = (level + 1, above);
    }
}

fn put(c: &Connection, level: u8, index: u64, hashes: &[Hash]) -> Sql<()> {
    c.prepare_cached(
        "INSERT INTO log_tile (level, place, hashes) VALUES (?1, ?2, ?3)
         ON CONFLICT (level, place) DO UPDATE SET hashes = excluded.hashes",
    )?
    .execute(params![i64::from(level), rows::count(index), hashes.concat()])?;
    Ok(())
}

/// Takes a tile's octets apart.
fn split(octets: &[u8]) -> Vec<Hash> {
    let (hashes, _) = octets.as_chunks::<HASH_OCTETS>();
    hashes.to_vec()
}

pub(super) fn secret(c: &Connection) -> Sql<[u8; 32]> {
    c.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([SECRET], |row| row.get(0))
}

/// Returns the entries from a place on.
pub(super) fn entries(c: &Connection, from: u64, limit: usize) -> Sql<Vec<Hash>> {
    let secret = secret(c)?;
    c.prepare_cached("SELECT sequence, event FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?
        .query_map(params![rows::count(from), rows::count(limit as u64)], |row| {
            let salt = audit::salt(&secret, rows::number(row, 0)?);
            Ok(audit::entry_of(&salt, row.get_ref(1)?.as_bytes()?))
        })?
        .collect()
}

fn leaves(c: &Connection, from: u64, count: u64) -> Sql<Vec<Hash>> {
    let entries = entries(c, from, count as usize)?;
    Ok(entries.iter().map(|entry| leaf_hash(entry)).collect())
}

pub(super) fn tile(c: &Connection, level: u8, index: u64) -> Sql<Option<Vec<u8>>> {
    c.prepare_cached("SELECT hashes FROM log_tile WHERE level = ?1 AND place = ?2")?
        .query_row(params![i64::from(level), rows::count(index)], |row| row.get(0))
        .optional()
}

pub(super) fn state(c: &Connection) -> Sql<LogState> {
    let size = c.query_row("SELECT coalesce(max(sequence), 0) FROM audit", [], |row| {
        rows::number(row, 0)
    })?;
    let epoch = c.query_row("SELECT value FROM meta WHERE name = ?1", [EPOCH], |row| row.get(0))?;
    let partial = size % WIDTH;
    let mut edges = vec![leaves(c, size - partial, partial)?];
    for level in 1_u8.. {
        let hashes = tile::hashes_at(level, size);
        if hashes == 0 {
            break;
        }
        let mut edge = tile(c, level, hashes / WIDTH)?
            .map(|octets| split(&octets))
            .unwrap_or_default();
        edge.truncate((hashes % WIDTH) as usize);
        edges.push(edge);
    }
    Ok(LogState { epoch, size, edges })
}

pub(super) fn certificate(c: &Connection, serial: Serial) -> Sql<Option<(u64, Hash)>> {
    let sql = "SELECT audit.sequence, audit.event FROM certificate JOIN audit ON audit.sequence = certificate.logged
         WHERE certificate.serial = ?1";
    let secret = secret(c)?;
    c.prepare_cached(sql)?
        .query_row([serial.as_bytes()], |row| {
            let sequence = rows::number(row, 0)?;
            let salt = audit::salt(&secret, sequence);
            let event = row.get_ref(1)?.as_bytes()?;
            let blinded = sigillo_protocol::transparency::entry::blinded(&salt, event);
            Ok((sequence.saturating_sub(1), blinded))
        })
        .optional()
}

fn head(row: &rusqlite::Row<'_>) -> Sql<LogHead> {
    Ok(LogHead {
        day: row.get(0)?,
        size: rows::number(row, 1)?,
        note: row.get(2)?,
    })
}

pub(super) fn last_head(c: &Connection) -> Sql<Option<LogHead>> {
    c.prepare_cached("SELECT day, size, note FROM log_head ORDER BY size DESC, day DESC LIMIT 1")?
        .query_row([], head)
        .optional()
}

pub(super) fn heads(c: &Connection, after: u64, limit: usize) -> Sql<Vec<LogHead>> {
    c.prepare_cached("SELECT day, size, note FROM log_head WHERE size > ?1 ORDER BY size, day LIMIT ?2")?
        .query_map(params![rows::count(after), rows::count(limit as u64)], head)?
        .collect()
}

/// Keeps a head: the last one of each day, and never one that covers less than another.
pub(super) fn keep_head(c: &Connection, ledger: &Ledger, head: &LogHead) -> Result<(), Refusal> {
    let last = last_head(c)?.map_or(0, |last| last.size);
    if head.size < last || head.size > ledger.chain.sequence {
        return Err(Refusal::Forbidden(
            "a head that steps back, or that covers what is not there",
        ));
    }
    c.prepare_cached(
        "INSERT INTO log_head (day, size, note) VALUES (?1, ?2, ?3)
         ON CONFLICT (day) DO UPDATE SET size = excluded.size, note = excluded.note",
    )?
    .execute(params![head.day, rows::count(head.size), head.note])?;
    Ok(())
}
