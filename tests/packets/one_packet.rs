//! One-packet scheduling: every datagram is a connection of its own (ipvsadm `-o`).

use weir_core::service::{Method, Protocol};
use weir_wire::builder::PacketBuilder;

use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

fn service(net: &Net, method: Method) -> Described {
    let mut service = Described::web(net, method);
    service.key.protocol = Protocol::Udp;
    service.one_packet = true;
    service
}

#[test]
fn each_datagram_of_one_client_is_scheduled_anew_and_no_flow_is_kept() {
    for net in Net::both() {
        for method in [Method::Nat, Method::Dr, Method::Tun] {
            let mut world = World::new(&[service(&net, method)]);
            let query = net.client_frame().udp(999, 80).payload(b"query").build();
            world.receive(WAN, &vec![query; 6]);
            let sent = world.sent();
            let to: Vec<u8> = sent.iter().map(|(_, frame)| frame[5]).collect();
            assert_eq!(to, [3, 2, 1, 3, 2, 1]);
            assert!(world.director.flows().is_empty());
            let bytes = if net.is_v4 { 2 * 33 } else { 2 * 53 };
            world.assert_moved(&[
                ("forwarded", 6),
                ("rs1.bytes_in", bytes),
                ("rs1.connections", 2),
                ("rs1.packets_in", 2),
                ("rs2.bytes_in", bytes),
                ("rs2.connections", 2),
                ("rs2.packets_in", 2),
                ("rs3.bytes_in", bytes),
                ("rs3.connections", 2),
                ("rs3.packets_in", 2),
            ]);
        }
    }
}

#[test]
fn the_answer_of_a_nat_server_belongs_to_no_flow() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net, Method::Nat)]);
    let query = net.client_frame().udp(999, 80).payload(b"query").build();
    world.receive(WAN, &[query]);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(net.client, net.server(3))
        .ttl(63)
        .udp(999, 80)
        .payload(b"query");
    assert_eq!(world.only_sent(), (LAN, expected.build()));
    world.moved();
    // Linux forwards it, with the server's own address.
    let answer = net.server_frame(3).udp(80, 999).payload(b"answer").build();
    world.receive(LAN, &[answer]);
    world.assert_moved(&[("punted", 1)]);
}

#[test]
fn fullnat_needs_a_flow_and_keeps_it() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net, Method::FullNat)]);
    let query = net.client_frame().udp(999, 80).payload(b"query").build();
    world.receive(WAN, &[query.clone(), query]);
    assert_eq!(world.director.flows().len(), 1);
}

#[test]
fn a_service_of_tcp_does_not_know_it() {
    let net = Net::v4();
    let mut web = Described::web(&net, Method::Dr);
    web.one_packet = true;
    let mut world = World::new(&[web]);
    world.receive(WAN, &[net.syn(4000)]);
    assert_eq!(world.director.flows().len(), 1);
}

#[test]
fn without_a_server_the_client_is_told() {
    let net = Net::v4();
    let mut service = service(&net, Method::Nat);
    service.servers.iter_mut().for_each(|server| server.2 = 0);
    let mut world = World::new(&[service]);
    let query = net.client_frame().udp(999, 80).payload(b"query").build();
    world.receive(WAN, std::slice::from_ref(&query));
    let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
        .ip(net.vip, net.client)
        .tos(0xc0)
        .icmp_error(3, 3, 0, &query[14..]);
    assert_eq!(world.only_sent(), (WAN, expected.build()));
    world.assert_moved(&[("drop.no_server", 1), ("icmp_sent", 1)]);
}
