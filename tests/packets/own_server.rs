//! A server that is the director itself: Linux gets its packets, and answers by the twin.

use weir_core::service::Method;
use weir_core::testing::MemFrame;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{Parsed, parse};

use crate::several_workers::{deliver, workers};
use crate::world::{Described, LAN, Net, ROUTER_MAC, WAN, WAN_MAC, World};

/// HTTP over server 1, which is the director.
fn own(net: &Net, method: Method) -> Described {
    let mut service = Described::web(net, method);
    let port = if method == Method::Nat { 8080 } else { 80 };
    service.servers = vec![(1, port, 1)];
    service
}

fn publish(world: &mut World, net: &Net, method: Method) {
    world.own_addresses = vec![net.server(1)];
    world.publish(&[own(net, method)], &[]);
}

/// What Linux answers to the client on `port`.
fn answer(net: &Net, from: u16, port: u16) -> MemFrame {
    let frame = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.server(1), net.client);
    MemFrame::new(&frame.tcp(from, port).flags(SYN | ACK).build())
}

#[test]
fn a_request_reaches_linux_in_the_servers_terms_and_the_reply_leaves_in_the_services() {
    for net in Net::both() {
        let mut world = World::new(&[]);
        publish(&mut world, &net, Method::Nat);
        // One that is on its last hop has arrived.
        let syn = net.client_frame().ttl(1).tcp(4000, 80).flags(SYN).build();
        world.receive(WAN, &[syn]);
        let (port, frame) = world.out.punted.remove(0);
        let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
            panic!("what Linux gets does not parse");
        };
        assert_eq!(
            (port, h.dst, h.dst_port, h.ttl),
            (WAN, net.server(1), 8080, 1)
        );
        world
            .director
            .send_from_linux(world.now, WAN, answer(&net, 8080, 4000), &mut world.out);
        let (port, frame) = world.only_sent();
        let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
            panic!("the reply does not parse");
        };
        // As from Linux itself, it has gone no hop.
        assert_eq!((port, h.src, h.src_port, h.ttl), (WAN, net.vip, 80, 64));
        assert_eq!(frame[..6], ROUTER_MAC.0);
    }
}

#[test]
fn dr_leaves_the_packet_as_it_is_also_for_loopback() {
    let net = Net::v4();
    for server in [net.server(1), addr("127.0.0.1")] {
        let mut world = World::new(&[]);
        world.own_addresses = vec![net.server(1)];
        let mut service = own(&net, Method::Dr);
        if server.is_loopback() {
            service.servers_of = Net {
                is_loopback: true,
                ..net
            };
        }
        world.publish(&[service], &[]);
        world.receive(WAN, &[net.syn(4000)]);
        assert_eq!(world.out.punted, [(WAN, net.syn(4000))]);
        assert!(world.sent().is_empty());
    }
}

#[test]
fn what_linux_says_otherwise_leaves_as_it_is() {
    let net = Net::v4();
    let mut world = World::new(&[]);
    publish(&mut world, &net, Method::Nat);
    for (from, port) in [(22, 4000), (8080, 5000)] {
        let said = answer(&net, from, port);
        world
            .director
            .send_from_linux(world.now, WAN, said.clone(), &mut world.out);
        let (port, frame) = world.only_sent();
        assert_eq!(
            (port, &frame[..]),
            (WAN, weir_core::io::Frame::bytes(&said))
        );
    }
    // Nobody else may speak in its name.
    let mut spoofed = weir_core::io::Frame::bytes(&answer(&net, 8080, 5000)).to_vec();
    spoofed[..6].copy_from_slice(&crate::world::LAN_MAC.0);
    spoofed[6..12].copy_from_slice(&crate::world::server_mac(7).0);
    world.receive(LAN, &[spoofed]);
    assert!(world.sent().is_empty());
}

#[test]
fn a_reply_finds_the_worker_that_has_the_flow() {
    let net = Net::v4();
    let mut worlds = workers(3, &[]);
    for world in &mut worlds {
        publish(world, &net, Method::Nat);
    }
    for client in 4000..4020 {
        worlds[0].receive(WAN, &[net.syn(client)]);
        deliver(&mut worlds);
        for world in &mut worlds {
            let said = answer(&net, 8080, client);
            world
                .director
                .send_from_linux(world.now, WAN, said, &mut world.out);
        }
        deliver(&mut worlds);
        for world in &mut worlds {
            for (_, frame) in world.sent() {
                let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
                    panic!("the reply does not parse");
                };
                assert_eq!((h.src, h.src_port, h.ttl), (net.vip, 80, 64));
            }
        }
    }
}

/// Where nothing listens Linux says so, about the packet that it was given.
#[test]
fn an_error_of_linux_reaches_the_client_in_the_services_terms() {
    for net in Net::both() {
        let mut world = World::new(&[]);
        publish(&mut world, &net, Method::Nat);
        world.receive(WAN, &[net.syn(4000)]);
        let quoted = |to, port| {
            let sent = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(net.client, to);
            sent.tcp(4000, port).flags(SYN).seq(1000).build_ip()
        };
        let error = |from, quoted: Vec<u8>| {
            let (kind, code) = if net.is_v4 { (3, 3) } else { (1, 4) };
            let eth = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(from, net.client);
            eth.icmp_error(kind, code, 0, &quoted).build()
        };
        let said = MemFrame::new(&error(net.server(1), quoted(net.server(1), 8080)));
        world
            .director
            .send_from_linux(world.now, WAN, said, &mut world.out);
        assert_eq!(
            world.only_sent(),
            (WAN, error(net.vip, quoted(net.vip, 80)))
        );
        // About another packet it leaves as it is.
        let other = error(net.server(1), quoted(net.server(1), 8081));
        let said = MemFrame::new(&other);
        world
            .director
            .send_from_linux(world.now, WAN, said, &mut world.out);
        assert_eq!(world.only_sent(), (WAN, other));
    }
}
