//! Ports, neighbours and routes.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::Mac;

/// The answer of `GET /v1/ports`, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ports {
    /// The ports.
    pub ports: Vec<PortView>,
}

/// One port. Counters are the device's own, since start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortView {
    /// Its name.
    pub name: String,
    /// The device string it was opened by.
    pub device: String,
    /// DPDK's driver, such as `net_tap`.
    pub driver: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Its interface in Linux.
    pub twin: Option<String>,
    /// Its addresses as configured, of all its VLANs.
    pub addresses: Vec<IpNet>,
    /// The link.
    pub link: LinkView,
    /// Receive queues, as many as transmit queues.
    pub queues: u16,
    /// How the device spreads packets over queues, and why so.
    pub steering: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because a receive queue was full.
    pub rx_missed: u64,
    /// Packets received broken.
    pub rx_errors: u64,
    /// Packets lost for want of a buffer.
    pub rx_no_buffer: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// A port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkView {
    /// It carries packets.
    pub up: bool,
    /// Megabits a second, if the device knows.
    pub speed_mbps: Option<u32>,
}

/// Where a neighbour or route is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Followed from Linux.
    Linux,
    /// From Weir's configuration.
    Config,
}

/// The answer of `GET /v1/neighbours`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Neighbours {
    /// The neighbours.
    pub neighbours: Vec<NeighbourView>,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourView {
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address; `None` while it is being asked for.
    pub mac: Option<Mac>,
    /// The port it is on.
    pub port: String,
    /// The VLAN it is on.
    pub vlan: Option<u16>,
    /// Linux's state of it, such as `reachable` or `stale`; `permanent` from the configuration.
    pub state: String,
    /// Where it is from.
    pub origin: Origin,
}

/// The answer of `GET /v1/routes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Routes {
    /// The routes.
    pub routes: Vec<RouteView>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// The destinations.
    pub to: IpNet,
    /// The next hop; `None`: on the link.
    pub via: Option<IpAddr>,
    /// The port it leaves by; `None`: it refuses its destinations.
    pub port: Option<String>,
    /// The VLAN it leaves by.
    pub vlan: Option<u16>,
    /// The source address it prefers.
    pub source: Option<IpAddr>,
    /// Where it is from.
    pub origin: Origin,
}
