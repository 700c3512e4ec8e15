use weir_core::service::{Method, Protocol};
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, RST, SYN};
use weir_wire::{Headers, Parsed, parse};

use crate::world::{Described, Net, ROUTER_MAC, WAN, WAN_MAC, World};

fn headers(packet: &[u8]) -> Headers {
    match parse(packet, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("not an IP packet: {other:?}"),
    }
}

#[test]
fn a_service_without_server_answers_port_unreachable_to_tcp_too() {
    for net in Net::both() {
        let mut service = Described::web(&net, Method::Nat);
        service.servers.clear();
        let mut world = World::new(&[service]);
        world.receive(WAN, &[net.syn(4000)]);
        let (port, out) = world.only_sent();
        let h = headers(&out);
        let expected = if net.is_v4 { (3, 3) } else { (1, 4) };
        assert_eq!((h.icmp_type, h.icmp_code), expected);
        assert_eq!((port, h.src, h.dst), (WAN, net.vip, net.client));
        world.assert_moved(&[("drop.no_server", 1), ("icmp_sent", 1)]);
    }
}

#[test]
fn a_segment_without_flow_gets_a_reset() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Nat)]);
        world.receive(WAN, &[net.segment(4000, ACK)]);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .tcp(80, 4000)
            .flags(RST)
            .seq(5000);
        let expected = if net.is_v4 { expected.df() } else { expected };
        let (_, out) = world.only_sent();
        let (got, want) = (headers(&out), headers(&expected.build()));
        assert_eq!(
            (got.src, got.dst, got.tcp_flags),
            (want.src, want.dst, want.tcp_flags)
        );
        assert_eq!(out[usize::from(got.l4) + 4..][..4], 5000u32.to_be_bytes());
        world.assert_moved(&[("drop.no_flow", 1), ("resets_sent", 1)]);
    }
}

#[test]
fn a_reset_without_flow_gets_silence() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    world.receive(WAN, &[net.segment(4000, RST)]);
    assert!(world.sent().is_empty());
    world.assert_moved(&[("drop.no_flow", 1)]);
}

#[test]
fn a_last_hop_is_told_in_the_name_of_the_vip() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Dr)]);
        let syn = net.client_frame().ttl(1).tcp(4000, 80).flags(SYN);
        world.receive(WAN, &[syn.build()]);
        let (_, out) = world.only_sent();
        let h = headers(&out);
        assert_eq!(h.icmp_type, if net.is_v4 { 11 } else { 3 });
        assert_eq!((h.src, h.dst), (net.vip, net.client));
        // The flow was begun all the same, as the kernel does.
        assert_eq!(world.counters().flows_created.get(), 1);
    }
}

#[test]
fn too_many_answers_are_counted_and_not_sent() {
    let net = Net::v4();
    let mut limits = crate::world::limits();
    limits.icmp_per_second = 4;
    let mut world = World::worker(0, 1, limits, &[Described::web(&net, Method::Dr)]);
    for port in 0..10 {
        world.receive(WAN, &[net.segment(4000 + port, ACK)]);
    }
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.counters().answers_suppressed.get(), 9);
}

#[test]
fn without_twin_a_port_of_the_vip_that_nothing_serves_is_refused() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    world.out.without_twin = vec![WAN];
    let syn = net.client_frame().tcp(4000, 443).flags(SYN).build();
    let datagram = net.client_frame().udp(4000, 443).build();
    world.receive(WAN, &[syn, datagram]);
    let sent = world.sent();
    assert_eq!(headers(&sent[0].1).tcp_flags, RST | ACK);
    assert_eq!(headers(&sent[1].1).icmp_code, 3);
    world.assert_moved(&[("drop.no_twin", 2), ("icmp_sent", 1), ("resets_sent", 1)]);
}

#[test]
fn an_exhausted_pool_costs_the_answer_only() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    world.out.is_exhausted = true;
    world.receive(WAN, &[net.segment(4000, ACK)]);
    world.assert_moved(&[("drop.no_flow", 1)]);
}

#[test]
fn udp_services_do_not_take_tcp() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Dr);
    service.key.protocol = Protocol::Udp;
    let mut world = World::new(&[service]);
    world.receive(WAN, &[net.syn(4000)]);
    world.assert_moved(&[("punted", 1)]);
}
