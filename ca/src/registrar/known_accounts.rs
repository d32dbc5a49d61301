//! The accounts that have signed lately, with their keys ready for use: each request needs one.
//!
//! An entry counts only while the store says that no account is another one than it was when the entry was read, so
//! that a closed account or an old key is never served once anybody was told of the change.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sigillo_protocol::jose::Jwk;

use crate::{
    model::{Account, AccountId},
    store::Store,
};

/// How many accounts are kept: about a kilobyte each.
const ACCOUNTS_MAX: usize = 4096;

/// An account that can be used, and its key.
pub(super) type Known = Arc<(Account, Jwk)>;

/// See the module.
pub(super) struct KnownAccounts {
    entries: Cache<AccountId, (u64, Known)>,
}

impl Default for KnownAccounts {
    fn default() -> Self {
        Self {
            entries: Cache::new(ACCOUNTS_MAX),
        }
    }
}

impl KnownAccounts {
    /// Finds an account as it is now.
    pub(super) fn get(&self, store: &dyn Store, id: AccountId) -> Option<Known> {
        let (revision, known) = self.entries.get(&id)?;
        (store.accounts_revision() == Some(revision)).then_some(known)
    }

    /// Keeps an account that was read after the store had said that revision.
    pub(super) fn keep(&self, revision: Option<u64>, known: &Known) {
        if let Some(revision) = revision {
            self.entries.insert(known.0.id, (revision, known.clone()));
        }
    }
}
