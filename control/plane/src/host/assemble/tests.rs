use std::net::IpAddr;

use weir_core::next_hop::Hop;

use super::super::follow::{LinuxLink, LinuxNeighbour, LinuxRoute};
use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TWIN: u32 = 7;

fn config(more: &str) -> Config {
    let text = format!("[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\n{more}");
    weir_model::parse(&text, "test.toml")
        .expect("the test's configuration is valid")
        .config
}

fn facts(twin: Option<u32>) -> [PortFacts; 1] {
    [PortFacts {
        mac: MAC,
        mtu: 1500,
        twin,
    }]
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn link(mtu: u32, vlan: Option<(u32, u16)>) -> LinuxLink {
    LinuxLink {
        name: String::new(),
        mtu,
        vlan,
    }
}

fn route(to: &str, link: Option<u32>, gateway: Option<&str>) -> LinuxRoute {
    LinuxRoute {
        priority: 0,
        to: net(to),
        link,
        gateway: gateway.map(ip),
        source: None,
        mtu: None,
    }
}

fn neighbour(link: u32, address: &str, last: u8) -> LinuxNeighbour {
    LinuxNeighbour {
        link,
        address: ip(address),
        mac: [2, 0, 0, 0, 9, last],
        state: "reachable",
    }
}

/// The way as `mac of the neighbour, VLAN, MTU, source`, when all of it is known.
fn way(ways: &Ways, to: &str) -> Option<(u8, u16, u16, Option<IpAddr>)> {
    match ways.network.resolve(ip(to).into()) {
        Hop::Ready(hop) => Some((
            hop.dst.0[5],
            hop.vlan,
            hop.mtu,
            hop.source.map(IpAddr::from),
        )),
        _ => None,
    }
}

#[test]
fn linuxs_routes_and_neighbours_by_a_twin_become_ways() {
    let linux = LinuxNetwork {
        links: [(TWIN, link(1400, None))].into(),
        addresses: vec![(TWIN, net("192.0.2.100/32")), (TWIN, net("192.0.2.1/24"))],
        routes: vec![
            route("0.0.0.0/0", Some(TWIN), Some("192.0.2.254")),
            route("192.0.2.0/24", Some(TWIN), None),
        ],
        neighbours: vec![
            neighbour(TWIN, "192.0.2.254", 1),
            neighbour(TWIN, "192.0.2.9", 2),
        ],
    };
    let (ways, interfaces) = assemble(&config(""), &facts(Some(TWIN)), &linux);
    // The source is the address of the network, not the VIP; the MTU is the smaller one.
    let source = Some(ip("192.0.2.1"));
    assert_eq!(way(&ways, "8.8.8.8"), Some((1, 0, 1400, source)));
    assert_eq!(way(&ways, "192.0.2.9"), Some((2, 0, 1400, source)));
    let unknown = ways.network.resolve(ip("192.0.2.10").into());
    assert!(matches!(unknown, Hop::Unresolved { .. }));
    assert_eq!(ways.network.resolve(ip("192.0.2.100").into()), Hop::Local);
    assert_eq!(interfaces.link_of(InterfaceId(0)), Some(TWIN));
    assert_eq!((ways.routes.len(), ways.neighbours.len()), (2, 2));
}

#[test]
fn a_route_by_an_interface_that_is_not_ours_refuses() {
    let linux = LinuxNetwork {
        routes: vec![
            route("10.0.0.0/8", Some(2), None),
            route("172.16.0.0/12", None, None),
        ],
        ..LinuxNetwork::default()
    };
    let (ways, _) = assemble(&config(""), &facts(Some(TWIN)), &linux);
    for to in ["10.1.1.1", "172.16.1.1"] {
        assert_eq!(ways.network.resolve(ip(to).into()), Hop::Unreachable);
    }
    assert!(ways.routes.iter().all(|route| route.port.is_none()));
}

#[test]
fn the_configuration_wins_over_linux() {
    let config = config(
        "[[route]]\nto = \"0.0.0.0/0\"\nvia = \"192.0.2.5\"\nport = \"wan\"\n\
         [[neighbour]]\naddress = \"192.0.2.5\"\nmac = \"02:00:00:00:09:55\"\nport = \"wan\"\n",
    );
    let linux = LinuxNetwork {
        links: [(TWIN, link(1500, None))].into(),
        routes: vec![route("0.0.0.0/0", Some(TWIN), Some("192.0.2.254"))],
        neighbours: vec![
            neighbour(TWIN, "192.0.2.254", 1),
            neighbour(TWIN, "192.0.2.5", 2),
        ],
        ..LinuxNetwork::default()
    };
    let (ways, _) = assemble(&config, &facts(Some(TWIN)), &linux);
    assert_eq!(way(&ways, "8.8.8.8").map(|way| way.0), Some(0x55));
}

#[test]
fn a_vlan_of_linux_on_a_twin_is_an_interface() {
    let linux = LinuxNetwork {
        links: [(TWIN, link(1500, None)), (8, link(1500, Some((TWIN, 100))))].into(),
        addresses: vec![(8, net("10.0.0.254/24"))],
        routes: vec![route("10.0.0.0/24", Some(8), None)],
        neighbours: vec![neighbour(8, "10.0.0.1", 3)],
    };
    let (ways, interfaces) = assemble(&config(""), &facts(Some(TWIN)), &linux);
    let source = Some(ip("10.0.0.254"));
    assert_eq!(way(&ways, "10.0.0.1"), Some((3, 100, 1500, source)));
    assert_eq!(interfaces.link_of(InterfaceId(1)), Some(8));
    assert_eq!(ways.neighbours[0].vlan, Some(100));
}

#[test]
fn without_twin_the_configured_addresses_give_the_routes() {
    let config = config(
        "twin = false\naddresses = [\"192.0.2.1/24\", \"192.0.2.100/32\"]\n\
         [[neighbour]]\naddress = \"192.0.2.9\"\nmac = \"02:00:00:00:09:09\"\nport = \"wan\"\n",
    );
    let (ways, _) = assemble(&config, &facts(None), &LinuxNetwork::default());
    let source = Some(ip("192.0.2.1"));
    assert_eq!(way(&ways, "192.0.2.9"), Some((9, 0, 1500, source)));
    assert_eq!(ways.network.resolve(ip("192.0.2.100").into()), Hop::Local);
    assert_eq!(ways.network.resolve(ip("8.8.8.8").into()), Hop::Unreachable);
}

#[test]
fn a_younger_vip_does_not_become_the_source() {
    let config = config("addresses = [\"2001:db8:1::1/64\"]\n");
    let linux = LinuxNetwork {
        links: [(TWIN, link(1500, None))].into(),
        // Linux lists the newest IPv6 address first.
        addresses: vec![
            (TWIN, net("2001:db8:1::100/64")),
            (TWIN, net("2001:db8:1::1/64")),
        ],
        routes: vec![route("2001:db8:1::/64", Some(TWIN), None)],
        neighbours: vec![neighbour(TWIN, "2001:db8:1::9", 9)],
    };
    let (ways, _) = assemble(&config, &facts(Some(TWIN)), &linux);
    let source = way(&ways, "2001:db8:1::9").and_then(|way| way.3);
    assert_eq!(source, Some(ip("2001:db8:1::1")));
}
