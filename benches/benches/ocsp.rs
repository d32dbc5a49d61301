//! OCSP: reading a request, giving out a ready-made answer, and signing a fresh one with a nonce.

use std::{collections::HashMap, hint::black_box, path::PathBuf, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use const_oid::db::{rfc5912::ID_SHA_1, rfc6960::ID_PKIX_OCSP_NONCE};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use der::{
    Decode, Encode,
    asn1::{Null, OctetString},
};
use sigillo_benches::{
    authority::Authority,
    place,
    primitive::{Primitive, Scheme},
    request::certification_request,
    turns::{one_by_one, runtime},
};
use sigillo_ca::{
    clock::SystemClock,
    model::Serial,
    status::{CrlSettings, OcspIssuer, OcspRequest, OcspSettings, Reply, Responder, StatusParts, StatusService},
    store::{Store, embedded::SqliteStore},
};
use sigillo_protocol::x509::key::KeyKind;
use tokio::{runtime::Runtime, sync::watch};
use x509_cert::{Certificate, ext::Extension, serial_number::SerialNumber, spki::AlgorithmIdentifierOwned};
use x509_ocsp::{CertId, OcspRequest as Message, Request, TbsRequest, Version};

/// The length that RFC 9654 section 2.1 recommends.
const NONCE_OCTETS: usize = 32;

/// What a response with a nonce signs, roughly: it only decides how many octets the raw signature hashes.
const RESPONSE_DATA_OCTETS: usize = 220;

/// How long the follower gets to build its index of a handful of records: it takes milliseconds.
const INDEX_SETTLES: Duration = Duration::from_secs(1);

/// Asks about one certificate, naming the issuer by SHA-1 as most clients do.
fn request(issuer_der: &[u8], serial: Serial, with_nonce: bool) -> Vec<u8> {
    let issuer = Certificate::from_der(issuer_der)
        .expect("a certificate")
        .tbs_certificate;
    let hash = |octets: &[u8]| {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, octets);
        OctetString::new(hash.as_ref()).expect("a hash is short")
    };
    let cert_id = CertId {
        hash_algorithm: AlgorithmIdentifierOwned {
            oid: ID_SHA_1,
            parameters: Some(Null.into()),
        },
        issuer_name_hash: hash(&issuer.subject.to_der().expect("a name is encoded")),
        issuer_key_hash: hash(issuer.subject_public_key_info.subject_public_key.raw_bytes()),
        serial_number: SerialNumber::new(&serial.to_der_content()).expect("a serial is short"),
    };
    let nonce = OctetString::new([0xa5; NONCE_OCTETS]).and_then(|octets| OctetString::new(octets.to_der()?));
    let nonce = Extension {
        extn_id: ID_PKIX_OCSP_NONCE,
        critical: false,
        extn_value: nonce.expect("a nonce is short"),
    };
    let message = Message {
        tbs_request: TbsRequest {
            version: Version::V1,
            requestor_name: None,
            request_list: vec![Request {
                req_cert: cert_id,
                single_request_extensions: None,
            }],
            request_extensions: with_nonce.then(|| vec![nonce]),
        },
        optional_signature: None,
    };
    message.to_der().expect("a request is encoded")
}

/// A responder over a store that knows one certificate.
struct Node {
    service: Arc<StatusService>,
    plain: Vec<u8>,
    with_nonce: Vec<u8>,
    /// Held so that the follower goes on.
    _shutdown: watch::Sender<bool>,
}

impl Node {
    async fn new(kind: KeyKind, store: Arc<dyn Store>, index_dir: Option<PathBuf>) -> Self {
        let authority = Authority::new(kind, store.clone()).await;
        let serial = authority
            .issue(&*store, &certification_request(KeyKind::EcdsaP256))
            .await;
        let certificate = authority.issuer.certificate();
        let responder =
            Responder::new(&authority.responder_der, authority.responder_key.clone(), false).expect("a responder");
        let issuer = OcspIssuer::new(certificate.id.clone(), &certificate.der, responder).expect("an issuer");
        let has_index = index_dir.is_some();
        let parts = StatusParts {
            ocsp_issuers: vec![issuer],
            ocsp: OcspSettings::default(),
            crl_issuers: Vec::new(),
            crl: CrlSettings::default(),
            index_dir,
        };
        let service = StatusService::open(store, Arc::new(SystemClock), parts)
            .await
            .expect("the store is read");
        let (shutdown, told) = watch::channel(false);
        let follower = service.clone();
        tokio::spawn(async move { follower.run(told).await });
        if has_index {
            tokio::time::sleep(INDEX_SETTLES).await;
        }
        Self {
            service,
            plain: request(&certificate.der, serial, false),
            with_nonce: request(&certificate.der, serial, true),
            _shutdown: shutdown,
        }
    }

    async fn answer(&self, request: &[u8]) -> Reply {
        let reply = self.service.ocsp().answer(black_box(request)).await;
        assert!(matches!(reply, Reply::Answer(_)), "{reply:?}");
        reply
    }
}

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
