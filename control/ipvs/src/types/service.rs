//! Services.

use std::net::{IpAddr, Ipv4Addr};

use super::{Family, Stats, address_bytes, service_flags};
use crate::attribute::{Be16, Name, Nest, UpTo};
use crate::errno::Errno;
use crate::tables::ServiceAttributes;

/// What tells services apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// By what a packet is addressed to.
    Address {
        /// Of IP.
        protocol: u16,
        /// The virtual address.
        address: IpAddr,
        /// The virtual port.
        port: u16,
    },
    /// By the firewall's mark.
    Mark {
        /// Of the packets.
        family: Family,
        /// The mark.
        mark: u32,
    },
}

impl ServiceKey {
    /// The family of its clients.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Mark { family, .. } => *family,
        }
    }

    /// As clients and the kernel write it.
    #[must_use]
    pub fn attributes(&self) -> ServiceAttributes {
        let mut attributes = ServiceAttributes {
            af: Some(self.family().number()),
            ..ServiceAttributes::default()
        };
        match *self {
            Self::Mark { mark, .. } => attributes.fwmark = Some(mark),
            Self::Address {
                protocol,
                address,
                port,
            } => {
                attributes.protocol = Some(protocol);
                attributes.addr = Some(address_bytes(address));
                attributes.port = Some(Be16(port));
            }
        }
        attributes
    }

    /// Reads what tells the service. Scheduler, flags and all else say nothing of which it is.
    ///
    /// # Errors
    /// `EINVAL` when something is missing, `EAFNOSUPPORT` for another family.
    pub fn read(from: &ServiceAttributes) -> Result<Self, Errno> {
        let af = from.af.ok_or(Errno::Einval)?;
        match from {
            ServiceAttributes {
                fwmark: Some(mark), ..
            } => Ok(Self::Mark {
                family: Family::from_number(af)?,
                mark: *mark,
            }),
            ServiceAttributes {
                protocol: Some(protocol),
                addr: Some(addr),
                port: Some(Be16(port)),
                ..
            } => Ok(Self::Address {
                protocol: *protocol,
                address: Family::from_number(af)?.address(*addr),
                port: *port,
            }),
            _ => Err(Errno::Einval),
        }
    }
}

/// Whose clients one persistence template stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// The bits of an IPv4 address that count.
    Mask(Ipv4Addr),
    /// So many leading bits of an IPv6 address.
    Prefix(u32),
}

impl Netmask {
    /// The whole address.
    #[must_use]
    pub fn whole(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Mask(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::Prefix(128),
        }
    }

    pub(crate) fn read(family: Family, number: u32) -> Self {
        match family {
            Family::Ipv4 => Self::Mask(number.to_ne_bytes().into()),
            Family::Ipv6 => Self::Prefix(number),
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Mask(mask) => u32::from_ne_bytes(mask.octets()),
            Self::Prefix(length) => length,
        }
    }
}

/// A service without its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What tells it apart.
    pub key: ServiceKey,
    /// The scheduler; `none` for none.
    pub scheduler: String,
    /// [`service_flags`]
    pub flags: u32,
    /// Of persistence, in seconds.
    pub timeout: u32,
    /// Of persistence.
    pub netmask: Netmask,
    /// The persistence engine.
    pub engine: Option<String>,
}

impl Service {
    /// As a client writes it, which sets all flags.
    #[must_use]
    pub fn attributes(&self) -> ServiceAttributes {
        self.with_flags(self.flags)
    }

    fn with_flags(&self, flags: u32) -> ServiceAttributes {
        let mut both = [0; 8];
        both[..4].copy_from_slice(&flags.to_ne_bytes());
        both[4..].copy_from_slice(&u32::MAX.to_ne_bytes());
        ServiceAttributes {
            sched_name: Some(Name(self.scheduler.clone())),
            pe_name: self.engine.clone().map(Name),
            flags: Some(UpTo(both)),
            timeout: Some(self.timeout),
            netmask: Some(self.netmask.number()),
            ..self.key.attributes()
        }
    }

    /// As the kernel tells it.
    #[must_use]
    pub fn told(&self, stats: &Stats) -> ServiceAttributes {
        let mut attributes = self.with_flags(self.flags | service_flags::HASHED);
        attributes.stats = Some(Nest::of(&stats.in_32_bits()));
        attributes.stats64 = Some(Nest::of(&stats.in_64_bits()));
        attributes
    }

    /// Reads a service that is to be added or changed. `held` is what it was: flags outside of the
    /// mask stay.
    ///
    /// # Errors
    /// `EINVAL` when something is missing, `EAFNOSUPPORT` for another family.
    pub fn read(from: &ServiceAttributes, held: Option<&Self>) -> Result<Self, Errno> {
        let key = ServiceKey::read(from)?;
        let (Some(Name(scheduler)), Some(flags), Some(timeout), Some(netmask)) =
            (&from.sched_name, from.flags, from.timeout, from.netmask)
        else {
            return Err(Errno::Einval);
        };
        let [a, b, c, d, e, f, g, h] = flags.0;
        let (flags, mask) = (
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
        );
        let engine = from.pe_name.clone().map(|Name(name)| name);
        let old_flags = held.map_or(0, |held| held.flags);
        Ok(Self {
            key,
            scheduler: scheduler.clone(),
            flags: ((old_flags & !mask) | (flags & mask)) & !service_flags::HASHED,
            timeout,
            netmask: Netmask::read(key.family(), netmask),
            engine: engine.filter(|name| !name.is_empty()),
        })
    }

    /// True when connections of one client go to one server.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.flags & service_flags::PERSISTENT != 0
    }

    /// The scheduler, if it has one.
    #[must_use]
    pub fn scheduler(&self) -> Option<&str> {
        Some(self.scheduler.as_str()).filter(|name| *name != "none")
    }
}
