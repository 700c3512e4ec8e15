use std::vec;

use weir_wire::builder::addr;

use super::*;

fn out(gateway: Option<&str>, mtu: Option<u16>) -> Target {
    Target::Out {
        interface: InterfaceId(0),
        gateway: gateway.map(addr),
        source: None,
        mtu,
    }
}

fn route(prefix: &str, len: u8, target: Target) -> Route {
    Route {
        prefix: addr(prefix),
        len,
        target,
    }
}

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn network(routes: Vec<Route>) -> Network {
    let interface = Interface {
        port: PortId(3),
        vlan: 7,
        mac: Mac([2, 0, 0, 0, 0, 9]),
        mtu: 1500,
        source_v4: Some(addr("10.0.0.254")),
        source_v6: None,
    };
    Network::new(
        vec![interface],
        [addr("10.0.0.254")],
        routes,
        [((InterfaceId(0), addr("10.0.0.1")), ROUTER)],
    )
}

fn neighbour_asked(network: &Network, dst: &str) -> Option<Addr> {
    match network.resolve(addr(dst)) {
        Hop::Unresolved { neighbour, .. } => Some(neighbour),
        _ => None,
    }
}

#[test]
fn the_longest_prefix_wins_whatever_the_order() {
    let network = network(vec![
        route("0.0.0.0", 96, out(Some("10.0.0.2"), None)),
        route("172.16.5.0", 96 + 24, out(Some("10.0.0.3"), None)),
        route("172.16.0.0", 96 + 12, out(Some("10.0.0.4"), None)),
        route("172.16.5.9", 128, Target::Unreachable),
    ]);
    for (dst, router) in [
        ("172.16.5.1", "10.0.0.3"),
        ("172.16.6.1", "10.0.0.4"),
        ("8.8.8.8", "10.0.0.2"),
    ] {
        assert_eq!(neighbour_asked(&network, dst), Some(addr(router)), "{dst}");
    }
    assert_eq!(network.resolve(addr("172.16.5.9")), Hop::Unreachable);
}

#[test]
fn the_default_route_of_one_family_is_not_the_others() {
    let network = network(vec![route("::", 0, out(Some("2001:db8::1"), None))]);
    assert_eq!(network.resolve(addr("192.0.2.1")), Hop::Unreachable);
    assert!(neighbour_asked(&network, "2001:db8:5::1").is_some());
}

#[test]
fn a_known_router_gives_the_whole_hop() {
    let network = network(vec![route(
        "0.0.0.0",
        96,
        out(Some("10.0.0.1"), Some(1400)),
    )]);
    let Hop::Ready(hop) = network.resolve(addr("192.0.2.1")) else {
        panic!("the router is known");
    };
    assert_eq!((hop.port, hop.vlan, hop.dst), (PortId(3), 7, ROUTER));
    assert_eq!((hop.mtu, hop.source), (1400, Some(addr("10.0.0.254"))));
}

#[test]
fn of_two_routes_to_one_prefix_the_first_counts() {
    let network = network(vec![
        route("0.0.0.0", 96, out(Some("10.0.0.2"), None)),
        route("0.0.0.0", 96, out(Some("10.0.0.3"), None)),
    ]);
    assert_eq!(neighbour_asked(&network, "8.8.8.8"), Some(addr("10.0.0.2")));
}

#[test]
fn an_own_address_is_local() {
    assert_eq!(network(vec![]).resolve(addr("10.0.0.254")), Hop::Local);
}
