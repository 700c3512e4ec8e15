//! All services and servers, and how they are found.

mod former;

use alloc::sync::Arc;
use alloc::vec::Vec;

use weir_wire::plain::Ip;
use weir_wire::{Addr, Family};

use super::shared::{Chunks, Counted, Keyed, Mix, Shards, mix};
use crate::flow::Tuple;
use crate::local::LocalPool;
use crate::own_filter::OwnFilter;

use super::{FTP_DATA_PORT, FTP_PORT, Protocol, Server, ServerId, Service, ServiceId, ServiceKey};
use former::Formers;

pub use former::Former;

/// All services and servers.
///
/// A clone shares everything with its original, and a change to it copies only what it touches:
/// control keeps one, changes it and publishes clones.
#[derive(Clone, Debug, Default)]
pub struct Services {
    by_key: Shards<Found>,
    by_id: Chunks<Arc<Service>>,
    /// Places that a service left, to be used again.
    free: Vec<ServiceId>,
    len: u32,
    servers: Chunks<Server>,
    server_count: usize,
    /// Those among them that were removed.
    removed_count: usize,
    /// How often one was.
    removals: u64,
    virtual_addrs: Counted<Addr>,
    /// Sources of replies that pass the director: a packet from one of these that meets no flow
    /// here may belong to a flow of another worker.
    nat_sources: Shards<NatSource>,
    /// The addresses among `nat_sources`: fragments from there carry no port to look by.
    nat_addrs: Counted<Addr>,
    /// The ports of TCP services, removed ones whose flows may live among them.
    tcp_ports: Counted<Port>,
    /// The addresses of all local pools.
    local_addrs: Counted<Addr>,
    /// Servers whose flows are ended by resets, sorted.
    resets: Arc<[ServerId]>,
    /// There has been a local pool: most directors never have one, and each new flow asks.
    has_pools: bool,
    /// Of addresses that are in a local pool, or were.
    pooled: OwnFilter,
    /// How many services there are of IPv4 and of IPv6.
    by_family: [u32; 2],
    kinds: Kinds,
    /// Addresses that replies may come from whatever the port and the protocol.
    any_port_addrs: Counted<Addr>,
    /// How many servers have such.
    any_port_servers: u32,
    /// Services that were removed and may have flows.
    formers: Formers,
}

/// How many services there are of kinds that most directors do not have, and that new flows ask for.
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    marks: u32,
    /// Of every port of an address.
    catch_alls: u32,
    ftp: u32,
    engines: u32,
}

impl Kinds {
    fn of(service: &Service) -> Self {
        let key = &service.key;
        let engine = service.persistence.and_then(|p| p.engine);
        Self {
            marks: u32::from(key.mark != 0),
            catch_alls: u32::from(key.mark == 0 && key.port == 0),
            ftp: u32::from(key.port == FTP_PORT && key.protocol == Protocol::Tcp),
            engines: u32::from(engine.is_some()),
        }
    }

    fn add(&mut self, service: &Service) {
        let more = Self::of(service);
        self.marks += more.marks;
        self.catch_alls += more.catch_alls;
        self.ftp += more.ftp;
        self.engines += more.engines;
    }

    fn take_off(&mut self, service: &Service) {
        let less = Self::of(service);
        self.marks -= less.marks;
        self.catch_alls -= less.catch_alls;
        self.ftp -= less.ftp;
        self.engines -= less.engines;
    }
}

/// A port, as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port(u16);

impl Mix for Port {
    #[inline]
    fn mix(&self) -> u64 {
        mix(Addr(0), u64::from(self.0))
    }
}

/// Where TCP's packets come to a service: 0 for every port, and for what a mark says.
fn tcp_port(key: &ServiceKey) -> Option<Port> {
    let is_tcp = key.mark != 0 || key.protocol == Protocol::Tcp;
    is_tcp.then_some(Port(key.port))
}

/// A service and its place.
#[derive(Clone, Debug)]
struct Found {
    service: Arc<Service>,
    id: ServiceId,
}

impl Keyed for Found {
    type Key = ServiceKey;

    #[inline]
    fn key(&self) -> ServiceKey {
        self.service.key
    }
}

/// Where replies come from, and of which servers.
#[derive(Clone, Copy, Debug)]
struct NatSource {
    source: Source,
    servers: u32,
    /// Those of them that were not removed.
    available: u32,
    /// Their slots, XORed: of a single server its slot.
    slots: u32,
}

impl Keyed for NatSource {
    type Key = Source;

    #[inline]
    fn key(&self) -> Source {
        self.source
    }
}

impl NatSource {
    fn with(self, id: ServerId, is_available: bool) -> Self {
        Self {
            servers: self.servers + 1,
            available: self.available + u32::from(is_available),
            slots: self.slots ^ id.0,
            ..self
        }
    }

    fn without(self, id: ServerId, was_available: bool) -> Option<Self> {
        let servers = self.servers - 1;
        (servers > 0).then_some(Self {
            servers,
            available: self.available - u32::from(was_available),
            slots: self.slots ^ id.0,
            ..self
        })
    }
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    protocol: Protocol,
    addr: Addr,
    port: u16,
}

impl Mix for Source {
    #[inline]
    fn mix(&self) -> u64 {
        mix_end(self.protocol, self.addr, self.port)
    }
}

impl Mix for ServiceKey {
    #[inline]
    fn mix(&self) -> u64 {
        let rest = u64::from(self.port) << 8 | self.protocol as u64;
        mix(self.addr, u64::from(self.mark) << 32 | rest)
    }
}

#[inline]
fn mix_end(protocol: Protocol, addr: Addr, port: u16) -> u64 {
    mix(addr, u64::from(port) << 8 | protocol as u64)
}

/// By packets.
impl Services {
    /// The service that packets to this address and port belong to.
    #[inline]
    #[must_use]
    pub fn find(&self, key: ServiceKey) -> Option<(ServiceId, &Service)> {
        let found = self.by_key.find(key)?;
        Some((found.id, &found.service))
    }

    /// The service that takes a client's packet with this mark, 0 for none, as the kernel looks for it:
    /// that of the mark; that of the address and port; for ports that FTP may use, that of FTP at
    /// the address; that of every port of the address.
    #[inline]
    #[must_use]
    pub fn find_for(&self, request: &Tuple, mark: u32) -> Option<(ServiceId, &Service)> {
        let by_key = |key| self.find(key);
        if mark != 0 && self.kinds.marks != 0 {
            let family = request.dst.family();
            let found = by_key(ServiceKey::of_mark(mark, family));
            if found.is_some() {
                return found;
            }
        }
        let key = request.service_key();
        let found = by_key(key);
        if found.is_some() || self.kinds.ftp | self.kinds.catch_alls == 0 {
            return found;
        }
        let may_be_ftp = key.port == FTP_DATA_PORT || key.port >= 1024;
        if self.kinds.ftp != 0 && key.protocol == Protocol::Tcp && may_be_ftp {
            let port = FTP_PORT;
            let found = by_key(ServiceKey { port, ..key });
            if found.is_some() {
                return found;
            }
        }
        match self.kinds.catch_alls {
            0 => None,
            _ => by_key(ServiceKey { port: 0, ..key }),
        }
    }

    /// True when there are services of marks, or were.
    #[inline]
    #[must_use]
    pub fn has_marks(&self) -> bool {
        self.kinds.marks != 0 || self.formers.has_marks()
    }

    /// True when there are services with a persistence engine.
    #[inline]
    #[must_use]
    pub fn has_engines(&self) -> bool {
        self.kinds.engines != 0
    }

    /// The service at `id`.
    #[inline]
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.by_id.get(id.0 as usize).map(Arc::as_ref)
    }

    /// The real server in slot `id`.
    #[inline]
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0 as usize)
    }

    /// True when some service has this virtual address.
    #[inline]
    #[must_use]
    pub fn is_virtual(&self, addr: Addr) -> bool {
        self.virtual_addrs.contains(addr)
    }

    /// True when a TCP service may serve this port: its own, or every port.
    #[must_use]
    pub fn has_tcp_at(&self, port: u16) -> bool {
        self.tcp_ports.contains(Port(port)) || self.tcp_ports.contains(Port(0))
    }

    /// True when some service has this address in its pool of local ones.
    #[inline]
    #[must_use]
    pub fn is_local(&self, addr: Addr) -> bool {
        self.has_pools && self.local_addrs.contains(addr)
    }

    /// False for an address, as packets have it, that no service has in its pool.
    #[inline(always)]
    pub(crate) fn may_be_pooled<I: Ip>(&self, addr: I::Addr) -> bool {
        self.pooled.may_have::<I>(addr)
    }

    /// True when replies of NAT or FullNAT may come from this address.
    #[inline]
    #[must_use]
    pub fn is_nat_addr(&self, addr: Addr) -> bool {
        self.nat_addrs.contains(addr)
    }

    /// True when packets from here may be replies of NAT or FullNAT.
    #[inline]
    #[must_use]
    pub fn is_nat_source(&self, protocol: Protocol, addr: Addr, port: u16) -> bool {
        let source = Source {
            protocol,
            addr,
            port,
        };
        self.nat_sources.find(source).is_some()
            || (self.any_port_servers != 0 && self.any_port_addrs.contains(addr))
    }

    /// True when a NAT or FullNAT server that was not removed has this address and port.
    #[must_use]
    pub fn has_nat_server(&self, protocol: Protocol, addr: Addr, port: u16) -> bool {
        let source = Source {
            protocol,
            addr,
            port,
        };
        let found = self.nat_sources.find(source);
        found.is_some_and(|found| found.available > 0)
    }

    /// True when there are servers whose flows are ended by resets.
    #[inline]
    #[must_use]
    pub fn has_resets(&self) -> bool {
        !self.resets.is_empty()
    }

    /// The servers whose flows are ended by resets, sorted.
    #[must_use]
    pub fn all_resets(&self) -> &[ServerId] {
        &self.resets
    }

    /// True when the flows of this server are ended by resets: the time that it had to drain is over.
    #[must_use]
    pub fn resets(&self, id: ServerId) -> bool {
        self.resets.binary_search(&id).is_ok()
    }

    /// The server whose packets come from here; none when it is a server of several services, or of
    /// none whose replies pass the director.
    #[must_use]
    pub fn nat_server(
        &self,
        protocol: Protocol,
        addr: Addr,
        port: u16,
    ) -> Option<(ServerId, &Server)> {
        let source = Source {
            protocol,
            addr,
            port,
        };
        let of_any_port = || {
            let source = Source { port: 0, ..source };
            self.nat_sources.find(source)
        };
        let found = self.nat_sources.find(source).or_else(of_any_port)?;
        let only = (found.servers == 1).then_some(ServerId(found.slots))?;
        Some((only, self.server(only)?))
    }
}

/// By control.
impl Services {
    /// These services. `servers` holds every slot that a candidate or a live flow refers to.
    ///
    /// # Panics
    /// As [`put`](Self::put).
    #[must_use]
    pub fn new(services: Vec<Service>, servers: Vec<Option<Server>>) -> Self {
        let mut all = Self::default();
        for (slot, server) in (0..).map(ServerId).zip(servers) {
            all.set_server(slot, server);
        }
        for service in services {
            all.put(service);
        }
        all
    }

    /// All services, by their place.
    pub fn iter(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        let services = self.by_id.iter();
        services.map(|(at, service)| (ServiceId(at as u32), service.as_ref()))
    }

    /// All servers, by their slot.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        let servers = self.servers.iter();
        servers.map(|(at, server)| (ServerId(at as u32), server))
    }

    /// How many servers there are, with those that were removed and are remembered by flows.
    #[must_use]
    pub fn server_count(&self) -> usize {
        self.server_count
    }

    /// True while a removed server is remembered.
    #[must_use]
    pub fn has_removed(&self) -> bool {
        self.removed_count > 0
    }

    /// How many times a server was removed, of all there ever were.
    #[must_use]
    pub fn removals(&self) -> u64 {
        self.removals
    }

    /// How many services there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize - self.free.len()
    }

    /// True when there is a service of this family.
    #[inline]
    #[must_use]
    pub fn has_family(&self, family: Family) -> bool {
        self.by_family[family as usize] > 0
    }

    /// True when there is no service.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `service`, or puts it in the place of the one with its key, and fills in `position`
    /// and `service` of its servers, whose slots are set.
    ///
    /// # Panics
    /// When a candidate refers to a slot that is empty: control's mistake, found before publishing.
    pub fn put(&mut self, service: Service) -> ServiceId {
        let held = self.by_key.find(service.key).map(|found| found.id);
        let id = held.unwrap_or_else(|| {
            self.by_family[service.key.addr.family() as usize] += 1;
            if service.key.mark == 0 {
                self.virtual_addrs.count(service.key.addr);
            }
            if let Some(port) = tcp_port(&service.key) {
                self.tcp_ports.count(port);
            }
            self.free.pop().unwrap_or_else(|| {
                self.len += 1;
                ServiceId(self.len - 1)
            })
        });
        for (position, candidate) in (0..).zip(&service.servers) {
            let slot = self.servers.get(candidate.server.0 as usize);
            let server = slot.expect("a candidate's slot holds its server");
            if (server.position, server.service) != (position, id) {
                let server = Server {
                    position,
                    service: id,
                    ..*server
                };
                *self.servers.place(candidate.server.0 as usize) = Some(server);
            }
        }
        let service = Arc::new(service);
        let before = self
            .by_id
            .place(id.0 as usize)
            .replace(Arc::clone(&service));
        self.kinds.add(&service);
        if let Some(before) = &before {
            self.kinds.take_off(before);
        }
        let before = before.and_then(|service| service.local.clone());
        if before != service.local {
            self.has_pools |= service.local.is_some();
            each_local(&service.local, |addr| {
                self.local_addrs.count(addr);
                self.pooled.add(addr);
            });
            each_local(&before, |addr| self.local_addrs.uncount(addr));
        }
        self.by_key.put(Found { service, id });
        id
    }

    /// Takes the service with this key out. Its servers keep their slots.
    pub fn remove(&mut self, key: ServiceKey) {
        if let Some(found) = self.by_key.remove(key) {
            *self.by_id.place(found.id.0 as usize) = None;
            self.free.push(found.id);
            self.by_family[key.addr.family() as usize] -= 1;
            self.kinds.take_off(&found.service);
            if let Some(port) = tcp_port(&key) {
                self.tcp_ports.uncount(port);
            }
            if key.mark == 0 {
                self.virtual_addrs.uncount(key.addr);
            }
            each_local(&found.service.local, |addr| self.local_addrs.uncount(addr));
        }
    }

    /// Has the flows of the server in slot `id`, which has weight 0, ended by resets, or no longer.
    /// True when it was otherwise before.
    pub fn set_resets(&mut self, id: ServerId, resets: bool) -> bool {
        let others = self.resets.iter().copied().filter(|other| *other != id);
        let mut all: Vec<_> = others.chain(resets.then_some(id)).collect();
        all.sort_unstable();
        let is_changed = *all != *self.resets;
        if is_changed {
            self.resets = all.into();
        }
        is_changed
    }

    /// Fills or empties the slot `id`.
    pub fn set_server(&mut self, id: ServerId, server: Option<Server>) {
        if self.server(id) == server.as_ref() {
            return;
        }
        let before = core::mem::replace(self.servers.place(id.0 as usize), server);
        self.server_count += usize::from(server.is_some());
        self.server_count -= usize::from(before.is_some());
        let is_removed = |server: Option<Server>| server.is_some_and(|s| !s.is_available);
        self.removed_count += usize::from(is_removed(server));
        self.removed_count -= usize::from(is_removed(before));
        self.removals += u64::from(is_removed(server) && !is_removed(before));
        let any_port = |server: Option<Server>| {
            let server = server.filter(|s| s.has_any_port && s.may_reply());
            server.map(|server| server.addr)
        };
        if let Some(addr) = any_port(server) {
            self.any_port_addrs.count(addr);
            self.any_port_servers += 1;
        }
        if let Some(addr) = any_port(before) {
            self.any_port_addrs.uncount(addr);
            self.any_port_servers -= 1;
        }
        let (old, new) = (before.and_then(nat_source), server.and_then(nat_source));
        if old == new {
            return;
        }
        if let Some((source, is_available)) = new {
            let none = NatSource {
                source,
                servers: 0,
                available: 0,
                slots: 0,
            };
            let held = self.nat_sources.find(source).copied().unwrap_or(none);
            self.nat_sources.put(held.with(id, is_available));
            self.nat_addrs.count(source.addr);
        }
        if let Some((source, was_available)) = old {
            let held = self.nat_sources.remove(source);
            if let Some(left) = held.and_then(|held| held.without(id, was_available)) {
                self.nat_sources.put(left);
            }
            self.nat_addrs.uncount(source.addr);
        }
    }
}

fn each_local(pool: &Option<Arc<LocalPool>>, mut on: impl FnMut(Addr)) {
    let addrs = pool.iter().flat_map(|pool| pool.addrs());
    addrs.for_each(|addr| on(*addr));
}

/// Where the replies of a server come from, if they pass the director; and whether it is a NAT server now.
fn nat_source(server: Server) -> Option<(Source, bool)> {
    let source = Source {
        protocol: server.protocol,
        addr: server.addr,
        port: server.port,
    };
    let may_begin = server.is_available && server.method.sees_replies();
    server.may_reply().then_some((source, may_begin))
}

#[cfg(test)]
mod tests;
