//! A director in a scene, and what became of its packets.

use std::sync::Arc;

use weir_core::flow::Timeouts;
use weir_core::mark::MarkRule;
use weir_core::persist::{Persistence, TemplateView};
use weir_core::service::{Method, Protocol, ServiceKey};
use weir_core::time::{TICKS_PER_SECOND, seconds};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{Addr, Family, Headers, Mac, Parsed};

use crate::several_workers::{deliver, workers};
use crate::world::{
    Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, limits, server_mac,
};

pub(super) fn vip() -> Addr {
    Net::v4().vip
}

pub(super) fn client(n: u8) -> Addr {
    Addr::from_v4_bytes([198, 51, 100, n])
}

pub(super) fn persistent(timeout: u32) -> Option<Persistence> {
    Some(Persistence {
        lifetime: seconds(timeout),
        mask: !0,
        engine: None,
    })
}

/// A service of rr over servers 1, 2 and 3, which have its port.
pub(super) fn service(protocol: Protocol, port: u16, timeout: Option<u32>) -> Described {
    let mut service = Described::web(&Net::v4(), Method::Dr);
    (service.key.protocol, service.key.port) = (protocol, port);
    service.servers = (1..=3).map(|n| (n, port, 1)).collect();
    service.persistence = timeout.and_then(persistent);
    service
}

pub(super) fn tcp(port: u16, timeout: u32) -> Described {
    service(Protocol::Tcp, port, Some(timeout))
}

pub(super) fn of_mark(mark: u32, timeout: Option<u32>) -> Described {
    let mut service = service(Protocol::Tcp, 0, timeout);
    service.key = ServiceKey::of_mark(mark, Family::V4);
    service
}

/// A rule that gives every packet this mark.
pub(super) fn mark_all(mark: u32) -> MarkRule {
    MarkRule {
        mark,
        family: None,
        protocol: None,
        source: None,
        destination: None,
        source_ports: Vec::new(),
        destination_ports: Vec::new(),
        interface: None,
        any_destination: false,
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// To this server, with this address and port to go to.
    To(u8, Addr, u16),
    /// To the client, from this address and port.
    Back(Addr, u16),
    Punted,
    /// Answered by an ICMP error.
    Refused,
    /// Nothing left.
    Nowhere,
}

/// The director of one scene.
pub(super) struct Scene {
    pub(super) worlds: Vec<World>,
    pub(super) services: Vec<Described>,
    pub(super) removed: Vec<u8>,
    /// The worker that receives next.
    at: usize,
}

/// Plays a scene in each of the ways there are.
#[expect(clippy::print_stdout, reason = "a scene that fails says by which way")]
pub(super) fn play(services: &[Described], scene: impl Fn(&mut Scene)) {
    for way in ["short", "general", "three workers"] {
        let mut worlds = match way {
            "three workers" => workers(3, services),
            _ => vec![World::worker(0, 1, limits(), services)],
        };
        if way == "general" {
            worlds[0].director.take_the_general_way_only();
        }
        for world in &mut worlds {
            world.own_addresses = vec![vip(), addr("192.0.2.101")];
            world.settings.timeouts = Timeouts::default();
        }
        let mut played = Scene {
            worlds,
            services: services.to_vec(),
            removed: Vec::new(),
            at: 0,
        };
        played.publish();
        println!("played by {way}");
        scene(&mut played);
    }
}

impl Scene {
    pub(super) fn publish(&mut self) {
        let (first, others) = self.worlds.split_first_mut().expect("a worker");
        first.publish(&self.services, &self.removed);
        for world in others {
            world.marks.clone_from(&first.marks);
            world.settings = first.settings;
            world.share_cursor(first, &self.services);
            world.publish(&self.services, &self.removed);
        }
    }

    pub(super) fn service(&mut self, at: usize) -> &mut Described {
        &mut self.services[at]
    }

    pub(super) fn first(&mut self) -> &mut World {
        &mut self.worlds[0]
    }

    pub(super) fn later(&mut self, tenths: u32) {
        for world in &mut self.worlds {
            world.now = world.now.after(tenths * TICKS_PER_SECOND / 10);
            world.housekeep();
        }
    }

    pub(super) fn receive(&mut self, port: weir_core::io::PortId, packet: Vec<u8>) -> Went {
        let at = self.at % self.worlds.len();
        self.at += 1;
        self.worlds[at].receive(port, &[packet]);
        deliver(&mut self.worlds);
        let sent: Vec<_> = self.worlds.iter_mut().flat_map(World::sent).collect();
        let punted = self.worlds.iter_mut();
        let punted = punted
            .flat_map(|w| std::mem::take(&mut w.out.punted))
            .count();
        match (&sent[..], punted) {
            ([], 0) => Went::Nowhere,
            ([], 1) => Went::Punted,
            ([(_, bytes)], 0) => went(bytes),
            _ => panic!("one packet became {sent:02x?} and {punted} for Linux"),
        }
    }

    pub(super) fn from(&mut self, who: Addr, sport: u16, to: Addr, dport: u16, flags: u8) -> Went {
        let frame = PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(who, to);
        self.receive(WAN, frame.tcp(sport, dport).flags(flags).build())
    }

    /// A SYN and an ACK, which go to the same server.
    pub(super) fn connect(&mut self, who: Addr, sport: u16, to: Addr, dport: u16) -> u8 {
        let first = self.from(who, sport, to, dport, SYN);
        assert_eq!(self.from(who, sport, to, dport, ACK), first);
        server_of(first)
    }

    pub(super) fn datagram(
        &mut self,
        who: Addr,
        sport: u16,
        to: Addr,
        dport: u16,
        text: &str,
    ) -> Went {
        let frame = PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(who, to);
        self.receive(
            WAN,
            frame.udp(sport, dport).payload(text.as_bytes()).build(),
        )
    }

    /// From server `n` to a client.
    pub(super) fn reply(
        &mut self,
        n: u8,
        packet: impl Fn(PacketBuilder) -> PacketBuilder,
        to: Addr,
    ) -> Went {
        let net = if to.is_v4() { Net::v4() } else { Net::v6() };
        let frame = PacketBuilder::eth(server_mac(n), LAN_MAC).ip(net.server(n), to);
        self.receive(LAN, packet(frame).build())
    }

    pub(super) fn templates(&mut self) -> Vec<(TemplateView, String)> {
        let now = self.worlds[0].now;
        let mut all = Vec::new();
        let templates = Arc::clone(&self.worlds[0].templates);
        for at in 0..templates.buckets() {
            templates.visit(now, at, |view, name| {
                all.push((*view, String::from_utf8_lossy(name).into_owned()));
            });
        }
        all.sort_by_key(|(view, name)| {
            (
                view.client,
                view.protocol,
                view.virt,
                view.port,
                name.clone(),
            )
        });
        all
    }

    /// The templates in the words of `ipvsadm -Lnc`, but for the protocol: seconds left, state, client,
    /// virtual end and server's end.
    pub(super) fn listed(&mut self) -> Vec<String> {
        let line = |(view, name): (TemplateView, String)| {
            let seconds = view.ticks_left.div_ceil(TICKS_PER_SECOND);
            let (client, virt) = (view.client.ip(), view.virt.ip());
            let net = if virt.is_ipv4() { Net::v4() } else { Net::v6() };
            let server = net.server(view.server.0 as u8 % 16).ip();
            let (port, dest_port, state) = (view.port, view.dest_port, view.state());
            let line = format!("{seconds} {state} {client} {virt}:{port} {server}:{dest_port}");
            if name.is_empty() {
                line
            } else {
                format!("{line} {name}")
            }
        };
        self.templates().into_iter().map(line).collect()
    }

    /// PersistConn of servers 1, 2 and 3.
    pub(super) fn persistent_of(&self) -> [u64; 3] {
        let templates = &self.worlds[0].templates;
        [1, 2, 3].map(|n| templates.of_server(weir_core::service::ServerId(n)))
    }

    /// Connections, active and others, of servers 1, 2 and 3.
    pub(super) fn connections_of(&self) -> [u64; 3] {
        [1usize, 2, 3].map(|n| {
            let loads = self.worlds.iter().map(|w| &w.counters().loads[n]);
            loads.map(|load| load.get().total()).sum()
        })
    }
}

pub(super) fn headers(bytes: &[u8]) -> Headers {
    match weir_wire::parse(bytes, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("{other:?}"),
    }
}

pub(super) fn went(bytes: &[u8]) -> Went {
    let h = headers(bytes);
    let mac = Mac(*bytes.first_chunk().expect("a frame"));
    match (1..=9).find(|n| server_mac(*n) == mac) {
        Some(n) => Went::To(n, h.dst, h.dst_port),
        None if h.is_icmp() => Went::Refused,
        None => Went::Back(h.src, h.src_port),
    }
}

pub(super) fn server_of(went: Went) -> u8 {
    match went {
        Went::To(n, ..) => n,
        other => panic!("{other:?}"),
    }
}
