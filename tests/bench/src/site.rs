//! One worker on one source, and what is done with it: the phases of a measurement.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use weir_core::counters::DropReason;
use weir_core::flow::Timeouts;
use weir_core::io::{Burst, PacketIo, WorkerId};
use weir_core::service::Method;
use weir_core::snapshot::Snapshot;
use weir_core::steer::Steering;
use weir_wire::Family;
use weir_worker::{Clock, Config, Handle, Idle, Peers, Worker, mesh};

use crate::check::{self, Checker};
use crate::measure::{Meter, Rate, Turns, cpu_ns};
use crate::scenario::{self, Mode};
use crate::source::{Desk, Flows, Packet, Phase, Source};
use crate::supply::Supply;

/// Turns that the checker looks at.
const CHECKED_TURNS: u32 = 512;

/// Turns of which the duration is taken.
const TIMED_TURNS: usize = 20_000;

/// Until creation and expiry are in balance: a lifetime of one second, a round of the sweep of
/// another, and some more.
const CHURN_WARM_UP: Duration = Duration::from_millis(3500);

/// CPU time for which connections come and go: some rounds of the sweep, which takes a second.
const CHURN_NS: u64 = 3_000_000_000;

/// What came of connections that are made and ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churned {
    /// CPU time of a connection's three packets and its end, in nanoseconds.
    pub(crate) connection_ns: f64,
    /// Flows in the table meanwhile.
    pub(crate) live: u64,
}

/// A worker on a source.
pub(crate) struct Site<S: Supply> {
    worker: Worker<Source<S>>,
    pub(crate) handle: Handle,
    pub(crate) desk: Rc<Desk>,
    mode: Mode,
    /// The worker must not free it.
    _snapshot: Arc<Snapshot>,
}

/// What one worker among several has.
pub(crate) struct Place<F> {
    pub(crate) id: u16,
    pub(crate) peers: Peers<F>,
    /// Of all its packets.
    pub(crate) family: Family,
    pub(crate) snapshot: Arc<Snapshot>,
}

impl<F> Place<F> {
    /// The only worker.
    pub(crate) fn alone(method: Method, timeouts: Timeouts) -> Self {
        Self::alone_in(Family::V4, method, timeouts)
    }

    /// The same with packets of a family.
    pub(crate) fn alone_in(family: Family, method: Method, timeouts: Timeouts) -> Self {
        Self {
            id: 0,
            peers: mesh(1).remove(0),
            family,
            snapshot: scenario::snapshot(family, method, timeouts),
        }
    }
}

impl<S: Supply> Site<S> {
    /// A worker with room for `capacity` flows whose source plays `flows`.
    pub(crate) fn new(
        mode: Mode,
        flows: Flows,
        capacity: usize,
        supply: S,
        place: Place<S::Frame>,
    ) -> Self {
        let desk = Desk::new(flows);
        let source = Source::new(mode, place.family, u64::from(place.id) + 1, &desk, supply);
        let config = Config {
            id: WorkerId(place.id),
            core: Some(usize::from(place.id)),
            idle: Idle::Busy,
            limits: scenario::limits(place.family, capacity),
            steering: Steering::by_client(place.peers.workers()),
            ports: source.port_count(),
            twins: None,
            clock: Clock::start(),
        };
        let worker = Worker::new(&config, source, place.peers);
        let handle = worker.handle();
        handle.publish(Arc::clone(&place.snapshot));
        Self {
            worker,
            handle,
            desk,
            mode,
            _snapshot: place.snapshot,
        }
    }

    /// What the flow table's memory came from.
    pub(crate) fn table_pages(&self) -> String {
        format!("{:?}", self.worker.flows().pages()).to_lowercase()
    }

    /// One turn; the frames that the worker got from its source.
    #[inline]
    pub(crate) fn turn(&mut self) -> u64 {
        let before = self.desk.given.get();
        self.worker.turn();
        self.desk.given.get() - before
    }

    /// One turn; the frames that the worker sent, those handed to it by others among them.
    #[inline]
    pub(crate) fn turn_out(&mut self) -> u64 {
        let before = self.desk.returned.get();
        self.worker.turn();
        self.desk.returned.get() - before
    }

    /// Sends `packet` of every flow once.
    pub(crate) fn run_pass(&mut self, packet: Packet) {
        self.desk.pass(packet);
        while self.turn_of_pass().is_some() {}
        self.desk.phase.set(Phase::Rest);
    }

    /// True when no flow is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.worker.flows().is_empty()
    }

    /// Flows that are open.
    pub(crate) fn open_flows(&self) -> u64 {
        self.worker.flows().len() as u64
    }

    /// Packets that another worker should have had and did not take.
    pub(crate) fn hand_offs_lost(&self) -> u64 {
        self.handle.counters().drops(DropReason::HandOffRingFull)
    }

    /// A turn of a pass; none when the pass is over.
    #[inline]
    fn turn_of_pass(&mut self) -> Option<u64> {
        (self.desk.left.get() > 0).then(|| self.turn())
    }

    /// Opens all flows; what a new one costs.
    pub(crate) fn open(&mut self, meter: &mut Meter) -> Result<Rate> {
        // The worker takes the snapshot before it takes a packet.
        self.turn();
        self.desk.pass(Packet::Syn);
        while meter.slice(|| self.turn_of_pass()) {}
        self.establish()?;
        Ok(meter.take())
    }

    /// Opens all flows without measuring it.
    pub(crate) fn open_unmeasured(&mut self) -> Result<()> {
        self.turn();
        self.run_pass(Packet::Syn);
        self.establish()
    }

    /// All flows must be open, evenly; their clients answer the SYN ACK.
    fn establish(&mut self) -> Result<()> {
        self.all_came_through()?;
        let (flows, open) = (
            self.desk.flows(),
            self.handle.counters().flows_created.get(),
        );
        ensure!(
            open == u64::from(flows),
            "{open} of {flows} flows were opened"
        );
        check::spread(self.handle.counters()).map_err(anyhow::Error::msg)?;
        if self.mode.has_replies() {
            ensure!(
                self.desk.replies() == flows as usize,
                "replies were not learned"
            );
            self.desk.shuffle_replies(3);
        }
        // The client's ACK: all are established.
        self.run_pass(Packet::Ack);
        self.all_came_through()
    }

    /// Packets of open flows at random for `ns` of CPU time; what one costs.
    pub(crate) fn keep(&mut self, meter: &mut Meter, ns: u64) -> Result<Rate> {
        self.visit_at_random();
        meter.slices_for(ns / 5, || Some(self.turn()));
        meter.forget();
        meter.slices_for(ns, || Some(self.turn()));
        let rate = meter.take();
        self.all_came_through()?;
        Ok(rate)
    }

    /// From now on packets of established flows come, both ways where both pass the director.
    pub(crate) fn visit_at_random(&self) {
        self.desk.phase.set(match self.mode.has_replies() {
            true => Phase::BothWays,
            false => Phase::Requests,
        });
    }

    /// Connections made and ended, once expiry keeps up with creation: what one costs. The site's
    /// timeouts have to be short.
    pub(crate) fn churn(&mut self, meter: &mut Meter) -> Result<Churned> {
        self.turn();
        self.desk.phase.set(Phase::Churn);
        let full = self.handle.flows_max() as u64 / 100 * 95;
        let start = Instant::now();
        while start.elapsed() < CHURN_WARM_UP {
            meter.slice(|| Some(self.turn_unless(full)));
        }
        meter.forget();
        let counters = self.handle.counters();
        let before = (counters.flows_created.get(), counters.flows_expired.get());
        meter.slices_for(CHURN_NS, || Some(self.turn_unless(full)));
        let counters = self.handle.counters();
        let made = counters.flows_created.get() - before.0;
        let ended = counters.flows_expired.get() - before.1;
        ensure!(
            made.abs_diff(ended) < made / 5,
            "{made} flows were made and {ended} ended meanwhile: out of balance"
        );
        self.desk.phase.set(Phase::Rest);
        self.all_came_through()?;
        let packet = meter.take();
        Ok(Churned {
            connection_ns: packet.ns * 3.0,
            live: self.handle.counters().flows.get(),
        })
    }

    /// A turn with packets, or without when so many flows live already.
    fn turn_unless(&mut self, full: u64) -> u64 {
        let has_room = self.handle.counters().flows.get() < full;
        self.desk
            .phase
            .set(if has_room { Phase::Churn } else { Phase::Rest });
        self.turn()
    }

    /// How long turns take by the wall, but for those in which Linux ran something else here.
    pub(crate) fn time_turns(&mut self) -> Turns {
        let mut turns = Vec::with_capacity(TIMED_TURNS);
        for _ in 0..TIMED_TURNS {
            let cpu = cpu_ns();
            let start = Instant::now();
            self.turn();
            let wall = start.elapsed().as_nanos() as u64;
            if wall <= cpu_ns() - cpu {
                turns.push(wall);
            }
        }
        Turns::of(turns)
    }

    /// Looks at every packet of some turns.
    pub(crate) fn check(&mut self) -> Result<()> {
        let checker = Checker::new(self.mode);
        *self.desk.checker.borrow_mut() = Some(checker);
        for _ in 0..CHECKED_TURNS {
            self.turn();
        }
        let checker = self.desk.checker.take();
        match checker.map(|checker| checker.verdict()) {
            Some(Err(fault)) => bail!("{}: {fault}", self.mode.name()),
            _ => self.all_came_through(),
        }
    }

    /// The client ends all flows by a reset; what one costs.
    pub(crate) fn end(&mut self, meter: &mut Meter) -> Result<Rate> {
        self.desk.pass(Packet::Rst);
        while meter.slice(|| self.turn_of_pass()) {}
        self.desk.phase.set(Phase::Rest);
        self.all_came_through()?;
        Ok(meter.take())
    }

    /// Every frame that went in came out, and the worker counted none as lost.
    pub(crate) fn all_came_through(&self) -> Result<()> {
        check::lost(self.handle.counters(), &[]).map_err(anyhow::Error::msg)?;
        let (given, returned) = (self.desk.given.get(), self.desk.returned.get());
        ensure!(given == returned, "{returned} of {given} frames came back");
        Ok(())
    }
}

/// Source and sink without a worker between them; what a packet costs them.
pub(crate) fn source_alone<S: Supply>(flows: u32, supply: S, meter: &mut Meter, ns: u64) -> Rate {
    let desk = Desk::new(Flows::Below(flows));
    let mut source = Source::new(Mode::Source, Family::V4, 1, &desk, supply);
    let mut burst = Burst::new();
    desk.phase.set(Phase::Requests);
    let mut turn = || {
        source.receive(scenario::WAN, &mut burst);
        Some(source.transmit(scenario::LAN, &mut burst) as u64)
    };
    meter.slices_for(ns / 5, &mut turn);
    meter.forget();
    meter.slices_for(ns, &mut turn);
    meter.take()
}
