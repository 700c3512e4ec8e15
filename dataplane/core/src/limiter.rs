//! Token buckets for what the director does beyond forwarding.

use crate::time::{TICKS_PER_SECOND, Tick};

/// Lets so many events a second pass, and a quarter of a second's worth at once.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_second: u32,
    /// In hundredths of an event, so that a tick's share is a whole number.
    tokens: u64,
    /// Kept back from those who may not use the reserve.
    reserve: u64,
    last: Tick,
}

impl Limiter {
    /// `reserved_percent` of the bucket is for those who ask with `may_use_reserve`.
    pub(crate) fn new(per_second: u32, reserved_percent: u8) -> Self {
        let mut limiter = Self {
            per_second,
            tokens: 0,
            reserve: 0,
            last: Tick(0),
        };
        limiter.tokens = limiter.most();
        limiter.reserve = limiter.most() * u64::from(reserved_percent.min(100)) / 100;
        limiter
    }

    fn most(&self) -> u64 {
        (u64::from(self.per_second) * u64::from(TICKS_PER_SECOND) / 4)
            .max(u64::from(TICKS_PER_SECOND))
    }

    /// True when one more event may pass now.
    pub(crate) fn allow(&mut self, now: Tick, may_use_reserve: bool) -> bool {
        let gained = u64::from(now.since(self.last)) * u64::from(self.per_second);
        self.last = now;
        self.tokens = (self.tokens + gained).min(self.most());
        let floor = if may_use_reserve { 0 } else { self.reserve };
        let cost = u64::from(TICKS_PER_SECOND);
        if self.per_second == 0 || self.tokens < floor + cost {
            return false;
        }
        self.tokens -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_rate_and_no_more() {
        let mut limiter = Limiter::new(100, 0);
        let mut passed = 0;
        for tick in 0..1000 {
            for _ in 0..10 {
                passed += u32::from(limiter.allow(Tick(tick), true));
            }
        }
        assert!((1000..=1030).contains(&passed), "{passed}");
    }

    #[test]
    fn a_flood_leaves_the_reserve() {
        let mut limiter = Limiter::new(1000, 25);
        while limiter.allow(Tick(0), false) {}
        let vital = (0..1000).filter(|_| limiter.allow(Tick(0), true)).count();
        assert_eq!(vital, 63);
    }

    #[test]
    fn a_limit_of_zero_passes_nothing() {
        assert!(!Limiter::new(0, 0).allow(Tick(5), true));
    }
}
