//! Flows of a server that had its time to drain: each ends with its next packet. Those without one: see
//! `silent.rs`.

use weir_core::flow::{State, TcpState};
use weir_core::service::{Method, Protocol};
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use crate::fragments::cut;
use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

/// A world with a flow of port 4000 to server 3, which then had its time.
fn drained(net: &Net, method: Method) -> (World, Vec<Described>) {
    let mut services = vec![Described::web(net, method)];
    let mut world = World::new(&services);
    world.receive(WAN, &[net.syn(4000)]);
    if method.sees_replies() {
        let reply = net.server_frame(3).tcp(80, 4000).flags(SYN | ACK);
        world.receive(LAN, &[reply.seq(4999).ack(1001).build()]);
    }
    world.receive(WAN, &[net.segment(4000, ACK)]);
    services[0].servers[2].2 = 0;
    world.resets = vec![3];
    world.publish(&services, &[]);
    world.sent();
    world.moved();
    (world, services)
}

/// The reset that the client gets: it expects sequence number 5000.
fn to_client(net: &Net) -> Vec<u8> {
    let frame = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    let frame = if net.is_v4 { frame.df() } else { frame };
    frame.tcp(80, 4000).flags(RST).seq(5000).window(0).build()
}

#[test]
fn a_clients_segment_resets_both_ends_by_its_numbers() {
    for net in Net::both() {
        let (mut world, _) = drained(&net, Method::Nat);
        world.receive(WAN, &[net.segment(4000, ACK)]);
        // The server expects 1001 and finds it; the data went no further.
        let to_server = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .ip(net.client, net.server(3))
            .ttl(63)
            .tcp(4000, 80)
            .flags(RST | ACK)
            .seq(1001)
            .ack(5000)
            .window(0)
            .build();
        assert_eq!(world.sent(), [(WAN, to_client(&net)), (LAN, to_server)]);
        let flow = world
            .flow(&net.tuple(4000))
            .expect("it is remembered for a while");
        assert_eq!(flow.state(), State::Tcp(TcpState::Close));
        let moved = world.moved();
        for (name, by) in [("resets_sent", 1), ("forwarded", 1), ("rs3.inactive", 1)] {
            assert!(moved.contains(&(name.to_owned(), by)), "{name}: {moved:?}");
        }
    }
}

#[test]
fn a_servers_segment_resets_both_ends_by_its_numbers() {
    for net in Net::both() {
        let (mut world, _) = drained(&net, Method::Nat);
        let segment = net.server_frame(3).tcp(80, 4000).flags(ACK).seq(5000);
        world.receive(LAN, &[segment.ack(1006).payload(b"data").build()]);
        let to_server = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(net.client, net.server(3));
        let to_server = if net.is_v4 { to_server.df() } else { to_server };
        let to_server = to_server
            .tcp(4000, 80)
            .flags(RST)
            .seq(1006)
            .window(0)
            .build();
        let to_client = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .tcp(80, 4000)
            .flags(RST | ACK)
            .seq(5000)
            .ack(1006)
            .window(0)
            .build();
        assert_eq!(world.sent(), [(LAN, to_server), (WAN, to_client)]);
    }
}

#[test]
fn where_replies_go_past_the_director_the_clients_segment_does_for_both() {
    for method in [Method::Dr, Method::Tun, Method::FullNat] {
        let net = Net::v4();
        let (mut world, _) = drained(&net, method);
        world.receive(WAN, &[net.segment(4000, ACK)]);
        let sent = world.sent();
        assert_eq!(sent[0], (WAN, to_client(&net)), "{method:?}");
        assert_eq!(sent[1].0, LAN);
        let packet = &sent[1].1[14..];
        let packet = if method == Method::Tun {
            &packet[20..]
        } else {
            packet
        };
        assert_eq!(packet.len(), 40, "{method:?}: no payload");
        assert_eq!(packet[20 + 13], RST | ACK);
        assert_eq!(packet[20 + 4..][..4], 1001_u32.to_be_bytes());
    }
}

#[test]
fn a_syn_sent_again_resets_the_server_by_the_number_after_it() {
    let net = Net::v4();
    let (mut world, _) = drained(&net, Method::Dr);
    world.receive(WAN, &[net.syn(4000)]);
    let sent = world.sent();
    let tcp = |at: usize| &sent[at].1[34..];
    assert_eq!(tcp(0)[13], RST | ACK);
    assert_eq!(tcp(0)[8..12], 1001_u32.to_be_bytes());
    assert_eq!(
        (tcp(1)[13], &tcp(1)[4..8]),
        (RST, &1001_u32.to_be_bytes()[..])
    );
    assert_eq!(tcp(1)[8..12], [0; 4]);
}

#[test]
fn the_next_connection_goes_to_another_server_and_others_flows_go_on() {
    let net = Net::v4();
    let (mut world, _) = drained(&net, Method::Nat);
    world.receive(WAN, &[net.syn(4001), net.segment(4001, ACK)]);
    assert_ne!(world.server_of(&net.tuple(4001)), Some(3));
    assert_eq!(world.sent().len(), 2);
    world.receive(WAN, &[net.segment(4000, FIN | ACK)]);
    world.sent();
    world.receive(WAN, &[net.syn(4000)]);
    assert_ne!(world.server_of(&net.tuple(4000)), Some(3));
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1[34 + 13], SYN);
}

#[test]
fn a_reset_of_either_end_goes_on_as_it_is() {
    let net = Net::v4();
    let (mut world, _) = drained(&net, Method::Nat);
    world.receive(WAN, &[net.segment(4000, RST)]);
    let (port, frame) = world.only_sent();
    assert_eq!(port, LAN);
    assert_eq!(frame.len(), 14 + 40 + 5);
}

#[test]
fn a_removed_server_still_ends_its_flows_and_one_that_is_wanted_again_does_not() {
    let net = Net::v4();
    let (mut world, services) = drained(&net, Method::Nat);
    world.publish(&services, &[3]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.sent().len(), 2);
    let (mut world, services) = drained(&net, Method::Nat);
    world.resets.clear();
    world.publish(&services, &[]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.only_sent().0, LAN);
}

#[test]
fn every_flow_is_reset_once_and_again_within_the_limit() {
    let net = Net::v4();
    let services = [Described::web(&net, Method::Dr)];
    let mut limits = crate::world::limits();
    limits.icmp_per_second = 4;
    let mut world = World::worker(0, 1, limits, &services);
    let syns: Vec<_> = (0..9).map(|n| net.syn(4000 + n)).collect();
    world.receive(WAN, &syns);
    world.resets = vec![1, 2, 3];
    world.publish(&services, &[]);
    world.sent();
    world.moved();
    let acks: Vec<_> = (0..9).map(|n| net.segment(4000 + n, ACK)).collect();
    world.receive(WAN, &acks);
    assert_eq!(world.sent().len(), 18);
    let moved = world.moved();
    assert!(
        moved.contains(&("drained_reset".to_owned(), 9)),
        "{moved:?}"
    );
    // Their ends have been told: what they send now may be anything.
    world.receive(WAN, &acks);
    let again = world.sent().len();
    assert!((2..18).contains(&again), "{again}");
    let moved = world.moved();
    let dropped = ("drop.server_drained".to_owned(), 9 - again as u64 / 2);
    assert!(moved.contains(&dropped), "{moved:?}");
    assert!(
        moved.iter().all(|(name, _)| name != "drained_reset"),
        "{moved:?}"
    );
    world.later(1);
    world.receive(WAN, &acks);
    assert!(!world.sent().is_empty());
}

#[test]
fn a_clients_datagram_goes_to_another_server_and_a_servers_ends() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Nat);
    service.key.protocol = Protocol::Udp;
    let mut services = vec![service];
    let mut world = World::new(&services);
    let datagram = || net.client_frame().udp(4000, 80).build();
    world.receive(WAN, &[datagram()]);
    services[0].servers[2].2 = 0;
    world.resets = vec![3];
    world.publish(&services, &[]);
    world.sent();
    world.moved();
    world.receive(LAN, &[net.server_frame(3).udp(80, 4000).build()]);
    assert!(world.sent().is_empty());
    let moved = world.moved();
    assert!(
        moved.contains(&("drop.server_drained".to_owned(), 1)),
        "{moved:?}"
    );
    world.receive(WAN, &[datagram()]);
    assert_eq!(world.only_sent().0, LAN);
    let mut tuple = net.tuple(4000);
    tuple.protocol = Protocol::Udp;
    assert_ne!(world.server_of(&tuple), Some(3));
}

/// Both directions, in fragments: a segment put together resets as one that came whole.
#[test]
fn a_segment_in_fragments_resets_both_ends_too() {
    let net = Net::v4();
    let reply = net.server_frame(3).tcp(80, 4000).flags(ACK).seq(5000);
    let reply = reply.ack(1001).payload(&[7; 100]).build();
    let request = net.client_frame().tcp(4000, 80).seq(1001).ack(5000);
    let request = request.payload(&[7; 100]).build();
    for (port, whole) in [(WAN, request), (LAN, reply)] {
        let (mut world, _) = drained(&net, Method::Nat);
        let fragments = cut(&whole, 48, 7);
        assert!(fragments.len() > 1);
        world.receive(port, &fragments);
        let sides: Vec<_> = world.sent().iter().map(|(port, _)| *port).collect();
        assert!(sides.contains(&WAN) && sides.contains(&LAN), "{sides:?}");
        let flow = world.flow(&net.tuple(4000)).expect("it is remembered");
        assert_eq!(flow.state(), State::Tcp(TcpState::Close));
    }
}
