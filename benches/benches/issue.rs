//! Issuing: each step and all of them, per kind of CA key, beside the bare signature and the bare waiting for a disk.

use std::sync::Arc;

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use sigillo_benches::{
    authority::{Authority, ask},
    place::{self, Journal},
    primitive::{Primitive, Scheme},
    request::certification_request,
    turns::{COMMITTERS, one_by_one, runtime, side_by_side},
};
use sigillo_ca::store::embedded::SqliteStore;
use sigillo_protocol::x509::key::KeyKind;
use tokio::runtime::Runtime;

/// Leaves have this key in all of these benchmarks: it is what clients make.
const LEAF: Scheme = Scheme::EcdsaP256;

fn issue(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("issue");
    for scheme in Scheme::AUTHORITIES {
        let store = Arc::new(SqliteStore::open_in_memory().expect("a store in memory"));
        let authority = runtime.block_on(Authority::new(scheme.key_kind(), store.clone()));
        let csr = certification_request(LEAF.key_kind());
        raw(&mut group, scheme, &authority, &csr);
        steps(&mut group, scheme, &runtime, &authority, &store, &csr);
        group.bench_function(BenchmarkId::new("full, store in memory", scheme), |b| {
            b.iter_custom(|times| {
                one_by_one(&runtime, times, async || {
                    authority.issue(&*store, &csr).await;
                })
            });
        });
    }
    group.finish();
}

/// The bare signature, and the cryptography that no step can go without: each signature is verified
/// before anybody sees it, and a request proves possession of its key.
fn raw(group: &mut BenchmarkGroup<'_, WallTime>, scheme: Scheme, authority: &Authority, csr: &[u8]) {
    let tbs = authority.prepare(ask(&authority.judge(csr))).record().tbs.len();
    let signing = Primitive::new(scheme, tbs);
    let proof = Primitive::new(LEAF, csr.len());
    group.bench_function(BenchmarkId::new("raw", scheme), |b| b.iter(|| signing.sign()));
    if scheme == Scheme::Ed25519 {
        let signing = Primitive::new(Scheme::Ed25519AwsLc, tbs);
        group.bench_function(BenchmarkId::new("raw aws-lc-rs", scheme), |b| b.iter(|| signing.sign()));
    }
    group.bench_function(BenchmarkId::new("floor sign", scheme), |b| {
        b.iter(|| (signing.sign(), signing.verify()));
    });
    group.bench_function(BenchmarkId::new("floor full", scheme), |b| {
        b.iter(|| (proof.verify(), signing.sign(), signing.verify()));
    });
}

fn steps(
    group: &mut BenchmarkGroup<'_, WallTime>,
    scheme: Scheme,
    runtime: &Runtime,
    authority: &Authority,
    store: &SqliteStore,
    csr: &[u8],
) {
    let request = ask(&authority.judge(csr));
    group.bench_function(BenchmarkId::new("prepare", scheme), |b| {
        b.iter_batched(
            || request.clone(),
            |request| authority.prepare(request),
            BatchSize::SmallInput,
        );
    });
    let prepared = authority.prepare(request);
    group.bench_function(BenchmarkId::new("lint", scheme), |b| {
        b.iter_batched(
            || prepared.clone(),
            |prepared| prepared.lint().expect("the encoding passes its lint"),
            BatchSize::SmallInput,
        );
    });
    let recorded = runtime
        .block_on(authority.decide(csr).record_alone(store))
        .expect("the intention is recorded");
    let sign = |recorded: sigillo_ca::issuer::Recorded| recorded.sign(&authority.issuer).expect("the key signs");
    group.bench_function(BenchmarkId::new("sign", scheme), |b| {
        b.iter_batched(|| recorded.clone(), sign, BatchSize::SmallInput);
    });
    // What is signed was recorded before, since the type allows nothing else; it is of the same form.
    group.bench_function(BenchmarkId::new("full", scheme), |b| {
        b.iter_batched(
            || recorded.clone(),
            |recorded| (authority.decide(csr), sign(recorded)),
            BatchSize::SmallInput,
        );
    });
}

fn durable(c: &mut Criterion) {
    let runtime = runtime();
    let folder = place::folder(env!("CARGO_TARGET_TMPDIR"));
    let mut group = c.benchmark_group("issue durably");
    let mut journal = Journal::new(folder.path());
    group.bench_function("raw", |b| b.iter(|| journal.append()));
    for committers in COMMITTERS {
        let path = folder.path().join(format!("{committers}/store.db"));
        let store = Arc::new(SqliteStore::open(path).expect("a store in a file"));
        let authority = Arc::new(runtime.block_on(Authority::new(KeyKind::EcdsaP256, store.clone())));
        let csr: Arc<[u8]> = certification_request(LEAF.key_kind()).into();
        let work = move || {
            let (authority, store, csr) = (authority.clone(), store.clone(), csr.clone());
            async move {
                authority.issue(&*store, &csr).await;
            }
        };
        group.bench_function(BenchmarkId::new("full", committers), |b| {
            b.iter_custom(|times| side_by_side(&runtime, committers, times, work.clone()));
        });
    }
    group.finish();
}

criterion_group!(benches, issue, durable);
criterion_main!(benches);
