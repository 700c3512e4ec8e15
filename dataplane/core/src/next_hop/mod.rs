//! Where a packet leaves: local addresses, routes and neighbours, as Linux or the configuration
//! has them.
//!
//! This is a table, not a neighbour machine: Linux resolves, control follows it by rtnetlink and
//! publishes the result. IPv4 lives in the same 128-bit space as IPv6 (see [`weir_wire::Addr`]), so
//! there is one routing table; an IPv4 prefix of length n has length 96 + n here.

pub mod park;

use alloc::vec::Vec;

use hashbrown::{HashMap, HashSet};
use weir_wire::plain::{self, Ip, V4, V6};
use weir_wire::{Addr, Family, Mac, ether_type, rewrite};

use crate::io::PortId;
use crate::own_filter::OwnFilter;

/// An interface of the director: a port, or a VLAN on it. Dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u16);

/// A port or a VLAN on it, as packets leave by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The port.
    pub port: PortId,
    /// The VLAN ID, 0 for untagged.
    pub vlan: u16,
    /// The source of frames.
    pub mac: Mac,
    /// Biggest IP packet in bytes.
    pub mtu: u16,
    /// Source of IPv4 packets that Weir makes here, when the route names none.
    pub source_v4: Option<Addr>,
    /// Source of IPv6 packets that Weir makes here, when the route names none.
    pub source_v6: Option<Addr>,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The prefix's first address.
    pub prefix: Addr,
    /// Length in bits in the 128-bit space: 96 more than usual for IPv4.
    pub len: u8,
    /// What happens to packets under it.
    pub target: Target,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Leave by an interface.
    Out {
        /// Which.
        interface: InterfaceId,
        /// The router; none when the destination is on the link.
        gateway: Option<Addr>,
        /// Preferred source of packets that the director makes.
        source: Option<Addr>,
        /// The route's own MTU, where it has one.
        mtu: Option<u16>,
    },
    /// Refused: unreachable, prohibit, blackhole, or by an interface that is not ours.
    Unreachable,
}

/// What is known about the way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Known to the last byte.
    Ready(NextHop),
    /// The neighbour has to be asked for.
    Unresolved {
        /// Where.
        interface: InterfaceId,
        /// Whom: the destination itself or its router.
        neighbour: Addr,
        /// All but the MAC address of the neighbour.
        hop: NextHop,
    },
    /// One of the director's own addresses.
    Local,
    /// No route.
    Unreachable,
}

/// The last step of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The port to leave by.
    pub port: PortId,
    /// The VLAN ID, 0 for untagged.
    pub vlan: u16,
    /// Destination of the frame.
    pub dst: Mac,
    /// Source of the frame.
    pub src: Mac,
    /// Biggest IP packet in bytes.
    pub mtu: u16,
    /// Source address of packets the director makes this way (outer headers), if it has one.
    pub source: Option<Addr>,
}

impl NextHop {
    /// For plain packets of a family, which leave untagged.
    pub(crate) fn plain(&self, family: Family) -> Option<PlainHop> {
        let kind = match family {
            Family::V4 => ether_type::IPV4,
            Family::V6 => ether_type::IPV6,
        };
        let mut link = [0; plain::ETHERNET_LEN];
        rewrite::write_ethernet(&mut link, self.dst, self.src, 0, kind);
        (self.vlan == 0).then_some(PlainHop {
            link,
            port: self.port,
            mtu: self.mtu,
        })
    }
}

/// The last step of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainHop {
    /// Its Ethernet header.
    pub(crate) link: [u8; plain::ETHERNET_LEN],
    /// The port to leave by.
    pub(crate) port: PortId,
    /// Biggest IP packet in bytes.
    pub(crate) mtu: u16,
}

impl PlainHop {
    /// Carries nothing.
    pub(crate) const NONE: Self = Self {
        link: [0; plain::ETHERNET_LEN],
        port: PortId(u16::MAX),
        mtu: 0,
    };
}

/// A route as plain packets of its family take it, its prefix and mask as packets have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainRoute<I: Ip> {
    prefix: I::Addr,
    mask: I::Addr,
    /// None: on the link, refused, or the router's MAC address is not known.
    hop: Option<PlainHop>,
}

/// The routes of each family, longest prefixes first; none when there are too many.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PlainRoutes {
    v4: Vec<PlainRoute<V4>>,
    v6: Vec<PlainRoute<V6>>,
}

/// A family that has its own among them.
pub(crate) trait Routed: Ip {
    fn routes(all: &PlainRoutes) -> &[PlainRoute<Self>];
}

impl Routed for V4 {
    #[inline(always)]
    fn routes(all: &PlainRoutes) -> &[PlainRoute<Self>] {
        &all.v4
    }
}

impl Routed for V6 {
    #[inline(always)]
    fn routes(all: &PlainRoutes) -> &[PlainRoute<Self>] {
        &all.v6
    }
}

/// With more routes of a family than this, looking at them one by one costs more than the general way.
const PLAIN_ROUTES_MAX: usize = 16;

/// Interfaces, local addresses, routes and neighbours at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Network {
    interfaces: Vec<Interface>,
    locals: HashSet<Addr>,
    /// Longest prefixes first.
    routes: Vec<(u8, HashMap<u128, Target>)>,
    neighbours: HashMap<(InterfaceId, Addr), Mac>,
    plain: PlainRoutes,
    /// The same addresses as `locals`.
    own: OwnFilter,
    /// No way has a smaller MTU.
    mtu_min: u16,
}

impl Network {
    /// Indexes what control collected. Of several routes for one prefix the first counts.
    #[must_use]
    pub fn new(
        interfaces: Vec<Interface>,
        locals: impl IntoIterator<Item = Addr>,
        routes: impl IntoIterator<Item = Route>,
        neighbours: impl IntoIterator<Item = ((InterfaceId, Addr), Mac)>,
    ) -> Self {
        let mut by_len: Vec<(u8, HashMap<u128, Target>)> = Vec::new();
        for route in routes {
            let at = match by_len.binary_search_by(|(len, _)| route.len.cmp(len)) {
                Ok(at) => at,
                Err(at) => {
                    by_len.insert(at, (route.len, HashMap::new()));
                    at
                }
            };
            by_len[at]
                .1
                .entry(masked(route.prefix.0, route.len))
                .or_insert(route.target);
        }
        let mut network = Self {
            interfaces,
            locals: locals.into_iter().collect(),
            routes: by_len,
            neighbours: neighbours.into_iter().collect(),
            plain: PlainRoutes::default(),
            own: OwnFilter::default(),
            mtu_min: 0,
        };
        network.plain = PlainRoutes {
            v4: network.plain_routes(),
            v6: network.plain_routes(),
        };
        network
            .locals
            .iter()
            .for_each(|addr| network.own.add(*addr));
        network.mtu_min = network.least_mtu();
        network
    }

    fn least_mtu(&self) -> u16 {
        let of_routes = self.routes.iter().flat_map(|(_, routes)| routes.values());
        let of_routes = of_routes.filter_map(|target| match target {
            Target::Out { mtu, .. } => *mtu,
            Target::Unreachable => None,
        });
        let all = self.interfaces.iter().map(|interface| interface.mtu);
        all.chain(of_routes).min().unwrap_or(0)
    }

    /// True for an IP packet of so many bytes that fits every way there is.
    #[inline]
    pub(crate) fn always_carries(&self, bytes: usize) -> bool {
        bytes <= usize::from(self.mtu_min)
    }

    /// False for an address, as packets have it, that is none of the director's own.
    #[inline(always)]
    pub(crate) fn may_be_local<I: Ip>(&self, addr: I::Addr) -> bool {
        self.own.may_have::<I>(addr)
    }

    fn plain_routes<I: Ip>(&self) -> Vec<PlainRoute<I>> {
        let all = self.routes.iter();
        let all = all.flat_map(|(len, routes)| {
            let of_len = routes.iter();
            of_len.map(|(prefix, target)| (*len, Addr(*prefix), target))
        });
        let plain: Vec<PlainRoute<I>> = all
            .filter(|(_, prefix, _)| prefix.family() == I::FAMILY)
            .map(|(len, prefix, target)| PlainRoute {
                prefix: I::addr_of(prefix),
                mask: I::addr_of(Addr(masked(u128::MAX, len))),
                hop: match target {
                    Target::Out {
                        gateway: Some(gateway),
                        ..
                    } => match self.out(*gateway, target) {
                        Hop::Ready(hop) => hop.plain(I::FAMILY),
                        _ => None,
                    },
                    _ => None,
                },
            })
            .take(PLAIN_ROUTES_MAX + 1)
            .collect();
        if plain.len() > PLAIN_ROUTES_MAX {
            return Vec::new();
        }
        plain
    }

    /// The way to an address behind a router, as packets have it, when it is known to the last byte and no
    /// table has to be asked; none otherwise. `dst` is taken to be none of the director's own addresses: a
    /// flow of such a client never begins. Should the director get a client's address while its flow
    /// lives, what is left of that flow's replies goes on to the router.
    #[inline(always)]
    pub(crate) fn plain_way<I: Routed>(&self, dst: I::Addr) -> Option<&PlainHop> {
        let covers = |route: &&PlainRoute<I>| dst & route.mask == route.prefix;
        I::routes(&self.plain).iter().find(covers)?.hop.as_ref()
    }

    /// All interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The interface that frames with this tag on this port belong to.
    #[inline]
    #[must_use]
    pub fn interface_of(&self, port: PortId, vlan: u16) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|i| i.port == port && i.vlan == vlan)
    }

    /// True for an address that Linux or the configuration gives to the director.
    #[inline]
    #[must_use]
    pub fn is_local(&self, addr: Addr) -> bool {
        self.locals.contains(&addr)
    }

    /// The MAC address of a neighbour, if it is known.
    #[must_use]
    pub fn neighbour(&self, interface: InterfaceId, addr: Addr) -> Option<Mac> {
        self.neighbours.get(&(interface, addr)).copied()
    }

    /// The way to `dst`: longest prefix first, one hash look-up for each length in use.
    #[must_use]
    pub fn resolve(&self, dst: Addr) -> Hop {
        if self.is_local(dst) || dst.is_loopback() {
            return Hop::Local;
        }
        // The default route of IPv6, `::/0`, must not catch IPv4: its space is `::ffff:0:0/96`.
        let shortest = if dst.is_v4() { 96 } else { 0 };
        let found = self
            .routes
            .iter()
            .take_while(|(len, _)| *len >= shortest)
            .find_map(|(len, routes)| routes.get(&masked(dst.0, *len)));
        found.map_or(Hop::Unreachable, |target| self.out(dst, target))
    }

    /// The way to `dst` under a route.
    fn out(&self, dst: Addr, target: &Target) -> Hop {
        let Target::Out {
            interface,
            gateway,
            source,
            mtu,
        } = target
        else {
            return Hop::Unreachable;
        };
        let Some(out) = self.interfaces.get(usize::from(interface.0)) else {
            return Hop::Unreachable;
        };
        let neighbour = gateway.unwrap_or(dst);
        let own = match dst.family() {
            Family::V4 => out.source_v4,
            Family::V6 => out.source_v6,
        };
        let mac = self.neighbours.get(&(*interface, neighbour));
        let hop = NextHop {
            port: out.port,
            vlan: out.vlan,
            dst: mac.copied().unwrap_or(Mac::ZERO),
            src: out.mac,
            mtu: mtu.unwrap_or(out.mtu).min(out.mtu),
            source: source.or(own),
        };
        match mac {
            Some(_) => Hop::Ready(hop),
            None => Hop::Unresolved {
                interface: *interface,
                neighbour,
                hop,
            },
        }
    }
}

/// The first `len` bits of `addr`.
fn masked(addr: u128, len: u8) -> u128 {
    match len {
        0 => 0,
        128.. => addr,
        len => addr & (u128::MAX << (128 - u32::from(len))),
    }
}

#[cfg(test)]
mod tests;
