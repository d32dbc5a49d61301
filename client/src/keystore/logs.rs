//! The last head of each log that was looked into: what its next head has to continue.

use serde::{Deserialize, Serialize};

use super::{Keystore, atomic};
use crate::error::{Error, Result};

/// What was seen of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenLog {
    /// Its key.
    pub key: String,
    /// Its last head, signed.
    pub checkpoint: String,
}

impl Keystore {
    fn log_path(&self, source: &str) -> std::path::PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, source.as_bytes());
        let name: String = digest.as_ref()[..16]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        self.home().join("logs").join(format!("{name}.json"))
    }

    /// Returns what was seen of the log that a directory or a URL leads to.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seen_log(&self, source: &str) -> Result<Option<SeenLog>> {
        let path = self.log_path(source);
        match atomic::read_optional(&path)? {
            Some(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|e| Error::file("use", &path, e)),
            None => Ok(None),
        }
    }

    /// Remembers what was seen of a log.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember_log(&self, source: &str, seen: &SeenLog) -> Result<()> {
        let path = self.log_path(source);
        atomic::create_private_dir(&self.home().join("logs"))?;
        let text = serde_json::to_vec_pretty(seen).map_err(|e| Error::file("write", &path, e))?;
        atomic::replace(&path, &text)
    }
}
