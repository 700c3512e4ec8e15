//! The stages in order, and what one director of one worker remembers between bursts.
//!
//! Cache misses are the cost of this program, so what a packet needs is asked for some packets
//! before it is used: its bytes, then its flow's line, then what the flow leads to. Nearly all
//! packets take the short way of `plain.rs`; the others are taken one by one in between, in the order
//! of arrival, because a packet may begin or end the flow of the next.

mod between;
mod finish;
mod ways;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use weir_wire::{Family, plain};

use crate::classify::classify;
use crate::counters::WorkerCounters;
use crate::defence::Defences;
use crate::drain::Ending;
use crate::flow::FlowTable;
use crate::flow::entry::{Entry4, Entry6};
use crate::io::{BURST_MAX, Burst, Frame, Outlet, PortId, WorkerId};
use crate::limiter::Limiter;
use crate::local::LocalEnds;
use crate::next_hop::park::Park;
use crate::note::{Note, Verdict};
use crate::overflow::Overflowing;
use crate::persist::Sweep;
use crate::plain::{Found, Shorts, Side};
use crate::reassemble::Reassembly;
use crate::schedule::Random;
use crate::service::ServerId;
use crate::settings::FtpPorts;
use crate::snapshot::Snapshot;
use crate::steer::Steering;
use crate::time::Tick;
use crate::track::tuple_of;
use ways::{CLIENT_HOPS, ClientHop, ServerHop};

/// Capacities and limits of one director. Fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 flows in the table.
    pub flows: usize,
    /// IPv6 flows in the table.
    pub flows_v6: usize,
    /// TCP and SCTP flows whose handshake is not complete.
    pub half_open: usize,
    /// Services.
    pub services: usize,
    /// Real-server slots.
    pub servers: usize,
    /// Packets a second for Linux.
    pub punt_per_second: u32,
    /// Share of those that only ARP, neighbour discovery, VRRP, BGP and OSPF may use, in percent.
    pub punt_reserved_percent: u8,
    /// ICMP errors and resets a second.
    pub icmp_per_second: u32,
    /// Packets that may wait for neighbours.
    pub parked: usize,
    /// Packets that may wait for one neighbour.
    pub parked_per_neighbour: usize,
    /// Fragments that may wait for the others of their packet, up to 65,534.
    pub fragments: usize,
}

/// The director of one worker.
#[derive(Debug)]
pub struct Director<F> {
    pub(crate) id: WorkerId,
    pub(crate) steering: Steering,
    pub(crate) flows: FlowTable,
    pub(crate) locals: LocalEnds,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) park: Park<F>,
    pub(crate) reassembly: Reassembly<F>,
    /// What packets are put together in; none while one is.
    pub(crate) whole: Option<Box<[u8]>>,
    pub(crate) errors: Limiter,
    /// Identification of the next outer header that may be fragmented.
    pub(crate) next_ip_id: u16,
    /// What the next IPv6 packet that is cut is identified by is made of.
    next_fragment_id: u64,
    punts: Limiter,
    pub(crate) overflow: Overflowing,
    pub(crate) random: Random,
    pub(crate) defences: Defences,
    /// The end of flows whose server had its time to drain.
    pub(crate) ending: Ending,
    /// The server of the flow that the packet under way has ended, if it answers past the director.
    pub(crate) just_ended: Option<ServerId>,
    /// Where the search for flows of removed servers goes on.
    pub(crate) homeless_at: Option<usize>,
    /// Ports of FTP's control connections, none when there is no service for them.
    pub(crate) ftp_ports: FtpPorts,
    /// For plain packets.
    pub(crate) shorts: Shorts,
    /// Flows may begin the short way.
    pub(crate) opens_short: bool,
    /// What is kept of servers does not fit the first-level cache.
    pub(crate) has_many_servers: bool,
    /// There are servers whose flows are ended by resets.
    pub(crate) has_resets: bool,
    /// Plain packets sent in the burst under way.
    pub(crate) passed: u64,
    /// Where the burst under way was received.
    pub(crate) received_at: PortId,
    pub(crate) template_sweep: Sweep,
    server_hops: Vec<ServerHop>,
    client_hops: Box<[ClientHop]>,
    /// None while it is lent to a burst.
    stages: Option<Box<Stages>>,
    /// No packet takes the short way.
    #[cfg(feature = "testing")]
    is_general_only: bool,
}

/// What the stages know of each packet of a burst.
#[derive(Debug)]
struct Stages {
    found: [Found<Entry4>; BURST_MAX],
    /// Of those that are not plain packets of IPv4.
    others: [Other; BURST_MAX],
}

/// What is known of a packet that is no plain packet of IPv4.
#[derive(Debug)]
enum Other {
    V6(Found<Entry6>),
    General(Note),
}

/// The plain packets of IPv6. What stands beside those of IPv4 is of an earlier burst.
fn plain_v6<'a>(
    found: &[Found<Entry4>],
    others: &'a mut [Other],
) -> impl Iterator<Item = &'a mut Found<Entry6>> {
    let all = found.iter().zip(others);
    all.filter_map(|(found, other)| match other {
        Other::V6(v6) if found.is_general() => Some(v6),
        _ => None,
    })
}

/// What stage 1 tells of a whole burst.
struct Read {
    /// Of all frames.
    bytes: usize,
    /// There are plain packets of IPv6.
    has_v6: bool,
}

/// How many packets ahead a packet's bytes are asked for.
const AHEAD: usize = 4;

impl<F: Frame> Director<F> {
    /// A director for worker `id`, one of those among whom `steering` shares flows out. All its
    /// memory is taken here. `seed` is random.
    #[must_use]
    pub fn new(
        id: WorkerId,
        steering: impl Into<Steering>,
        limits: &Limits,
        counters: Arc<WorkerCounters>,
        seed: [u64; 2],
    ) -> Self {
        let steering = steering.into();
        Self {
            id,
            locals: LocalEnds::new(steering.workers(), limits.servers, seed[1]),
            steering,
            flows: FlowTable::new(limits.flows, limits.flows_v6, seed),
            snapshot: Arc::new(Snapshot::empty()),
            counters,
            park: Park::new(limits.parked, limits.parked_per_neighbour),
            reassembly: Reassembly::new(limits.fragments, seed[0] ^ seed[1].rotate_left(32)),
            whole: Some(crate::gather::buffer()),
            errors: Limiter::new(limits.icmp_per_second, 0),
            next_ip_id: seed[0] as u16,
            next_fragment_id: seed[1],
            punts: Limiter::new(limits.punt_per_second, limits.punt_reserved_percent),
            overflow: Overflowing::new(limits.half_open, limits.services),
            random: Random::new(seed[0] ^ seed[1].rotate_left(32)),
            defences: Defences::new(seed[0] ^ seed[1]),
            ending: Ending::new(limits.servers, [seed[1].rotate_left(17), seed[0]]),
            just_ended: None,
            homeless_at: None,
            ftp_ports: FtpPorts::NONE,
            server_hops: vec![ServerHop::default(); limits.servers],
            client_hops: vec![ClientHop::NONE; CLIENT_HOPS].into_boxed_slice(),
            shorts: Shorts::new(limits.servers),
            opens_short: false,
            has_many_servers: false,
            has_resets: false,
            passed: 0,
            received_at: PortId(0),
            template_sweep: Sweep::default(),
            stages: Some(Box::new(Stages {
                found: [Found::GENERAL; BURST_MAX],
                others: [const { Other::General(Note::NONE) }; BURST_MAX],
            })),
            #[cfg(feature = "testing")]
            is_general_only: false,
        }
    }

    /// Has every packet take the general way, for tests that compare the two.
    #[cfg(feature = "testing")]
    pub fn take_the_general_way_only(&mut self) {
        self.is_general_only = true;
    }

    /// Takes a burst that was received at `port` from received to decided. `burst` is empty
    /// afterwards: each frame has gone to `outlet` or has been counted and freed. `is_handed_off`
    /// says that another worker found this one to be the owner.
    pub fn process<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        burst: &mut Burst<F>,
        outlet: &mut O,
    ) {
        let Some(mut stages) = self.stages.take() else {
            debug_assert!(false, "a burst within a burst");
            return;
        };
        self.received_at = port;
        let Stages { found, others } = &mut *stages;
        let (found, others) = (&mut found[..burst.len()], &mut others[..burst.len()]);
        let Read { bytes, has_v6 } = self.read(port, burst, found, others);
        if let Some(counters) = self.counters.port(port).filter(|_| !is_handed_off) {
            counters.packets_received.add(burst.len() as u64);
            counters.bytes_received.add(bytes as u64);
        }
        // 2. Keys to flows.
        self.note_version::<Entry4>();
        let mut all_at_home = true;
        for found in &mut *found {
            all_at_home &= self.find_plain(found);
        }
        if !all_at_home {
            self.find_away(found.iter_mut());
        }
        if has_v6 {
            self.find_v6(found, others);
        }
        // 3. In the order of arrival: flows begin, move on and end; packets are rewritten and leave.
        for (frame, (found, other)) in burst.drain(..).zip(found.iter().zip(others)) {
            if let Err(frame) = self.pass_plain(now, found, frame, outlet) {
                self.pass_other(now, port, is_handed_off, found, other, frame, outlet);
            }
        }
        self.settle(now);
        self.counters
            .forwarded
            .add(core::mem::take(&mut self.passed));
        self.stages = Some(stages);
    }

    /// Stage 1: bytes to keys; what is not plain is classified.
    fn read(
        &self,
        port: PortId,
        burst: &[F],
        found: &mut [Found<Entry4>],
        others: &mut [Other],
    ) -> Read {
        let (bytes, are_all_v4) = self.read_v4(port, burst, found);
        let has_v6 = !are_all_v4 && self.read_others(port, burst, found, others);
        Read { bytes, has_v6 }
    }

    /// Reads plain packets of IPv4. Returns the bytes of all frames, and whether all are such.
    #[inline(never)]
    fn read_v4(&self, port: PortId, burst: &[F], found: &mut [Found<Entry4>]) -> (usize, bool) {
        let mac = self.plain_mac(port, Family::V4);
        let (mut bytes, mut are_all_v4) = (0, true);
        for ((at, frame), found) in burst.iter().enumerate().zip(found) {
            if let Some(later) = burst.get(at + AHEAD) {
                later.prefetch();
            }
            bytes += frame.bytes().len();
            self.read_plain(frame, mac, found);
            are_all_v4 &= !found.is_general();
        }
        (bytes, are_all_v4)
    }

    /// Reads plain packets of IPv6 and classifies the rest. True when there are such.
    #[inline(never)]
    fn read_others(
        &self,
        port: PortId,
        burst: &[F],
        found: &[Found<Entry4>],
        others: &mut [Other],
    ) -> bool {
        let mac = self.plain_mac(port, Family::V6);
        let mut has_v6 = false;
        let all = burst.iter().zip(found).zip(others);
        for ((frame, _), other) in all.filter(|((_, found), _)| found.is_general()) {
            let mut found = Found::GENERAL;
            self.read_plain(frame, mac, &mut found);
            *other = match found.is_general() {
                true => Other::General(self.classify(port, frame)),
                false => Other::V6(found),
            };
            has_v6 |= !found.is_general();
        }
        has_v6
    }

    /// The station to which packets of a family may be plain; none without services of the family, since
    /// every packet is Linux's then.
    fn plain_mac(&self, port: PortId, family: Family) -> Option<u64> {
        let interface = self.snapshot.network.interface_of(port, 0);
        let interface = interface.filter(|_| self.snapshot.services.has_family(family));
        #[cfg(feature = "testing")]
        let interface = interface.filter(|_| !self.is_general_only);
        interface.map(|interface| plain::mac(interface.mac))
    }

    /// Stage 2 of plain packets of IPv6.
    #[inline(never)]
    fn find_v6(&mut self, found: &[Found<Entry4>], others: &mut [Other]) {
        self.note_version::<Entry6>();
        let mut all_at_home = true;
        for found in plain_v6(found, others) {
            all_at_home &= self.find_plain(found);
        }
        if !all_at_home {
            self.find_away(plain_v6(found, others));
        }
    }

    #[inline(never)]
    fn classify(&self, port: PortId, frame: &F) -> Note {
        let note = classify(frame, port, &self.snapshot);
        if let (Verdict::LookUp, Some(headers)) = (note.verdict, note.headers)
            && let Some(tuple) = tuple_of(&headers)
        {
            self.flows
                .prefetch(headers.family(), self.flows.hash(&tuple));
        }
        note
    }

    /// Stage 3 of all but plain packets of IPv4 whose flow is where it is looked for.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "what the stages before found")]
    fn pass_other<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        found: &Found<Entry4>,
        other: &Other,
        frame: F,
        outlet: &mut O,
    ) {
        if !found.is_general() {
            return self.pass_unfound(now, port, is_handed_off, found, frame, outlet);
        }
        match other {
            Other::V6(found) => {
                if let Err(frame) = self.pass_plain(now, found, frame, outlet) {
                    self.pass_unfound(now, port, is_handed_off, found, frame, outlet);
                }
            }
            Other::General(note) => self.pass(now, port, is_handed_off, *note, frame, outlet),
        }
    }

    /// Stage 3 of a plain packet whose flow is not where it is looked for, or that needs more than the
    /// short way gives.
    fn pass_unfound<E: Side, O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        found: &Found<E>,
        mut frame: F,
        outlet: &mut O,
    ) {
        let mut verdict = None;
        if found.is_nowhere() {
            let place = match self.find_again(found) {
                Some(place) => Ok(place),
                None => self.open_plain(now, found, is_handed_off),
            };
            match place {
                Ok(place) => match self.pass_at(now, found, place, frame, outlet) {
                    Ok(()) => return,
                    Err(back) => frame = back,
                },
                Err(Some(Verdict::HandOff(owner))) => {
                    return self.hand_off(owner, port, frame, outlet);
                }
                Err(decided) => verdict = decided,
            }
        }
        let mut note = classify(&frame, port, &self.snapshot);
        if let (Verdict::LookUp, Some(verdict)) = (note.verdict, verdict) {
            note.verdict = verdict;
        }
        self.pass(now, port, is_handed_off, note, frame, outlet);
    }

    /// Stage 3 of a packet that is not plain, or whose flow is not known.
    pub(crate) fn pass<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        mut note: Note,
        frame: F,
        outlet: &mut O,
    ) {
        self.just_ended = None;
        if let Some(headers) = &note.headers {
            if let Verdict::Fragment = note.verdict {
                return self.gather(now, port, is_handed_off, headers, frame, outlet);
            }
            note.verdict = match note.verdict {
                Verdict::LookUp => {
                    let len = headers.packet_len() as u16;
                    self.track(now, headers, frame.bytes(), len, is_handed_off)
                }
                Verdict::Related => self.relate(now, headers, frame.bytes(), is_handed_off),
                decided => decided,
            };
        }
        self.finish(now, port, &note, frame, outlet);
    }

    /// The flow table, to be listed.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// True while packets wait for a neighbour.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        !self.park.is_empty()
    }

    /// Identifies the fragments of the next packet of IPv6: not to be guessed (RFC 7739), and not
    /// the same again for long.
    pub(crate) fn take_fragment_id(&mut self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.next_fragment_id = self.next_fragment_id.wrapping_add(ODD);
        let mixed = (self.next_fragment_id ^ self.next_fragment_id >> 30).wrapping_mul(ODD);
        (mixed >> 32) as u32
    }
}
