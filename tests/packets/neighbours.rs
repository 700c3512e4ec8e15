use weir_core::service::Method;
use weir_wire::builder::addr;
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{Parsed, icmp, parse};

use crate::world::{Described, LAN, Net, WAN, World, server_mac};

fn world_that_does_not_know(net: &Net, server: u8) -> (World, Described) {
    let service = Described::web(net, Method::Nat);
    let mut world = World::new(std::slice::from_ref(&service));
    world.unknown_neighbours = vec![net.server(server)];
    world.publish(std::slice::from_ref(&service), &[]);
    (world, service)
}

#[test]
fn packets_wait_for_their_neighbour_and_leave_in_order() {
    let net = Net::v4();
    let (mut world, service) = world_that_does_not_know(&net, 3);
    world.receive(WAN, &[net.syn(4000), net.segment(4000, 0x10)]);
    assert!(world.sent().is_empty());
    assert_eq!(world.out.solicited.len(), 1, "asked once");
    world.unknown_neighbours.clear();
    world.publish(&[service], &[]);
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    for (port, packet) in &sent {
        assert_eq!(*port, LAN);
        assert_eq!(packet[..6], server_mac(3).0);
    }
    assert!(sent[0].1.len() < sent[1].1.len(), "the SYN first");
    assert_eq!(world.counters().unparked.get(), 2);
}

#[test]
fn the_oldest_goes_when_too_many_wait() {
    let net = Net::v4();
    let (mut world, _) = world_that_does_not_know(&net, 3);
    world.receive(WAN, &vec![net.syn(4000); 3]);
    assert!(
        world
            .moved()
            .contains(&("drop.neighbour_queue_full".to_owned(), 1))
    );
}

#[test]
fn who_does_not_answer_is_given_up_and_asked_for_again() {
    let net = Net::v4();
    let (mut world, _) = world_that_does_not_know(&net, 3);
    world.receive(WAN, &[net.syn(4000)]);
    world.later(3);
    world.housekeep();
    assert!(
        world
            .moved()
            .contains(&("drop.neighbour_timeout".to_owned(), 1))
    );
    world.receive(WAN, &[net.syn(4000)]);
    assert_eq!(world.out.solicited.len(), 2);
}

/// As Linux does after three requests: in its own name towards the client, about the packet as it was
/// to leave. What NAT or a tunnel made of it is no business of the client's.
#[test]
fn the_client_hears_of_a_server_that_does_not_answer() {
    for net in Net::both() {
        for method in [Method::Nat, Method::Dr, Method::Tun, Method::FullNat] {
            let service = Described::web(&net, method);
            let mut world = World::new(std::slice::from_ref(&service));
            world.unknown_neighbours = vec![net.server(3)];
            world.publish(std::slice::from_ref(&service), &[]);
            world.receive(WAN, &[net.syn(4000)]);
            world.later(3);
            world.housekeep();
            let (port, frame) = world.only_sent();
            let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
                panic!("the error does not parse");
            };
            let own = if net.is_v4 {
                "192.0.2.1"
            } else {
                "2001:db8:1::1"
            };
            assert_eq!((port, h.src, h.dst), (WAN, addr(own), net.client));
            let kind = if net.is_v4 { (3, 1) } else { (1, 3) };
            assert_eq!((h.icmp_type, h.icmp_code), kind);
            assert!(icmp::checksum_ok(&frame, &h));
            let sent = net
                .client_frame()
                .ttl(63)
                .tcp(4000, 80)
                .flags(SYN)
                .seq(1000);
            assert_eq!(frame[icmp::quoted_at(&h)..], sent.build_ip());
        }
    }
}

#[test]
fn nobody_hears_of_a_client_that_does_not_answer() {
    let net = Net::v4();
    let service = Described::web(&net, Method::Nat);
    let mut world = World::new(std::slice::from_ref(&service));
    world.receive(WAN, &[net.syn(4000)]);
    world.sent();
    world.unknown_neighbours = vec![addr("192.0.2.254")];
    world.publish(std::slice::from_ref(&service), &[]);
    let reply = net.server_frame(3).tcp(80, 4000).flags(SYN | ACK).build();
    world.receive(LAN, &[reply]);
    world.later(3);
    world.housekeep();
    assert!(world.sent().is_empty());
}
