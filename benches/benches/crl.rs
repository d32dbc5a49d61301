//! CRLs: building a complete one of many entries, beside hashing and signing as many octets.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::SignedDuration;
use sigillo_benches::{
    authority::{Authority, now},
    primitive::{Primitive, Scheme},
    turns::runtime,
};
use sigillo_ca::{
    model::{Revocation, Serial},
    status::{CrlEntry, CrlIssuer, build_crl},
    store::embedded::SqliteStore,
};
use sigillo_protocol::x509::{key::KeyKind, reason::RevocationReason};

/// Set to anything, it adds the list of a million entries, which is not worth its time in every run.
const MILLION_VARIABLE: &str = "SIGILLO_BENCH_MILLION";

/// Makes entries with serials of full length, in order, of which every other one has a reason.
fn entries(count: u64) -> Vec<CrlEntry> {
    let at = now();
    let step = u128::MAX / u128::from(count + 1);
    (1..=count)
        .map(|place| CrlEntry {
            serial: Serial::from_bytes((u128::from(place) * step).to_be_bytes()),
            revocation: Revocation {
                at,
                reason: (place % 2 == 0).then_some(RevocationReason::Superseded),
                invalid_since: None,
            },
        })
        .collect()
}

fn crl(c: &mut Criterion) {
    let store = Arc::new(SqliteStore::open_in_memory().expect("a store in memory"));
    let authority = runtime().block_on(Authority::new(KeyKind::EcdsaP256, store));
    let url = authority.issuer.urls().crl.clone();
    let signer = authority.issuer.signer().clone();
    let issuer = CrlIssuer::from_certificate(&authority.issuer.certificate().der, signer, url).expect("a CRL issuer");
    let this_update = now();
    let next_update = this_update + SignedDuration::from_hours(24);

    let mut group = c.benchmark_group("crl");
    let mut sizes = vec![1_000, 100_000];
    if std::env::var_os(MILLION_VARIABLE).is_some() {
        sizes.push(1_000_000);
        group.sample_size(10);
    }
    for size in sizes {
        let entries = entries(size);
        let build = || build_crl(&issuer, 1, this_update, next_update, entries.iter().copied()).expect("a CRL");
        let primitive = Primitive::new(Scheme::EcdsaP256, build().len());
        group.bench_function(BenchmarkId::new("raw", size), |b| b.iter(|| primitive.sign()));
        group.bench_function(BenchmarkId::new("build", size), |b| b.iter(build));
    }
    group.finish();
}

criterion_group!(benches, crl);
criterion_main!(benches);
