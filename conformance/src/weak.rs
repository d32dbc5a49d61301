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

/// The primes of a key that OpenSSL of Debian made on a big-endian machine as process 1000 (CVE-2008-0166), as published at
/// github.com/badkeys/debianopenssl, `rsa2048/ssl/be32/1000-nornd-old.key`.
const DEBIAN: [&str; 2] = [
    "d94f87c19743d0fc6c483b3c736fb6be10fd8ff0cf831f30edeca271c4f9b479d687044619f2ae4a0dbe5ed942e0229ecf1848f8745e34a1\
     28d9d50ad33bb4af764d3328321eaec10252d767f543c8d55fdb35f28eb1082e134266145911f6d2d4d2e3a2a0901c2ca1b103b2af98dd1d\
     9d8ded46dac6e99087c3ff4142c5d59b",
    "c1b7ca085ec3dce42fffdc427ce929e58b6ef147f96cc1740c1ddb9faeec5a5674e7bb2b00c40a3f4f0d77852115ec09e8d5973409462dbd\
     8faf354edf5ad11f4e0d4aa4885f472b6a5669c33c596b1b05e4f4fca44fe812afce434aeac3196873f2efb706e669abfe7200a4a82b7ad8\
     6f6405716cee684305da01622eb78e7b",
];

/// The primes of the RSA test key of 2048 bits in RFC 9500 section 2.1.
const RFC_9500: [&str; 2] = [
    "dd105702382f232b3681f53791e22617c7bf4e9acb81ed48daf6d6995da3eab642839aff012d2ea628b90af279fd3e6f7c93cd80f072f01f\
     f2443b3ee8f24ed469a79613a41bd24020f92fd11059bd1d0f301b5ba7a9d3637ca8d65c1a9815417d8eab734b0b4f3a2c661d9a1a82f3ac\
     734c40530669ab8e473045a58e65539d",
    "ccf1e5bb90c8e9781ea75bebf10bc252e11eb023a0260f1887552a56863f4a6421e8c600bf523d6cb1b0adbdd65bfee4a88a037e3d1a415e\
     5bb95648da5a0ca26b54f4a63948522c3d5f89b94a72efff95134d5940ce45758f308980908956588eef575b3e4bc4c368cfe813ee9c252c\
     2b02e0df91f1aa01938d38685d60ba6f",
];

/// A prime, and how far above it the next one lies: two that are too close to each other (CVE-2022-26320).
const CLOSE: (&str, u32) = (
    "f3a70d9168120e335b0d6367558be2edf8c55c9c43bcc7b377239d29677067e2ab7ab7d508de8fc7c7344a24c288f24260ebd602da823029\
     c85a647b38540a8714fe681c97948083f684ce73b7a83f700b72b5e80ef59a5bfd43002dc081dcc9fb8c4aa4958f8a4b49babda21c542596\
     4d640a1b0db50f7993e50effa0303391",
    56,
);

/// Primes of the faulty library's form (CVE-2017-15361): `k * M + (65537^a mod M)`, where M is the product of the first 126
/// primes for keys of 2048 bits. Here are k and a of two of them.
const ROCA: [(u64, u64); 2] = [
    (7_925_515_915_863_666, 2_343_570_994_354_026_552),
    (7_937_427_142_050_417, 2_316_527_730_736_237_818),
];
const ROCA_PRIMES: usize = 126;

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

    fn of_primes(p: &BigUint, q: &BigUint) -> Self {
        let exponent = BigUint::from(65537u32);
        let totient = (p - 1u32) * (q - 1u32);
        Self {
            modulus: p * q,
            private: exponent.modinv(&totient).unwrap_or_default(),
            exponent,
        }
    }

    fn of_published([p, q]: [&str; 2]) -> Self {
        let number = |hex: &str| BigUint::parse_bytes(hex.as_bytes(), 16).unwrap_or_default();
        Self::of_primes(&number(p), &number(q))
    }

    /// A key that Debian's OpenSSL of 2006 to 2008 made.
    pub(crate) fn debian() -> Self {
        Self::of_published(DEBIAN)
    }

    /// A key that an RFC shows.
    pub(crate) fn rfc_9500() -> Self {
        Self::of_published(RFC_9500)
    }

    /// A key whose primes are neighbours.
    pub(crate) fn close_primes() -> Self {
        let p = BigUint::parse_bytes(CLOSE.0.as_bytes(), 16).unwrap_or_default();
        Self::of_primes(&p, &(&p + CLOSE.1))
    }

    /// A key as the library of CVE-2017-15361 made them.
    pub(crate) fn roca() -> Self {
        let primes = (2u32..).filter(|number| (2..*number).all(|divisor| number % divisor != 0));
        let product: BigUint = primes.take(ROCA_PRIMES).map(BigUint::from).product();
        let [p, q] = ROCA.map(|(k, a)| &product * k + BigUint::from(65537u32).modpow(&BigUint::from(a), &product));
        Self::of_primes(&p, &q)
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

    #[test]
    fn weak_keys_sign_as_sound_ones_do_and_are_as_weak_as_said() {
        for key in [
            RawRsa::debian(),
            RawRsa::rfc_9500(),
            RawRsa::close_primes(),
            RawRsa::roca(),
        ] {
            assert_eq!(key.modulus.bits(), 2048);
            let public = der::sequence(&[der::unsigned(&key.modulus()), der::unsigned(&[1, 0, 1])]);
            let signature = key.sign_sha256(b"text");
            let verified = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public).verify(b"text", &signature);
            assert!(verified.is_ok());
        }
        // The published fingerprint: modulo each small prime the modulus is a power of 65537.
        for prime in [
            11u32, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
        ] {
            let rest = RawRsa::roca().modulus % prime;
            let power = (0..prime).any(|power| BigUint::from(65537u32).modpow(&power.into(), &prime.into()) == rest);
            assert!(power, "{prime}");
        }
    }
}
