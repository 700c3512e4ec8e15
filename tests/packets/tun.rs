use weir_core::counters::DropReason;
use weir_core::service::Method;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::SYN;
use weir_wire::{Parsed, parse, protocol};

use crate::world::{Described, LAN, LAN_MAC, Net, WAN, World, server_mac};

#[test]
fn a_request_goes_inside_a_packet_from_director_to_server() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Tun)]);
        world.receive(WAN, &[net.syn(4000)]);
        let inner = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .ip(net.client, net.vip)
            .ttl(63)
            .tcp(4000, 80)
            .flags(SYN)
            .seq(1000)
            .build_ip();
        let (port, out) = world.only_sent();
        assert_eq!(port, LAN);
        assert_eq!(out[..6], server_mac(3).0);
        let Ok(Parsed::Ip(outer)) = parse(&out, true) else {
            panic!("the outer packet does not parse");
        };
        let inside = if net.is_v4 {
            protocol::IPIP
        } else {
            protocol::IPV6
        };
        assert_eq!(outer.protocol, inside);
        assert_eq!((outer.src, outer.dst), (net.director_lan, net.server(3)));
        assert_eq!(outer.ttl, 63);
        assert_eq!(out[usize::from(outer.l4)..], inner[..]);
    }
}

#[test]
fn a_packet_that_does_not_fit_the_tunnel_is_answered_with_its_mtu() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Tun)]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        world.moved();
        let header = if net.is_v4 { 40 } else { 60 };
        let builder = net.client_frame().tcp(4000, 80).flags(0x10);
        let big = builder.payload(&vec![7; 1500 - header]);
        let big = if net.is_v4 { big.df() } else { big };
        world.receive(WAN, &[big.build()]);
        let (port, out) = world.only_sent();
        assert_eq!(port, WAN);
        let Ok(Parsed::Ip(h)) = parse(&out, true) else {
            panic!("the error does not parse");
        };
        let overhead = if net.is_v4 { 20 } else { 40 };
        assert_eq!((h.src, h.dst), (net.vip, net.client));
        assert_eq!(
            weir_wire::icmp::too_big_mtu(&out, &h),
            Some(1500 - overhead)
        );
        let moved = world.moved();
        assert!(moved.contains(&("drop.too_big".to_owned(), 1)), "{moved:?}");
    }
}

/// The second packet has a flow, whose way is remembered: it fares as the first.
#[test]
fn no_tunnel_goes_by_a_way_too_narrow_for_any_packet() {
    let net = Net::v4();
    for (mtu, forwarded) in [(88, 2), (87, 0)] {
        let mut world = World::new(&[]);
        world.mtu_lan = mtu;
        world.publish(&[Described::web(&net, Method::Tun)], &[]);
        world.receive(WAN, &[net.syn(4000), net.syn(4000)]);
        let counters = world.counters();
        let unreachable = counters.drops(DropReason::Unreachable);
        assert_eq!(
            (counters.forwarded.get(), unreachable),
            (forwarded, 2 - forwarded)
        );
    }
}

#[test]
fn without_df_the_outer_packet_is_fragmented() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Tun)]);
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    let big = net.client_frame().tcp(4000, 80).flags(0x10);
    world.receive(WAN, &[big.payload(&[7; 1460]).build()]);
    let sent = world.sent();
    assert_eq!(sent.len(), 2, "{:?}", world.out.dropped);
    assert!(sent.iter().all(|(_, packet)| packet.len() <= 1514));
    assert_eq!(world.counters().fragments_sent.get(), 2);
}

#[test]
fn a_router_on_the_path_makes_the_mtu_smaller_and_the_client_hears_of_it() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Tun)]);
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    let segment = |n| {
        net.client_frame()
            .tcp(4000, 80)
            .flags(0x10)
            .df()
            .payload(&vec![7; n])
    };
    world.receive(WAN, &[segment(1400).build()]);
    let (_, outer) = world.only_sent();
    let told = PacketBuilder::eth(server_mac(9), LAN_MAC)
        .ip(net.server(9), net.director_lan)
        .icmp_error(3, 4, 1300, &outer[14..14 + 128]);
    world.receive(LAN, &[told.build()]);
    for _ in 0..2 {
        let (port, out) = world.only_sent();
        let Ok(Parsed::Ip(h)) = parse(&out, true) else {
            panic!("the error does not parse");
        };
        assert_eq!((port, h.src, h.dst), (WAN, net.vip, net.client));
        assert_eq!(weir_wire::icmp::too_big_mtu(&out, &h), Some(1280));
        // The next big packet is answered at once.
        world.receive(WAN, &[segment(1400).build()]);
    }
    world.sent();
    world.later(601);
    world.receive(WAN, &[segment(1400).build()]);
    assert_eq!(
        world.only_sent().0,
        LAN,
        "the path MTU is forgotten after ten minutes"
    );
}

/// A router's word makes a path narrower, never wider, until it is forgotten (RFC 8201 §4).
#[test]
fn a_path_does_not_get_wider_by_what_is_told_of_it() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Tun)]);
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    let segment = net.client_frame().tcp(4000, 80).df().payload(&[7; 1400]);
    world.receive(WAN, &[segment.build()]);
    let (_, outer) = world.only_sent();
    for (told, known) in [
        (1300, 1280),
        (1400, 1280),
        (9000, 1280),
        (1200, 1180),
        (0, 532),
    ] {
        let router = PacketBuilder::eth(server_mac(9), LAN_MAC).ip(net.server(9), net.director_lan);
        let told = router.icmp_error(3, 4, told, &outer[14..14 + 128]);
        world.receive(LAN, &[told.build()]);
        world.receive(WAN, &[segment.build()]);
        for (_, frame) in world.sent() {
            let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
                panic!("what the client is told does not parse");
            };
            assert_eq!(weir_wire::icmp::too_big_mtu(&frame, &h), Some(known));
        }
    }
}

/// IPv6 asks 1280 bytes of every path: the outer packet is cut where the link gives less (RFC 2473 §7.1).
#[test]
fn a_packet_of_1280_bytes_of_ipv6_passes_by_the_narrowest_link() {
    let net = Net::v6();
    let mut world = World::new(&[]);
    world.mtu_lan = 1280;
    world.publish(&[Described::web(&net, Method::Tun)], &[]);
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    for (len, frames, port) in [(1240, 1, LAN), (1280, 2, LAN), (1281, 1, WAN)] {
        let segment = net.client_frame().tcp(4000, 80).payload(&vec![7; len - 60]);
        world.receive(WAN, &[segment.build()]);
        let sent = world.sent();
        let ports: Vec<_> = sent.iter().map(|(port, _)| *port).collect();
        assert_eq!(ports, vec![port; frames], "{len}");
        if port == WAN {
            let Ok(Parsed::Ip(h)) = parse(&sent[0].1, true) else {
                panic!("what the client is told does not parse");
            };
            assert_eq!(weir_wire::icmp::too_big_mtu(&sent[0].1, &h), Some(1280));
        }
    }
}
