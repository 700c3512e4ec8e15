//! The same packets by the short way and by the general way: two sets of workers that differ in
//! nothing else, driven by the bytes of a property test or a fuzzer.
//!
//! Input is a list of steps, each an operation with its operands. Most are bursts of good packets,
//! some of them damaged, of few clients and ports, so that flows are met again in every state.
//! Replies and ICMP errors answer what was sent before.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::counters::DropReason;
use weir_core::director::Limits;
use weir_core::flow::{Flow, Timeouts};
use weir_core::io::{BURST_MAX, Frame, PortId, RxChecksum, WorkerId};
use weir_core::mark::MarkRule;
use weir_core::next_hop::InterfaceId;
use weir_core::persist::{Engine, Persistence, TemplateView, Templates, mask_of_v4};
use weir_core::schedule::SchedulerName;
use weir_core::service::{Method, Protocol, ServiceKey, Tunnel};
use weir_core::settings::{Defence, FtpPorts, Ipvs};
use weir_core::testing::MemFrame;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};
use weir_wire::{Addr, Headers, Mac, Parsed, fragment};

use crate::world::{
    Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, each_counter, number_of,
    server_mac,
};

/// Frames that replies and errors may answer.
const REMEMBERED: usize = 64;

/// Slots of the servers that changes are about; the last has no neighbour.
const SLOTS: [u8; 20] = [
    1, 2, 3, 4, 5, 6, 7, 8, 17, 20, 21, 23, 24, 25, 33, 35, 36, 37, 40, 26,
];

fn services() -> Vec<Described> {
    use Method::{Dr, FullNat, Nat, Tun};
    use Protocol::{Tcp, Udp};
    use SchedulerName::{Rr, Wrr};
    let net = Net::v4();
    let service = |method, protocol, port, scheduler, servers: &[(u8, u16, u32)]| {
        let mut service = Described::web(&net, method);
        (service.key.protocol, service.key.port) = (protocol, port);
        service.scheduler = scheduler;
        service.servers = servers.to_vec();
        // Few enough to run out.
        service.local = (1, 5000, 5003);
        service
    };
    let mut all = vec![
        service(Nat, Tcp, 80, Rr, &[(1, 80, 1), (2, 8080, 1), (3, 80, 1)]),
        service(Nat, Udp, 80, Wrr, &[(4, 80, 1), (5, 53, 3)]),
        service(Dr, Tcp, 81, Rr, &[(6, 81, 1), (7, 81, 0)]),
        service(Dr, Udp, 81, Rr, &[(8, 81, 1)]),
        service(Tun, Tcp, 82, Wrr, &[(20, 82, 2), (21, 82, 1)]),
        service(Tun, Udp, 82, Rr, &[(22, 82, 1)]),
        service(
            FullNat,
            Tcp,
            83,
            Rr,
            &[(23, 80, 1), (24, 80, 1), (26, 80, 1)],
        ),
        service(FullNat, Udp, 83, Rr, &[(25, 53, 1)]),
        service(Nat, Tcp, 84, Wrr, &[]),
        service(FullNat, Udp, 84, Rr, &[]),
        // The same server as that of port 80: flows of both may have the same replies.
        service(Nat, Tcp, 85, Rr, &[(17, 80, 1)]),
        service(Nat, Udp, 85, Rr, &[(18, 53, 0)]),
        service(Nat, Udp, 86, Rr, &[(19, 53, 1), (28, 53, 1)]),
        service(Tun, Tcp, 87, Rr, &[(29, 87, 1)]),
        service(Tun, Udp, 87, Rr, &[(30, 87, 1)]),
    ];
    let persistent = [
        service(Nat, Tcp, 86, Rr, &[(33, 8080, 1), (34, 80, 1)]),
        service(Dr, Tcp, 0, Wrr, &[(35, 0, 1), (36, 0, 1)]),
        service(Nat, Udp, 88, Rr, &[(37, 53, 1), (38, 53, 1)]),
        // Of every port that is not named here.
        service(Nat, Tcp, 0, Rr, &[(39, 0, 1), (40, 8080, 1)]),
    ];
    for (mut service, seconds) in persistent.into_iter().zip([2, 3, 60, 5]) {
        service.persistence = Some(Persistence {
            lifetime: weir_core::time::seconds(seconds),
            mask: mask_of_v4(0xffff_fffe),
            engine: (service.key.port == 88).then_some(Engine::Sip),
        });
        if service.method == Dr {
            service.key = ServiceKey::of_mark(MARK, weir_wire::Family::V4);
        }
        all.push(service);
    }
    // The datagrams of port 86 are scheduled one by one.
    all[12].one_packet = true;
    all[13].tunnel = Tunnel::Gue {
        port: 6080,
        checksum: true,
    };
    all[14].tunnel = Tunnel::Gre { checksum: false };
    // Of the datagrams by DR.
    all[3].new_flows_max = 8;
    let v6 = Net::v6();
    for (method, port, slot) in [(Nat, 80, 9), (FullNat, 83, 27), (Tun, 82, 10)] {
        let mut service = Described::web(&v6, method);
        service.key.port = port;
        service.servers = vec![(slot, 80, 1)];
        service.local = (1, 5000, 5007);
        all.push(service);
    }
    all
}

/// What packets of the last client to some ports carry.
const MARK: u32 = 5;

fn marks() -> Vec<MarkRule> {
    vec![MarkRule {
        mark: MARK,
        family: None,
        protocol: Some(Protocol::Tcp),
        source: Some((addr("198.51.100.10"), 32)),
        destination: None,
        source_ports: Vec::new(),
        destination_ports: vec![80..=81, 86..=86],
        interface: Some(WAN),
    }]
}

/// Small, so that everything runs out. Of so many flows the lines of the table are as full as they
/// may be, so that entries are pushed around under a burst's feet.
const LIMITS: Limits = Limits {
    flows: 61,
    flows_v6: 16,
    half_open: 30,
    services: 32,
    servers: 64,
    punt_per_second: 200,
    punt_reserved_percent: 25,
    icmp_per_second: 100,
    parked: 6,
    parked_per_neighbour: 2,
    fragments: 12,
};

/// The input, a byte at a time; 0 when it is used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.next()) % end
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        // Not for 0, which is what an input that ends gives.
        self.below(times) == times - 1
    }
}

/// Everything that can be told of a worker after a burst.
#[derive(Debug, PartialEq)]
struct Outcome {
    sent: Vec<(PortId, Vec<u8>)>,
    punted: Vec<(PortId, Vec<u8>)>,
    handed_off: Vec<((WorkerId, PortId), Vec<u8>)>,
    solicited: Vec<(InterfaceId, Addr)>,
    dropped: Vec<(DropReason, PortId)>,
    counted: Vec<u64>,
    received: Vec<(u64, u64)>,
    half_open: usize,
    flows: Vec<Flow>,
    seconds_left: Vec<u32>,
    templates: Vec<(TemplateView, Vec<u8>)>,
}

/// Takes what happened to a worker since the last call.
fn outcome(world: &mut World) -> (Outcome, Vec<(WorkerId, PortId, MemFrame)>) {
    let table = world.director.flows();
    let mut flows = Vec::new();
    let end = table.visit(0, usize::MAX, |flow| flows.push(*flow));
    assert_eq!((end, flows.len()), (None, table.len()));
    // Where an entry stands, and so the order of a listing, may differ.
    flows.sort_by_key(|flow| {
        let t = flow.request();
        (t.src, t.dst, t.src_port, t.dst_port, t.protocol)
    });
    let half_open = table.half_open();
    let mut counted = Vec::new();
    each_counter(world.counters(), |_, value| counted.push(value));
    let ports = world.counters().ports.iter();
    let received = ports.map(|p| (p.packets_received.get(), p.bytes_received.get()));
    let received = received.collect();
    let mut templates = Vec::new();
    for at in 0..world.templates.buckets() {
        let see = |view: &_, name: &[u8]| templates.push((*view, name.to_vec()));
        world.templates.visit(world.now, at, see);
    }
    let seconds_left = flows.iter().map(|f| f.seconds_left(world.now)).collect();
    let out = &mut world.out;
    let handed_off = std::mem::take(&mut out.handed_off);
    let outcome = Outcome {
        sent: std::mem::take(&mut out.sent),
        punted: std::mem::take(&mut out.punted),
        handed_off: handed_off
            .iter()
            .map(|(to, port, frame)| ((*to, *port), frame.bytes().to_vec()))
            .collect(),
        solicited: std::mem::take(&mut out.solicited),
        dropped: std::mem::take(&mut out.dropped),
        counted,
        received,
        half_open,
        flows,
        seconds_left,
        templates,
    };
    (outcome, handed_off)
}

fn texts<T: std::fmt::Debug>(list: &[T]) -> Vec<String> {
    list.iter().map(|item| format!("{item:?}")).collect()
}

/// The headers say what is different; the rest is long.
fn frames<T: std::fmt::Debug>(list: &[(T, Vec<u8>)]) -> Vec<String> {
    let text = |(to, bytes): &(T, Vec<u8>)| {
        let head = bytes.get(..96).unwrap_or(bytes);
        format!("{to:?}, {} bytes: {head:02x?}", bytes.len())
    };
    list.iter().map(text).collect()
}

/// In what two outcomes differ, the counters by name.
fn difference(short: &Outcome, general: &Outcome, world: &World) -> String {
    let mut told = String::from("by the short way and by the general way:");
    let mut at = 0;
    each_counter(world.counters(), |name, _| {
        let (is, should) = (short.counted[at], general.counted[at]);
        if is != should {
            told += &format!("\n  {name}: {is}, {should}");
        }
        at += 1;
    });
    let mut lists = |what: &str, is: Vec<String>, should: Vec<String>| {
        if is != should {
            let same = is.iter().zip(&should).take_while(|(a, b)| a == b).count();
            let (a, b) = (is.get(same), should.get(same));
            told += &format!("\n  {what} {same}:\n    {a:?}\n    {b:?}");
        }
    };
    lists("sent", frames(&short.sent), frames(&general.sent));
    lists("punted", frames(&short.punted), frames(&general.punted));
    lists(
        "handed off",
        frames(&short.handed_off),
        frames(&general.handed_off),
    );
    lists(
        "solicited",
        texts(&short.solicited),
        texts(&general.solicited),
    );
    lists("dropped", texts(&short.dropped), texts(&general.dropped));
    lists("received", texts(&short.received), texts(&general.received));
    lists(
        "half open",
        texts(&[short.half_open]),
        texts(&[general.half_open]),
    );
    lists("flow", texts(&short.flows), texts(&general.flows));
    lists(
        "template",
        texts(&short.templates),
        texts(&general.templates),
    );
    told
}

/// Settings of connections. Which half-open flows `drop_entry` ends depends on where their entries
/// stand, which is not the same by both ways.
fn rules(input: &mut Bytes<'_>) -> Ipvs {
    let defence = |level: u8| Defence::from_level(level & 3);
    Ipvs {
        conn_reuse_mode: input.next() & 3,
        expire_nodest_conn: input.once_in(2),
        expire_quiescent_template: input.once_in(2),
        sloppy_tcp: input.once_in(3),
        nat_icmp_send: input.once_in(2),
        schedule_icmp: input.once_in(2),
        secure_tcp: defence(input.next()),
        drop_packet: defence(input.next()),
        am_droprate: u32::from(input.next() % 5),
        amemthresh: u32::from(input.next() & 31),
        ftp_ports: [FtpPorts::new(&[80]), FtpPorts::NONE][usize::from(input.once_in(4))],
        ..Ipvs::default()
    }
}

/// Workers of which one set takes the short way where it can.
pub(crate) struct Compared {
    short: Vec<World>,
    general: Vec<World>,
    services: Vec<Described>,
    removed: Vec<u8>,
    /// What was sent last, and by which port.
    sent: Vec<(PortId, Vec<u8>)>,
}

/// What a run met, by name, so that one can tell what was compared.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) BTreeMap<String, u64>);

impl Seen {
    /// Adds another run.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
}

impl Compared {
    pub(crate) fn new(workers: u16) -> Self {
        let services = services();
        let worlds = |is_general: bool| {
            let mut worlds: Vec<World> = Vec::new();
            for id in 0..workers {
                let mut world = World::worker(id, workers, LIMITS, &services);
                if is_general {
                    world.director.take_the_general_way_only();
                }
                world.marks = marks();
                world.settings.ipvs.ftp_ports = FtpPorts::new(&[80]);
                world.templates = Arc::new(Templates::new(6, LIMITS.servers, [7, 9]));
                match worlds.first() {
                    Some(first) => world.share_cursor(first, &services),
                    None => world.publish(&services, &[]),
                }
                worlds.push(world);
            }
            worlds
        };
        Self {
            short: worlds(false),
            general: worlds(true),
            services: services.clone(),
            removed: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Takes every step of `input`.
    ///
    /// # Panics
    /// When the two ways differ.
    pub(crate) fn run(mut self, input: &[u8]) -> Seen {
        let mut input = Bytes(input);
        while !input.0.is_empty() {
            match input.below(10) {
                0 => self.pass_time(&mut input),
                1 | 2 => self.change(&mut input),
                _ => self.burst(&mut input),
            }
        }
        let mut seen = Seen(BTreeMap::new());
        for world in &self.short {
            // Of all servers together.
            each_counter(world.counters(), |name, value| {
                let name = name.to_string();
                let name = name.split_once('.').map_or(name.as_str(), |(_, last)| last);
                *seen.0.entry(name.to_owned()).or_default() += value;
            });
        }
        seen
    }

    fn each(&mut self, mut change: impl FnMut(&mut World)) {
        self.short.iter_mut().for_each(&mut change);
        self.general.iter_mut().for_each(change);
    }

    fn pass_time(&mut self, input: &mut Bytes<'_>) {
        let ticks = input.of(&[1, 20, 100, 300, 1_000, 6_100, 12_100, 60_000, 100_000]);
        let groups = input.of(&[usize::MAX, 1, 2]);
        self.each(|world| {
            world.now = world.now.after(ticks);
            world.director.housekeep(world.now, groups, &mut world.out);
        });
        self.compare("time passed");
    }

    /// Publishes something else.
    fn change(&mut self, input: &mut Bytes<'_>) {
        let net = Net::v4();
        let slot = input.of(&SLOTS);
        let toggle = |list: &mut Vec<Addr>, who| match list.iter().position(|w| *w == who) {
            Some(at) => {
                list.swap_remove(at);
            }
            None => list.push(who),
        };
        match input.below(16) {
            0 | 1 => match self.removed.iter().position(|s| *s == slot) {
                Some(at) => {
                    self.removed.swap_remove(at);
                }
                None => self.removed.push(slot),
            },
            2 | 3 => {
                let weight = u32::from(input.next() % 3);
                // Only a server without weight has had its time to drain.
                self.each(|world| world.resets.retain(|s| *s != slot || weight == 0));
                let all = self.services.iter_mut().flat_map(|s| &mut s.servers);
                all.filter(|server| server.0 == slot)
                    .for_each(|server| server.2 = weight);
            }
            4 | 5 => {
                let who = net.server(number_of(slot));
                self.each(|world| toggle(&mut world.unknown_neighbours, who));
            }
            6 => self.each(|world| toggle(&mut world.unknown_neighbours, addr("192.0.2.254"))),
            7 => {
                let mtu = input.of(&[1500, 1400, 576, 1514, 80]);
                self.each(|world| world.mtu_lan = mtu);
            }
            8 => self.each(|world| world.settings.pmtu_disc ^= true),
            9 => {
                let vlan = input.of(&[0, 0, 7]);
                self.each(|world| world.vlan_lan = vlan);
            }
            10 => {
                let timeouts = input.of(&[Timeouts::default(), Timeouts::with(5, 3, 2)]);
                self.each(|world| world.settings.timeouts = timeouts);
            }
            11 | 12 => {
                let ipvs = rules(input);
                self.each(|world| world.settings.ipvs = ipvs);
            }
            13 => {
                let all = self.services.iter_mut().flat_map(|s| &mut s.servers);
                all.filter(|server| server.0 == slot)
                    .for_each(|server| server.2 = 0);
                self.each(|world| match world.resets.iter().position(|s| *s == slot) {
                    Some(at) => {
                        world.resets.swap_remove(at);
                    }
                    None => world.resets.push(slot),
                });
            }
            _ => {
                let (which, is_so) = (input.below(4), input.once_in(2));
                self.each(|world| match which {
                    0 => world.out.without_twin = if is_so { vec![WAN] } else { vec![] },
                    1 => world.out.is_exhausted = is_so,
                    2 => world.out.is_stuck = is_so,
                    _ => world.is_one_arm = is_so,
                });
            }
        }
        let (services, removed) = (self.services.clone(), self.removed.clone());
        self.each(|world| world.publish(&services, &removed));
        self.compare("another publication");
    }

    fn burst(&mut self, input: &mut Bytes<'_>) {
        let count = 1 + input.below(BURST_MAX);
        let worker = input.below(self.short.len());
        let mut bursts = [(WAN, Vec::new()), (LAN, Vec::new())];
        for _ in 0..count {
            let (mut port, bytes) = self.packet(input);
            let mut frame = MemFrame::new(&bytes);
            let (copies, vouched, odd) = match input.next() {
                0xff => (1, RxChecksum::Unknown, 1),
                0xfe => (1, RxChecksum::Unknown, 2),
                0xfd | 0xfc => (1, RxChecksum::Bad, 0),
                0xe0..=0xfb => (1, RxChecksum::Good, 0),
                0xc0..=0xdf => (2, RxChecksum::Unknown, 0),
                _ => (1, RxChecksum::Unknown, 0),
            };
            frame.checksum = vouched;
            frame.linear = odd != 1;
            if odd == 2 {
                port = if port == WAN { LAN } else { WAN };
            }
            let burst = &mut bursts[usize::from(port.0)].1;
            if input.once_in(12) {
                burst.extend(pieces(&bytes, input));
            } else {
                burst.extend(std::iter::repeat_n(frame, copies));
            }
        }
        for (port, frames) in bursts {
            for frames in frames.chunks(BURST_MAX) {
                for world in [&mut self.short[worker], &mut self.general[worker]] {
                    world.take_frames(port, false, frames.iter().cloned().collect());
                }
                self.compare("a burst");
            }
        }
    }

    /// Compares all workers, and lets what one hands off reach its owner until none is under way.
    fn compare(&mut self, after: &str) {
        let mut under_way = Vec::new();
        for (id, (short, general)) in self.short.iter_mut().zip(&mut self.general).enumerate() {
            let (is, handed_off) = outcome(short);
            let (should, _) = outcome(general);
            if is != should {
                let told = difference(&is, &should, short);
                panic!("worker {id} after {after}: {told}");
            }
            self.sent.extend(is.sent);
            under_way.extend(handed_off);
        }
        let many = self.sent.len().saturating_sub(REMEMBERED);
        self.sent.drain(..many);
        if under_way.is_empty() {
            return;
        }
        for (owner, port, frame) in under_way {
            let at = usize::from(owner.0);
            for world in [&mut self.short[at], &mut self.general[at]] {
                world.take_frames(port, true, [frame.clone()].into_iter().collect());
            }
        }
        self.compare("a hand-off");
    }

    /// A packet and the port it is received at.
    fn packet(&self, input: &mut Bytes<'_>) -> (PortId, Vec<u8>) {
        let kind = input.next() % 32;
        let (port, packet) = match kind {
            0..=15 => (WAN, from_client(kind, input)),
            16..=24 => match self.answered(input) {
                Some(answer) => answer,
                None => (WAN, from_client(0, input)),
            },
            25..=27 => match self.told_of(input) {
                Some(error) => error,
                None => (WAN, from_client(5, input)),
            },
            28 => (LAN, stray(input)),
            29 => {
                let echo = Net::v4().client_frame().icmp(8, 0, 1);
                (WAN, echo)
            }
            _ => (WAN, from_nobody(input)),
        };
        let (packet, is_tagged) = vary(packet, input);
        let vlan = self.short[0].vlan_lan;
        let packet = if port == LAN && vlan != 0 && !is_tagged {
            packet.vlan(vlan)
        } else {
            packet
        };
        (port, damage(packet, input))
    }

    /// What the receiver of an earlier packet answers: a server to a request, a client to a reply.
    fn answered(&self, input: &mut Bytes<'_>) -> Option<(PortId, PacketBuilder)> {
        let (port, headers, _) = self.earlier(input)?;
        let answer = frame_at(port, input).ip(headers.dst, headers.src);
        let answer = match headers.is_tcp() {
            true => answer
                .tcp(headers.dst_port, headers.src_port)
                .flags(input.of(&[
                    SYN | ACK,
                    SYN | ACK,
                    ACK,
                    ACK,
                    ACK,
                    FIN | ACK,
                    RST,
                    RST | ACK,
                    FIN,
                    0,
                ]))
                .ack(u32::from(input.next())),
            false if headers.is_udp() && input.once_in(4) => {
                answer.udp_without_checksum(headers.dst_port, headers.src_port)
            }
            false if headers.is_udp() => answer.udp(headers.dst_port, headers.src_port),
            false => return None,
        };
        Some((port, payload(answer, input)))
    }

    /// An ICMP error about an earlier packet.
    fn told_of(&self, input: &mut Bytes<'_>) -> Option<(PortId, PacketBuilder)> {
        let (port, headers, bytes) = self.earlier(input)?;
        let speaker = match (port, headers.is_v4()) {
            (_, false) => return None,
            (WAN, _) => addr("203.0.113.9"),
            _ if input.once_in(2) => headers.dst,
            _ => addr("10.0.0.9"),
        };
        let (kind, code, word) =
            input.of(&[(3, 1, 0), (3, 4, 1300), (3, 4, 600), (3, 3, 0), (11, 0, 0)]);
        let quoted = &bytes[usize::from(headers.l3)..];
        let keep = input.of(&[28, 40, usize::MAX]).min(quoted.len());
        let told = frame_at(port, input).ip(speaker, headers.src);
        Some((port, told.icmp_error(kind, code, word, &quoted[..keep])))
    }

    /// A packet that was sent, by which port.
    fn earlier(&self, input: &mut Bytes<'_>) -> Option<(PortId, Headers, &[u8])> {
        if self.sent.is_empty() {
            return None;
        }
        let (port, bytes) = &self.sent[input.below(self.sent.len())];
        match weir_wire::parse(bytes, true) {
            Ok(Parsed::Ip(headers)) => Some((*port, headers, bytes)),
            _ => None,
        }
    }
}

/// A frame as the neighbours of `port` send it.
fn frame_at(port: PortId, input: &mut Bytes<'_>) -> PacketBuilder {
    match port {
        WAN => PacketBuilder::eth(ROUTER_MAC, WAN_MAC),
        _ => PacketBuilder::eth(server_mac(input.next() % 9 + 1), LAN_MAC),
    }
}

/// One of few clients, ports and services.
fn ends(input: &mut Bytes<'_>) -> (Net, u16, u16) {
    let (who, what) = (input.next(), input.next());
    let mut net = if what & 0x70 == 0x70 {
        Net::v6()
    } else {
        Net::v4()
    };
    if net.is_v4 {
        net.client = Addr::from_v4_bytes([198, 51, 100, 7 + (who & 3)]);
    }
    let port = match who >> 2 {
        0x3f => 0,
        0x3e => 20,
        n => 4000 + u16::from(n & 15),
    };
    (net, port, 80 + u16::from(what & 15) % 10)
}

fn from_client(kind: u8, input: &mut Bytes<'_>) -> PacketBuilder {
    let (net, port, service) = ends(input);
    let frame = net.client_frame();
    let packet = match kind {
        12 => frame.udp_without_checksum(port, service),
        13..=15 if service == 88 && !input.once_in(3) => {
            return frame.udp(port, service).payload(call(input).as_bytes());
        }
        13..=15 => frame.udp(port, service),
        _ => {
            let flags = match kind {
                0..=4 => SYN,
                5..=8 => ACK,
                9 => FIN | ACK,
                10 => RST,
                _ => input.next() & 0x3f,
            };
            frame.tcp(port, service).flags(flags)
        }
    };
    payload(packet, input)
}

/// A message of one of few calls.
fn call(input: &mut Bytes<'_>) -> String {
    format!("BYE sip:b SIP/2.0\r\ni: call-{}\r\n\r\n", input.below(3))
}

/// Of a server, to a client or local end that may have no flow.
fn stray(input: &mut Bytes<'_>) -> PacketBuilder {
    let (net, port, _) = ends(input);
    let server = net.server(input.next() % 9 + 1);
    let to = match input.below(3) {
        0 => (net.client, port),
        1 => (net.local(0), 5000 + u16::from(input.next() & 7)),
        _ => (net.vip, port),
    };
    let frame = frame_at(LAN, input).ip(server, to.0);
    if input.once_in(2) {
        let datagram = frame.udp(53, to.1);
        match input.once_in(2) {
            true => datagram.payload(call(input).as_bytes()),
            false => datagram,
        }
    } else {
        frame.tcp(80, to.1).flags(input.next() & 0x17)
    }
}

/// From or to an address that is no client's or service's.
fn from_nobody(input: &mut Bytes<'_>) -> PacketBuilder {
    let (net, port, service) = ends(input);
    let net = if net.is_v4 { net } else { Net::v4() };
    let odd = input.of(&[
        [127, 0, 0, 1],
        [0, 0, 0, 0],
        [224, 0, 0, 5],
        [255, 255, 255, 255],
        [192, 0, 2, 1],
        [192, 0, 2, 100],
        [10, 0, 0, 200],
        [10, 0, 0, 1],
        [240, 0, 0, 1],
    ]);
    let odd = Addr::from_v4_bytes(odd);
    let frame = PacketBuilder::eth(ROUTER_MAC, WAN_MAC);
    let frame = if input.once_in(3) {
        frame.ip(net.client, odd)
    } else {
        frame.ip(odd, net.vip)
    };
    if input.once_in(3) {
        frame.udp(port, service)
    } else {
        frame.tcp(port, service).flags(input.of(&[SYN, SYN, ACK]))
    }
}

/// What FTP says, of a client of [`ends`] and a server.
const FTP: [&[u8]; 5] = [
    b"PASV\r\n",
    b"227 Here (10,0,0,1,15,160)\r\n",
    b"PORT 198,51,100,7,15,161\r\n",
    b"PORT 198,51,100,99,15,161\r\n",
    b"227 10,0,0,1,0,80\r\n",
];

fn payload(packet: PacketBuilder, input: &mut Bytes<'_>) -> PacketBuilder {
    if input.once_in(6) {
        return packet.payload(input.of(&FTP));
    }
    let len = input.of(&[0, 0, 0, 1, 6, 100, 560, 1460, 1480, 1481]);
    packet.payload(&vec![input.next(); len])
}

/// What a good packet may be besides; true when it has a tag now.
fn vary(packet: PacketBuilder, input: &mut Bytes<'_>) -> (PacketBuilder, bool) {
    let with = input.next();
    let packet = match with {
        0..=0x7f => packet,
        0x80..=0x9f => packet.df(),
        0xa0..=0xaf => packet.tos(input.next()),
        0xb0..=0xb7 => packet.ttl(input.next() & 3),
        0xb8..=0xbf => packet.ttl(255),
        0xc0..=0xc7 => packet.ip_options(match input.once_in(3) {
            false => &[1, 1, 1, 1],
            // A route by 10.0.0.1.
            true => &[131, 7, 4, 10, 0, 0, 1],
        }),
        0xc8..=0xcb => packet.fragment(0, true),
        0xcc..=0xcf => packet.fragment(64, input.once_in(2)),
        0xd0..=0xd7 => packet.tcp_options(&[1, 1, 1, 1]),
        0xd8..=0xdb => return (packet.vlan(input.of(&[0, 7, 9])), true),
        0xdc => return (packet.vlan(7).vlan(8), true),
        0xdd => return (packet.service_vlan(7), true),
        0xe0..=0xef => packet.pad_to(60),
        0xf0..=0xf7 => packet.pad_to(120),
        _ => packet.df().id(u32::from(input.next())),
    };
    (packet, false)
}

/// The packet in fragments, some of them lost, twice or changed, in any order.
fn pieces(bytes: &[u8], input: &mut Bytes<'_>) -> Vec<MemFrame> {
    let Ok(Parsed::Ip(headers)) = weir_wire::parse(bytes, true) else {
        return vec![MemFrame::new(bytes)];
    };
    let mtu = input.of(&[68, 76, 100, 200]);
    let link = usize::from(headers.l3);
    let mut frames = Vec::new();
    for piece in fragment::plan(bytes, &headers, mtu) {
        let mut frame = bytes[..link].to_vec();
        frame.resize(link + usize::from(mtu), 0);
        let id = u32::from(input.next() & 1);
        let len = fragment::write_fragment(&mut frame[link..], bytes, &headers, &piece, id);
        frame.truncate(link + len);
        match input.next() {
            0xff => continue,
            0xfe => frames.push(frame.clone()),
            0xfd => frame.truncate(link + len - input.below(len)),
            _ => {}
        }
        let at = input.below(frames.len() + 1);
        frames.insert(at, frame);
    }
    frames.iter().map(|frame| MemFrame::new(frame)).collect()
}

/// The packet's bytes, some of them changed now and then.
fn damage(packet: PacketBuilder, input: &mut Bytes<'_>) -> Vec<u8> {
    let mut bytes = packet.build();
    match input.next() {
        0xff => bytes.truncate(input.below(80)),
        // For another station, or for many.
        0xfe => bytes[..6].copy_from_slice(&input.of(&[
            Mac([2, 0, 0, 0, 9, 9]).0,
            Mac([0xff; 6]).0,
            Mac([1, 0, 0x5e, 0, 0, 1]).0,
            LAN_MAC.0,
        ])),
        // A wrong IP checksum.
        0xfd => bytes[24] ^= input.next(),
        // A wrong TCP or UDP checksum: it has to stay as wrong as it is.
        0xf4..=0xfc => {
            let at = if bytes[23] == 6 { 50 } else { 40 };
            let wrong = input.of(&[[0, 0], [0xff, 0xff], [0x12, 0x34], [0, 1]]);
            if let Some(field) = bytes.get_mut(at..at + 2) {
                field.copy_from_slice(&wrong);
            }
        }
        // Anything in the headers, the IP checksum made right again.
        0xe4..=0xf3 => {
            let at = input.of(&[15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 34, 38, 39, 46, 47]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = input.next();
            }
            refill_ip_checksum(&mut bytes);
        }
        _ => {}
    }
    bytes
}

fn refill_ip_checksum(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(14..34) else {
        return;
    };
    header[10..12].fill(0);
    let words = header
        .chunks_exact(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let check = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&check.to_be_bytes());
}
