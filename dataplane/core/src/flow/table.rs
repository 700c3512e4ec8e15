//! The flow table of one worker: which flow a packet belongs to, in two cache lines.
//!
//! A bucket is one cache line with the hash tags and places of eight entries; an entry is one more
//! line with the flow. A flow has two possible buckets, each entry a second place when replies pass
//! the director. All memory is taken at start. Nothing is re-armed when a packet passes: the flow
//! carries the moment at which it ends, and a sweep that visits every entry once a second takes out
//! what has ended.

use alloc::vec;
use alloc::vec::Vec;

use super::{Flow, Tuple};
use crate::time::Tick;

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the real server (NAT).
    Reply,
}

/// The place of a flow in its table; good until the flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId(u32);

/// The hash of a tuple under a table's seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TupleHash(u64);

/// A flow that ended by time.
#[derive(Clone, Copy, Debug)]
pub struct Expired(pub Flow);

/// There is no room for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

const WAYS: usize = 8;
const EMPTY: u32 = u32::MAX;
const REPLY_BIT: u32 = 1 << 31;

/// Most flows that a table can hold: places are told apart by 31 bits.
pub const CAPACITY_MAX: usize = (REPLY_BIT - 2) as usize;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    places: [u32; WAYS],
    tags: [u16; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// All flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Vec<Bucket>,
    bucket_mask: usize,
    flows: Vec<Flow>,
    /// Places given back, last first.
    free: Vec<u32>,
    /// Places from here on were never used.
    fresh: usize,
    len: usize,
    seed: [u64; 2],
    /// Where the sweep goes on.
    sweep_at: usize,
}

impl FlowTable {
    /// A table for `capacity` flows (1 to [`CAPACITY_MAX`]). `seed` keeps strangers from choosing
    /// colliding addresses. Takes about 104 bytes a flow, all of it touched here.
    #[must_use]
    pub fn new(capacity: usize, seed: [u64; 2]) -> Self {
        let capacity = capacity.clamp(1, CAPACITY_MAX);
        // Two places a flow, and buckets at most half full, so that both of a flow's buckets are
        // never full in practice.
        let buckets = (capacity * 2).div_ceil(WAYS / 2).next_power_of_two();
        let empty = Bucket {
            places: [EMPTY; WAYS],
            tags: [0; WAYS],
        };
        Self {
            buckets: vec![empty; buckets],
            bucket_mask: buckets - 1,
            flows: vec![Flow::FREE; capacity],
            free: Vec::with_capacity(capacity),
            fresh: 0,
            len: 0,
            seed,
            sweep_at: 0,
        }
    }

    /// Flows in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most flows it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.flows.len()
    }

    /// The hash by which [`find`](Self::find) looks.
    #[inline]
    #[must_use]
    pub fn hash(&self, tuple: &Tuple) -> TupleHash {
        let [low, high] = self.seed;
        let (src, dst) = (tuple.src.0, tuple.dst.0);
        let ports = u64::from(tuple.src_port) << 32
            | u64::from(tuple.dst_port) << 16
            | u64::from(tuple.protocol as u8);
        let near = fold(src as u64 ^ low, dst as u64 ^ high);
        let far = fold((src >> 64) as u64 ^ high, (dst >> 64) as u64 ^ ports ^ low);
        TupleHash(fold(near ^ MIX, far ^ near.rotate_left(32)))
    }

    /// The flow that a packet with this tuple belongs to, and which way it goes.
    #[inline]
    #[must_use]
    pub fn find(&self, tuple: &Tuple, hash: TupleHash) -> Option<(FlowId, Direction)> {
        let (first, second) = self.bucket_pair(hash);
        let tag = tag_of(hash);
        self.find_in(first, tag, tuple)
            .or_else(|| self.find_in(second, tag, tuple))
    }

    #[inline]
    fn find_in(&self, bucket: usize, tag: u16, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        let bucket = self.buckets.get(bucket)?;
        for way in 0..WAYS {
            let place = bucket.places[way];
            if bucket.tags[way] != tag || place == EMPTY {
                continue;
            }
            let id = place & !REPLY_BIT;
            let Some(flow) = self.flows.get(id as usize) else {
                continue;
            };
            if place & REPLY_BIT == 0 {
                if flow.request() == *tuple {
                    return Some((FlowId(id), Direction::Request));
                }
            } else if flow.reply() == *tuple {
                return Some((FlowId(id), Direction::Reply));
            }
        }
        None
    }

    /// The flow at `id`.
    ///
    /// # Panics
    /// When `id` is not from this table.
    #[inline]
    #[must_use]
    pub fn get(&self, id: FlowId) -> &Flow {
        &self.flows[id.0 as usize]
    }

    /// The flow at `id`, to be advanced.
    ///
    /// # Panics
    /// When `id` is not from this table.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, id: FlowId) -> &mut Flow {
        &mut self.flows[id.0 as usize]
    }

    /// Takes `flow` in. The caller has looked before: no flow with this request tuple is there.
    /// A reply tuple that another flow has already (two services share a server and the client
    /// its port) now leads to this flow, the younger one, as in the kernel.
    ///
    /// # Errors
    /// [`Full`] when every place is taken; nothing has changed then.
    pub fn insert(&mut self, flow: Flow) -> Result<FlowId, Full> {
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.fresh < self.flows.len() => {
                self.fresh += 1;
                (self.fresh - 1) as u32
            }
            None => return Err(Full),
        };
        self.flows[id as usize] = flow;
        let request = self.hash(&flow.request());
        if self.place(request, id).is_err() {
            return Err(self.give_back(id));
        }
        if flow.method().sees_replies() {
            let tuple = flow.reply();
            let reply = self.hash(&tuple);
            self.displace(&tuple, reply);
            if self.place(reply, id | REPLY_BIT).is_err() {
                self.unplace(request, id);
                return Err(self.give_back(id));
            }
        }
        self.len += 1;
        Ok(FlowId(id))
    }

    /// Takes the flow at `id` out and returns it.
    pub fn remove(&mut self, id: FlowId) -> Flow {
        let flow = *self.get(id);
        self.unplace(self.hash(&flow.request()), id.0);
        if flow.method().sees_replies() {
            self.unplace(self.hash(&flow.reply()), id.0 | REPLY_BIT);
        }
        self.len -= 1;
        self.give_back(id.0);
        flow
    }

    /// Visits up to `budget` places and removes what has ended by `now`, telling each.
    /// Returns how many places there are to visit in a whole round.
    pub fn sweep(&mut self, now: Tick, budget: usize, mut ended: impl FnMut(Expired)) -> usize {
        for _ in 0..budget.min(self.fresh) {
            if self.sweep_at >= self.fresh {
                self.sweep_at = 0;
            }
            let flow = &self.flows[self.sweep_at];
            if flow.is_live() && now.has_reached(flow.expires) {
                ended(Expired(self.remove(FlowId(self.sweep_at as u32))));
            }
            self.sweep_at += 1;
        }
        self.fresh
    }

    /// The flows in the places from `from` on, at most `count` places, and the place to go on
    /// from; none when the end was reached.
    pub fn visit(&self, from: usize, count: usize, mut see: impl FnMut(&Flow)) -> Option<usize> {
        let to = from.saturating_add(count).min(self.fresh);
        let places = self.flows.get(from..to).unwrap_or_default();
        places
            .iter()
            .filter(|flow| flow.is_live())
            .for_each(&mut see);
        (to < self.fresh).then_some(to)
    }

    #[inline]
    fn bucket_pair(&self, TupleHash(hash): TupleHash) -> (usize, usize) {
        let first = hash as usize & self.bucket_mask;
        let second = (hash >> 24) as usize ^ (hash as usize).rotate_right(7);
        (first, second & self.bucket_mask)
    }

    fn place(&mut self, hash: TupleHash, place: u32) -> Result<(), Full> {
        let (first, second) = self.bucket_pair(hash);
        let free = |bucket: &Bucket| bucket.places.iter().filter(|p| **p == EMPTY).count();
        let (in_first, in_second) = (free(&self.buckets[first]), free(&self.buckets[second]));
        // The first bucket while it is at most half full, so that most look-ups end there; then
        // the emptier one, or among a million flows some would find both full.
        let chosen = if in_first >= WAYS / 2 || in_first >= in_second {
            first
        } else {
            second
        };
        let bucket = &mut self.buckets[chosen];
        let way = bucket.places.iter().position(|p| *p == EMPTY).ok_or(Full)?;
        bucket.places[way] = place;
        bucket.tags[way] = tag_of(hash);
        Ok(())
    }

    fn unplace(&mut self, hash: TupleHash, place: u32) {
        let (first, second) = self.bucket_pair(hash);
        for at in [first, second] {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.places.iter().position(|p| *p == place) {
                bucket.places[way] = EMPTY;
                return;
            }
        }
    }

    /// Takes the way from a reply tuple to its present flow out, if there is one.
    fn displace(&mut self, tuple: &Tuple, hash: TupleHash) {
        if let Some((FlowId(older), Direction::Reply)) = self.find(tuple, hash) {
            self.unplace(hash, older | REPLY_BIT);
        }
    }

    fn give_back(&mut self, id: u32) -> Full {
        self.flows[id as usize] = Flow::FREE;
        self.free.push(id);
        Full
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a 128-bit product, folded: every input bit reaches every output bit.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn tag_of(TupleHash(hash): TupleHash) -> u16 {
    (hash >> 48) as u16
}

#[cfg(test)]
mod tests;
