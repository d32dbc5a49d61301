//! Chance that can be repeated: a small generator with a seed (SplitMix64), for tests and nothing that needs secrecy.

/// A source of numbers that follow from its seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

/// Shares are given in parts of this.
pub(super) const WHOLE: u32 = 1_000_000;

impl Dice {
    /// Starts from a seed; `stream` tells apart those that share it.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number below a bound; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        match bound {
            0 => 0,
            bound => self.next() % bound,
        }
    }

    /// Says yes in so many cases of [`WHOLE`].
    pub(super) fn hits(&mut self, share: u32) -> bool {
        share >= WHOLE || self.below(u64::from(WHOLE)) < u64::from(share)
    }

    /// Brings a list into another order.
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(8, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
    }

    #[test]
    fn hits_as_often_as_it_is_told() {
        let mut dice = Dice::new(1, 1);
        let hits = (0..10_000).filter(|_| dice.hits(WHOLE / 5)).count();
        assert!((1800..2200).contains(&hits), "{hits}");
        assert!((0..100).all(|_| dice.hits(WHOLE)));
        assert!((0..100).all(|_| !dice.hits(0)));
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut list: Vec<u32> = (0..50).collect();
        Dice::new(3, 3).shuffle(&mut list);
        assert_ne!(list, (0..50).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}
