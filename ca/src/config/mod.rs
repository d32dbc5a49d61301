//! The configuration: the file as written ([`raw`]) and the settings as checked ([`Settings`]).

pub mod raw;
mod settings;
mod span;

pub use settings::{
    AcmeSettings, CrlSettings, LimitSettings, OcspSettings, PruneSettings, ServerSettings, Settings, StoreSettings,
};
pub use span::CalendarSpan;

use std::path::{Path, PathBuf};

/// The file's name in the state folder.
pub const FILE_NAME: &str = "sigillo.toml";

/// A configuration that cannot be used: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key that does not exist, or a value of another type.
    #[error("{origin}: {message}")]
    Syntax {
        /// The file, or the `--set` argument.
        origin: String,
        /// What the parser said, with the line.
        message: String,
    },
    /// A value cannot be used.
    #[error("{key}: {message}")]
    Value {
        /// The key, as in `--set`.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, message: impl ToString) -> Self {
        Self::Value {
            key: key.into(),
            message: message.to_string(),
        }
    }
}

/// Reads the configuration of a state folder, with values from the command line on top.
///
/// A folder without the file has the defaults: nothing in it is mandatory.
///
/// # Errors
/// When something in it cannot be used; nothing is guessed.
pub fn load(dir: &Path, overrides: &[String]) -> Result<Settings, ConfigError> {
    let path = dir.join(FILE_NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    let raw = raw::read(&text, &path.display().to_string(), overrides)?;
    Settings::check(raw, dir)
}
