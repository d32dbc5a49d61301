//! Delta CRLs: base and delta add up, numbers are shared, and a restart goes on; OpenSSL judges.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::SignedDuration;
use sigillo_protocol::x509::reason::RevocationReason;
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{CrlSettings, PublishedCrl, Publisher, delta::CHANGES_MAX, testing::*};
use crate::{
    clock::Clock,
    model::{CrlKind, Serial},
    store::Store,
};

/// What a list says: its number, the number it builds on, its freshest CRL, and each serial's reason code.
struct Read {
    number: u64,
    base: Option<u64>,
    freshest: Option<Vec<u8>>,
    entries: BTreeMap<Serial, Option<u8>>,
}

fn read(crl: &PublishedCrl) -> Read {
    let der = crl.der.to_vec();
    let (rest, list) = CertificateRevocationList::from_der(&der).unwrap();
    assert!(rest.is_empty());
    let extension = |oid: &str| list.extensions().iter().find(|found| found.oid.to_id_string() == oid);
    let base = extension("2.5.29.27").map(|indicator| {
        assert!(indicator.critical);
        indicator.value[2..]
            .iter()
            .fold(0, |base, octet| base << 8 | u64::from(*octet))
    });
    let freshest = extension("2.5.29.46").map(|freshest| {
        assert!(!freshest.critical);
        freshest.value.to_vec()
    });
    let entries = list.iter_revoked_certificates().map(|entry| {
        let serial = Serial::from_der_content(entry.raw_serial()).unwrap();
        (serial, entry.reason_code().map(|(_, code)| code.0))
    });
    let entries: BTreeMap<_, _> = entries.collect();
    assert_eq!(entries.len() as u64, crl.entries);
    Read {
        number: crl.number,
        base,
        freshest,
        entries,
    }
}

/// What a base says with a delta put over it.
fn sum(base: &Read, delta: &Read) -> BTreeMap<Serial, Option<u8>> {
    assert!(delta.base.unwrap() <= base.number && base.number <= delta.number);
    let mut all = base.entries.clone();
    for (serial, reason) in &delta.entries {
        match reason {
            Some(8) => all.remove(serial),
            reason => all.insert(*serial, *reason),
        };
    }
    all
}

struct DeltaNode {
    node: Node,
    publisher: Arc<Publisher>,
}

impl DeltaNode {
    async fn new() -> Self {
        Self::on(Node::new().await).await
    }

    /// A publisher that has just started over a node's store.
    async fn on(node: Node) -> Self {
        let store: Arc<dyn Store> = node.store.clone();
        let publisher = Publisher::new(
            store,
            node.clock.clone(),
            Arc::default(),
            CrlSettings {
                delta: Some(SignedDuration::from_mins(10)),
                ..CrlSettings::default()
            },
            vec![(node.ca.id.clone(), node.ca.crl_issuer())],
        );
        Self {
            publisher: Arc::new(publisher.await.unwrap()),
            node,
        }
    }

    async fn restarted(self) -> Self {
        Self::on(self.node).await
    }

    async fn publish(&self, kind: CrlKind) {
        self.publisher.publish_kind(&self.node.ca.id, kind).await.unwrap();
    }

    fn complete(&self) -> Arc<PublishedCrl> {
        self.publisher.current(&self.node.ca.id).unwrap()
    }

    fn delta(&self) -> Arc<PublishedCrl> {
        self.publisher.current_delta(&self.node.ca.id).unwrap()
    }

    async fn revoked(&self, number: u128) {
        self.node.issue(number).await;
        self.node.revoke(number, Some(RevocationReason::Superseded)).await;
    }
}

#[tokio::test]
async fn base_and_delta_add_up_over_restarts_and_expiry() {
    let mut world = DeltaNode::new().await;
    world.publish(CrlKind::Complete).await;
    assert_eq!(read(&world.delta()).base, Some(world.complete().number));
    let mut bases: Vec<Arc<PublishedCrl>> = vec![world.complete()];
    for turn in 1..=12u128 {
        let soon = world.node.clock.now() + SignedDuration::from_secs(15);
        world
            .node
            .store
            .issue(&world.node.ca.id, serial(1000 + turn), soon)
            .await;
        world.node.revoke(1000 + turn, None).await;
        world.revoked(turn).await;
        // The reason of an earlier one is made graver.
        world
            .node
            .revoke(turn / 2 + 1, Some(RevocationReason::KeyCompromise))
            .await;
        world.node.clock.advance_seconds(10);
        if turn % 4 == 3 {
            world = world.restarted().await;
        }
        let kind = if turn % 3 == 0 {
            CrlKind::Complete
        } else {
            CrlKind::Delta
        };
        let before = world.delta().number;
        world.publish(kind).await;
        let (complete, delta) = (read(&world.complete()), read(&world.delta()));
        assert!(before < delta.number);
        assert_eq!(delta.freshest, None);
        assert!(complete.freshest.is_some() && complete.base.is_none());
        if kind == CrlKind::Complete {
            assert_eq!(complete.number, delta.number, "made together");
            assert_eq!(world.complete().this_update, world.delta().this_update);
        }
        let usable: Vec<_> = bases.iter().filter(|base| Some(base.number) >= delta.base).collect();
        assert!(
            usable.iter().any(|base| Some(base.number) == delta.base),
            "the base was published"
        );
        if kind == CrlKind::Complete {
            for base in usable {
                assert_eq!(sum(&read(base), &delta), complete.entries, "turn {turn}");
            }
            bases.push(world.complete());
        }
        for number in 1..=turn {
            assert!(
                sum(&complete, &delta).contains_key(&serial(number)),
                "turn {turn}: {number}"
            );
        }
    }
    assert!(
        !read(&world.complete()).entries.contains_key(&serial(1001)),
        "the expired have left"
    );
}

#[tokio::test]
async fn numbers_and_changes_go_on_after_a_restart() {
    let world = DeltaNode::new().await;
    world.publish(CrlKind::Complete).await;
    world.revoked(1).await;
    world.publish(CrlKind::Delta).await;
    let (base, number) = (world.complete().number, world.delta().number);
    let world = world.restarted().await;
    assert_eq!(world.delta().number, number);
    world.revoked(2).await;
    world.publish(CrlKind::Delta).await;
    let delta = read(&world.delta());
    assert!(delta.number > number && delta.base == Some(base));
    assert_eq!(
        delta.entries.keys().copied().collect::<Vec<_>>(),
        [serial(1), serial(2)]
    );
    assert_eq!(world.complete().number, base, "the complete one was left alone");
}

#[tokio::test]
async fn too_many_changes_make_a_complete_crl() {
    let world = DeltaNode::new().await;
    world.publish(CrlKind::Complete).await;
    let first = world.complete().number;
    for number in 1..=CHANGES_MAX as u128 + 1 {
        world.revoked(number).await;
    }
    world.publish(CrlKind::Delta).await;
    let delta = read(&world.delta());
    assert!(world.complete().number > first);
    assert_eq!(delta.base, Some(world.complete().number));
    assert_eq!(world.complete().entries, CHANGES_MAX as u64 + 1);
    assert_eq!(delta.entries.len(), 0);
}

#[tokio::test]
async fn openssl_judges_by_base_and_delta() {
    let world = DeltaNode::new().await;
    world.revoked(5).await;
    world.publish(CrlKind::Complete).await;
    world.revoked(6).await;
    world.publish(CrlKind::Delta).await;
    assert!(!read(&world.complete()).entries.contains_key(&serial(6)));
    let dir = tempfile::tempdir().unwrap();
    let pem = |crl: &PublishedCrl| crate::pem::block("X509 CRL", &crl.der.to_vec());
    let lists = [pem(&world.complete()), pem(&world.delta())].concat();
    let lists = file(dir.path(), "lists.pem", lists.as_bytes());
    let root = crate::pem::certificate(&world.node.ca.certificate);
    let root = file(dir.path(), "ca.pem", root.as_bytes());
    for (number, revoked) in [(5, true), (6, true), (7, false)] {
        let leaf = leaf_file(&world.node, number, dir.path());
        let (said, good) = openssl(&[
            "verify",
            "-crl_check",
            "-extended_crl",
            "-use_deltas",
            "-CRLfile",
            &lists,
            "-CAfile",
            &root,
            &leaf,
        ]);
        assert_eq!(good, !revoked, "{number}: {said}");
        assert_eq!(said.contains("certificate revoked"), revoked, "{number}: {said}");
    }
}

fn leaf_file(node: &Node, number: u128, dir: &Path) -> String {
    let leaf = node.ca.leaf(serial(number), node.clock.now());
    file(dir, &format!("{number}.pem"), crate::pem::certificate(&leaf).as_bytes())
}
