//! The one place where the packet path reads a clock: once a turn.

use std::time::{Duration, Instant};

use weir_core::time::{TICKS_PER_SECOND, Tick};

/// Time since the director started, the same for all workers.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time since the start.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn elapsed(&self) -> Duration {
        Instant::now() - self.start
    }
}

/// A moment as the director knows it.
pub(crate) fn tick(elapsed: Duration) -> Tick {
    let per_tick = 1_000_000_000 / u128::from(TICKS_PER_SECOND);
    Tick((elapsed.as_nanos() / per_tick) as u32)
}
