//! Certification requests: reading them, and judging proof of possession, key and names, beside the bare verification.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sigillo_benches::{
    primitive::{Primitive, Scheme},
    request::certification_request,
};
use sigillo_protocol::x509::{csr::ParsedCsr, key::KeyPolicy};

/// What a request holds besides what is signed: algorithm, signature and headers of P-256, roughly.
/// It only decides how many octets the raw verification hashes.
const UNSIGNED_OCTETS: usize = 90;

fn csr(c: &mut Criterion) {
    let mut group = c.benchmark_group("csr");
    let policy = KeyPolicy::default();
    for scheme in Scheme::AUTHORITIES {
        let der = certification_request(scheme.key_kind());
        let primitive = Primitive::new(scheme, der.len().saturating_sub(UNSIGNED_OCTETS));
        group.bench_function(BenchmarkId::new("raw", scheme), |b| b.iter(|| primitive.verify()));
        group.bench_function(BenchmarkId::new("parse", scheme), |b| {
            b.iter(|| ParsedCsr::from_der(black_box(&der)).expect("the request is well formed"));
        });
        group.bench_function(BenchmarkId::new("parse and check", scheme), |b| {
            b.iter(|| {
                let parsed = ParsedCsr::from_der(black_box(&der)).expect("the request is well formed");
                parsed.check(&policy).expect("the request is good")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, csr);
criterion_main!(benches);
