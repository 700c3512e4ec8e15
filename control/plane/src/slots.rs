//! Slots of real servers: a server keeps its place in all tables and counters as long as it is
//! configured or a flow remembers it, and for two minutes more, in which it finds its counters when it
//! comes back, as in the kernel.
//!
//! A worker never resets a counter, so a slot that is used again remembers what had been counted
//! before (its base), and a service remembers what its former servers carried. What a removed server
//! still answers is counted nowhere.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use weir_core::persist::Templates;
use weir_core::service::{Method, ServerId};
use weir_model::api::Rates;
use weir_model::{ServerKey, ServiceKey};
use weir_worker::Handle;

use crate::totals::{Estimator, FlowCounts, Totals};

/// Slots freed at once at most: control has other things to do than to free 200 000 in a row, which
/// takes a tenth of a second.
const REAPED_AT_ONCE: usize = 16_384;

/// How long a removed server is remembered that no flow remembers (the kernel's trash).
const KEPT: Duration = Duration::from_secs(120);
/// Time between two looks at the removed servers, as in the kernel.
const LOOK: Duration = Duration::from_secs(60);
/// With fewer free slots than one of so many, removed servers are forgotten as soon as may be.
const FREE_PART: usize = 4;

/// Whose a slot is: a real server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey {
    /// The service.
    pub service: ServiceKey,
    /// The server in it.
    pub server: ServerKey,
}

/// A slot in use.
#[derive(Debug)]
pub struct Slot {
    /// Whose it is.
    pub key: SlotKey,
    /// How packets reach the server, as configured last.
    pub method: Method,
    /// What had been counted here for others before.
    base: Totals,
    removal: Option<Removal>,
    estimator: Estimator,
}

#[derive(Clone, Copy, Debug)]
struct Removal {
    /// The first epoch without the server.
    epoch: u64,
    /// What it had carried until then.
    carried: Totals,
    /// Since when looks have found no flow.
    unused_since: Option<Instant>,
}

impl Slot {
    /// True once the server is out of the configuration.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removal.is_some()
    }

    /// Per second, as estimated last.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.estimator.rates()
    }

    /// What of `totals` came since it was asked to count from zero.
    #[must_use]
    pub fn since_zero(&self, totals: Totals) -> Totals {
        self.estimator.since_zero(totals)
    }
}

/// All slots are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{wanted} real servers more find {free} free places of {capacity}: {lingering} places are kept \
     for the flows of removed servers; wait until those end, or raise limits.servers and restart"
)]
pub struct NoSlots {
    /// Slots needed.
    pub wanted: usize,
    /// Slots not in use.
    pub free: usize,
    /// All slots there are.
    pub capacity: usize,
    /// Slots of removed servers.
    pub lingering: usize,
}

/// All slots.
#[derive(Debug)]
pub struct Slots {
    capacity: usize,
    slots: Vec<Option<Slot>>,
    by_key: HashMap<SlotKey, ServerId>,
    free: Vec<ServerId>,
    /// Slots of removed servers.
    removed: BTreeSet<ServerId>,
    /// When these are looked at next; none: there were none at the last look.
    look_at: Option<Instant>,
    /// Slots of servers reached by FullNAT: few or none among many.
    fullnat: BTreeSet<ServerId>,
}

impl Slots {
    /// None in use, of `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            slots: Vec::new(),
            by_key: HashMap::new(),
            free: Vec::new(),
            removed: BTreeSet::new(),
            look_at: None,
            fullnat: BTreeSet::new(),
        }
    }

    /// Whether all of `keys`, which are distinct, could have a slot besides those in use.
    ///
    /// # Errors
    /// [`NoSlots`] when there are too few.
    pub fn check_room(&self, keys: impl Iterator<Item = SlotKey>) -> Result<(), NoSlots> {
        let wanted = keys.filter(|key| !self.by_key.contains_key(key)).count();
        let free = self.capacity - self.by_key.len();
        if wanted <= free {
            return Ok(());
        }
        Err(NoSlots {
            wanted,
            free,
            capacity: self.capacity,
            lingering: self.removed().count(),
        })
    }

    /// The slot of `key`: its own, revived if it was removed, or a free one.
    ///
    /// # Panics
    /// When none is free: [`check_room`](Self::check_room) comes first.
    pub fn take(&mut self, key: SlotKey, method: Method, workers: &[Handle]) -> ServerId {
        if let Some(&id) = self.by_key.get(&key) {
            let slot = self.slots[id.0 as usize].as_mut();
            let slot = slot.expect("a known key has its slot");
            slot.method = method;
            if let Some(removal) = slot.removal.take() {
                self.removed.remove(&id);
                slot.base = Totals::of_slot(workers, id) - removal.carried;
            }
            self.see_method(id, method);
            return id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < self.capacity, "room was checked");
            self.slots.push(None);
            ServerId(self.slots.len() as u32 - 1)
        });
        let base = Totals::of_slot(workers, id);
        self.slots[id.0 as usize] = Some(Slot {
            key,
            method,
            base,
            removal: None,
            estimator: Estimator::default(),
        });
        self.by_key.insert(key, id);
        self.see_method(id, method);
        id
    }

    fn see_method(&mut self, id: ServerId, method: Method) {
        match method {
            Method::FullNat => self.fullnat.insert(id),
            _ => self.fullnat.remove(&id),
        };
    }

    /// The server in `id` is out of the configuration from `epoch` on; its slot stays while flows
    /// remember it, and for some time more.
    pub fn remove(&mut self, workers: &[Handle], id: ServerId, epoch: u64) {
        let carried = self.totals(workers, id);
        if let Some(slot) = &mut self.slots[id.0 as usize] {
            self.removed.insert(id);
            slot.removal = Some(Removal {
                epoch,
                carried,
                unused_since: None,
            });
        }
    }

    /// True while a flow or a template remembers the server in `id`.
    #[must_use]
    pub fn is_remembered(workers: &[Handle], templates: &Templates, id: ServerId) -> bool {
        !FlowCounts::of_slot(workers, id).is_none() || templates.of_server(id) != 0
    }

    /// Frees the slots of removed servers that no flow or template has remembered for two minutes,
    /// or at the look before when slots run short; some at a time. It looks once a minute then, else
    /// whenever it is called. While a scheduler has one in its cache, it is not freed before slots run
    /// short. `adopted` is the oldest epoch that a worker still decides by. Returns which, whose they
    /// were, and what they had carried.
    pub fn reap(
        &mut self,
        workers: &[Handle],
        templates: &Templates,
        is_cached: impl Fn(ServerId) -> bool,
        adopted: u64,
        now: Instant,
    ) -> Vec<(ServerId, SlotKey, Totals)> {
        let mut freed = Vec::new();
        if self.removed.is_empty() {
            self.look_at = None;
            return freed;
        }
        let free = self.capacity - self.by_key.len();
        let is_short = free < self.capacity / FREE_PART;
        if now < *self.look_at.get_or_insert(now + LOOK) && !is_short {
            return freed;
        }
        self.removed.retain(|&id| {
            let place = &mut self.slots[id.0 as usize];
            let removal = place.as_mut().and_then(|slot| slot.removal.as_mut());
            let removal = removal.expect("the slot of a removed server knows it");
            let is_unused = adopted >= removal.epoch
                && !Self::is_remembered(workers, templates, id)
                && (is_short || !is_cached(id));
            if !is_unused || freed.len() == REAPED_AT_ONCE {
                return true;
            }
            let since = *removal.unused_since.get_or_insert(now);
            if now < since + KEPT && (!is_short || since == now) {
                return true;
            }
            if let Some(slot) = place.take() {
                self.by_key.remove(&slot.key);
                self.fullnat.remove(&id);
                self.free.push(id);
                let carried = slot.removal.map_or_else(Totals::default, |r| r.carried);
                freed.push((id, slot.key, carried));
            }
            false
        });
        let is_all = freed.len() < REAPED_AT_ONCE;
        self.look_at = Some(if is_all { now + LOOK } else { now });
        freed
    }

    /// The slots of removed servers.
    pub fn removed(&self) -> impl Iterator<Item = (ServerId, &Slot)> {
        let slots = self.removed.iter();
        slots.filter_map(|&id| Some((id, self.get(id)?)))
    }

    /// The slots of servers reached by FullNAT, removed ones among them.
    pub fn fullnat(&self) -> impl Iterator<Item = (ServerId, &Slot)> {
        let slots = self.fullnat.iter();
        slots.filter_map(|&id| Some((id, self.get(id)?)))
    }

    /// The slots in use.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, &Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((ServerId(at as u32), slot.as_ref()?)))
    }

    /// The slot `id`, if it is in use.
    #[must_use]
    pub fn get(&self, id: ServerId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The slot of `key`, if it has one.
    #[must_use]
    pub fn find(&self, key: SlotKey) -> Option<(ServerId, &Slot)> {
        let id = *self.by_key.get(&key)?;
        Some((id, self.get(id)?))
    }

    /// How many slots there are, in use or to be used again.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True before the first is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What the present owner of `id` carried, or had until it was removed.
    #[must_use]
    pub fn totals(&self, workers: &[Handle], id: ServerId) -> Totals {
        let slot = self.get(id);
        let so_far = || {
            let base = slot.map(|slot| slot.base).unwrap_or_default();
            Totals::of_slot(workers, id) - base
        };
        let removal = slot.and_then(|slot| slot.removal);
        removal.map_or_else(so_far, |removal| removal.carried)
    }

    /// What `id` carried was another service's, though of the same key: it counts from zero.
    pub fn restart(&mut self, workers: &[Handle], id: ServerId) {
        if let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) {
            slot.base = Totals::of_slot(workers, id);
            slot.estimator = Estimator::default();
            if let Some(removal) = &mut slot.removal {
                removal.carried = Totals::default();
            }
        }
    }

    /// Lets `change` see what `id` carried, with its estimator. Returns what it carried.
    pub fn estimate(
        &mut self,
        workers: &[Handle],
        id: ServerId,
        change: impl FnOnce(&mut Estimator, Totals),
    ) -> Totals {
        let totals = self.totals(workers, id);
        let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) else {
            return Totals::default();
        };
        change(&mut slot.estimator, totals);
        totals
    }
}
