//! ICMP errors about packets of flows.

use weir_core::service::Method;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, SYN};

use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

fn error(net: &Net) -> (u8, u8) {
    if net.is_v4 { (3, 1) } else { (1, 3) }
}

#[test]
fn an_error_about_a_reply_reaches_the_nat_server_in_its_own_terms() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Nat)]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        let quoted = |src| {
            let q = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(src, net.client);
            q.tcp(80, 4000).flags(SYN | ACK).build_ip()
        };
        let (kind, code) = error(&net);
        let told = net
            .client_frame()
            .icmp_error(kind, code, 0, &quoted(net.vip));
        world.receive(WAN, &[told.build()]);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .ip(net.client, net.server(3))
            .ttl(63)
            .icmp_error(kind, code, 0, &quoted(net.server(3)))
            .build();
        assert_eq!(world.only_sent(), (LAN, expected));
    }
}

#[test]
fn an_error_about_a_request_reaches_the_client_in_the_name_of_the_service() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Nat)]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        let quoted = |dst| {
            let q = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(net.client, dst);
            q.tcp(4000, 80).flags(SYN).build_ip()
        };
        let (kind, code) = error(&net);
        // A router behind the director speaks, not the server.
        let router = if net.is_v4 {
            addr("10.0.0.9")
        } else {
            addr("2001:db8:2::9")
        };
        let told = PacketBuilder::eth(server_mac(9), LAN_MAC)
            .ip(router, net.client)
            .icmp_error(kind, code, 0, &quoted(net.server(3)));
        world.moved();
        let bytes = told.build_ip().len() as u64;
        world.receive(LAN, &[told.build()]);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .icmp_error(kind, code, 0, &quoted(net.vip))
            .build();
        assert_eq!(world.only_sent(), (WAN, expected));
        // It counts as a packet of the server's, as in the kernel.
        world.assert_moved(&[
            ("forwarded", 1),
            ("rs3.bytes_out", bytes),
            ("rs3.packets_out", 1),
        ]);
    }
}

#[test]
fn an_error_reaches_a_dr_server_unchanged() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    let quoted = quoted.tcp(80, 4000).flags(ACK).build_ip();
    let told = net.client_frame().icmp_error(3, 4, 1400, &quoted);
    world.receive(WAN, &[told.clone().build()]);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(net.client, net.vip)
        .ttl(63)
        .icmp_error(3, 4, 1400, &quoted)
        .build();
    assert_eq!(world.only_sent(), (LAN, expected));
}

#[test]
fn an_error_about_no_flow_of_the_vip_ends() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    let quoted = quoted.tcp(80, 4000).flags(ACK).build_ip();
    let told = net.client_frame().icmp_error(3, 1, 0, &quoted);
    world.receive(WAN, &[told.build()]);
    world.assert_moved(&[("drop.icmp_unrelated", 1)]);
}

/// The virtual address may be Linux's too, with sessions of its own: SSH hears of its path's MTU.
#[test]
fn an_error_about_what_linux_sent_from_the_vip_is_linux_s() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    let eth = || PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    for quoted in [
        eth().tcp(22, 4000).build_ip(),
        eth().icmp(8, 0, 1).build_ip(),
    ] {
        let told = net.client_frame().icmp_error(3, 4, 1300, &quoted).build();
        world.receive(WAN, std::slice::from_ref(&told));
        assert_eq!(world.out.punted, [(WAN, told)]);
        world.out.punted.clear();
    }
}

/// As in the kernel: nobody may be told that it is too big.
#[test]
fn an_error_with_df_is_cut_on_its_way_to_a_server() {
    let net = Net::v4();
    for method in [Method::Nat, Method::Dr] {
        let mut world = World::new(&[]);
        world.mtu_lan = 1300;
        world.publish(&[Described::web(&net, method)], &[]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
        let quoted = quoted.tcp(80, 4000).payload(&[7; 1360]).build_ip();
        let told = net.client_frame().df().icmp_error(3, 1, 0, &quoted);
        world.receive(WAN, &[told.build()]);
        let sent = world.sent();
        let fragments: Vec<_> = sent.iter().map(|(_, frame)| &frame[20..22]).collect();
        assert_eq!(fragments, [[0x20, 0], [0, 160]], "{method:?}");
    }
}

/// A router's error that does not fit the client's link and may not be cut ends: it is IPv6's rule, and
/// IPv4's with DF.
#[test]
fn an_error_too_big_for_the_client_s_link_ends() {
    for net in Net::both() {
        let mut world = World::new(&[]);
        world.mtu_wan = 1300;
        world.publish(&[Described::web(&net, Method::Nat)], &[]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        world.moved();
        let quoted = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(net.client, net.server(3));
        let quoted = quoted.tcp(4000, 80).payload(&[7; 1360]).build_ip();
        let (kind, code) = error(&net);
        let told = net.server_frame(3).df().icmp_error(kind, code, 0, &quoted);
        world.receive(LAN, &[told.build()]);
        assert!(world.sent().is_empty());
        world.assert_moved(&[("drop.too_big", 1)]);
    }
}

/// The kernel passes a damaged ICMPv6 error on where it need not change it, and so does Weir; where NAT
/// would give it a right checksum, it ends.
#[test]
fn a_damaged_icmpv6_error_is_counted_and_never_mended() {
    let net = Net::v6();
    for (method, is_passed) in [(Method::Nat, 0), (Method::Dr, 1), (Method::Tun, 1)] {
        let mut world = World::new(&[Described::web(&net, method)]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        world.moved();
        let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
        let quoted = quoted.tcp(80, 4000).build_ip();
        let mut told = net.client_frame().icmp_error(1, 0, 0, &quoted).build();
        *told.last_mut().expect("a byte") ^= 1;
        world.receive(WAN, &[told]);
        assert_eq!(world.sent().len() as u64, is_passed, "{method:?}");
        let moved = world.moved();
        assert!(
            moved.contains(&("rs3.packets_in".to_owned(), 1)),
            "{moved:?}"
        );
    }
}

#[test]
fn nobody_else_speaks_in_the_director_s_name() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    world.own_addresses = vec![net.director_lan];
    world.publish(&[Described::web(&net, Method::Nat)], &[]);
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    world.moved();
    let quoted = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(net.client, net.server(3));
    let quoted = quoted.tcp(4000, 80).build_ip();
    let eth = PacketBuilder::eth(server_mac(3), LAN_MAC);
    let told = eth
        .ip(net.director_lan, net.client)
        .icmp_error(3, 1, 0, &quoted);
    world.receive(LAN, &[told.build()]);
    assert!(world.sent().is_empty());
    world.assert_moved(&[("drop.martian", 1)]);
}
