//! Replay nonces (RFC 8555 section 6.5): stateless to mint, single use, in bounded memory.
//!
//! A nonce is a counter, enciphered as one AES block together with 64 zero bits under a key that
//! lives as long as the process. Whoever cannot encipher cannot guess one, and deciphering tells
//! whether it is ours. What remains to be remembered is one bit for each of the last
//! [`Nonces::WINDOW`] counters: whether it was used. Older nonces, and those from before a
//! restart, are answered with `badNonce` and a fresh one, which clients retry with.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::cipher::{AES_256, AES_256_KEY_LEN, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use sigillo_protocol::base64url;

/// Octets of a nonce: one AES block, 22 characters as text.
const BLOCK: usize = 16;

/// Mints and redeems nonces.
pub struct Nonces {
    seal: EncryptingKey,
    open: DecryptingKey,
    window: Mutex<Window>,
}

struct Window {
    /// The next counter to hand out.
    next: u64,
    /// One bit for each counter of the window, at its counter modulo the window: whether it was used.
    used: Box<[u64]>,
}

impl Nonces {
    /// How many nonces can be open at once: 128 KiB of memory. A client that holds a nonce while
    /// a million others are minted is told to retry.
    pub const WINDOW: u64 = 1 << 20;

    /// Makes a mint with a key of its own.
    pub fn new() -> Self {
        let mut key = zeroize::Zeroizing::new([0; AES_256_KEY_LEN]);
        getrandom::fill(key.as_mut()).expect("invariant: the system's random generator works");
        let cipher_key =
            || UnboundCipherKey::new(&AES_256, key.as_ref()).expect("invariant: the key has the cipher's length");
        Self {
            // A single block under a fresh key is a random permutation: no mode, no vector needed.
            seal: EncryptingKey::ecb(cipher_key()).expect("invariant: AES-256 has a block mode"),
            open: DecryptingKey::ecb(cipher_key()).expect("invariant: AES-256 has a block mode"),
            window: Mutex::new(Window {
                next: 0,
                used: vec![0; (Self::WINDOW / 64) as usize].into_boxed_slice(),
            }),
        }
    }

    /// Makes a nonce that nobody has seen.
    pub fn mint(&self) -> String {
        let counter = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            let counter = window.next;
            window.next += 1;
            // The place now stands for this counter; what it stood for has left the window.
            let (word, bit) = place(counter);
            window.used[word] &= !bit;
            counter
        };
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&counter.to_be_bytes());
        self.seal
            .encrypt(&mut block)
            .expect("invariant: one whole block is enciphered");
        base64url::encode(block)
    }

    /// Uses a nonce up. Returns whether it was ours, in the window and unused.
    pub fn redeem(&self, nonce: &str) -> bool {
        let Some(counter) = self.read(nonce) else {
            return false;
        };
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if counter >= window.next || window.next - counter > Self::WINDOW {
            return false;
        }
        let (word, bit) = place(counter);
        let fresh = window.used[word] & bit == 0;
        window.used[word] |= bit;
        fresh
    }

    fn read(&self, nonce: &str) -> Option<u64> {
        let mut block: [u8; BLOCK] = base64url::decode(nonce).ok()?.try_into().ok()?;
        self.open.decrypt(&mut block, DecryptionContext::None).ok()?;
        let (counter, rest) = block.split_first_chunk::<8>()?;
        (rest == [0; 8]).then(|| u64::from_be_bytes(*counter))
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self::new()
    }
}

fn place(counter: u64) -> (usize, u64) {
    let position = counter % Nonces::WINDOW;
    ((position / 64) as usize, 1 << (position % 64))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_nonce_is_good_once() {
        let nonces = Nonces::new();
        let nonce = nonces.mint();
        assert_eq!(nonce.len(), 22);
        assert!(nonces.redeem(&nonce));
        assert!(!nonces.redeem(&nonce));
    }

    #[test]
    fn one_of_many_at_once_wins() {
        let nonces = Nonces::new();
        let nonce = nonces.mint();
        let wins = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if nonces.redeem(&nonce) {
                        wins.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(wins.into_inner(), 1);
    }

    #[test]
    fn refuses_what_it_did_not_mint() {
        let nonces = Nonces::new();
        let other = Nonces::new().mint();
        for nonce in ["", "abc", "AAAAAAAAAAAAAAAAAAAAAA", other.as_str()] {
            assert!(!nonces.redeem(nonce), "{nonce}");
        }
    }

    #[test]
    fn what_leaves_the_window_is_refused_and_its_place_is_free() {
        let nonces = Nonces::new();
        let old = nonces.mint();
        let kept = nonces.mint();
        for _ in 0..Nonces::WINDOW - 1 {
            nonces.mint();
        }
        assert!(!nonces.redeem(&old));
        assert!(nonces.redeem(&kept));
        assert!(nonces.redeem(&nonces.mint()));
    }

    #[test]
    fn nonces_share_no_prefix() {
        let nonces = Nonces::new();
        let mut starts: Vec<String> = (0..1000).map(|_| nonces.mint()[..6].to_owned()).collect();
        starts.sort();
        starts.dedup();
        assert!(starts.len() > 990, "six characters repeat too often: {}", starts.len());
    }
}
