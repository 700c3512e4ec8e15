//! Running out is a designed state: what cannot be kept is forwarded all the same.

use weir_core::director::Limits;
use weir_core::service::Method;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};
use weir_wire::{Addr, Parsed};

use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, limits};

fn world(limits: Limits, service: Described) -> World {
    World::worker(0, 1, limits, &[service])
}

fn small(flows: usize) -> Limits {
    Limits {
        flows,
        flows_v6: flows,
        ..limits()
    }
}

/// Where the sent packets went: their destination MAC addresses tell the server.
fn servers(world: &mut World) -> Vec<u8> {
    let sent = world.sent();
    sent.iter().map(|(_, frame)| frame[5]).collect()
}

fn counted(world: &mut World, name: &str) -> u64 {
    let moved = world.moved();
    let found = moved.iter().find(|(moved, _)| moved == name);
    found.map_or(0, |(_, by)| *by)
}

#[test]
fn a_full_table_forwards_new_flows_and_keeps_the_old() {
    for net in Net::both() {
        for method in [Method::Dr, Method::Nat] {
            let mut world = world(small(2), Described::web(&net, method));
            world.receive(WAN, &[net.syn(1), net.syn(2)]);
            let old = servers(&mut world);
            world.moved();
            world.receive(WAN, &[net.syn(3)]);
            let server = servers(&mut world)[0];
            let counters: Vec<(String, u64)> = world.moved();
            let by_one = |name: &str| (name.to_owned(), 1);
            let bytes = (format!("rs{server}.bytes_in"), net.syn(3).len() as u64 - 14);
            let mut expected = vec![
                by_one("forwarded"),
                by_one("not_kept.table_full"),
                by_one(&format!("rs{server}.packets_in")),
                by_one("stateless"),
                bytes,
            ];
            expected.sort();
            assert_eq!(counters, expected, "{method:?}");
            // The old ones go where they went, the new one as well.
            world.receive(WAN, &[net.segment(1, ACK), net.segment(2, ACK)]);
            assert_eq!(servers(&mut world), old);
            world.receive(WAN, &[net.segment(3, ACK), net.segment(3, ACK)]);
            assert_eq!(servers(&mut world), [server; 2]);
        }
    }
}

#[test]
fn one_client_is_led_to_one_server_and_many_to_all() {
    let net = Net::v4();
    let mut world = world(small(1), Described::web(&net, Method::Dr));
    world.receive(WAN, &[net.syn(1)]);
    world.sent();
    let packets: Vec<Vec<u8>> = (102..402).map(|port| net.syn(port)).collect();
    let all = |world: &mut World| {
        packets
            .chunks(32)
            .for_each(|burst| world.receive(WAN, burst));
        servers(world)
    };
    let first = all(&mut world);
    assert_eq!(all(&mut world), first);
    for server in 1..=3 {
        let share = first.iter().filter(|s| **s == server).count();
        assert!((70..130).contains(&share), "{share} of 300 at {server}");
    }
}

#[test]
fn replies_of_nat_servers_carry_the_vip_without_a_flow() {
    for net in Net::both() {
        let mut world = world(small(1), Described::web(&net, Method::Nat));
        world.receive(WAN, &[net.syn(1), net.syn(2)]);
        let server = servers(&mut world)[1];
        let reply = net.server_frame(server).tcp(80, 2).flags(SYN | ACK).build();
        world.receive(LAN, &[reply]);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .tcp(80, 2)
            .flags(SYN | ACK);
        assert_eq!(world.only_sent(), (WAN, expected.build()));
    }
}

#[test]
fn a_reply_without_flow_is_linuxs_while_all_flows_are_kept() {
    let net = Net::v4();
    let mut world = world(small(9), Described::web(&net, Method::Nat));
    let reply = net.server_frame(1).tcp(80, 2).flags(SYN | ACK).build();
    world.receive(LAN, &[reply]);
    world.assert_moved(&[("punted", 1)]);
}

#[test]
fn a_server_of_two_services_does_not_say_in_whose_name_it_speaks() {
    let net = Net::v4();
    let web = Described::web(&net, Method::Nat);
    let mut other = web.clone();
    other.key.port = 81;
    other.servers = vec![(17, 80, 1)];
    let mut world = World::worker(0, 1, small(1), &[web, other]);
    world.receive(WAN, &[net.syn(1), net.syn(2)]);
    world.sent();
    world.moved();
    let reply = |n| net.server_frame(n).tcp(80, 2).flags(SYN | ACK).build();
    world.receive(LAN, &[reply(1)]);
    world.assert_moved(&[("punted", 1)]);
    world.receive(LAN, &[reply(2)]);
    world.assert_moved(&[("forwarded", 1), ("stateless", 1)]);
}

#[test]
fn fullnat_ends_what_it_cannot_keep() {
    let net = Net::v4();
    let mut world = world(small(1), Described::web(&net, Method::FullNat));
    world.receive(WAN, &[net.syn(1)]);
    world.sent();
    world.moved();
    world.receive(WAN, &[net.syn(2)]);
    assert!(world.sent().is_empty());
    world.assert_moved(&[("drop.flow_table_full", 1), ("not_kept.table_full", 1)]);
}

/// A flood of SYNs from everywhere: it has its own budget, and flows that live lose nothing.
#[test]
fn a_syn_flood_takes_its_budget_and_no_more() {
    let net = Net::v4();
    let mut limits = small(1000);
    limits.half_open = 100;
    let mut world = world(limits, Described::web(&net, Method::Dr));
    let opened: Vec<u16> = (101..=150).collect();
    for port in &opened {
        world.receive(WAN, &[net.syn(*port), net.segment(*port, ACK)]);
    }
    let before = servers(&mut world);
    world.moved();
    for n in 0..5000u32 {
        let from = Addr::from_v4_bytes((0x5000_0000 + n).to_be_bytes());
        let syn = PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(from, net.vip);
        world.receive(WAN, &[syn.tcp(9, 80).flags(SYN).build()]);
    }
    assert_eq!(world.director.flows().half_open(), 100);
    assert_eq!(world.director.flows().len(), 150);
    let moved = world.moved();
    let of = |name: &str| moved.iter().find(|(n, _)| n == name).map(|(_, by)| *by);
    assert_eq!(of("not_kept.half_open"), Some(4900));
    assert_eq!(of("forwarded"), Some(5000));
    assert!(
        moved.iter().all(|(name, _)| !name.starts_with("drop.")),
        "{moved:?}"
    );
    world.sent();
    for port in &opened {
        world.receive(WAN, &[net.segment(*port, ACK)]);
    }
    let after: Vec<u8> = before.iter().step_by(2).copied().collect();
    assert_eq!(servers(&mut world), after);
    // A client that comes meanwhile is served, and its connection becomes a flow afterwards.
    world.receive(WAN, &[net.syn(60), net.segment(60, ACK)]);
    let served = servers(&mut world);
    assert_eq!(served[0], served[1]);
    world.later(61);
    world.housekeep();
    world.moved();
    world.receive(WAN, &[net.segment(60, ACK)]);
    assert_eq!(servers(&mut world), served[..1]);
    assert_eq!(world.server_of(&net.tuple(60)), Some(u32::from(served[0])));
    assert_eq!(counted(&mut world, "adopted"), 1);
}

#[test]
fn a_service_keeps_as_many_new_flows_a_second_as_it_may() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Dr);
    service.new_flows_max = 40;
    let mut world = world(limits(), service);
    let packets: Vec<Vec<u8>> = (101..=200).map(|port| net.syn(port)).collect();
    packets
        .chunks(32)
        .for_each(|burst| world.receive(WAN, burst));
    // A quarter of a second's worth at once.
    assert_eq!(world.director.flows().len(), 10);
    assert_eq!(world.sent().len(), 100);
    assert_eq!(counted(&mut world, "not_kept.rate"), 90);
    world.later(1);
    world.receive(WAN, &[net.syn(300)]);
    assert_eq!(world.director.flows().len(), 11);
}

/// As long as an established connection may be silent.
#[test]
fn after_the_longest_lifetime_nothing_without_flow_is_expected_any_more() {
    let net = Net::v4();
    let mut world = world(small(1), Described::web(&net, Method::Dr));
    world.receive(WAN, &[net.syn(1), net.syn(2)]);
    world.later(899);
    world.housekeep();
    world.receive(WAN, &[net.segment(3, FIN | ACK)]);
    let flags = |world: &mut World| {
        let (_, frame) = world.sent().pop().expect("a packet");
        match weir_wire::parse(&frame, true) {
            Ok(Parsed::Ip(headers)) => (headers.tcp_flags, headers.dst),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(flags(&mut world), (FIN | ACK, net.vip));
    world.later(1000);
    world.housekeep();
    world.receive(WAN, &[net.segment(4, ACK)]);
    assert_eq!(flags(&mut world), (RST, net.client));
}

#[test]
fn with_no_server_left_there_is_none_by_hash_either() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Dr);
    let mut world = world(small(1), service.clone());
    world.receive(WAN, &[net.syn(1), net.syn(2)]);
    world.sent();
    service.servers.iter_mut().for_each(|server| server.2 = 0);
    world.publish(&[service], &[]);
    world.moved();
    world.receive(WAN, &[net.segment(2, ACK)]);
    world.assert_moved(&[("drop.no_server", 1), ("icmp_sent", 1)]);
}

/// Two workers: a reply that reaches the wrong one is handed to the client's.
#[test]
fn replies_without_a_flow_come_from_the_clients_worker() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Nat)];
    let mut worlds: Vec<World> = (0..2)
        .map(|id| World::worker(id, 2, small(1), &services))
        .collect();
    let owner = weir_core::steer::Steering::by_client(2);
    let mut own = (1..).filter(|port| owner.owner_of_client(net.client, *port).0 == 1);
    let (first, second) = (own.next().expect("one"), own.next().expect("another"));
    worlds[1].receive(WAN, &[net.syn(first), net.syn(second)]);
    let server = servers(&mut worlds[1])[1];
    let reply = PacketBuilder::eth(crate::world::server_mac(server), LAN_MAC)
        .ip(net.server(server), net.client)
        .tcp(80, second)
        .flags(SYN | ACK)
        .build();
    worlds[0].receive(LAN, std::slice::from_ref(&reply));
    worlds[0].assert_moved(&[("handed_off", 1)]);
    worlds[1].take(LAN, true, &[reply]);
    assert_eq!(worlds[1].only_sent().0, WAN);
}
