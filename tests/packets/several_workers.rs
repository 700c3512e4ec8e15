//! Two or more directors that share services: flows keep to their owner.

use weir_core::io::Frame;
use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_core::steer::owner;
use weir_core::testing::MemFrame;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};

use crate::world::{Described, LAN, Net, ROUTER_MAC, WAN, WAN_MAC, World, limits};

fn workers(count: u16, services: &[Described]) -> Vec<World> {
    let mut worlds: Vec<World> = Vec::new();
    for id in 0..count {
        let mut world = World::worker(id, count, limits(), services);
        if let Some(first) = worlds.first() {
            world.share_cursor(first, services);
        }
        worlds.push(world);
    }
    worlds
}

/// Lets every handed-off frame reach its owner.
fn deliver(worlds: &mut [World]) {
    for from in 0..worlds.len() {
        for (to, port, frame) in std::mem::take(&mut worlds[from].out.handed_off) {
            let frame: MemFrame = frame;
            worlds[usize::from(to.0)].take(port, true, &[frame.bytes().to_vec()]);
        }
    }
}

fn owner_of(net: &Net, port: u16, count: u16) -> usize {
    let WorkerId(id) = owner(net.client, port, count);
    usize::from(id)
}

#[test]
fn a_reply_at_the_wrong_worker_reaches_the_flows_owner() {
    for (net, count) in Net::both().into_iter().zip([2, 3]) {
        let mut worlds = workers(count, &[Described::web(&net, Method::Nat)]);
        let port = (4000..)
            .find(|p| owner_of(&net, *p, count) == 1)
            .expect("a port");
        worlds[1].receive(WAN, &[net.syn(port)]);
        worlds[1].sent();
        let reply = net.server_frame(3).tcp(80, port).flags(SYN | ACK).build();
        worlds[0].receive(LAN, &[reply]);
        worlds[0].assert_moved(&[("handed_off", 1)]);
        deliver(&mut worlds);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .tcp(80, port)
            .flags(SYN | ACK);
        assert_eq!(worlds[1].only_sent().1, expected.build());
    }
}

#[test]
fn the_round_robin_sequence_is_exact_over_workers() {
    for count in [1, 2, 3, 8] {
        let net = Net::v4();
        let mut worlds = workers(count, &[Described::web(&net, Method::Dr)]);
        let picked: Vec<u32> = (0..30)
            .map(|n| {
                let port = 4000 + n;
                // Any worker may receive it.
                worlds[usize::from(n % count)].receive(WAN, &[net.syn(port)]);
                deliver(&mut worlds);
                let at = owner_of(&net, port, count);
                worlds[at]
                    .server_of(&net.tuple(port))
                    .expect("the owner has the flow")
            })
            .collect();
        assert_eq!(picked, [3, 2, 1].repeat(10), "{count} workers");
    }
}

#[test]
fn a_worker_that_does_not_keep_up_costs_the_packet_only() {
    let net = Net::v4();
    let mut worlds = workers(2, &[Described::web(&net, Method::Dr)]);
    worlds[0].out.is_stuck = true;
    let port = (4000..)
        .find(|p| owner_of(&net, *p, 2) == 1)
        .expect("a port");
    worlds[0].receive(WAN, &[net.syn(port)]);
    worlds[0].assert_moved(&[("drop.hand_off_ring_full", 1)]);
}

#[test]
fn an_error_about_a_flow_of_another_worker_reaches_it() {
    let net = Net::v4();
    let mut worlds = workers(2, &[Described::web(&net, Method::Nat)]);
    let port = (4000..)
        .find(|p| owner_of(&net, *p, 2) == 1)
        .expect("a port");
    worlds[1].receive(WAN, &[net.syn(port)]);
    worlds[1].sent();
    let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    let quoted = quoted.tcp(80, port).flags(ACK).build_ip();
    worlds[0].receive(
        WAN,
        &[net.client_frame().icmp_error(3, 1, 0, &quoted).build()],
    );
    deliver(&mut worlds);
    assert_eq!(worlds[1].only_sent().0, LAN);
}
