//! Signed requests: reading and verifying a JWS, per algorithm, beside the bare verification.

use std::hint::black_box;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sigillo_benches::primitive::{Primitive, PssAccount, Scheme};
use sigillo_protocol::jose::{Algorithm, JwsSigner, SignWith, SigningKey, UnverifiedJws, jws};

const URL: &str = "https://ca.example.test:9443/acme/new-order";
const KID: &str = "https://ca.example.test:9443/acme/account/AAAAAAAAAAAAAAAAAAAAAA";
const NONCE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const PAYLOAD: &[u8] =
    br#"{"identifiers":[{"type":"dns","value":"example.test"},{"type":"dns","value":"www.example.test"}]}"#;

fn account(algorithm: Algorithm) -> Box<dyn JwsSigner> {
    let random = SystemRandom::new();
    let pkcs8 = match algorithm {
        Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map(|document| document.as_ref().to_vec()),
        Algorithm::Es384 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random)
            .map(|document| document.as_ref().to_vec()),
        Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).map(|document| document.as_ref().to_vec()),
        Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).and_then(|key| {
            let document: Pkcs8V1Der<'_> = key.as_der()?;
            Ok(document.as_ref().to_vec())
        }),
        Algorithm::Ps256 => return Box::new(PssAccount::generate()),
    };
    let key = SigningKey::from_pkcs8(&pkcs8.expect("a key is made")).expect("a new key passes the policy");
    Box::new(key)
}

fn scheme(algorithm: Algorithm) -> Scheme {
    match algorithm {
        Algorithm::Es256 => Scheme::EcdsaP256,
        Algorithm::Es384 => Scheme::EcdsaP384,
        Algorithm::EdDsa => Scheme::Ed25519,
        Algorithm::Rs256 => Scheme::Rsa2048,
        Algorithm::Ps256 => Scheme::RsaPss2048,
    }
}

/// The length of what is signed: header, dot and payload in base64url.
fn signed_octets(body: &str) -> usize {
    let member = |name: &str| {
        let start = body.find(name).expect("a flattened JWS has the member") + name.len();
        body[start..].find('"').expect("the member is a string")
    };
    member("\"protected\":\"") + 1 + member("\"payload\":\"")
}

fn jws(c: &mut Criterion) {
    let mut group = c.benchmark_group("jws");
    for algorithm in Algorithm::ALL {
        let account = account(algorithm);
        let sign = |with| jws::sign(&*account, Some(NONCE), URL, with, PAYLOAD).expect("the account's key signs");
        let (by_kid, by_jwk) = (sign(SignWith::Kid(KID)), sign(SignWith::Jwk));
        let key = account.jwk();

        let primitive = Primitive::new(scheme(algorithm), signed_octets(&by_kid));
        group.bench_function(BenchmarkId::new("raw", algorithm), |b| b.iter(|| primitive.verify()));
        if algorithm == Algorithm::EdDsa {
            let primitive = Primitive::new(Scheme::Ed25519AwsLc, signed_octets(&by_kid));
            group.bench_function(BenchmarkId::new("raw aws-lc-rs", algorithm), |b| {
                b.iter(|| primitive.verify());
            });
        }
        group.bench_function(BenchmarkId::new("parse", algorithm), |b| {
            b.iter(|| UnverifiedJws::parse(black_box(by_kid.as_bytes())).expect("the JWS is well formed"));
        });
        group.bench_function(BenchmarkId::new("parse and verify", algorithm), |b| {
            b.iter(|| {
                let parsed = UnverifiedJws::parse(black_box(by_kid.as_bytes())).expect("the JWS is well formed");
                parsed.verify(key).expect("the signature is good")
            });
        });
        group.bench_function(BenchmarkId::new("parse and verify, key in header", algorithm), |b| {
            b.iter(|| {
                let parsed = UnverifiedJws::parse(black_box(by_jwk.as_bytes())).expect("the JWS is well formed");
                parsed.verify_embedded().expect("the signature is good")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, jws);
criterion_main!(benches);
