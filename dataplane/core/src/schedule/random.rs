//! Lots for `twos`.

use core::cell::Cell;

/// A generator that one worker has for itself: `SplitMix64`, whose whole period of 2^64 any seed
/// begins somewhere. It decides between servers and keeps no secret.
#[derive(Clone, Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// Begins at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// A number below `bound`; 0 when `bound` is 0.
    #[inline]
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        let mut mixed = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(mixed);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
    }
}
