//! Known flows met by what opens a connection, and flows that have lost their server.

use weir_core::flow::TcpState::{self, Close, CloseWait, Established, FinWait, SynRecv, TimeWait};
use weir_core::flow::{State, Timeouts};
use weir_core::service::Method;
use weir_core::settings::Ipvs;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use crate::world::{Described, LAN, Net, WAN, World};

/// What brings a flow of port 4000 into a state: segments and who sends them.
fn steps(net: &Net, method: Method, state: TcpState) -> Vec<(bool, u8)> {
    let (client, server) = (true, false);
    let sees_replies = method.sees_replies();
    let mut steps = vec![(client, SYN), (client, ACK)];
    match state {
        SynRecv => _ = steps.pop(),
        Established => {}
        // Only what the director sees tells the two apart.
        FinWait if sees_replies => steps.push((server, FIN | ACK)),
        FinWait | CloseWait => steps.push((client, FIN | ACK)),
        TimeWait if sees_replies => steps.extend([(client, FIN | ACK), (server, FIN | ACK)]),
        // FIN in SYN_RECV.
        TimeWait => steps = vec![(client, SYN), (client, FIN)],
        Close => steps.push((client, RST)),
        other => panic!("{other:?} is not asked for of {}", net.vip),
    }
    steps
}

fn bring(world: &mut World, net: &Net, steps: &[(bool, u8)]) {
    for (is_client, flags) in steps {
        if *is_client {
            world.receive(WAN, &[net.segment(4000, *flags)]);
        } else {
            let reply = net.server_frame(3).tcp(80, 4000).flags(*flags);
            world.receive(LAN, &[reply.build()]);
        }
    }
}

/// What a kernel was seen to do in every mode with both methods.
#[test]
fn a_syn_moves_a_connection_that_has_ended_to_another_server_as_the_mode_says() {
    for net in Net::both() {
        for method in [Method::Nat, Method::Dr, Method::Tun] {
            for mode in 0..4 {
                for state in [SynRecv, Established, FinWait, CloseWait, TimeWait, Close] {
                    if state == CloseWait && !method.sees_replies() {
                        continue;
                    }
                    let services = [Described::web(&net, method)];
                    let mut world = World::new(&services);
                    let rules = Ipvs {
                        conn_reuse_mode: mode,
                        ..Ipvs::default()
                    };
                    world.set_rules(&services, rules);
                    bring(&mut world, &net, &steps(&net, method, state));
                    let flow = world.flow(&net.tuple(4000)).expect("it is there");
                    assert_eq!(flow.state(), State::Tcp(state));
                    assert_eq!(flow.server().0, 3);
                    world.receive(WAN, &[net.syn(4000)]);
                    let moves = match state {
                        TimeWait | Close => mode != 0,
                        FinWait => mode >= 2 && !method.sees_replies(),
                        _ => false,
                    };
                    let expected = if moves { 2 } else { 3 };
                    let server = world.server_of(&net.tuple(4000));
                    let case = format!("{method:?}, mode {mode}, {state:?}");
                    assert_eq!(server, Some(expected), "{case}");
                    assert_eq!(world.director.flows().len(), 1, "{case}");
                    // At once, on the wire too.
                    assert!(world.out.dropped.is_empty(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_syn_with_a_reset_ends_an_ended_flow_and_begins_none() {
    let net = Net::v4();
    let mut world = World::new(&[Described::web(&net, Method::Nat)]);
    bring(&mut world, &net, &steps(&net, Method::Nat, Close));
    world.receive(WAN, &[net.segment(4000, SYN | RST)]);
    assert!(world.director.flows().is_empty());
}

#[test]
fn a_server_of_weight_0_keeps_its_flows_unless_a_syn_comes_and_they_are_to_move() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Nat);
    let mut world = World::new(std::slice::from_ref(&service));
    bring(&mut world, &net, &[(true, SYN), (true, ACK)]);
    service.servers[2].2 = 0;
    let services = [service];
    world.set_rules(&services, Ipvs::default());
    world.receive(WAN, &[net.segment(4000, ACK), net.syn(4000)]);
    assert_eq!(world.server_of(&net.tuple(4000)), Some(3));
    let moves = Ipvs {
        expire_nodest_conn: true,
        conn_reuse_mode: 0,
        ..Ipvs::default()
    };
    world.set_rules(&services, moves);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.server_of(&net.tuple(4000)), Some(3), "data stays");
    world.receive(WAN, &[net.syn(4000)]);
    assert_ne!(world.server_of(&net.tuple(4000)), Some(3));
    assert_eq!(world.director.flows().len(), 1);
}

#[test]
fn packets_of_a_removed_server_end_silently_and_do_not_prolong_its_flows() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Nat)];
    let mut world = World::new(&services);
    bring(&mut world, &net, &[(true, SYN), (true, ACK)]);
    world.publish(&services, &[3]);
    world.sent();
    world.moved();
    world.later(100);
    world.receive(WAN, &[net.segment(4000, ACK), net.syn(4000)]);
    assert_eq!(world.sent(), []);
    world.assert_moved(&[("drop.server_removed", 2)]);
    let left = world
        .flow(&net.tuple(4000))
        .map(|f| f.seconds_left(world.now));
    assert_eq!(left, Some(800));
    // It comes back, and the connection goes on.
    world.publish(&services, &[]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.only_sent().0, LAN);
    let left = world
        .flow(&net.tuple(4000))
        .map(|f| f.seconds_left(world.now));
    assert_eq!(left, Some(900));
}

#[test]
fn an_ended_connection_of_a_removed_server_begins_anew_with_a_syn() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Nat)];
    let mut world = World::new(&services);
    bring(&mut world, &net, &steps(&net, Method::Nat, TimeWait));
    world.publish(&services, &[3]);
    world.receive(WAN, &[net.syn(4000)]);
    assert_ne!(world.server_of(&net.tuple(4000)), Some(3));
}

#[test]
fn flows_of_a_removed_server_end_at_once_if_they_are_to() {
    for net in Net::both() {
        let services = [Described::web(&net, Method::Nat)];
        let mut world = World::new(&services);
        let ends = Ipvs {
            expire_nodest_conn: true,
            ..Ipvs::default()
        };
        world.set_rules(&services, ends);
        let ports = 4000..4009;
        let syns: Vec<_> = ports.clone().map(|port| net.syn(port)).collect();
        world.receive(WAN, &syns);
        world.publish(&services, &[3]);
        world.moved();
        world.sent();
        // Before the table was looked through, a packet finds out: a segment in the middle is
        // refused, a SYN scheduled anew.
        world.receive(WAN, &[net.segment(4000, ACK), net.syn(4003)]);
        let sent: Vec<_> = world.sent().into_iter().map(|(port, _)| port).collect();
        assert_eq!(sent, [WAN, LAN], "a reset, and the SYN");
        assert!(matches!(world.server_of(&net.tuple(4003)), Some(1 | 2)));
        // A piece of the table at a time.
        for _ in 0..20 {
            world.housekeep();
        }
        let flows = world.director.flows().len();
        assert_eq!(flows, 7, "six of the others, and the new one");
        assert_eq!(world.counters().flows_expired.get(), 1, "of port 4006");
        assert_eq!(world.counters().loads[3].get().active, 0);
    }
}

#[test]
fn lifetimes_that_are_set_hold_from_the_next_packet_on() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    bring(&mut world, &net, &[(true, SYN), (true, ACK)]);
    world.settings.timeouts = Timeouts::with(100, 20, 30);
    world.publish(&services, &[]);
    let left = |world: &World| {
        world
            .flow(&net.tuple(4000))
            .map(|f| f.seconds_left(world.now))
    };
    assert_eq!(left(&world), Some(900));
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(left(&world), Some(100));
    world.receive(WAN, &[net.segment(4000, FIN | ACK)]);
    assert_eq!(left(&world), Some(20), "FIN_WAIT");
    world.receive(WAN, &[net.segment(4000, RST)]);
    assert_eq!(left(&world), Some(10), "CLOSE keeps its own");
}
