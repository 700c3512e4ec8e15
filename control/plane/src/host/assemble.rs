//! Linux's network and the configuration's, put together for the workers.
//!
//! What the configuration says wins over Linux. Weir sends by its ports only: a route of Linux by
//! another interface refuses its destinations here.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use weir_core::io::PortId;
use weir_core::next_hop::{Interface, InterfaceId, Network, Route, Target};
use weir_model::api::{NeighbourView, Origin, RouteView};
use weir_model::{Config, Port};
use weir_wire::{Addr, Family, Mac};

use super::follow::LinuxNetwork;
use crate::state::Ways;

/// What is known of a port that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its MTU in bytes.
    pub mtu: u16,
    /// The index of its twin in Linux, if it has one.
    pub twin: Option<u32>,
}

/// Which of Weir's interfaces is which of Linux's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    list: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    port: u16,
    vlan: u16,
    link: Option<u32>,
}

impl Interfaces {
    /// The index in Linux of an interface that has a twin.
    #[must_use]
    pub fn link_of(&self, interface: InterfaceId) -> Option<u32> {
        self.list.get(usize::from(interface.0))?.link
    }

    fn by_link(&self, link: u32) -> Option<(InterfaceId, &Place)> {
        let at = self.list.iter().position(|p| p.link == Some(link))?;
        Some((InterfaceId(at as u16), &self.list[at]))
    }

    fn by_port(&self, port: u16, vlan: u16) -> Option<InterfaceId> {
        let at = self
            .list
            .iter()
            .position(|p| p.port == port && p.vlan == vlan)?;
        Some(InterfaceId(at as u16))
    }
}

/// The network for the workers, and what people are told of it. `facts` are those of the
/// configuration's ports, in its order.
#[must_use]
pub fn assemble(config: &Config, facts: &[PortFacts], linux: &LinuxNetwork) -> (Ways, Interfaces) {
    let places = places(config, facts, linux);
    let mut build = Build {
        config,
        linux,
        places: &places,
        routes: Vec::new(),
        route_views: Vec::new(),
        neighbours: HashMap::new(),
        neighbour_views: Vec::new(),
    };
    build.static_routes();
    build.linux_routes();
    build.neighbours();
    let interfaces = places
        .list
        .iter()
        .map(|place| interface(config, facts, linux, place))
        .collect();
    let configured = config.ports.iter().flat_map(own_addresses);
    let locals = linux
        .addresses
        .iter()
        .map(|(_, net)| *net)
        .chain(configured);
    let ways = Ways {
        network: Network::new(
            interfaces,
            locals.map(|net| net.addr().into()),
            build.routes,
            build.neighbours,
        ),
        neighbours: build.neighbour_views,
        routes: build.route_views,
    };
    (ways, places)
}

fn own_addresses(port: &Port) -> impl Iterator<Item = IpNet> {
    let tagged = port.vlans.iter().flat_map(|vlan| &vlan.addresses);
    port.addresses.iter().chain(tagged).copied()
}

/// Every port and every VLAN on it that the configuration or Linux knows.
fn places(config: &Config, facts: &[PortFacts], linux: &LinuxNetwork) -> Interfaces {
    let mut list: Vec<Place> = Vec::new();
    for (at, (port, fact)) in config.ports.iter().zip(facts).enumerate() {
        let id = at as u16;
        list.push(Place {
            port: id,
            vlan: 0,
            link: fact.twin,
        });
        let in_linux = linux.links.iter().filter_map(|(index, link)| {
            let (parent, vlan) = link.vlan?;
            (Some(parent) == fact.twin).then_some((vlan, *index))
        });
        let in_linux: HashMap<u16, u32> = in_linux.collect();
        let configured = port.vlans.iter().map(|vlan| vlan.id);
        let mut ids: Vec<u16> = configured.chain(in_linux.keys().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        list.extend(ids.into_iter().map(|vlan| Place {
            port: id,
            vlan,
            link: in_linux.get(&vlan).copied(),
        }));
    }
    Interfaces { list }
}

fn interface(
    config: &Config,
    facts: &[PortFacts],
    linux: &LinuxNetwork,
    place: &Place,
) -> Interface {
    let fact = facts[usize::from(place.port)];
    let link_mtu = place.link.and_then(|link| linux.links.get(&link));
    let link_mtu = link_mtu.map_or(u32::from(fact.mtu), |link| link.mtu);
    let addresses: Vec<IpNet> = match place.link {
        // The configuration's first, in its order: Linux lists the newest IPv6 address first, and
        // that may be a VIP.
        Some(link) => {
            let on_link = linux.addresses.iter().filter(|(at, _)| *at == link);
            let on_link: Vec<IpNet> = on_link.map(|(_, net)| *net).collect();
            let mut addresses = configured_addresses(config, place);
            addresses.retain(|net| on_link.contains(net));
            addresses.extend(on_link);
            addresses
        }
        None => configured_addresses(config, place),
    };
    Interface {
        port: PortId(place.port),
        vlan: place.vlan,
        mac: Mac(fact.mac),
        mtu: fact.mtu.min(link_mtu.min(u32::from(u16::MAX)) as u16),
        source_v4: source(&addresses, Family::V4),
        source_v6: source(&addresses, Family::V6),
    }
}

fn configured_addresses(config: &Config, place: &Place) -> Vec<IpNet> {
    let port = &config.ports[usize::from(place.port)];
    if place.vlan == 0 {
        return port.addresses.clone();
    }
    let vlan = port.vlans.iter().find(|vlan| vlan.id == place.vlan);
    vlan.map(|vlan| vlan.addresses.clone()).unwrap_or_default()
}

/// The address that the director itself speaks from: the first of a network, not a VIP alone and
/// not a link-local one, unless there is no other.
fn source(addresses: &[IpNet], family: Family) -> Option<Addr> {
    let usable = |net: &&IpNet| {
        let addr = Addr::from(net.addr());
        addr.family() == family && !addr.is_link_local()
    };
    let of_network = |net: &&IpNet| net.prefix_len() < net.max_prefix_len();
    let mut all = addresses.iter().filter(usable);
    let best = all.clone().find(of_network).or_else(|| all.next());
    best.map(|net| net.addr().into())
}

struct Build<'a> {
    config: &'a Config,
    linux: &'a LinuxNetwork,
    places: &'a Interfaces,
    routes: Vec<Route>,
    route_views: Vec<RouteView>,
    neighbours: HashMap<(InterfaceId, Addr), Mac>,
    neighbour_views: Vec<NeighbourView>,
}

impl Build<'_> {
    fn port_id(&self, name: &str) -> Option<u16> {
        let at = self
            .config
            .ports
            .iter()
            .position(|port| port.name == name)?;
        Some(at as u16)
    }

    fn port_name(&self, port: u16) -> String {
        self.config.ports[usize::from(port)].name.clone()
    }

    fn static_routes(&mut self) {
        for route in &self.config.routes {
            let vlan = route.vlan.unwrap_or(0);
            let interface = self
                .port_id(&route.port)
                .and_then(|port| self.places.by_port(port, vlan));
            let Some(interface) = interface else { continue };
            self.routes.push(Route {
                prefix: route.to.addr().into(),
                len: bits(&route.to),
                target: Target::Out {
                    interface,
                    gateway: route.via.map(Addr::from),
                    source: None,
                    mtu: None,
                },
            });
            self.route_views.push(RouteView {
                to: route.to,
                via: route.via,
                port: Some(route.port.clone()),
                vlan: route.vlan,
                source: None,
                origin: Origin::Config,
            });
        }
        for (at, place) in self.places.list.iter().enumerate() {
            // With a twin, Linux makes these routes from the same addresses.
            if place.link.is_none() {
                for net in configured_addresses(self.config, place) {
                    self.on_link(InterfaceId(at as u16), place, net);
                }
            }
        }
    }

    fn on_link(&mut self, interface: InterfaceId, place: &Place, net: IpNet) {
        if net.prefix_len() == net.max_prefix_len() {
            return;
        }
        self.routes.push(Route {
            prefix: net.network().into(),
            len: bits(&net),
            target: Target::Out {
                interface,
                gateway: None,
                source: Some(net.addr().into()),
                mtu: None,
            },
        });
        self.route_views.push(RouteView {
            to: net.trunc(),
            via: None,
            port: Some(self.port_name(place.port)),
            vlan: Some(place.vlan).filter(|vlan| *vlan != 0),
            source: Some(net.addr()),
            origin: Origin::Config,
        });
    }

    fn linux_routes(&mut self) {
        for route in &self.linux.routes {
            // Every link has its own fe80::/64: they would hide each other. Routers with such
            // addresses are found by their route's interface.
            if Addr::from(route.to.addr()).is_link_local() {
                continue;
            }
            let out = route.link.and_then(|link| self.places.by_link(link));
            let target = match out {
                Some((interface, _)) => Target::Out {
                    interface,
                    gateway: route.gateway.map(Addr::from),
                    source: route.source.map(Addr::from),
                    mtu: route.mtu.map(|mtu| mtu.min(u32::from(u16::MAX)) as u16),
                },
                None => Target::Unreachable,
            };
            self.routes.push(Route {
                prefix: route.to.addr().into(),
                len: bits(&route.to),
                target,
            });
            let place = out.map(|(_, place)| place);
            self.route_views.push(RouteView {
                to: route.to,
                via: route.gateway,
                port: place.map(|place| self.port_name(place.port)),
                vlan: place.map(|place| place.vlan).filter(|vlan| *vlan != 0),
                source: route.source,
                origin: Origin::Linux,
            });
        }
    }

    fn neighbours(&mut self) {
        for neighbour in &self.config.neighbours {
            let vlan = neighbour.vlan.unwrap_or(0);
            let interface = self
                .port_id(&neighbour.port)
                .and_then(|port| self.places.by_port(port, vlan));
            let Some(interface) = interface else { continue };
            self.neighbours
                .insert((interface, neighbour.address.into()), Mac(neighbour.mac.0));
            self.neighbour_views.push(NeighbourView {
                address: neighbour.address,
                mac: Some(neighbour.mac),
                port: neighbour.port.clone(),
                vlan: neighbour.vlan,
                state: "permanent".to_owned(),
                origin: Origin::Config,
            });
        }
        for neighbour in &self.linux.neighbours {
            let Some((interface, place)) = self.places.by_link(neighbour.link) else {
                continue;
            };
            let address: IpAddr = neighbour.address;
            if address.is_multicast() {
                continue;
            }
            self.neighbours
                .entry((interface, address.into()))
                .or_insert(Mac(neighbour.mac));
            self.neighbour_views.push(NeighbourView {
                address,
                mac: Some(weir_model::Mac(neighbour.mac)),
                port: self.port_name(place.port),
                vlan: Some(place.vlan).filter(|vlan| *vlan != 0),
                state: neighbour.state.to_owned(),
                origin: Origin::Linux,
            });
        }
    }
}

/// A prefix's length among 128 bits: an IPv4 address is the last 32 of `::ffff:a.b.c.d`.
fn bits(net: &IpNet) -> u8 {
    match net {
        IpNet::V4(net) => 96 + net.prefix_len(),
        IpNet::V6(net) => net.prefix_len(),
    }
}

#[cfg(test)]
mod tests;
