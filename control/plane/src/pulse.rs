//! Whether the workers turn. A worker never waits, and one that sleeps for want of packets wakes within
//! `workers.idle_sleep_us_max`, so one whose turns stand still is stuck, or kept from its core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, info};
use weir_worker::Handle;

/// Looks in a row, a second apart, that find a worker where it was before it is told. Looks are counted,
/// not seconds: when all of the process was stopped, nobody is stuck.
const LOOKS: u32 = 5;

/// True while all workers turn; for who tells systemd so.
#[derive(Clone, Debug)]
pub struct Alive(Arc<AtomicBool>);

impl Default for Alive {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Alive {
    /// As of the last look.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was seen of the workers.
#[derive(Debug)]
pub(crate) struct Pulse {
    workers: Vec<Seen>,
    alive: Alive,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    turns: u64,
    /// Looks in a row that found no more turns.
    still: u32,
}

impl Seen {
    fn is_stalled(self) -> bool {
        self.still >= LOOKS
    }
}

impl Pulse {
    /// Of so many workers.
    pub(crate) fn new(workers: usize, alive: Alive) -> Self {
        Self {
            workers: vec![Seen::default(); workers],
            alive,
        }
    }

    /// Looks, once a second.
    pub(crate) fn look(&mut self, workers: &[Handle]) {
        for (seen, worker) in self.workers.iter_mut().zip(workers) {
            let turns = worker.counters().turns.get();
            let was_stalled = seen.is_stalled();
            let still = if turns == seen.turns {
                seen.still + 1
            } else {
                0
            };
            *seen = Seen { turns, still };
            let id = worker.id().0;
            if was_stalled && !seen.is_stalled() {
                info!("worker {id} turns again");
            } else if !was_stalled && seen.is_stalled() {
                let core = worker.core();
                let core = core.map_or(String::new(), |core| format!(" on core {core}"));
                error!(
                    "worker {id}{core} has made no turn for {LOOKS} s: its packets wait, and systemd is \
                     not told of life any more; look at what else runs on its core, and where it \
                     stands: cat /proc/{}/task/*/stack",
                    std::process::id()
                );
            }
        }
        let all_turn = self.workers.iter().all(|seen| !seen.is_stalled());
        self.alive.0.store(all_turn, Ordering::Relaxed);
    }

    /// By worker.
    pub(crate) fn are_stalled(&self) -> impl Iterator<Item = bool> {
        self.workers.iter().map(|seen| seen.is_stalled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::worker;

    #[test]
    fn a_worker_that_does_not_turn_is_told_and_one_that_turns_again_too() {
        let workers = [worker(0), worker(1)];
        let alive = Alive::default();
        let mut pulse = Pulse::new(2, alive.clone());
        let mut look = |turns: [u64; 2]| {
            for (worker, turns) in workers.iter().zip(turns) {
                worker.counters().turns.add(turns);
            }
            pulse.look(&workers);
            (pulse.are_stalled().collect::<Vec<_>>(), alive.get())
        };
        let both_turn = (vec![false, false], true);
        for _ in 0..20 {
            // One that sleeps much turns little.
            assert_eq!(look([1_000_000, 1]), both_turn);
        }
        for _ in 0..LOOKS - 1 {
            assert_eq!(look([1, 0]), both_turn);
        }
        assert_eq!(look([1, 0]), (vec![false, true], false));
        assert_eq!(look([1, 0]), (vec![false, true], false));
        assert_eq!(look([1, 1]), both_turn);
    }

    #[test]
    fn one_that_never_turned_is_told_too() {
        let workers = [worker(0)];
        let alive = Alive::default();
        let mut pulse = Pulse::new(1, alive.clone());
        for _ in 0..LOOKS {
            assert!(alive.get());
            pulse.look(&workers);
        }
        assert!(!alive.get());
    }
}
