//! Heads, proofs and histories, on a store in memory and on one that is put back.

use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use sigillo_protocol::{
    transparency::{
        merkle::{leaf_hash, verify_consistency, verify_inclusion},
        note::cosignature_message,
        proof::parse_hashes,
        tile::{Content, Tile},
    },
    x509::key::KeyKind as CaKeyKind,
};

use super::*;
use crate::{
    clock::SystemClock,
    model::{Action, Actor, AuditEvent},
    signer::{PrivateKey, SoftwareSigner},
    store::{Batch, embedded::SqliteStore},
};

fn parts(store: Arc<dyn Store>, folder: Option<PathBuf>, signer: &SharedSigner) -> NotaryParts {
    NotaryParts {
        store,
        clock: Arc::new(SystemClock),
        signer: signer.clone(),
        name: "ca.example/log".into(),
        witnesses: vec![witness()],
        gather: Duration::from_millis(10),
        folder,
    }
}

fn log_key() -> SharedSigner {
    let key = PrivateKey::generate(CaKeyKind::Ed25519).unwrap();
    Arc::new(SoftwareSigner::new(&key).unwrap())
}

fn witness_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn witness() -> VerifierKey {
    let key = witness_key().verifying_key().to_bytes();
    VerifierKey::new("witness.example", KeyKind::Cosignature, key).unwrap()
}

async fn tell(store: &dyn Store, count: u64) {
    for at in 0..count {
        let event = AuditEvent {
            at: SystemClock.now(),
            actor: Actor::System("test".into()),
            action: Action::KeyBlocked,
            subject: format!("{at}"),
            detail: serde_json::Value::Null,
        };
        store.commit(Batch::new(event)).await.unwrap();
    }
}

use crate::clock::Clock as _;

#[tokio::test]
async fn heads_are_consistent_and_every_entry_is_in_its_tile() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open_in_memory().unwrap());
    let notary = Notary::open(parts(store.clone(), None, &log_key())).await.unwrap();
    let mut heads = vec![Checkpoint::signed(&notary.checkpoint(), notary.key()).unwrap()];
    for count in [1, 2, 252, 1, 1, 255, 8] {
        tell(&*store, count).await;
        notary.sign_now().await.unwrap();
        heads.push(Checkpoint::signed(&notary.checkpoint(), notary.key()).unwrap());
    }
    let last = heads.last().unwrap().clone();
    assert_eq!(last.size, 520);
    for old in &heads {
        let proof = notary.prove_consistency(old.size, last.size).await.unwrap();
        let proof = parse_hashes(&proof).unwrap();
        assert!(
            verify_consistency((old.size, &old.root), (last.size, &last.root), &proof),
            "{}",
            old.size
        );
    }
    for index in [0_u64, 1, 255, 256, 511, 512, 519] {
        let ranges = sigillo_protocol::transparency::merkle::inclusion_ranges(index, last.size);
        let state = store.log_state().await.unwrap();
        let proof = nodes::roots_of(&*store, &state, &ranges).await.unwrap().unwrap();
        let entry = store.log_entries(index, 1).await.unwrap()[0];
        let leaf = leaf_hash(&entry);
        assert!(verify_inclusion(&leaf, index, last.size, &proof, &last.root), "{index}");
        let (tile, width) = (index / 256, if index < 512 { 256 } else { 8 });
        let wanted = |content| Tile {
            content,
            index: tile,
            width,
        };
        let at = (index % 256) as usize;
        let hashes = notary.tile(wanted(Content::Hashes(0))).await.unwrap().octets;
        assert_eq!(hashes[at * 32..][..32], leaf);
        let entries = notary.tile(wanted(Content::Entries)).await.unwrap().octets;
        assert_eq!(entries[at * 34..][..2], [0, 32]);
        assert_eq!(entries[at * 34 + 2..][..32], entry);
    }
    let beyond = Tile {
        content: Content::Hashes(0),
        index: 2,
        width: 9,
    };
    assert!(matches!(notary.tile(beyond).await, Err(ProofError::NotFound)));
    assert!(matches!(
        notary.prove_consistency(1, 521).await,
        Err(ProofError::NotFound)
    ));
}

#[tokio::test]
async fn a_head_survives_a_restart_with_its_cosignatures() {
    let folder = tempfile::tempdir().unwrap();
    let key = log_key();
    let open = || async {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("db")).unwrap());
        Notary::open(parts(store, Some(folder.path().to_owned()), &key))
            .await
            .unwrap()
    };
    let notary = open().await;
    tell(&*notary.parts.store, 3).await;
    notary.sign_now().await.unwrap();
    let text = notary.current().note.text.clone();
    let time = 1_700_000_000_u64;
    let mut signature = time.to_be_bytes().to_vec();
    signature.extend(
        witness_key()
            .sign(cosignature_message(time, &text).as_bytes())
            .to_bytes(),
    );
    let line = witness().line(&signature).to_string();
    assert_eq!(notary.cosign(&line).await.unwrap(), 1);
    signature[10] ^= 1;
    let forged = witness().line(&signature).to_string();
    assert!(matches!(notary.cosign(&forged).await, Err(NotaryError::NoCosignature)));
    let before = notary.checkpoint();
    assert!(before.contains(&line));
    drop(notary);
    let again = open().await;
    assert_eq!(again.checkpoint(), before);
    assert_eq!(
        again.parts.store.log_state().await.unwrap().size,
        3,
        "no event is added by a start"
    );
}

#[tokio::test]
async fn a_store_that_is_put_back_goes_on_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let (db, copy) = (folder.path().join("db"), folder.path().join("copy"));
    let key = log_key();
    let open = || async {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&db).unwrap());
        Notary::open(parts(store, Some(folder.path().to_owned()), &key))
            .await
            .unwrap()
    };
    let notary = open().await;
    tell(&*notary.parts.store, 2).await;
    notary.parts.store.backup(&copy).await.unwrap();
    tell(&*notary.parts.store, 2).await;
    notary.sign_now().await.unwrap();
    let first = notary.key().clone();
    drop(notary);

    // By hand, without restore: the same epoch, less than was signed.
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", db.display()));
    }
    std::fs::copy(&copy, &db).unwrap();
    let second = open().await;
    assert_ne!(second.key().name(), first.name());
    let told = second.parts.store.audit(2, 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].event.action, Action::LogRestarted);
    assert_eq!(told[0].event.detail["continued"], false);
    let name = second.key().name().to_owned();
    drop(second);
    let third = open().await;
    assert_eq!(third.key().name(), name);
    assert_eq!(third.size(), 3, "and it is told once");
}
