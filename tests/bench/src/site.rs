//! One worker on one source, and what is done with it: the phases of a measurement.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use weir_core::flow::Timeouts;
use weir_core::io::{Burst, PacketIo, WorkerId};
use weir_core::service::Method;
use weir_core::snapshot::Snapshot;
use weir_worker::{Clock, Config, Handle, Idle, Peers, Worker, mesh};

use crate::check::{self, Checker};
use crate::measure::{Meter, Rate, Turns};
use crate::scenario::{self, Mode};
use crate::source::{Desk, Flows, Packet, Phase, Source};
use crate::supply::Supply;

/// Turns that the checker looks at.
const CHECKED_TURNS: u32 = 512;

/// Turns of which the duration is taken.
const TIMED_TURNS: usize = 20_000;

/// A worker on a source.
pub(crate) struct Site<S: Supply> {
    worker: Worker<Source<S>>,
    pub(crate) handle: Handle,
    pub(crate) desk: Rc<Desk>,
    mode: Mode,
    service: u8,
    /// The worker must not free it.
    _snapshot: Arc<Snapshot>,
}

/// What one worker among several has.
pub(crate) struct Place<F> {
    pub(crate) id: u16,
    pub(crate) peers: Peers<F>,
    pub(crate) snapshot: Arc<Snapshot>,
}

impl<F> Place<F> {
    /// The only worker.
    pub(crate) fn alone(method: Method, timeouts: Timeouts) -> Self {
        Self {
            id: 0,
            peers: mesh(1).remove(0),
            snapshot: scenario::snapshot(method, timeouts),
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
        let service = place.id as u8;
        let desk = Desk::new(flows);
        let source = Source::new(mode, service, u64::from(place.id) + 1, &desk, supply);
        let config = Config {
            id: WorkerId(place.id),
            core: Some(usize::from(place.id)),
            idle: Idle::Busy,
            limits: scenario::limits(capacity),
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
            service,
            _snapshot: place.snapshot,
        }
    }

    /// One turn; the frames that the worker got from its source.
    #[inline]
    pub(crate) fn turn(&mut self) -> u64 {
        let before = self.desk.given.get();
        self.worker.turn();
        self.desk.given.get() - before
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
        let rate = meter.take();
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
        self.desk.pass(Packet::Ack);
        while self.turn_of_pass().is_some() {}
        self.desk.phase.set(Phase::Rest);
        self.all_came_through()?;
        Ok(rate)
    }

    /// Packets of open flows at random for `ns` of CPU time; what one costs.
    pub(crate) fn keep(&mut self, meter: &mut Meter, ns: u64) -> Result<Rate> {
        self.desk.phase.set(Phase::Random);
        meter.slices_for(ns / 5, || Some(self.turn()));
        meter.forget();
        meter.slices_for(ns, || Some(self.turn()));
        let rate = meter.take();
        self.all_came_through()?;
        Ok(rate)
    }

    /// How long turns take. By the wall: what disturbs the machine counts.
    pub(crate) fn time_turns(&mut self) -> Turns {
        let mut turns = Vec::with_capacity(TIMED_TURNS);
        for _ in 0..TIMED_TURNS {
            let start = Instant::now();
            self.turn();
            turns.push(start.elapsed().as_nanos() as u64);
        }
        Turns::of(turns)
    }

    /// Looks at every packet of some turns.
    pub(crate) fn check(&mut self) -> Result<()> {
        let checker = Checker::new(self.mode, scenario::vip(self.service));
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
        check::lost(self.handle.counters()).map_err(anyhow::Error::msg)?;
        let (given, returned) = (self.desk.given.get(), self.desk.returned.get());
        ensure!(given == returned, "{returned} of {given} frames came back");
        Ok(())
    }
}

/// Source and sink without a worker between them; what a packet costs them.
pub(crate) fn source_alone<S: Supply>(flows: u32, supply: S, meter: &mut Meter, ns: u64) -> Rate {
    let desk = Desk::new(Flows::Below(flows));
    let mut source = Source::new(Mode::Source, 0, 1, &desk, supply);
    let mut burst = Burst::new();
    desk.phase.set(Phase::Random);
    let mut turn = || {
        source.receive(scenario::WAN, &mut burst);
        Some(source.transmit(scenario::LAN, &mut burst) as u64)
    };
    meter.slices_for(ns / 5, &mut turn);
    meter.forget();
    meter.slices_for(ns, &mut turn);
    meter.take()
}
