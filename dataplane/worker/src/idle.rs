//! What a worker does in a turn without packets.

use std::time::Duration;

/// How a worker waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It polls without pause: the least delay, a whole core.
    Busy,
    /// It sleeps when queues stay empty, at most `sleep_max` at a time: for small boxes, laptops
    /// and CI, where a spinning core would starve what it serves.
    Adaptive {
        /// Longest sleep, and so the longest delay that sleeping adds.
        sleep_max: Duration,
    },
}

/// Empty turns before the first sleep.
const PATIENCE: u32 = 64;
const SLEEP_FIRST: Duration = Duration::from_micros(5);

/// Keeps count of empty turns.
#[derive(Debug)]
pub(crate) struct Waiter {
    mode: Idle,
    empty_turns: u32,
}

impl Waiter {
    pub(crate) fn new(mode: Idle) -> Self {
        Self {
            mode,
            empty_turns: 0,
        }
    }

    /// After a turn: waits as the mode says. True when it slept.
    #[expect(clippy::disallowed_methods, reason = "the idle mode sleeps here")]
    pub(crate) fn after_turn(&mut self, had_packets: bool) -> bool {
        if had_packets {
            self.empty_turns = 0;
            return false;
        }
        self.empty_turns = self.empty_turns.saturating_add(1);
        match self.mode {
            Idle::Adaptive { sleep_max } if self.empty_turns > PATIENCE => {
                let doublings = (self.empty_turns - PATIENCE).min(16) / 2;
                std::thread::sleep((SLEEP_FIRST * (1 << doublings)).min(sleep_max));
                true
            }
            _ => {
                std::hint::spin_loop();
                false
            }
        }
    }
}
