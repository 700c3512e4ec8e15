//! One service as the workers have it, and what a change does to it: its list keeps IPVS's order, and
//! its scheduler goes on or starts afresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};
use weir_core::local::LocalPool;
use weir_core::persist::Persistence;
use weir_core::schedule::consistent::Consistent;
use weir_core::schedule::{Cache, Member, Recipe, Scheduler, SchedulerName, Weights};
use weir_core::service::{Candidate, ServerId, Service};
use weir_model::ServerKey;
use weir_wire::Addr;

use super::words::{persistence, service_key};
use crate::totals::{Estimator, Totals};

/// Cursors of `wrr` hold this many bits of the generation.
const GENERATIONS: u16 = 1 << 12;

/// A service as the workers have it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) recipe: Recipe,
    /// As the workers have it, once they do.
    scheduler: Option<Scheduler>,
    cursor: Arc<AtomicU64>,
    generation: u16,
    /// With `wrr`: the weights after each step of a change that the cursor has yet to take.
    weights: Vec<Weights>,
    /// It has or had NAT servers. Never false again: flows keep to the owner they were made by.
    pub(super) by_client: bool,
    /// What stands for clients at its FullNAT servers.
    local: Option<Arc<LocalPool>>,
    /// As the configuration has them.
    new_flows_max: u32,
    /// How its clients are remembered.
    persistence: Option<Persistence>,
    one_packet: bool,
    /// In the order of their addition: IPVS's list from its end to its head.
    pub(super) list: Vec<Entry>,
    /// Servers that left while the cursor may stand on them, in that order, with their predecessors.
    pub(super) departed: Vec<(ServerId, Option<ServerId>)>,
    /// Servers that left it and whose slots are not freed.
    pub(super) former: HashSet<ServerId>,
    /// What its freed slots carried, so that its sum never falls.
    pub(super) retired: Totals,
    pub(super) estimator: Estimator,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) key: ServerKey,
    pub(super) id: ServerId,
    pub(super) weight: u32,
    /// The last weight since it was added that was not 0, or 0.
    pub(super) last_weight: u32,
}

impl Held {
    pub(super) fn new(recipe: Recipe) -> Self {
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
    pub(super) fn take_recipe(&mut self, recipe: Recipe) {
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
    pub(super) fn see_methods(&mut self, wanted: &weir_model::Service) {
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
    pub(super) fn advance_generation(&mut self) {
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
    pub(super) fn note_weights(&mut self) {
        if self.recipe.name == SchedulerName::Wrr {
            self.weights.push(self.present_weights());
        }
    }

    fn present_weights(&self) -> Weights {
        let weights = self.list.iter().rev().map(|entry| entry.weight);
        Weights::of(&weights.collect::<Vec<_>>())
    }

    /// Takes the servers with these keys off the list; returns which they were.
    pub(super) fn drop_servers(&mut self, keys: &HashSet<ServerKey>) -> Vec<ServerId> {
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

    pub(super) fn set_weights(&mut self, edited: &[Entry]) {
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
    pub(super) fn add_servers(&mut self, mut added: Vec<Entry>) {
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
    pub(super) fn settle(&mut self) {
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

    /// What its scheduler remembers of destinations.
    pub(super) fn cache(&self) -> Option<&Cache> {
        self.scheduler.as_ref().and_then(Scheduler::cache)
    }

    /// The slot `id` is to get another server.
    pub(super) fn forget(&self, id: ServerId) {
        if let Some(cache) = self.cache() {
            while !cache.forget(id) {
                std::thread::yield_now();
            }
        }
    }

    /// For the workers. All that they know of a service is put together here.
    pub(super) fn compile(&mut self, key: weir_model::ServiceKey) -> Service {
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

/// What stands for clients at the FullNAT servers of a service.
fn local_pool(service: &weir_model::Service) -> Option<Arc<LocalPool>> {
    service.has_fullnat().then(|| {
        let addrs = service.local_addresses.iter().copied().map(Addr::from);
        let addrs: Vec<Addr> = addrs.collect();
        let ports = service.local_ports;
        Arc::new(LocalPool::new(&addrs, ports.first..=ports.last))
    })
}
