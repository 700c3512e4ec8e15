//! How much of their local ports FullNAT's servers use, told before they run out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::warn;

use weir_model::{PortRange, Protocol, ServerKey, Service, ServiceKey};
use weir_worker::Handle;

use crate::slots::{SlotKey, Slots};

/// The share from which on the log tells; `conf/alerts.yml` has the same.
const SCARCE: f64 = 0.8;

/// Between two such lines.
const PAUSE: Duration = Duration::from_secs(60);

/// The local ports in use, by real server.
///
/// Services may share local addresses and real servers, and then share the ports between them too:
/// what counts is the flows of all of them.
#[derive(Debug, Default)]
pub(crate) struct LocalUse<'a> {
    pools: HashMap<ServiceKey, Pool<'a>>,
    flows: HashMap<(Option<Protocol>, ServerKey, Pool<'a>), Vec<u64>>,
}

/// The local addresses and ports of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pool<'a> {
    addresses: &'a [IpAddr],
    first: u16,
    last: u16,
}

impl Pool<'_> {
    fn len(self) -> u64 {
        let (first, last) = (self.first, self.last);
        self.addresses.len() as u64 * u64::from(PortRange { first, last }.count())
    }
}

impl<'a> LocalUse<'a> {
    /// Counts what `workers` hold. Without FullNAT it takes no time.
    pub(crate) fn of(services: &'a [Service], slots: &Slots, workers: &[Handle]) -> Self {
        let mut all = slots.fullnat().peekable();
        if all.peek().is_none() {
            return Self::default();
        }
        let pool = |service: &'a Service| {
            let pool = Pool {
                addresses: &service.local_addresses,
                first: service.local_ports.first,
                last: service.local_ports.last,
            };
            (service.key, pool)
        };
        // Asking every server of every service would take longer than all the rest.
        let has_fullnat = |s: &&Service| !s.local_addresses.is_empty() && s.has_fullnat();
        let with_fullnat = services.iter().filter(has_fullnat);
        let pools: HashMap<_, _> = with_fullnat.map(pool).collect();
        let mut flows: HashMap<_, Vec<u64>> = HashMap::new();
        for (id, slot) in all {
            // A removed server's flows keep their ports; a removed service has none to give.
            let Some(pool) = pools.get(&slot.key.service) else {
                continue;
            };
            let key = (slot.key.service.protocol(), slot.key.server, *pool);
            let sums = flows.entry(key).or_insert_with(|| vec![0; workers.len()]);
            for (sum, worker) in sums.iter_mut().zip(workers) {
                if let Some(load) = worker.counters().loads.get(id.0 as usize) {
                    *sum += load.get().total();
                }
            }
        }
        Self { pools, flows }
    }

    /// The share in use of each worker's ports to a server, in the order of the workers; empty for
    /// one that is not reached by FullNAT.
    pub(crate) fn ratios(&self, key: SlotKey) -> Vec<f64> {
        let Some(pool) = self.pools.get(&key.service) else {
            return Vec::new();
        };
        let flows = self.flows.get(&(key.service.protocol(), key.server, *pool));
        flows.map_or_else(Vec::new, |flows| ratios(*pool, flows))
    }

    /// Servers of which a worker has used [`SCARCE`] of the ports or more; the fullest, and how many.
    fn scarce(&self) -> Option<(ServerKey, Protocol, f64, usize)> {
        let fullest = |((protocol, server, pool), flows): (&(_, _, Pool<'_>), &Vec<u64>)| {
            let most = ratios(*pool, flows).into_iter().fold(0.0, f64::max);
            (*server, *protocol, most)
        };
        let scarce = self.flows.iter().map(fullest);
        let scarce: Vec<_> = scarce.filter(|(.., most)| *most >= SCARCE).collect();
        let by_share = |a: &&(_, _, f64), b: &&(_, _, f64)| a.2.total_cmp(&b.2);
        let (server, protocol, most) = *scarce.iter().max_by(by_share)?;
        Some((server, protocol?, most, scarce.len()))
    }
}

fn ratios(pool: Pool<'_>, flows: &[u64]) -> Vec<f64> {
    let share = pool.len() as f64 / flows.len() as f64;
    flows.iter().map(|flows| *flows as f64 / share).collect()
}

/// Writes to the log when local ports run short.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    told: Option<Instant>,
}

impl Watch {
    /// What is to be told now, if anything.
    fn look(&mut self, used: &LocalUse<'_>, now: Instant) -> Option<String> {
        if self
            .told
            .is_some_and(|told| now.duration_since(told) < PAUSE)
        {
            return None;
        }
        let (server, protocol, most, count) = used.scarce()?;
        self.told = Some(now);
        let others = match count - 1 {
            0 => String::new(),
            others => format!(", and {others} servers more are near it"),
        };
        Some(format!(
            "the local ports towards {protocol} server {server} are {:.0} % used{others}: give the \
             service more local_addresses, or new flows will be dropped",
            most * 100.0
        ))
    }

    /// Looks, and tells at most once a minute.
    pub(crate) fn check(&mut self, used: &LocalUse<'_>, now: Instant) {
        if let Some(line) = self.look(used, now) {
            warn!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{active, fullnat_service, state, worker};
    use weir_core::load::Connections;
    use weir_model::api::ServerView;

    fn server(text: &str) -> ServerKey {
        let at: std::net::SocketAddr = text.parse().expect("an address");
        ServerKey {
            address: at.ip(),
            port: at.port(),
        }
    }

    #[test]
    fn the_share_counts_each_workers_flows_against_its_part_of_the_ports() {
        let workers = [worker(0), worker(1)];
        let state = state(&fullnat_service(80, 20), workers.to_vec());
        workers[0].counters().loads[0].add(active(3));
        workers[0].counters().loads[0].add(Connections::INACTIVE);
        workers[1].counters().loads[0].add(active(5));
        let used = state.local_use();
        let key = SlotKey {
            service: state.config().services[0].key,
            server: server("10.0.0.1:80"),
        };
        assert_eq!(used.ratios(key), [0.4, 0.5]);
        let view: &ServerView = &state.services().services[0].servers[0];
        assert_eq!(view.local_ports_used_ratio, Some(0.5));
    }

    #[test]
    fn services_that_share_server_and_addresses_share_the_ports() {
        let worker = worker(0);
        let both = fullnat_service(80, 20) + &fullnat_service(81, 20);
        let state = state(&both, vec![worker.clone()]);
        for slot in [0, 1] {
            worker.counters().loads[slot].add(active(4));
        }
        for service in &state.services().services {
            assert_eq!(service.servers[0].local_ports_used_ratio, Some(0.4));
        }
    }

    #[test]
    fn scarcity_is_told_once_a_minute_with_the_fullest_server() {
        let worker = worker(0);
        let state = state(&fullnat_service(80, 20), vec![worker.clone()]);
        let (mut watch, now) = (Watch::default(), Instant::now());
        worker.counters().loads[0].add(active(15));
        assert_eq!(watch.look(&state.local_use(), now), None);
        worker.counters().loads[0].add(active(1));
        let line = watch.look(&state.local_use(), now).expect("80 %");
        assert!(line.starts_with("the local ports towards tcp server 10.0.0.1:80 are 80 % used: "));
        let soon = now + Duration::from_secs(59);
        assert_eq!(watch.look(&state.local_use(), soon), None);
        let later = now + PAUSE;
        assert!(watch.look(&state.local_use(), later).is_some());
    }
}
