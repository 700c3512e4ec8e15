//! From the configuration's services to the workers' ones: the one place where both vocabularies
//! meet, and where a service's list keeps its order from reload to reload.

mod held;
mod words;

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::{HashMap, HashSet};
use weir_core::load::{Loads, Thresholds};
use weir_core::persist::Templates;
use weir_core::schedule::SchedulerName;
use weir_core::service::{FTP_PORT, Former, Server, ServerId, Service, ServiceId, Services};
use weir_model::ServerKey;
use weir_model::api::Rates;
use weir_wire::Addr;
use weir_worker::Handle;

use crate::difference::{Edit, ServiceStep};
use crate::slots::{NoSlots, SlotKey, Slots};
use crate::totals::{Estimator, Totals};
use held::{Entry, Held};
use words::recipe;

pub use words::{
    family, marks, method, model_method, model_protocol, protocol, service_key, settings, tunnel,
};

/// What is remembered of services and servers from one publication to the next.
#[derive(Debug)]
pub struct Compiler {
    slots: Slots,
    services: HashMap<weir_model::ServiceKey, Held>,
    /// Services that were removed while flows of several workers may live, by what named them, with
    /// the slots of their servers.
    formers: HashMap<weir_model::ServiceKey, HashSet<ServerId>>,
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

impl Compiler {
    /// Remembers nothing yet; there are `servers_max` slots, whose connections `loads` knows.
    #[must_use]
    pub fn new(servers_max: usize, loads: Arc<Loads>) -> Self {
        Self {
            slots: Slots::new(servers_max),
            services: HashMap::new(),
            formers: HashMap::new(),
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
            self.lose(entry.id, workers, epoch);
        }
        // A service that comes with its key finds their connections, as the kernel's does, but has
        // carried nothing yet.
        let present = held.list.iter().map(|entry| entry.id);
        let slots: HashSet<_> = present.chain(held.former.iter().copied()).collect();
        for id in &slots {
            self.slots.restart(workers, *id);
        }
        // A single worker has all flows.
        if workers.len() > 1 && !slots.is_empty() {
            self.next.put_former(Former {
                key: service_key(key),
                by_client: held.by_client,
            });
            self.formers.insert(key, slots);
        }
        true
    }

    fn add(&mut self, service: &weir_model::Service, workers: &[Handle]) -> bool {
        let mut held = Held::new(recipe(service));
        if let Some(slots) = self.formers.remove(&service.key) {
            let key = service_key(service.key);
            // Flows keep to the owner they were made by.
            held.by_client = self.next.former(key).is_some_and(|former| former.by_client);
            held.former = slots;
            self.next.remove_former(key);
        }
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
            self.lose(id, workers, epoch);
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
        let before = self.next.server(id);
        let was_nat = before.is_some_and(Server::may_reply) && !method.sees_replies();
        // In a slot that was empty somebody else may have been overloaded.
        if before.is_none_or(|before| before.thresholds.are_relieved_by(thresholds)) {
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
            was_nat,
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
    fn lose(&mut self, id: ServerId, workers: &[Handle], epoch: u64) {
        self.slots.remove(workers, id, epoch);
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

    /// Forgets removed servers that no flow has remembered for some time, and removed services of
    /// which no flow lives; `adopted` is the oldest epoch that a worker still decides by, `newest`
    /// the one published last. True when there were any: what the workers have is then larger than
    /// need be.
    pub fn reap(
        &mut self,
        workers: &[Handle],
        templates: &Templates,
        (adopted, newest): (u64, u64),
        now: Instant,
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
        let next = &mut self.next;
        let mut is_changed = false;
        self.formers.retain(|key, slots| {
            let is_remembered = |id: &ServerId| Slots::is_remembered(workers, templates, *id);
            let may_live = slots.iter().any(is_remembered);
            if !may_live {
                next.remove_former(service_key(*key));
                is_changed = true;
            }
            may_live
        });
        // As in the kernel, what `lblc` and `lblcr` have in mind is the same server when it comes back.
        let services = &self.services;
        let cached: LazyCell<HashSet<ServerId>, _> = LazyCell::new(|| {
            let all = services.values().filter_map(Held::cache);
            all.flat_map(|cache| cache.remembered()).collect()
        });
        let is_cached = |id| cached.contains(&id);
        let freed = self.slots.reap(workers, templates, is_cached, adopted, now);
        for (id, key, carried) in &freed {
            self.next.set_server(*id, None);
            self.next.set_resets(*id, false);
            if let Some(held) = self.services.get_mut(&key.service) {
                held.retired += *carried;
                held.former.remove(id);
                held.forget(*id);
            }
        }
        is_changed || !freed.is_empty()
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
            // As in the kernel, a removed server's estimator rests until the server comes back.
            *carried.entry(key).or_default() += slots.totals(workers, id);
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

fn slot_key(service: weir_model::ServiceKey, server: ServerKey) -> SlotKey {
    SlotKey { service, server }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
