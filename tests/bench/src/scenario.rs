//! The site that is measured: one service, its real servers, clients from RFC 2544's range.
//!
//! Port 0 is `wan`, the way to all clients through a router; port 1 is `lan` with the real servers.

use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use weir_core::director::Limits;
use weir_core::flow::{TcpState, Timeouts};
use weir_core::io::PortId;
use weir_core::load::Thresholds;
use weir_core::local::LocalPool;
use weir_core::next_hop::{Interface, InterfaceId, Network, Route, Target};
use weir_core::schedule::Scheduler;
use weir_core::service::{
    Candidate, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey, Services, Tunnel,
};
use weir_core::snapshot::{Settings, Snapshot};
use weir_core::time::TICKS_PER_SECOND;
use weir_wire::{Addr, Family, Mac};

pub(crate) const WAN: PortId = PortId(0);
pub(crate) const LAN: PortId = PortId(1);
pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const LAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub(crate) const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);
pub(crate) const DIRECTOR_LAN: u32 = v4([10, 0, 0, 254]);
pub(crate) const SERVICE_PORT: u16 = 80;

/// Real servers of the service.
pub(crate) const SERVERS: u8 = 10;

/// RFC 2544's range for benchmarks, 198.18.0.0/15: the clients.
const CLIENTS: u32 = v4([198, 18, 0, 0]);
const CLIENT_BITS: u32 = 17;
const CLIENT_PORT_FIRST: u16 = 1024;

const fn v4(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

pub(crate) fn addr(ip: u32) -> Addr {
    Addr::from_v4_bytes(ip.to_be_bytes())
}

/// What stands before the 32 bits of an IPv4 address to make one of IPv6: RFC 3849's prefix.
pub(crate) const V6_PREFIX: [u8; 12] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0];

/// The address that plays the part of `ip` in a family.
pub(crate) fn addr_in(family: Family, ip: u32) -> Addr {
    match family {
        Family::V4 => addr(ip),
        Family::V6 => {
            let mut bytes = [0; 16];
            bytes[..12].copy_from_slice(&V6_PREFIX);
            bytes[12..].copy_from_slice(&ip.to_be_bytes());
            Addr::from_v6_bytes(bytes)
        }
    }
}

/// The client address and port of flow `n`: every flow of the first 131 072 has an address of its
/// own, then ports follow. All 32-bit numbers have one.
#[inline]
pub(crate) const fn client(n: u32) -> (u32, u16) {
    let host = n & ((1 << CLIENT_BITS) - 1);
    (
        CLIENTS | host,
        CLIENT_PORT_FIRST + (n >> CLIENT_BITS) as u16,
    )
}

pub(crate) const fn server_ip(n: u8) -> u32 {
    v4([10, 0, 0, n + 1])
}

pub(crate) const fn server_mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 3, n + 1])
}

/// The virtual address.
pub(crate) const VIP: u32 = v4([192, 0, 2, 100]);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Source and sink alone: frames go back as they came.
    Source,
    /// Direct routing.
    Dr,
    /// IPv4 in IPv4.
    Tun,
    /// NAT, requests and replies in turn.
    Nat,
    /// FullNAT, requests and replies in turn.
    FullNat,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Dr => "dr",
            Self::Tun => "tun",
            Self::Nat => "nat",
            Self::FullNat => "fullnat",
        }
    }

    /// The forwarding method; none where no director takes part.
    pub(crate) const fn method(self) -> Option<Method> {
        match self {
            Self::Source => None,
            Self::FullNat => Some(Method::FullNat),
            Self::Dr => Some(Method::Dr),
            Self::Tun => Some(Method::Tun),
            Self::Nat => Some(Method::Nat),
        }
    }

    /// True where replies pass the director, so that the source has to play the real servers.
    pub(crate) const fn has_replies(self) -> bool {
        matches!(self, Self::Nat | Self::FullNat)
    }
}

/// Room for `flows` flows of a family.
pub(crate) fn limits(family: Family, flows: usize) -> Limits {
    let room = |of| if of == family { flows } else { 1024 };
    Limits {
        flows: room(Family::V4),
        flows_v6: room(Family::V6),
        half_open: flows,
        services: 1,
        servers: usize::from(SERVERS),
        punt_per_second: 1000,
        punt_reserved_percent: 25,
        icmp_per_second: 1000,
        parked: 64,
        parked_per_neighbour: 8,
        fragments: 256,
    }
}

/// All that control would publish.
pub(crate) fn snapshot(family: Family, method: Method, timeouts: Timeouts) -> Arc<Snapshot> {
    let servers = (0..SERVERS).map(|n| Some(server(family, n, method)));
    Arc::new(Snapshot {
        epoch: 1,
        network_epoch: 1,
        services: Arc::new(Services::new(
            vec![service(family, method)],
            servers.collect(),
        )),
        network: Arc::new(network(family)),
        settings: Settings {
            timeouts,
            ..Settings::default()
        },
        ..Snapshot::empty()
    })
}

/// Lifetimes under which connections that end are gone after a second and those that are
/// established stay.
pub(crate) fn short_timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    for state in TcpState::ALL {
        if state != TcpState::Established {
            timeouts.tcp[state as usize] = TICKS_PER_SECOND;
        }
    }
    timeouts
}

fn server(family: Family, n: u8, method: Method) -> Server {
    Server {
        addr: addr_in(family, server_ip(n)),
        port: SERVICE_PORT,
        method,
        tunnel: Tunnel::Ipip,
        weight: 1,
        protocol: Protocol::Tcp,
        is_available: true,
        position: 0,
        service: ServiceId(0),
        thresholds: Thresholds::default(),
        has_any_port: false,
        was_nat: false,
    }
}

fn service(family: Family, method: Method) -> Service {
    let candidates: Vec<Candidate> = (0..SERVERS)
        .map(|n| Candidate {
            server: ServerId(n.into()),
            weight: 1,
        })
        .collect();
    Service {
        key: ServiceKey {
            protocol: Protocol::Tcp,
            addr: addr_in(family, VIP),
            port: SERVICE_PORT,
            mark: 0,
        },
        scheduler: Scheduler::Rr,
        cursor: Arc::default(),
        generation: 1,
        servers: candidates.into(),
        departed: [].into(),
        by_client: true,
        consistent: Arc::default(),
        new_flows_max: 0,
        one_packet: false,
        persistence: None,
        local: (method == Method::FullNat).then(|| local_pool(family)),
    }
}

/// Local ends for 20 million flows: 32 addresses, each port of which serves a flow at each of ten
/// real servers.
fn local_pool(family: Family) -> Arc<LocalPool> {
    let addrs = (1..=32).map(|n| addr_in(family, v4([10, 0, 1, n])));
    Arc::new(LocalPool::new(&addrs.collect::<Vec<_>>(), 1024..=65535))
}

fn network(family: Family) -> Network {
    const DIRECTOR_WAN: u32 = v4([192, 0, 2, 1]);
    const ROUTER: u32 = v4([192, 0, 2, 254]);
    let addr = |ip| addr_in(family, ip);
    let own_in = |of, ip| (of == family).then(|| addr(ip));
    let interface = |port, mac, own| Interface {
        port,
        vlan: 0,
        mac,
        mtu: 1500,
        source_v4: own_in(Family::V4, own),
        source_v6: own_in(Family::V6, own),
    };
    let route = |prefix, len, interface, gateway: Option<u32>| Route {
        prefix,
        len,
        target: Target::Out {
            interface: InterfaceId(interface),
            gateway: gateway.map(addr),
            source: None,
            mtu: None,
        },
    };
    let servers = (0..SERVERS).map(|n| ((InterfaceId(1), addr(server_ip(n))), server_mac(n)));
    let router = ((InterfaceId(0), addr(ROUTER)), ROUTER_MAC);
    Network::new(
        vec![
            interface(WAN, WAN_MAC, DIRECTOR_WAN),
            interface(LAN, LAN_MAC, DIRECTOR_LAN),
        ],
        [DIRECTOR_WAN, DIRECTOR_LAN].map(addr),
        [
            match family {
                Family::V4 => route(addr(0), 96, 0, Some(ROUTER)),
                Family::V6 => route(Addr(0), 0, 0, Some(ROUTER)),
            },
            route(addr(DIRECTOR_WAN & 0xffff_ff00), 96 + 24, 0, None),
            route(addr(DIRECTOR_LAN & 0xffff_ff00), 96 + 24, 1, None),
        ],
        servers.chain([router]),
    )
}
