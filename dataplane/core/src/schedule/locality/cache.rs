//! Which servers the destinations of one service have. All workers share it.
//!
//! Who opens it has it alone until it is dropped. Nobody waits: who finds it open tries a few times
//! and then goes without. Everything is bounded and taken when the service is made: where there is
//! no room, a destination is not remembered.

use alloc::boxed::Box;

use weir_wire::Addr;

use crate::service::ServerId;
use crate::sync::{AtomicU64, Ordering};
use crate::time::{Tick, seconds};

/// Destinations that are remembered however long they have been idle.
const COMFORTABLE: usize = 16_384;
/// With more than those, one is forgotten that was idle for so long.
const CROWDED_IDLE_SECONDS: u32 = 360;
/// How often who finds the cache open tries again.
const TRIES: usize = if cfg!(weir_loom) { 1 } else { 128 };
/// Buckets looked through for forgotten destinations when one is added.
const SWEPT: usize = 4;
/// The same when there is no room.
const SWEPT_IN_NEED: usize = 64;
/// Most destinations in a bucket, however they were chosen; 16 are there when all are in use.
const BUCKET_MAX: usize = 64;

const NONE: u32 = u32::MAX;

/// The cache.
#[derive(Debug)]
pub struct Cache {
    /// 1 while somebody has it open.
    is_open: AtomicU64,
    /// The first destination of each bucket.
    buckets: Box<[Cell]>,
    destinations: Box<[Slot]>,
    /// A destination's servers, each with the next; what is free has no server.
    members: Box<[Cell]>,
    /// The first destination and the first member that are free.
    free: Cell,
    /// How many destinations there are, and the bucket swept last.
    count: Cell,
}

/// A destination.
#[derive(Debug)]
struct Slot {
    addr: [AtomicU64; 2],
    /// The next destination of the bucket, and the first member.
    links: Cell,
    /// When it was used last, and when its servers changed last, in ticks.
    times: Cell,
}

/// Two numbers in one atomic word, which only who has the cache open touches: it is atomic because
/// safe code cannot share it otherwise.
#[derive(Debug)]
struct Cell(AtomicU64);

impl Cell {
    fn new(one: u32, other: u32) -> Self {
        Self(AtomicU64::new(u64::from(one) << 32 | u64::from(other)))
    }

    fn get(&self) -> (u32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        ((word >> 32) as u32, word as u32)
    }

    fn set(&self, one: u32, other: u32) {
        let word = u64::from(one) << 32 | u64::from(other);
        self.0.store(word, Ordering::Relaxed);
    }

    fn set_one(&self, one: u32) {
        self.set(one, self.get().1);
    }

    fn set_other(&self, other: u32) {
        self.set(self.get().0, other);
    }
}

/// The cache while somebody has it open.
#[derive(Debug)]
pub(super) struct Open<'a> {
    cache: &'a Cache,
    now: Tick,
    idle_max: u32,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.cache.is_open.store(0, Ordering::Release);
    }
}

/// The place of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination(u32);

impl Cache {
    /// For so many destinations with as many servers each on average.
    #[must_use]
    pub fn new(destinations: usize, servers: usize) -> Self {
        let members = destinations.saturating_mul(servers);
        let chain = |at: usize, len: usize| if at + 1 < len { at as u32 + 1 } else { NONE };
        let slot = |at| Slot {
            addr: [AtomicU64::new(0), AtomicU64::new(0)],
            links: Cell::new(chain(at, destinations), NONE),
            times: Cell::new(0, 0),
        };
        let buckets = (destinations / 16).next_power_of_two();
        Self {
            is_open: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| Cell::new(NONE, 0)).collect(),
            destinations: (0..destinations).map(slot).collect(),
            members: (0..members)
                .map(|at| Cell::new(NONE, chain(at, members)))
                .collect(),
            free: Cell::new(0, 0),
            count: Cell::new(0, 0),
        }
    }

    /// Opens it; what was not used for `idle_max` ticks is forgotten then. None when somebody else
    /// has it open.
    pub(super) fn open(&self, now: Tick, idle_max: u32) -> Option<Open<'_>> {
        for _ in 0..TRIES {
            let taken =
                self.is_open
                    .compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                return Some(Open {
                    cache: self,
                    now,
                    idle_max,
                });
            }
            core::hint::spin_loop();
        }
        None
    }

    /// The servers that destinations have, each as often as one has it: those of some moment in which
    /// others may have the cache open.
    pub fn remembered(&self) -> impl Iterator<Item = ServerId> {
        let servers = self.members.iter().map(|member| member.get().0);
        servers.filter(|server| *server != NONE).map(ServerId)
    }

    /// Forgets the server in slot `id`, which is to get another one. False when somebody has the
    /// cache open: try again.
    #[must_use]
    pub fn forget(&self, id: ServerId) -> bool {
        let Some(mut open) = self.open(Tick(0), u32::MAX) else {
            return false;
        };
        for bucket in 0..self.buckets.len() {
            let mut at = self.buckets[bucket].get().0;
            while let Some(slot) = self.destinations.get(at as usize) {
                open.unlink(Destination(at), id);
                at = slot.links.get().0;
            }
        }
        true
    }

    fn bucket(&self, addr: Addr) -> usize {
        let folded = addr.0 as u64 ^ (addr.0 >> 64) as u64;
        let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.buckets.len() - 1)
    }
}

impl<'a> Open<'a> {
    /// The destination, if it is remembered: it is used now.
    pub(super) fn find(&mut self, addr: Addr) -> Option<Destination> {
        let cache = self.cache;
        let bucket = cache.bucket(addr);
        let mut at = cache.buckets[bucket].get().0;
        while let Some(slot) = cache.destinations.get(at as usize) {
            if slot.addr() == addr {
                if self.idle(slot) > self.idle_max {
                    self.sweep(bucket, self.idle_max);
                    return None;
                }
                slot.times.set_one(self.now.0);
                return Some(Destination(at));
            }
            at = slot.links.get().0;
        }
        None
    }

    /// Remembers another destination, without servers. None when there is no room.
    pub(super) fn add(&mut self, addr: Addr) -> Option<Destination> {
        let cache = self.cache;
        self.sweep_some(SWEPT);
        if cache.free.get().0 as usize >= cache.destinations.len() {
            self.sweep_some(SWEPT_IN_NEED);
        }
        let head = &cache.buckets[cache.bucket(addr)];
        if self.chain(head).nth(BUCKET_MAX - 1).is_some() {
            return None;
        }
        let at = cache.free.get().0;
        let slot = cache.destinations.get(at as usize)?;
        cache.free.set_one(slot.links.get().0);
        slot.addr[0].store(addr.0 as u64, Ordering::Relaxed);
        slot.addr[1].store((addr.0 >> 64) as u64, Ordering::Relaxed);
        slot.times.set(self.now.0, self.now.0);
        slot.links.set(head.get().0, NONE);
        head.set_one(at);
        cache.count.set_one(cache.count.get().0 + 1);
        Some(Destination(at))
    }

    /// The destinations of a bucket.
    fn chain(&self, bucket: &Cell) -> impl Iterator<Item = &'a Slot> + use<'a> {
        let cache = self.cache;
        let mut next = bucket.get().0;
        core::iter::from_fn(move || {
            let slot = cache.destinations.get(next as usize)?;
            next = slot.links.get().0;
            Some(slot)
        })
    }

    /// The destination's servers; the one put in last comes first.
    pub(super) fn servers(
        &self,
        destination: Destination,
    ) -> impl Iterator<Item = ServerId> + use<'a> {
        let cache = self.cache;
        let mut next = self.slot(destination).links.get().1;
        core::iter::from_fn(move || {
            let (server, behind) = cache.members.get(next as usize)?.get();
            next = behind;
            Some(ServerId(server))
        })
    }

    /// Makes `id` the only server of the destination.
    pub(super) fn replace(&mut self, destination: Destination, id: ServerId) {
        self.empty(destination);
        self.put_in(destination, id);
    }

    /// Adds `id` to the destination's servers, if it is not one of them.
    pub(super) fn put_in(&mut self, destination: Destination, id: ServerId) {
        let cache = self.cache;
        if self.servers(destination).any(|held| held == id) {
            return;
        }
        let at = cache.free.get().1;
        let Some(member) = cache.members.get(at as usize) else {
            return;
        };
        cache.free.set_other(member.get().1);
        let slot = self.slot(destination);
        member.set(id.0, slot.links.get().1);
        slot.links.set_other(at);
        slot.times.set_other(self.now.0);
    }

    /// Takes `id` out of the destination's servers.
    pub(super) fn take_out(&mut self, destination: Destination, id: ServerId) {
        if self.unlink(destination, id) {
            self.slot(destination).times.set_other(self.now.0);
        }
    }

    /// True when the destination has several servers, which have been the same ones for more than
    /// so many ticks.
    pub(super) fn is_unchanged_for(&self, destination: Destination, ticks: u32) -> bool {
        let changed = self.slot(destination).times.get().1;
        self.now.since(Tick(changed)) > ticks && self.servers(destination).nth(1).is_some()
    }

    fn unlink(&mut self, destination: Destination, id: ServerId) -> bool {
        let cache = self.cache;
        let first = &self.slot(destination).links;
        let (mut before, mut at) = (first, first.get().1);
        while let Some(member) = cache.members.get(at as usize) {
            let (server, behind) = member.get();
            if server == id.0 {
                before.set_other(behind);
                self.free_member(at);
                return true;
            }
            (before, at) = (member, behind);
        }
        false
    }

    fn empty(&mut self, destination: Destination) {
        let cache = self.cache;
        let first = &self.slot(destination).links;
        while let Some(member) = cache.members.get(first.get().1 as usize) {
            let at = first.get().1;
            first.set_other(member.get().1);
            self.free_member(at);
        }
    }

    fn free_member(&mut self, at: u32) {
        let free = &self.cache.free;
        self.cache.members[at as usize].set(NONE, free.get().1);
        free.set_other(at);
    }

    /// Forgets what was idle for long in the next `count` buckets.
    fn sweep_some(&mut self, count: usize) {
        let cache = self.cache;
        let (held, swept) = cache.count.get();
        let is_crowded = held as usize >= COMFORTABLE.min(cache.destinations.len());
        let idle_max = match is_crowded {
            true => self.idle_max.min(seconds(CROWDED_IDLE_SECONDS)),
            false => self.idle_max,
        };
        let count = count.min(cache.buckets.len());
        let mut at = swept as usize;
        for _ in 0..count {
            at = (at + 1) % cache.buckets.len();
            self.sweep(at, idle_max);
        }
        cache.count.set_other(at as u32);
    }

    fn sweep(&mut self, bucket: usize, idle_max: u32) {
        let cache = self.cache;
        let mut before = &cache.buckets[bucket];
        let mut at = before.get().0;
        while let Some(slot) = cache.destinations.get(at as usize) {
            let behind = slot.links.get().0;
            if self.idle(slot) > idle_max {
                self.empty(Destination(at));
                before.set_one(behind);
                slot.links.set(cache.free.get().0, NONE);
                cache.free.set_one(at);
                cache.count.set_one(cache.count.get().0 - 1);
            } else {
                before = &slot.links;
            }
            at = behind;
        }
    }

    fn idle(&self, slot: &Slot) -> u32 {
        self.now.since(Tick(slot.times.get().0))
    }

    fn slot(&self, destination: Destination) -> &'a Slot {
        &self.cache.destinations[destination.0 as usize]
    }
}

impl Slot {
    fn addr(&self) -> Addr {
        let [low, high] = [0, 1].map(|at: usize| self.addr[at].load(Ordering::Relaxed));
        Addr(u128::from(high) << 64 | u128::from(low))
    }
}
