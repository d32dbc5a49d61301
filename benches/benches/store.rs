//! The store: commits by one and by many at once beside a page that waits for the disk, and reads beside a bare query.

use std::{path::Path, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rusqlite::{Connection, params};
use sigillo_benches::{
    authority::{Authority, ask, now},
    place::{self, Journal},
    request::certification_request,
    turns::{COMMITTERS, one_by_one, runtime, side_by_side},
};
use sigillo_ca::{
    model::{Action, Actor, AuditEvent, Certificate, CertificateState, Serial},
    store::{Batch, Change, Store, embedded::SqliteStore},
};
use sigillo_protocol::x509::key::KeyKind;

/// How many certificates a store holds that is read from: enough for an index of several levels.
const CERTIFICATES: usize = 20_000;

/// How many of them are written in one batch.
const BATCH: usize = 1000;

fn event() -> AuditEvent {
    AuditEvent {
        at: now(),
        actor: Actor::System("bench".to_owned()),
        action: Action::CertificateIssued,
        subject: "bench".to_owned(),
        detail: Default::default(),
    }
}

/// Makes the record of a certificate as it is before it is signed, to be written under new serials.
async fn intended(store: Arc<dyn Store>) -> Certificate {
    let authority = Authority::new(KeyKind::EcdsaP256, store).await;
    let csr = authority.judge(&certification_request(KeyKind::EcdsaP256));
    authority.prepare(ask(&csr)).record().clone()
}

fn with_new_serial(certificate: &Certificate) -> Certificate {
    Certificate {
        serial: Serial::random(),
        ..certificate.clone()
    }
}

fn commit(c: &mut Criterion) {
    let runtime = runtime();
    let folder = place::folder(env!("CARGO_TARGET_TMPDIR"));
    let mut group = c.benchmark_group("store commit");
    let mut journal = Journal::new(folder.path());
    group.bench_function("raw", |b| b.iter(|| journal.append()));

    let bench = |store: SqliteStore| {
        let store = Arc::new(store);
        let certificate = Arc::new(runtime.block_on(intended(store.clone())));
        move || {
            let (store, certificate) = (store.clone(), certificate.clone());
            async move {
                let batch = Batch::new(event()).with(Change::Certificate(with_new_serial(&certificate)));
                store.commit(batch).await.expect("the batch is committed");
            }
        }
    };
    let work = bench(SqliteStore::open_in_memory().expect("a store in memory"));
    group.bench_function(BenchmarkId::new("commit, store in memory", 1), |b| {
        b.iter_custom(|times| side_by_side(&runtime, 1, times, work.clone()));
    });
    for committers in COMMITTERS {
        let path = folder.path().join(format!("{committers}/store.db"));
        let work = bench(SqliteStore::open(path).expect("a store in a file"));
        group.bench_function(BenchmarkId::new("commit", committers), |b| {
            b.iter_custom(|times| side_by_side(&runtime, committers, times, work.clone()));
        });
    }
    group.finish();
}

/// The same octets under the same keys in a table of their own, read by a prepared statement.
fn bare_table(path: &Path, serials: &[Serial], octets: &[u8]) -> Connection {
    let mut connection = Connection::open(path).expect("a database");
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE bare (serial BLOB PRIMARY KEY, octets BLOB NOT NULL)")
        .expect("a table is made");
    let transaction = connection.transaction().expect("a transaction");
    for serial in serials {
        transaction
            .prepare_cached("INSERT INTO bare VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![serial.as_bytes(), octets]))
            .expect("a row is written");
    }
    transaction.commit().expect("the rows are committed");
    connection
}

fn read(c: &mut Criterion) {
    let runtime = runtime();
    let folder = place::folder(env!("CARGO_TARGET_TMPDIR"));
    let store = Arc::new(SqliteStore::open(folder.path().join("store.db")).expect("a store in a file"));
    let mut certificate = runtime.block_on(intended(store.clone()));
    // What was to be signed stands for the signed whole: nobody parses it here, and its size is about right.
    certificate.state = CertificateState::Issued {
        der: certificate.tbs.clone(),
    };
    let certificates: Vec<_> = (0..CERTIFICATES).map(|_| with_new_serial(&certificate)).collect();
    let serials: Vec<_> = certificates.iter().map(|certificate| certificate.serial).collect();
    for some in certificates.chunks(BATCH) {
        let batch = some
            .iter()
            .cloned()
            .map(Change::Certificate)
            .fold(Batch::new(event()), Batch::with);
        runtime.block_on(store.commit(batch)).expect("the batch is committed");
    }
    let octets = [certificate.tbs.as_slice(), certificate.tbs.as_slice()].concat();
    let bare = bare_table(&folder.path().join("bare.db"), &serials, &octets);

    // A stride that shares no factor with the number of certificates visits all of them, far apart.
    const STRIDE: usize = 7919;
    let place = std::cell::Cell::new(0);
    let next = || {
        place.set((place.get() + STRIDE) % CERTIFICATES);
        serials[place.get()]
    };
    let mut group = c.benchmark_group("store read");
    group.bench_function("raw", |b| {
        b.iter(|| {
            bare.prepare_cached("SELECT octets FROM bare WHERE serial = ?1")
                .and_then(|mut select| select.query_row([next().as_bytes()], |row| row.get::<_, Vec<u8>>(0)))
                .expect("the row is there")
        });
    });
    group.bench_function("certificate", |b| {
        b.iter_custom(|times| {
            one_by_one(&runtime, times, async || {
                let found = store.certificate(next()).await.expect("the store is read");
                assert!(found.is_some());
            })
        });
    });
    group.bench_function("status", |b| {
        b.iter_custom(|times| {
            one_by_one(&runtime, times, async || {
                let found = store.status(next()).await.expect("the store is read");
                assert!(found.is_some());
            })
        });
    });
    group.finish();
}

criterion_group!(benches, commit, read);
criterion_main!(benches);
