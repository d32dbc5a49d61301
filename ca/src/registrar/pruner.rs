//! Keeps the store bounded: what nobody can need any more is deleted by and by.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    clock::SharedClock,
    config::PruneSettings,
    store::{PruneLimits, Store},
};

/// How often it looks. Nothing depends on the moment, so seldom is enough.
const ROUND: Duration = Duration::from_secs(3600);

/// How much it deletes at once, so that nobody's commit waits behind it for long.
const PORTION: usize = 1000;

/// How long it rests between portions, so that it takes a small part of the writer's time.
const PAUSE: Duration = Duration::from_millis(500);

/// Deletes dead orders, authorizations and old certificates.
pub struct Pruner {
    store: Arc<dyn Store>,
    clock: SharedClock,
    settings: PruneSettings,
}

impl Pruner {
    /// Makes a pruner.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, settings: PruneSettings) -> Self {
        Self { store, clock, settings }
    }

    /// Works until it is told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.round() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                () = tokio::time::sleep(ROUND) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn round(&self) {
        loop {
            let now = self.clock.now();
            let limits = PruneLimits {
                orders_ended_before: self.settings.orders_kept.before(now),
                certificates_expired_before: self.settings.certificates_kept.map(|kept| kept.before(now)),
                renewed_expired_before: self.settings.renewed_certificates_kept.before(now),
                count_max: PORTION,
            };
            match self.store.prune(limits, now).await {
                Ok(pruned) => {
                    let full = PORTION as u64;
                    let more = pruned.orders >= full || pruned.authorizations >= full || pruned.certificates >= full;
                    if !more {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "pruning failed; it is tried again later");
                    return;
                }
            }
        }
    }
}
