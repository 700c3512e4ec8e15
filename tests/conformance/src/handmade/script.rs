//! A scenario in the making, by hand.

use std::net::{IpAddr, SocketAddr};

use weir_conformance::answer::{Answer, data};
use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{Operation, Protocol, Scenario};
use weir_conformance::place::{Leg, server, server_mac};
use weir_wire::Addr;
use weir_wire::builder::PacketBuilder;

/// The virtual address that scenarios use where nothing else is said.
pub(super) const VIP: &str = "192.0.2.100";
/// The same of IPv6.
pub(super) const VIP6: &str = "2001:db8:1::100";

/// Operations, one after the other.
pub(super) struct Script {
    name: String,
    operations: Vec<Operation>,
    frames: u32,
}

/// A client's end of a connection to a virtual address and port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) service: SocketAddr,
    pub(super) protocol: Protocol,
}

impl Ends {
    /// Client `n`'s connection from `port` to TCP port 80 of the virtual address of its family.
    pub(super) fn tcp(n: u8, port: u16, is_v6: bool) -> Self {
        Self {
            client: SocketAddr::new(client(n, is_v6), port),
            service: SocketAddr::new(vip(is_v6), 80),
            protocol: Protocol::Tcp,
        }
    }

    /// The same of UDP port 53.
    pub(super) fn udp(n: u8, port: u16, is_v6: bool) -> Self {
        Self {
            protocol: Protocol::Udp,
            ..Self::tcp(n, port, is_v6).to_port(53)
        }
    }

    pub(super) fn to_port(self, port: u16) -> Self {
        let service = SocketAddr::new(self.service.ip(), port);
        Self { service, ..self }
    }

    /// The IP layer of a packet of the client.
    pub(super) fn ip(&self) -> PacketBuilder {
        let eth = PacketBuilder::eth(Leg::Client.router(), Leg::Client.director());
        let ip = eth.ip(Addr::from(self.client.ip()), Addr::from(self.service.ip()));
        ip.id(0x1234)
    }

    /// The IP layer of a packet of server `n` to the client.
    pub(super) fn ip_of_server(&self, n: u8) -> PacketBuilder {
        let from = server(n, self.client.is_ipv6());
        let eth = PacketBuilder::eth(server_mac(n), Leg::Server.director());
        let ip = eth.ip(Addr::from(from), Addr::from(self.client.ip()));
        ip.id(0x4321)
    }

    /// A packet on top of `ip` with TCP's flags where it has any.
    pub(super) fn over(&self, ip: PacketBuilder, flags: u8) -> PacketBuilder {
        let (from, to) = (self.client.port(), self.service.port());
        match self.protocol {
            Protocol::Tcp => ip.tcp(from, to).flags(flags).seq(1000).ack(5000),
            Protocol::Udp => ip.udp(from, to).payload(b"query"),
            Protocol::Sctp => ip.sctp(from, to),
        }
    }
}

/// The name of a case: method and family.
pub(super) fn case(method: &str, is_v6: bool) -> String {
    format!("{method}, {}", if is_v6 { "IPv6" } else { "IPv4" })
}

/// The address of client `n`.
pub(super) fn client(n: u8, is_v6: bool) -> IpAddr {
    match is_v6 {
        true => IpAddr::V6([0x2001, 0xdb8, 9, 0, 0, 0, 0, n.into()].into()),
        false => IpAddr::V4([198, 51, 100, n].into()),
    }
}

pub(super) fn vip(is_v6: bool) -> IpAddr {
    let vip = if is_v6 { VIP6 } else { VIP };
    vip.parse().expect("an address")
}

/// The virtual address and a port, as they are written.
pub(super) fn vip_at(port: u16, is_v6: bool) -> SocketAddr {
    SocketAddr::new(vip(is_v6), port)
}

/// Server `n` and a port, as they are written.
pub(super) fn server_at(n: u8, port: u16, is_v6: bool) -> SocketAddr {
    SocketAddr::new(server(n, is_v6), port)
}

impl Script {
    pub(super) fn new(feature: &str, case: &str) -> Self {
        Self {
            name: format!("{feature}/{case}"),
            operations: Vec::new(),
            frames: 0,
        }
    }

    /// Operations as text, one a line.
    pub(super) fn say(&mut self, lines: &str) -> &mut Self {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let operation = line.parse::<Operation>();
            self.operations
                .push(operation.unwrap_or_else(|why| panic!("{why}: {line}")));
        }
        self
    }

    /// A service `key` with servers 1 to `servers` of a method, all of weight 1.
    pub(super) fn serve(&mut self, key: &str, scheduler: &str, servers: u8, method: &str) {
        self.say(&format!("service add {key} {scheduler}"));
        let at = key
            .split_whitespace()
            .nth(1)
            .and_then(|at| at.parse::<SocketAddr>().ok());
        for n in 1..=servers {
            let at = server_at(
                n,
                at.map_or(0, |at| at.port()),
                at.is_some_and(|at| at.is_ipv6()),
            );
            self.say(&format!("server add {key} {at} {method}"));
        }
    }

    /// A frame reaches the director.
    pub(super) fn frame(&mut self, leg: Leg, frame: &PacketBuilder) -> u32 {
        self.bytes(leg, frame.build())
    }

    pub(super) fn bytes(&mut self, leg: Leg, bytes: Vec<u8>) -> u32 {
        self.frames += 1;
        let (id, bytes) = (self.frames, Bytes(bytes));
        self.operations.push(Operation::Frame { id, leg, bytes });
        id
    }

    /// A packet of a client.
    pub(super) fn send(&mut self, ends: Ends, flags: u8, len: u16) -> u32 {
        let packet = ends.over(ends.ip(), flags).payload(&data(len));
        self.frame(Leg::Client, &packet)
    }

    /// Whoever was sent something because of frame `to` answers.
    pub(super) fn answer(&mut self, to: u32, from: Leg, answer: Answer) -> u32 {
        self.frames += 1;
        self.operations.push(Operation::Answer {
            id: self.frames,
            to,
            from,
            answer,
        });
        self.frames
    }

    /// The server answers with a segment.
    pub(super) fn reply(&mut self, to: u32, flags: u8, data: u16) -> u32 {
        self.answer(to, Leg::Server, Answer::Tcp { flags, data })
    }

    pub(super) fn end(mut self, into: &mut Vec<Scenario>) {
        self.say("entries\ncounters");
        self.done(into);
    }

    /// Where the counters are no matter.
    pub(super) fn end_uncounted(mut self, into: &mut Vec<Scenario>) {
        self.say("entries");
        self.done(into);
    }

    /// Where neither entries nor counters are.
    pub(super) fn done(self, into: &mut Vec<Scenario>) {
        into.push(Scenario {
            name: self.name,
            operations: self.operations,
        });
    }
}
