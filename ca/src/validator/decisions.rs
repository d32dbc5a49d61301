//! Tells who waits for it that an authorization was decided, so that a client need not ask again and again.
//!
//! It is a courtesy and no channel: what was decided is read from the store, and whoever is not told looks later. The
//! validator stays uncalled, and a decision by another node is only seen a little later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::model::AuthorizationId;

/// How many wait at a time; who comes then does not wait.
const WAITING_MAX: usize = 1024;

/// Who waits for which authorization.
#[derive(Debug, Default)]
pub struct Decisions {
    waiting: Mutex<HashMap<AuthorizationId, Arc<Notify>>>,
}

/// A place among those who wait, given back when it is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    decisions: &'a Decisions,
    id: AuthorizationId,
    told: Arc<Notify>,
}

impl Decisions {
    /// Takes a place, before that is committed which the decision follows from. One waits for each authorization.
    pub fn expect(&self, id: AuthorizationId) -> Option<Waiting<'_>> {
        let mut waiting = self.open();
        if waiting.len() >= WAITING_MAX || waiting.contains_key(&id) {
            return None;
        }
        let told = Arc::new(Notify::new());
        waiting.insert(id, told.clone());
        Some(Waiting {
            decisions: self,
            id,
            told,
        })
    }

    /// Tells that a try was made and what came of it is durable.
    pub(super) fn tell(&self, id: AuthorizationId) {
        if let Some(told) = self.open().get(&id) {
            told.notify_one();
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<AuthorizationId, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Waits at most so long; returns whether there is something to see.
    pub async fn within(self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.told.notified()).await.is_ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.decisions.open().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_the_one_who_waits_even_if_it_comes_first() {
        let decisions = Decisions::default();
        let id = AuthorizationId::random();
        let waiting = decisions.expect(id).unwrap();
        assert!(decisions.expect(id).is_none(), "one waits for each");
        decisions.tell(AuthorizationId::random());
        decisions.tell(id);
        assert!(waiting.within(Duration::from_secs(5)).await);
        let again = decisions.expect(id).expect("the place was given back");
        assert!(!again.within(Duration::from_millis(1)).await);
        assert!(decisions.open().is_empty());
    }
}
