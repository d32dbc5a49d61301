//! OCSP: reading a request, giving out a ready-made answer, and signing a fresh one with a nonce.

use std::{collections::HashMap, hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use der::Decode;
use sigillo_benches::{
    place,
    primitive::{Primitive, Scheme},
    responder::Node,
    turns::{one_by_one, runtime},
};
use sigillo_ca::{
    status::{OcspRequest, Reply},
    store::embedded::SqliteStore,
};
use tokio::runtime::Runtime;
use x509_ocsp::OcspRequest as Message;

/// What a response with a nonce signs, roughly: it only decides how many octets the raw signature hashes.
const RESPONSE_DATA_OCTETS: usize = 220;

fn parse(c: &mut Criterion, node: &Node) {
    let mut group = c.benchmark_group("ocsp request");
    for (what, octets) in [("plain", &node.plain), ("nonce", &node.with_nonce)] {
        group.bench_function(BenchmarkId::new("raw", what), |b| {
            b.iter(|| Message::from_der(black_box(octets)).expect("the request is well formed"));
        });
        group.bench_function(BenchmarkId::new("parse", what), |b| {
            b.iter(|| OcspRequest::from_der(black_box(octets)).expect("the request is well formed"));
        });
    }
    group.finish();
}

/// A ready-made answer beside the least that any server could do: find octets by the request's octets.
fn cached(c: &mut Criterion, runtime: &Runtime, node: &Node) {
    let Reply::Answer(answer) = runtime.block_on(node.answer(&node.plain)) else {
        unreachable!("`answer` checks it");
    };
    let octets: Arc<[u8]> = answer.der.to_vec().into();
    let answers: HashMap<Box<[u8]>, Arc<[u8]>> = HashMap::from([(node.plain.clone().into(), octets)]);
    let mut group = c.benchmark_group("ocsp ready-made");
    group.bench_function("raw", |b| {
        b.iter(|| {
            answers
                .get(black_box(node.plain.as_slice()))
                .expect("the answer is there")
                .clone()
        });
    });
    group.bench_function("answer", |b| {
        b.iter_custom(|times| {
            one_by_one(runtime, times, async || {
                black_box(node.answer(&node.plain).await);
            })
        });
    });
    group.finish();
}

fn fresh(c: &mut Criterion, runtime: &Runtime, stage: &str, scheme: Scheme, node: &Node) {
    let mut group = c.benchmark_group("ocsp fresh");
    group.bench_function(BenchmarkId::new(stage, scheme), |b| {
        b.iter_custom(|times| {
            one_by_one(runtime, times, async || {
                black_box(node.answer(&node.with_nonce).await);
            })
        });
    });
    group.finish();
}

fn raw(c: &mut Criterion, scheme: Scheme) {
    let primitive = Primitive::new(scheme, RESPONSE_DATA_OCTETS);
    let mut group = c.benchmark_group("ocsp fresh");
    group.bench_function(BenchmarkId::new("raw", scheme), |b| b.iter(|| primitive.sign()));
    group.finish();
}

fn ocsp(c: &mut Criterion) {
    let runtime = runtime();
    let folder = place::folder(env!("CARGO_TARGET_TMPDIR"));
    for scheme in Scheme::AUTHORITIES {
        let place = folder.path().join(scheme.to_string());
        let store = |name| Arc::new(SqliteStore::open(place.join(name)).expect("a store in a file"));
        let indexed = Node::new(scheme.key_kind(), store("indexed.db"), Some(place.join("index")));
        let indexed = runtime.block_on(indexed);
        if scheme == Scheme::EcdsaP256 {
            parse(c, &indexed);
            cached(c, &runtime, &indexed);
        }
        raw(c, scheme);
        fresh(c, &runtime, "answer with nonce", scheme, &indexed);
        let bare = runtime.block_on(Node::new(scheme.key_kind(), store("bare.db"), None));
        fresh(c, &runtime, "answer with nonce, no index", scheme, &bare);
    }
}

criterion_group!(benches, ocsp);
criterion_main!(benches);
