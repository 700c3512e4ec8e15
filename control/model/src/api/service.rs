//! Services and their real servers, with what they carried.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service::{
    Method, PersistenceEngine, PersistenceMask, PortRange, SchedulerName, ServiceKey,
    TunnelChecksum, TunnelKind,
};

/// The answer of `GET /v1/services`, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Services {
    /// The services.
    pub services: Vec<ServiceView>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// What packets it takes: `protocol`, `address` and `port`, or `mark` and `family`.
    #[serde(flatten)]
    pub key: ServiceKey,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How servers are chosen.
    pub scheduler: SchedulerName,
    /// The scheduler's switches, by ipvsadm's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<String>,
    /// Each datagram is scheduled by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// Seconds that a client stays with its server; absent: it is not persistent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_timeout: Option<u32>,
    /// The part of an address that is one client; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_mask: Option<PersistenceMask>,
    /// What else tells clients apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<PersistenceEngine>,
    /// What stands for clients at its FullNAT servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_addresses: Vec<IpAddr>,
    /// The ports of each of these addresses; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_ports: Option<PortRange>,
    /// Of all its servers together, removed ones included.
    pub stats: Stats,
    /// Its servers, in the order of the configuration.
    pub servers: Vec<ServerView>,
}

/// The answer of `GET /v1/services/…/servers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Servers {
    /// The servers, in the order of the configuration; then those that were removed.
    pub servers: Vec<ServerView>,
}

/// One real server of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerView {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How packets reach it.
    pub method: Method,
    /// Its share of new flows.
    pub weight: u32,
    /// Connections that make it full; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<u32>,
    /// Below how many connections it is not full any more; absent: three quarters of the upper one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<u32>,
    /// What wraps packets to it; absent unless the method is `tun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelKind>,
    /// The UDP port of the tunnel; absent unless it is `gue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_port: Option<u16>,
    /// The checksum of the tunnel's outer header; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_checksum: Option<TunnelChecksum>,
    /// Flows that IPVS counts as active: opening and established TCP.
    pub active: u64,
    /// All its other flows: closing TCP, and UDP.
    pub inactive: u64,
    /// Clients that it is remembered for (persistence templates).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub persistent: u64,
    /// The share of the local ports it may be reached from that flows have, from 0 to 1, of the
    /// worker where it is highest; FullNAT only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_ports_used_ratio: Option<f64>,
    /// Whether it gets new flows.
    pub state: ServerState,
    /// What it carried.
    pub stats: Stats,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Whether a server gets new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It does.
    Up,
    /// Weight 0: it keeps its flows and gets no new ones.
    Draining,
    /// It has as many connections as its thresholds allow, and gets no new ones until there are fewer.
    Full,
    /// It is out of the configuration and listed while flows remember it.
    Removed,
}

/// Totals since start. `out` is counted only where replies pass the director, that is with NAT
/// and FullNAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Flows scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients, from the IP header on.
    pub bytes_in: u64,
    /// Bytes to clients, from the IP header on.
    pub bytes_out: u64,
    /// The same as averages over the last seconds.
    pub rates: Rates,
}

/// Per second, averaged over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Flows scheduled a second.
    pub connections_per_second: f64,
    /// Packets from clients a second.
    pub packets_in_per_second: f64,
    /// Packets to clients a second.
    pub packets_out_per_second: f64,
    /// Bytes (not bits) from clients a second.
    pub bytes_in_per_second: f64,
    /// Bytes (not bits) to clients a second.
    pub bytes_out_per_second: f64,
}
