//! CPU time in short slices, and whether the machine was calm meanwhile.
//!
//! On a shared machine a core is slowed down by its neighbours within milliseconds. Before and
//! after each slice a fixed piece of arithmetic is timed; a slice between two quick ones was not
//! disturbed. So slices are chosen by the machine's state and never by their own result.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// How long a slice should take, in nanoseconds.
const SLICE_NS: u64 = 5_000_000;

/// A probe is quick when it takes at most this share of what the quickest twentieth of all takes,
/// in percent. Not of the very quickest: a core may have been boosted once for a moment.
const QUICK_PERCENT: u64 = 105;

/// Rounds of the probe's arithmetic: about 50 microseconds.
const PROBE_ROUNDS: u64 = 40_000;

/// CPU time of this thread in nanoseconds.
pub(crate) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Runs the same arithmetic each time, four chains of it at once, and tells how long it took.
fn probe() -> u64 {
    let start = cpu_ns();
    let mut chains = [1u64, 2, 3, 4];
    for round in 0..PROBE_ROUNDS {
        for chain in &mut chains {
            *chain = std::hint::black_box(chain.rotate_left(5) ^ round);
        }
    }
    std::hint::black_box(chains);
    cpu_ns() - start
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    ns: u64,
    count: u64,
    /// The slower of the probes around it.
    probe: u64,
}

/// Measures on one thread.
#[derive(Debug)]
pub(crate) struct Meter {
    /// All so far.
    probes: Vec<u64>,
    last_probe: u64,
    /// Steps in a slice.
    steps: u64,
    slices: Vec<Slice>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            probes: (0..400).map(|_| probe()).collect(),
            last_probe: probe(),
            steps: 64,
            slices: Vec::new(),
        }
    }

    /// Does `step` for a slice. It tells how much it has done, and none when there is no more.
    /// False when it ended.
    pub(crate) fn slice(&mut self, mut step: impl FnMut() -> Option<u64>) -> bool {
        let start = cpu_ns();
        let (mut count, mut goes_on) = (0, true);
        for _ in 0..self.steps {
            match step() {
                Some(done) => count += done,
                None => {
                    goes_on = false;
                    break;
                }
            }
        }
        let ns = cpu_ns() - start;
        let after = probe();
        self.probes.push(after);
        if count > 0 {
            self.slices.push(Slice {
                ns,
                count,
                probe: after.max(self.last_probe),
            });
        }
        self.last_probe = after;
        if goes_on {
            // Towards the wanted length, at most double and never nothing.
            let wanted = self.steps * SLICE_NS / ns.max(1);
            self.steps = wanted.clamp(self.steps / 2, self.steps * 2).max(1);
        }
        goes_on
    }

    /// Slices for about `ns` nanoseconds of CPU time.
    pub(crate) fn slices_for(&mut self, ns: u64, mut step: impl FnMut() -> Option<u64>) {
        let until = cpu_ns() + ns;
        while cpu_ns() < until && self.slice(&mut step) {}
    }

    /// Forgets the slices so far: they were to warm up.
    pub(crate) fn forget(&mut self) {
        self.slices.clear();
    }

    /// What was measured since the last call.
    pub(crate) fn take(&mut self) -> Rate {
        let twentieth = self.probes.len() / 20;
        let (_, quick, _) = self.probes.select_nth_unstable(twentieth);
        let quick = *quick * QUICK_PERCENT / 100;
        let mut slices = std::mem::take(&mut self.slices);
        slices.sort_by_key(|slice| slice.probe);
        let calm = slices.partition_point(|slice| slice.probe <= quick);
        // On a machine that is never calm: its calmest quarter.
        let used = calm.max(slices.len().div_ceil(4));
        let (mut ns, mut count) = (0, 0);
        for slice in &slices[..used] {
            ns += slice.ns;
            count += slice.count;
        }
        Rate {
            ns: ns as f64 / count.max(1) as f64,
            calm: calm as f64 / slices.len().max(1) as f64,
        }
    }
}

/// Nanoseconds of CPU time for one thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) ns: f64,
    /// The share of undisturbed slices, 0 to 1.
    pub(crate) calm: f64,
}

/// Median, least and greatest of several rounds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of no values: zeros.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let Some((min, max)) = values.first().zip(values.last()) else {
            return Self::default();
        };
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[half]
        } else {
            (values[half - 1] + values[half]) / 2.0
        };
        Self {
            median,
            min: *min,
            max: *max,
        }
    }

    /// Nanoseconds each, as millions a second.
    pub(crate) fn of_rates(ns: impl IntoIterator<Item = f64>) -> Self {
        Self::of(ns.into_iter().map(|ns| 1000.0 / ns))
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, min, max } = self;
        write!(f, "{median:.2} ({min:.2}-{max:.2})")
    }
}

/// How long turns took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Turns {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Turns {
    pub(crate) fn of(mut ns: Vec<u64>) -> Self {
        ns.sort_unstable();
        let at = |percent: usize| ns.get(ns.len() * percent / 100).copied().unwrap_or(0);
        Self {
            p50: at(50),
            p99: at(99),
            max: ns.last().copied().unwrap_or(0),
        }
    }

    /// Of several rounds: the medians, and the longest of all.
    pub(crate) fn over(rounds: &[Self]) -> Option<Self> {
        let median = |each: fn(&Self) -> u64| {
            let values = rounds.iter().map(|round| each(round) as f64);
            Spread::of(values).median as u64
        };
        Some(Self {
            p50: median(|turns| turns.p50),
            p99: median(|turns| turns.p99),
            max: rounds.iter().map(|turns| turns.max).max()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of_rates([20.0]).median, 50.0);
    }

    #[test]
    fn slices_beside_slow_probes_do_not_count() {
        let slice = |ns, probe| Slice {
            ns,
            count: 1,
            probe,
        };
        let mut meter = Meter {
            probes: vec![100; 20],
            last_probe: 100,
            steps: 1,
            slices: vec![slice(10, 103), slice(50, 180), slice(20, 100)],
        };
        let rate = meter.take();
        assert_eq!(rate.ns, 15.0);
        assert!((rate.calm - 2.0 / 3.0).abs() < 1e-9);
        // Nothing calm: the calmest quarter.
        meter.slices = (0..8).map(|n| slice(10 + n, 200 + n)).collect();
        let rate = meter.take();
        assert_eq!((rate.ns, rate.calm), (10.5, 0.0));
    }
}
