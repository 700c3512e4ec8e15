//! What is asked of a director, in IPVS's own nouns.

use std::fmt;
use std::net::IpAddr;

/// The number of an error, as the kernel would give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Errno(1);
    /// No such file or directory: no such scheduler, persistence engine, or server.
    pub const ENOENT: Self = Errno(2);
    /// No such process: no such service or daemon.
    pub const ESRCH: Self = Errno(3);
    /// Cannot allocate memory.
    pub const ENOMEM: Self = Errno(12);
    /// File exists.
    pub const EEXIST: Self = Errno(17);
    /// Invalid argument.
    pub const EINVAL: Self = Errno(22);
    /// Numerical result out of range.
    pub const ERANGE: Self = Errno(34);
    /// Message too long.
    pub const EMSGSIZE: Self = Errno(90);
    /// Protocol not available.
    pub const ENOPROTOOPT: Self = Errno(92);
    /// Operation not supported.
    pub const EOPNOTSUPP: Self = Errno(95);
    /// Address family not supported by protocol.
    pub const EAFNOSUPPORT: Self = Errno(97);
}

/// A transport protocol, by its number in IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// 6.
    Tcp = 6,
    /// 17.
    Udp = 17,
    /// 132.
    Sctp = 132,
}

impl Protocol {
    /// By name, in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// `TCP`, `UDP`, `SCTP`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }
}

/// What tells services apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceId {
    /// A virtual address.
    Address {
        /// Its protocol.
        protocol: Protocol,
        /// The address.
        address: IpAddr,
        /// 0: every port.
        port: u16,
    },
    /// A firewall mark.
    Mark {
        /// 1 to 2^32−1.
        mark: u32,
        /// Its packets are IPv6.
        is_ipv6: bool,
    },
}

impl ServiceId {
    /// Whether its packets are IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        match self {
            ServiceId::Address { address, .. } => address.is_ipv6(),
            ServiceId::Mark { is_ipv6, .. } => *is_ipv6,
        }
    }

    /// The protocol; IPVS takes TCP for marks where it needs one.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            ServiceId::Address { protocol, .. } => *protocol,
            ServiceId::Mark { .. } => Protocol::Tcp,
        }
    }
}

/// Bits of [`Service::flags`].
pub mod flag {
    /// `-p`
    pub const PERSISTENT: u32 = 1;
    /// `-o`
    pub const ONE_PACKET: u32 = 4;
    /// `flag-1`, `sh-fallback`, `mh-fallback`
    pub const SCHEDULER_1: u32 = 8;
    /// `flag-2`, `sh-port`, `mh-port`
    pub const SCHEDULER_2: u32 = 16;
    /// `flag-3`
    pub const SCHEDULER_3: u32 = 32;
}

/// A service as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What tells it from others.
    pub id: ServiceId,
    /// Up to 15 characters.
    pub scheduler: String,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Of persistence, in seconds.
    pub timeout: u32,
    /// IPv4: the mask, its first byte highest; IPv6: the prefix length.
    pub netmask: u32,
    /// The persistence engine.
    pub engine: Option<String>,
}

/// How packets reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// 0.
    Masq,
    /// 1.
    Local,
    /// 2.
    Tunnel,
    /// 3.
    Route,
}

/// How a tunnel wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TunnelKind {
    /// 0.
    #[default]
    Ipip,
    /// 1.
    Gue,
    /// 2.
    Gre,
}

/// What a tunnel's checksum covers; numbers as IPVS has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TunnelChecksum {
    /// 0.
    #[default]
    None,
    /// 1.
    Full,
    /// 2.
    Remote,
}

/// A tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tunnel {
    /// How it wraps.
    pub kind: TunnelKind,
    /// GUE's port.
    pub port: u16,
    /// Its checksum.
    pub checksum: TunnelChecksum,
}

/// A server as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// 0 to 2^31−1.
    pub weight: u32,
    /// Connections at which it gets no more; 0: none.
    pub upper: u32,
    /// Connections below which it gets more again.
    pub lower: u32,
    /// With [`Method::Tunnel`].
    pub tunnel: Tunnel,
}

/// Counters and rates of a service or server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections, packets in, packets out, bytes in, bytes out.
    pub totals: [u64; 5],
    /// The same a second.
    pub rates: [u64; 5],
}

/// A service as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedService {
    /// As it is set.
    pub service: Service,
    /// What it counted.
    pub stats: Stats,
}

/// A server as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedServer {
    /// As it is set.
    pub server: Server,
    /// What it counted.
    pub stats: Stats,
    /// Active connections.
    pub active: u32,
    /// Others.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}

/// Idle seconds after which a connection is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// Which end of connection synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonState {
    /// Sends.
    Master,
    /// Receives.
    Backup,
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DaemonState::Master => "master",
            DaemonState::Backup => "backup",
        })
    }
}

/// A daemon of connection synchronisation. 0 and `None`: what the director takes by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Which end.
    pub state: DaemonState,
    /// The interface, up to 15 characters.
    pub interface: String,
    /// 0 to 255.
    pub sync_id: u32,
    /// Bytes of a message.
    pub maxlen: u16,
    /// Where it sends to.
    pub group: Option<IpAddr>,
    /// UDP port.
    pub port: u16,
    /// Of the packets.
    pub ttl: u8,
}

/// What a director is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// As `0x010201`, which is 1.2.1.
    pub version: u32,
    /// Lines of the connection table.
    pub table_size: u32,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `-A`
    AddService(Service),
    /// `-E`
    EditService(Service),
    /// `-D`
    DeleteService(ServiceId),
    /// `-C`
    Flush,
    /// `-Z`
    Zero(Option<ServiceId>),
    /// `-a`
    AddServer(ServiceId, Server),
    /// `-e`
    EditServer(ServiceId, Server),
    /// `-d`
    DeleteServer(ServiceId, Server),
    /// `--set`; 0 leaves one as it is.
    SetTimeouts(Timeouts),
    /// `--start-daemon`
    StartDaemon(Daemon),
    /// `--stop-daemon`
    StopDaemon(Daemon),
}

/// A director that is asked and changed.
pub trait Director {
    /// What it is.
    ///
    /// # Errors
    ///
    /// As the kernel has them.
    fn info(&mut self) -> Result<Info, Errno>;
    /// All services, in its own order.
    ///
    /// # Errors
    ///
    /// As the kernel has them.
    fn services(&mut self) -> Result<Vec<ListedService>, Errno>;
    /// One service.
    ///
    /// # Errors
    ///
    /// [`Errno::ESRCH`] when there is none.
    fn service(&mut self, id: &ServiceId) -> Result<ListedService, Errno>;
    /// The servers of a service, in its own order.
    ///
    /// # Errors
    ///
    /// As the kernel has them.
    fn servers(&mut self, service: &Service) -> Result<Vec<ListedServer>, Errno>;
    /// The timeouts.
    ///
    /// # Errors
    ///
    /// As the kernel has them.
    fn timeouts(&mut self) -> Result<Timeouts, Errno>;
    /// The daemons that run.
    ///
    /// # Errors
    ///
    /// As the kernel has them.
    fn daemons(&mut self) -> Result<Vec<Daemon>, Errno>;
    /// The text of `/proc/net/ip_vs_conn`.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    fn connections(&mut self) -> Result<String, Errno>;
    /// One change.
    ///
    /// # Errors
    ///
    /// As the kernel has them; nothing is changed then.
    fn change(&mut self, change: &Change) -> Result<(), Errno>;
    /// All changes, or none of them.
    ///
    /// # Errors
    ///
    /// The number of the change that failed, and its error; nothing is changed then.
    fn change_all(&mut self, changes: &[Change]) -> Result<(), (usize, Errno)>;
}
