//! CRLs: building a complete one of many entries, beside rcgen and beside hashing and signing as many octets; and what one
//! more revocation costs where there are many.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use sigillo_benches::{
    authority::{Authority, now},
    primitive::{Primitive, Scheme},
    turns::runtime,
};
use sigillo_ca::{
    clock::SystemClock,
    model::{Action, Actor, AuditEvent, Certificate, CertificateState, CrlKind, Revocation, Serial, Version},
    status::{CrlEntry, CrlIssuer, CrlSettings, Publisher, build_crl},
    store::{Batch, Change, Store, embedded::SqliteStore},
};
use sigillo_protocol::x509::{key::KeyKind, reason::RevocationReason};

/// Set to anything, it adds the list of a million entries, which is not worth its time in every run.
const MILLION_VARIABLE: &str = "SIGILLO_BENCH_MILLION";

/// How many certificates are written to the store at once.
const PORTION: usize = 5_000;

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

fn sizes() -> Vec<u64> {
    let mut sizes = vec![1_000, 100_000];
    if std::env::var_os(MILLION_VARIABLE).is_some() {
        sizes.push(1_000_000);
    }
    sizes
}

fn crl_issuer(authority: &Authority) -> CrlIssuer {
    let url = authority.issuer.urls().crl.clone();
    let signer = authority.issuer.signer().clone();
    CrlIssuer::from_certificate(&authority.issuer.certificate().der, signer, url).expect("a CRL issuer")
}

/// An issuer of rcgen's with a key of the same kind.
fn rcgen_issuer() -> rcgen::Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    rcgen::Issuer::new(params, KeyPair::generate().expect("a key"))
}

/// Builds the same list with rcgen, from entries to DER.
fn by_rcgen(issuer: &rcgen::Issuer<'_, KeyPair>, url: &str, entries: &[CrlEntry]) -> usize {
    let at: std::time::SystemTime = now().into();
    let until: std::time::SystemTime = (now() + SignedDuration::from_hours(24)).into();
    let revoked = |entry: &CrlEntry| {
        let time: std::time::SystemTime = entry.revocation.at.into();
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(&entry.serial.to_der_content()),
            revocation_time: time.into(),
            reason_code: entry.revocation.reason.map(|_| rcgen::RevocationReason::Superseded),
            invalidity_date: None,
        }
    };
    let params = CertificateRevocationListParams {
        this_update: at.into(),
        next_update: until.into(),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![url.to_owned()],
            },
            scope: None,
        }),
        revoked_certs: entries.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect("a CRL").der().len()
}

fn build(c: &mut Criterion) {
    let store = Arc::new(SqliteStore::open_in_memory().expect("a store in memory"));
    let authority = runtime().block_on(Authority::new(KeyKind::EcdsaP256, store));
    let issuer = crl_issuer(&authority);
    let peer = rcgen_issuer();
    let this_update = now();
    let next_update = this_update + SignedDuration::from_hours(24);
    let mut group = c.benchmark_group("crl");
    group.sample_size(10);
    for size in sizes() {
        let entries = entries(size);
        let build = || build_crl(&issuer, 1, this_update, next_update, entries.iter().copied()).expect("a CRL");
        let primitive = Primitive::new(Scheme::EcdsaP256, build().len());
        group.bench_function(BenchmarkId::new("raw", size), |b| b.iter(|| primitive.sign()));
        group.bench_function(BenchmarkId::new("build", size), |b| b.iter(build));
        group.bench_function(BenchmarkId::new("rcgen", size), |b| {
            b.iter(|| by_rcgen(&peer, &issuer.distribution_point_url, &entries));
        });
    }
    group.finish();
}

fn event() -> AuditEvent {
    AuditEvent {
        at: now(),
        actor: Actor::System("bench".to_owned()),
        action: Action::CertificateRevoked,
        subject: "bench".to_owned(),
        detail: serde_json::Value::Null,
    }
}

fn revoked(authority: &Authority, entry: &CrlEntry) -> Certificate {
    Certificate {
        serial: entry.serial,
        version: Version::NEW,
        issuer: authority.issuer.id().clone(),
        account: None,
        order: None,
        profile: "bench".to_owned(),
        names: Vec::new(),
        subject: String::new(),
        not_before: now(),
        not_after: now() + SignedDuration::from_hours(24 * 90),
        spki_sha256: [0; 32],
        tbs: Vec::new(),
        state: CertificateState::Revoked {
            der: Vec::new(),
            revocation: entry.revocation,
        },
        created: now(),
        replaced_by: None,
        renew_from: None,
    }
}

/// One more revocation, committed, and published with a delta: the list that it joins has more and more entries.
fn one_more(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("crl");
    group.sample_size(10);
    for size in sizes() {
        let store = Arc::new(SqliteStore::open_in_memory().expect("a store in memory"));
        let authority = runtime.block_on(Authority::new(KeyKind::EcdsaP256, store.clone()));
        let entries = entries(size);
        for portion in entries.chunks(PORTION) {
            let batch = portion.iter().fold(Batch::new(event()), |batch, entry| {
                batch.with(Change::Certificate(revoked(&authority, entry)))
            });
            runtime.block_on(store.commit(batch)).expect("a portion");
        }
        let id = authority.issuer.id().clone();
        let publisher = runtime.block_on(Publisher::new(
            store.clone(),
            Arc::new(SystemClock),
            Arc::default(),
            CrlSettings {
                delta: Some(SignedDuration::from_hours(1)),
                ..CrlSettings::default()
            },
            vec![(id.clone(), crl_issuer(&authority))],
        ));
        let publisher = publisher.expect("a publisher");
        runtime.block_on(publisher.publish(&id)).expect("the first CRL");
        let serial = entries[entries.len() / 2].serial;
        let publish = async || {
            // The same certificate again with another reason, so that the delta has one entry however often this runs.
            let mut certificate = store.certificate(serial).await.expect("a read").expect("a certificate");
            if let CertificateState::Revoked { revocation, .. } = &mut certificate.state {
                revocation.reason = match revocation.reason {
                    Some(RevocationReason::KeyCompromise) => Some(RevocationReason::Superseded),
                    _ => Some(RevocationReason::KeyCompromise),
                };
            }
            let batch = Batch::new(event()).with(Change::Certificate(certificate));
            store.commit(batch).await.expect("a revocation");
            publisher.publish_kind(&id, CrlKind::Delta).await.expect("a delta");
        };
        group.bench_function(BenchmarkId::new("one-more-delta", size), |b| {
            b.iter(|| runtime.block_on(publish()));
        });
        let shown = publisher.current_delta(&id).expect("a delta");
        assert_eq!(shown.entries, 1, "the delta shows the revocation");
    }
    group.finish();
}

criterion_group!(benches, build, one_more);
criterion_main!(benches);
