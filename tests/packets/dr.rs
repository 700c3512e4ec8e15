use weir_core::service::Method;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};

use crate::world::{Described, LAN, LAN_MAC, Net, WAN, World, server_mac};

#[test]
fn only_the_link_layer_and_the_hop_count_change() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Dr)]);
        world.receive(WAN, &[net.syn(4000)]);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .ip(net.client, net.vip)
            .ttl(63)
            .tcp(4000, 80)
            .flags(SYN)
            .seq(1000)
            .build();
        assert_eq!(world.only_sent(), (LAN, expected));
    }
}

#[test]
fn padding_is_cut_off() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    let syn = net.client_frame().tcp(4000, 80).flags(SYN).pad_to(60);
    world.receive(WAN, &[syn.build()]);
    assert_eq!(world.only_sent().1.len(), 54);
}

#[test]
fn two_packets_of_a_new_flow_in_one_burst_are_scheduled_once() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    world.receive(WAN, &[net.syn(4000), net.syn(4000), net.segment(4000, ACK)]);
    assert_eq!(world.counters().flows_created.get(), 1);
    for (_, packet) in world.sent() {
        assert_eq!(packet[..6], server_mac(3).0);
    }
}

#[test]
fn flows_go_round_the_servers_from_the_last_added() {
    for net in Net::both() {
        let mut world = World::new(&[Described::web(&net, Method::Dr)]);
        let picked: Vec<_> = (0..6)
            .map(|n| {
                world.receive(WAN, &[net.syn(4000 + n)]);
                world.server_of(&net.tuple(4000 + n)).expect("a flow")
            })
            .collect();
        assert_eq!(picked, [3, 2, 1, 3, 2, 1]);
    }
}

#[test]
fn a_drained_server_keeps_its_flows_and_gets_no_new_ones() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Dr);
    let mut world = World::new(&[service.clone()]);
    world.receive(WAN, &[net.syn(4000)]);
    service.servers[2].2 = 0;
    world.publish(&[service], &[]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    let old = world.sent().pop().expect("the old flow goes on");
    assert_eq!(old.1[..6], server_mac(3).0);
    for port in 5000..5010 {
        world.receive(WAN, &[net.syn(port)]);
        assert_ne!(world.server_of(&net.tuple(port)), Some(3));
    }
}

#[test]
fn packets_of_a_removed_server_are_dropped_until_it_is_back() {
    let net = Net::v4();
    let service = Described::web(&net, Method::Dr);
    let mut world = World::new(std::slice::from_ref(&service));
    world.receive(WAN, &[net.syn(4000)]);
    world.publish(std::slice::from_ref(&service), &[3]);
    world.sent();
    world.moved();
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert!(world.sent().is_empty());
    world.assert_moved(&[("drop.server_removed", 1)]);
    world.publish(&[service], &[]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.only_sent().1[..6], server_mac(3).0);
}

#[test]
fn a_packet_bigger_than_the_way_out_is_fragmented_or_its_sender_told() {
    for df in [false, true] {
        let net = Net::v4();
        let service = Described::web(&net, Method::Dr);
        let mut world = World::new(std::slice::from_ref(&service));
        world.mtu_lan = 1400;
        world.publish(&[service], &[]);
        world.receive(WAN, &[net.syn(4000)]);
        world.sent();
        let big = net.client_frame().tcp(4000, 80).flags(ACK);
        let big = big.payload(&[7; 1460]);
        let big = if df { big.df() } else { big };
        world.receive(WAN, &[big.build()]);
        let sent = world.sent();
        if df {
            let [(port, error)] = &sent[..] else {
                panic!("one answer");
            };
            assert_eq!(*port, WAN);
            let Ok(weir_wire::Parsed::Ip(h)) = weir_wire::parse(error, true) else {
                panic!("the error does not parse");
            };
            assert_eq!(weir_wire::icmp::too_big_mtu(error, &h), Some(1400));
        } else {
            assert_eq!(sent.len(), 2);
            assert!(sent.iter().all(|(port, p)| *port == LAN && p.len() <= 1414));
        }
    }
}
