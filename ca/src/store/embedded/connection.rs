//! How a connection to the file is set up.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{OpenError, rows::Sql};

/// How long a connection waits for another's lock. Only recovery and checkpoints ever hold one long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many prepared statements a connection keeps: more than the port has queries.
const STATEMENTS_MAX: usize = 96;

/// After how many pages of the write-ahead log they are carried over into the file. A page that many groups write
/// is carried over once for all of them, so the more the fewer; 32 MiB are read back at the start after a crash.
const CHECKPOINT_PAGES: i64 = 8192;

/// How much memory the writer keeps pages in, in KiB: the upper levels of every tree, and the ends that grow.
const WRITER_CACHE_KIB: i64 = 32 * 1024;

/// To what size the write-ahead log is cut back after it was checkpointed, in octets.
const LOG_SIZE_KEPT: u64 = 64 << 20;

/// Opens the connection that writes.
///
/// The write-ahead log lets readers read meanwhile; `synchronous=FULL` makes each COMMIT wait for the
/// fsync of that log, which is what "durable" means here.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NoLog(path.to_owned()));
    }
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_KEPT.cast_signed())?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    for_writing(&connection)?;
    Ok(connection)
}

/// Opens a store that is gone when it is closed.
pub(super) fn in_memory() -> Sql<Connection> {
    let connection = Connection::open_in_memory()?;
    for_writing(&connection)?;
    Ok(connection)
}

/// Keeps prepared statements prepared: without this the engine plans those with a bound LIMIT anew at each run, to make
/// use of its value.
fn keep_plans(connection: &Connection) -> Sql<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

fn for_writing(connection: &Connection) -> Sql<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    keep_plans(connection)
}

/// Opens a connection that reads.
pub(super) fn reader(path: &Path) -> Sql<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Not opened read-only: a reader of a write-ahead log takes part in its shared memory.
    connection.pragma_update(None, "query_only", true)?;
    keep_plans(&connection)?;
    Ok(connection)
}
