//! Files that are there whole or not at all, and readable by their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Only the owner reads and writes.
const FILE_MODE: u32 = 0o600;
/// Only the owner enters.
const DIR_MODE: u32 = 0o700;
/// The largest file that is read back: ours are a few kilobytes.
pub(super) const FILE_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// Makes a folder and those above it, private, and durable in their parents.
pub(super) fn create_private_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(|e| Error::file("make the folder", path, e))?;
    sync_parent(path)
}

/// Opens a private file for locking, making it where it is missing.
pub(super) fn open_private(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|e| Error::file("open", path, e))
}

/// Writes a new file that nobody else can read, and waits until it is on the disk.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(FILE_MODE)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|e| Error::file("write", path, e))
}

/// Replaces a file in one step: readers see the old content or the new one.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path)?;
    let outcome = write_new(&temporary, content).and_then(|()| {
        fs::rename(&temporary, path).map_err(|e| Error::file("write", path, e))?;
        sync_parent(path)
    });
    if outcome.is_err() {
        // Best effort: a leftover is private and has a name that nothing reads.
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

/// Points a symbolic link at another target in one step.
pub(super) fn swap_link(link: &Path, target: &Path) -> Result<()> {
    let temporary = temporary_beside(link)?;
    std::os::unix::fs::symlink(target, &temporary).map_err(|e| Error::file("link", &temporary, e))?;
    if let Err(e) = fs::rename(&temporary, link) {
        let _ = fs::remove_file(&temporary);
        return Err(Error::file("link", link, e));
    }
    sync_parent(link)
}

/// Waits until a folder's entries are on the disk.
pub(super) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Error::file("sync", path, e))
}

/// Reads a file of ours; `None` when it is not there.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_OCTETS_MAX => Err(Error::file(
            "read",
            path,
            format!("it is larger than {FILE_OCTETS_MAX} octets"),
        )),
        Ok(_) => fs::read(path).map(Some).map_err(|e| Error::file("read", path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file("read", path, e)),
    }
}

/// Removes what an interrupted write has left in a folder.
pub(super) fn remove_leftovers(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What a file that is not finished is called.
const TEMPORARY_PREFIX: &str = ".tmp-";

fn temporary_beside(path: &Path) -> Result<PathBuf> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|e| Error::local("cannot get random numbers", e))?;
    let suffix = u64::from_be_bytes(random);
    Ok(path.with_file_name(format!("{TEMPORARY_PREFIX}{suffix:016x}")))
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_private_from_their_first_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "").unwrap();
        // A rename onto a folder fails: the temporary file must not stay behind.
        assert!(replace(&path, b"one").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
