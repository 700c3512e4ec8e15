//! `[[service]]` and `[[service.server]]`: what is balanced, and over what.

mod check;
mod key;
mod persistence;
mod port_range;
mod read;
mod scheduler;
mod tunnel;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reader::Choice;

pub use key::{Family, NotAServiceKey, ServerKey, ServiceKey};
pub use persistence::{PersistenceEngine, PersistenceMask};
pub(crate) use port_range::port_range;
pub use port_range::{NotAPortRange, PortRange};
pub use scheduler::{SchedulerFlag, SchedulerFlags, SchedulerName};
pub use tunnel::{TunnelChecksum, TunnelKind};

/// Seconds that IPVS lets a persistence timeout be at most: 31 days.
pub const PERSISTENCE_TIMEOUT_MAX: u32 = 31 * 86_400;
/// Seconds of a persistence timeout that is asked for without a number (`ipvsadm -p`).
pub const PERSISTENCE_TIMEOUT_DEFAULT: u32 = 360;
/// The greatest weight: the kernel's is a signed number of 32 bits.
pub const WEIGHT_MAX: u32 = i32::MAX as u32;
/// The greatest threshold of connections.
pub const THRESHOLD_MAX: u32 = i32::MAX as u32;

/// The transport protocol of a service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP (RFC 9260).
    Sctp,
}

/// How a packet travels from the director to the real server (LVS's forwarding method).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Addresses and ports are rewritten both ways; replies pass the director. `ipvsadm -m`.
    Nat,
    /// Only the link layer's address changes; replies go straight to the client. `ipvsadm -g`.
    Dr,
    /// Wrapped in IP-in-IP; replies go straight to the client. `ipvsadm -i`.
    Tun,
    /// As `nat`, and the client's address and port are rewritten too, to local ones of the
    /// director; so the server may have any route. `ipvsadm -b` of DPVS.
    FullNat,
}

/// `[[service]]`: a virtual address and port whose flows are spread over servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What packets it takes; must be given: `protocol`, `address` and `port` (0: every port, which
    /// needs persistence), or `mark` and `family`.
    pub key: ServiceKey,
    /// Default `wrr`, which with equal weights is `rr`.
    pub scheduler: SchedulerName,
    /// Switches of the schedulers `sh` and `mh` (`ipvsadm -b`). Default none.
    pub scheduler_flags: SchedulerFlags,
    /// Each datagram is scheduled by itself and no flow is kept (`ipvsadm -o`). Default `false`.
    pub one_packet: bool,
    /// A client's connections go to the same server until this many seconds after the last began,
    /// 1 to 2 678 400 (`ipvsadm -p`). Default none: not persistent.
    pub persistence_timeout: Option<u32>,
    /// The part of a client's address that is one client (`ipvsadm -M`). Default the whole address.
    pub persistence_mask: PersistenceMask,
    /// What else than the address tells clients apart (`ipvsadm --pe`). Default none.
    pub persistence_engine: Option<PersistenceEngine>,
    /// What people call it; a label in metrics. Default none.
    pub name: Option<String>,
    /// What stands for clients at its `fullnat` servers: 1 to 64 addresses of the service's
    /// family; must be given when it has such servers. Default none.
    pub local_addresses: Vec<IpAddr>,
    /// The ports of each of these addresses that are used; default 1024 to 65 535.
    pub local_ports: PortRange,
    /// New flows a second that each worker keeps, 0 to 100 000 000; default 0: as many as come. More
    /// of them are forwarded to a server chosen by consistent hash and not kept.
    pub new_flows_per_second_max: u32,
    /// Its servers in the order of the file, which is the order in which they are added: the
    /// schedulers of LVS begin with the newest, that is the last one.
    pub servers: Vec<Server>,
}

/// `[[service.server]]`: a real server of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The real server's address; must be given. Of the service's family, unless the method is `tun`.
    pub address: IpAddr,
    /// The real server's port, 0 to 65 535; default the service's. 0 is the port that the client
    /// asked for. Another than the service's needs `nat` or `fullnat`.
    pub port: u16,
    /// Its share of new flows, 0 to 2 147 483 647, default 1. 0 drains: it keeps its flows and gets
    /// no new ones.
    pub weight: u32,
    /// Must be given: a default would hide the one decision that the network has to fit.
    pub method: Method,
    /// How many connections make it full, so that it gets no new ones, 0 to 2 147 483 647
    /// (`ipvsadm -x`). Default 0: none.
    pub upper_threshold: u32,
    /// Below how many connections it is not full any more, at most the upper threshold
    /// (`ipvsadm -y`). Default 0: three quarters of the upper one.
    pub lower_threshold: u32,
    /// With method `tun`: what wraps the packets (`ipvsadm --tun-type`). Default `ipip`.
    pub tunnel: TunnelKind,
    /// The UDP port of `gue`, for which it must be given (`ipvsadm --tun-port`). Default 0.
    pub tunnel_port: u16,
    /// The checksum in the outer header of `gue` and `gre`. Default `none`.
    pub tunnel_checksum: TunnelChecksum,
    /// What people call it; a label in metrics. Default none.
    pub name: Option<String>,
}

impl Choice for Protocol {
    const NOUN: &'static str = "protocol";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tcp", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("sctp", Protocol::Sctp),
    ];
}

impl Choice for Method {
    const NOUN: &'static str = "forwarding method";
    // Besides our own: the words of ipvsadm's listing, of ldirectord.cf and of keepalived.conf,
    // which DPVS has too.
    const WORDS: &'static [(&'static str, Self)] = &[
        ("nat", Method::Nat),
        ("dr", Method::Dr),
        ("tun", Method::Tun),
        ("fullnat", Method::FullNat),
        ("fnat", Method::FullNat),
        ("masq", Method::Nat),
        ("gate", Method::Dr),
        ("route", Method::Dr),
        ("ipip", Method::Tun),
        ("tunnel", Method::Tun),
    ];
}

/// Gives a [`Choice`] its word in the configuration and in the API.
macro_rules! display_as_word {
    ($($name:ident),*) => {$(
        impl $name {
            /// The word in the configuration and in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                self.word()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    )*};
}
use display_as_word;
display_as_word!(Protocol, Method);

impl Service {
    /// A service with all defaults and without servers.
    #[must_use]
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            scheduler: SchedulerName::Wrr,
            scheduler_flags: SchedulerFlags::default(),
            one_packet: false,
            persistence_timeout: None,
            persistence_mask: PersistenceMask::whole(key.family()),
            persistence_engine: None,
            name: None,
            local_addresses: Vec::new(),
            local_ports: PortRange::LOCAL_DEFAULT,
            new_flows_per_second_max: 0,
            servers: Vec::new(),
        }
    }

    /// True when nothing but the servers may differ.
    #[must_use]
    pub fn is_same_but_servers(&self, other: &Self) -> bool {
        let Self {
            key,
            scheduler,
            scheduler_flags,
            one_packet,
            persistence_timeout,
            persistence_mask,
            persistence_engine,
            name,
            local_addresses,
            local_ports,
            new_flows_per_second_max,
            servers: _,
        } = self;
        *key == other.key
            && *scheduler == other.scheduler
            && *scheduler_flags == other.scheduler_flags
            && *one_packet == other.one_packet
            && *persistence_timeout == other.persistence_timeout
            && *persistence_mask == other.persistence_mask
            && *persistence_engine == other.persistence_engine
            && *name == other.name
            && *local_addresses == other.local_addresses
            && *local_ports == other.local_ports
            && *new_flows_per_second_max == other.new_flows_per_second_max
    }

    /// The server with this key.
    #[must_use]
    pub fn server(&self, key: ServerKey) -> Option<&Server> {
        self.servers.iter().find(|server| server.key() == key)
    }

    /// True when it has servers that are reached by `fullnat`.
    #[must_use]
    pub fn has_fullnat(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.method == Method::FullNat)
    }
}

impl Server {
    /// What tells it apart from the other servers of its service.
    #[must_use]
    pub fn key(&self) -> ServerKey {
        ServerKey {
            address: self.address,
            port: self.port,
        }
    }
}
