//! AH and ESP follow the key exchange of their client.

use weir_core::service::{Method, Protocol};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::protocol::{AH, ESP};

use crate::several_workers::{deliver, workers};
use crate::world::{Described, LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, World, server_mac};

fn service(net: &Net, method: Method) -> Described {
    let mut service = Described::web(net, method);
    (service.key.protocol, service.key.port) = (Protocol::Udp, 500);
    service.servers.iter_mut().for_each(|server| server.1 = 500);
    service
}

fn exchange(net: &Net) -> Vec<u8> {
    net.client_frame().udp(500, 500).payload(b"hello").build()
}

fn packet(net: &Net, protocol: u8) -> Vec<u8> {
    let packet = net.client_frame().raw(protocol);
    packet.payload(&[7; 24]).build()
}

#[test]
fn what_comes_before_the_key_exchange_is_linuxs() {
    let net = Net::v4();
    for protocol in [AH, ESP] {
        let mut world = World::new(&[service(&net, Method::Dr)]);
        world.receive(WAN, &[packet(&net, protocol)]);
        world.assert_moved(&[("punted", 1)]);
        // Another client's exchange is not its own, nor one from another port.
        let mut other = net;
        other.client = addr("198.51.100.9");
        let elsewhere = net.client_frame().udp(4500, 500).build();
        world.receive(WAN, &[exchange(&other), elsewhere]);
        world.moved();
        world.receive(WAN, &[packet(&net, protocol)]);
        world.assert_moved(&[("punted", 1)]);
    }
}

#[test]
fn it_goes_to_the_server_of_the_exchange_and_keeps_the_flow_alive() {
    let net = Net::v4();
    for protocol in [AH, ESP] {
        for method in [Method::Dr, Method::Nat] {
            let mut world = World::new(&[service(&net, method)]);
            world.receive(WAN, &[exchange(&net)]);
            world.sent();
            world.moved();
            world.later(200);
            world.receive(WAN, &[packet(&net, protocol)]);
            let to = match method {
                Method::Nat => net.server(3),
                _ => net.vip,
            };
            let expected = PacketBuilder::eth(LAN_MAC, server_mac(3))
                .ip(net.client, to)
                .ttl(63)
                .raw(protocol)
                .payload(&[7; 24]);
            assert_eq!(world.only_sent(), (LAN, expected.build()));
            world.assert_moved(&[
                ("forwarded", 1),
                ("rs3.bytes_in", 44),
                ("rs3.packets_in", 1),
            ]);
            world.later(200);
            world.housekeep();
            assert_eq!(world.director.flows().len(), 1);
            if method == Method::Nat {
                let reply = net.server_frame(3).raw(protocol).payload(&[8; 16]);
                world.receive(LAN, &[reply.build()]);
                let expected = PacketBuilder::eth(WAN_MAC, ROUTER_MAC)
                    .ip(net.vip, net.client)
                    .ttl(63)
                    .raw(protocol)
                    .payload(&[8; 16]);
                assert_eq!(world.only_sent(), (WAN, expected.build()));
            }
        }
    }
}

#[test]
fn esp_over_ipv6_goes_the_same_way() {
    let net = Net::v6();
    let mut world = World::new(&[service(&net, Method::Dr)]);
    world.receive(WAN, &[exchange(&net), packet(&net, ESP)]);
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|(_, frame)| frame[5] == 3));
}

#[test]
fn a_removed_servers_packets_end() {
    let net = Net::v4();
    let services = [service(&net, Method::Dr)];
    let mut world = World::new(&services);
    world.receive(WAN, &[exchange(&net)]);
    world.publish(&services, &[3]);
    world.moved();
    world.receive(WAN, &[packet(&net, ESP)]);
    world.assert_moved(&[("drop.server_removed", 1)]);
}

#[test]
fn it_reaches_the_worker_that_has_the_exchange() {
    for method in [Method::Dr, Method::Nat] {
        for n in 1..20 {
            let mut net = Net::v4();
            net.client = weir_wire::Addr::from_v4_bytes([198, 51, 100, n]);
            let mut worlds = workers(3, &[service(&net, method)]);
            worlds[0].receive(WAN, &[exchange(&net)]);
            deliver(&mut worlds);
            worlds.iter_mut().for_each(|world| drop(world.sent()));
            for at in 0..3 {
                worlds[at].receive(WAN, &[packet(&net, ESP)]);
                deliver(&mut worlds);
                let sent = worlds.iter_mut().map(|world| world.sent().len());
                assert_eq!(sent.sum::<usize>(), 1, "worker {at}, client {n}");
                if method == Method::Nat {
                    worlds[at].receive(LAN, &[net.server_frame(3).raw(ESP).build()]);
                    deliver(&mut worlds);
                    let sent = worlds.iter_mut().map(|world| world.sent().len());
                    assert_eq!(sent.sum::<usize>(), 1, "reply at {at}, client {n}");
                }
            }
        }
    }
}
