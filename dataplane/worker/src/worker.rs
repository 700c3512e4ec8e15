//! One worker: receive, process, transmit, keep house, for ever.
//!
//! A turn, in order: take a newer snapshot if there is one (nothing else happens before the
//! first); read the clock once; a burst from each
//! port; what other workers handed over; what Linux sends; housekeeping, a bounded piece of it;
//! flush. Shutdown: control sets the stop flag, the worker ends after its turn, its frames are
//! freed with it, its queues are closed by whoever opened them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use weir_core::counters::{DropReason, WorkerCounters};
use weir_core::director::{Director, Limits};
use weir_core::flow::FlowTable;
use weir_core::io::{BURST_MAX, Burst, Frame, PacketIo, PortId, WorkerId};
use weir_core::steer::Steering;
use weir_core::time::{TICKS_PER_SECOND, Tick};

use crate::clock::{Clock, tick};
use crate::hand_off::{FromPeer, Peers};
use crate::handle::{Handle, Listing};
use crate::idle::{Idle, Waiter};
use crate::outside::Outside;
use crate::rings::TwinLink;

/// Groups of the flow table that are looked at in one turn at most: a microsecond when none is due.
const SWEEP_A_TURN: usize = 1024;

/// What one worker is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which one.
    pub id: WorkerId,
    /// The core it will be pinned to, for display; [`pin`] does it.
    pub core: Option<usize>,
    /// How it waits.
    pub idle: Idle,
    /// Its capacities.
    pub limits: Limits,
    /// Who owns a flow; the same for all workers.
    pub steering: Steering,
    /// How many ports there are.
    pub ports: usize,
    /// Its rings to the twins' thread and the ports that have a twin.
    pub twins: Option<(TwinLink, Vec<PortId>)>,
    /// Shared by all workers.
    pub clock: Clock,
}

/// The operating system would not pin a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotPin {
    /// The core that was asked for.
    pub core: usize,
}

impl std::fmt::Display for CannotPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let core = self.core;
        write!(
            f,
            "core {core} cannot be used: it does not exist or is not allowed to this process; \
             correct workers.cores"
        )
    }
}

impl std::error::Error for CannotPin {}

/// Pins the calling thread to `core`.
///
/// # Errors
/// [`CannotPin`] when the core does not exist or the process may not use it.
pub fn pin(core: usize) -> Result<(), CannotPin> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        Ok(())
    } else {
        Err(CannotPin { core })
    }
}

/// A worker with its queues. Make it with [`Worker::new`], move it to its thread and run it there.
pub struct Worker<IO: PacketIo> {
    director: Director<IO::Frame>,
    outside: Outside<IO>,
    handle: Handle,
    from_peers: Vec<FromPeer<IO::Frame>>,
    clock: Clock,
    waiter: Waiter,
    burst: Burst<IO::Frame>,
    listing: Option<Listing>,
    epoch: u64,
    now: Tick,
    started: Duration,
    /// Groups of the flow table to be looked at by now.
    sweep_due: usize,
}

impl<IO: PacketIo> std::fmt::Debug for Worker<IO> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.handle.id())
            .finish_non_exhaustive()
    }
}

impl<IO: PacketIo> Worker<IO> {
    /// A worker on `io`'s queues. All its memory is taken here.
    #[must_use]
    pub fn new(config: &Config, io: IO, peers: Peers<IO::Frame>) -> Self {
        let counters = Arc::new(WorkerCounters::new(config.ports, config.limits.servers));
        let handle = Handle::new(
            config.id,
            config.core,
            Arc::clone(&counters),
            [config.limits.flows, config.limits.flows_v6],
            config.clock,
        );
        // Unpredictable to strangers, who could otherwise fill one bucket.
        let random = || RandomState::new().hash_one(0);
        let seed = [random(), random()];
        debug_assert_eq!(config.steering.workers(), peers.workers());
        let director = Director::new(
            config.id,
            config.steering.clone(),
            &config.limits,
            Arc::clone(&counters),
            seed,
        );
        Self {
            director,
            outside: Outside::new(config, io, peers.to, counters, Arc::clone(&handle.shared)),
            handle,
            from_peers: peers.from,
            clock: config.clock,
            waiter: Waiter::new(config.idle),
            burst: Burst::new(),
            listing: None,
            epoch: 0,
            now: Tick::default(),
            started: config.clock.elapsed(),
            sweep_due: 0,
        }
    }

    /// Control's side of this worker.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The flow table, to be looked at between turns.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        self.director.flows()
    }

    /// True while flows are looked for that are to end before their time.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn is_culling(&self) -> bool {
        self.director.is_culling()
    }

    /// What it decides by, to be looked at between turns.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn snapshot(&self) -> &Arc<weir_core::snapshot::Snapshot> {
        self.director.snapshot()
    }

    /// Turns until control says stop.
    pub fn run(mut self) {
        while !self.handle.shared.should_stop() {
            let had_packets = self.turn();
            if self.waiter.after_turn(had_packets) {
                let woken = self.clock.elapsed();
                let slept = woken.saturating_sub(self.started);
                self.outside.counters.slept_ns.add(slept.as_nanos() as u64);
                self.started = woken;
            }
        }
    }

    /// One turn; true when there was a packet.
    pub fn turn(&mut self) -> bool {
        self.take_snapshot();
        let ticks = self.read_clock();
        if self.epoch == 0 {
            // Packets wait in their queue until control has said what to do with them: a client
            // must not be refused because the director is just starting.
            return false;
        }
        let mut packets = 0;
        for port in 0..self.outside.port_count() {
            packets += self.receive(PortId(port as u16));
        }
        for peer in 0..self.from_peers.len() {
            packets += self.take_over(peer);
        }
        packets += self.send_from_linux();
        self.keep_house(ticks);
        self.outside.flush();
        let counters = &self.outside.counters;
        counters.turns.add(1);
        counters.turns_busy.add(u64::from(packets > 0));
        packets > 0
    }

    fn take_snapshot(&mut self) {
        let taken = self.handle.shared.take_newer(self.epoch, |snapshot| {
            // Control keeps the old one until it sees the epoch, so nothing is freed here.
            drop(self.director.adopt(snapshot, &mut self.outside));
        });
        self.epoch = taken.unwrap_or(self.epoch);
    }

    /// Reads the clock; returns the ticks since the last turn. The time since the last reading is
    /// how long the last turn took.
    fn read_clock(&mut self) -> u32 {
        let elapsed = self.clock.elapsed();
        let turn_ns = (elapsed - self.started).as_nanos() as u64;
        self.started = elapsed;
        let longest = &self.outside.counters.turn_longest_ns;
        if turn_ns > longest.get() && self.outside.counters.turns.get() > 0 {
            longest.set(turn_ns);
        }
        let now = tick(elapsed);
        let passed = now.since(self.now);
        self.now = now;
        self.outside.now = now;
        passed
    }

    fn receive(&mut self, port: PortId) -> usize {
        let count = self.outside.io.receive(port, &mut self.burst);
        if count == 0 {
            return 0;
        }
        self.process(port, false);
        count
    }

    fn process(&mut self, port: PortId, is_handed_off: bool) {
        self.director.process(
            self.now,
            port,
            is_handed_off,
            &mut self.burst,
            &mut self.outside,
        );
    }

    /// Sends what Linux put in its ring, a burst at most. Returns how many packets there were.
    fn send_from_linux(&mut self) -> usize {
        let mut count = 0;
        while count < BURST_MAX
            && let Some((port, frame)) = self.outside.next_from_linux()
        {
            count += 1;
            if let Some(frame) = frame {
                let outside = &mut self.outside;
                self.director
                    .send_from_linux(self.now, port, frame, outside);
            }
        }
        count
    }

    /// What `peer` handed over, a burst at most and of one port.
    fn take_over(&mut self, peer: usize) -> usize {
        let Some(port) = self.from_peers[peer].take(&mut self.burst) else {
            return 0;
        };
        let count = self.burst.len();
        self.process(port, true);
        self.outside.counters.taken_over.add(count as u64);
        count
    }

    /// A bounded piece of what is to be done beside packets: the whole flow table is looked at once
    /// a second, and what is put off in a turn is done in the next.
    fn keep_house(&mut self, ticks: u32) {
        if ticks > 0 {
            let round = self.director.flows().groups();
            let share = round * ticks.min(TICKS_PER_SECOND) as usize;
            self.sweep_due += share.div_ceil(TICKS_PER_SECOND as usize);
            self.sweep_due = self.sweep_due.min(round);
        }
        if self.sweep_due > 0 || self.director.is_culling() {
            let groups = self.sweep_due.min(SWEEP_A_TURN);
            self.sweep_due -= self.director.housekeep(self.now, groups, &mut self.outside);
        }
        self.director.end_drained(self.now, &mut self.outside);
        self.listing = match self.listing.take() {
            Some(listing) => listing.go_on(&mut self.director, self.now),
            None => self.handle.shared.next_dump(),
        };
    }
}

/// The bytes of a frame that a sample keeps, and why it was taken.
pub(crate) fn sample_of<F: Frame>(
    reason: DropReason,
    port: PortId,
    frame: &F,
) -> crate::handle::DropSample {
    let bytes = frame.bytes();
    let mut sample = crate::handle::DropSample {
        reason,
        port,
        frame_len: bytes.len().min(usize::from(u16::MAX)) as u16,
        len: bytes.len().min(crate::handle::SAMPLE_BYTES) as u8,
        bytes: [0; crate::handle::SAMPLE_BYTES],
    };
    for (to, from) in sample.bytes.iter_mut().zip(bytes) {
        *to = *from;
    }
    sample
}
