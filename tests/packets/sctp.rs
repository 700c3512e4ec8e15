//! SCTP: associations by their chunks, ports and checksum rewritten.

use weir_core::flow::SctpState::{self, *};
use weir_core::flow::{State, Tuple};
use weir_core::service::{Method, Protocol};
use weir_core::settings::Ipvs;
use weir_wire::builder::PacketBuilder;

use crate::several_workers::{by_device, deliver, workers};
use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

fn service(net: &Net, method: Method) -> Described {
    let mut service = Described::web(net, method);
    service.key.protocol = Protocol::Sctp;
    if method.sees_replies() {
        service.servers.iter_mut().for_each(|s| s.1 = 8080);
    }
    service
}

/// A chunk of some bytes, which are no multiple of four.
fn chunk(kind: u8) -> Vec<u8> {
    vec![kind, 3, 0, 9, 1, 2, 3, 4, 5, 0, 0, 0]
}

fn packet(net: &Net, port: u16, kind: u8) -> Vec<u8> {
    let packet = net.client_frame().sctp(port, 80);
    packet.payload(&chunk(kind)).build()
}

fn tuple(net: &Net, port: u16) -> Tuple {
    Tuple {
        protocol: Protocol::Sctp,
        ..net.tuple(port)
    }
}

fn state(world: &World, net: &Net) -> (SctpState, u32) {
    let flow = world.flow(&tuple(net, 4000)).expect("a flow");
    match flow.state() {
        State::Sctp(state) => (state, flow.seconds_left(world.now)),
        other => panic!("of another protocol: {other:?}"),
    }
}

#[test]
fn an_association_by_nat_goes_through_its_states_with_ports_and_checksum_rewritten() {
    for net in Net::both() {
        let mut world = World::new(&[service(&net, Method::Nat)]);
        let steps = [
            (WAN, INIT, Init1, 4),
            (LAN, INIT_ACK, CookieSent, 61),
            (WAN, COOKIE_ECHO, CookieReplied, 61),
            (LAN, COOKIE_ACK, Established, 900),
            (WAN, DATA, Established, 900),
            (WAN, SHUTDOWN, ShutdownReceived, 61),
            (LAN, SHUTDOWN_ACK, ShutdownAckSent, 61),
            (WAN, SHUTDOWN_COMPLETE, Closed, 61),
        ];
        for (port, kind, expected, lifetime) in steps {
            let expected_sent = if port == WAN {
                world.receive(WAN, &[packet(&net, 4000, kind)]);
                let to_server = PacketBuilder::eth(LAN_MAC, server_mac(3));
                to_server.ip(net.client, net.server(3)).sctp(4000, 8080)
            } else {
                let reply = net.server_frame(3).sctp(8080, 4000).payload(&chunk(kind));
                world.receive(LAN, &[reply.build()]);
                let to_client = PacketBuilder::eth(WAN_MAC, ROUTER_MAC);
                to_client.ip(net.vip, net.client).sctp(80, 4000)
            };
            let expected_sent = expected_sent.ttl(63).payload(&chunk(kind)).build();
            assert_eq!(world.only_sent().1, expected_sent, "chunk {kind}");
            assert_eq!(state(&world, &net), (expected, lifetime));
            let active = world.counters().loads[3].get().active;
            assert_eq!(active, u32::from(expected == Established));
        }
    }
}

#[test]
fn a_damaged_packet_stays_damaged() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net, Method::Nat)]);
    let mut init = packet(&net, 4000, INIT);
    *init.last_mut().expect("a byte") ^= 0x20;
    world.receive(WAN, &[init]);
    let right = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(net.client, net.server(3))
        .ttl(63)
        .sctp(4000, 8080)
        .payload(&chunk(INIT))
        .build();
    let (_, sent) = world.only_sent();
    let crc = 14 + 20 + 8;
    // The checksum of what was sent, not of what came.
    assert_eq!(sent[crc..crc + 4], right[crc..crc + 4]);
    assert_ne!(sent, right);
}

#[test]
fn direct_routing_and_tunnels_see_one_direction() {
    for net in Net::both() {
        for method in [Method::Dr, Method::Tun] {
            let mut world = World::new(&[service(&net, method)]);
            let steps = [
                (INIT, Init1, 4),
                (COOKIE_ECHO, Established, 900),
                (DATA, Established, 900),
                (SHUTDOWN, ShutdownReceived, 61),
                (SHUTDOWN_COMPLETE, Closed, 61),
            ];
            for (kind, expected, lifetime) in steps {
                world.receive(WAN, &[packet(&net, 4000, kind)]);
                assert_eq!(state(&world, &net), (expected, lifetime));
                let inner = net.client_frame().ttl(63).sctp(4000, 80);
                let inner = inner.payload(&chunk(kind)).build_ip();
                assert!(world.only_sent().1.ends_with(&inner), "{method:?}");
            }
        }
    }
}

#[test]
fn fullnat_serves_sctp_too() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net, Method::FullNat)]);
    world.receive(WAN, &[packet(&net, 4000, INIT)]);
    let (_, sent) = world.only_sent();
    let (local, port) = world
        .flow(&tuple(&net, 4000))
        .and_then(|flow| flow.local())
        .expect("a local end");
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(local, net.server(3))
        .ttl(63)
        .sctp(port, 8080)
        .payload(&chunk(INIT));
    assert_eq!(sent, expected.build());
    let reply = PacketBuilder::eth(server_mac(3), LAN_MAC)
        .ip(net.server(3), local)
        .sctp(8080, port)
        .payload(&chunk(INIT_ACK));
    world.receive(LAN, &[reply.build()]);
    let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
        .ip(net.vip, net.client)
        .ttl(63)
        .sctp(80, 4000)
        .payload(&chunk(INIT_ACK));
    assert_eq!(world.only_sent().1, expected.build());
}

#[test]
fn only_an_init_begins_an_association_unless_the_director_is_sloppy() {
    let net = Net::v4();
    let services = [service(&net, Method::Dr)];
    let sloppy = Ipvs {
        sloppy_sctp: true,
        ..Ipvs::default()
    };
    for kind in 0..=15 {
        for rules in [Ipvs::default(), sloppy] {
            let mut world = World::new(&services);
            world.set_rules(&services, rules);
            world.receive(WAN, &[packet(&net, 4000, kind)]);
            let begins = kind == INIT || (rules.sloppy_sctp && kind != ABORT);
            let case = format!("chunk {kind}, sloppy {}", rules.sloppy_sctp);
            assert_eq!(world.director.flows().len(), usize::from(begins), "{case}");
            // What begins nothing is Linux's to answer.
            assert_eq!(world.out.punted.len(), usize::from(!begins), "{case}");
        }
    }
    // Without any chunk.
    let mut world = World::new(&services);
    world.set_rules(&services, sloppy);
    world.receive(WAN, &[net.client_frame().sctp(4000, 80).build()]);
    assert!(world.director.flows().is_empty());
}

#[test]
fn an_init_on_a_closed_association_is_scheduled_anew() {
    let net = Net::v4();
    let services = [service(&net, Method::Nat)];
    for (mode, expected) in [(0, (3, Init)), (1, (2, Init1)), (2, (2, Init1))] {
        let mut world = World::new(&services);
        let rules = Ipvs {
            conn_reuse_mode: mode,
            ..Ipvs::default()
        };
        world.set_rules(&services, rules);
        for kind in [INIT, ABORT, INIT] {
            world.receive(WAN, &[packet(&net, 4000, kind)]);
        }
        let server = world.server_of(&tuple(&net, 4000)).expect("a flow");
        assert_eq!((server, state(&world, &net).0), expected, "mode {mode}");
    }
}

#[test]
fn handshakes_of_sctp_count_as_half_open() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net, Method::Dr)]);
    world.receive(WAN, &[packet(&net, 4000, INIT)]);
    assert_eq!(world.director.flows().half_open(), 1);
    world.receive(WAN, &[packet(&net, 4000, COOKIE_ECHO)]);
    assert_eq!(world.director.flows().half_open(), 0);
}

#[test]
fn every_packet_of_an_association_reaches_its_owner() {
    for steering in [2.into(), by_device(3)] {
        for net in Net::both() {
            let services = [service(&net, Method::Nat)];
            let mut worlds = workers(steering.clone(), &services);
            let count = worlds.len();
            for port in 4000..4020 {
                for at in 0..count {
                    worlds[at].receive(WAN, &[packet(&net, port, [INIT, DATA][at.min(1)])]);
                    deliver(&mut worlds);
                }
                let owner = worlds
                    .iter()
                    .position(|w| w.server_of(&tuple(&net, port)).is_some());
                let owner = owner.expect("someone owns it");
                let server = worlds[owner].server_of(&tuple(&net, port)).expect("a flow") as u8;
                worlds.iter_mut().for_each(|world| drop(world.sent()));
                for at in 0..count {
                    let reply = net.server_frame(server).sctp(8080, port);
                    worlds[at].receive(LAN, &[reply.payload(&chunk(DATA)).build()]);
                    deliver(&mut worlds);
                    assert_eq!(worlds[owner].only_sent().0, WAN);
                }
            }
            let flows = worlds.iter().map(|world| world.director.flows().len());
            assert_eq!(flows.sum::<usize>(), 20);
        }
    }
}
