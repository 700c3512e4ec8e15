//! A director between a client side and a server side, in memory.
//!
//! Port 0 is `wan`: 192.0.2.1, 2001:db8:1::1, the way to every client through a router. Port 1 is
//! `lan`: 10.0.0.254, 2001:db8:2::fe, with the real servers 10.0.0.N and 2001:db8:2::N.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weir_core::counters::{Counter, DropReason, Overflow, WorkerCounters};
use weir_core::director::{Director, Limits};
use weir_core::flow::{Flow, Tuple};
use weir_core::io::{Burst, PortId, WorkerId};
use weir_core::load::{Connections, Loads, Thresholds};
use weir_core::local::LocalPool;
use weir_core::mark::{MarkRule, MarkRules};
use weir_core::next_hop::{Interface, InterfaceId, Network, Route, Target};
use weir_core::persist::{Persistence, Refusal, Templates};
use weir_core::schedule::SchedulerName;
use weir_core::schedule::consistent::Consistent;
use weir_core::service::{
    Candidate, FTP_PORT, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey,
    Services, Tunnel,
};
use weir_core::settings::{Ipvs, Settings};
use weir_core::snapshot::Snapshot;
use weir_core::steer::Steering;
use weir_core::testing::{MemFrame, MemOutlet, scheduler};
use weir_core::time::Tick;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::{Addr, Mac, tcp_flag};

pub(crate) const WAN: PortId = PortId(0);
pub(crate) const LAN: PortId = PortId(1);
pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const LAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub(crate) const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);

/// Of 10.0.0.253, the way to 172.16.0.0/12.
pub(crate) const INNER_ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 2, 0xfe]);

pub(crate) fn server_mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 3, n])
}

/// The addresses of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    pub(crate) client: Addr,
    pub(crate) vip: Addr,
    pub(crate) director_lan: Addr,
    pub(crate) is_v4: bool,
    /// Its servers are 127.0.0.1.
    pub(crate) is_loopback: bool,
}

impl Net {
    pub(crate) fn v4() -> Self {
        Self {
            client: addr("198.51.100.7"),
            vip: addr("192.0.2.100"),
            director_lan: addr("10.0.0.254"),
            is_v4: true,
            is_loopback: false,
        }
    }

    pub(crate) fn v6() -> Self {
        Self {
            client: addr("2001:db8:9::7"),
            vip: addr("2001:db8:1::100"),
            director_lan: addr("2001:db8:2::fe"),
            is_v4: false,
            is_loopback: false,
        }
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::v4(), Self::v6()]
    }

    pub(crate) fn server(&self, n: u8) -> Addr {
        if self.is_loopback {
            addr("127.0.0.1")
        } else if self.is_v4 {
            Addr::from_v4_bytes([10, 0, 0, n])
        } else {
            addr(&format!("2001:db8:2::{n:x}"))
        }
    }

    /// A local address of FullNAT, on the server side.
    pub(crate) fn local(&self, n: u8) -> Addr {
        self.server(200 + n)
    }

    /// A frame of a client as the router sends it to the director.
    pub(crate) fn client_frame(&self) -> PacketBuilder {
        PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(self.client, self.vip)
    }

    /// A frame of server `n` to the client as it reaches the director.
    pub(crate) fn server_frame(&self, n: u8) -> PacketBuilder {
        PacketBuilder::eth(server_mac(n), LAN_MAC).ip(self.server(n), self.client)
    }

    pub(crate) fn syn(&self, port: u16) -> Vec<u8> {
        let tcp = self.client_frame().tcp(port, 80).flags(tcp_flag::SYN);
        tcp.seq(1000).build()
    }

    pub(crate) fn segment(&self, port: u16, flags: u8) -> Vec<u8> {
        let tcp = self.client_frame().tcp(port, 80).flags(flags);
        tcp.seq(1001).ack(5000).payload(b"hello").build()
    }

    pub(crate) fn tuple(&self, port: u16) -> Tuple {
        Tuple {
            src: self.client,
            dst: self.vip,
            src_port: port,
            dst_port: 80,
            protocol: Protocol::Tcp,
        }
    }
}

/// The number of the server in a slot, of which each server has one in every sixteen.
pub(crate) fn number_of(slot: u8) -> u8 {
    match slot {
        0..=16 => slot,
        _ => (slot - 1) % 16 + 1,
    }
}

/// A service of a world.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) key: ServiceKey,
    pub(crate) scheduler: SchedulerName,
    pub(crate) method: Method,
    pub(crate) tunnel: Tunnel,
    /// The addresses of its servers.
    pub(crate) servers_of: Net,
    /// Server number, port and weight, in the order of addition. Numbers 16 + N and 32 + N
    /// are server N again, as that of another service.
    pub(crate) servers: Vec<(u8, u16, u32)>,
    /// How many local addresses FullNAT has, and the first and last port of each.
    pub(crate) local: (u8, u16, u16),
    /// New flows a second, 0 for as many as come.
    pub(crate) new_flows_max: u32,
    pub(crate) one_packet: bool,
    pub(crate) persistence: Option<Persistence>,
    /// Servers that are reached by NAT, whatever the method of the others.
    pub(crate) by_nat: Vec<u8>,
}

impl Described {
    /// TCP port 80 of the VIP over servers 1, 2 and 3 by rr.
    pub(crate) fn web(net: &Net, method: Method) -> Self {
        Self {
            key: ServiceKey {
                protocol: Protocol::Tcp,
                addr: net.vip,
                port: 80,
                mark: 0,
            },
            scheduler: SchedulerName::Rr,
            method,
            tunnel: Tunnel::Ipip,
            servers_of: *net,
            servers: vec![(1, 80, 1), (2, 80, 1), (3, 80, 1)],
            local: (2, 1024, 65535),
            new_flows_max: 0,
            one_packet: false,
            persistence: None,
            by_nat: Vec::new(),
        }
    }
}

pub(crate) struct World {
    pub(crate) director: Director<MemFrame>,
    pub(crate) out: MemOutlet,
    pub(crate) now: Tick,
    pub(crate) mtu_lan: u16,
    pub(crate) mtu_wan: u16,
    /// VLAN of the server side, 0 for none.
    pub(crate) vlan_lan: u16,
    /// The servers are on the client side too.
    pub(crate) is_one_arm: bool,
    pub(crate) unknown_neighbours: Vec<Addr>,
    /// Servers whose flows are ended by resets.
    pub(crate) resets: Vec<u8>,
    /// Besides those that every world has.
    pub(crate) own_addresses: Vec<Addr>,
    /// IPv4 prefixes of 16 bits to which there is no way.
    pub(crate) refused: Vec<Addr>,
    pub(crate) settings: Settings,
    pub(crate) marks: Vec<MarkRule>,
    pub(crate) templates: Arc<Templates>,
    counters: Arc<WorkerCounters>,
    loads: Arc<Loads>,
    /// By server's number; others have none.
    pub(crate) thresholds: BTreeMap<u8, Thresholds>,
    before: BTreeMap<String, u64>,
    epoch: u64,
    cursors: BTreeMap<ServiceKey, Arc<AtomicU64>>,
    generation: u16,
}

pub(crate) fn limits() -> Limits {
    Limits {
        flows: 1000,
        flows_v6: 1000,
        half_open: 1000,
        services: 32,
        servers: 64,
        punt_per_second: 1000,
        punt_reserved_percent: 25,
        icmp_per_second: 1000,
        parked: 8,
        parked_per_neighbour: 2,
        fragments: 64,
    }
}

impl World {
    pub(crate) fn new(services: &[Described]) -> Self {
        Self::worker(0, 1, limits(), services)
    }

    pub(crate) fn worker(
        id: u16,
        steering: impl Into<Steering>,
        limits: Limits,
        services: &[Described],
    ) -> Self {
        let counters = Arc::new(WorkerCounters::new(2, limits.servers));
        let mut world = Self {
            director: Director::new(
                WorkerId(id),
                steering,
                &limits,
                Arc::clone(&counters),
                [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321],
            ),
            out: MemOutlet::default(),
            now: Tick(1000),
            mtu_lan: 1500,
            mtu_wan: 1500,
            vlan_lan: 0,
            is_one_arm: false,
            unknown_neighbours: Vec::new(),
            resets: Vec::new(),
            loads: Arc::new(Loads::new([Arc::clone(&counters)])),
            thresholds: BTreeMap::new(),
            own_addresses: Vec::new(),
            refused: Vec::new(),
            settings: Settings::default(),
            marks: Vec::new(),
            templates: Arc::new(Templates::new(1000, limits.servers, [7, 9])),
            counters,
            before: BTreeMap::new(),
            epoch: 0,
            cursors: BTreeMap::new(),
            generation: 0,
        };
        world.publish(services, &[]);
        world
    }

    /// Makes these the services; servers named in `removed` keep their slot, unavailable.
    pub(crate) fn publish(&mut self, services: &[Described], removed: &[u8]) {
        self.generation += 1;
        let snapshot = self.snapshot(services, removed);
        self.director.adopt(Arc::new(snapshot), &mut self.out);
    }

    /// Makes these the services.
    pub(crate) fn publish_services(&mut self, services: Vec<Service>, slots: Vec<Option<Server>>) {
        self.epoch += 1;
        let snapshot = self.snapshot_of(Services::new(services, slots));
        self.director.adopt(Arc::new(snapshot), &mut self.out);
    }

    /// Shares `other`'s scheduler positions and templates, as the workers of one process do.
    pub(crate) fn share_cursor(&mut self, other: &Self, services: &[Described]) {
        self.cursors.clone_from(&other.cursors);
        self.templates = Arc::clone(&other.templates);
        self.generation = other.generation - 1;
        self.publish(services, &[]);
    }

    /// Lets these workers see each other's connections, as those of one process do.
    pub(crate) fn share_loads(worlds: &mut [Self], services: &[Described]) {
        let counters = worlds.iter().map(|world| Arc::clone(&world.counters));
        let loads = Arc::new(Loads::new(counters));
        for world in worlds {
            world.loads = Arc::clone(&loads);
            // The list is the same.
            world.generation -= 1;
            world.publish(services, &[]);
        }
    }

    fn snapshot(&mut self, services: &[Described], removed: &[u8]) -> Snapshot {
        self.epoch += 1;
        let mut slots: Vec<Option<Server>> = vec![None; limits().servers];
        let list = services
            .iter()
            .map(|service| {
                let cursor = Arc::clone(self.cursors.entry(service.key).or_default());
                self.service(service, cursor, removed, &mut slots)
            })
            .collect();
        let mut services = Services::new(list, slots);
        for slot in &self.resets {
            services.set_resets(ServerId((*slot).into()), true);
        }
        self.snapshot_of(services)
    }

    fn snapshot_of(&self, services: Services) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            network_epoch: self.epoch as u32,
            services: Arc::new(services),
            network: Arc::new(self.network()),
            settings: self.settings,
            loads: Arc::clone(&self.loads),
            marks: Arc::new(MarkRules::new(&self.marks)),
            templates: Arc::clone(&self.templates),
        }
    }

    pub(crate) fn service(
        &self,
        described: &Described,
        cursor: Arc<AtomicU64>,
        removed: &[u8],
        slots: &mut [Option<Server>],
    ) -> Service {
        let net = described.servers_of;
        let key = described.key;
        let has_any_port = key.port == 0 || key.port == FTP_PORT;
        let mut candidates = Vec::new();
        let mut ends = Vec::new();
        // IPVS's list: the server added last comes first.
        for &(n, port, weight) in described.servers.iter().rev() {
            let is_available = !removed.contains(&n);
            slots[usize::from(n)] = Some(Server {
                addr: net.server(number_of(n)),
                port,
                method: match described.by_nat.contains(&n) {
                    true => Method::Nat,
                    false => described.method,
                },
                tunnel: described.tunnel,
                weight,
                protocol: described.key.protocol,
                is_available,
                position: 0,
                service: ServiceId(0),
                thresholds: self.thresholds.get(&n).copied().unwrap_or_default(),
                has_any_port,
            });
            if is_available {
                candidates.push(Candidate {
                    server: ServerId(n.into()),
                    weight,
                });
                ends.push((net.server(n), port, weight));
            }
        }
        Service {
            key: described.key,
            scheduler: scheduler(described.scheduler, &candidates),
            cursor,
            generation: self.generation,
            servers: candidates.into(),
            departed: [].into(),
            by_client: described.method == Method::Nat || !described.by_nat.is_empty(),
            consistent: Arc::new(Consistent::new(&ends)),
            new_flows_max: described.new_flows_max,
            one_packet: described.one_packet,
            persistence: described.persistence,
            local: (described.method == Method::FullNat).then(|| {
                let (count, first, last) = described.local;
                let addrs: Vec<Addr> = (0..count).map(|n| net.local(n)).collect();
                Arc::new(LocalPool::new(&addrs, first..=last))
            }),
        }
    }

    fn network(&self) -> Network {
        let interface = |port, vlan, mac, mtu, v4: &str, v6: &str| Interface {
            port,
            vlan,
            mac,
            mtu,
            source_v4: Some(addr(v4)),
            source_v6: Some(addr(v6)),
        };
        let out = |interface, gateway: Option<&str>| Target::Out {
            interface: InterfaceId(interface),
            gateway: gateway.map(addr),
            source: None,
            mtu: None,
        };
        let route = |prefix: &str, len, target| Route {
            prefix: addr(prefix),
            len,
            target,
        };
        let refused = self.refused.iter().map(|prefix| Route {
            prefix: *prefix,
            len: 96 + 16,
            target: Target::Unreachable,
        });
        let lan = u16::from(!self.is_one_arm);
        let own = ["192.0.2.1", "10.0.0.254", "2001:db8:1::1", "2001:db8:2::fe"].map(addr);
        let locals = Net::both().map(|net| [net.local(0), net.local(1)]);
        let own = own.into_iter().chain(locals.into_iter().flatten());
        let own = own.chain(self.own_addresses.iter().copied());
        let mut neighbours = vec![
            ((InterfaceId(0), addr("192.0.2.254")), ROUTER_MAC),
            ((InterfaceId(0), addr("2001:db8:1::fe")), ROUTER_MAC),
            ((InterfaceId(lan), addr("10.0.0.253")), INNER_ROUTER_MAC),
        ];
        for net in Net::both() {
            for n in (1..=9).chain(12..=15) {
                neighbours.push(((InterfaceId(lan), net.server(n)), server_mac(n)));
            }
        }
        neighbours.retain(|((_, who), _)| !self.unknown_neighbours.contains(who));
        Network::new(
            vec![
                interface(WAN, 0, WAN_MAC, self.mtu_wan, "192.0.2.1", "2001:db8:1::1"),
                interface(
                    LAN,
                    self.vlan_lan,
                    LAN_MAC,
                    self.mtu_lan,
                    "10.0.0.254",
                    "2001:db8:2::fe",
                ),
            ],
            own,
            refused.chain([
                route("0.0.0.0", 96, out(0, Some("192.0.2.254"))),
                route("192.0.2.0", 96 + 24, out(0, None)),
                route("10.0.0.0", 96 + 24, out(lan, None)),
                route("172.16.0.0", 96 + 12, out(lan, Some("10.0.0.253"))),
                route("::", 0, out(0, Some("2001:db8:1::fe"))),
                route("2001:db8:1::", 64, out(0, None)),
                route("2001:db8:2::", 64, out(lan, None)),
            ]),
            neighbours,
        )
    }

    /// One burst received at `port`.
    pub(crate) fn receive(&mut self, port: PortId, packets: &[Vec<u8>]) {
        self.take(port, false, packets);
    }

    pub(crate) fn take(&mut self, port: PortId, is_handed_off: bool, packets: &[Vec<u8>]) {
        let frames = packets.iter().map(|p| MemFrame::new(p)).collect();
        self.take_frames(port, is_handed_off, frames);
    }

    pub(crate) fn take_frames(
        &mut self,
        port: PortId,
        is_handed_off: bool,
        mut burst: Burst<MemFrame>,
    ) {
        self.director
            .process(self.now, port, is_handed_off, &mut burst, &mut self.out);
        assert!(burst.is_empty());
    }

    /// Publishes `services` with these rules for connections, and lets the workers begin to keep
    /// them.
    pub(crate) fn set_rules(&mut self, services: &[Described], rules: Ipvs) {
        self.settings.ipvs = rules;
        self.publish(services, &[]);
        self.housekeep();
    }

    /// The flow of a request with this tuple.
    pub(crate) fn flow(&self, tuple: &Tuple) -> Option<Flow> {
        let flows = self.director.flows();
        let (id, _) = flows.find(tuple, flows.hash(tuple))?;
        Some(flows.get(id))
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<(PortId, Vec<u8>)> {
        std::mem::take(&mut self.out.sent)
    }

    /// The only packet sent since the last call.
    pub(crate) fn only_sent(&mut self) -> (PortId, Vec<u8>) {
        let mut sent = self.sent();
        assert_eq!(
            sent.len(),
            1,
            "packets sent; dropped: {:?}",
            self.out.dropped
        );
        sent.remove(0)
    }

    /// The counters that moved since the last call, by name, and by how much.
    pub(crate) fn moved(&mut self) -> Vec<(String, u64)> {
        let after = names(&self.counters);
        let before = std::mem::replace(&mut self.before, after.clone());
        after
            .into_iter()
            .map(|(name, value)| {
                let was = before.get(&name).copied().unwrap_or(0);
                (name, value.wrapping_sub(was))
            })
            .filter(|(_, by)| *by != 0)
            .collect()
    }

    /// Asserts that exactly these counters moved since the last call.
    pub(crate) fn assert_moved(&mut self, expected: &[(&str, u64)]) {
        let mut expected: Vec<(String, u64)> = expected
            .iter()
            .map(|(n, by)| ((*n).to_owned(), *by))
            .collect();
        expected.sort();
        assert_eq!(self.moved(), expected);
    }

    pub(crate) fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// The number of the server that the flow of this client port went to.
    pub(crate) fn server_of(&self, tuple: &Tuple) -> Option<u32> {
        Some(self.flow(tuple)?.server().0)
    }

    pub(crate) fn later(&mut self, seconds: u32) {
        self.now = self.now.after(weir_core::time::seconds(seconds));
    }

    pub(crate) fn housekeep(&mut self) {
        self.director.housekeep(self.now, usize::MAX, &mut self.out);
    }
}

fn names(counters: &WorkerCounters) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    each_counter(counters, |name, value| {
        all.insert(name.to_string(), value);
    });
    all
}

/// Tells every counter's name and value, always in the same order.
pub(crate) fn each_counter(
    counters: &WorkerCounters,
    mut tell: impl FnMut(fmt::Arguments<'_>, u64),
) {
    for reason in DropReason::ALL {
        tell(
            format_args!("drop.{}", reason.label()),
            counters.drops(*reason),
        );
    }
    for cause in Overflow::ALL {
        tell(
            format_args!("not_kept.{}", cause.label()),
            counters.not_kept(cause),
        );
    }
    for cause in Refusal::ALL {
        tell(
            format_args!("no_template.{}", cause.label()),
            counters.no_template(cause),
        );
    }
    let mut add = |name: &str, counter: &Counter| tell(format_args!("{name}"), counter.get());
    add("forwarded", &counters.forwarded);
    add("punted", &counters.punted);
    add("handed_off", &counters.handed_off);
    add("unparked", &counters.unparked);
    add("icmp_sent", &counters.icmp_sent);
    add("resets_sent", &counters.resets_sent);
    add("answers_suppressed", &counters.answers_suppressed);
    add("fragments_sent", &counters.fragments_sent);
    add("reassembled", &counters.reassembled);
    add("flows_created", &counters.flows_created);
    add("flows_expired", &counters.flows_expired);
    add("drained_reset", &counters.drained_reset);
    add("drained_removed", &counters.drained_removed);
    add("drain_probes", &counters.drain_probes);
    add("stateless", &counters.stateless);
    add("adopted", &counters.adopted);
    add("ftp_unaided", &counters.ftp_unaided);
    for (n, server) in counters.servers.iter().enumerate() {
        let mut add = |name, counter: &Counter| tell(format_args!("rs{n}.{name}"), counter.get());
        add("connections", &server.connections);
        add("packets_in", &server.packets_in);
        add("bytes_in", &server.bytes_in);
        add("packets_out", &server.packets_out);
        add("bytes_out", &server.bytes_out);
    }
    for (n, load) in counters.loads.iter().enumerate() {
        let Connections { active, inactive } = load.get();
        tell(format_args!("rs{n}.active"), active.into());
        tell(format_args!("rs{n}.inactive"), inactive.into());
    }
}
