//! RSA by hand, for what a sound library refuses to sign: short keys, SHA-1, an exponent of one, odd salts.
//!
//! Short keys are fresh each time: a server that takes one for an account must not know it again where a case uses one for
//! something else. The long key is published here and good for nothing but being refused.

use num_bigint::BigUint;
use serde_json::{Value, json};

use crate::base64;
use crate::der;
use crate::keys::{random, sha1, sha256};

const MODULUS_2048: &str = "d0fd2957982bc7fabb66e39ecc8f64ac4f9baccf7373f22e582d13296c0386c3b8deb66a1aac1043bde1bf814321b8aee754d9fce73d799e\
     cd14b5840460e005795b234dc94e074e2e60dbda652b83510fb391c52da47f4a59a5c9b8c9ecaac7fdfb26009c1bddbf8c32130e5bff82f8\
     f011ba68fae62bb87072dd1a8ca27084dcb82428048fac93d9b33b972eb7ae4d0b53d46dcde7d98fdc804362e79fd589f59731fea747d5cc\
     7d3acb7b03a443b29e087dfe988a9dd2f96a9357c7dc354d8ce5e2ccc25c9afd9fa20652d30999a5c83e66785846e5563eb2145b8eb2223e\
     74d580090e80a147bfa9db8d0f8fda2d9ba63aa94d7d6507c564c9230238b56f";
const PRIVATE_2048: &str = "65e81cc1b6d51a75bbee06ee474760cad922cb18796ebf5833ecfedc02ec91495d1b548dd6a5b264a5f1afa5436bed17747c1eb3c0ba6c54\
     b021fa04fef1922b792aa4c36876e0ff11846f904626faa88b647f9f4b8b5bfa904e54580436a06c56ffa15f48c019d82e6fb875170d37fb\
     556cff9df3424b6d6b7fc72b0c0aa59c71b92ca43009eac2657b7045aac97b8475907860d2b7402da0f1f3bf0ff555830796736b06175a7e\
     b197d6976417d90b08d964c1e66114462af3c82baaec15b1f8a520723b4eb70d6707b66b18bfda1d7dd5597c80bcd06240740b4fc99a8bf9\
     90f92b673c8f772e73d067ac73c9a290da93de5d3d100f0f2013373914088c69";

/// An RSA key whose private half is a plain number.
#[derive(Debug, Clone)]
pub(crate) struct RawRsa {
    modulus: BigUint,
    exponent: BigUint,
    private: BigUint,
}

impl RawRsa {
    fn new(modulus: &str, private: &str, exponent: u32) -> Self {
        let number = |hex: &str| BigUint::parse_bytes(hex.as_bytes(), 16).unwrap_or_default();
        Self {
            modulus: number(modulus),
            private: number(private),
            exponent: exponent.into(),
        }
    }

    /// A fresh key of exactly so many bits.
    fn fresh(bits: u64) -> Self {
        let exponent = BigUint::from(65537u32);
        let one = BigUint::from(1u32);
        loop {
            let (p, q) = (prime(bits / 2), prime(bits - bits / 2));
            let modulus = &p * &q;
            let order = (&p - &one) * (&q - &one);
            match exponent.modinv(&order) {
                Some(private) if modulus.bits() == bits => {
                    return Self {
                        modulus,
                        exponent,
                        private,
                    };
                }
                // One time in a few the product is a bit short, or the exponent has no inverse.
                _ => {}
            }
        }
    }

    /// Too short for anything.
    pub(crate) fn bits_1024() -> Self {
        Self::fresh(1024)
    }

    /// One bit short of what is allowed.
    pub(crate) fn bits_2047() -> Self {
        Self::fresh(2047)
    }

    pub(crate) fn bits_2048() -> Self {
        Self::new(MODULUS_2048, PRIVATE_2048, 65537)
    }

    /// With an exponent of one a signature is the padded digest itself, whatever the modulus.
    pub(crate) fn exponent_one() -> Self {
        let mut modulus = random::<256>();
        modulus[0] |= 0x80;
        modulus[255] |= 1;
        Self {
            modulus: BigUint::from_bytes_be(&modulus),
            exponent: 1u32.into(),
            private: 1u32.into(),
        }
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        self.modulus.to_bytes_be()
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        let exponent = self.exponent.to_bytes_be();
        json!({"kty": "RSA", "n": base64::url(self.modulus()), "e": base64::url(exponent)})
    }

    /// The DER of SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let key = der::sequence(&[
            der::unsigned(&self.modulus()),
            der::unsigned(&self.exponent.to_bytes_be()),
        ]);
        der::sequence(&[
            der::sequence(&[der::oid("1.2.840.113549.1.1.1"), der::null()]),
            der::bit_string(&key),
        ])
    }

    fn apply(&self, padded: &[u8]) -> Vec<u8> {
        let signature = BigUint::from_bytes_be(padded)
            .modpow(&self.private, &self.modulus)
            .to_bytes_be();
        let length = self.modulus().len();
        [vec![0; length - signature.len()], signature].concat()
    }

    /// PKCS #1 version 1.5 over a digest with its algorithm's OID.
    fn pkcs1(&self, oid: &str, digest: &[u8]) -> Vec<u8> {
        let info = der::sequence(&[der::sequence(&[der::oid(oid), der::null()]), der::octet_string(digest)]);
        let filler = vec![0xff; self.modulus().len() - info.len() - 3];
        self.apply(&[&[0, 1][..], &filler, &[0], &info].concat())
    }

    pub(crate) fn sign_sha256(&self, message: &[u8]) -> Vec<u8> {
        self.pkcs1("2.16.840.1.101.3.4.2.1", &sha256(message))
    }

    pub(crate) fn sign_sha1(&self, message: &[u8]) -> Vec<u8> {
        self.pkcs1("1.3.14.3.2.26", &sha1(message))
    }

    /// RSASSA-PSS with SHA-256 and a salt of this length.
    pub(crate) fn sign_pss(&self, message: &[u8], salt_length: usize) -> Vec<u8> {
        let salt = &random::<64>()[..salt_length];
        let hash = sha256([&[0; 8][..], &sha256(message), salt].concat());
        let length = self.modulus().len() - hash.len() - 1;
        let mut block = [vec![0; length - salt.len() - 1], vec![1], salt.to_vec()].concat();
        for (octet, mask) in block.iter_mut().zip(mask(&hash, length)) {
            *octet ^= mask;
        }
        block[0] &= 0x7f;
        self.apply(&[block, hash, vec![0xbc]].concat())
    }
}

/// What is divided by them need not be tried by the slower test.
const SMALL_PRIMES: [u32; 24] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
];

/// A random number of so many bits that is prime as far as Fermat's test tells: enough for a key that is to be refused.
fn prime(bits: u64) -> BigUint {
    let one = BigUint::from(1u32);
    loop {
        let mut number = BigUint::from_bytes_be(&random::<128>()) >> (1024 - bits);
        // The two highest bits are set, so that the product of two has full length.
        for bit in [0, bits - 2, bits - 1] {
            number.set_bit(bit, true);
        }
        let small = |prime: &u32| (&number % prime) == BigUint::default();
        if !SMALL_PRIMES.iter().any(small) && BigUint::from(2u32).modpow(&(&number - &one), &number) == one {
            return number;
        }
    }
}

/// MGF1 with SHA-256.
fn mask(seed: &[u8], length: usize) -> Vec<u8> {
    let blocks = (0u32..).flat_map(|counter| sha256([seed, &counter.to_be_bytes()].concat()));
    blocks.take(length).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn signs_as_a_sound_library_verifies() {
        let key = RawRsa::bits_2048();
        let public = der::sequence(&[der::unsigned(&key.modulus()), der::unsigned(&[1, 0, 1])]);
        let check = |algorithm, signature: Vec<u8>| {
            UnparsedPublicKey::new(algorithm, &public)
                .verify(b"text", &signature)
                .is_ok()
        };
        assert!(check(&RSA_PKCS1_2048_8192_SHA256, key.sign_sha256(b"text")));
        for (key, bits) in [(RawRsa::bits_1024(), 1024), (RawRsa::bits_2047(), 2047)] {
            assert_eq!(key.modulus.bits(), bits);
            let number = BigUint::from(42u32);
            let there = number.modpow(&key.private, &key.modulus);
            assert_eq!(there.modpow(&key.exponent, &key.modulus), number);
        }
        assert!(check(&RSA_PSS_2048_8192_SHA256, key.sign_pss(b"text", 32)));
    }
}
