//! The guest's time, which passes only while everybody sleeps (see `weir-uml`).

use std::io;
use std::path::Path;

use weir_conformance::seen::Entry;

use crate::{ipvs, sys};

/// Nanoseconds in a hundredth of a second.
const TICK: i64 = 10_000_000;
/// Ticks without an end of an entry before time counts as having passed: Weir finds ended flows once
/// a second, and takes a second or two.
const QUIET: u32 = 220;
/// Ticks that are waited at once for entries to end.
const PATIENCE: u32 = 50;
/// Ticks that are waited in all: the kernel's timers of hours may be minutes late.
const PATIENCE_MAX: u32 = 60_000;

/// A clock whose ticks are the kernel's own.
pub(crate) struct Clock {
    /// A moment a fifth of a tick after the kernel's tick.
    now: i64,
}

impl Clock {
    /// Has time pass only while the guest is idle from now on; `dir` is on the host's file system.
    pub(crate) fn begin(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir(dir.join("weir-the-clock-is-mine"))?;
        sys::sleep_exactly();
        let mut clock = Self { now: sys::now() };
        clock.align();
        Ok(clock)
    }

    /// Sleeps for at least a tick, until shortly after one of the kernel's.
    pub(crate) fn align(&mut self) {
        let steps = 50;
        self.now = sys::now() + TICK;
        sys::sleep_until(self.now);
        let before = sys::ticks();
        while sys::ticks() == before {
            self.now += TICK / steps;
            sys::sleep_until(self.now);
        }
        self.sleep_nanoseconds(TICK / 5);
    }

    /// Sleeps until a tick from which on a network's estimator always looks at the same moments.
    pub(crate) fn begin_rates(&mut self) {
        self.align();
        while !sys::ticks().is_multiple_of(8) {
            self.sleep(1);
        }
    }

    fn sleep_nanoseconds(&mut self, count: i64) {
        self.now += count;
        sys::sleep_until(self.now);
    }

    /// Sleeps for so many ticks, whatever happens.
    pub(crate) fn sleep(&mut self, ticks: u32) {
        self.sleep_nanoseconds(i64::from(ticks) * TICK);
    }

    /// Sleeps for `ticks`, and on until no entry is about to end or has just ended: the kernel's
    /// timers are late by up to an eighth of what they were set to, and Weir looks once a second.
    /// Returns how many ticks it were in all.
    pub(crate) fn advance(&mut self, ticks: u32) -> io::Result<u32> {
        let last = ticks.min(QUIET);
        self.sleep(ticks - last);
        let mut before = ipvs::entries()?;
        self.sleep(last);
        let mut after = ipvs::entries()?;
        let mut passed = ticks;
        // What was quiet when the last advance ended is so still if nothing ended in this one.
        let mut quiet = QUIET;
        loop {
            if !has_same_entries(&before, &after) {
                quiet = 0;
            }
            let ends_soon = after.iter().any(|entry| entry.seconds == 0);
            if quiet >= QUIET && !ends_soon {
                return Ok(passed);
            }
            if passed - ticks > PATIENCE_MAX {
                return Err(io::Error::other(format!("entries do not end: {after:?}")));
            }
            self.sleep(PATIENCE);
            passed += PATIENCE;
            quiet += PATIENCE;
            before = std::mem::replace(&mut after, ipvs::entries()?);
        }
    }
}

fn has_same_entries(a: &[Entry], b: &[Entry]) -> bool {
    let name = |entry: &Entry| {
        (
            entry.protocol.clone(),
            entry.client,
            entry.service,
            entry.server,
        )
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| name(a) == name(b))
}
