//! From the configuration's services to the workers' ones: the one place where both vocabularies
//! meet, and where a service's list keeps its order from reload to reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use weir_core::flow::Timeouts;
use weir_core::io::PortId;
use weir_core::load::{Loads, Thresholds};
use weir_core::local::LocalPool;
use weir_core::mark::{MarkRule, MarkRules};
use weir_core::persist::{Engine, Persistence, Templates, mask_of_len, mask_of_v4};
use weir_core::schedule::consistent::Consistent;
use weir_core::schedule::{HashFlags, Member, Recipe, Scheduler, SchedulerName, Weights};
use weir_core::service::{
    Candidate, FTP_PORT, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey,
    Services, Tunnel,
};
use weir_core::settings::{Defence, FtpPorts, Ipvs, Settings};
use weir_core::time::seconds;
use weir_model::api::Rates;
use weir_model::{
    PersistenceEngine, PersistenceMask, SchedulerFlag, ServerKey, TunnelChecksum, TunnelKind,
};
use weir_wire::{Addr, Family};
use weir_worker::Handle;

use crate::difference::{Edit, ServiceStep};
use crate::slots::{NoSlots, SlotKey, Slots};
use crate::totals::{Estimator, Totals};

/// Cursors of `wrr` hold this many bits of the generation.
const GENERATIONS: u16 = 1 << 12;

/// What is remembered of services and servers from one publication to the next.
#[derive(Debug)]
pub struct Compiler {
    slots: Slots,
    services: HashMap<weir_model::ServiceKey, Held>,
    /// Services with departed servers.
    unsettled: HashSet<weir_model::ServiceKey>,
    /// What the workers are to have next. What they have is a clone of an earlier state of it,
    /// which shares all that did not change.
    next: Services,
    /// Which servers are overloaded.
    loads: Arc<Loads>,
    /// Of all services together.
    estimator: Estimator,
    /// What each worker had carried when all was asked to count from zero.
    worker_zeros: Vec<Totals>,
}

/// A service as the workers have it.
#[derive(Debug)]
struct Held {
    recipe: Recipe,
    /// As the workers have it, once they do.
    scheduler: Option<Scheduler>,
    cursor: Arc<AtomicU64>,
    generation: u16,
    /// With `wrr`: the weights after each step of a change that the cursor has yet to take.
    weights: Vec<Weights>,
    /// It has or had NAT servers. Never false again: flows keep to the owner they were made by.
    by_client: bool,
    /// What stands for clients at its FullNAT servers.
    local: Option<Arc<LocalPool>>,
    /// As the configuration has them.
    new_flows_max: u32,
    /// How its clients are remembered.
    persistence: Option<Persistence>,
    one_packet: bool,
    /// In the order of their addition: IPVS's list from its end to its head.
    list: Vec<Entry>,
    /// Servers that left while the cursor may stand on them, in that order, with their predecessors.
    departed: Vec<(ServerId, Option<ServerId>)>,
    /// Servers that left it and whose slots are not freed.
    former: HashSet<ServerId>,
    /// What its freed slots carried, so that its sum never falls.
    retired: Totals,
    estimator: Estimator,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: ServerKey,
    id: ServerId,
    weight: u32,
    /// The last weight since it was added that was not 0, or 0.
    last_weight: u32,
}

impl Compiler {
    /// Remembers nothing yet; there are `servers_max` slots, whose connections `loads` knows.
    #[must_use]
    pub fn new(servers_max: usize, loads: Arc<Loads>) -> Self {
        Self {
            slots: Slots::new(servers_max),
            services: HashMap::new(),
            unsettled: HashSet::new(),
            next: Services::default(),
            loads,
            estimator: Estimator::default(),
            worker_zeros: Vec::new(),
        }
    }

    /// The slots of the servers.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether all servers that come could have a slot.
    ///
    /// # Errors
    /// [`NoSlots`] when there are too few.
    pub fn check_room(&self, steps: &[ServiceStep<'_>]) -> Result<(), NoSlots> {
        let coming = steps.iter().flat_map(|step| {
            let (service, whole, some) = match step {
                ServiceStep::Add(service) => (*service, &service.servers[..], &[][..]),
                ServiceStep::Edit(edit) => (edit.new, &[][..], &edit.added[..]),
                ServiceStep::Remove(service) => (*service, &[][..], &[][..]),
            };
            let servers = whole.iter().chain(some.iter().copied());
            servers.map(|server| slot_key(service.key, server.key()))
        });
        self.slots.check_room(coming)
    }

    /// What the workers are to decide by.
    #[must_use]
    pub fn services(&self) -> Arc<Services> {
        Arc::new(self.next.clone())
    }

    /// Takes `steps`, which hold from `epoch` on; [`check_room`](Self::check_room) comes first.
    /// Takes time in proportion to the services that change. False when the workers need not know.
    pub fn apply(&mut self, steps: &[ServiceStep<'_>], workers: &[Handle], epoch: u64) -> bool {
        let mut is_changed = false;
        for step in steps {
            is_changed |= match step {
                ServiceStep::Remove(service) => self.remove(service.key, workers, epoch),
                ServiceStep::Add(service) => self.add(service, workers),
                ServiceStep::Edit(edit) => self.edit(edit, workers, epoch),
            };
        }
        is_changed
    }

    fn remove(&mut self, key: weir_model::ServiceKey, workers: &[Handle], epoch: u64) -> bool {
        self.unsettled.remove(&key);
        self.next.remove(service_key(key));
        let held = self.services.remove(&key);
        let held = held.expect("a service of the configuration is held");
        for entry in &held.list {
            self.lose(entry.id, epoch);
        }
        // A service that comes with its key finds their connections, as the kernel's does, but has
        // carried nothing yet.
        let present = held.list.iter().map(|entry| entry.id);
        for id in present.chain(held.former.iter().copied()) {
            self.slots.restart(workers, id);
        }
        true
    }

    fn add(&mut self, service: &weir_model::Service, workers: &[Handle]) -> bool {
        let mut held = Held::new(recipe(service));
        let added = service.servers.iter();
        let added = added.map(|server| self.gain(service.key, server, workers));
        held.add_servers(added.collect());
        held.see_methods(service);
        held.advance_generation();
        self.next.put(held.compile(service.key));
        self.services.insert(service.key, held);
        true
    }

    fn edit(&mut self, edit: &Edit<'_>, workers: &[Handle], epoch: u64) -> bool {
        let key = edit.new.key;
        let recipe = recipe(edit.new);
        let are_other_servers =
            !(edit.removed.is_empty() && edit.edited.is_empty() && edit.added.is_empty());
        if !are_other_servers && edit.old.is_same_but_servers(edit.new) {
            return false;
        }
        let held = self.services.remove(&key);
        let mut held = held.expect("a service of the configuration is held");
        held.take_recipe(recipe);
        let keys = edit.removed.iter().map(|server| server.key());
        for id in held.drop_servers(&keys.collect()) {
            self.lose(id, epoch);
            held.former.insert(id);
        }
        let edited = edit.edited.iter();
        let edited = edited.map(|(_, server)| self.gain(key, server, workers));
        held.set_weights(&edited.collect::<Vec<_>>());
        let added = edit.added.iter();
        let added = added.map(|server| self.gain(key, server, workers));
        held.add_servers(added.collect());
        held.see_methods(edit.new);
        if are_other_servers {
            held.advance_generation();
        }
        if !held.departed.is_empty() {
            self.unsettled.insert(key);
        }
        self.next.put(held.compile(key));
        self.services.insert(key, held);
        true
    }

    /// A server of this service was edited to what it was: nothing differs, but the kernel's `wrr`
    /// begins its list again at every edit. False when the workers need not know.
    pub fn touch(&mut self, key: weir_model::ServiceKey) -> bool {
        let Some(held) = self.services.get_mut(&key) else {
            return false;
        };
        if held.recipe.name != SchedulerName::Wrr {
            return false;
        }
        held.note_weights();
        held.advance_generation();
        self.next.put(held.compile(key));
        true
    }

    /// A slot for a server as it is wanted: its own if it has one.
    fn gain(
        &mut self,
        service: weir_model::ServiceKey,
        server: &weir_model::Server,
        workers: &[Handle],
    ) -> Entry {
        let key = server.key();
        let method = method(server.method);
        let id = self.slots.take(slot_key(service, key), method, workers);
        let thresholds = Thresholds {
            upper: server.upper_threshold,
            lower: server.lower_threshold,
        };
        // In a slot that was empty somebody else may have been overloaded.
        let before = self.next.server(id).map(|server| server.thresholds);
        if before.is_none_or(|before| before.are_relieved_by(thresholds)) {
            self.loads.relieve(id);
        }
        let theirs = Server {
            addr: Addr::from(key.address),
            port: key.port,
            method,
            tunnel: tunnel(server),
            weight: server.weight,
            protocol: service_key(service).protocol,
            is_available: true,
            position: 0,
            service: ServiceId(0),
            thresholds,
            has_any_port: matches!(service.port(), 0 | FTP_PORT),
        };
        self.next.set_server(id, Some(theirs));
        Entry {
            key,
            id,
            weight: server.weight,
            last_weight: server.weight,
        }
    }

    /// The server in `id` leaves from `epoch` on. Flows may remember it, so it keeps its slot.
    fn lose(&mut self, id: ServerId, epoch: u64) {
        self.slots.remove(id, epoch);
        let lingering = self.next.server(id).map(|server| Server {
            weight: 0,
            is_available: false,
            position: 0,
            service: ServiceId(0),
            ..*server
        });
        self.next.set_server(id, lingering);
    }

    /// Has the flows of a server ended by resets, or no longer. True when the workers need to know.
    pub fn set_resets(&mut self, key: SlotKey, resets: bool) -> bool {
        match self.slots.find(key) {
            Some((id, _)) => self.next.set_resets(id, resets),
            None => false,
        }
    }

    /// Forgets removed servers that no flow remembers; `adopted` is the oldest epoch that a worker
    /// still decides by, `newest` the one published last. True when there were any: what the
    /// workers have is then larger than need be.
    pub fn reap(
        &mut self,
        workers: &[Handle],
        templates: &Templates,
        adopted: u64,
        newest: u64,
    ) -> bool {
        if adopted < newest {
            // A worker may still put a cursor on a departed server.
            return false;
        }
        for key in self.unsettled.drain() {
            if let Some(held) = self.services.get_mut(&key) {
                held.settle();
            }
            if let Some((_, service)) = self.next.find(service_key(key)) {
                let departed = [].into();
                let service = service.clone();
                self.next.put(Service {
                    departed,
                    ..service
                });
            }
        }
        let freed = self.slots.reap(workers, templates, adopted);
        for (id, key, carried) in &freed {
            self.next.set_server(*id, None);
            self.next.set_resets(*id, false);
            if let Some(held) = self.services.get_mut(&key.service) {
                held.retired += *carried;
                held.former.remove(id);
                held.forget(*id);
            }
        }
        !freed.is_empty()
    }

    /// What each service carried: the sum of its servers, present and former.
    #[must_use]
    pub fn service_totals(&self, workers: &[Handle]) -> HashMap<weir_model::ServiceKey, Totals> {
        let sum = |(key, held): (&weir_model::ServiceKey, &Held)| {
            let list = held.list.iter();
            let servers = list.map(|entry| self.slots.totals(workers, entry.id));
            (*key, servers.fold(held.retired, |sum, one| sum + one))
        };
        let mut sums: HashMap<_, _> = self.services.iter().map(sum).collect();
        for (id, slot) in self.slots.removed() {
            if let Some(sum) = sums.get_mut(&slot.key.service) {
                *sum += self.slots.totals(workers, id);
            }
        }
        sums
    }

    /// What one service carried.
    #[must_use]
    pub fn service_total(&self, key: &weir_model::ServiceKey, workers: &[Handle]) -> Totals {
        let Some(held) = self.services.get(key) else {
            return Totals::default();
        };
        let former = self.slots.removed();
        let former = former.filter(|(_, slot)| slot.key.service == *key);
        let ids = held.list.iter().map(|entry| entry.id);
        let ids = ids.chain(former.map(|(id, _)| id));
        ids.fold(held.retired, |sum, id| sum + self.slots.totals(workers, id))
    }

    /// The servers of a service in IPVS's order.
    #[must_use]
    pub fn servers_newest_first(&self, key: &weir_model::ServiceKey) -> Vec<ServerKey> {
        let held = self.services.get(key).into_iter();
        held.flat_map(|held| held.list.iter().rev().map(|entry| entry.key))
            .collect()
    }

    /// A service's rates as estimated last.
    #[must_use]
    pub fn service_rates(&self, key: weir_model::ServiceKey) -> Rates {
        let held = self.services.get(&key);
        held.map(|held| held.estimator.rates()).unwrap_or_default()
    }

    /// The rates of all together, former services among them, as estimated last.
    #[must_use]
    pub fn all_rates(&self) -> Rates {
        self.estimator.rates()
    }

    /// What of `totals`, which a service carried, came since it was asked to count from zero.
    #[must_use]
    pub fn since_zero(&self, key: weir_model::ServiceKey, totals: Totals) -> Totals {
        let held = self.services.get(&key);
        held.map_or(totals, |held| held.estimator.since_zero(totals))
    }

    /// What each worker carried, for all servers there ever were, since all was asked to count from
    /// zero.
    #[must_use]
    pub fn workers_since_zero(&self, workers: &[Handle]) -> Vec<Totals> {
        let zeros = self.worker_zeros.iter().copied();
        let zeros = zeros.chain(std::iter::repeat(Totals::default()));
        let totals = workers.iter().map(Totals::of_worker);
        totals.zip(zeros).map(|(all, zero)| all - zero).collect()
    }

    /// Lets all rates take the last `seconds` into account.
    pub fn estimate(&mut self, workers: &[Handle], seconds: f64) {
        self.each_estimator(workers, None, |estimator, totals| {
            estimator.observe(totals, seconds);
        });
    }

    /// All rates are zero and begin again.
    pub fn pause_estimation(&mut self, workers: &[Handle]) {
        self.each_estimator(workers, None, Estimator::pause);
    }

    /// One service and its servers count from zero, with their rates, or each of them and all
    /// together (`ipvsadm -Z`). Totals do not fall: what is told by [`since_zero`](Self::since_zero)
    /// does.
    pub fn zero(&mut self, workers: &[Handle], service: Option<weir_model::ServiceKey>) {
        self.each_estimator(workers, service, Estimator::zero);
        if service.is_none() {
            self.worker_zeros = workers.iter().map(Totals::of_worker).collect();
        }
    }

    /// Of one service and its servers, or of all and of all together: lets `change` see what was
    /// carried, with the estimator.
    fn each_estimator(
        &mut self,
        workers: &[Handle],
        only: Option<weir_model::ServiceKey>,
        change: impl Fn(&mut Estimator, Totals),
    ) {
        let slots = &mut self.slots;
        let is_meant = |key| only.is_none_or(|only| only == key);
        let lingering = slots.removed().map(|(id, slot)| (id, slot.key.service));
        let lingering: Vec<_> = lingering.filter(|(_, key)| is_meant(*key)).collect();
        let mut carried: HashMap<_, Totals> = HashMap::new();
        for (id, key) in lingering {
            *carried.entry(key).or_default() += slots.estimate(workers, id, &change);
        }
        for (key, held) in &mut self.services {
            if !is_meant(*key) {
                continue;
            }
            let former = carried.get(key).copied().unwrap_or_default();
            let list = held.list.iter();
            let servers = list.map(|entry| slots.estimate(workers, entry.id, &change));
            let totals = servers.fold(held.retired + former, |sum, one| sum + one);
            change(&mut held.estimator, totals);
        }
        if only.is_none() {
            let all = workers.iter().map(Totals::of_worker);
            let all = all.fold(Totals::default(), |sum, one| sum + one);
            change(&mut self.estimator, all);
        }
    }
}

impl Held {
    fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            scheduler: None,
            cursor: Arc::default(),
            generation: 1,
            weights: Vec::new(),
            by_client: false,
            local: None,
            new_flows_max: 0,
            persistence: None,
            one_packet: false,
            list: Vec::new(),
            departed: Vec::new(),
            former: HashSet::new(),
            retired: Totals::default(),
            estimator: Estimator::default(),
        }
    }

    /// Another scheduler starts afresh: what the old one remembers means nothing to it. Other flags of
    /// the same one change what it does from here on.
    fn take_recipe(&mut self, recipe: Recipe) {
        let is_other = recipe.name != self.recipe.name;
        self.recipe = recipe;
        if is_other {
            self.scheduler = None;
            self.generation = 1;
            self.departed.clear();
            let cursor = match recipe.name {
                SchedulerName::Wrr => self.present_weights().restarted(self.generation),
                _ => 0,
            };
            self.cursor = Arc::new(AtomicU64::new(cursor));
        }
    }

    /// What follows from the methods of all its servers. A pool stays the same one until it differs.
    fn see_methods(&mut self, wanted: &weir_model::Service) {
        let mut methods = wanted.servers.iter().map(|server| server.method);
        self.by_client |= methods.any(|method| method == weir_model::Method::Nat);
        self.new_flows_max = wanted.new_flows_per_second_max;
        self.persistence = persistence(wanted);
        self.one_packet = wanted.one_packet;
        let pool = local_pool(wanted);
        if self.local != pool {
            self.local = pool;
        }
    }

    /// Once for all that is published together: the workers see no list in between.
    fn advance_generation(&mut self) {
        self.generation = (self.generation + 1) % GENERATIONS;
        let (generation, weights) = (self.generation, std::mem::take(&mut self.weights));
        let carry = |cursor| {
            let carried = weights.iter();
            carried.fold(cursor, |cursor, weights| weights.carry(cursor, generation))
        };
        if !weights.is_empty() {
            let order = Ordering::Relaxed;
            let _ = self
                .cursor
                .fetch_update(order, order, |cursor| Some(carry(cursor)));
        }
    }

    /// What the kernel does to `wrr` at each change of a server it does to these weights.
    fn note_weights(&mut self) {
        if self.recipe.name == SchedulerName::Wrr {
            self.weights.push(self.present_weights());
        }
    }

    fn present_weights(&self) -> Weights {
        let weights = self.list.iter().rev().map(|entry| entry.weight);
        Weights::of(&weights.collect::<Vec<_>>())
    }

    /// Takes the servers with these keys off the list; returns which they were.
    fn drop_servers(&mut self, keys: &HashSet<ServerKey>) -> Vec<ServerId> {
        if keys.is_empty() {
            return Vec::new();
        }
        let mut dropped = Vec::with_capacity(keys.len());
        let mut predecessor = None;
        // From IPVS's head on, so that a predecessor is one that stays.
        self.list.reverse();
        self.list.retain(|entry| {
            let stays = !keys.contains(&entry.key);
            if stays {
                predecessor = Some(entry.id);
            } else {
                self.departed.push((entry.id, predecessor));
                dropped.push(entry.id);
            }
            stays
        });
        self.list.reverse();
        self.note_weights();
        dropped
    }

    fn set_weights(&mut self, edited: &[Entry]) {
        if edited.is_empty() {
            return;
        }
        let weights: HashMap<_, _> = edited.iter().map(|e| (e.id, e.weight)).collect();
        for entry in &mut self.list {
            if let Some(weight) = weights.get(&entry.id) {
                entry.weight = *weight;
                if *weight != 0 {
                    entry.last_weight = *weight;
                }
            }
        }
        self.note_weights();
    }

    /// Servers enter at IPVS's head, one after the other, wherever they stand in the file, as
    /// `ipvsadm -a` does it.
    fn add_servers(&mut self, mut added: Vec<Entry>) {
        let has_departed = |id| self.departed.iter().any(|(gone, _)| *gone == id);
        if added.iter().any(|entry| has_departed(entry.id)) {
            // It comes back at another place, where the cursor does not stand.
            self.settle();
        }
        if self.recipe.name == SchedulerName::Wrr {
            let mut weights = self.present_weights();
            let each = added.iter().map(|entry| {
                weights = weights.with(entry.weight);
                weights
            });
            self.weights.extend(each);
        }
        for entry in &added {
            self.former.remove(&entry.id);
        }
        self.list.append(&mut added);
    }

    /// Moves the cursor from departed servers to their predecessors, as the kernel does at once;
    /// here only when no worker has the old list any more.
    fn settle(&mut self) {
        for (gone, predecessor) in self.departed.drain(..) {
            // The cursor of wrr names a place and its generation, which is not to be touched.
            if self.recipe.name == SchedulerName::Rr {
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

    /// The slot `id` is to get another server.
    fn forget(&self, id: ServerId) {
        if let Some(cache) = self.scheduler.as_ref().and_then(Scheduler::cache) {
            while !cache.forget(id) {
                std::thread::yield_now();
            }
        }
    }

    /// For the workers. All that they know of a service is put together here.
    fn compile(&mut self, key: weir_model::ServiceKey) -> Service {
        let candidate = |entry: &Entry| Candidate {
            server: entry.id,
            weight: entry.weight,
        };
        let servers: Box<[Candidate]> = self.list.iter().rev().map(candidate).collect();
        let member = |entry: &Entry| Member {
            addr: Addr::from(entry.key.address),
            port: entry.key.port,
            weight: entry.weight,
            last_weight: entry.last_weight,
        };
        let members: Vec<Member> = self.list.iter().rev().map(member).collect();
        let scheduler = Scheduler::build(&self.recipe, &members, self.scheduler.as_ref());
        self.scheduler = Some(scheduler.clone());
        Service {
            key: service_key(key),
            scheduler,
            cursor: Arc::clone(&self.cursor),
            generation: self.generation,
            servers,
            departed: self.departed.clone().into(),
            by_client: self.by_client,
            local: self.local.clone(),
            consistent: Arc::new(self.consistent()),
            new_flows_max: self.new_flows_max,
            persistence: self.persistence,
            one_packet: self.one_packet,
        }
    }

    /// In the order of the workers' list.
    fn consistent(&self) -> Consistent {
        let servers = self.list.iter().rev().map(|entry| {
            let ServerKey { address, port } = entry.key;
            (Addr::from(address), port, entry.weight)
        });
        Consistent::new(&servers.collect::<Vec<_>>())
    }
}

fn slot_key(service: weir_model::ServiceKey, server: ServerKey) -> SlotKey {
    SlotKey { service, server }
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
    match key {
        weir_model::ServiceKey::Address {
            protocol: of,
            address,
            port,
        } => ServiceKey {
            protocol: protocol(of),
            addr: Addr::from(address),
            port,
            mark: 0,
        },
        weir_model::ServiceKey::Mark { mark, family: of } => ServiceKey::of_mark(mark, family(of)),
    }
}

/// The workers' word for a family.
#[must_use]
pub fn family(family: weir_model::Family) -> Family {
    match family {
        weir_model::Family::Ipv4 => Family::V4,
        weir_model::Family::Ipv6 => Family::V6,
    }
}

/// How the clients of a service are remembered.
fn persistence(service: &weir_model::Service) -> Option<Persistence> {
    let timeout = service.persistence_timeout?;
    Some(Persistence {
        lifetime: seconds(timeout),
        mask: match service.persistence_mask {
            PersistenceMask::V4(mask) => mask_of_v4(mask.to_bits()),
            PersistenceMask::V6(len) => mask_of_len(Family::V6, len),
        },
        engine: service.persistence_engine.map(|engine| match engine {
            PersistenceEngine::Sip => Engine::Sip,
        }),
    })
}

/// Which packets have which mark.
#[must_use]
pub fn marks(config: &weir_model::Config) -> MarkRules {
    let prefix = |net: &IpNet| (Addr::from(net.addr()), net.prefix_len());
    let ranges = |ports: &[weir_model::PortRange]| {
        let ports = ports.iter();
        ports.map(|range| range.first..=range.last).collect()
    };
    let port_of = |name: &str| {
        let at = config.ports.iter().position(|port| port.name == name);
        // A valid configuration names its own ports; no packet comes in by another.
        PortId(at.map_or(u16::MAX, |at| at as u16))
    };
    let rule = |rule: &weir_model::MarkRule| MarkRule {
        mark: rule.mark,
        family: rule.family.map(family),
        protocol: rule.protocol.map(protocol),
        source: rule.source.as_ref().map(prefix),
        destination: rule.destination.as_ref().map(prefix),
        source_ports: ranges(&rule.source_ports),
        destination_ports: ranges(&rule.destination_ports),
        interface: rule.interface.as_deref().map(port_of),
    };
    MarkRules::new(&config.marks.iter().map(rule).collect::<Vec<_>>())
}

/// The workers' word for a protocol.
#[must_use]
pub fn protocol(protocol: weir_model::Protocol) -> Protocol {
    match protocol {
        weir_model::Protocol::Tcp => Protocol::Tcp,
        weir_model::Protocol::Udp => Protocol::Udp,
        weir_model::Protocol::Sctp => Protocol::Sctp,
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

/// What packets to a server go inside of. A packet off a wire has its checksum already, so there is
/// none to leave to the far end: `remote` is `full` on the wire, as in the kernel.
#[must_use]
pub fn tunnel(server: &weir_model::Server) -> Tunnel {
    let checksum = server.tunnel_checksum != TunnelChecksum::None;
    match server.tunnel {
        TunnelKind::Ipip => Tunnel::Ipip,
        TunnelKind::Gre => Tunnel::Gre { checksum },
        TunnelKind::Gue => Tunnel::Gue {
            port: server.tunnel_port,
            checksum,
        },
    }
}

/// The configuration's word for a protocol.
#[must_use]
pub fn model_protocol(protocol: Protocol) -> weir_model::Protocol {
    match protocol {
        Protocol::Tcp => weir_model::Protocol::Tcp,
        Protocol::Udp => weir_model::Protocol::Udp,
        Protocol::Sctp => weir_model::Protocol::Sctp,
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

/// What the scheduler of a service is made of.
fn recipe(service: &weir_model::Service) -> Recipe {
    let flags = service.scheduler_flags;
    let (family, has_many_addrs) = match service.key {
        weir_model::ServiceKey::Address { address, .. } => (Addr::from(address).family(), false),
        weir_model::ServiceKey::Mark { family, .. } => match family {
            weir_model::Family::Ipv4 => (Family::V4, true),
            weir_model::Family::Ipv6 => (Family::V6, true),
        },
    };
    Recipe {
        name: scheduler_name(service.scheduler),
        flags: HashFlags {
            port: flags.has(SchedulerFlag::Two),
            fallback: flags.has(SchedulerFlag::One),
        },
        family,
        has_many_addrs,
    }
}

/// The workers' name of a scheduler.
fn scheduler_name(name: weir_model::SchedulerName) -> SchedulerName {
    match name {
        weir_model::SchedulerName::Rr => SchedulerName::Rr,
        weir_model::SchedulerName::Wrr => SchedulerName::Wrr,
        weir_model::SchedulerName::Lc => SchedulerName::Lc,
        weir_model::SchedulerName::Wlc => SchedulerName::Wlc,
        weir_model::SchedulerName::Lblc => SchedulerName::Lblc,
        weir_model::SchedulerName::Lblcr => SchedulerName::Lblcr,
        weir_model::SchedulerName::Dh => SchedulerName::Dh,
        weir_model::SchedulerName::Sh => SchedulerName::Sh,
        weir_model::SchedulerName::Sed => SchedulerName::Sed,
        weir_model::SchedulerName::Nq => SchedulerName::Nq,
        weir_model::SchedulerName::Fo => SchedulerName::Fo,
        weir_model::SchedulerName::Ovf => SchedulerName::Ovf,
        weir_model::SchedulerName::Mh => SchedulerName::Mh,
        weir_model::SchedulerName::Twos => SchedulerName::Twos,
        weir_model::SchedulerName::Maglev => SchedulerName::Maglev,
        weir_model::SchedulerName::None => SchedulerName::None,
    }
}

/// Lifetimes and switches for the workers.
#[must_use]
pub fn settings(config: &weir_model::Config) -> Settings {
    let timeouts = &config.timeouts;
    Settings {
        timeouts: Timeouts::with(timeouts.tcp, timeouts.tcp_fin, timeouts.udp),
        pmtu_disc: config.settings.pmtu_disc,
        ipvs: ipvs(&config.ipvs),
    }
}

/// What becomes of connections. The kernel's other settings are taken and mean nothing to workers.
fn ipvs(config: &weir_model::Ipvs) -> Ipvs {
    Ipvs {
        conn_reuse_mode: config.conn_reuse_mode,
        expire_nodest_conn: config.expire_nodest_conn,
        expire_quiescent_template: config.expire_quiescent_template,
        sloppy_tcp: config.sloppy_tcp,
        sloppy_sctp: config.sloppy_sctp,
        nat_icmp_send: config.nat_icmp_send,
        schedule_icmp: config.schedule_icmp,
        secure_tcp: Defence::from_level(config.secure_tcp),
        drop_entry: Defence::from_level(config.drop_entry),
        drop_packet: Defence::from_level(config.drop_packet),
        am_droprate: config.am_droprate,
        amemthresh: config.amemthresh,
        ftp_ports: FtpPorts::new(&config.ftp_ports),
        lblc_expiration: seconds(config.lblc_expiration),
        lblcr_expiration: seconds(config.lblcr_expiration),
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
