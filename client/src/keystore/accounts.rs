//! Account keys and what the server said about the accounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sigillo_protocol::jose::signing_key::SigningKey;

use super::{Keystore, atomic};
use crate::error::{Error, Result};
use crate::key;

/// An account as it is remembered beside its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRecord {
    /// The directory of the server that has the account.
    pub directory: String,
    /// The account's URL: the `kid` of its requests.
    pub url: String,
    /// How its holder can be reached.
    pub contact: Vec<String>,
}

impl Keystore {
    /// Returns the folder of the account at a directory.
    pub fn account_dir(&self, directory: &str) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, directory.as_bytes());
        // Sixteen octets of the hash are far more than a handful of servers can collide in.
        let name: String = digest.as_ref()[..16].iter().map(|b| format!("{b:02x}")).collect();
        self.home().join("accounts").join(name)
    }

    /// Returns the account and its key, if there is one for the directory.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn account(&self, directory: &str) -> Result<Option<(AccountRecord, SigningKey)>> {
        let Some(key) = self.account_key(directory)? else {
            return Ok(None);
        };
        let path = self.account_dir(directory).join("account.json");
        let Some(json) = atomic::read_optional(&path)? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&json).map_err(|e| Error::file("understand", &path, e))?;
        Ok(Some((record, key)))
    }

    /// Returns the key for a directory, if there is one, registered or not.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn account_key(&self, directory: &str) -> Result<Option<SigningKey>> {
        let path = self.account_dir(directory).join("key.pem");
        let Some(pem) = atomic::read_optional(&path)? else {
            return Ok(None);
        };
        key::account_key_from_pem(&pem)
            .map(Some)
            .map_err(|e| Error::file("understand", &path, e))
    }

    /// Keeps a key before it is used: an account whose key were lost could never be closed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn store_account_key(&self, directory: &str, pkcs8_pem: &str) -> Result<()> {
        let dir = self.account_dir(directory);
        atomic::create_private_dir(&dir)?;
        atomic::replace(&dir.join("key.pem"), pkcs8_pem.as_bytes())
    }

    /// Keeps what the server said about the account.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn store_account(&self, record: &AccountRecord) -> Result<()> {
        let dir = self.account_dir(&record.directory);
        atomic::create_private_dir(&dir)?;
        let json = serde_json::to_vec_pretty(record).map_err(|e| Error::local("cannot write", e))?;
        atomic::replace(&dir.join("account.json"), &json)
    }

    /// Keeps the key that is about to replace the account's, beside the one in use.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn stage_account_key(&self, directory: &str, pkcs8_pem: &str) -> Result<()> {
        atomic::replace(&self.account_dir(directory).join("key.next.pem"), pkcs8_pem.as_bytes())
    }

    /// Returns the key of a change that was begun, if there is one.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn staged_account_key(&self, directory: &str) -> Result<Option<SigningKey>> {
        let path = self.account_dir(directory).join("key.next.pem");
        let Some(pem) = atomic::read_optional(&path)? else {
            return Ok(None);
        };
        key::account_key_from_pem(&pem)
            .map(Some)
            .map_err(|e| Error::file("understand", &path, e))
    }

    /// Makes the staged key the account's key.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn adopt_staged_account_key(&self, directory: &str) -> Result<()> {
        let dir = self.account_dir(directory);
        let (from, to) = (dir.join("key.next.pem"), dir.join("key.pem"));
        std::fs::rename(&from, &to).map_err(|e| Error::file("replace", &to, e))?;
        atomic::sync_dir(&dir)
    }

    /// Forgets a staged key that the server did not take.
    pub fn drop_staged_account_key(&self, directory: &str) {
        let _ = std::fs::remove_file(self.account_dir(directory).join("key.next.pem"));
    }

    /// Forgets an account that was deactivated; its key is of no use any more.
    ///
    /// # Errors
    /// When the folder is there and cannot be removed.
    pub fn forget_account(&self, directory: &str) -> Result<()> {
        let dir = self.account_dir(directory);
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &dir, e)),
            _ => Ok(()),
        }
    }
}
