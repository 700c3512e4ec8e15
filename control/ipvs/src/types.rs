//! Services, servers and what belongs to them, as IPVS has them: numbers stay what they are on the
//! wire, so that nothing is lost on the way.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::attribute::{Be16, Bytes, Name, Nest, UpTo};
use crate::errno::Errno;
use crate::tables::{
    CommandAttributes, DaemonAttributes, DestAttributes, ServiceAttributes, Stats32, Stats64,
};

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
    /// [`tunnel`]
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

/// What a service or server carried, and each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Connections a second.
    pub connections_rate: u64,
    /// Packets from clients a second.
    pub packets_in_rate: u64,
    /// Packets to clients a second.
    pub packets_out_rate: u64,
    /// Bytes from clients a second.
    pub bytes_in_rate: u64,
    /// Bytes to clients a second.
    pub bytes_out_rate: u64,
}

impl Stats {
    fn in_64_bits(&self) -> Stats64 {
        Stats64 {
            conns: Some(self.connections),
            inpkts: Some(self.packets_in),
            outpkts: Some(self.packets_out),
            inbytes: Some(self.bytes_in),
            outbytes: Some(self.bytes_out),
            cps: Some(self.connections_rate),
            inpps: Some(self.packets_in_rate),
            outpps: Some(self.packets_out_rate),
            inbps: Some(self.bytes_in_rate),
            outbps: Some(self.bytes_out_rate),
        }
    }

    /// The lower halves, as the kernel does it.
    fn in_32_bits(&self) -> Stats32 {
        let low = |number: u64| Some(number as u32);
        Stats32 {
            conns: low(self.connections),
            inpkts: low(self.packets_in),
            outpkts: low(self.packets_out),
            inbytes: Some(self.bytes_in),
            outbytes: Some(self.bytes_out),
            cps: low(self.connections_rate),
            inpps: low(self.packets_in_rate),
            outpps: low(self.packets_out_rate),
            inbps: low(self.bytes_in_rate),
            outbps: low(self.bytes_out_rate),
        }
    }

    /// What was told in 64 bits, or where it was not, in 32.
    ///
    /// # Errors
    /// `EINVAL` for a broken nest.
    pub fn read(
        wide: Option<&Nest<Stats64, false>>,
        narrow: Option<&Nest<Stats32>>,
    ) -> Result<Self, Errno> {
        if let Some(stats) = wide {
            let stats = stats.parse()?;
            return Ok(Self {
                connections: stats.conns.unwrap_or_default(),
                packets_in: stats.inpkts.unwrap_or_default(),
                packets_out: stats.outpkts.unwrap_or_default(),
                bytes_in: stats.inbytes.unwrap_or_default(),
                bytes_out: stats.outbytes.unwrap_or_default(),
                connections_rate: stats.cps.unwrap_or_default(),
                packets_in_rate: stats.inpps.unwrap_or_default(),
                packets_out_rate: stats.outpps.unwrap_or_default(),
                bytes_in_rate: stats.inbps.unwrap_or_default(),
                bytes_out_rate: stats.outbps.unwrap_or_default(),
            });
        }
        let stats = narrow.map(Nest::parse).transpose()?.unwrap_or_default();
        let wide = |number: Option<u32>| u64::from(number.unwrap_or_default());
        Ok(Self {
            connections: wide(stats.conns),
            packets_in: wide(stats.inpkts),
            packets_out: wide(stats.outpkts),
            bytes_in: stats.inbytes.unwrap_or_default(),
            bytes_out: stats.outbytes.unwrap_or_default(),
            connections_rate: wide(stats.cps),
            packets_in_rate: wide(stats.inpps),
            packets_out_rate: wide(stats.outpps),
            bytes_in_rate: wide(stats.inbps),
            bytes_out_rate: wide(stats.outbps),
        })
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

/// What a synchronisation daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonState {
    /// Sends.
    Master,
    /// Listens.
    Backup,
}

impl DaemonState {
    /// `IP_VS_STATE_…`
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Master => 1,
            Self::Backup => 2,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Master, Self::Backup]
            .into_iter()
            .find(|state| state.number() == number)
    }
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A synchronisation daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What it does.
    pub state: DaemonState,
    /// The interface it speaks by.
    pub interface: String,
    /// The synchronisation's number.
    pub sync_id: u32,
    /// Most bytes of a message; 0 in a request: what fits.
    pub max_length: u16,
    /// The multicast group; none in a request: 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port; 0 in a request: 8848.
    pub port: u16,
    /// Time to live; 0 in a request: 1.
    pub ttl: u8,
}

impl Daemon {
    /// As a client writes it, which leaves out what is not given.
    #[must_use]
    pub fn attributes(&self) -> DaemonAttributes {
        let given = |is_given: bool| is_given.then_some(());
        let mut attributes = DaemonAttributes {
            state: Some(self.state.number()),
            mcast_ifn: Some(Name(self.interface.clone())),
            sync_id: Some(self.sync_id),
            sync_maxlen: given(self.max_length != 0).map(|()| self.max_length),
            mcast_port: given(self.port != 0).map(|()| self.port),
            mcast_ttl: given(self.ttl != 0).map(|()| self.ttl),
            ..DaemonAttributes::default()
        };
        match self.group {
            Some(IpAddr::V4(group)) => attributes.mcast_group = Some(Bytes(group.octets())),
            Some(IpAddr::V6(group)) => attributes.mcast_group6 = Some(Bytes(group.octets())),
            None => {}
        }
        attributes
    }

    /// Reads a daemon with what is missing filled in, for an interface of this MTU.
    pub(crate) fn told(mut self, mtu: u32) -> Self {
        let group = *self.group.get_or_insert(DEFAULT_GROUP);
        let headers = if group.is_ipv4() { 28 } else { 48 };
        let most = u32::from(u16::MAX) - headers;
        let (mtu, least) = match self.state {
            DaemonState::Master => (1500, 1),
            DaemonState::Backup => (mtu.clamp(1500, u32::from(u16::MAX)), 1024),
        };
        let length = match self.max_length {
            0 => mtu - headers,
            length => u32::from(length).clamp(least, most),
        };
        self.max_length = length as u16;
        if self.port == 0 {
            self.port = DEFAULT_PORT;
        }
        self.ttl = self.ttl.max(1);
        self
    }

    /// Reads a daemon as a client or the kernel tells it; its state as a number, because the kernel
    /// looks at that last.
    ///
    /// # Errors
    /// `EINVAL` when something is missing, or the group is none.
    pub(crate) fn read(from: &DaemonAttributes) -> Result<(u32, Self), Errno> {
        let (Some(state), Some(Name(interface)), Some(sync_id)) =
            (from.state, &from.mcast_ifn, from.sync_id)
        else {
            return Err(Errno::Einval);
        };
        let group = match (from.mcast_group, from.mcast_group6) {
            (Some(Bytes(group)), _) => Some(IpAddr::from(group)),
            (None, Some(Bytes(group))) => Some(IpAddr::from(group)),
            (None, None) => None,
        };
        if group.is_some_and(|group| !group.is_multicast()) {
            return Err(Errno::Einval);
        }
        let daemon = Self {
            state: DaemonState::from_number(state).unwrap_or(DaemonState::Backup),
            interface: interface.clone(),
            sync_id,
            max_length: from.sync_maxlen.unwrap_or_default(),
            group,
            port: from.mcast_port.unwrap_or_default(),
            ttl: from.mcast_ttl.unwrap_or_default(),
        };
        Ok((state, daemon))
    }
}

/// 224.0.0.81
const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const DEFAULT_PORT: u16 = 8848;

/// Version and size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Of IPVS, a byte for each of its three numbers.
    pub version: u32,
    /// Size of the connection table.
    pub table_size: u32,
}
