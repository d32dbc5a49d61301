//! A full disk stops writing and nothing else, and writing goes on when there is room again.

mod committing;
#[path = "committing/disk.rs"]
mod disk;

use std::{fs::File, io::Write};

use committing::check_sqlite;
use disk::{Bench, LENGTH_MIN};
use sigillo_ca::store::{
    Batch, Change, CommitError, Store,
    contract::records::{batch, certificate, event, external_key, issued},
    embedded::SqliteStore,
};

/// How many commits are tried against the full disk: more than the log's last free page takes.
const TRIES: usize = 200;

#[tokio::test]
async fn a_full_disk_stops_writing_until_there_is_room() {
    let Some(bench) = Bench::prepare("a_full_disk_stops_writing_until_there_is_room") else {
        return;
    };
    let disk = bench.disk(LENGTH_MIN);
    let path = disk.mounted_at.join("sigillo.db");
    let store = SqliteStore::open(&path).unwrap();
    store
        .commit(batch(Change::ExternalKey(external_key("before"))))
        .await
        .unwrap();
    let ballast = disk.mounted_at.join("ballast");
    fill(&ballast);

    let mut acknowledged = vec!["before".to_owned()];
    let mut refused = 0;
    for n in 0..TRIES {
        let key = n.to_string();
        match store.commit(large(&key)).await {
            Ok(()) => acknowledged.push(key),
            Err(CommitError::Failed { in_doubt: false, .. }) => refused += 1,
            Err(error) => panic!("a full disk leaves no doubt: {error:?}"),
        }
    }
    assert!(refused > 0, "the disk was not full");
    assert!(store.external_key("before").await.unwrap().is_some(), "reads go on");
    assert!(store.status_position().await.is_ok());

    std::fs::remove_file(&ballast).unwrap();
    store.commit(large("after")).await.unwrap();
    acknowledged.push("after".to_owned());
    drop(store);
    let recorded =
        tokio::task::spawn_blocking(move || check_sqlite(&path, &acknowledged).eq(&(acknowledged.len() as u64)));
    assert!(recorded.await.unwrap(), "exactly what was acknowledged is recorded");
}

fn large(key: &str) -> Batch {
    Batch::new(event(key))
        .with(Change::ExternalKey(external_key(key)))
        .with(Change::Certificate(issued(&certificate(&["a.example"], 1_000))))
}

/// Writes until there is no room for one octet more.
fn fill(path: &std::path::Path) {
    let mut file = File::create(path).unwrap();
    for length in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; length]).and_then(|()| file.sync_data()).is_ok() {}
    }
}
