//! A device in memory: it plays clients, their router and the real servers, and takes back what
//! the worker sends. What a packet costs here does not depend on how many flows there are: every
//! flow's packet is computed, and what is remembered of flows is read front to back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use weir_core::io::{BURST_MAX, Burst, Frame, PacketIo, PortId};
use weir_wire::Family;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use crate::check::Checker;
use crate::packet::{self, Fields, Template};
use crate::scenario::{
    self, LAN, LAN_MAC, Mode, ROUTER_MAC, SERVICE_PORT, VIP, WAN, WAN_MAC, server_ip, server_mac,
};
use crate::supply::Supply;

/// What the source is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    Rest,
    /// One packet of every flow, in order.
    Pass(Packet),
    /// Clients' packets of established flows at random.
    Requests,
    /// Real servers' packets of established flows at random.
    Replies,
    /// A burst of either in turn.
    BothWays,
    /// Connections made and ended for ever: SYN, ACK and FIN of different ones in turn.
    Churn,
}

/// A client's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Syn,
    Ack,
    Fin,
    Rst,
}

const FLAGS: [u8; 4] = [SYN, ACK, FIN | ACK, RST];

/// Connections between the packets of one connection while they churn: far more than a burst.
const CHURN_DISTANCE: u32 = 4096;

/// How the director sends replies of one flow: what the sink has learned.
#[derive(Clone, Copy, Debug)]
struct Reply {
    flow: u32,
    dst: u32,
    dst_port: u16,
    server: u8,
}

/// What the source and whoever drives it share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) phase: Cell<Phase>,
    /// Flows still to come in this pass.
    pub(crate) left: Cell<u32>,
    /// Frames that the worker was given.
    pub(crate) given: Cell<u64>,
    /// Frames that came back.
    pub(crate) returned: Cell<u64>,
    /// Looks at every frame that comes back, when there.
    pub(crate) checker: RefCell<Option<Checker>>,
    /// Which flows are open: all below a number, or these.
    flows: Flows,
    learned: RefCell<Vec<Reply>>,
}

/// The flows that a source plays.
#[derive(Debug)]
pub(crate) enum Flows {
    /// All numbers below.
    Below(u32),
    /// These, in an order that is as good as random. The list is read front to back.
    Listed(Box<[u32]>),
}

impl Flows {
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Below(count) => *count,
            Self::Listed(list) => list.len() as u32,
        }
    }
}

impl Desk {
    pub(crate) fn new(flows: Flows) -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Rest),
            left: Cell::new(0),
            given: Cell::new(0),
            returned: Cell::new(0),
            checker: RefCell::new(None),
            flows,
            learned: RefCell::default(),
        })
    }

    pub(crate) fn flows(&self) -> u32 {
        self.flows.count()
    }

    /// Begins a pass over all flows.
    pub(crate) fn pass(&self, packet: Packet) {
        self.phase.set(Phase::Pass(packet));
        self.left.set(self.flows());
    }

    /// Puts what was learned of the replies in random order, in which it will be read.
    pub(crate) fn shuffle_replies(&self, seed: u64) {
        let mut random = Random(seed);
        let mut learned = self.learned.borrow_mut();
        for last in (1..learned.len()).rev() {
            let other = random.below(last as u32 + 1) as usize;
            learned.swap(last, other);
        }
    }

    /// Memory that the source keeps of flows.
    pub(crate) fn bytes(&self) -> u64 {
        let listed = match &self.flows {
            Flows::Below(_) => 0,
            Flows::Listed(list) => size_of_val::<[u32]>(list),
        };
        (listed + size_of::<Reply>() * self.learned.borrow().len()) as u64
    }

    /// Replies that can be played.
    pub(crate) fn replies(&self) -> usize {
        self.learned.borrow().len()
    }
}

/// Knuth's linear congruence; the upper half is random enough to visit flows by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// The device of one worker.
pub(crate) struct Source<S> {
    supply: S,
    desk: Rc<Desk>,
    mode: Mode,
    random: Random,
    /// By packet.
    requests: [Template; FLAGS.len()],
    /// By real server.
    replies: Vec<Template>,
    /// Where in a list the next visit is.
    next_listed: usize,
    next_reply: usize,
    is_reply_turn: bool,
    /// Packets sent while connections churn.
    churned: u64,
}

impl<S: Supply> Source<S> {
    /// A source that visits flows in an order given by `seed`.
    pub(crate) fn new(mode: Mode, family: Family, seed: u64, desk: &Rc<Desk>, supply: S) -> Self {
        let reply = |n| Template::new(family, LAN_MAC, server_mac(n), ACK);
        let request = |flags| Template::new(family, WAN_MAC, ROUTER_MAC, flags);
        Self {
            supply,
            desk: Rc::clone(desk),
            mode,
            random: Random(seed),
            requests: FLAGS.map(request),
            replies: (0..scenario::SERVERS).map(reply).collect(),
            next_listed: 0,
            next_reply: 0,
            is_reply_turn: false,
            churned: 0,
        }
    }

    /// Appends a client's packets of the flows that `next` tells.
    #[inline]
    fn requests(
        &mut self,
        into: &mut Burst<S::Frame>,
        count: usize,
        mut next: impl FnMut(&mut Self) -> (u32, Packet),
    ) -> usize {
        if !self.supply.take(into, count) {
            return 0;
        }
        for frame in into.iter_mut() {
            let (flow, packet) = next(self);
            let (src, src_port) = scenario::client(flow);
            let fields = Fields {
                src,
                dst: VIP,
                src_port,
                dst_port: SERVICE_PORT,
                flow,
            };
            write(frame, &self.requests[packet as usize], fields);
        }
        count
    }

    #[inline]
    fn replies(&mut self, into: &mut Burst<S::Frame>) -> usize {
        if !self.supply.take(into, BURST_MAX) {
            return 0;
        }
        let learned = self.desk.learned.borrow();
        for frame in into.iter_mut() {
            if self.next_reply >= learned.len() {
                self.next_reply = 0;
            }
            let reply = learned[self.next_reply];
            self.next_reply += 1;
            let fields = Fields {
                src: server_ip(reply.server),
                dst: reply.dst,
                src_port: SERVICE_PORT,
                dst_port: reply.dst_port,
                flow: reply.flow,
            };
            write(frame, &self.replies[usize::from(reply.server)], fields);
        }
        BURST_MAX
    }

    #[inline]
    fn random_flow(&mut self) -> u32 {
        match &self.desk.flows {
            Flows::Below(count) => self.random.below(*count),
            Flows::Listed(list) => {
                if self.next_listed >= list.len() {
                    self.next_listed = 0;
                }
                self.next_listed += 1;
                list[self.next_listed - 1]
            }
        }
    }

    fn pass(&mut self, into: &mut Burst<S::Frame>, packet: Packet) -> usize {
        let left = self.desk.left.get();
        let count = left.min(BURST_MAX as u32);
        let desk = Rc::clone(&self.desk);
        let mut at = desk.flows() - left;
        desk.left.set(left - count);
        self.requests(into, count as usize, |_| {
            at += 1;
            let flow = match &desk.flows {
                Flows::Below(_) => at - 1,
                Flows::Listed(list) => list[at as usize - 1],
            };
            (flow, packet)
        })
    }

    /// The next packet of connections that come and go.
    #[inline]
    fn churn(&mut self) -> (u32, Packet) {
        let connection = (self.churned / 3) as u32;
        let packet = [Packet::Syn, Packet::Ack, Packet::Fin][(self.churned % 3) as usize];
        self.churned += 1;
        match connection.checked_sub(CHURN_DISTANCE * packet as u32) {
            Some(earlier) => (earlier, packet),
            // At the beginning: its SYN once more.
            None => (connection, Packet::Syn),
        }
    }

    /// Keeps how replies of these requests have to look.
    fn learn(&self, frames: &Burst<S::Frame>) {
        let mut learned = self.desk.learned.borrow_mut();
        for frame in frames {
            let Some(seen) = frame.bytes().get(14..).and_then(|p| packet::read(p).ok()) else {
                continue;
            };
            learned.push(Reply {
                flow: seen.flow,
                dst: seen.src,
                dst_port: seen.src_port,
                server: (seen.dst as u8).wrapping_sub(1),
            });
        }
    }
}

/// The source's half. Never part of its caller, so that its instructions can be told from the
/// worker's: `instructions.rs` knows its name.
#[inline(never)]
fn fill<S: Supply>(source: &mut Source<S>, port: PortId, into: &mut Burst<S::Frame>) -> usize {
    let is_client_side = port == WAN;
    let random = |s: &mut Source<S>| (s.random_flow(), Packet::Ack);
    let count = match (source.desk.phase.get(), is_client_side) {
        (Phase::Requests, true) => source.requests(into, BURST_MAX, random),
        (Phase::Replies, false) => source.replies(into),
        (Phase::BothWays, true) => {
            source.is_reply_turn = !source.is_reply_turn;
            match source.is_reply_turn {
                true => 0,
                false => source.requests(into, BURST_MAX, random),
            }
        }
        (Phase::BothWays, false) if source.is_reply_turn => source.replies(into),
        (Phase::Pass(packet), true) => source.pass(into, packet),
        (Phase::Churn, true) => source.requests(into, BURST_MAX, Source::churn),
        _ => 0,
    };
    source
        .desk
        .given
        .set(source.desk.given.get() + count as u64);
    count
}

/// The sink's half; apart from its caller as `fill` is.
#[inline(never)]
fn take_back<S: Supply>(
    source: &mut Source<S>,
    port: PortId,
    frames: &mut Burst<S::Frame>,
) -> usize {
    let (desk, count) = (&source.desk, frames.len());
    if let Some(checker) = &mut *desk.checker.borrow_mut() {
        for frame in frames.iter() {
            checker.look(port, frame.bytes());
        }
    }
    let opens = desk.phase.get() == Phase::Pass(Packet::Syn);
    if opens && source.mode.has_replies() && port == LAN {
        source.learn(frames);
    }
    desk.returned.set(desk.returned.get() + count as u64);
    source.supply.give_back(frames);
    count
}

#[inline]
fn write<F: Frame>(frame: &mut F, template: &Template, fields: Fields) {
    let has_room = frame.push_back(template.len());
    debug_assert!(has_room, "an empty frame has room");
    template.write(frame.bytes_mut(), fields);
}

impl<S: Supply> PacketIo for Source<S> {
    type Frame = S::Frame;

    fn port_count(&self) -> usize {
        2
    }

    fn receive(&mut self, port: PortId, into: &mut Burst<S::Frame>) -> usize {
        fill(self, port, into)
    }

    fn transmit(&mut self, port: PortId, frames: &mut Burst<S::Frame>) -> usize {
        take_back(self, port, frames)
    }

    fn fresh(&mut self) -> Option<S::Frame> {
        self.supply.fresh()
    }
}
