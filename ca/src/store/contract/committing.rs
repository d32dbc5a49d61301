//! What a commit promises: all or nothing, in order, chained, and seen by nobody half done.

use std::sync::Arc;

use super::records::{account, authorization, batch, event, external_key, order};
use crate::{
    audit::{self, Chain},
    model::{Account, AccountId, AuthorizationId, ExternalKey, Version},
    store::{Batch, Change, CommitError, Page, Store, Unique},
};

/// How many tasks commit at a time.
const COMMITTERS: u64 = 128;

pub(super) async fn a_stale_version_is_a_conflict_and_changes_nothing(store: &dyn Store) {
    let new = account();
    store.commit(batch(Change::Account(new.clone()))).await.unwrap();
    let first = Account {
        version: Version(1),
        contact: vec!["mailto:first@a.example".into()],
        ..new.clone()
    };
    let second = Account {
        contact: vec![],
        ..first.clone()
    };
    store.commit(batch(Change::Account(first.clone()))).await.unwrap();
    for stale in [
        second.clone(),
        Account {
            version: Version(7),
            ..second.clone()
        },
    ] {
        let error = store.commit(batch(Change::Account(stale))).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict), "{error:?}");
    }
    let missing = Account {
        id: AccountId::random(),
        ..second
    };
    let error = store.commit(batch(Change::Account(missing))).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Conflict),
        "what is not there cannot be replaced: {error:?}"
    );
    let found = store.account(new.id).await.unwrap();
    assert_eq!(
        found,
        Some(Account {
            version: Version(2),
            ..first
        })
    );
    assert_eq!(
        store.audit(0, 100).await.unwrap().len(),
        2,
        "refused batches are not in the log"
    );
}

pub(super) async fn a_refused_batch_leaves_nothing_behind(store: &dyn Store) {
    store
        .commit(batch(Change::ExternalKey(external_key("k"))))
        .await
        .unwrap();
    let new = account();
    let part = authorization(new.id, "a.example", 10);
    let refused = Batch::new(event("refused"))
        .with(Change::Account(new.clone()))
        .with(Change::Authorization(part.clone()))
        .with(Change::ExternalKey(external_key("k")));
    let error = store.commit(refused).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Duplicate(Unique::ExternalKey)),
        "{error:?}"
    );
    assert_eq!(store.account(new.id).await.unwrap(), None);
    assert_eq!(store.authorization(part.id).await.unwrap(), None);
    assert_eq!(store.audit(0, 100).await.unwrap().len(), 1);
    store.commit(batch(Change::Account(new))).await.unwrap();
}

pub(super) async fn every_event_is_chained(store: &dyn Store) {
    for n in 0..3 {
        let mut several = Batch::new(event(format!("{n} first"))).and(event(format!("{n} second")));
        several.record(event(format!("{n} third")));
        store.commit(several).await.unwrap();
    }
    let log = store.audit(0, 100).await.unwrap();
    let told: Vec<_> = log.iter().map(|record| record.event.subject.as_str()).collect();
    assert_eq!(told[..4], ["0 first", "0 second", "0 third", "1 first"]);
    assert_eq!(log[0].event, event("0 first"), "an event is read back as it was");
    let end = audit::verify(Chain::START, &log).unwrap();
    assert_eq!(end.sequence, 9);
    let rest = store.audit(4, 2).await.unwrap();
    assert_eq!(rest, log[4..6]);
    assert_eq!(store.audit(9, 10).await.unwrap(), []);
}

pub(super) async fn the_change_signal_moves(store: &dyn Store) {
    let mut changed = store.changed();
    changed.mark_unchanged();
    store
        .commit(batch(Change::ExternalKey(external_key("k"))))
        .await
        .unwrap();
    assert!(changed.has_changed().unwrap(), "it moves before the answer");
    changed.mark_unchanged();
    store
        .commit(batch(Change::ExternalKey(external_key("k"))))
        .await
        .unwrap_err();
    assert!(!changed.has_changed().unwrap(), "a refusal is no change");
}

pub(super) async fn concurrent_writers_of_one_record_win_one_at_a_time(store: Arc<dyn Store>) {
    store
        .commit(batch(Change::ExternalKey(external_key("k"))))
        .await
        .unwrap();
    let mut tasks = Vec::new();
    for n in 0..COMMITTERS {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let mine = ExternalKey {
                version: Version(1),
                label: n.to_string(),
                ..external_key("k")
            };
            store.commit(batch(Change::ExternalKey(mine))).await.map(|()| n)
        }));
    }
    let mut winners = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(n) => winners.push(n.to_string()),
            Err(error) => assert!(matches!(error, CommitError::Conflict), "{error:?}"),
        }
    }
    let stored = store.external_key("k").await.unwrap().unwrap();
    assert_eq!(
        winners,
        [stored.label],
        "exactly one wins, and it is the one that is stored"
    );
}

pub(super) async fn refusals_do_not_spoil_their_neighbours(store: Arc<dyn Store>) {
    let mut tasks = Vec::new();
    for n in 0..COMMITTERS {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let new = account();
            // Every third asks for a `kid` that only one of them can have.
            let kid = if n % 3 == 0 { "taken".to_owned() } else { n.to_string() };
            let both = batch(Change::Account(new.clone())).with(Change::ExternalKey(external_key(&kid)));
            (new.id, kid, store.commit(both).await)
        }));
    }
    let (mut kept, mut refused) = (0, 0);
    for task in tasks {
        let (id, kid, result) = task.await.unwrap();
        let there = store.account(id).await.unwrap().is_some();
        match result {
            Ok(()) => {
                kept += 1;
                assert!(
                    there && store.external_key(&kid).await.unwrap().is_some(),
                    "{kid}: all of it"
                );
            }
            Err(error) => {
                refused += 1;
                assert!(
                    matches!(error, CommitError::Duplicate(Unique::ExternalKey)),
                    "{error:?}"
                );
                assert!(!there, "{kid}: nothing of it");
            }
        }
    }
    assert_eq!((kept, refused), (COMMITTERS - 42, 42));
    let log = store.audit(0, Page::<()>::LIMIT_MAX).await.unwrap();
    assert_eq!(audit::verify(Chain::START, &log).unwrap().sequence, kept);
}

pub(super) async fn reads_are_snapshots(store: Arc<dyn Store>) {
    const ROUNDS: u64 = 200;
    let owner = AccountId::random();
    let parts = [
        authorization(owner, "a.example", 10),
        authorization(owner, "b.example", 10),
    ];
    let new = order(owner, 0, &[&parts[0], &parts[1]]);
    let all = |version: u64| {
        let mut all = Batch::new(event(version)).with(Change::Order(crate::model::Order {
            version: Version(version),
            ..new.clone()
        }));
        for part in &parts {
            all.push(Change::Authorization(crate::model::Authorization {
                version: Version(version),
                ..part.clone()
            }));
        }
        all
    };
    store.commit(all(0)).await.unwrap();
    let id = new.id;
    let reader = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut last = Version::NEW;
            while last < Version(ROUNDS) {
                let view = store.order(id).await.unwrap().unwrap();
                let version = view.order.version;
                assert!(
                    view.authorizations.iter().all(|part| part.version == version),
                    "one moment"
                );
                assert!(version >= last, "time does not go back");
                last = version;
            }
        })
    };
    for version in 1..ROUNDS {
        store.commit(all(version)).await.unwrap();
        let read = store.authorization(parts[0].id).await.unwrap().unwrap();
        assert_eq!(read.version, Version(version + 1), "what was committed before is seen");
    }
    reader.await.unwrap();
    assert_eq!(store.authorization(AuthorizationId::random()).await.unwrap(), None);
}
