//! Copies: a consistent one of a store that is in use, and a store made from one.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{OpenError, schema};

/// All pages in one step: the copy is of one moment, and writers go on meanwhile.
const ALL_PAGES: std::ffi::c_int = -1;

/// Writes a copy to a file that is not there yet; when this returns `Ok`, it survives power loss.
pub(super) fn write(from: &Connection, to: &Path) -> Result<(), OpenError> {
    reserve(to)?;
    let partial = with_suffix(to, ".partial");
    let result = copy(from, &partial).and_then(|()| {
        // The name is ours since it was reserved, so nothing is overwritten.
        fs::rename(&partial, to)?;
        sync_folder_of(to)?;
        Ok(())
    });
    if result.is_err() {
        // What is half written is of no use to anybody; failing to remove it changes nothing.
        let _ = fs::remove_file(&partial);
        let _ = fs::remove_file(to);
    }
    result
}

/// Makes a store from a copy, at a path where there is none yet.
///
/// The new store is whole, and has an identity of its own: what follows the status feed of the old one
/// begins anew, since positions may now mean something else.
///
/// # Errors
/// If the copy is damaged, from a later version, or no store, and if there is something at `to`.
pub fn restore(from: &Path, to: &Path) -> Result<(), OpenError> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    check(&source, from)?;
    write(&source, to)?;
    let renewed = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(OpenError::from);
    renewed.and_then(|mut connection| {
        connection.pragma_update(None, "synchronous", "FULL")?;
        schema::migrate(&mut connection)?;
        schema::renew_identity(&connection)
    })
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |what: String| OpenError::Damaged {
        path: path.to_owned(),
        what,
    };
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    let is_store = connection.query_row("SELECT count(*) FROM schema_version", [], |row| row.get::<_, i64>(0));
    match is_store {
        Ok(1) => Ok(()),
        _ => Err(damaged("it is no store of this program".into())),
    }
}

fn copy(from: &Connection, partial: &Path) -> Result<(), OpenError> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    reserve(partial)?;
    let mut target = Connection::open_with_flags(partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let backup = Backup::new(from, &mut target)?;
    if backup.step(ALL_PAGES)? != StepResult::Done {
        return Err(OpenError::Io(io::Error::other("the copy could not be finished")));
    }
    drop(backup);
    // One file and no log beside it: what an operator carries away is whole.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| error)?;
    File::open(partial)?.sync_all()?;
    Ok(())
}

/// Makes an empty file that only its owner can read, where there is none.
pub(super) fn reserve(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .sync_all()
}

/// Makes a folder's entries durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Returns the path with something added to its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
