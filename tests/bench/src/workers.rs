//! Several workers beside one: each with its own source, on its own core.
//!
//! `own` sends each worker what it owns, as RSS does where the device can; `mixed` sends each
//! what comes, so that with two workers half of the packets have to be handed over.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use weir_core::counters::DropReason;
use weir_core::flow::Timeouts;
use weir_core::io::WorkerId;
use weir_core::steer::Steering;
use weir_dpdk::{Frames, Mbuf};
use weir_wire::Family;
use weir_worker::mesh;

use crate::check;
use crate::measure::{Meter, Spread};
use crate::scenario::{self, Mode, addr};
use crate::site::{Place, Site};
use crate::source::{Flows, Packet, Phase, Random};

/// One mode with one number of flows a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkersOutcome {
    pub(crate) mode: Mode,
    pub(crate) flows_per_worker: u32,
    pub(crate) workers: u16,
    /// What the sources send: `own` or `mixed`.
    pub(crate) sources: String,
    /// Million packets per CPU second, all workers together.
    pub(crate) million_per_second: Spread,
    /// The same as a multiple of one worker alone, round by round.
    pub(crate) ratio: Spread,
    /// Packets lost because the owner did not keep up, of all, in percent.
    pub(crate) hand_off_lost_percent: f64,
}

/// What is compared with one worker alone.
const SOURCES: [(&str, bool); 2] = [("own", false), ("mixed", true)];

/// Runs `rounds` of every mode with every number of flows; one worker, then all, in each.
pub(crate) fn run(
    modes: &[Mode],
    sizes: &[u32],
    workers: u16,
    rounds: usize,
    time: Duration,
    frames: &Frames,
) -> Result<Vec<WorkersOutcome>> {
    let mut outcomes = Vec::new();
    for mode in modes.iter().filter(|mode| mode.method().is_some()) {
        for flows in sizes {
            let mut taken: Vec<[Run; 3]> = Vec::new();
            for _ in 0..rounds {
                let run = |workers, mixed| measure(*mode, *flows, workers, mixed, time, frames);
                taken.push([run(1, false)?, run(workers, false)?, run(workers, true)?]);
            }
            let alone = taken.iter().map(|[alone, ..]| alone.million);
            outcomes.push(WorkersOutcome {
                mode: *mode,
                flows_per_worker: *flows,
                workers: 1,
                sources: "own".to_string(),
                million_per_second: Spread::of(alone),
                ratio: Spread::of([1.0]),
                hand_off_lost_percent: 0.0,
            });
            for (at, (sources, _)) in SOURCES.iter().enumerate() {
                let all = || taken.iter().map(move |runs| (&runs[0], &runs[at + 1]));
                outcomes.push(WorkersOutcome {
                    mode: *mode,
                    flows_per_worker: *flows,
                    workers,
                    sources: (*sources).to_string(),
                    million_per_second: Spread::of(all().map(|(_, run)| run.million)),
                    ratio: Spread::of(all().map(|(one, run)| run.million / one.million)),
                    hand_off_lost_percent: Spread::of(all().map(|(_, r)| r.lost_percent)).max,
                });
            }
        }
    }
    Ok(outcomes)
}

struct Run {
    million: f64,
    lost_percent: f64,
}

/// What the threads of one run share.
struct Together {
    workers: u64,
    barrier: Barrier,
    /// How often a thread has come to an end of a step.
    arrived: AtomicU64,
    /// Flows that were opened, by all.
    opened: AtomicU64,
    /// By worker.
    under_way: Vec<UnderWay>,
}

/// Frames that a worker's source gave, less those that its sink took back or that were lost: below
/// nothing where it has finished others' frames. The sum over all workers is in hand-off rings.
#[derive(Debug, Default)]
#[repr(align(128))]
struct UnderWay(AtomicI64);

/// Turns between two looks at what is under way.
const TURNS_BETWEEN: u64 = 8;

/// So many frames under way make a worker wait: with those of the turns until it looks again they
/// still fit into a hand-off ring.
const UNDER_WAY_MAX: i64 = 384;

/// How long it sleeps then at a time. Asleep it takes no CPU time, so that a peer that Linux does not
/// run just now costs it nothing.
const SLEEP: Duration = Duration::from_micros(100);

fn measure(
    mode: Mode,
    flows: u32,
    workers: u16,
    mixed: bool,
    time: Duration,
    frames: &Frames,
) -> Result<Run> {
    let method = mode.method().context("a director's mode")?;
    let snapshot = scenario::snapshot(Family::V4, method, Timeouts::default());
    let together = Together {
        workers: workers.into(),
        barrier: Barrier::new(workers.into()),
        arrived: AtomicU64::new(0),
        opened: AtomicU64::new(0),
        under_way: (0..workers).map(|_| UnderWay::default()).collect(),
    };
    let places = mesh::<Mbuf>(workers.into()).into_iter().enumerate();
    let runs: Vec<Result<Run>> = std::thread::scope(|scope| {
        let threads: Vec<_> = places
            .map(|(id, peers)| {
                let snapshot = Arc::clone(&snapshot);
                let together = &together;
                scope.spawn(move || {
                    let id = id as u16;
                    let list = flows_of(id, workers, flows, mixed);
                    let place = Place {
                        id,
                        peers,
                        family: Family::V4,
                        snapshot,
                    };
                    one(mode, list, place, time, frames, together)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|run| run.unwrap_or_else(|_| Err(anyhow!("a worker's thread panicked"))))
            .collect()
    });
    let mut sum = Run {
        million: 0.0,
        lost_percent: 0.0,
    };
    for run in runs {
        let run = run?;
        sum.million += run.million;
        sum.lost_percent += run.lost_percent / f64::from(workers);
    }
    Ok(sum)
}

/// The flows that the source of worker `id` plays: its own, or as many of each owner. No two
/// sources play the same.
fn flows_of(id: u16, workers: u16, flows: u32, mixed: bool) -> Box<[u32]> {
    let steering = Steering::by_client(workers);
    let owner_of = |n: u32| {
        let (client, port) = scenario::client(n);
        steering.owner_of_client(addr(client), port)
    };
    let mut list: Vec<u32> = if mixed {
        let share = flows as usize / usize::from(workers);
        let of_owner = |w: u16| {
            let owned = (0u32..).filter(move |n| owner_of(*n) == WorkerId(w));
            owned.skip(share * usize::from(id)).take(share)
        };
        (0..workers).flat_map(of_owner).collect()
    } else {
        let owned = (0u32..).filter(|n| owner_of(*n) == WorkerId(id));
        owned.take(flows as usize).collect()
    };
    let mut random = Random(7);
    for last in (1..list.len()).rev() {
        list.swap(last, random.below(last as u32 + 1) as usize);
    }
    list.into()
}

/// Passes of SYNs until every flow is open: a hand-off ring that is full loses some.
const PASSES: usize = 50;

/// One worker's thread. It fails at its end only, since the others wait for it at each step.
fn one(
    mode: Mode,
    list: Box<[u32]>,
    place: Place<Mbuf>,
    time: Duration,
    frames: &Frames,
    together: &Together,
) -> Result<Run> {
    let pinned = weir_worker::pin(place.id.into());
    let registered = frames.register_thread();
    let flows = list.len();
    let mut site = Site::new(mode, Flows::Listed(list), flows, frames.clone(), place);
    let mut meter = Meter::new();
    let mut steps = 0;
    site.turn();
    let all_flows = flows as u64 * together.workers;
    let mut opened = 0;
    for _ in 0..PASSES {
        site.run_pass(Packet::Syn);
        together.settle(&mut site, &mut steps);
        let now = site.handle.counters().flows_created.get();
        together.opened.fetch_add(now - opened, Ordering::AcqRel);
        opened = now;
        together.barrier.wait();
        let all = together.opened.load(Ordering::Acquire);
        together.barrier.wait();
        if all == all_flows {
            break;
        }
    }
    site.desk.shuffle_replies(3);
    site.run_pass(Packet::Ack);
    together.settle(&mut site, &mut steps);
    site.visit_at_random();
    let start = Instant::now();
    while start.elapsed() < time / 5 {
        meter.slice(|| Some(together.turns(&mut site)));
    }
    meter.forget();
    let (given, lost) = (site.desk.given.get(), site.hand_offs_lost());
    while start.elapsed() < time {
        meter.slice(|| Some(together.turns(&mut site)));
    }
    let given = site.desk.given.get() - given;
    let lost = site.hand_offs_lost() - lost;
    together.settle(&mut site, &mut steps);
    pinned?;
    registered?;
    let all = together.opened.load(Ordering::Acquire);
    ensure!(all == all_flows, "{all} of {all_flows} flows were opened");
    check::lost(site.handle.counters(), &[DropReason::HandOffRingFull])
        .map_err(anyhow::Error::msg)?;
    Ok(Run {
        million: 1000.0 / meter.take().ns,
        lost_percent: 100.0 * lost as f64 / given.max(1) as f64,
    })
}

/// Turns in which a full hand-off ring is emptied, and more.
const TURNS_TO_EMPTY: u32 = 256;

impl Together {
    /// Some turns; waits when hand-off rings fill because a peer does not run. Frames sent.
    fn turns(&self, site: &mut Site<Frames>) -> u64 {
        let mut sent = (0..TURNS_BETWEEN).map(|_| site.turn_out()).sum();
        if self.workers == 1 || self.tell(site) < UNDER_WAY_MAX {
            return sent;
        }
        site.desk.phase.set(Phase::Rest);
        while self.tell(site) >= UNDER_WAY_MAX {
            std::thread::sleep(SLEEP);
            sent += site.turn_out();
        }
        site.visit_at_random();
        sent
    }

    /// Tells the others what this worker has under way; returns what all have.
    fn tell(&self, site: &Site<Frames>) -> i64 {
        let own = site.desk.given.get() as i64
            - site.desk.returned.get() as i64
            - site.hand_offs_lost() as i64;
        let id = usize::from(site.handle.id().0);
        self.under_way[id].0.store(own, Ordering::Relaxed);
        let all = self.under_way.iter().map(|of| of.0.load(Ordering::Relaxed));
        all.sum()
    }

    /// Ends a step: sends nothing more, and turns until no worker has anything under way.
    fn settle(&self, site: &mut Site<Frames>, steps: &mut u64) {
        site.desk.phase.set(Phase::Rest);
        *steps += self.workers;
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < *steps {
            site.turn();
            // A peer may still wait for this worker to finish its frames.
            self.tell(site);
        }
        for _ in 0..TURNS_TO_EMPTY {
            site.turn();
        }
        self.barrier.wait();
    }
}

/// The comparison for people.
pub(crate) fn table(outcomes: &[WorkersOutcome]) -> String {
    let mut out = format!(
        "{:8} {:>10} {:>8} {:>8} {:>22} {:>18} {:>14}\n",
        "mode",
        "flows each",
        "workers",
        "sources",
        "million packets/s",
        "times one worker",
        "hand-offs lost"
    );
    for o in outcomes {
        out += &format!(
            "{:8} {:>10} {:>8} {:>8} {:>22} {:>18} {:>13.1}%\n",
            o.mode.name(),
            o.flows_per_worker,
            o.workers,
            o.sources,
            o.million_per_second.to_string(),
            o.ratio.to_string(),
            o.hand_off_lost_percent,
        );
    }
    out
}
