//! The addresses and stations of a world, and the way to each.

use weir_core::flow::Tuple;
use weir_core::io::PortId;
use weir_core::next_hop::{Interface, InterfaceId, Network, Route, Target};
use weir_core::service::Protocol;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::{Addr, Mac, tcp_flag};

use super::World;

pub(crate) const WAN: PortId = PortId(0);
pub(crate) const LAN: PortId = PortId(1);
pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const LAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub(crate) const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);

/// Of 10.0.0.253, the way to 172.16.0.0/12.
const INNER_ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 2, 0xfe]);

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

impl World {
    pub(super) fn network(&self) -> Network {
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
}
