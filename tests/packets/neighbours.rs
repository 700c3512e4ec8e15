use weir_core::service::Method;

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
