//! Time as the packet path knows it: handed in by the caller, once per burst.

/// A moment, in hundredths of a second since the director started. It wraps after 497 days, so
/// moments are compared by their distance, never by their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(pub u32);

/// Ticks in one second.
pub const TICKS_PER_SECOND: u32 = 100;

impl Tick {
    /// The moment `ticks` later.
    #[inline]
    #[must_use]
    pub const fn after(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// True when `self` is at or after `other`; right while they lie less than 248 days apart.
    #[inline]
    #[must_use]
    pub const fn has_reached(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) < 1 << 31
    }

    /// Ticks from `earlier` to `self`; 0 when `earlier` is in fact later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        if self.has_reached(earlier) {
            self.0.wrapping_sub(earlier.0)
        } else {
            0
        }
    }
}

/// Whole seconds as ticks; saturates after 248 days, the longest distance a [`Tick`] can tell.
#[must_use]
pub const fn seconds(n: u32) -> u32 {
    const MAX: u32 = (1 << 31) - 1;
    if n > MAX / TICKS_PER_SECOND {
        MAX
    } else {
        n * TICKS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let before = Tick(u32::MAX - 5);
        let after = before.after(10);
        assert_eq!(after, Tick(4));
        assert!(after.has_reached(before));
        assert!(!before.has_reached(after));
        assert_eq!(after.since(before), 10);
        assert_eq!(before.since(after), 0);
    }

    #[test]
    fn long_timeouts_saturate() {
        assert_eq!(seconds(900), 90_000);
        assert_eq!(seconds(u32::MAX), (1 << 31) - 1);
    }
}
