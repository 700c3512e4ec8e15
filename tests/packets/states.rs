//! States, lifetimes and re-use of flows.

use weir_core::schedule::SchedulerName;
use weir_core::service::Method;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use crate::world::{Described, LAN, Net, WAN, World};

fn seconds_left(world: &World, net: &Net) -> Option<u32> {
    let flows = world.director.flows();
    let (id, _) = flows.find(&net.tuple(4000), flows.hash(&net.tuple(4000)))?;
    Some(flows.get(id).seconds_left(world.now))
}

#[test]
fn each_packet_gives_the_flow_its_states_lifetime() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    let reply = |flags| net.server_frame(3).tcp(80, 4000).flags(flags).build();
    let steps = [
        (WAN, net.syn(4000), 60),
        (LAN, reply(SYN | ACK), 60),
        (WAN, net.segment(4000, ACK), 900),
        (LAN, reply(FIN | ACK), 120),
        (WAN, net.segment(4000, FIN | ACK), 120),
        (WAN, net.segment(4000, RST), 10),
    ];
    for (port, packet, lifetime) in steps {
        world.receive(port, &[packet]);
        assert_eq!(seconds_left(&world, &net), Some(lifetime));
    }
}

#[test]
fn a_flow_ends_when_its_time_is_over_and_not_before() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    world.receive(WAN, &[net.syn(4000)]);
    world.moved();
    world.later(59);
    world.housekeep();
    world.assert_moved(&[]);
    world.later(1);
    world.housekeep();
    assert_eq!(seconds_left(&world, &net), None);
    // Moved down by one: the gauge of active flows.
    world.assert_moved(&[("flows_expired", 1), ("rs3.active", u64::MAX)]);
}

#[test]
fn a_new_syn_on_an_ended_flow_is_scheduled_anew() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    world.receive(WAN, &[net.syn(4000)]);
    assert_eq!(world.server_of(&net.tuple(4000)), Some(3));
    world.receive(
        WAN,
        &[
            net.segment(4000, ACK),
            net.segment(4000, RST),
            net.syn(4000),
        ],
    );
    assert_eq!(world.server_of(&net.tuple(4000)), Some(2));
    assert_eq!(world.director.flows().len(), 1);
    assert_eq!(world.counters().flows_created.get(), 2);
}

#[test]
fn a_new_syn_on_a_living_flow_stays_on_its_server() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Dr)]);
    world.receive(WAN, &[net.syn(4000), net.segment(4000, ACK), net.syn(4000)]);
    assert_eq!(world.counters().flows_created.get(), 1);
}

#[test]
fn weights_interleave_as_in_the_kernel() {
    // Seen of a kernel with servers 1, 2, 3 added in this order.
    let cases: [(&[u32], &[u32]); 5] = [
        (&[3, 2, 1], &[3, 2, 1, 1, 2, 1]),
        (&[4, 2, 0], &[2, 1, 1]),
        (&[5, 3], &[2, 1, 1, 1, 2, 1, 2, 1]),
        (&[3, 1], &[2, 1, 1, 1]),
        (&[1, 1, 1], &[3, 2, 1]),
    ];
    for (weights, cycle) in cases {
        let net = Net::v4();
        let mut service = Described::web(&net, Method::Dr);
        service.scheduler = SchedulerName::Wrr;
        let numbered = (1u8..).zip(weights);
        service.servers = numbered.map(|(n, w)| (n, 80, *w)).collect();
        let mut world = World::new(&[service]);
        let picked: Vec<u32> = (0..24)
            .map(|n| {
                world.receive(WAN, &[net.syn(4000 + n)]);
                world.server_of(&net.tuple(4000 + n)).expect("a flow")
            })
            .collect();
        let expected: Vec<u32> = cycle.iter().copied().cycle().take(24).collect();
        assert_eq!(picked, expected, "{weights:?}");
    }
}
