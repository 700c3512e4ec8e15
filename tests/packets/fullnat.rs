//! FullNAT: both ends are rewritten, and the server needs no route to the client.

use weir_core::flow::Tuple;
use weir_core::io::PortId;
use weir_core::service::{Method, Protocol};
use weir_core::steer::Steering;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};
use weir_wire::{Addr, Headers, Mac, Parsed};

use crate::several_workers::{by_device, deliver, workers};
use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

fn web(net: &Net) -> Described {
    Described::web(net, Method::FullNat)
}

fn headers(frame: &[u8]) -> Headers {
    match weir_wire::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("{other:?}"),
    }
}

/// Lets a client open a flow; gives the local end it got.
fn open(world: &mut World, net: &Net, port: u16) -> (Addr, u16) {
    world.receive(WAN, &[net.syn(port)]);
    let h = headers(&world.only_sent().1);
    (h.src, h.src_port)
}

/// A frame of server `n` to a local end as it reaches the director.
fn to_local(net: &Net, n: u8, local: (Addr, u16)) -> PacketBuilder {
    let frame = PacketBuilder::eth(server_mac(n), LAN_MAC);
    frame.ip(net.server(n), local.0).tcp(80, local.1)
}

fn to_client(net: &Net, port: u16) -> PacketBuilder {
    let frame = PacketBuilder::eth(WAN_MAC, ROUTER_MAC);
    frame.ip(net.vip, net.client).ttl(63).tcp(80, port)
}

#[test]
fn a_request_leaves_from_a_local_end_to_the_servers_port() {
    for net in Net::both() {
        let mut service = web(&net);
        service.servers = vec![(1, 8080, 1)];
        let mut world = World::new(&[service]);
        world.receive(WAN, &[net.syn(4000)]);
        let (port, out) = world.only_sent();
        let h = headers(&out);
        assert!([net.local(0), net.local(1)].contains(&h.src), "{}", h.src);
        assert!(h.src_port >= 1024);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(1))
            .ip(h.src, net.server(1))
            .ttl(63)
            .tcp(h.src_port, 8080)
            .flags(SYN)
            .seq(1000);
        assert_eq!((port, out), (LAN, expected.build()));
        let bytes = if net.is_v4 { 40 } else { 60 };
        world.assert_moved(&[
            ("flows_created", 1),
            ("forwarded", 1),
            ("rs1.active", 1),
            ("rs1.bytes_in", bytes),
            ("rs1.connections", 1),
            ("rs1.packets_in", 1),
        ]);
        // Later packets keep it.
        world.receive(WAN, &[net.segment(4000, ACK)]);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(1))
            .ip(h.src, net.server(1))
            .ttl(63)
            .tcp(h.src_port, 8080)
            .flags(ACK)
            .seq(1001)
            .ack(5000)
            .payload(b"hello");
        assert_eq!(world.only_sent(), (LAN, expected.build()));
    }
}

#[test]
fn a_reply_to_the_local_end_reaches_the_client_in_the_name_of_the_service() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net)]);
        let local = open(&mut world, &net, 4000);
        world.moved();
        let reply = to_local(&net, 3, local).flags(SYN | ACK).seq(7).ack(1001);
        world.receive(LAN, &[reply.payload(b"data").build()]);
        let expected = to_client(&net, 4000).flags(SYN | ACK).seq(7).ack(1001);
        assert_eq!(world.only_sent(), (WAN, expected.payload(b"data").build()));
        let bytes = if net.is_v4 { 44 } else { 64 };
        world.assert_moved(&[
            ("forwarded", 1),
            ("rs3.bytes_out", bytes),
            ("rs3.packets_out", 1),
        ]);
    }
}

#[test]
fn a_datagram_without_checksum_gets_one_for_both_new_ends() {
    let net = Net::v4();
    let mut service = web(&net);
    service.key.protocol = Protocol::Udp;
    let mut world = World::new(&[service]);
    let query = net.client_frame().udp_without_checksum(999, 80);
    world.receive(WAN, &[query.payload(b"query").build()]);
    let out = world.only_sent().1;
    let h = headers(&out);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
        .ip(h.src, net.server(3))
        .ttl(63)
        .udp(h.src_port, 80)
        .payload(b"query");
    assert_eq!(out, expected.build());
    let answer = PacketBuilder::eth(server_mac(3), LAN_MAC).ip(net.server(3), h.src);
    let answer = answer.udp_without_checksum(80, h.src_port);
    world.receive(LAN, &[answer.payload(b"answer").build()]);
    let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
        .ip(net.vip, net.client)
        .ttl(63)
        .udp(80, 999)
        .payload(b"answer");
    assert_eq!(world.only_sent(), (WAN, expected.build()));
}

#[test]
fn one_port_takes_requests_and_replies() {
    for net in Net::both() {
        let mut world = World::new(&[]);
        world.is_one_arm = true;
        world.publish(&[web(&net)], &[]);
        world.receive(WAN, &[net.syn(4000)]);
        let (port, out) = world.only_sent();
        let h = headers(&out);
        assert_eq!((port, h.dst), (WAN, net.server(3)));
        assert_eq!(out.first_chunk().map(|mac| Mac(*mac)), Some(server_mac(3)));
        let reply = PacketBuilder::eth(server_mac(3), WAN_MAC)
            .ip(net.server(3), h.src)
            .tcp(80, h.src_port)
            .flags(SYN | ACK);
        world.receive(WAN, &[reply.build()]);
        let expected = to_client(&net, 4000).flags(SYN | ACK);
        assert_eq!(world.only_sent(), (WAN, expected.build()));
    }
}

/// No port to connect to, but nothing keeps a client from sending from it.
#[test]
fn a_client_at_port_0_gets_its_replies_there() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net)]);
        let local = open(&mut world, &net, 0);
        let reply = to_local(&net, 3, local).flags(SYN | ACK);
        world.receive(LAN, &[reply.build()]);
        let expected = to_client(&net, 0).flags(SYN | ACK);
        assert_eq!(world.only_sent(), (WAN, expected.build()));
    }
}

#[test]
fn a_local_port_serves_one_flow_at_each_server() {
    for net in Net::both() {
        let mut service = web(&net);
        service.servers = vec![(1, 80, 1), (2, 80, 1)];
        service.local = (1, 5000, 5000);
        let mut world = World::new(&[service]);
        let (one, other) = (open(&mut world, &net, 4000), open(&mut world, &net, 4001));
        assert_eq!((one, other), ((net.local(0), 5000), (net.local(0), 5000)));
        // The first flow went to server 2, which was added last.
        for (n, port) in [(2, 4000), (1, 4001)] {
            world.receive(LAN, &[to_local(&net, n, one).flags(SYN | ACK).build()]);
            let expected = to_client(&net, port).flags(SYN | ACK);
            assert_eq!(world.only_sent(), (WAN, expected.build()));
        }
    }
}

#[test]
fn flows_of_two_services_to_one_server_have_different_local_ends() {
    let net = Net::v4();
    let (mut one, mut other) = (web(&net), web(&net));
    one.servers = vec![(1, 80, 1)];
    other.key.port = 81;
    other.servers = vec![(17, 80, 1)];
    for service in [&mut one, &mut other] {
        service.local = (1, 5000, 5003);
    }
    let mut world = World::new(&[one, other]);
    let mut taken = std::collections::BTreeSet::new();
    for port in [4000, 4001] {
        assert!(taken.insert(open(&mut world, &net, port)));
        let syn = net.client_frame().tcp(port, 81).flags(SYN).build();
        world.receive(WAN, &[syn]);
        let h = headers(&world.only_sent().1);
        assert_eq!(h.dst, net.server(1));
        assert!(
            taken.insert((h.src, h.src_port)),
            "taken by the other service"
        );
    }
}

#[test]
fn a_new_flow_without_a_free_local_end_ends_and_touches_no_other() {
    for net in Net::both() {
        let mut service = web(&net);
        service.servers = vec![(1, 80, 1)];
        service.local = (2, 5000, 5002);
        let mut world = World::new(&[service]);
        let taken: Vec<_> = (0..6).map(|n| open(&mut world, &net, 4000 + n)).collect();
        world.moved();
        world.receive(WAN, &[net.syn(5000), net.syn(5001)]);
        assert!(world.sent().is_empty());
        world.assert_moved(&[("drop.local_ports_exhausted", 2)]);
        for (n, local) in taken.into_iter().enumerate() {
            world.receive(LAN, &[to_local(&net, 1, local).flags(SYN | ACK).build()]);
            let expected = to_client(&net, 4000 + n as u16).flags(SYN | ACK);
            assert_eq!(world.only_sent().1, expected.build());
        }
    }
}

/// Were its flow with a NAT server begun, replies to that local end would go astray.
#[test]
fn a_client_that_pretends_to_be_a_local_end_is_a_martian() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net)]);
        let spoofed = PacketBuilder::eth(ROUTER_MAC, WAN_MAC).ip(net.local(0), net.vip);
        world.receive(WAN, &[spoofed.tcp(5000, 80).flags(SYN).build()]);
        world.assert_moved(&[("drop.martian", 1)]);
    }
}

#[test]
fn the_local_end_of_an_ended_flow_is_free_again() {
    let net = Net::v4();
    let mut service = web(&net);
    service.servers = vec![(1, 80, 1)];
    service.local = (1, 5000, 5000);
    let mut world = World::new(&[service]);
    let local = open(&mut world, &net, 4000);
    world.receive(LAN, &[to_local(&net, 1, local).flags(RST | ACK).build()]);
    world.later(3600);
    world.housekeep();
    world.sent();
    assert_eq!(open(&mut world, &net, 4001), local);
}

#[test]
fn a_new_connection_on_the_clients_old_port_gets_another_local_end() {
    let net = Net::v4();
    let mut world = World::new(&[web(&net)]);
    let first = open(&mut world, &net, 4000);
    let server = to_local(&net, 3, first);
    world.receive(LAN, &[server.clone().flags(SYN | ACK).build()]);
    world.receive(WAN, &[net.segment(4000, ACK), net.segment(4000, FIN | ACK)]);
    world.receive(LAN, &[server.flags(FIN | ACK).build()]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    world.sent();
    let second = open(&mut world, &net, 4000);
    assert_ne!(second, first, "server 3 may hold it in TIME-WAIT");
}

#[test]
fn a_segment_of_no_flow_is_refused_and_takes_no_local_end() {
    let net = Net::v4();
    let mut world = World::new(&[web(&net)]);
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(headers(&world.only_sent().1).tcp_flags & RST, RST);
    world.assert_moved(&[("drop.no_flow", 1), ("resets_sent", 1)]);
}

#[test]
fn a_reply_to_a_local_end_of_no_flow_is_linuxs() {
    let net = Net::v4();
    let mut world = World::new(&[web(&net)]);
    let stray = to_local(&net, 3, (net.local(0), 5000)).flags(ACK).build();
    world.receive(LAN, std::slice::from_ref(&stray));
    world.assert_moved(&[("punted", 1)]);
    // Where there is no Linux behind the port, the server is told that the connection is gone.
    world.out.without_twin = vec![LAN];
    world.receive(LAN, &[stray]);
    let (port, out) = world.only_sent();
    let h = headers(&out);
    assert_eq!((port, h.src, h.dst), (LAN, net.local(0), net.server(3)));
    assert_eq!(h.tcp_flags & RST, RST);
}

#[test]
fn a_packet_whose_time_ran_out_is_told_to_whoever_sent_it() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net)]);
        let local = open(&mut world, &net, 4000);
        let frame = PacketBuilder::eth(server_mac(3), LAN_MAC).ip(net.server(3), local.0);
        world.receive(LAN, &[frame.ttl(1).tcp(80, local.1).flags(ACK).build()]);
        let (port, out) = world.only_sent();
        let h = headers(&out);
        assert_eq!((port, h.src, h.dst), (LAN, net.director_lan, net.server(3)));
        assert!(h.is_icmp());
    }
}

fn error(net: &Net) -> (u8, u8) {
    if net.is_v4 { (3, 1) } else { (1, 3) }
}

#[test]
fn an_error_about_a_request_reaches_the_client_in_the_name_of_the_service() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net)]);
        let local = open(&mut world, &net, 4000);
        let quoted = |src: (Addr, u16), dst| {
            let q = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(src.0, dst);
            q.tcp(src.1, 80).flags(SYN).build_ip()
        };
        let (kind, code) = error(&net);
        // A router behind the director speaks, not the server.
        let router = net.server(9);
        let told = PacketBuilder::eth(server_mac(9), LAN_MAC)
            .ip(router, local.0)
            .icmp_error(kind, code, 0, &quoted(local, net.server(3)));
        world.receive(LAN, &[told.build()]);
        let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
            .ip(net.vip, net.client)
            .ttl(63)
            .icmp_error(kind, code, 0, &quoted((net.client, 4000), net.vip));
        assert_eq!(world.only_sent(), (WAN, expected.build()));
    }
}

#[test]
fn an_error_about_a_reply_reaches_the_server_in_its_own_terms() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net)]);
        let local = open(&mut world, &net, 4000);
        let quoted = |src, dst: (Addr, u16)| {
            let q = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(src, dst.0);
            q.tcp(80, dst.1).flags(SYN | ACK).build_ip()
        };
        let (kind, code) = error(&net);
        let router = if net.is_v4 {
            addr("203.0.113.9")
        } else {
            addr("2001:db8:8::9")
        };
        let told = PacketBuilder::eth(ROUTER_MAC, WAN_MAC)
            .ip(router, net.vip)
            .icmp_error(kind, code, 0, &quoted(net.vip, (net.client, 4000)));
        world.receive(WAN, &[told.build()]);
        let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
            .ip(local.0, net.server(3))
            .ttl(63)
            .icmp_error(kind, code, 0, &quoted(net.server(3), local));
        assert_eq!(world.only_sent(), (LAN, expected.build()));
    }
}

#[test]
fn a_path_mtu_told_by_either_side_arrives_unchanged() {
    let net = Net::v4();
    let mut world = World::new(&[web(&net)]);
    let local = open(&mut world, &net, 4000);
    let big = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
    let big = big.tcp(80, 4000).flags(ACK).payload(&[0; 64]).build_ip();
    let told = net.client_frame().icmp_error(3, 4, 1400, &big);
    world.receive(WAN, &[told.build()]);
    let out = world.only_sent().1;
    assert_eq!(
        weir_wire::icmp::too_big_mtu(&out, &headers(&out)),
        Some(1400)
    );
    let big = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(local.0, net.server(3));
    let big = big.tcp(local.1, 80).flags(ACK).payload(&[0; 64]).build_ip();
    let told = PacketBuilder::eth(server_mac(9), LAN_MAC)
        .ip(net.server(9), local.0)
        .icmp_error(3, 4, 1300, &big);
    world.receive(LAN, &[told.build()]);
    let out = world.only_sent().1;
    assert_eq!(
        weir_wire::icmp::too_big_mtu(&out, &headers(&out)),
        Some(1300)
    );
}

#[test]
fn an_error_about_a_local_end_of_no_flow_is_linuxs() {
    let net = Net::v4();
    let mut world = World::new(&[web(&net)]);
    let quoted = PacketBuilder::eth(LAN_MAC, server_mac(3)).ip(net.local(0), net.server(3));
    let quoted = quoted.tcp(5000, 80).flags(SYN).build_ip();
    let told = PacketBuilder::eth(server_mac(9), LAN_MAC)
        .ip(net.server(9), net.local(0))
        .icmp_error(3, 1, 0, &quoted);
    world.receive(LAN, &[told.build()]);
    world.assert_moved(&[("punted", 1)]);
}

/// The one packet that any of the workers sent.
fn only_sent(worlds: &mut [World]) -> (PortId, Vec<u8>) {
    let mut sent: Vec<_> = worlds.iter_mut().flat_map(World::sent).collect();
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

#[test]
fn replies_and_errors_at_any_worker_find_the_flow_and_no_local_end_is_taken_twice() {
    let counts = [2, 3, 8].into_iter();
    let all = counts.flat_map(|n| [Steering::from(n), by_device(n)]);
    for (steering, net) in all.flat_map(|s| Net::both().map(|net| (s.clone(), net))) {
        let count = steering.workers();
        let mut service = web(&net);
        service.servers = vec![(1, 80, 1)];
        service.local = (1, 5000, 5079);
        let mut worlds = workers(steering, &[service]);
        let mut locals = std::collections::BTreeSet::new();
        let mut handed = 0;
        for n in 0..20 {
            let port = 4000 + n;
            worlds[usize::from(n % count)].receive(WAN, &[net.syn(port)]);
            handed += deliver(&mut worlds);
            let h = headers(&only_sent(&mut worlds).1);
            let local = (h.src, h.src_port);
            assert!(locals.insert(local), "{count} workers: {local:?} twice");

            let at = usize::from((n + 1) % count);
            let reply = to_local(&net, 1, local).flags(SYN | ACK);
            worlds[at].receive(LAN, &[reply.build()]);
            handed += deliver(&mut worlds);
            let expected = to_client(&net, port).flags(SYN | ACK);
            assert_eq!(only_sent(&mut worlds), (WAN, expected.build()));

            let quoted = PacketBuilder::eth(LAN_MAC, server_mac(1)).ip(local.0, net.server(1));
            let quoted = quoted.tcp(local.1, 80).flags(ACK).build_ip();
            let (kind, code) = error(&net);
            let told = PacketBuilder::eth(server_mac(9), LAN_MAC).ip(net.server(9), local.0);
            worlds[at].receive(LAN, &[told.icmp_error(kind, code, 0, &quoted).build()]);
            handed += deliver(&mut worlds);
            let h = headers(&only_sent(&mut worlds).1);
            assert_eq!((h.src, h.dst), (net.vip, net.client));

            let quoted = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.vip, net.client);
            let quoted = quoted.tcp(80, port).flags(ACK).build_ip();
            let told = net.client_frame().icmp_error(kind, code, 0, &quoted);
            worlds[at].receive(WAN, &[told.build()]);
            handed += deliver(&mut worlds);
            let h = headers(&only_sent(&mut worlds).1);
            assert_eq!((h.src, h.dst), (local.0, net.server(1)));
        }
        assert!(handed > 0, "nothing came to the wrong worker");
    }
}

/// The director chooses local ends so that the device brings replies to the worker that has the flow.
#[test]
fn where_the_devices_spread_is_known_no_packet_is_handed_over() {
    for net in Net::both() {
        let steering = by_device(3);
        let mut worlds = workers(steering.clone(), &[web(&net)]);
        let mut busy = std::collections::BTreeSet::new();
        for port in 4000..4030 {
            let at = usize::from(steering.owner_of_request(&net.tuple(port), false).0);
            busy.insert(at);
            worlds[at].receive(WAN, &[net.syn(port)]);
            let h = headers(&only_sent(&mut worlds).1);
            let reply = Tuple {
                src: h.dst,
                dst: h.src,
                src_port: h.dst_port,
                dst_port: h.src_port,
                protocol: Protocol::Tcp,
            };
            let queue = usize::from(steering.owner_of_reply_to_local(&reply).0);
            let frame = PacketBuilder::eth(server_mac(3), LAN_MAC).ip(reply.src, reply.dst);
            let frame = frame.tcp(80, reply.dst_port).flags(SYN | ACK);
            worlds[queue].receive(LAN, &[frame.build()]);
            assert_eq!(queue, at);
            let expected = to_client(&net, port).flags(SYN | ACK);
            assert_eq!(only_sent(&mut worlds), (WAN, expected.build()));
        }
        assert_eq!((deliver(&mut worlds), busy.len()), (0, 3));
    }
}

/// The director still has the address, and flows go on by it.
#[test]
fn replies_to_an_address_that_left_the_pool_still_find_the_flow() {
    for net in Net::both() {
        let mut worlds = workers(2, &[web(&net)]);
        let mut handed = 0;
        let mut flows = Vec::new();
        for port in 4000..4004 {
            worlds[0].receive(WAN, &[net.syn(port)]);
            deliver(&mut worlds);
            let h = headers(&only_sent(&mut worlds).1);
            flows.push((port, h.dst, (h.src, h.src_port)));
        }
        for world in &mut worlds {
            world.publish(&[Described::web(&net, Method::Nat)], &[]);
        }
        for (port, server, local) in flows {
            let reply = PacketBuilder::eth(server_mac(3), LAN_MAC).ip(server, local.0);
            let reply = reply.tcp(80, local.1).flags(SYN | ACK);
            worlds[0].receive(LAN, &[reply.build()]);
            handed += deliver(&mut worlds);
            let expected = to_client(&net, port).flags(SYN | ACK);
            assert_eq!(only_sent(&mut worlds), (WAN, expected.build()));
        }
        assert!(handed > 0, "nothing came to the wrong worker");
    }
}
