use weir_core::director::Limits;
use weir_core::service::{Method, Protocol, ServiceKey};
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};

use crate::world::{
    Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, limits, server_mac,
};

#[test]
fn a_request_gets_the_servers_address_and_port_and_a_hop_less() {
    for net in Net::both() {
        let mut service = Described::web(&net, Method::Nat);
        service.servers = vec![(1, 8080, 1)];
        let mut world = World::new(&[service]);
        world.receive(WAN, &[net.syn(4000)]);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(1))
            .ip(net.client, net.server(1))
            .ttl(63)
            .tcp(4000, 8080)
            .flags(SYN)
            .seq(1000)
            .build();
        assert_eq!(world.only_sent(), (LAN, expected));
        let bytes = if net.is_v4 { 40 } else { 60 };
        world.assert_moved(&[
            ("flows_created", 1),
            ("forwarded", 1),
            ("rs1.active", 1),
            ("rs1.bytes_in", bytes),
            ("rs1.connections", 1),
            ("rs1.packets_in", 1),
        ]);
    }
}

#[test]
fn a_reply_leaves_in_the_name_of_the_service() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Nat)]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        world.moved();
        let reply = net.server_frame(3).tcp(80, 4000).flags(SYN | ACK).seq(7);
        world.receive(LAN, &[reply.ack(1001).payload(b"data").build()]);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .tcp(80, 4000)
            .flags(SYN | ACK)
            .seq(7)
            .ack(1001)
            .payload(b"data")
            .build();
        assert_eq!(world.only_sent(), (WAN, expected));
        let bytes = if net.is_v4 { 44 } else { 64 };
        world.assert_moved(&[
            ("forwarded", 1),
            ("rs3.bytes_out", bytes),
            ("rs3.packets_out", 1),
        ]);
    }
}

#[test]
fn a_bad_transport_checksum_stays_bad() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    let mut syn = net.syn(4000);
    let check = 14 + 20 + 16;
    syn[check] ^= 0x5a;
    world.receive(WAN, &[syn]);
    let (_, out) = world.only_sent();
    let right = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(net.client, net.server(3))
        .ttl(63)
        .tcp(4000, 80)
        .flags(SYN)
        .seq(1000)
        .build();
    assert_ne!(out, right);
    assert_eq!(out[..check], right[..check]);
}

#[test]
fn a_datagram_without_checksum_gets_one() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Nat);
    service.key = ServiceKey {
        protocol: Protocol::Udp,
        addr: net.vip,
        port: 53,
        mark: 0,
    };
    service.servers = vec![(1, 53, 1)];
    let mut world = World::new(&[service]);
    let query = net.client_frame().udp_without_checksum(999, 53);
    world.receive(WAN, &[query.payload(b"query").build()]);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(1))
        .ip(net.client, net.server(1))
        .ttl(63)
        .udp(999, 53)
        .payload(b"query")
        .build();
    assert_eq!(world.only_sent().1, expected);
}

#[test]
fn a_datagram_flow_is_never_active() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Nat);
    service.key.protocol = Protocol::Udp;
    service.key.port = 53;
    let mut world = World::new(&[service]);
    let query = net.client_frame().udp(999, 53).payload(b"query").build();
    world.receive(WAN, &[query.clone(), query]);
    world.assert_moved(&[
        ("flows_created", 1),
        ("forwarded", 2),
        ("rs3.bytes_in", 66),
        ("rs3.connections", 1),
        ("rs3.inactive", 1),
        ("rs3.packets_in", 2),
    ]);
}

#[test]
fn a_tagged_packet_leaves_untagged_where_the_next_hop_has_no_vlan() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    let tagged = PacketBuilder::eth(ROUTER_MAC, WAN_MAC)
        .vlan(5)
        .ip(net.client, net.vip)
        .tcp(4000, 80)
        .flags(SYN);
    world.receive(WAN, &[tagged.build()]);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(net.client, net.server(3))
        .ttl(63)
        .tcp(4000, 80)
        .flags(SYN)
        .build();
    assert_eq!(world.only_sent().1, expected);
}

#[test]
fn servers_on_a_vlan_get_tagged_packets_and_their_replies_lose_the_tag() {
    for net in Net::both() {
        let service = Described::web(&net, Method::Nat);
        let mut world = World::new(std::slice::from_ref(&service));
        world.vlan_lan = 100;
        world.publish(&[service], &[]);
        world.receive(WAN, &[net.syn(4000)]);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .vlan(100)
            .ip(net.client, net.server(3))
            .ttl(63)
            .tcp(4000, 80)
            .flags(SYN)
            .seq(1000)
            .build();
        assert_eq!(world.only_sent(), (LAN, expected));
        let reply = PacketBuilder::eth(server_mac(3), LAN_MAC)
            .vlan(100)
            .ip(net.server(3), net.client)
            .tcp(80, 4000)
            .flags(SYN | ACK);
        world.receive(LAN, &[reply.build()]);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .tcp(80, 4000)
            .flags(SYN | ACK)
            .build();
        assert_eq!(world.only_sent(), (WAN, expected));
    }
}

#[test]
fn a_packet_with_two_tags_ends_rather_than_lose_one() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    let tagged = PacketBuilder::eth(ROUTER_MAC, WAN_MAC)
        .service_vlan(5)
        .vlan(6)
        .ip(net.client, net.vip)
        .tcp(4000, 80)
        .flags(SYN);
    world.receive(WAN, &[tagged.build()]);
    world.assert_moved(&[("drop.vlan_tags", 1)]);
}

/// A new flow may push the entry of a packet that is in the same burst and has been looked up.
#[test]
fn packets_find_their_flows_though_others_begin_in_the_same_burst() {
    let net = Net::v4();
    for round in 0..200 {
        let limits = Limits {
            flows: 61,
            ..limits()
        };
        let mut world = World::worker(0, 1, limits, &[Described::web(&net, Method::Nat)]);
        let first = 1000 + 100 * round;
        let known = first..first + 45;
        for port in known.clone() {
            world.receive(WAN, &[net.syn(port)]);
        }
        let server_of = |world: &World, port| world.server_of(&net.tuple(port));
        let servers: Vec<_> = known.clone().map(|p| server_of(&world, p)).collect();
        world.sent();
        for (burst, ports) in (0..).zip(known.collect::<Vec<_>>().chunks(15)) {
            let new = (0..5).map(|n| net.syn(first + 50 + 5 * burst + n));
            let old = ports.iter().map(|port| net.segment(*port, ACK));
            world.receive(WAN, &new.chain(old).collect::<Vec<_>>());
            let sent = world.sent();
            assert_eq!(sent.len(), 5 + ports.len());
            for ((_, frame), port) in sent[5..].iter().zip(ports) {
                let server = servers[usize::from(port - first)].expect("it was kept");
                assert_eq!(u32::from(frame[5]), server, "port {port}");
            }
        }
    }
}
