//! Services, servers and what belongs to them, as IPVS has them: numbers stay what they are on the
//! wire, so that nothing is lost on the way.

mod daemon;
mod server;
mod service;
mod stats;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::attribute::UpTo;
use crate::errno::Errno;
use crate::tables::CommandAttributes;

pub use daemon::{Daemon, DaemonState};
pub use server::{Counts, Server, ServerKey, Tunnel};
pub use service::{Netmask, Service, ServiceKey};
pub use stats::Stats;

/// `IP_VS_SVC_F_…`: flags of a service.
pub mod service_flags {
    /// Connections of one client go to one server.
    pub const PERSISTENT: u32 = 1;
    /// Always told of a service that is there.
    pub const HASHED: u32 = 2;
    /// One-packet scheduling.
    pub const ONE_PACKET: u32 = 4;
    /// `flag-1`; `sh-fallback`, `mh-fallback`.
    pub const SCHEDULER_1: u32 = 8;
    /// `flag-2`; `sh-port`, `mh-port`.
    pub const SCHEDULER_2: u32 = 0x10;
    /// `flag-3`.
    pub const SCHEDULER_3: u32 = 0x20;
}

/// `IP_VS_CONN_F_…`: forwarding methods.
pub mod method {
    /// NAT, `ipvsadm -m`.
    pub const MASQ: u32 = 0;
    /// The director itself.
    pub const LOCAL: u32 = 1;
    /// Tunnels, `ipvsadm -i`.
    pub const TUNNEL: u32 = 2;
    /// Direct routing, `ipvsadm -g`.
    pub const ROUTE: u32 = 3;
    /// To where the packet was going anyway.
    pub const BYPASS: u32 = 4;
    /// The bits that tell it.
    pub const MASK: u32 = 7;
}

/// `IP_VS_CONN_F_TUNNEL_TYPE_…` and `IP_VS_TUNNEL_ENCAP_FLAG_…`.
pub mod tunnel {
    /// IP in IP.
    pub const IPIP: u8 = 0;
    /// Generic UDP encapsulation.
    pub const GUE: u8 = 1;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 2;
    /// The outer header carries a checksum.
    pub const CSUM: u16 = 1;
    /// The inner checksum is left to the receiver.
    pub const REMCSUM: u16 = 2;
}

/// TCP's number.
pub const TCP: u16 = 6;
/// UDP's number.
pub const UDP: u16 = 17;
/// SCTP's number.
pub const SCTP: u16 = 132;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`
    Ipv6,
}

impl Family {
    /// Linux's number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    pub(crate) fn from_number(number: u16) -> Result<Self, Errno> {
        match number {
            2 => Ok(Self::Ipv4),
            10 => Ok(Self::Ipv6),
            _ => Err(Errno::Eafnosupport),
        }
    }

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    fn address(self, bytes: UpTo<16>) -> IpAddr {
        let [a, b, c, d, ..] = bytes.0;
        match self {
            // Clients leave anything behind the four bytes.
            Self::Ipv4 => Ipv4Addr::new(a, b, c, d).into(),
            Self::Ipv6 => Ipv6Addr::from(bytes.0).into(),
        }
    }
}

fn address_bytes(address: IpAddr) -> UpTo<16> {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            UpTo(bytes)
        }
        IpAddr::V6(address) => UpTo(address.octets()),
    }
}

/// Idle times after which a connection is forgotten, in seconds; 0 in a request leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Timeouts {
    /// As both sides write them.
    #[must_use]
    pub fn attributes(&self) -> CommandAttributes {
        CommandAttributes {
            timeout_tcp: Some(self.tcp),
            timeout_tcp_fin: Some(self.tcp_fin),
            timeout_udp: Some(self.udp),
            ..CommandAttributes::default()
        }
    }

    pub(crate) fn read(from: &CommandAttributes) -> Self {
        Self {
            tcp: from.timeout_tcp.unwrap_or_default(),
            tcp_fin: from.timeout_tcp_fin.unwrap_or_default(),
            udp: from.timeout_udp.unwrap_or_default(),
        }
    }
}

/// Version and size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Of IPVS, a byte for each of its three numbers.
    pub version: u32,
    /// Size of the connection table.
    pub table_size: u32,
}
