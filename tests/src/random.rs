//! A small seeded generator, so that a failed round can be run again.

use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable that repeats a run.
pub const SEED_VARIABLE: &str = "SIGILLO_SEED";

/// A generator (SplitMix64): fair enough to choose moments, and the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Takes the seed from `SIGILLO_SEED`, or from the time, and prints it.
    ///
    /// # Panics
    ///
    /// If the variable holds no number.
    pub fn announced() -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => text.parse().expect("SIGILLO_SEED must be a number"),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |since| since.as_secs() ^ u64::from(since.subsec_nanos())),
        };
        println!("seed: {SEED_VARIABLE}={seed}");
        Self(seed)
    }

    /// Starts from a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound` (which must not be 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
}
