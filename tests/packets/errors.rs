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
