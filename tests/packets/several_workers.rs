//! Two or more directors that share services: flows keep to their owner.

use weir_core::flow::Tuple;
use weir_core::io::Frame;
use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_core::steer::Steering;
use weir_core::steer::device::{DeviceRss, Fields, Hashed};
use weir_core::steer::toeplitz::KEY_BYTES;
use weir_core::testing::MemFrame;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};

use crate::world::{Described, LAN, Net, ROUTER_MAC, WAN, WAN_MAC, World, limits};

const METHODS: [Method; 3] = [Method::Nat, Method::Dr, Method::Tun];

/// The workers of one director.
pub(crate) fn workers(steering: impl Into<Steering>, services: &[Described]) -> Vec<World> {
    let steering: Steering = steering.into();
    let mut worlds: Vec<World> = Vec::new();
    for id in 0..steering.workers() {
        let mut world = World::worker(id, steering.clone(), limits(), services);
        if let Some(first) = worlds.first() {
            world.share_cursor(first, services);
        }
        worlds.push(world);
    }
    World::share_loads(&mut worlds, services);
    worlds
}

/// Workers on devices whose RSS is known.
pub(crate) fn by_device(workers: u16) -> Steering {
    let hashed = Hashed {
        tcp_v4: Fields::AddressesAndPorts,
        tcp_v6: Fields::AddressesAndPorts,
        ..Hashed::default()
    };
    let steering = Steering::by_device(
        workers,
        &DeviceRss {
            key: std::array::from_fn::<u8, KEY_BYTES, _>(|n| (n as u8 ^ 0x5a).wrapping_mul(201)),
            hashed,
            table: (0..128).map(|at| at % workers).collect(),
        },
    );
    assert!(steering.is_by_device());
    steering
}

/// Lets every handed-off frame reach its owner; gives how many there were.
pub(crate) fn deliver(worlds: &mut [World]) -> usize {
    let mut count = 0;
    for from in 0..worlds.len() {
        for (to, port, frame) in std::mem::take(&mut worlds[from].out.handed_off) {
            let frame: MemFrame = frame;
            worlds[usize::from(to.0)].take(port, true, &[frame.bytes().to_vec()]);
            count += 1;
        }
    }
    count
}

fn owner_of(net: &Net, port: u16, count: u16) -> usize {
    let WorkerId(id) = Steering::by_client(count).owner_of_client(net.client, port);
    usize::from(id)
}

/// Packets that these workers sent or handed over since the last call.
fn sent_and_handed_off(worlds: &mut [World]) -> (usize, usize) {
    let handed_off = worlds.iter().map(|world| world.out.handed_off.len()).sum();
    (worlds.iter_mut().map(|w| w.sent().len()).sum(), handed_off)
}

#[test]
fn a_reply_at_the_wrong_worker_reaches_the_flows_owner() {
    // What is known of the devices is of no use for NAT: replies show the client only.
    let all = [Steering::from(2), 3.into(), by_device(2), by_device(3)];
    for (net, steering) in Net::both().into_iter().cycle().zip(all) {
        let count = steering.workers();
        let mut worlds = workers(steering, &[Described::web(&net, Method::Nat)]);
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

#[test]
fn a_request_that_the_device_gives_to_its_owner_is_not_handed_over() {
    for (net, method) in Net::both().into_iter().zip([Method::Dr, Method::Tun]) {
        let steering = by_device(3);
        let mut worlds = workers(steering.clone(), &[Described::web(&net, method)]);
        let mut is_owner = [false; 3];
        for port in 4000..4100 {
            let owner = usize::from(steering.owner_of_request(&net.tuple(port), false).0);
            is_owner[owner] = true;
            for packet in [net.syn(port), net.segment(port, ACK)] {
                worlds[owner].receive(WAN, &[packet]);
                assert_eq!(sent_and_handed_off(&mut worlds), (1, 0), "port {port}");
            }
        }
        assert_eq!(is_owner, [true; 3], "the ports try every worker");
    }
}

/// A device may do something else than what it tells, and links may lead to it by several ports.
#[test]
fn a_packet_at_any_worker_is_handed_over_once_at_most_and_forwarded_once() {
    for steering in [2, 3, 8].into_iter().flat_map(|n| [n.into(), by_device(n)]) {
        for (net, method) in Net::both()
            .into_iter()
            .flat_map(|n| METHODS.map(|m| (n, m)))
        {
            let count = usize::from(steering.workers());
            let mut worlds = workers(steering.clone(), &[Described::web(&net, method)]);
            let mut handed_off = 0;
            for port in 4000..4040 {
                for (at, packet) in [net.syn(port), net.segment(port, ACK)].iter().enumerate() {
                    worlds[(usize::from(port) + at) % count]
                        .receive(WAN, std::slice::from_ref(packet));
                    let before = sent_and_handed_off(&mut worlds);
                    deliver(&mut worlds);
                    let after = sent_and_handed_off(&mut worlds);
                    assert_eq!((before.0 + before.1, after), (1, (before.1, 0)));
                    handed_off += before.1;
                }
            }
            assert!((1..80).contains(&handed_off), "{handed_off} of 80 packets");
            let flows = worlds.iter().map(|world| world.director.flows().len());
            assert_eq!(flows.sum::<usize>(), 40, "a flow is with one worker");
        }
    }
}

#[test]
fn an_error_about_a_flow_of_the_worker_the_device_chose_reaches_it() {
    let net = Net::v4();
    let steering = by_device(2);
    let mut worlds = workers(steering.clone(), &[Described::web(&net, Method::Dr)]);
    let by_device = |port| steering.owner_of_request(&net.tuple(port), false);
    // An owner by client would not find it.
    let port = (4000..).find(|port| by_device(*port).0 == 1 && owner_of(&net, *port, 2) == 0);
    let port = port.expect("a port");
    worlds[1].receive(WAN, &[net.syn(port)]);
    worlds[1].sent();
    let reply: Tuple = net.tuple(port).reversed();
    let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(reply.src, reply.dst);
    let quoted = quoted.tcp(80, port).flags(ACK).build_ip();
    let error = net.client_frame().icmp_error(3, 1, 0, &quoted).build();
    worlds[0].receive(WAN, &[error]);
    assert_eq!(sent_and_handed_off(&mut worlds), (0, 1));
    deliver(&mut worlds);
    assert_eq!(worlds[1].only_sent().0, LAN);
}
