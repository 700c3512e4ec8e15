//! The one door between control and a worker: down go snapshots and commands, up come reports and
//! counters. Nothing here makes a worker wait.

use std::sync::Arc;

use weir_core::counters::{DropReason, WorkerCounters};
use weir_core::director::Director;
use weir_core::flow::{Flow, Tuple};
use weir_core::io::{Frame, PortId, WorkerId};
use weir_core::next_hop::InterfaceId;
use weir_core::service::{Method, Protocol, ServerId, ServiceKey, Services};
use weir_core::snapshot::Snapshot;
use weir_core::time::Tick;
use weir_wire::{Addr, Family};

use crate::clock::{Clock, tick};
use crate::sync::{ArrayQueue, AtomicBool, AtomicU64, Ordering};

/// Bytes kept of a dropped packet.
pub const SAMPLE_BYTES: usize = 128;

const SOLICITATIONS: usize = 256;
const SAMPLES: usize = 64;
const COMMANDS: usize = 16;
const DUMP_RING: usize = 4096;

/// One flow as told to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// The client's tuple.
    pub request: Tuple,
    /// The real server's slot; [`ServerId::NONE`] when packets go where they were sent to.
    pub server: ServerId,
    /// The real server's address; all zeros when there is none, as the kernel lists it.
    pub dest: Addr,
    /// The real server's port.
    pub dest_port: u16,
    /// The address and port that stand for the client at the server (FullNAT).
    pub local: Option<(Addr, u16)>,
    /// The forwarding method.
    pub method: Method,
    /// The state's name as ipvsadm prints it.
    pub state: &'static str,
    /// Until the flow ends if no packet comes.
    pub seconds_left: u32,
}

impl FlowRecord {
    /// None when the server's slot is empty, which it is not while a flow remembers it.
    fn of(flow: &Flow, services: &Services, now: Tick) -> Option<Self> {
        let (dest, dest_port, method) = match services.server(flow.server()) {
            Some(server) => (server.addr, flow.dest_port(server), flow.method()),
            None if flow.server() == ServerId::NONE => (no_address(flow), 0, Method::Dr),
            None => return None,
        };
        Some(Self {
            request: *flow.request(),
            server: flow.server(),
            dest,
            dest_port,
            local: flow.local(),
            method,
            state: flow.state().name(),
            seconds_left: flow.seconds_left(now),
        })
    }
}

fn no_address(flow: &Flow) -> Addr {
    match flow.request().src.family() {
        Family::V4 => Addr::from_v4_bytes([0; 4]),
        Family::V6 => Addr(0),
    }
}

/// Which flows are wanted; what is none does not restrict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Of this client address.
    pub client: Option<Addr>,
    /// Of this service.
    pub service: Option<ServiceKey>,
    /// Of this real-server address.
    pub server: Option<Addr>,
    /// Of this real-server port.
    pub server_port: Option<u16>,
    /// In this state, by ipvsadm's name.
    pub state: Option<&'static str>,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
}

impl FlowFilter {
    /// True when `flow` is wanted.
    #[must_use]
    pub fn matches(&self, flow: &FlowRecord) -> bool {
        fn fits<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        fits(self.client, flow.request.src)
            && fits(self.service, flow.request.service_key())
            && fits(self.server, flow.dest)
            && fits(self.server_port, flow.dest_port)
            && fits(self.state, flow.state)
            && fits(self.protocol, flow.request.protocol)
    }
}

/// A listing of flows under way: the worker fills it a few at a time, between bursts.
#[derive(Debug)]
pub struct FlowDump {
    filter: FlowFilter,
    limit: usize,
    /// What is told of ends.
    ends: bool,
    ring: ArrayQueue<FlowRecord>,
    is_done: AtomicBool,
    is_given_up: AtomicBool,
}

impl FlowDump {
    /// The next flow that has arrived, if any.
    #[must_use]
    pub fn take(&self) -> Option<FlowRecord> {
        self.ring.pop()
    }

    /// True when no more will arrive; take what is left after seeing this.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// Tells the worker that nobody listens any more.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }
}

/// The first bytes of a packet that was dropped.
#[derive(Clone, Copy, Debug)]
pub struct DropSample {
    /// Why.
    pub reason: DropReason,
    /// Where it was received.
    pub port: PortId,
    /// Length of the frame in bytes.
    pub frame_len: u16,
    /// How many of `bytes` there are.
    pub len: u8,
    /// The frame's beginning.
    pub bytes: [u8; SAMPLE_BYTES],
}

/// A neighbour that Linux should be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// On which interface.
    pub interface: InterfaceId,
    /// Whom.
    pub neighbour: Addr,
}

/// What control holds of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: WorkerId,
    pub(crate) core: Option<usize>,
    pub(crate) counters: Arc<WorkerCounters>,
    /// Of IPv4 and IPv6.
    pub(crate) flows_max: [usize; 2],
    clock: Clock,
    /// The newest snapshot not yet taken; a newer one replaces it.
    newest: ArrayQueue<Arc<Snapshot>>,
    published: AtomicU64,
    adopted: AtomicU64,
    dumps: ArrayQueue<Arc<FlowDump>>,
    pub(crate) solicitations: ArrayQueue<Solicitation>,
    pub(crate) samples: ArrayQueue<DropSample>,
    stop: AtomicBool,
}

impl Handle {
    pub(crate) fn new(
        id: WorkerId,
        core: Option<usize>,
        counters: Arc<WorkerCounters>,
        flows_max: [usize; 2],
        clock: Clock,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                id,
                core,
                counters,
                flows_max,
                clock,
                newest: ArrayQueue::new(1),
                published: AtomicU64::new(0),
                adopted: AtomicU64::new(0),
                dumps: ArrayQueue::new(COMMANDS),
                solicitations: ArrayQueue::new(SOLICITATIONS),
                samples: ArrayQueue::new(SAMPLES),
                stop: AtomicBool::new(false),
            }),
        }
    }

    /// A handle of no worker, for tests of control.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn detached(id: WorkerId, ports: usize, servers: usize) -> Self {
        Self::new(
            id,
            None,
            Arc::new(WorkerCounters::new(ports, servers)),
            [768, 256],
            Clock::start(),
        )
    }

    /// Takes the newest snapshot as a worker would; returns it if there was a newer one.
    #[cfg(any(test, feature = "testing"))]
    pub fn adopt_newest(&self) -> Option<Arc<Snapshot>> {
        let mut newest = None;
        self.shared
            .take_newer(self.adopted_epoch(), |snapshot| newest = Some(snapshot));
        newest
    }

    /// Which worker.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.shared.id
    }

    /// The present moment as the worker reckons it.
    #[must_use]
    pub fn now(&self) -> Tick {
        tick(self.shared.clock.elapsed())
    }

    /// The core it is pinned to, if any.
    #[must_use]
    pub fn core(&self) -> Option<usize> {
        self.shared.core
    }

    /// Most flows that it can hold.
    #[must_use]
    pub fn flows_max(&self) -> usize {
        self.shared.flows_max.iter().sum()
    }

    /// Most flows of a family that it can hold, and those that it holds now.
    #[must_use]
    pub fn flows_of(&self, family: Family) -> (usize, u64) {
        let [v4, v6] = self.shared.flows_max;
        let counters = &self.shared.counters;
        match family {
            Family::V4 => (
                v4,
                counters.flows.get().saturating_sub(counters.flows_v6.get()),
            ),
            Family::V6 => (v6, counters.flows_v6.get()),
        }
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &WorkerCounters {
        &self.shared.counters
    }

    /// Makes `snapshot` the worker's next. Keep a reference to the one before until
    /// [`adopted_epoch`](Self::adopted_epoch) has reached this one's, so that the worker never
    /// frees a table.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let epoch = snapshot.epoch;
        self.shared.newest.force_push(snapshot);
        self.shared.published.store(epoch, Ordering::Release);
    }

    /// The epoch of the snapshot by which the worker decides now.
    #[must_use]
    pub fn adopted_epoch(&self) -> u64 {
        self.shared.adopted.load(Ordering::Acquire)
    }

    /// Asks for the flows that `filter` matches, at most `limit`; none when too many listings are
    /// under way.
    #[must_use]
    pub fn dump_flows(&self, filter: FlowFilter, limit: usize) -> Option<Arc<FlowDump>> {
        self.ask_for_flows(filter, limit, false)
    }

    /// As [`dump_flows`](Self::dump_flows), and each flow ends as it is told.
    #[must_use]
    pub fn end_flows(&self, filter: FlowFilter, limit: usize) -> Option<Arc<FlowDump>> {
        self.ask_for_flows(filter, limit, true)
    }

    fn ask_for_flows(&self, filter: FlowFilter, limit: usize, ends: bool) -> Option<Arc<FlowDump>> {
        let dump = Arc::new(FlowDump {
            filter,
            limit,
            ends,
            ring: ArrayQueue::new(DUMP_RING),
            is_done: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        });
        self.shared.dumps.push(Arc::clone(&dump)).ok()?;
        Some(dump)
    }

    /// The next neighbour that Linux should be asked for.
    #[must_use]
    pub fn take_solicitation(&self) -> Option<Solicitation> {
        self.shared.solicitations.pop()
    }

    /// The next sample of a dropped packet.
    #[must_use]
    pub fn take_sample(&self) -> Option<DropSample> {
        self.shared.samples.pop()
    }

    /// Asks the worker to end after its present turn; join its thread then.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    pub(crate) fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Gives the newest snapshot to `adopt`, which lets go of the one before, when there is a newer
    /// one than that of `epoch`; returns its epoch.
    pub(crate) fn take_newer(&self, epoch: u64, adopt: impl FnOnce(Arc<Snapshot>)) -> Option<u64> {
        if self.published.load(Ordering::Acquire) == epoch {
            return None;
        }
        let snapshot = self.newest.pop()?;
        let epoch = snapshot.epoch;
        adopt(snapshot);
        // Only now: on seeing this epoch control frees the one before.
        self.adopted.store(epoch, Ordering::Release);
        Some(epoch)
    }

    pub(crate) fn next_dump(&self) -> Option<Listing> {
        self.dumps.pop().map(|dump| Listing {
            dump,
            at: 0,
            told: 0,
        })
    }
}

/// The worker's side of a [`FlowDump`].
#[derive(Debug)]
pub(crate) struct Listing {
    dump: Arc<FlowDump>,
    at: usize,
    told: usize,
}

/// Places of the flow table that a listing visits in one turn.
const VISIT: usize = 256;

impl Listing {
    /// Goes on for a few places; none when the listing has ended.
    pub(crate) fn go_on<F: Frame>(mut self, director: &mut Director<F>, now: Tick) -> Option<Self> {
        if self.dump.is_given_up.load(Ordering::Acquire) {
            return None;
        }
        if self.dump.ring.capacity() - self.dump.ring.len() < VISIT {
            return Some(self);
        }
        let (dump, told) = (&self.dump, &mut self.told);
        let mut ending = [None; VISIT];
        let mut places = ending.iter_mut();
        let services = &director.snapshot().services;
        let next = director.flows().visit(self.at, VISIT, |flow| {
            let Some(record) = FlowRecord::of(flow, services, now) else {
                return;
            };
            if *told < dump.limit && dump.filter.matches(&record) && dump.ring.push(record).is_ok()
            {
                *told += 1;
                if let Some(place) = places.next().filter(|_| dump.ends) {
                    *place = Some(record.request);
                }
            }
        });
        for request in ending.iter().flatten() {
            director.end_flow(now, request);
        }
        match next {
            Some(at) if self.told < self.dump.limit => {
                self.at = at;
                Some(self)
            }
            _ => {
                self.dump.is_done.store(true, Ordering::Release);
                None
            }
        }
    }
}
