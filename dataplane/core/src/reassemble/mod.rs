//! Fragments that wait for the others of their packet (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! What is judged here is what Linux judges: fragments in any order, and again; none that overlap or
//! contradict another (RFC 5722, and for IPv4 the same); the whole is looked at when it is there, so
//! that tiny fragments hide nothing (RFC 1858, RFC 3128). The frames themselves wait, in places that
//! are taken at start; with no place left the packet that has waited longest gives way, because those
//! that will ever be complete are within moments.

mod set;

use alloc::boxed::Box;
use alloc::vec;

use arrayvec::ArrayVec;
use weir_wire::fragment::EcnSeen;
use weir_wire::{Addr, Family};

use crate::counters::DropReason;
use crate::io::{Frame, PortId};
use crate::time::{Tick, seconds};
use set::{Fit, NONE, Place, Set};

/// Most fragments of one packet: 65,535 bytes in fragments of 576. Linux's own least path MTU makes
/// none shorter.
pub(crate) const FRAGMENTS_MAX: usize = 128;

/// How long fragments wait (Linux's `ipfrag_time` and `nf_conntrack_frag6_timeout`).
const PATIENCE_SECONDS: [u32; 2] = [30, 60];

/// The frames of a packet.
pub(crate) type Frames<F> = ArrayVec<F, FRAGMENTS_MAX>;

/// Where the fragments of a packet end in its payload, in order.
pub(crate) type Ends = ArrayVec<u16, FRAGMENTS_MAX>;

/// What the fragments of a packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) id: u32,
    /// 0 for IPv6, whose later fragments do not tell it (RFC 8200 §4.5).
    pub(crate) protocol: u8,
}

/// One fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Where its payload begins in that of the packet, and one past its end.
    pub(crate) offset: u16,
    pub(crate) end: u16,
    /// More follow.
    pub(crate) more: bool,
    /// Where its payload begins in the frame.
    pub(crate) at: u16,
    /// Bytes of it, IP header onward.
    pub(crate) packet_len: u16,
    pub(crate) tos: u8,
    pub(crate) dont_fragment: bool,
}

/// What is known of a packet that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// Bytes of payload.
    pub(crate) len: usize,
    /// Bytes of the longest fragment, IP header onward.
    pub(crate) longest: u16,
    /// That one may not be cut.
    pub(crate) dont_fragment: bool,
    pub(crate) ecn: EcnSeen,
}

/// A packet that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Complete(u16);

/// The packets of one worker of which fragments are missing.
#[derive(Debug)]
pub(crate) struct Reassembly<F> {
    places: Box<[Place<F>]>,
    sets: Box<[Set]>,
    /// First sets by hash.
    buckets: Box<[u16]>,
    free_place: u16,
    free_set: u16,
    /// By family, in the order in which they began: the first and the last.
    oldest: [u16; 2],
    newest: [u16; 2],
    seed: u64,
}

const fn index(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl<F: Frame> Reassembly<F> {
    /// Room for so many fragments, at most 65,534 of them. `seed` is random: what comes from outside
    /// must not tell which packets share a bucket.
    pub(crate) fn new(fragments: usize, seed: u64) -> Self {
        let count = fragments.min(usize::from(NONE) - 1);
        let next = |n: usize| if n + 1 < count { n as u16 + 1 } else { NONE };
        let first = if count > 0 { 0 } else { NONE };
        Self {
            places: (0..count).map(|n| Place::free(next(n))).collect(),
            sets: (0..count).map(|n| Set::free(next(n))).collect(),
            buckets: vec![NONE; count.next_power_of_two()].into_boxed_slice(),
            free_place: first,
            free_set: first,
            oldest: [NONE; 2],
            newest: [NONE; 2],
            seed,
        }
    }

    /// Takes a fragment. Frames that end because of it, itself among them, go to `end`. Returns the
    /// packet when it is complete.
    pub(crate) fn add(
        &mut self,
        now: Tick,
        key: &Key,
        part: Part,
        (port, frame): (PortId, F),
        mut end: impl FnMut(DropReason, PortId, F),
    ) -> Option<Complete> {
        if self.places.is_empty() {
            end(DropReason::FragmentLimit, port, frame);
            return None;
        }
        let bucket = self.bucket(key);
        let id = match self.find(bucket, key) {
            Some(id) => id,
            None => {
                self.make_room(true, None, &mut end);
                self.begin(now, bucket, key)
            }
        };
        let mut part = part;
        let fit = self.set(id).fit(&mut part, key.src.is_v4(), &self.places);
        let after = match fit {
            Fit::After(after) => after,
            Fit::Again => {
                let set = &mut self.sets[usize::from(id)];
                let (port, frame) = set.hear(&mut self.places, &part, (port, frame));
                end(DropReason::FragmentAgain, port, frame);
                return None;
            }
            Fit::Alone(reason) => {
                end(reason, port, frame);
                return None;
            }
            Fit::Refused(reason) => {
                self.end_set(id, reason, &mut end);
                end(reason, port, frame);
                return None;
            }
        };
        self.make_room(false, Some(id), &mut end);
        let Some(place) = self.take_place() else {
            // It fills all places by itself.
            self.end_set(id, DropReason::FragmentLimit, &mut end);
            end(DropReason::FragmentLimit, port, frame);
            return None;
        };
        self.places[usize::from(place)] = Place {
            frame: Some((port, frame)),
            offset: part.offset,
            end: part.end,
            at: part.at,
            next: NONE,
        };
        let is_complete = self.sets[usize::from(id)].link(&mut self.places, place, after, &part);
        is_complete.then_some(Complete(id))
    }

    /// Takes the frames of a packet out, in order, and where each ends in its payload, which is written to
    /// the front of `payload`.
    pub(crate) fn take(
        &mut self,
        complete: Complete,
        payload: &mut [u8],
        frames: &mut Frames<F>,
        ends: &mut Ends,
    ) -> Summary {
        let Complete(id) = complete;
        let summary = self.set(id).summary();
        let mut at = self.set(id).first;
        while at != NONE {
            let place = &mut self.places[usize::from(at)];
            let next = place.next;
            if let Some((_, frame)) = place.frame.take() {
                let (from, len) = (usize::from(place.at), usize::from(place.end - place.offset));
                let bytes = frame.bytes().get(from..from + len);
                let to = payload.get_mut(usize::from(place.offset)..usize::from(place.end));
                if let (Some(bytes), Some(to)) = (bytes, to) {
                    to.copy_from_slice(bytes);
                }
                // No set has more.
                let _ = frames.try_push(frame);
                let _ = ends.try_push(place.end);
            }
            self.give_place(at);
            at = next;
        }
        self.unlink(id);
        summary
    }

    /// Takes out the fragments of a packet whose time is up, in order. Gives the port at which the
    /// first of them was received, and whether that is the packet's first.
    pub(crate) fn take_late(
        &mut self,
        now: Tick,
        frames: &mut Frames<F>,
    ) -> Option<(PortId, bool)> {
        let is_late = |id: &u16| {
            let set = self.sets.get(usize::from(*id));
            set.is_some_and(|set| now.has_reached(set.deadline))
        };
        let id = self.oldest.into_iter().find(is_late)?;
        let is_first = self
            .places
            .get(usize::from(self.set(id).first))
            .is_some_and(|place| place.offset == 0);
        let mut at = None;
        self.end_set(id, DropReason::FragmentTimeout, &mut |_, port, frame| {
            at.get_or_insert(port);
            // No set has more.
            let _ = frames.try_push(frame);
        });
        at.map(|port| (port, is_first))
    }

    /// Sees to it that there is a free set, or a free place, by ending the packet that has waited
    /// longest, unless it is `spare`.
    fn make_room(
        &mut self,
        of_sets: bool,
        spare: Option<u16>,
        end: &mut impl FnMut(DropReason, PortId, F),
    ) {
        let is_full = match of_sets {
            true => self.free_set == NONE,
            false => self.free_place == NONE,
        };
        if !is_full {
            return;
        }
        let began = |family: usize| {
            let id = self.oldest[family];
            let set = self
                .sets
                .get(usize::from(id))
                .filter(|_| Some(id) != spare)?;
            Some((id, set.began))
        };
        let oldest = match (began(0), began(1)) {
            (Some((v4, at)), Some((v6, other))) => Some(if at.since(other) == 0 { v4 } else { v6 }),
            (Some((id, _)), None) | (None, Some((id, _))) => Some(id),
            (None, None) => None,
        };
        if let Some(id) = oldest {
            self.end_set(id, DropReason::FragmentLimit, end);
        }
    }

    fn bucket(&self, key: &Key) -> usize {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut hash = self.seed ^ u64::from(key.id) << 8 ^ u64::from(key.protocol);
        for addr in [key.src.0, key.dst.0] {
            for half in [(addr >> 64) as u64, addr as u64] {
                hash = (hash ^ half).wrapping_mul(ODD);
                hash ^= hash >> 29;
            }
        }
        hash as usize & (self.buckets.len() - 1)
    }

    fn set(&self, id: u16) -> &Set {
        &self.sets[usize::from(id)]
    }

    fn find(&self, bucket: usize, key: &Key) -> Option<u16> {
        let mut id = self.buckets[bucket];
        while id != NONE {
            if self.set(id).key == *key {
                return Some(id);
            }
            id = self.set(id).next;
        }
        None
    }

    /// A set for `key`; there is a free one.
    fn begin(&mut self, now: Tick, bucket: usize, key: &Key) -> u16 {
        let id = self.free_set;
        let family = index(key.src.family());
        let set = &mut self.sets[usize::from(id)];
        self.free_set = set.next;
        let older = core::mem::replace(&mut self.newest[family], id);
        *set = Set::free(core::mem::replace(&mut self.buckets[bucket], id));
        set.key = *key;
        set.began = now;
        set.deadline = now.after(seconds(PATIENCE_SECONDS[family]));
        set.older = older;
        match self.sets.get_mut(usize::from(older)) {
            Some(older) => older.newer = id,
            None => self.oldest[family] = id,
        }
        id
    }

    /// Ends a packet for `reason`.
    fn end_set(
        &mut self,
        id: u16,
        reason: DropReason,
        end: &mut impl FnMut(DropReason, PortId, F),
    ) {
        let mut at = self.set(id).first;
        while at != NONE {
            let place = &mut self.places[usize::from(at)];
            let next = place.next;
            if let Some((port, frame)) = place.frame.take() {
                end(reason, port, frame);
            }
            self.give_place(at);
            at = next;
        }
        self.unlink(id);
    }

    /// Frees a set that has no places.
    fn unlink(&mut self, id: u16) {
        let Set {
            key,
            next,
            older,
            newer,
            ..
        } = *self.set(id);
        let family = index(key.src.family());
        let bucket = self.bucket(&key);
        let mut before = NONE;
        let mut at = self.buckets[bucket];
        while at != id && at != NONE {
            before = at;
            at = self.set(at).next;
        }
        match self.sets.get_mut(usize::from(before)) {
            Some(before) => before.next = next,
            None => self.buckets[bucket] = next,
        }
        match self.sets.get_mut(usize::from(older)) {
            Some(set) => set.newer = newer,
            None => self.oldest[family] = newer,
        }
        match self.sets.get_mut(usize::from(newer)) {
            Some(set) => set.older = older,
            None => self.newest[family] = older,
        }
        self.sets[usize::from(id)] = Set::free(self.free_set);
        self.free_set = id;
    }

    fn take_place(&mut self) -> Option<u16> {
        let at = self.free_place;
        self.free_place = self.places.get(usize::from(at))?.next;
        Some(at)
    }

    fn give_place(&mut self, at: u16) {
        self.places[usize::from(at)] = Place::free(self.free_place);
        self.free_place = at;
    }
}

#[cfg(test)]
mod tests;
