//! The view: from which source an answer comes, and what holds when a source is lost.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::watch;

use super::testing::*;
use crate::{
    clock::Clock,
    signer::SignatureAlgorithm,
    status::{StatusService, view::StatusView},
    store::{Batch, Change, Store, embedded::SqliteStore},
};

/// How long a test waits for a worker.
const PATIENCE: Duration = Duration::from_secs(10);

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(service: &Arc<StatusService>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let view = service.view.clone();
        Self {
            stop,
            task: tokio::spawn(async move { view.run(stopped).await }),
        }
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

async fn level(view: &StatusView) {
    until("the index is in use", || view.has_index()).await;
}

#[tokio::test]
async fn answers_from_the_index_once_it_is_level() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::with(SignatureAlgorithm::Ed25519, Some(&dir.path().join("index"))).await;
    node.issue(1).await;
    let running = Running::start(&node.service);
    level(&node.service.view).await;
    node.service.catch_up().await.unwrap();
    let reads = node.store.status_reads.load(Ordering::SeqCst);
    let known = node.service.lookup(&node.ca.id, serial(1)).await.unwrap();
    assert_eq!(known.record.map(|record| record.revocation), Some(None));
    assert_eq!(
        node.store.status_reads.load(Ordering::SeqCst),
        reads,
        "the store was not asked"
    );
    assert_eq!(
        node.service
            .lookup(&"other".parse().unwrap(), serial(1))
            .await
            .unwrap()
            .record,
        None
    );
    node.revoke(1, None).await;
    let known = node.service.lookup(&node.ca.id, serial(1)).await.unwrap();
    assert!(
        known.record.unwrap().revocation.is_some(),
        "a commit that was not followed yet is read from the store"
    );
    running.stop().await;
}

#[tokio::test]
async fn goes_on_from_the_index_while_the_store_is_away_and_says_since_when() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::with(SignatureAlgorithm::Ed25519, Some(&dir.path().join("index"))).await;
    node.issue(1).await;
    node.issue(2).await;
    node.revoke(2, None).await;
    let running = Running::start(&node.service);
    level(&node.service.view).await;
    node.service.catch_up().await.unwrap();
    let level_at = node.clock.now();
    running.stop().await;
    let view = &node.service.view;
    // The worker closes the index at the end; here it only must not follow any more.
    assert!(!view.has_index());
    let running = Running::start(&node.service);
    level(view).await;
    node.store.away.store(true, Ordering::SeqCst);
    node.issue(3).await;
    node.clock.advance_seconds(600);
    let known = node.service.lookup(&node.ca.id, serial(1)).await.unwrap();
    assert_eq!(known.at, level_at, "as of the last time that it was certain");
    node.service.lookup(&node.ca.id, serial(3)).await.unwrap_err();
    // Somebody was about to announce a revocation and could not have it followed.
    node.service.catch_up().await.unwrap_err();
    node.service.lookup(&node.ca.id, serial(1)).await.unwrap_err();
    assert!(
        node.service
            .lookup(&node.ca.id, serial(2))
            .await
            .unwrap()
            .record
            .unwrap()
            .revocation
            .is_some()
    );
    node.store.away.store(false, Ordering::SeqCst);
    node.service.catch_up().await.unwrap();
    assert_eq!(
        node.service.lookup(&node.ca.id, serial(1)).await.unwrap().at,
        node.clock.now()
    );
    running.stop().await;
}

#[tokio::test]
async fn rebuilds_a_damaged_index_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let node = Node::with(SignatureAlgorithm::Ed25519, Some(&path)).await;
    for number in 1..=200 {
        node.issue(number).await;
    }
    node.revoke(9, None).await;
    let running = Running::start(&node.service);
    level(&node.service.view).await;
    running.stop().await;
    std::fs::write(path.join("db"), vec![0x5a; 4096]).unwrap();
    let service = open(&node.ca, node.store.clone(), node.clock.clone(), Some(&path)).await;
    assert!(
        service
            .lookup(&node.ca.id, serial(9))
            .await
            .unwrap()
            .record
            .unwrap()
            .revocation
            .is_some(),
        "at once"
    );
    let running = Running::start(&service);
    level(&service.view).await;
    service.catch_up().await.unwrap();
    let reads = node.store.status_reads.load(Ordering::SeqCst);
    assert!(
        service
            .lookup(&node.ca.id, serial(9))
            .await
            .unwrap()
            .record
            .unwrap()
            .revocation
            .is_some()
    );
    assert!(
        service
            .lookup(&node.ca.id, serial(10))
            .await
            .unwrap()
            .record
            .unwrap()
            .revocation
            .is_none()
    );
    assert_eq!(node.store.status_reads.load(Ordering::SeqCst), reads);
    running.stop().await;
}

#[tokio::test]
async fn many_callers_share_a_pass_and_all_see_their_own_change() {
    let node = Arc::new(Node::new().await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=64 {
        let node = node.clone();
        tasks.spawn(async move {
            node.issue(number).await;
            let revision = node.service.view.revision(serial(number));
            node.revoke(number, None).await;
            node.service.catch_up().await.unwrap();
            assert!(!node.service.view.is_current(revision), "{number}");
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn works_over_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(dir.path().join("sigillo.db")).unwrap());
    let node = Node::new().await;
    let service = open(
        &node.ca,
        store.clone(),
        node.clock.clone(),
        Some(&dir.path().join("index")),
    )
    .await;
    let running = Running::start(&service);
    level(&service.view).await;
    let state = crate::model::CertificateState::Issued { der: vec![1] };
    let not_after = node.clock.now() + jiff::SignedDuration::from_hours(1);
    let issued = certificate(&node.ca.id, serial(1), not_after, state);
    let write = |change: Change, action| -> Batch { batch(action).with(change) };
    store
        .commit(write(
            Change::Certificate(issued),
            crate::model::Action::CertificateIssued,
        ))
        .await
        .unwrap();
    service.catch_up().await.unwrap();
    assert_eq!(
        service
            .lookup(&node.ca.id, serial(1))
            .await
            .unwrap()
            .record
            .unwrap()
            .revocation,
        None
    );
    let mut stored = store.certificate(serial(1)).await.unwrap().unwrap();
    let revocation = revocation(node.clock.now(), None);
    stored.state = crate::model::CertificateState::Revoked {
        der: vec![1],
        revocation,
    };
    store
        .commit(write(
            Change::Certificate(stored),
            crate::model::Action::CertificateRevoked,
        ))
        .await
        .unwrap();
    service.catch_up().await.unwrap();
    let known = service.lookup(&node.ca.id, serial(1)).await.unwrap();
    assert_eq!(known.record.unwrap().revocation, Some(revocation));
    let published = service.publisher().publish(&node.ca.id).await.unwrap();
    let again = service.publisher().publish(&node.ca.id).await.unwrap();
    assert!(again.number > published.number);
    assert_eq!(
        store
            .crl(&node.ca.id, crate::model::CrlKind::Complete)
            .await
            .unwrap()
            .unwrap()
            .der,
        again.der
    );
    running.stop().await;
}
