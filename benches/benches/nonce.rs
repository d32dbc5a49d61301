//! Replay nonces: one minted and used up, beside the two AES blocks that this takes.

use std::hint::black_box;

use aws_lc_rs::cipher::{AES_256, AES_256_KEY_LEN, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sigillo_ca::front::Nonces;

fn nonce(c: &mut Criterion) {
    let key = || UnboundCipherKey::new(&AES_256, &[7; AES_256_KEY_LEN]).expect("the key has the cipher's length");
    let seal = EncryptingKey::ecb(key()).expect("AES-256 has a block mode");
    let open = DecryptingKey::ecb(key()).expect("AES-256 has a block mode");
    let nonces = Nonces::new();

    let mut group = c.benchmark_group("nonce");
    group.bench_function(BenchmarkId::new("raw", "AES-256"), |b| {
        b.iter(|| {
            let mut block = black_box([0; 16]);
            seal.encrypt(&mut block).expect("a whole block is enciphered");
            open.decrypt(&mut block, DecryptionContext::None)
                .expect("a whole block is deciphered");
            block
        });
    });
    group.bench_function(BenchmarkId::new("mint and redeem", "AES-256"), |b| {
        b.iter(|| assert!(nonces.redeem(&nonces.mint())));
    });
    group.finish();
}

criterion_group!(benches, nonce);
criterion_main!(benches);
