//! Whole bursts through a director with NAT, DR, TUN and FullNAT services: every packet ends in exactly one
//! way, whatever its bytes.
//!
//! An input is a list of steps. Most take a good packet and damage it, so that the fuzzer gets past
//! the parser; some are the input's own bytes.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use weir_core::counters::DropReason;
use weir_core::service::{Method, Protocol};
use world::{Described, LAN, Net, WAN, World};

fn services() -> Vec<Described> {
    let methods = [
        (Method::Nat, 80),
        (Method::Dr, 81),
        (Method::Tun, 82),
        (Method::FullNat, 83),
    ];
    let mut all = Vec::new();
    for net in Net::both() {
        for (method, port) in methods {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let mut service = Described::web(&net, method);
                service.key.port = port;
                service.key.protocol = protocol;
                // A slot has one server, so each service has its own.
                let slot = all.len() as u8 + 1;
                service.servers = vec![(slot, port, 1)];
                service.local = (1, 4000, 4007);
                all.push(service);
            }
        }
    }
    all
}

fn template(which: u8, port: u16) -> Vec<u8> {
    let net = Net::both()[usize::from(which & 1)];
    let service_port = 80 + u16::from(which >> 1 & 3);
    let flags = which;
    match which >> 4 {
        0..=5 => net
            .client_frame()
            .tcp(port, service_port)
            .flags(flags & 0x17)
            .build(),
        6 | 7 => net
            .client_frame()
            .udp(port, service_port)
            .payload(&[which; 64])
            .build(),
        8 => weir_wire::builder::PacketBuilder::eth(world::server_mac(1), world::LAN_MAC)
            .ip(net.server(which & 15), net.local(0))
            .tcp(service_port, port)
            .flags(0x10)
            .build(),
        9 => net
            .server_frame(which & 15)
            .tcp(service_port, port)
            .flags(0x10)
            .build(),
        10 => net.server_frame(which & 15).udp(service_port, port).build(),
        11 => net
            .client_frame()
            .tcp(port, service_port)
            .payload(&[0; 1480])
            .build(),
        12 => {
            let sent = weir_wire::builder::PacketBuilder::eth(world::WAN_MAC, world::ROUTER_MAC)
                .ip(net.vip, net.client)
                .tcp(service_port, port)
                .build_ip();
            net.client_frame()
                .icmp_error(3, which & 15, 1300, &sent)
                .build()
        }
        13 => {
            let sent = weir_wire::builder::PacketBuilder::eth(world::LAN_MAC, world::ROUTER_MAC)
                .ip(net.client, net.server(which & 15))
                .tcp(port, service_port)
                .build_ip();
            net.server_frame(9).icmp_error(3, 1, 0, &sent).build()
        }
        14 => net
            .client_frame()
            .fragment(0, true)
            .udp(port, service_port)
            .build(),
        _ => net.client_frame().icmp(8, 0, 1).build(),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new(&services());
    let mut rest = input;
    while let Some((&[which, way, edits, low, high, ..], tail)) =
        rest.first_chunk::<5>().map(|head| (head, &rest[5..]))
    {
        rest = tail;
        let mut packet = if way & 0x80 != 0 {
            let len = usize::from(low).min(rest.len());
            let (own, tail) = rest.split_at(len);
            rest = tail;
            own.to_vec()
        } else {
            template(which, 4000 + u16::from(low & 7))
        };
        for _ in 0..edits & 3 {
            let Some((&[at_low, at_high, value], tail)) =
                rest.first_chunk::<3>().map(|head| (head, &rest[3..]))
            else {
                break;
            };
            rest = tail;
            let at = usize::from(u16::from_le_bytes([at_low, at_high & 7]));
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
        }
        if edits & 0x40 != 0 {
            packet.truncate(usize::from(high));
        }
        let port = if way & 1 == 0 { WAN } else { LAN };
        let copies = 1 + usize::from(way >> 1 & 3);
        let may_wait = is_fragment(&packet);
        let before = ended(&world);
        world.receive(port, &vec![packet; copies]);
        // Fragments and answers add to what leaves; nothing may vanish.
        assert!(
            may_wait || ended(&world) >= before + copies,
            "a packet vanished"
        );
        if way & 0x10 != 0 {
            world.later(u32::from(high));
            world.housekeep();
        }
    }
});

/// True for what may wait for other fragments, and be one packet with them then.
fn is_fragment(frame: &[u8]) -> bool {
    let Ok(weir_wire::Parsed::Ip(h)) = weir_wire::parse(frame, true) else {
        return false;
    };
    h.bits.fragment() || weir_wire::fragment::atomic(frame, &h).is_some()
}

/// Packets that have come to an end or left.
fn ended(world: &World) -> usize {
    let counters = world.counters();
    let drops: u64 = DropReason::ALL.iter().map(|r| counters.drops(*r)).sum();
    let told = counters.icmp_sent.get();
    (drops + counters.forwarded.get() + counters.punted.get() + counters.handed_off.get() + told)
        as usize
}
