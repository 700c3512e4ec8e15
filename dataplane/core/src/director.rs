//! The stages in order, and what one director of one worker remembers between bursts.
//!
//! Cache misses are the cost of this program, so what a packet needs is asked for some packets
//! before it is used: its bytes, then its flow's line, then what the flow leads to. Nearly all
//! packets take the short way of `plain.rs`; the others are taken one by one in between, in the order
//! of arrival, because a packet may begin or end the flow of the next.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use weir_wire::{Addr, Family, plain};

use crate::classify::classify;
use crate::counters::{DropReason, WorkerCounters};
use crate::defence::Defences;
use crate::flow::FlowTable;
use crate::io::{BURST_MAX, Burst, Frame, Outlet, PortId, WorkerId};
use crate::limiter::Limiter;
use crate::local::LocalEnds;
use crate::next_hop::park::Park;
use crate::next_hop::{Hop, NextHop};
use crate::note::{Note, PuntClass, Verdict};
use crate::overflow::Overflowing;
use crate::persist::Sweep;
use crate::plain::{Found, Target};
use crate::reassemble::Reassembly;
use crate::schedule::Random;
use crate::service::ServerId;
use crate::settings::FtpPorts;
use crate::snapshot::Snapshot;
use crate::steer::Steering;
use crate::time::Tick;
use crate::track::tuple_of;

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

/// Clients whose way out is remembered.
const CLIENT_HOPS: usize = 4096;

/// How long a path MTU that a router told of is believed, in seconds (RFC 1191 §6.3).
const PATH_MTU_SECONDS: u32 = 600;

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
    /// Where the search for flows of removed servers goes on.
    pub(crate) homeless_at: Option<usize>,
    /// Ports of FTP's control connections, none when there is no service for them.
    pub(crate) ftp_ports: FtpPorts,
    /// By server.
    pub(crate) targets: Vec<Target>,
    /// What is kept of servers does not fit the first-level cache.
    pub(crate) has_many_servers: bool,
    /// There are servers whose flows are ended by resets.
    pub(crate) has_resets: bool,
    /// The version of the flow table's entries that the burst under way was looked up in.
    pub(crate) looked_up: u32,
    /// Plain packets sent in the burst under way.
    pub(crate) passed: u64,
    /// Where the burst under way was received.
    pub(crate) received_at: PortId,
    template_sweep: Sweep,
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
    found: [Found; BURST_MAX],
    /// Of those that are not plain.
    notes: [Note; BURST_MAX],
}

/// With more servers than this, their two lines each are asked for ahead of their use.
const MANY_SERVERS: usize = 64;

/// How many packets ahead a packet's bytes are asked for.
const AHEAD: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct ServerHop {
    /// Whose way it is: a slot may get another server.
    addr: Addr,
    /// The network epoch under which `hop` was resolved.
    epoch: u32,
    hop: Option<NextHop>,
    /// What a router told of the path, 0 if nothing.
    path_mtu: u16,
    path_mtu_until: Tick,
}

#[derive(Clone, Copy, Debug)]
struct ClientHop {
    epoch: u32,
    client: Addr,
    hop: Option<NextHop>,
}

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
        let client = ClientHop {
            epoch: 0,
            client: Addr(0),
            hop: None,
        };
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
            homeless_at: None,
            ftp_ports: FtpPorts::NONE,
            server_hops: vec![ServerHop::default(); limits.servers],
            client_hops: vec![client; CLIENT_HOPS].into_boxed_slice(),
            targets: vec![Target::UNSET; limits.servers],
            has_many_servers: false,
            has_resets: false,
            looked_up: 0,
            passed: 0,
            received_at: PortId(0),
            template_sweep: Sweep::default(),
            stages: Some(Box::new(Stages {
                found: [Found::GENERAL; BURST_MAX],
                notes: [Note::NONE; BURST_MAX],
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
        let Stages { found, notes } = &mut *stages;
        let (found, notes) = (&mut found[..burst.len()], &mut notes[..burst.len()]);
        let bytes = self.read(port, burst, found, notes);
        if let Some(counters) = self.counters.port(port).filter(|_| !is_handed_off) {
            counters.packets_received.add(burst.len() as u64);
            counters.bytes_received.add(bytes as u64);
        }
        // 2. Keys to flows.
        self.looked_up = self.flows.v4.version();
        let mut all_at_home = true;
        for found in &mut *found {
            all_at_home &= self.find_plain(found);
        }
        if !all_at_home {
            self.find_away(found);
        }
        // 3. In the order of arrival: flows begin, move on and end; packets are rewritten and leave.
        for (frame, (found, note)) in burst.drain(..).zip(found.iter().zip(notes)) {
            if let Err(frame) = self.pass_plain(now, found, frame, outlet) {
                self.pass_other(now, port, is_handed_off, found, note, frame, outlet);
            }
        }
        self.settle(now);
        self.counters
            .forwarded
            .add(core::mem::take(&mut self.passed));
        self.stages = Some(stages);
    }

    /// Stage 1: bytes to keys; what is not plain is classified. Returns the bytes of all frames.
    #[inline(never)]
    fn read(&self, port: PortId, burst: &[F], found: &mut [Found], notes: &mut [Note]) -> usize {
        let interface = self.snapshot.network.interface_of(port, 0);
        // Without services of the family every packet is Linux's.
        let interface = interface.filter(|_| self.snapshot.services.has_family(Family::V4));
        #[cfg(feature = "testing")]
        let interface = interface.filter(|_| !self.is_general_only);
        let mac = interface.map(|interface| plain::mac(interface.mac));
        let mut bytes = 0;
        let places = found.iter_mut().zip(notes);
        for ((at, frame), (found, note)) in burst.iter().enumerate().zip(places) {
            if let Some(later) = burst.get(at + AHEAD) {
                later.prefetch();
            }
            bytes += frame.bytes().len();
            *found = mac.map_or(Found::GENERAL, |mac| self.read_plain(frame, mac));
            if found.is_general() {
                *note = self.classify(port, frame);
            }
        }
        bytes
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

    /// Stage 3 of a packet whose flow is not where it is looked for, or that needs more than the
    /// short way gives.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "what the stages before found")]
    fn pass_other<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        found: &Found,
        note: &Note,
        mut frame: F,
        outlet: &mut O,
    ) {
        if found.is_general() {
            return self.pass(now, port, is_handed_off, *note, frame, outlet);
        }
        let mut verdict = None;
        if found.is_nowhere() {
            let place = match self.find_again(found) {
                Some(found) => Ok(found),
                None => self.open_plain(now, found, is_handed_off),
            };
            match place {
                Ok(found) => match self.pass_plain(now, &found, frame, outlet) {
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

    fn finish<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        note: &Note,
        frame: F,
        outlet: &mut O,
    ) {
        let Some(headers) = note.headers else {
            match note.verdict {
                Verdict::Punt(class) => self.punt(now, port, class, frame, outlet),
                Verdict::Drop(reason) => self.end(reason, port, &frame, outlet),
                _ => debug_assert!(false, "a verdict without headers: {:?}", note.verdict),
            }
            return;
        };
        let mut way = crate::forward::Way {
            director: self,
            outlet,
            now,
            port,
            headers,
        };
        match note.verdict {
            Verdict::Request(to) => {
                way.request(frame, to);
                self.make_target(now, to.server);
            }
            Verdict::Reply(from) => way.reply(frame, from),
            Verdict::ResetRequest(to) => way.reset_request(frame, to),
            Verdict::ResetReply(from) => way.reset_reply(frame, from),
            Verdict::StatelessRequest(to) => {
                way.count_stateless(to.server);
                way.request(frame, to);
            }
            Verdict::ControlRequest(to, control) => way.control_request(frame, to, control),
            Verdict::ControlReply(from, control) => way.control_reply(frame, from, control),
            Verdict::OnePacket(to) => {
                way.count_one_packet(to.server);
                way.request(frame, to);
            }
            Verdict::StatelessReply(from) => {
                way.director.counters.stateless.add(1);
                way.reply(frame, from);
            }
            Verdict::ErrorToServer(to) => way.error_to_server(frame, to),
            Verdict::ErrorToClient(from, server) => way.error_to_client(frame, from, server),
            Verdict::ErrorInTunnel(server) => way.error_in_tunnel(frame, server),
            Verdict::TellServer => way.tell_server(frame),
            Verdict::Refuse(reason) => way.refuse(frame, reason),
            Verdict::HandOff(owner) => self.hand_off(owner, port, frame, outlet),
            Verdict::Punt(PuntClass::Ordinary) => way.punt_or_refuse(frame),
            Verdict::Punt(class) => self.punt(now, port, class, frame, outlet),
            Verdict::Drop(reason) => self.end(reason, port, &frame, outlet),
            Verdict::LookUp | Verdict::Related | Verdict::Fragment => {
                debug_assert!(false, "undecided after the last stage: {:?}", note.verdict);
            }
        }
    }

    pub(crate) fn hand_off<O: Outlet<Frame = F>>(
        &self,
        owner: WorkerId,
        port: PortId,
        frame: F,
        outlet: &mut O,
    ) {
        match outlet.hand_off(owner, port, frame) {
            Ok(()) => self.counters.handed_off.add(1),
            Err(frame) => self.end(DropReason::HandOffRingFull, port, &frame, outlet),
        }
    }

    /// Counts a packet of so many bytes that a server, or the director in its place, sent to a client.
    pub(crate) fn count_out(&self, server: ServerId, bytes: u64) {
        if let Some(counters) = self.counters.servers.get(server.0 as usize) {
            counters.packets_out.add(1);
            counters.bytes_out.add(bytes);
        }
    }

    /// Counts a packet that ends here, and lets it be sampled.
    pub(crate) fn end<O: Outlet<Frame = F>>(
        &self,
        reason: DropReason,
        port: PortId,
        frame: &F,
        outlet: &mut O,
    ) {
        self.counters.count_drop(reason);
        outlet.dropped(reason, port, frame);
    }

    fn punt<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        class: PuntClass,
        frame: F,
        outlet: &mut O,
    ) {
        if let Err(reason) = self.try_punt(now, port, class, &frame, outlet) {
            self.end(reason, port, &frame, outlet);
        }
    }

    pub(crate) fn try_punt<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        class: PuntClass,
        frame: &F,
        outlet: &mut O,
    ) -> Result<(), DropReason> {
        if !self.punts.allow(now, class == PuntClass::Vital) {
            return Err(DropReason::PuntLimit);
        }
        outlet.punt(port, frame)?;
        self.counters.punted.add(1);
        Ok(())
    }

    /// Takes a newer snapshot over and returns the one before. Packets whose neighbour has become
    /// known leave.
    pub fn adopt<O: Outlet<Frame = F>>(
        &mut self,
        snapshot: Arc<Snapshot>,
        outlet: &mut O,
    ) -> Arc<Snapshot> {
        let before = core::mem::replace(&mut self.snapshot, snapshot);
        self.has_many_servers = self.snapshot.services.server_count() > MANY_SERVERS;
        self.has_resets = self.snapshot.services.has_resets();
        self.defences.look_again();
        self.look_for_homeless();
        self.look_for_ftp();
        if before.network_epoch != self.snapshot.network_epoch {
            let network = &self.snapshot.network;
            let sent = self.park.release(network, |port, frame| {
                outlet.transmit(port, frame);
            });
            self.counters.unparked.add(sent);
        }
        before
    }

    /// Work that is not for a packet: ends flows, for which it looks at up to `groups` groups of the
    /// flow table, and gives parked packets up. Returns how many groups it has looked at: less when
    /// enough was found to be done.
    pub fn housekeep<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        groups: usize,
        outlet: &mut O,
    ) -> usize {
        self.end_homeless(now);
        self.defend(now);
        let (counters, snapshot) = (&self.counters, &self.snapshot);
        let templates = &snapshot.templates;
        let swept = self.flows.sweep(now, groups, |ended| {
            counters.flows_expired.add(1);
            crate::track::uncount(counters, snapshot, now, &ended.0);
        });
        let (services, settings) = (&self.snapshot.services, &self.snapshot.settings);
        let is_gone = |id| {
            let server = services.server(id);
            settings.ipvs.expire_nodest_conn && !server.is_some_and(|s| s.is_available)
        };
        let part = (self.id.0, self.steering.workers());
        self.template_sweep
            .go_on(now, part, groups, templates, is_gone);
        self.overflow.keep_house(now);
        self.counters.flows.set(self.flows.len() as u64);
        self.counters
            .flows_v6
            .set(self.flows.len_of(Family::V6) as u64);
        self.counters.half_open.set(self.flows.half_open() as u64);
        self.give_up_fragments(now, outlet);
        self.give_up_parked(now, outlet);
        swept
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

    /// The way to a real server, remembered until the network changes. Its MTU is what routers
    /// told, where that is less.
    pub(crate) fn hop_to_server(&mut self, now: Tick, id: ServerId, addr: Addr) -> Hop {
        let epoch = self.snapshot.network_epoch;
        let Some(memory) = self.server_hops.get_mut(id.0 as usize) else {
            return self.snapshot.network.resolve(addr);
        };
        if memory.addr != addr {
            *memory = ServerHop {
                addr,
                ..ServerHop::default()
            };
        }
        let hop = match memory.hop {
            Some(hop) if memory.epoch == epoch => Hop::Ready(hop),
            _ => self.snapshot.network.resolve(addr),
        };
        if let Hop::Ready(ready) = hop {
            (memory.hop, memory.epoch) = (Some(ready), epoch);
        }
        if memory.path_mtu == 0 {
            return hop;
        }
        if now.has_reached(memory.path_mtu_until) {
            memory.path_mtu = 0;
            self.targets[id.0 as usize].forget();
        }
        limit_mtu(hop, memory.path_mtu)
    }

    /// True while a router's word holds for the path to a server.
    pub(crate) fn has_path_mtu(&self, now: Tick, id: ServerId) -> bool {
        let memory = self.server_hops.get(id.0 as usize);
        memory.is_some_and(|m| m.path_mtu != 0 && !now.has_reached(m.path_mtu_until))
    }

    /// Remembers what a router told of the path to a tunnel's end.
    pub(crate) fn learn_path_mtu(&mut self, now: Tick, id: ServerId, mtu: u16) {
        if let Some(memory) = self.server_hops.get_mut(id.0 as usize) {
            memory.path_mtu = mtu;
            memory.path_mtu_until = now.after(crate::time::seconds(PATH_MTU_SECONDS));
            self.targets[id.0 as usize].forget();
        }
    }

    /// Identifies the fragments of the next packet of IPv6: not to be guessed (RFC 7739), and not
    /// the same again for long.
    pub(crate) fn take_fragment_id(&mut self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.next_fragment_id = self.next_fragment_id.wrapping_add(ODD);
        let mixed = (self.next_fragment_id ^ self.next_fragment_id >> 30).wrapping_mul(ODD);
        (mixed >> 32) as u32
    }

    /// The way to a client, remembered until the network changes or another client takes its place.
    pub(crate) fn hop_to_client(&mut self, client: Addr) -> Hop {
        let epoch = self.snapshot.network_epoch;
        let folded = (client.0 as u64) ^ (client.0 >> 64) as u64;
        let at = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        let memory = &mut self.client_hops[at as usize % CLIENT_HOPS];
        if let Some(hop) = memory.hop
            && memory.epoch == epoch
            && memory.client == client
        {
            return Hop::Ready(hop);
        }
        let hop = self.snapshot.network.resolve(client);
        if let Hop::Ready(ready) = hop {
            *memory = ClientHop {
                epoch,
                client,
                hop: Some(ready),
            };
        }
        hop
    }
}

fn limit_mtu(hop: Hop, path_mtu: u16) -> Hop {
    let limit = |mut hop: NextHop| {
        if path_mtu != 0 {
            hop.mtu = hop.mtu.min(path_mtu);
        }
        hop
    };
    match hop {
        Hop::Ready(hop) => Hop::Ready(limit(hop)),
        Hop::Unresolved {
            interface,
            neighbour,
            hop,
        } => Hop::Unresolved {
            interface,
            neighbour,
            hop: limit(hop),
        },
        other => other,
    }
}
