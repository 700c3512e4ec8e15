//! What Linux knows of links, addresses, routes and neighbours.
//!
//! A notification only says that something changed: then everything is read again, after a moment
//! in which more may arrive. So a lost notification costs a delay and never a wrong table.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::watch;

/// How long more changes are waited for after one.
const SETTLE: Duration = Duration::from_millis(5);
/// How often everything is read even if no change was told.
const READ_ANYWAY: Duration = Duration::from_secs(60);
/// How often neighbours that Linux itself does not use are probed.
const CONFIRM: Duration = Duration::from_secs(20);

/// How many of them at once.
const CONFIRM_AT_ONCE: usize = 256;

/// Linux's network at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxNetwork {
    /// By index.
    pub links: BTreeMap<u32, LinuxLink>,
    /// Every address, with the index of its link.
    pub addresses: Vec<(u32, IpNet)>,
    /// Routes of the main table, the preferred of several first.
    pub routes: Vec<LinuxRoute>,
    /// Neighbours with a MAC address in a usable state.
    pub neighbours: Vec<LinuxNeighbour>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxLink {
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Of a VLAN: the index of the link it is on and its ID.
    pub vlan: Option<(u32, u16)>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinuxRoute {
    /// Lower is preferred.
    pub priority: u32,
    /// The destinations.
    pub to: IpNet,
    /// The link it leaves by; none: it refuses its destinations.
    pub link: Option<u32>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// The preferred source.
    pub source: Option<IpAddr>,
    /// Its own MTU.
    pub mtu: Option<u32>,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinuxNeighbour {
    /// The link it is on.
    pub link: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Linux's state of it in words.
    pub state: &'static str,
}

/// The conversation with Linux.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens it, on the running tokio runtime.
    ///
    /// # Errors
    /// When Linux gives no netlink socket.
    pub fn open() -> std::io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// For requests.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Asks Linux to resolve a neighbour, as sending a packet to it would.
    pub async fn solicit(&self, link: u32, neighbour: IpAddr) {
        let request = self
            .handle
            .neighbours()
            .add(link, neighbour)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use);
        if let Err(error) = request.replace().execute().await {
            tracing::debug!("Linux does not resolve {neighbour}: {error}");
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When Linux breaks a listing off.
    pub async fn read(&self) -> Result<LinuxNetwork, rtnetlink::Error> {
        let mut network = LinuxNetwork::default();
        let mut links = self.handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            let index = link.header.index;
            network.links.insert(index, link_of(&link.attributes));
        }
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            if let Some(address) = address_of(&message.attributes, message.header.prefix_len) {
                network.addresses.push((message.header.index, address));
            }
        }
        for filter in [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ] {
            let mut routes = self.handle.route().get(filter).execute();
            while let Some(message) = routes.try_next().await? {
                network.routes.extend(route_of(&message));
            }
        }
        network.routes.sort();
        let mut neighbours = self.handle.neighbours().get().execute();
        while let Some(message) = neighbours.try_next().await? {
            network.neighbours.extend(neighbour_of(&message));
        }
        network.neighbours.sort();
        Ok(network)
    }

    /// Follows Linux; the receiver sees the newest state, and only changes of it. Of the neighbours
    /// only those on `twins` and their VLANs count. Ends when the receiver is gone.
    ///
    /// # Errors
    /// When Linux gives no socket, or the first reading fails.
    pub async fn follow(&self, twins: Vec<u32>) -> anyhow::Result<watch::Receiver<LinuxNetwork>> {
        let (connection, _, mut told) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ])?;
        tokio::spawn(connection);
        let (newest, follower) = watch::channel(self.read_of(&twins).await?);
        let netlink = self.clone();
        tokio::spawn(async move {
            let mut confirm = tokio::time::interval(CONFIRM);
            let mut is_listening = true;
            loop {
                tokio::select! {
                    change = told.next(), if is_listening => is_listening = change.is_some(),
                    _ = confirm.tick() => {
                        let held = newest.borrow().clone();
                        netlink.confirm(&held, &twins).await;
                    }
                    () = tokio::time::sleep(READ_ANYWAY) => {}
                    () = newest.closed() => return,
                }
                tokio::time::sleep(SETTLE).await;
                while told.next().now_or_never().flatten().is_some() {}
                netlink.read_into(&newest, &twins).await;
            }
        });
        Ok(follower)
    }

    async fn read_of(&self, twins: &[u32]) -> Result<LinuxNetwork, rtnetlink::Error> {
        let mut network = self.read().await?;
        let mut neighbours = std::mem::take(&mut network.neighbours);
        neighbours.retain(|n| is_on(n.link, &network, twins));
        network.neighbours = neighbours;
        Ok(network)
    }

    async fn read_into(&self, newest: &watch::Sender<LinuxNetwork>, twins: &[u32]) {
        match self.read_of(twins).await {
            Ok(network) => {
                newest.send_if_modified(|held| {
                    let is_new = *held != network;
                    *held = network;
                    is_new
                });
            }
            Err(error) => tracing::warn!("Linux's network cannot be read: {error}"),
        }
    }

    /// Has stale neighbours on `links` probed. Linux probes one only when itself sends to it, and
    /// Weir's packets pass it by: so a changed MAC address or a dead neighbour would go unnoticed.
    async fn confirm(&self, network: &LinuxNetwork, links: &[u32]) {
        let is_ours = |n: &&LinuxNeighbour| n.state == "stale" && is_on(n.link, network, links);
        let stale = network.neighbours.iter().filter(is_ours);
        for neighbour in stale.take(CONFIRM_AT_ONCE) {
            self.solicit(neighbour.link, neighbour.address).await;
        }
    }
}

/// True for the links of `twins` and the VLANs on them.
fn is_on(link: u32, network: &LinuxNetwork, twins: &[u32]) -> bool {
    let parent = network.links.get(&link).and_then(|link| link.vlan);
    twins.contains(&link) || parent.is_some_and(|(parent, _)| twins.contains(&parent))
}

/// The index of the link of this name.
pub(super) async fn index_of(netlink: &Handle, name: &str) -> Result<u32, rtnetlink::Error> {
    let mut found = netlink.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await? {
        Some(link) => Ok(link.header.index),
        None => Err(rtnetlink::Error::RequestFailed),
    }
}

fn link_of(attributes: &[LinkAttribute]) -> LinuxLink {
    let mut link = LinuxLink {
        name: String::new(),
        mtu: 0,
        vlan: None,
    };
    let (mut parent, mut id) = (None, None);
    let mut is_vlan = false;
    for attribute in attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => parent = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                is_vlan = infos.contains(&LinkInfo::Kind(InfoKind::Vlan));
                id = infos.iter().find_map(vlan_id);
            }
            _ => {}
        }
    }
    link.vlan = parent.zip(id).filter(|_| is_vlan);
    link
}

fn vlan_id(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(data)) = info else {
        return None;
    };
    data.iter().find_map(|part| match part {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

/// IFA_LOCAL is the own address, IFA_ADDRESS the peer's on point-to-point links.
fn address_of(attributes: &[AddressAttribute], prefix_len: u8) -> Option<IpNet> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    IpNet::new(local.or(address)?, prefix_len).ok()
}

fn route_of(message: &RouteMessage) -> Option<LinuxRoute> {
    let header = &message.header;
    let table = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    if table.unwrap_or(header.table.into()) != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    // Routes for some sources or services only are not for every packet to the destination.
    if header.source_prefix_length != 0 || header.tos != 0 {
        return None;
    }
    let is_refusal = match header.kind {
        RouteType::Unicast => false,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => true,
        _ => return None,
    };
    let mut destination: IpAddr = match header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        AddressFamily::Inet6 => [0u16; 8].into(),
        _ => return None,
    };
    let mut route = LinuxRoute {
        priority: 0,
        to: IpNet::from(destination),
        link: None,
        gateway: None,
        source: None,
        mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip_of(address)?,
            RouteAttribute::PrefSource(address) => route.source = ip_of(address),
            RouteAttribute::Priority(priority) => route.priority = *priority,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            // Of several next hops the first: Weir does not spread over paths.
            RouteAttribute::MultiPath(hops) => {
                let first = hops.first()?;
                route.link = Some(first.interface_index);
                first.attributes.iter().for_each(|a| way(&mut route, a));
            }
            other => way(&mut route, other),
        }
    }
    route.to = IpNet::new(destination, header.destination_prefix_length).ok()?;
    if is_refusal {
        (route.link, route.gateway) = (None, None);
    }
    Some(route)
}

fn way(route: &mut LinuxRoute, attribute: &RouteAttribute) {
    match attribute {
        RouteAttribute::Oif(index) => route.link = Some(*index),
        RouteAttribute::Gateway(address) => route.gateway = ip_of(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => route.gateway = Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => route.gateway = Some((*address).into()),
        _ => {}
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn neighbour_of(message: &NeighbourMessage) -> Option<LinuxNeighbour> {
    let state = match message.header.state {
        NeighbourState::Reachable => "reachable",
        NeighbourState::Stale => "stale",
        NeighbourState::Delay => "delay",
        NeighbourState::Probe => "probe",
        NeighbourState::Permanent => "permanent",
        NeighbourState::Noarp => "noarp",
        _ => return None,
    };
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::from(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::from(*ip));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some(LinuxNeighbour {
        link: message.header.ifindex,
        address: address?,
        mac: mac?,
        state,
    })
}
