//! The publisher: when a CRL is made, what is on it, and that neither number nor time goes back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::sync::watch;
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{PublishError, PublishedCrl, Publisher, testing::*};
use crate::{
    clock::Clock,
    model::{CrlKind, CrlRecord},
    store::{Change, Store},
};

/// How long a test waits for the worker.
const PATIENCE: Duration = Duration::from_secs(10);

fn serials(crl: &PublishedCrl) -> Vec<u128> {
    let der = crl.der.to_vec();
    let (_, crl) = CertificateRevocationList::from_der(&der).unwrap();
    let number = |serial: &[u8]| serial.iter().fold(0, |number, octet| number << 8 | u128::from(*octet));
    crl.iter_revoked_certificates()
        .map(|revoked| number(revoked.raw_serial()))
        .collect()
}

fn publisher(node: &Node) -> &Arc<Publisher> {
    node.service.publisher()
}

async fn publish(node: &Node) -> Arc<PublishedCrl> {
    publisher(node).publish(&node.ca.id).await.unwrap()
}

/// Runs the worker until a CRL is there that satisfies the test.
async fn worked_until(node: &Node, what: &str, holds: impl Fn(&PublishedCrl) -> bool) -> Arc<PublishedCrl> {
    let (stop, stopped) = watch::channel(false);
    let worker = publisher(node).clone();
    let task = tokio::spawn(async move { worker.run(stopped).await });
    let began = std::time::Instant::now();
    let found = loop {
        if let Some(crl) = publisher(node).current(&node.ca.id).filter(|crl| holds(crl)) {
            break crl;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    stop.send(true).unwrap();
    task.await.unwrap();
    found
}

#[tokio::test]
async fn the_first_crl_is_there_at_the_start() {
    let node = Node::new().await;
    assert!(publisher(&node).current(&node.ca.id).is_none());
    let crl = worked_until(&node, "the first CRL", |_| true).await;
    assert_eq!(serials(&crl), Vec::<u128>::new());
    assert_eq!(crl.this_update, node.clock.now());
    assert_eq!(crl.next_update, node.clock.now() + SignedDuration::from_hours(7 * 24));
    assert_eq!(
        node.store
            .crl(&node.ca.id, CrlKind::Complete)
            .await
            .unwrap()
            .unwrap()
            .der,
        crl.der,
        "it was stored before it was given out"
    );
}

#[tokio::test]
async fn a_revocation_makes_a_crl_and_many_make_few() {
    let node = Node::new().await;
    publish(&node).await;
    for number in 1..=100 {
        node.issue(number).await;
    }
    let before = publisher(&node).current(&node.ca.id).unwrap().number;
    for number in 1..=100 {
        node.revoke(number, None).await;
    }
    let crl = worked_until(&node, "all revocations listed", |crl| serials(crl).len() == 100).await;
    assert_eq!(serials(&crl), (1..=100).collect::<Vec<_>>());
    assert!(
        crl.number - before <= 2,
        "{} CRLs for a hundred revocations",
        crl.number - before
    );
}

#[tokio::test]
async fn a_revocation_before_the_start_is_not_forgotten() {
    let node = Node::new().await;
    publish(&node).await;
    node.issue(1).await;
    node.revoke(1, None).await;
    let service = open(&node.ca, node.store.clone(), node.clock.clone(), None).await;
    let restarted = Node { service, ..node };
    worked_until(&restarted, "the revocation listed", |crl| serials(crl) == [1]).await;
}

#[tokio::test]
async fn a_new_crl_is_made_on_schedule_long_before_the_old_one_ends() {
    let node = Node::new().await;
    let first = publish(&node).await;
    node.clock.advance_seconds(24 * 3600);
    let second = worked_until(&node, "the next CRL", |crl| crl.number > first.number).await;
    assert!(second.this_update < first.next_update && second.next_update > first.next_update);
}

#[tokio::test]
async fn an_entry_stays_until_it_was_on_one_crl_after_the_certificate_expired() {
    let node = Node::new().await;
    let now = node.clock.now();
    node.store
        .issue(&node.ca.id, serial(1), now + SignedDuration::from_secs(100))
        .await;
    node.revoke(1, None).await;
    assert_eq!(serials(&*publish(&node).await), [1]);
    node.clock.advance_seconds(200);
    assert_eq!(serials(&*publish(&node).await), [1], "the first after expiry");
    node.clock.advance_seconds(1);
    assert_eq!(serials(&*publish(&node).await), Vec::<u128>::new());
}

#[tokio::test]
async fn numbers_rise_even_within_a_second_and_over_a_restored_store() {
    let node = Node::new().await;
    let numbers = [
        publish(&node).await.number,
        publish(&node).await.number,
        publish(&node).await.number,
    ];
    assert!(numbers[0] < numbers[1] && numbers[1] < numbers[2]);
    node.clock.advance_seconds(10);
    // A store from before all of this.
    let restored = Node {
        store: Arc::default(),
        ..node
    };
    let service = open(&restored.ca, restored.store.clone(), restored.clock.clone(), None).await;
    let restored = Node { service, ..restored };
    assert!(publish(&restored).await.number > numbers[2]);
}

#[tokio::test]
async fn a_faster_node_is_followed_and_then_surpassed() {
    let node = Node::new().await;
    let ours = publish(&node).await;
    let theirs = CrlRecord {
        number: ours.number + 1_000_000,
        ..node.store.crl(&node.ca.id, CrlKind::Complete).await.unwrap().unwrap()
    };
    node.store
        .commit(batch(crate::model::Action::CrlPublished).with(Change::Crl(theirs.clone())))
        .await
        .unwrap();
    assert_eq!(publish(&node).await.number, theirs.number + 1);
}

#[tokio::test]
async fn nothing_is_signed_while_the_clock_is_behind() {
    let node = Node::new().await;
    let first = publish(&node).await;
    node.clock.advance_seconds(-3600);
    let refused = publisher(&node).publish(&node.ca.id).await;
    assert!(matches!(refused, Err(PublishError::Clock(_))));
    // A restart forgets nothing: the last CRL tells the time.
    let service = open(&node.ca, node.store.clone(), node.clock.clone(), None).await;
    let refused = service.publisher().publish(&node.ca.id).await;
    assert!(matches!(refused, Err(PublishError::Clock(_))));
    assert_eq!(publisher(&node).current(&node.ca.id).unwrap().number, first.number);
}

#[tokio::test]
async fn the_crl_before_stays_while_the_store_is_away() {
    let node = Node::new().await;
    let first = publish(&node).await;
    node.store.away.store(true, Ordering::SeqCst);
    assert!(matches!(
        publisher(&node).publish(&node.ca.id).await,
        Err(PublishError::Read(_))
    ));
    assert_eq!(publisher(&node).current(&node.ca.id).unwrap().etag, first.etag);
    let unknown = "nobody".parse().unwrap();
    assert!(matches!(
        publisher(&node).publish(&unknown).await,
        Err(PublishError::NoIssuer(_))
    ));
}
