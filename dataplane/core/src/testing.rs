//! A world in memory: frames, and an outlet that keeps what the director decided.

use std::sync::Arc;
use std::vec::Vec;

use crate::counters::DropReason;
use crate::flow::Tuple;
use crate::io::{Frame, Outlet, PortId, RxChecksum, WorkerId};
use crate::load::Loads;
use crate::next_hop::InterfaceId;
use crate::schedule::{Arrival, Member, Random, Recipe, Scheduler, SchedulerName};
use crate::service::{Candidate, ServerId, Service, Services};
use crate::snapshot::Settings;
use crate::time::Tick;
use weir_wire::Addr;

/// Room before a received frame, as DPDK's default.
const HEADROOM: usize = 128;
/// Most bytes behind the start of a frame.
const TAILROOM: usize = 2048;

/// The scheduler of an IPv4 service without flags whose servers have these weights.
#[must_use]
pub fn scheduler(name: SchedulerName, servers: &[Candidate]) -> Scheduler {
    let member = |candidate: &Candidate| Member {
        addr: Addr::from_v4_bytes(candidate.server.0.to_be_bytes()),
        port: 80,
        weight: candidate.weight,
        last_weight: candidate.weight,
    };
    let members: Vec<Member> = servers.iter().map(member).collect();
    Scheduler::build(&Recipe::plain(name), &members, None)
}

/// The server of the next flow of a client while no server has connections.
#[must_use]
pub fn pick(service: &Service, services: &Services) -> Option<ServerId> {
    let request = Tuple {
        src: Addr::from_v4_bytes([198, 51, 100, 1]),
        dst: service.key.addr,
        src_port: 1024,
        dst_port: service.key.port,
        protocol: service.key.protocol,
    };
    Schedules::new(Arc::default()).pick(service, services, &request)
}

/// Schedules without packets.
#[derive(Debug)]
pub struct Schedules {
    /// The connections of all servers.
    pub loads: Arc<Loads>,
    /// As published.
    pub settings: Settings,
    /// The time.
    pub now: Tick,
    random: Random,
}

impl Schedules {
    /// By these connections.
    #[must_use]
    pub fn new(loads: Arc<Loads>) -> Self {
        Self {
            loads,
            settings: Settings::default(),
            now: Tick(1000),
            random: Random::new(1),
        }
    }

    /// The server of a flow that begins.
    #[must_use]
    pub fn pick(
        &self,
        service: &Service,
        services: &Services,
        request: &Tuple,
    ) -> Option<ServerId> {
        let arrival = Arrival {
            request,
            now: self.now,
            loads: &self.loads,
            settings: &self.settings,
            random: &self.random,
        };
        Scheduler::pick(service, services, &arrival)
    }
}

/// A frame in memory.
#[derive(Clone, Debug)]
pub struct MemFrame {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What `rx_checksum` says.
    pub checksum: RxChecksum,
    /// What `is_linear` says.
    pub linear: bool,
}

impl MemFrame {
    /// A received frame of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = std::vec![0xee; HEADROOM + TAILROOM.max(bytes.len())];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
            end: HEADROOM + bytes.len(),
            checksum: RxChecksum::Unknown,
            linear: true,
        }
    }
}

impl Frame for MemFrame {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn push_front(&mut self, n: usize) -> bool {
        let room = n <= self.start;
        if room {
            self.start -= n;
        }
        room
    }

    fn pull_front(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    fn push_back(&mut self, n: usize) -> bool {
        let room = self.end + n <= self.buffer.len();
        if room {
            self.end += n;
        }
        room
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    fn rx_checksum(&self) -> RxChecksum {
        self.checksum
    }

    fn is_linear(&self) -> bool {
        self.linear
    }
}

/// Keeps everything that leaves.
#[derive(Debug, Default)]
pub struct MemOutlet {
    /// Sent, in order.
    pub sent: Vec<(PortId, Vec<u8>)>,
    /// Given to Linux, in order.
    pub punted: Vec<(PortId, Vec<u8>)>,
    /// Handed to other workers, in order.
    pub handed_off: Vec<(WorkerId, PortId, MemFrame)>,
    /// Neighbours asked for, in order.
    pub solicited: Vec<(InterfaceId, Addr)>,
    /// Ended, in order.
    pub dropped: Vec<(DropReason, PortId)>,
    /// Ports without a twin.
    pub without_twin: Vec<PortId>,
    /// The pool gives no more frames.
    pub is_exhausted: bool,
    /// Other workers take no more frames.
    pub is_stuck: bool,
}

impl Outlet for MemOutlet {
    type Frame = MemFrame;

    fn transmit(&mut self, port: PortId, frame: MemFrame) {
        self.sent.push((port, frame.bytes().to_vec()));
    }

    fn punt(&mut self, port: PortId, frame: &MemFrame) -> Result<(), DropReason> {
        if self.without_twin.contains(&port) {
            return Err(DropReason::NoTwin);
        }
        self.punted.push((port, frame.bytes().to_vec()));
        Ok(())
    }

    fn hand_off(&mut self, owner: WorkerId, port: PortId, frame: MemFrame) -> Result<(), MemFrame> {
        if self.is_stuck {
            return Err(frame);
        }
        self.handed_off.push((owner, port, frame));
        Ok(())
    }

    fn fresh(&mut self) -> Option<MemFrame> {
        (!self.is_exhausted).then(|| MemFrame::new(&[]))
    }

    fn solicit(&mut self, interface: InterfaceId, neighbour: Addr) {
        self.solicited.push((interface, neighbour));
    }

    fn dropped(&mut self, reason: DropReason, port: PortId, _: &MemFrame) {
        self.dropped.push((reason, port));
    }
}
