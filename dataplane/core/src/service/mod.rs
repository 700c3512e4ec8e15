//! Services and real servers as the workers see them: dense, indexed, immutable once published.
//!
//! Control builds these from the configuration and publishes them in a [`crate::snapshot::Snapshot`].

mod all;
mod shared;

use alloc::boxed::Box;
use alloc::sync::Arc;

use weir_wire::{Addr, Family, protocol};

use crate::load::Thresholds;
use crate::local::LocalPool;
use crate::persist::Persistence;
use crate::schedule::Scheduler;
use crate::schedule::consistent::Consistent;
use crate::sync::AtomicU64;

pub use all::{Former, Services};
pub use weir_wire::tunnel::Tunnel;

/// A transport protocol that services exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 0,
    /// RFC 768.
    Udp = 1,
    /// RFC 9260.
    Sctp = 2,
}

impl Protocol {
    /// The protocol of an IP header's number, where services exist for it.
    #[inline]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            protocol::TCP => Some(Self::Tcp),
            protocol::UDP => Some(Self::Udp),
            protocol::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The number in an IP header.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Sctp => protocol::SCTP,
        }
    }
}

/// How a packet reaches its real server; LVS's forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// Addresses and ports are rewritten, both ways (ipvsadm `-m`).
    Nat = 0,
    /// Only the link layer changes (ipvsadm `-g`).
    Dr = 1,
    /// The packet is wrapped in another IP header (ipvsadm `-i`).
    Tun = 2,
    /// As NAT, and the client's end too is rewritten to one of the director's own, to which the
    /// server replies whatever its routes (DPVS `-b`).
    FullNat = 3,
}

impl Method {
    /// True where the director sees both directions of a flow.
    #[inline]
    #[must_use]
    pub const fn sees_replies(self) -> bool {
        matches!(self, Self::Nat | Self::FullNat)
    }
}

/// The port of FTP's control connection. A persistent service there takes all of a client's data
/// connections, too.
pub const FTP_PORT: u16 = 21;
/// The port of active FTP's data connections.
pub const FTP_DATA_PORT: u16 = 20;

/// What names a service: the virtual side of its flows, or a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual IP address.
    pub addr: Addr,
    /// The virtual port; 0: every port that has no service of its own.
    pub port: u16,
    /// The mark, 0 for none. A service of a mark takes every protocol, address and port; its key is
    /// [`of_mark`](Self::of_mark).
    pub mark: u32,
}

impl ServiceKey {
    /// What names the service of a mark and a family.
    #[inline]
    #[must_use]
    pub const fn of_mark(mark: u32, family: Family) -> Self {
        let addr = match family {
            Family::V4 => Addr::from_v4_bytes([0; 4]),
            Family::V6 => Addr(0),
        };
        Self {
            protocol: Protocol::Tcp,
            addr,
            port: 0,
            mark,
        }
    }

    /// True when it names every port of an address, or a mark.
    #[must_use]
    pub const fn is_of_any_port(&self) -> bool {
        self.port == 0
    }
}

/// The slot of a real server: its place in [`Services::server`] and in every worker's counters.
/// It stays the same while the server, or a flow that remembers it, lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

impl ServerId {
    /// No server: the flow's packets go where they were sent to (`bypass.rs`).
    pub const NONE: Self = Self(u32::MAX);
}

/// The place of a service in [`Services::service`]. It stays the same while the service is
/// configured; one that comes later may get the place of one that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// One real server of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub addr: Addr,
    /// Its port; 0: the port that a client's packet has.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// What they go inside of, where the method is TUN. Its family need not be the service's then.
    pub tunnel: Tunnel,
    /// 0 = gets no new flows.
    pub weight: u32,
    /// The protocol of its service.
    pub protocol: Protocol,
    /// False once it was removed: its flows are remembered, their packets dropped.
    pub is_available: bool,
    /// Its place in its service's list; meaningless when it is not available.
    pub position: u32,
    /// Its service; meaningless when it is not available.
    pub service: ServiceId,
    /// When it is overloaded.
    pub thresholds: Thresholds,
    /// Replies come from any of its ports and by any protocol: its service is that of a mark, of
    /// every port, or of FTP.
    pub has_any_port: bool,
    /// Its method was NAT or FullNAT before, and flows that began then live on.
    pub was_nat: bool,
}

impl Server {
    /// True when replies of its flows may pass the director.
    #[must_use]
    pub const fn may_reply(&self) -> bool {
        self.was_nat || self.method.sees_replies()
    }
}

/// One entry of a service's list of real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which server.
    pub server: ServerId,
    /// Its weight.
    pub weight: u32,
}

/// One service. Built anew by control when it changes, shared by all snapshots until then.
#[derive(Clone, Debug)]
pub struct Service {
    /// What names it.
    pub key: ServiceKey,
    /// How it chooses servers.
    pub scheduler: Scheduler,
    /// Where the scheduler stands. Shared by all workers, so that the sequence is exact whichever
    /// worker a new flow meets; touched only when a flow is new. Carried from snapshot to snapshot
    /// until the scheduler changes.
    pub cursor: Arc<AtomicU64>,
    /// Raised by one, modulo 4096, whenever the list or a weight changes.
    pub generation: u16,
    /// Its real servers in IPVS's list order: the last added first.
    pub servers: Box<[Candidate]>,
    /// Servers that left this service while the cursor may stand on them, each with its
    /// predecessor in the list at that time (none: it was the head).
    pub departed: Box<[(ServerId, Option<ServerId>)]>,
    /// Its flows must be owned by client and port ([`crate::steer`]): it has or had NAT servers,
    /// whose replies show nothing else.
    pub by_client: bool,
    /// What stands for clients at its FullNAT servers; none when it has no such servers.
    pub local: Option<Arc<LocalPool>>,
    /// Which server a packet goes to whose flow finds no place.
    pub consistent: Arc<Consistent>,
    /// New flows a second that each worker keeps; 0: as many as come.
    pub new_flows_max: u32,
    /// Each datagram is scheduled anew and no flow is kept (ipvsadm `-o`). Not TCP's and SCTP's
    /// packets, and not those to FullNAT servers, which need a flow.
    pub one_packet: bool,
    /// How its clients are remembered; none: they are not.
    pub persistence: Option<Persistence>,
}
