//! Clients behind a router on port 0, real servers on port 1, and the frames they send.

use std::sync::Arc;

use weir_core::io::PortId;
use weir_core::next_hop::{Interface, InterfaceId, Network, Route, Target};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::{Addr, Mac, Parsed, tcp_flag};

pub(crate) const WAN: PortId = PortId(0);
pub(crate) const LAN: PortId = PortId(1);
const WAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
const LAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);

/// Real servers that have a neighbour entry; the others must be asked for.
const KNOWN_SERVERS: u8 = 9;

/// Flow `n` comes from a client address and port of its own.
pub(crate) type FlowNumber = u32;

const PORT_FIRST: u32 = 1024;
pub(crate) const PORTS: u32 = 50_000;

pub(crate) fn vip() -> Addr {
    Addr::from_v4_bytes([192, 0, 2, 100])
}

pub(crate) fn client(n: FlowNumber) -> (Addr, u16) {
    let host = Addr::from_v4_bytes([198, 51, 100, 1 + (n / PORTS) as u8]);
    (host, (PORT_FIRST + n % PORTS) as u16)
}

pub(crate) fn flow_of(client: Addr, port: u16) -> FlowNumber {
    let host = client.0 as u8;
    u32::from(host - 1) * PORTS + u32::from(port) - PORT_FIRST
}

pub(crate) fn server(n: u8) -> Addr {
    Addr::from_v4_bytes([10, 0, 0, n])
}

fn server_mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 3, n])
}

/// A segment of flow `n` from its client.
pub(crate) fn segment(n: FlowNumber, flags: u8, seq: u32) -> Vec<u8> {
    let (addr, port) = client(n);
    let frame = PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(addr, vip());
    frame.tcp(port, 80).flags(flags).seq(seq).build()
}

pub(crate) fn syn(n: FlowNumber) -> Vec<u8> {
    segment(n, tcp_flag::SYN, 0)
}

/// A segment of flow `n` from its server, as it reaches the director and as it is to leave it.
pub(crate) fn reply(n: FlowNumber, from: u8, flags: u8, seq: u32) -> [Vec<u8>; 2] {
    let (addr, port) = client(n);
    let arrives = PacketBuilder::eth(server_mac(from), LAN_MAC).ip(server(from), addr);
    let leaves = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
        .ip(vip(), addr)
        .ttl(63);
    [arrives, leaves].map(|frame| frame.tcp(80, port).flags(flags).seq(seq).build())
}

/// A datagram that is Linux's business.
pub(crate) fn for_linux(n: FlowNumber) -> Vec<u8> {
    let (client, port) = client(n);
    let frame = PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(client, addr("192.0.2.1"));
    frame.udp(port, 33_434).build()
}

/// A packet that left the director.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) port: PortId,
    pub(crate) flow: FlowNumber,
    /// The server it goes to, by its MAC address; 0 towards clients.
    pub(crate) server: u8,
    pub(crate) seq: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Sent {
    pub(crate) fn parse(port: PortId, bytes: Vec<u8>) -> Self {
        let Ok(Parsed::Ip(headers)) = weir_wire::parse(&bytes, true) else {
            panic!("a packet left that is none: {bytes:?}");
        };
        let (client, client_port, server) = match port {
            LAN => (headers.src, headers.src_port, bytes[5]),
            _ => (headers.dst, headers.dst_port, 0),
        };
        let seq = &bytes[usize::from(headers.l4) + 4..][..4];
        Self {
            port,
            flow: flow_of(client, client_port),
            server,
            seq: u32::from_be_bytes(seq.try_into().expect("four bytes")),
            bytes,
        }
    }
}

pub(crate) fn network() -> Arc<Network> {
    let interface = |port, mac, source| Interface {
        port,
        vlan: 0,
        mac,
        mtu: 1500,
        source_v4: Some(addr(source)),
        source_v6: None,
    };
    let route = |prefix, len: u8, interface, gateway| Route {
        prefix: addr(prefix),
        len: 96 + len,
        target: Target::Out {
            interface: InterfaceId(interface),
            gateway,
            source: None,
            mtu: None,
        },
    };
    let router = addr("192.0.2.254");
    let mut neighbours = vec![((InterfaceId(0), router), ROUTER_MAC)];
    for n in 1..=KNOWN_SERVERS {
        neighbours.push(((InterfaceId(1), server(n)), server_mac(n)));
    }
    Arc::new(Network::new(
        vec![
            interface(WAN, WAN_MAC, "192.0.2.1"),
            interface(LAN, LAN_MAC, "10.0.0.254"),
        ],
        ["192.0.2.1", "10.0.0.254"].map(addr),
        [
            route("0.0.0.0", 0, 0, Some(router)),
            route("10.0.0.0", 24, 1, None),
        ],
        neighbours,
    ))
}
