//! `config.toml` as it is written. Unknown keys are refused.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sigillo_client::error::{Error, Result};
use sigillo_client::key::KeyType;

/// The file; paths in it are relative to its folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub directory: Option<String>,
    pub ca_root: Option<PathBuf>,
    pub contact: Vec<String>,
    pub agree_tos: bool,
    pub eab_kid: Option<String>,
    pub eab_hmac: Option<String>,
    pub key_type: Option<KeyType>,
    pub reuse_key: bool,
    pub profile: Option<String>,
    pub deploy_hook: Option<PathBuf>,
    pub challenge: Option<String>,
    pub http01_port: Option<u16>,
    pub webroot: Option<PathBuf>,
    pub tls_alpn01_port: Option<u16>,
    pub dns_hook: Option<PathBuf>,
    pub dns_rfc2136: Option<PathBuf>,
    pub dns_wait: Option<u64>,
}

/// Reads the file; a missing one says nothing.
pub(super) fn read(path: &Path) -> Result<Raw> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Raw::default()),
        Err(e) => return Err(Error::file("read", path, e)),
    };
    toml::from_str(&text).map_err(|e| Error::usage(format!("cannot understand {}: {e}", path.display())))
}
