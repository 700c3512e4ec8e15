//! From the configuration's services to the workers' ones: the one place where both vocabularies
//! meet, and where a service's list keeps its order from reload to reload.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_core::flow::Timeouts;
use weir_core::local::LocalPool;
use weir_core::schedule::{Scheduler, SchedulerName};
use weir_core::service::{
    Candidate, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey, Services,
};
use weir_core::snapshot::Settings;
use weir_model::api::Rates;
use weir_wire::Addr;
use weir_worker::Handle;

use crate::slots::{NoSlots, SlotKey, Slots};
use crate::totals::{Estimator, Totals};

/// Cursors of `wrr` hold this many bits of the generation.
const GENERATIONS: u16 = 1 << 12;

/// What is remembered of services and servers from one publication to the next.
#[derive(Debug)]
pub struct Compiler {
    slots: Slots,
    services: HashMap<weir_model::ServiceKey, Held>,
}

/// A service as the workers have it.
#[derive(Debug)]
struct Held {
    scheduler: weir_model::SchedulerName,
    /// The scheduler is not the one that the service began with.
    is_changed_scheduler: bool,
    cursor: Arc<AtomicU64>,
    generation: u16,
    /// It has or had NAT servers. Never false again: flows keep to the owner they were made by.
    by_client: bool,
    /// The last added first, as IPVS lists them.
    list: Vec<Entry>,
    /// Servers that left while the cursor may stand on them, in that order, with their predecessors.
    departed: Vec<(ServerId, Option<ServerId>)>,
    /// What its freed slots carried, so that its sum never falls.
    retired: Totals,
    estimator: Estimator,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: weir_model::ServerKey,
    id: ServerId,
    weight: u16,
}

impl Compiler {
    /// Remembers nothing yet; there are `servers_max` slots.
    #[must_use]
    pub fn new(servers_max: usize) -> Self {
        Self {
            slots: Slots::new(servers_max),
            services: HashMap::new(),
        }
    }

    /// The slots of the servers.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether all servers of `wanted` could have a slot.
    ///
    /// # Errors
    /// [`NoSlots`] when there are too few.
    pub fn check_room(&self, wanted: &[weir_model::Service]) -> Result<(), NoSlots> {
        let keys = wanted.iter().flat_map(|service| {
            let key_of = |server: &weir_model::Server| slot_key(service, server);
            service.servers.iter().map(key_of)
        });
        self.slots.check_room(keys)
    }

    /// What the workers are to decide by from `epoch` on. [`check_room`](Self::check_room) comes
    /// first.
    pub fn compile(
        &mut self,
        wanted: &[weir_model::Service],
        workers: &[Handle],
        epoch: u64,
    ) -> Services {
        let keys: HashSet<_> = wanted.iter().map(weir_model::Service::key).collect();
        let slots = &mut self.slots;
        self.services.retain(|key, held| {
            let stays = keys.contains(key);
            if !stays {
                held.list.iter().for_each(|e| slots.remove(e.id, epoch));
            }
            stays
        });
        for service in wanted {
            let held = self
                .services
                .entry(service.key())
                .or_insert_with(|| Held::new(service.scheduler));
            held.set_scheduler(service.scheduler);
            held.set_servers(service, &mut self.slots, workers, epoch);
        }
        let list = wanted.iter().map(|service| {
            let held = self.services.get(&service.key());
            held.expect("it was entered above").compile(service)
        });
        Services::new(list.collect(), self.servers())
    }

    /// Every slot in use; those of removed servers are not available.
    fn servers(&self) -> Vec<Option<Server>> {
        let mut servers = vec![None; self.slots.len()];
        for (id, slot) in self.slots.iter() {
            servers[id.0 as usize] = Some(Server {
                addr: Addr::from(slot.key.server.address),
                port: slot.key.server.port,
                method: slot.method,
                weight: 0,
                protocol: protocol(slot.key.service.protocol),
                is_available: !slot.is_removed(),
                position: 0,
                service: ServiceId(0),
            });
        }
        let entries = self.services.values().flat_map(|held| &held.list);
        for entry in entries {
            if let Some(server) = &mut servers[entry.id.0 as usize] {
                server.weight = u32::from(entry.weight);
            }
        }
        servers
    }

    /// Forgets removed servers that no flow remembers; `adopted` is the oldest epoch that a worker
    /// still decides by, `newest` the one published last. True when there were any: what the
    /// workers have is then larger than need be.
    pub fn reap(&mut self, workers: &[Handle], adopted: u64, newest: u64) -> bool {
        if adopted < newest {
            // A worker may still put a cursor on a departed server.
            return false;
        }
        self.services.values_mut().for_each(Held::settle);
        let freed = self.slots.reap(workers, adopted);
        for (key, carried) in &freed {
            if let Some(held) = self.services.get_mut(&key.service) {
                held.retired += *carried;
            }
        }
        !freed.is_empty()
    }

    /// What each service carried: the sum of its servers, present and former.
    #[must_use]
    pub fn service_totals(&self, workers: &[Handle]) -> HashMap<weir_model::ServiceKey, Totals> {
        let retired = self.services.iter().map(|(key, held)| (*key, held.retired));
        let mut sums: HashMap<_, _> = retired.collect();
        for (id, slot) in self.slots.iter() {
            if let Some(sum) = sums.get_mut(&slot.key.service) {
                *sum += self.slots.totals(workers, id);
            }
        }
        sums
    }

    /// A service's rates as estimated last.
    #[must_use]
    pub fn service_rates(&self, key: weir_model::ServiceKey) -> Rates {
        let held = self.services.get(&key);
        held.map(|held| held.estimator.rates()).unwrap_or_default()
    }

    /// Lets all rates take the last `seconds` into account.
    pub fn estimate(&mut self, workers: &[Handle], seconds: f64) {
        self.slots.estimate(workers, seconds);
        for (key, totals) in self.service_totals(workers) {
            if let Some(held) = self.services.get_mut(&key) {
                held.estimator.observe(totals, seconds);
            }
        }
    }
}

impl Held {
    fn new(scheduler: weir_model::SchedulerName) -> Self {
        Self {
            scheduler,
            is_changed_scheduler: false,
            cursor: Arc::default(),
            generation: 1,
            by_client: false,
            list: Vec::new(),
            departed: Vec::new(),
            retired: Totals::default(),
            estimator: Estimator::default(),
        }
    }

    /// Another scheduler starts afresh: the old one's cursor means nothing to it.
    fn set_scheduler(&mut self, scheduler: weir_model::SchedulerName) {
        if self.scheduler != scheduler {
            self.scheduler = scheduler;
            self.is_changed_scheduler = true;
            self.cursor = Arc::default();
            self.generation = 1;
            self.departed.clear();
        }
    }

    fn set_servers(
        &mut self,
        wanted: &weir_model::Service,
        slots: &mut Slots,
        workers: &[Handle],
        epoch: u64,
    ) {
        let mut is_changed = self.drop_unwanted(wanted, slots, epoch);
        let places = self.list.iter().enumerate().map(|(at, e)| (e.id, at));
        let places: HashMap<ServerId, usize> = places.collect();
        let mut added = Vec::new();
        for server in &wanted.servers {
            self.by_client |= server.method == weir_model::Method::Nat;
            let id = slots.take(slot_key(wanted, server), method(server.method), workers);
            match places.get(&id) {
                Some(&at) => {
                    is_changed |= self.list[at].weight != server.weight;
                    self.list[at].weight = server.weight;
                }
                None => added.push(Entry {
                    key: server.key(),
                    id,
                    weight: server.weight,
                }),
            }
        }
        is_changed |= !added.is_empty();
        self.add(added);
        if is_changed {
            self.generation = (self.generation + 1) % GENERATIONS;
        }
    }

    /// True when there were any.
    fn drop_unwanted(
        &mut self,
        wanted: &weir_model::Service,
        slots: &mut Slots,
        epoch: u64,
    ) -> bool {
        let keys = wanted.servers.iter().map(weir_model::Server::key);
        let keys: HashSet<_> = keys.collect();
        let before = self.list.len();
        let mut predecessor = None;
        self.list.retain(|entry| {
            let stays = keys.contains(&entry.key);
            if stays {
                predecessor = Some(entry.id);
            } else {
                self.departed.push((entry.id, predecessor));
                slots.remove(entry.id, epoch);
            }
            stays
        });
        self.list.len() < before
    }

    /// Servers enter at the head, one after the other, wherever they stand in the file, as
    /// `ipvsadm -a` does it; so the first list is the reverse of the file.
    fn add(&mut self, mut added: Vec<Entry>) {
        let has_departed = |id| self.departed.iter().any(|(gone, _)| *gone == id);
        if added.iter().any(|entry| has_departed(entry.id)) {
            // It comes back at another place, where the cursor does not stand.
            self.settle();
        }
        added.reverse();
        added.append(&mut self.list);
        self.list = added;
    }

    /// Moves the cursor from departed servers to their predecessors, as the kernel does at once;
    /// here only when no worker has the old list any more.
    fn settle(&mut self) {
        for (gone, predecessor) in self.departed.drain(..) {
            // The cursor of wrr names a place and its generation, which is not to be touched.
            if self.scheduler == weir_model::SchedulerName::Rr {
                let of = |id: ServerId| u64::from(id.0) + 1;
                let _ = self.cursor.compare_exchange(
                    of(gone),
                    predecessor.map_or(0, of),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }
    }

    fn compile(&self, wanted: &weir_model::Service) -> Service {
        let candidate = |entry: &Entry| Candidate {
            server: entry.id,
            weight: u32::from(entry.weight),
        };
        let servers: Box<[Candidate]> = self.list.iter().map(candidate).collect();
        let scheduler = Scheduler::build(scheduler_name(self.scheduler), &servers);
        if self.is_changed_scheduler && self.cursor.load(Ordering::Relaxed) == 0 {
            let start = scheduler.cursor_after_change(self.generation);
            self.cursor.store(start, Ordering::Relaxed);
        }
        Service {
            key: service_key(wanted.key()),
            scheduler,
            cursor: Arc::clone(&self.cursor),
            generation: self.generation,
            servers,
            departed: self.departed.clone().into(),
            by_client: self.by_client,
            local: local_pool(wanted),
        }
    }
}

fn slot_key(service: &weir_model::Service, server: &weir_model::Server) -> SlotKey {
    SlotKey {
        service: service.key(),
        server: server.key(),
    }
}

/// What stands for clients at the FullNAT servers of a service.
fn local_pool(service: &weir_model::Service) -> Option<Arc<LocalPool>> {
    service.has_fullnat().then(|| {
        let addrs = service.local_addresses.iter().copied().map(Addr::from);
        let addrs: Vec<Addr> = addrs.collect();
        let ports = service.local_ports;
        Arc::new(LocalPool::new(&addrs, ports.first..=ports.last))
    })
}

/// The workers' name of a service.
#[must_use]
pub fn service_key(key: weir_model::ServiceKey) -> ServiceKey {
    ServiceKey {
        protocol: protocol(key.protocol),
        addr: Addr::from(key.address),
        port: key.port,
    }
}

/// The workers' word for a protocol.
#[must_use]
pub fn protocol(protocol: weir_model::Protocol) -> Protocol {
    match protocol {
        weir_model::Protocol::Tcp => Protocol::Tcp,
        weir_model::Protocol::Udp => Protocol::Udp,
    }
}

/// The workers' word for a forwarding method.
#[must_use]
pub fn method(method: weir_model::Method) -> Method {
    match method {
        weir_model::Method::Nat => Method::Nat,
        weir_model::Method::Dr => Method::Dr,
        weir_model::Method::Tun => Method::Tun,
        weir_model::Method::FullNat => Method::FullNat,
    }
}

/// The configuration's word for a protocol.
#[must_use]
pub fn model_protocol(protocol: Protocol) -> weir_model::Protocol {
    match protocol {
        Protocol::Tcp => weir_model::Protocol::Tcp,
        Protocol::Udp => weir_model::Protocol::Udp,
    }
}

/// The configuration's word for a forwarding method.
#[must_use]
pub fn model_method(method: Method) -> weir_model::Method {
    match method {
        Method::Nat => weir_model::Method::Nat,
        Method::Dr => weir_model::Method::Dr,
        Method::Tun => weir_model::Method::Tun,
        Method::FullNat => weir_model::Method::FullNat,
    }
}

fn scheduler_name(name: weir_model::SchedulerName) -> SchedulerName {
    match name {
        weir_model::SchedulerName::Rr => SchedulerName::Rr,
        weir_model::SchedulerName::Wrr => SchedulerName::Wrr,
    }
}

/// Lifetimes and switches for the workers.
#[must_use]
pub fn settings(config: &weir_model::Config) -> Settings {
    let timeouts = &config.timeouts;
    Settings {
        timeouts: Timeouts::with(timeouts.tcp, timeouts.tcp_fin, timeouts.udp),
        pmtu_disc: config.settings.pmtu_disc,
    }
}

#[cfg(test)]
mod tests;
