//! Services and real servers as the workers see them: dense, indexed, immutable.
//!
//! Control builds these from the configuration and publishes them in a [`crate::snapshot::Snapshot`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::{HashMap, HashSet};
use weir_wire::{Addr, protocol};

use crate::local::LocalPool;
use crate::schedule::Scheduler;
use crate::sync::AtomicU64;

/// A transport protocol that services exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 0,
    /// RFC 768.
    Udp = 1,
}

impl Protocol {
    /// The protocol of an IP header's number, where services exist for it.
    #[inline]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            protocol::TCP => Some(Self::Tcp),
            protocol::UDP => Some(Self::Udp),
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

/// What names a service: the virtual side of its flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual IP address.
    pub addr: Addr,
    /// The virtual port.
    pub port: u16,
}

/// The slot of a real server: its place in [`Services::servers`] and in every worker's counters.
/// It stays the same while the server, or a flow that remembers it, lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

/// The place of a service in [`Services::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// One real server of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub addr: Addr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
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
}

/// One entry of a service's list of real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which server.
    pub server: ServerId,
    /// Its weight.
    pub weight: u32,
}

/// One service as described by control; input of [`Services::new`].
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
}

/// All services and servers.
#[derive(Debug, Default)]
pub struct Services {
    list: Vec<Service>,
    by_key: HashMap<ServiceKey, ServiceId>,
    servers: Vec<Option<Server>>,
    virtual_addrs: HashSet<Addr>,
    /// Sources of replies that pass the director: a packet from one of these that meets no flow
    /// here may belong to a flow of another worker.
    nat_sources: HashSet<(Protocol, Addr, u16)>,
    /// The addresses among `nat_sources`: fragments from there carry no port to look by.
    nat_addrs: HashSet<Addr>,
    /// The addresses of all local pools.
    local_addrs: HashSet<Addr>,
}

impl Services {
    /// Indexes `list`. `servers` holds every slot that a candidate or a live flow refers to; the
    /// `position` and `service` of the available ones are filled in here.
    ///
    /// # Panics
    /// When a candidate refers to a slot that is empty: control's mistake, found before publishing.
    #[must_use]
    pub fn new(list: Vec<Service>, mut servers: Vec<Option<Server>>) -> Self {
        let mut by_key = HashMap::with_capacity(list.len());
        let mut virtual_addrs = HashSet::with_capacity(list.len());
        for (at, service) in list.iter().enumerate() {
            let id = ServiceId(at as u32);
            by_key.insert(service.key, id);
            virtual_addrs.insert(service.key.addr);
            for (position, candidate) in service.servers.iter().enumerate() {
                let slot = servers
                    .get_mut(candidate.server.0 as usize)
                    .and_then(Option::as_mut);
                let server = slot.expect("a candidate's slot holds its server");
                server.position = position as u32;
                server.service = id;
            }
        }
        let nat_sources: HashSet<_> = servers
            .iter()
            .flatten()
            .filter(|server| server.method.sees_replies())
            .map(|server| (server.protocol, server.addr, server.port))
            .collect();
        let nat_addrs = nat_sources.iter().map(|(_, addr, _)| *addr).collect();
        let pools = list.iter().filter_map(|service| service.local.as_deref());
        let local_addrs = pools.flat_map(LocalPool::addrs).copied().collect();
        Self {
            list,
            by_key,
            servers,
            virtual_addrs,
            nat_sources,
            nat_addrs,
            local_addrs,
        }
    }

    /// The service that packets to this address and port belong to.
    #[inline]
    #[must_use]
    pub fn find(&self, key: ServiceKey) -> Option<(ServiceId, &Service)> {
        let id = *self.by_key.get(&key)?;
        Some((id, self.list.get(id.0 as usize)?))
    }

    /// The service at `id`.
    #[inline]
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.list.get(id.0 as usize)
    }

    /// The real server in slot `id`.
    #[inline]
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0 as usize)?.as_ref()
    }

    /// All services, in the order of the configuration.
    #[must_use]
    pub fn list(&self) -> &[Service] {
        &self.list
    }

    /// All server slots.
    #[must_use]
    pub fn servers(&self) -> &[Option<Server>] {
        &self.servers
    }

    /// True when some service has this virtual address.
    #[inline]
    #[must_use]
    pub fn is_virtual(&self, addr: Addr) -> bool {
        self.virtual_addrs.contains(&addr)
    }

    /// True when some service has this address in its pool of local ones.
    #[inline]
    #[must_use]
    pub fn is_local(&self, addr: Addr) -> bool {
        self.local_addrs.contains(&addr)
    }

    /// True when replies of NAT or FullNAT may come from this address.
    #[inline]
    #[must_use]
    pub fn is_nat_addr(&self, addr: Addr) -> bool {
        self.nat_addrs.contains(&addr)
    }

    /// True when packets from here may be replies of NAT or FullNAT.
    #[inline]
    #[must_use]
    pub fn is_nat_source(&self, protocol: Protocol, addr: Addr, port: u16) -> bool {
        self.nat_sources.contains(&(protocol, addr, port))
    }
}
