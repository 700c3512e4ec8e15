//! What begins a flow, what does not, and what becomes of it then.

use weir_core::flow::{State, TcpState, Tuple};
use weir_core::service::{Method, Protocol};
use weir_core::settings::Ipvs;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, FIN, PSH, RST, SYN, URG};

use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

/// The state of the flow that a first segment with these flags begins.
fn first(rules: Ipvs, flags: u8) -> Option<State> {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Nat)];
    let mut world = World::new(&services);
    world.set_rules(&services, rules);
    world.receive(WAN, &[net.segment(4000, flags)]);
    let begun = world.flow(&net.tuple(4000)).map(|flow| flow.state());
    // Answered, unless it was a reset; or forwarded.
    let expected = usize::from(begun.is_some() || flags & RST == 0);
    assert_eq!(world.sent().len(), expected, "flags {flags:#x}");
    begun
}

/// ECN's bits.
const EC: u8 = 0xc0;

#[test]
fn a_syn_without_reset_begins_a_flow_whatever_else_it_has() {
    let begin = [SYN, SYN | ACK, SYN | FIN, SYN | PSH | URG | EC, SYN | EC];
    for flags in begin {
        let begun = first(Ipvs::default(), flags);
        assert_eq!(begun, Some(State::Tcp(TcpState::SynRecv)), "{flags:#x}");
    }
    let others = [
        ACK,
        PSH | ACK,
        FIN | ACK,
        FIN,
        RST,
        RST | ACK,
        0,
        SYN | RST,
        URG,
    ];
    for flags in others {
        assert_eq!(first(Ipvs::default(), flags), None, "{flags:#x}");
    }
}

/// What a kernel with `sloppy_tcp` was seen to make of first segments.
#[test]
fn a_sloppy_director_begins_a_flow_with_anything_but_a_reset() {
    use TcpState::{Close, Established, SynRecv};
    let sloppy = Ipvs {
        sloppy_tcp: true,
        ..Ipvs::default()
    };
    let cases = [
        (SYN, Some(SynRecv)),
        (SYN | ACK, Some(SynRecv)),
        (ACK, Some(Established)),
        (PSH | ACK, Some(Established)),
        (FIN | ACK, Some(Close)),
        (FIN, Some(Close)),
        (RST, None),
        (RST | ACK, None),
        (0, Some(Close)),
        (SYN | FIN, Some(SynRecv)),
        (SYN | RST, None),
        (URG, Some(Close)),
    ];
    for (flags, state) in cases {
        assert_eq!(first(sloppy, flags), state.map(State::Tcp), "{flags:#x}");
    }
}

#[test]
fn source_port_20_never_begins_a_flow_but_port_0_does() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Nat);
    let mut world = World::new(std::slice::from_ref(&service));
    world.receive(WAN, &[net.syn(20), net.syn(0)]);
    assert_eq!(world.server_of(&net.tuple(20)), None);
    assert!(world.server_of(&net.tuple(0)).is_some());
    service.key.protocol = Protocol::Udp;
    let mut world = World::new(&[service]);
    world.receive(WAN, &[net.client_frame().udp(20, 80).build()]);
    assert!(world.director.flows().is_empty());
}

#[test]
fn without_any_service_every_packet_is_linuxs_and_known_flows_stay_as_they_are() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Nat)];
    let mut world = World::new(&services);
    let reply = net.server_frame(3).tcp(80, 4000).flags(ACK).build();
    world.receive(WAN, &[net.syn(4000), net.segment(4000, ACK)]);
    world.publish(&[], &[]);
    world.sent();
    world.moved();
    world.later(10);
    world.receive(WAN, &[net.segment(4000, ACK), net.syn(4001)]);
    world.receive(LAN, &[reply]);
    assert_eq!((world.out.punted.len(), world.sent().len()), (3, 0));
    world.assert_moved(&[("punted", 3)]);
    let left = |world: &World| {
        world
            .flow(&net.tuple(4000))
            .map(|f| f.seconds_left(world.now))
    };
    assert_eq!(left(&world), Some(890));
    // With any service the flow's packets are dropped, and with its own it goes on.
    let mut other = Described::web(&net, Method::Nat);
    (other.key.port, other.servers) = (81, vec![(1, 81, 1)]);
    world.publish(&[other], &[]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    world.assert_moved(&[("drop.server_removed", 1)]);
    assert_eq!(left(&world), Some(890));
    world.publish(&services, &[]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.only_sent().0, LAN);
    assert_eq!(left(&world), Some(900));
}

fn lost_reply(net: &Net, flags: u8) -> Vec<u8> {
    net.server_frame(3).tcp(80, 4000).flags(flags).build()
}

/// The same, a hop further.
fn lost_reply_forwarded(net: &Net, flags: u8) -> Vec<u8> {
    let frame = net.server_frame(3).ttl(63);
    frame.tcp(80, 4000).flags(flags).build()
}

#[test]
fn a_servers_packet_without_flow_is_linuxs_unless_the_server_is_to_be_told() {
    for net in Net::both() {
        let services = [Described::web(&net, Method::Nat)];
        let mut world = World::new(&services);
        world.receive(LAN, &[lost_reply(&net, ACK)]);
        world.assert_moved(&[("punted", 1)]);
        let told = Ipvs {
            nat_icmp_send: true,
            ..Ipvs::default()
        };
        world.set_rules(&services, told);
        world.receive(LAN, &[lost_reply(&net, ACK)]);
        let lost = lost_reply_forwarded(&net, ACK);
        let (kind, code) = if net.is_v4 { (3, 3) } else { (1, 4) };
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .ip(net.director_lan, net.server(3))
            .tos(if net.is_v4 { 0xc0 } else { 0 })
            .icmp_error(kind, code, 0, &lost[14..]);
        assert_eq!(world.only_sent(), (LAN, expected.build()));
        world.assert_moved(&[("drop.server_without_flow", 1), ("icmp_sent", 1)]);
        // A reset is told of nothing, nor is one who is no server.
        let stranger = net.server_frame(9).tcp(80, 4000).flags(ACK).build();
        world.receive(LAN, &[lost_reply(&net, RST), stranger]);
        world.assert_moved(&[("punted", 2)]);
        // What it sends to the director itself is no lost reply.
        let to_director = PacketBuilder::eth(server_mac(3), LAN_MAC)
            .ip(net.server(3), net.director_lan)
            .tcp(80, 4000);
        world.receive(LAN, &[to_director.build()]);
        world.assert_moved(&[("punted", 1)]);
    }
}

/// An ICMP error about a packet that went from the service to a client.
fn told_of(net: &Net, port: u16) -> Vec<u8> {
    let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    let quoted = quoted.tcp(80, port).flags(ACK).build_ip();
    net.client_frame().icmp_error(3, 1, 0, &quoted).build()
}

#[test]
fn an_icmp_error_begins_a_flow_where_it_may() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    world.receive(WAN, &[told_of(&net, 4000)]);
    world.assert_moved(&[("drop.icmp_unrelated", 1)]);
    let may = Ipvs {
        schedule_icmp: true,
        ..Ipvs::default()
    };
    world.set_rules(&services, may);
    world.receive(WAN, &[told_of(&net, 4000)]);
    let (port, sent) = world.only_sent();
    assert_eq!((port, &sent[..6]), (LAN, &server_mac(3).0[..]));
    let flow = world.flow(&net.tuple(4000)).expect("it began");
    assert_eq!(flow.state(), State::Tcp(TcpState::None));
    assert_eq!(flow.seconds_left(world.now), 3);
    world.moved();
    // Of the same flow, and of one that may not begin.
    world.receive(WAN, &[told_of(&net, 4000), told_of(&net, 20)]);
    assert_eq!(world.director.flows().len(), 1);
    world.assert_moved(&[
        ("drop.icmp_unrelated", 1),
        ("forwarded", 1),
        ("rs3.bytes_in", 68),
        ("rs3.packets_in", 1),
    ]);
    // Without a server there is nobody to tell, and the error is not answered.
    let mut empty = services[0].clone();
    empty.servers = vec![];
    world.set_rules(&[empty], may);
    world.sent();
    world.receive(WAN, &[told_of(&net, 4001)]);
    assert_eq!(world.sent(), []);
    world.assert_moved(&[("drop.icmp_unrelated", 1)]);
}

#[test]
fn a_flow_begun_by_an_error_takes_the_next_packet() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Nat)];
    let mut world = World::new(&services);
    let may = Ipvs {
        schedule_icmp: true,
        ..Ipvs::default()
    };
    world.set_rules(&services, may);
    world.receive(WAN, &[told_of(&net, 4000), net.syn(4000)]);
    assert_eq!(world.counters().flows_created.get(), 1);
    let tuple: Tuple = net.tuple(4000);
    let flow = world.flow(&tuple).expect("one flow");
    assert_eq!(flow.state(), State::Tcp(TcpState::SynRecv));
}
