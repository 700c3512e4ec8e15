use weir_core::service::Method;
use weir_wire::Mac;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::SYN;

use crate::world::{Described, Net, ROUTER_MAC, WAN, World};

fn world() -> World {
    World::new(&[Described::web(&Net::v4(), Method::Nat)])
}

fn v4(text: &str) -> std::net::Ipv4Addr {
    text.parse().expect("an address")
}

#[test]
fn arp_ping_and_strangers_ports_are_linuxs() {
    let net = Net::v4();
    let mut world = world();
    let arp = PacketBuilder::eth(ROUTER_MAC, Mac::BROADCAST)
        .arp(
            1,
            (ROUTER_MAC, v4("192.0.2.254")),
            (Mac::ZERO, v4("192.0.2.100")),
        )
        .build();
    let ping = net.client_frame().icmp(8, 0, 1).payload(b"ping").build();
    let ssh = net.client_frame().tcp(4000, 22).flags(SYN).build();
    let packets = [arp, ping, ssh];
    world.receive(WAN, &packets);
    let punted: Vec<_> = world.out.punted.iter().map(|(_, p)| p.clone()).collect();
    assert_eq!(punted, packets, "each byte as it came");
    world.assert_moved(&[("punted", 3)]);
}

#[test]
fn frames_for_another_station_end() {
    let net = Net::v4();
    let mut world = world();
    let elsewhere = PacketBuilder::eth(ROUTER_MAC, Mac([2, 9, 9, 9, 9, 9]))
        .ip(net.client, net.vip)
        .tcp(4000, 80)
        .flags(SYN);
    world.receive(WAN, &[elsewhere.build()]);
    world.assert_moved(&[("drop.other_mac", 1)]);
}

#[test]
fn every_truncation_ends_under_a_reason() {
    for net in Net::both() {
        let whole = net.segment(4000, SYN);
        for len in 0..whole.len() {
            let mut world = world();
            world.receive(WAN, &[whole[..len].to_vec()]);
            assert_eq!(world.out.dropped.len(), 1, "cut to {len} bytes");
            assert!(world.sent().is_empty());
        }
    }
}

#[test]
fn a_wrong_header_checksum_ends_the_packet() {
    let net = Net::v4();
    let mut world = world();
    let mut syn = net.syn(4000);
    syn[14 + 10] ^= 1;
    world.receive(WAN, &[syn]);
    world.assert_moved(&[("drop.ip_checksum", 1)]);
}

#[test]
fn options_that_make_no_sense_are_linuxs() {
    let (v4, v6) = (Net::v4(), Net::v6());
    let mut world = World::new(&[
        Described::web(&v4, Method::Nat),
        Described::web(&v6, Method::Nat),
    ]);
    let with = |options: &[u8]| {
        let ip = v4.client_frame().ip_options(options);
        ip.tcp(4000, 80).flags(SYN).build()
    };
    let hop = |option: [u8; 4]| {
        let [a, b, c, d] = option;
        let ip = v6.client_frame().extension(0, &[0, 0, a, b, c, d, 1, 0]);
        ip.tcp(4000, 80).flags(SYN).build()
    };
    // Router alert and time stamps of no length or too much, a route whose pointer is in its head, a source
    // route at its end; hop-by-hop options that are to be known, and one that is too long.
    let odd = [
        with(&[0x94, 0, 0, 0]),
        with(&[0x94, 1, 0, 0]),
        with(&[0x94, 40, 0, 0]),
        with(&[68, 2, 5, 0]),
        with(&[7, 3, 3, 0]),
        with(&[1, 1, 1, 0x83]),
        with(&[0x83, 3, 4, 0]),
        hop([0x5e, 2, 0, 0]),
        hop([0x9e, 2, 0, 0]),
        hop([0xde, 2, 0, 0]),
        hop([0x1e, 9, 0, 0]),
    ];
    world.receive(WAN, &odd);
    world.assert_moved(&[("punted", odd.len() as u64)]);
    let right = [
        with(&[0x94, 4, 0, 0]),
        with(&[7, 7, 4, 0, 0, 0, 0, 0]),
        with(&[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        with(&[7, 3, 4, 0]),
        hop([0x1e, 2, 0, 0]),
    ];
    world.receive(WAN, &right);
    assert_eq!(world.sent().len(), right.len());
    world.moved();
    world.receive(WAN, &[with(&[0x89, 7, 4, 203, 0, 113, 9, 0])]);
    world.assert_moved(&[("drop.source_route", 1)]);
}

#[test]
fn a_flood_for_linux_leaves_room_for_arp() {
    let net = Net::v4();
    let mut world = world();
    let ping = net.client_frame().icmp(8, 0, 1).payload(b"ping").build();
    for _ in 0..100 {
        world.receive(WAN, &vec![ping.clone(); 32]);
    }
    assert!(
        world
            .moved()
            .iter()
            .any(|(name, _)| name == "drop.punt_limit")
    );
    let arp = PacketBuilder::eth(ROUTER_MAC, Mac::BROADCAST).arp(
        1,
        (ROUTER_MAC, v4("192.0.2.254")),
        (Mac::ZERO, v4("192.0.2.100")),
    );
    world.receive(WAN, &[arp.build()]);
    world.assert_moved(&[("punted", 1)]);
}

#[test]
fn a_reply_of_a_server_to_nobody_is_linuxs_to_route() {
    let net = Net::v4();
    let mut world = world();
    let stray = net.server_frame(1).tcp(80, 4000).flags(SYN).build();
    world.receive(crate::world::LAN, &[stray]);
    world.assert_moved(&[("punted", 1)]);
}
