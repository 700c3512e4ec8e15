//! The one place where the packet path reads a clock: once a turn.

use std::time::{Duration, Instant};

#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicU64, Ordering};

use weir_core::time::{TICKS_PER_SECOND, Tick};

/// Time since the director started, the same for all workers.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// What turns it, when the world's time does not.
    #[cfg(any(test, feature = "testing"))]
    hand: Option<&'static AtomicU64>,
}

/// Turns a clock by hand, for tests in which time passes when they say so.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
pub struct Hand(&'static AtomicU64);

#[cfg(any(test, feature = "testing"))]
impl Hand {
    /// The clock shows `elapsed` from now on.
    pub fn set(&self, elapsed: Duration) {
        self.0.store(elapsed.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock {
    /// A clock that stands still, and its hand, which takes eight bytes for good.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn by_hand() -> (Self, Hand) {
        let hand: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let clock = Self {
            hand: Some(hand),
            ..Self::start()
        };
        (clock, Hand(hand))
    }

    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(any(test, feature = "testing"))]
            hand: None,
        }
    }

    /// Time since the start.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn elapsed(&self) -> Duration {
        #[cfg(any(test, feature = "testing"))]
        if let Some(hand) = self.hand {
            return Duration::from_nanos(hand.load(Ordering::Relaxed));
        }
        Instant::now() - self.start
    }
}

/// A moment as the director knows it.
pub(crate) fn tick(elapsed: Duration) -> Tick {
    let per_tick = 1_000_000_000 / u128::from(TICKS_PER_SECOND);
    Tick((elapsed.as_nanos() / per_tick) as u32)
}
