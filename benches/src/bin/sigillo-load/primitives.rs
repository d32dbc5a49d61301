//! The cryptography that no CA can do without for a certificate, measured in the same run and by the same clock as the
//! server: processor time as Linux counts it.

use std::time::Duration;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};

use crate::{Failure, server::Used};

/// How long each primitive runs: thirty times the step in which processor time is counted.
const MEASURED_FOR: Duration = Duration::from_millis(300);
/// How often a primitive runs between two looks at the time.
const BETWEEN_LOOKS: u32 = 200;
/// The octets of a signed request.
const SIGNED_OCTETS: usize = 600;
/// What the header fields of a request or an answer come to, beside the body.
const HEADER_OCTETS: u64 = 400;

/// What the clients sent and got for the certificates.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Signed requests.
    pub requests: u64,
    /// Octets of all bodies, both ways.
    pub octets: u64,
}

/// The sum for one certificate, and what it is made of.
#[derive(Debug, Clone, Copy)]
pub struct Primitives {
    /// Signed requests for each certificate; each is verified once.
    pub requests: f64,
    /// One verification, microseconds.
    pub verification: f64,
    /// One signature.
    pub signature: f64,
    /// One request's record opened and one answer's sealed.
    pub records: f64,
}

impl Primitives {
    /// Measures with P-256, which accounts, requests and the CA have by default.
    pub fn measure(traffic: Traffic, certificates: usize) -> Result<Self, Failure> {
        let broken = |_| "a primitive does not work";
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(broken)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref())
            .map_err(|_| "a primitive does not work")?;
        let message = [7; SIGNED_OCTETS];
        let signature = key.sign(&random, &message).map_err(broken)?;
        // From the octets of the key each time: keys come from strangers.
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[9; 32]).map_err(broken)?);
        let length = HEADER_OCTETS + traffic.octets / (2 * traffic.requests.max(1));
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(1 << 14);
        #[allow(clippy::cast_precision_loss, reason = "counts of a run are small")]
        let requests = traffic.requests as f64 / certificates.max(1) as f64;
        Ok(Self {
            requests,
            verification: each(|| public.verify(&message, signature.as_ref()).is_ok())?,
            signature: each(|| key.sign(&random, &message).is_ok())?,
            records: each(|| exchanged(&cipher, length).is_some())?,
        })
    }

    /// The sum: the requests' signatures, the proof of possession, the certificate's signature, the records of TLS.
    pub fn sum(&self) -> f64 {
        self.verification * (self.requests + 1.0) + self.signature + self.records * self.requests
    }
}

fn exchanged(cipher: &LessSafeKey, length: usize) -> Option<()> {
    let nonce = || Nonce::assume_unique_for_key([3; 12]);
    let mut record = vec![5; length];
    cipher
        .seal_in_place_append_tag(nonce(), Aad::empty(), &mut record)
        .ok()?;
    cipher.open_in_place(nonce(), Aad::empty(), &mut record).ok()?;
    Some(())
}

/// Returns the microseconds of processor time that something takes.
fn each(mut work: impl FnMut() -> bool) -> Result<f64, Failure> {
    let own = std::process::id();
    let before = Used::by(own)?;
    let mut count = 0;
    loop {
        for _ in 0..BETWEEN_LOOKS {
            if !std::hint::black_box(work()) {
                return Err("a primitive does not work".into());
            }
        }
        count += BETWEEN_LOOKS;
        let used = Used::by(own)?.since(before).processor;
        if used >= MEASURED_FOR {
            return Ok(used.as_secs_f64() * 1e6 / f64::from(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifications_are_most_of_a_certificate() {
        let traffic = Traffic {
            requests: 80,
            octets: 100_000,
        };
        let primitives = Primitives::measure(traffic, 10).unwrap();
        assert!((primitives.requests - 8.0).abs() < 1e-9);
        assert!(primitives.sum() > 9.0 * primitives.verification);
        assert!(primitives.records > 0.0 && primitives.signature > 0.0);
    }
}
