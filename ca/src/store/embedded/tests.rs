//! What the embedded store does beyond the contract.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use super::*;
use crate::{
    audit::{self, Chain},
    store::Change,
    store::contract::{
        self,
        records::{account, batch, certificate, external_key, issued},
    },
};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_keeps_the_contract() {
    let folder = folder();
    let count = std::cell::Cell::new(0);
    contract::run(|| {
        count.set(count.get() + 1);
        Box::new(SqliteStore::open(folder.path().join(format!("{}.db", count.get()))).unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_memory_keeps_the_contract() {
    contract::run(|| Box::new(SqliteStore::open_in_memory().unwrap())).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_anew() {
    let folder = folder();
    let path = folder.path().join("store/sigillo.db");
    let new = account();
    let signed = issued(&certificate(&["a.example"], 10));
    let store = SqliteStore::open(&path).unwrap();
    store.commit(batch(Change::Account(new.clone()))).await.unwrap();
    store.commit(batch(Change::Certificate(signed.clone()))).await.unwrap();
    let position = store.status_position().await.unwrap();
    drop(store);

    let store = SqliteStore::open(&path).unwrap();
    assert!(store.account(new.id).await.unwrap().is_some());
    assert_eq!(
        store.status_position().await.unwrap(),
        position,
        "position and identity stay"
    );
    store
        .commit(batch(Change::ExternalKey(external_key("k"))))
        .await
        .unwrap();
    let log = store.audit(0, 10).await.unwrap();
    assert_eq!(
        audit::verify(Chain::START, &log).unwrap().sequence,
        3,
        "the chain goes on"
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "only its owner reads it: it holds keys");
}

#[tokio::test]
async fn a_second_opening_is_refused_while_the_first_lasts() {
    let folder = folder();
    let path = folder.path().join("sigillo.db");
    let first = SqliteStore::open(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse(_))));
    drop(first);
    SqliteStore::open(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiting_batches_share_a_commit() {
    const BATCHES: usize = 512;
    let folder = folder();
    let store = Arc::new(SqliteStore::open(folder.path().join("sigillo.db")).unwrap());
    let tasks: Vec<_> = (0..BATCHES)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(batch(Change::Account(account()))).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let groups = *store.changed().borrow();
    assert!(groups < BATCHES as u64 / 4, "{BATCHES} batches took {groups} commits");
}

/// Makes COMMIT fail, as a failing disk would: a check that SQLite leaves until then.
async fn sabotaged(path: &Path) -> SqliteStore {
    drop(SqliteStore::open(path).unwrap());
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE missing (id INTEGER PRIMARY KEY);
             CREATE TABLE sabotage (id INTEGER REFERENCES missing (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER sabotage AFTER INSERT ON external_key WHEN NEW.kid = 'sabotage'
             BEGIN INSERT INTO sabotage VALUES (1); END;",
        )
        .unwrap();
    drop(connection);
    SqliteStore::open(path).unwrap()
}

#[tokio::test]
async fn a_commit_that_fails_in_doubt_ends_writing_and_not_reading() {
    let folder = folder();
    let path = folder.path().join("sigillo.db");
    let store = sabotaged(&path).await;
    let new = account();
    store.commit(batch(Change::Account(new.clone()))).await.unwrap();

    let error = store
        .commit(batch(Change::ExternalKey(external_key("sabotage"))))
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Failed { in_doubt: true, .. }), "{error:?}");
    let error = store.commit(batch(Change::Account(account()))).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed { in_doubt: false, .. }),
        "{error:?}"
    );
    assert!(store.account(new.id).await.unwrap().is_some(), "reads go on");
    assert!(store.external_key("sabotage").await.unwrap().is_none());

    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    store.commit(batch(Change::Account(account()))).await.unwrap();
    let log = store.audit(0, 10).await.unwrap();
    assert_eq!(audit::verify(Chain::START, &log).unwrap().sequence, 2);
}

#[tokio::test]
async fn a_full_store_refuses_without_doubt_and_takes_up_again_when_there_is_room() {
    let folder = folder();
    let path = folder.path().join("sigillo.db");
    let mut connection = {
        drop(SqliteStore::open(&path).unwrap());
        connection::writer(&path).unwrap()
    };
    schema::migrate(&mut connection).unwrap();
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    connection
        .query_row(&format!("PRAGMA max_page_count = {}", pages + 4), [], |_| Ok(()))
        .unwrap();
    let store = SqliteStore::start(connection, None, |_| Readers::of_file(path.clone())).unwrap();

    let big = |n: usize| {
        let mut big = certificate(&["a.example"], n as i64);
        big.tbs = vec![0; 400_000];
        batch(Change::Certificate(big))
    };
    let error = store.commit(big(1)).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed { in_doubt: false, .. }),
        "{error:?}"
    );
    store
        .commit(batch(Change::ExternalKey(external_key("small"))))
        .await
        .unwrap();
    let log = store.audit(0, 10).await.unwrap();
    assert_eq!(
        audit::verify(Chain::START, &log).unwrap().sequence,
        1,
        "what was refused left no trace"
    );
}

#[tokio::test]
async fn a_backup_is_whole_and_overwrites_nothing() {
    let folder = folder();
    let store = Arc::new(SqliteStore::open(folder.path().join("sigillo.db")).unwrap());
    let new = account();
    store.commit(batch(Change::Account(new.clone()))).await.unwrap();
    let copy = folder.path().join("copy.db");
    let busy = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..50 {
                store.commit(batch(Change::Account(account()))).await.unwrap();
            }
        })
    };
    store.backup(&copy).await.unwrap();
    busy.await.unwrap();
    assert!(
        store.backup(&copy).await.is_err(),
        "a file that is there stays as it is"
    );
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !names.iter().any(|n| n.to_string_lossy().starts_with("copy.db.")),
        "one file: {names:?}"
    );

    let restored = folder.path().join("restored.db");
    restore(&copy, &restored).unwrap();
    assert!(
        restore(&copy, &restored).is_err(),
        "a store that is there stays as it is"
    );
    let again = SqliteStore::open(&restored).unwrap();
    assert!(again.account(new.id).await.unwrap().is_some());
    let (_, old) = store.status_position().await.unwrap();
    assert_ne!(again.status_position().await.unwrap().1, old, "its feed is another one");
    let log = again.audit(0, 100).await.unwrap();
    audit::verify(Chain::START, &log).unwrap();
}

#[tokio::test]
async fn what_is_no_backup_is_not_restored() {
    let folder = folder();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, b"").unwrap();
    assert!(restore(&from, &to).is_err());
    fs::write(&from, vec![7; 8192]).unwrap();
    assert!(restore(&from, &to).is_err());
    assert!(!to.exists());
}

#[tokio::test]
async fn an_altered_log_does_not_verify() {
    let folder = folder();
    let path = folder.path().join("sigillo.db");
    let store = SqliteStore::open(&path).unwrap();
    for _ in 0..3 {
        store.commit(batch(Change::Account(account()))).await.unwrap();
    }
    drop(store);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute(
            "UPDATE audit SET event = replace(event, 'one change', 'no change') WHERE sequence = 2",
            [],
        )
        .unwrap();
    drop(connection);
    let store = SqliteStore::open(&path).unwrap();
    let log = store.audit(0, 10).await.unwrap();
    assert_eq!(
        audit::verify(Chain::START, &log),
        Err(audit::Break::Hash { sequence: 2 })
    );
}
