//! Defences against floods: `secure_tcp`, `drop_entry` and `drop_packet`.

use weir_core::flow::{State, TcpState};
use weir_core::service::Method;
use weir_core::settings::{Defence, Ipvs};
use weir_wire::tcp_flag::{ACK, SYN};

use crate::world::{Described, LAN, Net, WAN, World};

fn state(world: &World, net: &Net, port: u16) -> Option<State> {
    world.flow(&net.tuple(port)).map(|flow| flow.state())
}

#[test]
fn under_secure_tcp_the_clients_segments_alone_establish_nothing_through_nat() {
    for net in Net::both() {
        let services = [Described::web(&net, Method::Nat)];
        let mut world = World::new(&services);
        let secure = Ipvs {
            secure_tcp: Defence::Always,
            ..Ipvs::default()
        };
        world.set_rules(&services, secure);
        world.receive(WAN, &[net.syn(4000), net.segment(4000, ACK)]);
        assert_eq!(
            state(&world, &net, 4000),
            Some(State::Tcp(TcpState::SynRecv))
        );
        let reply = |flags| net.server_frame(3).tcp(80, 4000).flags(flags).build();
        world.receive(LAN, &[reply(SYN | ACK)]);
        assert_eq!(
            state(&world, &net, 4000),
            Some(State::Tcp(TcpState::SynAck))
        );
        world.receive(WAN, &[net.segment(4000, ACK)]);
        assert_eq!(
            state(&world, &net, 4000),
            Some(State::Tcp(TcpState::SynAck))
        );
        world.receive(LAN, &[reply(ACK)]);
        let established = Some(State::Tcp(TcpState::Established));
        assert_eq!(state(&world, &net, 4000), established);
        // The next connection is an ordinary one again.
        world.set_rules(&services, Ipvs::default());
        world.receive(WAN, &[net.syn(4001), net.segment(4001, ACK)]);
        assert_eq!(state(&world, &net, 4001), established);
    }
}

#[test]
fn under_secure_tcp_a_handshake_by_direct_routing_waits_as_synack() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    let secure = Ipvs {
        secure_tcp: Defence::Always,
        ..Ipvs::default()
    };
    world.set_rules(&services, secure);
    world.receive(WAN, &[net.syn(4000)]);
    assert_eq!(
        state(&world, &net, 4000),
        Some(State::Tcp(TcpState::SynAck))
    );
    assert_eq!(world.director.flows().half_open(), 1);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    let established = Some(State::Tcp(TcpState::Established));
    assert_eq!(state(&world, &net, 4000), established);
}

#[test]
fn an_automatic_defence_is_on_while_the_table_is_nearly_full() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    // The table holds 1000 flows.
    let auto = Ipvs {
        secure_tcp: Defence::Auto,
        amemthresh: 600,
        ..Ipvs::default()
    };
    world.set_rules(&services, auto);
    for port in 4000..4400 {
        world.receive(WAN, &[net.syn(port)]);
    }
    for (port, expected) in [(5000, TcpState::SynRecv), (5001, TcpState::SynAck)] {
        world.later(1);
        world.housekeep();
        world.receive(WAN, &[net.syn(port)]);
        assert_eq!(state(&world, &net, port), Some(State::Tcp(expected)));
    }
    // The flows end, and the table has room again.
    world.later(200);
    for _ in 0..10 {
        world.housekeep();
    }
    world.later(1);
    world.housekeep();
    world.receive(WAN, &[net.syn(5002)]);
    let ordinary = Some(State::Tcp(TcpState::SynRecv));
    assert_eq!(state(&world, &net, 5002), ordinary);
}

#[test]
fn drop_packet_drops_every_tenth_of_what_would_begin_a_flow_and_nothing_else() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    let drops = Ipvs {
        drop_packet: Defence::Always,
        ..Ipvs::default()
    };
    world.receive(WAN, &[net.syn(3999)]);
    world.set_rules(&services, drops);
    world.moved();
    for port in 4000..4040 {
        world.receive(WAN, &[net.syn(port), net.segment(3999, ACK)]);
    }
    assert_eq!(world.director.flows().len(), 1 + 36);
    assert_eq!(
        world
            .counters()
            .drops(weir_core::counters::DropReason::DropPacket),
        4
    );
}

#[test]
fn drop_entry_ends_half_open_flows_in_time_and_no_others() {
    for net in Net::both() {
        let services = [Described::web(&net, Method::Dr)];
        let mut world = World::new(&services);
        for port in 4000..4100 {
            world.receive(WAN, &[net.syn(port)]);
            if port % 2 == 0 {
                world.receive(WAN, &[net.segment(port, ACK)]);
            }
        }
        let drops = Ipvs {
            drop_entry: Defence::Always,
            ..Ipvs::default()
        };
        world.set_rules(&services, drops);
        let left = world.director.flows().half_open();
        assert!(left > 35, "not all at once: {left} of 50 are left");
        // A second each; flows that begin stay for their 60 seconds otherwise.
        for _ in 0..55 {
            world.later(1);
            world.housekeep();
        }
        let left = world.director.flows().half_open();
        assert!(left < 35, "{left} of 50 are left");
        for port in (4000..4100).step_by(2) {
            assert!(state(&world, &net, port).is_some(), "port {port}");
        }
    }
}
