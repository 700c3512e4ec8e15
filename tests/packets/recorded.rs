//! Weir does what Linux's IPVS did: recordings of Linux 6.1 (`recorded/`), frame by frame, by the short
//! way and by the general way.
//!
//! What Weir gives to Linux is Linux's: there is nothing to compare then, but what the recording
//! shows must have been the host's own doing. What Linux chooses at random is masked, after its
//! range was looked at. Each difference that is meant is in [`MEANT`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weir_core::io::PortId;
use weir_core::schedule::Scheduler;
use weir_core::service::{
    Candidate, Method, Protocol, Server, ServerId, Service, ServiceKey, Tunnel,
};
use weir_wire::builder::addr;
use weir_wire::{Addr, Headers, Parsed, icmp, protocol};

use crate::recording::{Exchange, Recording, Step};
use crate::world::{Described, LAN, Net, WAN, World};

/// Scenario (none: every one), a part of what is said of the frame, and why Weir does otherwise.
const MEANT: &[(&str, &str, &str)] = &[
    ("", "IP option: record route", RECORDS),
    ("", "IP option: timestamp", RECORDS),
    ("icmp_tun", "same, ", AT_ONCE),
    ("icmp_tun", "frag needed mtu", AT_ONCE),
    ("icmp_gre", "same, ", AT_ONCE),
    ("icmp_gre", "frag needed mtu", AT_ONCE),
    ("icmp_gue", "same, ", AT_ONCE),
    ("icmp_gue", "frag needed mtu", AT_ONCE),
    ("pmtu_tun", "frag needed 1300, ", AT_ONCE),
    ("pmtu_gre", "frag needed 1300, ", AT_ONCE),
    ("pmtu_gue", "frag needed 1300, ", AT_ONCE),
    ("frag_nat", "small fragments", UNEVEN),
    ("frag_nat", "duplicate", UNEVEN),
    ("frag_dr", "small fragments", UNEVEN),
    ("frag_dr", "duplicate", UNEVEN),
    (
        "icmp_ttl",
        "a destination that is not a local address",
        "a service is served whether or not Linux has its address",
    ),
    (
        "icmp_ttl",
        "client on the real-server side",
        "no redirects are sent: the server is to reply by the director",
    ),
    (
        "icmp_ttl",
        "ip_forward=0",
        "Weir forwards by itself, whatever Linux is told",
    ),
    (
        "v6_tun",
        "too big about the outer packet",
        "the kernel does not listen to ICMPv6 about its tunnels",
    ),
    ("v6_nat", "port unreachable", SERVERS_ERRORS),
    ("v6_nat", "too big", SERVERS_ERRORS),
    ("v6_nat", "time exceeded", SERVERS_ERRORS),
    (
        "tun_options",
        "change of forwarding method",
        "the kernel asks for the virtual address's neighbour then",
    ),
];

/// Linux's own input, which comes before IPVS, records its address and time in the options.
const RECORDS: &str = "the director does not record itself in a packet's options";
/// The client hears the new path MTU with the first error, the kernel's client with the second.
const AT_ONCE: &str = "a path's MTU is told on at once";
/// Its fragments are as long as the longest that came; the kernel's are as they came, unless its
/// input found room to put them into one piece of memory.
const UNEVEN: &str = "fragments of different lengths leave in equal ones";
/// It takes their checksum to be wrong, since it leaves the pseudo header out.
const SERVERS_ERRORS: &str = "the kernel loses ICMPv6 errors of NAT servers";

/// Services and servers as ipvsadm's commands make them.
#[derive(Default)]
struct Table {
    /// In the order of addition.
    services: Vec<(ServiceKey, Vec<usize>)>,
    slots: Vec<Option<Server>>,
    cursors: HashMap<ServiceKey, Arc<AtomicU64>>,
    generation: u16,
}

fn key(protocol: &str, at: &str) -> ServiceKey {
    let (addr, port) = end(at);
    ServiceKey {
        protocol: match protocol {
            "-t" => Protocol::Tcp,
            "-u" => Protocol::Udp,
            _ => Protocol::Sctp,
        },
        addr,
        port,
        ..Described::web(&Net::v4(), Method::Nat).key
    }
}

fn end(at: &str) -> (Addr, u16) {
    let (host, port) = at.rsplit_once(':').expect("a port");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (addr(host), port.parse().expect("a number"))
}

/// A service, and a server of it, that are nothing special.
fn template(world: &World, key: ServiceKey) -> (Service, Server) {
    let net = if key.addr.is_v4() {
        Net::v4()
    } else {
        Net::v6()
    };
    let described = Described {
        key,
        servers: vec![(0, key.port, 1)],
        ..Described::web(&net, Method::Nat)
    };
    let mut slots = [None];
    let service = world.service(&described, Arc::default(), &[], &mut slots);
    (service, slots[0].expect("its server"))
}

impl Table {
    fn command(&mut self, world: &World, words: &[&str]) {
        let [verb, rest @ ..] = words else {
            panic!("no verb")
        };
        match (*verb, rest) {
            ("-C", _) => self.services.clear(),
            ("-A", [protocol, at, ..]) => self.services.push((key(protocol, at), Vec::new())),
            ("-D", [protocol, at, ..]) => {
                let key = key(protocol, at);
                self.services.retain(|(held, _)| *held != key);
            }
            ("-a" | "-e", [protocol, at, _, server, options @ ..]) => {
                self.server(world, key(protocol, at), end(server), options);
            }
            ("-d", [protocol, at, _, server, ..]) => {
                let (key, end) = (key(protocol, at), end(server));
                let slots = &self.slots;
                let is_it = |slot: &usize| {
                    slots[*slot].is_some_and(|server| (server.addr, server.port) == end)
                };
                for (held, list) in &mut self.services {
                    if *held == key {
                        list.retain(|slot| !is_it(slot));
                    }
                }
            }
            _ => panic!("not a command of these recordings: {words:?}"),
        }
    }

    fn server(&mut self, world: &World, key: ServiceKey, end: (Addr, u16), options: &[&str]) {
        let value = |name| {
            let at = options.iter().position(|option| *option == name)?;
            options.get(at + 1)?.parse::<u32>().ok()
        };
        let has = |name| options.contains(&name);
        let method = match (has("-m"), has("-i")) {
            (true, _) => Method::Nat,
            (_, true) => Method::Tun,
            _ => Method::Dr,
        };
        let checksum = has("--tun-csum") || has("--tun-remcsum");
        let tunnel = match value("--tun-port") {
            Some(port) => Tunnel::Gue {
                port: port as u16,
                checksum,
            },
            None if has("gre") => Tunnel::Gre { checksum },
            None => Tunnel::Ipip,
        };
        let server = Server {
            addr: end.0,
            port: end.1,
            method,
            tunnel,
            weight: value("-w").unwrap_or(1),
            ..template(world, key).1
        };
        let services = self.services.iter_mut();
        let mut of_key = services.filter(|(held, _)| *held == key);
        let (_, list) = of_key.next().expect("the service is there");
        let slots = &mut self.slots;
        let held = list
            .iter()
            .find(|slot| slots[**slot].is_some_and(|server| (server.addr, server.port) == end));
        match held {
            Some(slot) => slots[*slot] = Some(server),
            None => {
                list.push(slots.len());
                slots.push(Some(server));
            }
        }
    }

    fn publish(&mut self, world: &mut World) {
        self.generation += 1;
        let services = self.services.iter().map(|(key, list)| {
            let of = |slot: &usize| self.slots[*slot].expect("a slot in use");
            // The server added last comes first.
            let candidates: Vec<Candidate> = list
                .iter()
                .rev()
                .map(|slot| Candidate {
                    server: ServerId(*slot as u32),
                    weight: of(slot).weight,
                })
                .collect();
            Service {
                scheduler: Scheduler::Rr,
                cursor: Arc::clone(self.cursors.entry(*key).or_default()),
                generation: self.generation,
                servers: candidates.into(),
                by_client: true,
                ..template(world, *key).0
            }
        });
        let services = services.collect();
        world.publish_services(services, self.slots.clone());
    }
}

/// A recording replayed.
struct Replay {
    name: &'static str,
    world: World,
    table: Table,
    compared: usize,
    differences: Vec<String>,
}

/// `net.ipv4.vs.NAME=VALUE`.
fn switch(setting: &str) -> Option<(&str, u8)> {
    let (name, value) = setting.strip_prefix("net.ipv4.vs.")?.split_once('=')?;
    Some((name, value.parse().ok()?))
}

impl Replay {
    fn run(name: &'static str, text: &str, is_general_only: bool) -> Self {
        let mut world = World::new(&[]);
        world.own_addresses = ["192.0.2.100", "192.0.2.101", "2001:db8:1::100"]
            .map(addr)
            .into();
        world.unknown_neighbours = vec![addr("10.0.0.200")];
        if name == "mtu_nat_reply" {
            world.mtu_wan = 1400;
        }
        let mut replay = Self {
            name,
            world,
            table: Table::default(),
            compared: 0,
            differences: Vec::new(),
        };
        if is_general_only {
            replay.world.director.take_the_general_way_only();
        }
        for step in Recording::read(text).steps {
            match step {
                Step::Command(command) => replay.command(&command),
                Step::Frame(exchange) => replay.frame(&exchange),
            }
        }
        replay
    }

    fn command(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["ipvsadm", words @ ..] => self.table.command(&self.world, words),
            ["sysctl", "net.ipv4.vs.pmtu_disc=0"] => self.world.settings.pmtu_disc = false,
            ["sysctl", setting] if let Some((name, value)) = switch(setting) => {
                let rules = &mut self.world.settings.ipvs;
                match name {
                    "schedule_icmp" => rules.schedule_icmp = value != 0,
                    "nat_icmp_send" => rules.nat_icmp_send = value != 0,
                    "sloppy_tcp" => rules.sloppy_tcp = value != 0,
                    "conn_reuse_mode" => rules.conn_reuse_mode = value,
                    _ => return,
                }
            }
            ["ip", "link", "set", "rs0", "mtu", mtu] => {
                self.world.mtu_lan = mtu.parse().expect("a number");
            }
            ["ip", "route", "add", "unreachable" | "blackhole", prefix] => {
                let (prefix, _) = prefix.split_once('/').expect("a prefix");
                self.world.refused.push(addr(prefix));
            }
            ["ip", "route", "del", "default"] => self.world.refused.push(addr("9.9.0.0")),
            ["sleep" | "ip" | "sysctl", ..] => return,
            _ => panic!("not a command of these recordings: {command}"),
        }
        self.table.publish(&mut self.world);
    }

    fn frame(&mut self, exchange: &Exchange) {
        self.world
            .receive(exchange.port, std::slice::from_ref(&exchange.frame));
        let sent = self.world.sent();
        let punted = std::mem::take(&mut self.world.out.punted);
        let is_meant = |(name, about, _): &(&str, &str, &str)| {
            (name.is_empty() || *name == self.name) && exchange.about.contains(about)
        };
        if MEANT.iter().any(is_meant) {
            return;
        }
        // Asking for a neighbour is Linux's.
        let left = exchange.left.iter();
        let left = left.filter(|(_, frame)| frame[12..14] != [0x08, 0x06]);
        let to_server = exchange.port == WAN && left.clone().any(|(port, _)| *port == LAN);
        if !punted.is_empty() && !to_server && sent.is_empty() {
            return;
        }
        self.compared += 1;
        let dropped = std::mem::take(&mut self.world.out.dropped);
        let expected: Vec<_> = left.map(|(port, frame)| (*port, masked(frame))).collect();
        let seen: Vec<_> = sent
            .iter()
            .map(|(port, frame)| (*port, masked(frame)))
            .collect();
        for (_, frame) in &sent {
            check(frame);
        }
        if seen != expected {
            self.differences.push(format!(
                "{}: {}: {}\n  kernel {}\n  weir   {} {dropped:?}",
                self.name,
                exchange.about,
                hex(&exchange.frame),
                told(&expected),
                told(&seen),
            ));
        }
    }
}

fn told(frames: &[(PortId, Vec<u8>)]) -> String {
    let frames = frames
        .iter()
        .map(|(port, frame)| format!("{}:{}", port.0, hex(frame)));
    frames.collect::<Vec<_>>().join("\n         ")
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(160).map(|byte| format!("{byte:02x}"));
    format!("({}) {}", bytes.len(), shown.collect::<String>())
}

fn headers(frame: &[u8]) -> Headers {
    match weir_wire::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("{other:?}: {}", hex(frame)),
    }
}

/// What Weir sends is right in itself, whatever is masked.
fn check(frame: &[u8]) {
    let h = headers(frame);
    assert!(
        !h.is_icmp() || icmp::checksum_ok(frame, &h),
        "{}",
        hex(frame)
    );
    if is_gue(&h) && !h.bits.fragment() {
        assert!((32768..60999).contains(&h.src_port), "{}", hex(frame));
    }
}

/// A datagram of the director itself.
fn is_gue(h: &Headers) -> bool {
    let own = [addr("10.0.0.254"), addr("2001:db8:2::fe")];
    h.is_udp() && own.contains(&h.src)
}

/// The frame without what Linux chooses at random, and without what is wrong in it on purpose.
fn masked(frame: &[u8]) -> Vec<u8> {
    let mut masked = frame.to_vec();
    let own = [
        "192.0.2.100",
        "192.0.2.1",
        "10.0.0.254",
        "2001:db8:1::100",
        "2001:db8:2::fe",
    ];
    let h = headers(frame);
    let is_own = own.map(addr).contains(&h.src);
    let (l3, l4) = (usize::from(h.l3), usize::from(h.l4));
    let is_made = is_own && (!h.is_icmp() || h.ttl == 64);
    if h.is_v4() && is_made && !h.bits.dont_fragment() {
        masked[l3 + 4..l3 + 6].fill(0);
        masked[l3 + 10..l3 + 12].fill(0);
    }
    if !h.is_v4() {
        if is_made {
            masked[l3 + 1] &= 0xf0;
            masked[l3 + 2..l3 + 4].fill(0);
        }
        // The fragment header is the first after the IPv6 header.
        if frame[l3 + 6] == protocol::FRAGMENT {
            masked[l3 + 44..l3 + 48].fill(0);
        }
    }
    if h.is_udp() && is_own && !h.bits.later_fragment() {
        let is_v6_fragment = !h.is_v4() && frame[l3 + 6] == protocol::FRAGMENT;
        mask_gue(&mut masked, if is_v6_fragment { l3 + 48 } else { l4 });
    }
    if h.is_icmp() && h.ttl != 64 && !h.bits.fragment() {
        mask_quoted(&mut masked, &h);
    }
    masked
}

/// The source port is the flow's, by a hash of which only the range is known; the checksum is over
/// it.
fn mask_gue(frame: &mut [u8], at: usize) {
    frame[at..at + 2].fill(0);
    if frame[at + 6..at + 8] != [0, 0] {
        frame[at + 6..at + 8].fill(0xff);
    }
}

/// Linux leaves the checksum of a quoted TCP or UDP header wrong that it has rewritten, Weir does
/// not, so that what it is over differs, too.
fn mask_quoted(frame: &mut [u8], h: &Headers) {
    let at = icmp::quoted_at(h);
    let Some(quoted) = weir_wire::parse_embedded(frame, at, usize::from(h.end)) else {
        return;
    };
    let l4 = usize::from(quoted.l4);
    let check = match quoted.protocol {
        protocol::TCP => l4 + 16,
        _ => l4 + 6,
    };
    if check + 2 <= usize::from(quoted.end) {
        frame[check..check + 2].fill(0);
        let own = usize::from(h.l4) + 2;
        frame[own..own + 2].fill(0);
    }
}

macro_rules! recordings {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("recorded/", stringify!($name), ".txt"));
            for is_general_only in [false, true] {
                let replay = Replay::run(stringify!($name), text, is_general_only);
                assert!(replay.compared > 0);
                assert!(replay.differences.is_empty(), "{}", replay.differences.join("\n"));
            }
        }
    )*};
}

recordings! {
    first_sloppy0 first_sloppy1
    frag_dr frag_nat frag_tun
    ftp_nat
    icmp_dr icmp_gre icmp_gue icmp_nat icmp_ttl icmp_tun
    mixed_families
    mtu_dr mtu_gre mtu_gue_csum mtu_nat mtu_nat_reply mtu_tun
    no_service
    pmtu_gre pmtu_gue pmtu_nat pmtu_tun
    reuse0_dr reuse0_nat reuse1_dr reuse1_nat reuse2_dr reuse2_nat reuse3_dr reuse3_nat
    sctp_dr sctp_nat
    tun_options
    v4_dr v4_gre v4_gre_csum v4_gue v4_gue_csum v4_nat v4_tun
    v6_dr v6_gre v6_gue v6_gue_csum v6_nat v6_tun
}
