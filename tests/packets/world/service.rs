//! The services of a world.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weir_core::local::LocalPool;
use weir_core::persist::Persistence;
use weir_core::schedule::SchedulerName;
use weir_core::schedule::consistent::Consistent;
use weir_core::service::{
    Candidate, FTP_PORT, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey, Tunnel,
};
use weir_core::testing::scheduler;
use weir_wire::Addr;

use super::{Net, World, number_of};

/// A service of a world.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) key: ServiceKey,
    pub(crate) scheduler: SchedulerName,
    pub(crate) method: Method,
    pub(crate) tunnel: Tunnel,
    /// The addresses of its servers.
    pub(crate) servers_of: Net,
    /// Server number, port and weight, in the order of addition. Numbers 16 + N and 32 + N
    /// are server N again, as that of another service.
    pub(crate) servers: Vec<(u8, u16, u32)>,
    /// How many local addresses FullNAT has, and the first and last port of each.
    pub(crate) local: (u8, u16, u16),
    /// New flows a second, 0 for as many as come.
    pub(crate) new_flows_max: u32,
    pub(crate) one_packet: bool,
    pub(crate) persistence: Option<Persistence>,
    /// Servers that are reached by NAT, whatever the method of the others.
    pub(crate) by_nat: Vec<u8>,
}

impl Described {
    /// TCP port 80 of the VIP over servers 1, 2 and 3 by rr.
    pub(crate) fn web(net: &Net, method: Method) -> Self {
        Self {
            key: ServiceKey {
                protocol: Protocol::Tcp,
                addr: net.vip,
                port: 80,
                mark: 0,
            },
            scheduler: SchedulerName::Rr,
            method,
            tunnel: Tunnel::Ipip,
            servers_of: *net,
            servers: vec![(1, 80, 1), (2, 80, 1), (3, 80, 1)],
            local: (2, 1024, 65535),
            new_flows_max: 0,
            one_packet: false,
            persistence: None,
            by_nat: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn service(
        &self,
        described: &Described,
        cursor: Arc<AtomicU64>,
        removed: &[u8],
        slots: &mut [Option<Server>],
    ) -> Service {
        let net = described.servers_of;
        let key = described.key;
        let has_any_port = key.port == 0 || key.port == FTP_PORT;
        let mut candidates = Vec::new();
        let mut ends = Vec::new();
        // IPVS's list: the server added last comes first.
        for &(n, port, weight) in described.servers.iter().rev() {
            let is_available = !removed.contains(&n);
            slots[usize::from(n)] = Some(Server {
                addr: net.server(number_of(n)),
                port,
                method: match described.by_nat.contains(&n) {
                    true => Method::Nat,
                    false => described.method,
                },
                tunnel: described.tunnel,
                weight,
                protocol: described.key.protocol,
                is_available,
                position: 0,
                service: ServiceId(0),
                thresholds: self.thresholds.get(&n).copied().unwrap_or_default(),
                has_any_port,
                was_nat: false,
            });
            if is_available {
                candidates.push(Candidate {
                    server: ServerId(n.into()),
                    weight,
                });
                ends.push((net.server(n), port, weight));
            }
        }
        Service {
            key: described.key,
            scheduler: scheduler(described.scheduler, &candidates),
            cursor,
            generation: self.generation,
            servers: candidates.into(),
            departed: [].into(),
            by_client: described.method == Method::Nat || !described.by_nat.is_empty(),
            consistent: Arc::new(Consistent::new(&ends)),
            new_flows_max: described.new_flows_max,
            one_packet: described.one_packet,
            persistence: described.persistence,
            local: (described.method == Method::FullNat).then(|| {
                let (count, first, last) = described.local;
                let addrs: Vec<Addr> = (0..count).map(|n| net.local(n)).collect();
                Arc::new(LocalPool::new(&addrs, first..=last))
            }),
        }
    }
}
