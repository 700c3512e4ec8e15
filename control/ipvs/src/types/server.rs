//! Servers of a service.

use std::net::IpAddr;

use super::{Family, Stats, address_bytes, method};
use crate::attribute::{Be16, Nest};
use crate::errno::Errno;
use crate::tables::DestAttributes;

/// What tells the servers of one service apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey {
    /// The real server's address.
    pub address: IpAddr,
    /// Its port; 0 keeps that of the packet.
    pub port: u16,
}

impl ServerKey {
    /// Reads what tells a server of a service of `family`.
    ///
    /// # Errors
    /// `EINVAL` when something is missing, `EAFNOSUPPORT` for another family.
    pub fn read(from: &DestAttributes, family: Family) -> Result<Self, Errno> {
        let (Some(addr), Some(Be16(port))) = (from.addr, from.port) else {
            return Err(Errno::Einval);
        };
        let family = match from.addr_family {
            // Clients of old do not know of it, and a 0 is as good as none.
            None | Some(0) => family,
            Some(number) => Family::from_number(number)?,
        };
        Ok(Self {
            address: family.address(addr),
            port,
        })
    }

    /// As clients write it.
    #[must_use]
    pub fn attributes(&self) -> DestAttributes {
        DestAttributes {
            addr: Some(address_bytes(self.address)),
            port: Some(Be16(self.port)),
            addr_family: Some(Family::of(self.address).number()),
            ..DestAttributes::default()
        }
    }
}

/// How a tunnel is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// One of the numbers of the module `tunnel`.
    pub kind: u8,
    /// The UDP port of GUE.
    pub port: u16,
    /// Checksums.
    pub flags: u16,
}

/// A server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// What tells it apart.
    pub key: ServerKey,
    /// [`method`]
    pub method: u32,
    /// Its share of new connections.
    pub weight: i32,
    /// Connections above which it gets no new ones; 0: none.
    pub upper_threshold: u32,
    /// Connections below which it gets some again.
    pub lower_threshold: u32,
    /// How it is reached by [`method::TUNNEL`].
    pub tunnel: Tunnel,
}

impl Server {
    /// As clients write it.
    #[must_use]
    pub fn attributes(&self) -> DestAttributes {
        DestAttributes {
            fwd_method: Some(self.method),
            weight: Some(self.weight as u32),
            tun_type: Some(self.tunnel.kind),
            tun_port: Some(Be16(self.tunnel.port)),
            tun_flags: Some(self.tunnel.flags),
            u_thresh: Some(self.upper_threshold),
            l_thresh: Some(self.lower_threshold),
            ..self.key.attributes()
        }
    }

    /// As the kernel tells it.
    #[must_use]
    pub fn told(&self, counts: &Counts, stats: &Stats) -> DestAttributes {
        DestAttributes {
            active_conns: Some(counts.active),
            inact_conns: Some(counts.inactive),
            persist_conns: Some(counts.persistent),
            stats: Some(Nest::of(&stats.in_32_bits())),
            stats64: Some(Nest::of(&stats.in_64_bits())),
            ..self.attributes()
        }
    }

    /// Reads a server that is to be added or changed.
    ///
    /// # Errors
    /// `EINVAL` when something is missing, `EAFNOSUPPORT` for another family.
    pub fn read(from: &DestAttributes, family: Family) -> Result<Self, Errno> {
        let (Some(method), Some(weight), Some(upper_threshold), Some(lower_threshold)) =
            (from.fwd_method, from.weight, from.u_thresh, from.l_thresh)
        else {
            return Err(Errno::Einval);
        };
        Ok(Self {
            key: ServerKey::read(from, family)?,
            method: method & method::MASK,
            weight: weight as i32,
            upper_threshold,
            lower_threshold,
            tunnel: Tunnel {
                kind: from.tun_type.unwrap_or_default(),
                port: from.tun_port.map_or(0, |Be16(port)| port),
                flags: from.tun_flags.unwrap_or_default(),
            },
        })
    }
}

/// The connections that a server has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Established ones.
    pub active: u32,
    /// All others.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}
