//! What the client keeps on disk: account keys, and certificates by name.
//!
//! ```text
//! HOME/accounts/DIRECTORY-HASH/{key.pem,account.json}
//! HOME/logs/SOURCE-HASH.json
//! HOME/certs/NAME -> ../versions/NAME/N
//! HOME/versions/NAME/N/{cert.pem,chain.pem,fullchain.pem,key.pem,renewal.json}
//! ```
//!
//! A certificate and its key become visible together, by one rename of the symbolic link: a crash
//! at any moment leaves either the old set or the new one, never half of each.

mod accounts;
mod atomic;
mod certificates;
mod logs;
mod renewal;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use accounts::AccountRecord;
pub use certificates::{CertificateName, CertificateSet, StoredCertificate};
pub use logs::SeenLog;
pub use renewal::{ChallengeSettings, Renewal, RenewalState};

use crate::error::{Error, Result};

/// How long another process may hold the folder: it does so only while it writes files.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The folder that holds everything.
#[derive(Debug, Clone)]
pub struct Keystore {
    home: PathBuf,
}

/// The right to change the folder: held by one process at a time, given back when dropped.
#[derive(Debug)]
#[must_use = "the folder is locked only as long as this value lives"]
pub struct Lock {
    _file: File,
}

impl Keystore {
    /// Opens the folder, which need not be there yet.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }

    /// Returns where it is.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Locks the folder against other processes, making it where it is missing.
    ///
    /// # Errors
    /// When another process holds it, or the folder cannot be made.
    pub fn lock(&self) -> Result<Lock> {
        atomic::create_private_dir(&self.home)?;
        let path = self.home.join(".lock");
        let file = atomic::open_private(&path)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::local(
                        format!("cannot use {}", self.home.display()),
                        "another sigillo is changing it; try again when that one is done",
                    ));
                }
                Err(TryLockError::Error(e)) => return Err(Error::file("lock", &path, e)),
            }
        }
    }
}
