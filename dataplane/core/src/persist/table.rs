//! The templates of all workers in one table of fixed size.
//!
//! A key has two buckets of seven slots. A bucket's first line tells by a print of each slot's key
//! which slot to look into. Who changes a bucket raises its version to an odd number first and to an
//! even one at last; another that comes meanwhile tries again a bounded number of times, some tens
//! of microseconds, and then does without. What children do, who come and go at any time, is one
//! atomic operation on the slot. Readers look twice at the version and never write.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::bucket::{
    ASSURED, Bucket, FREE, Held, INVALID, SLOTS, Slot, both, life_of, set_both, what_of,
};
use super::{Attached, End, Refusal, TemplateId, TemplateKey, TemplateView, Templates};
use crate::service::ServerId;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Tick;

/// How full the buckets are with as many templates as promised, in percent: 4.2 of 7 slots. A new
/// template goes to the emptier of its two buckets, so that none has three more than the mean.
const FULL_PERCENT: usize = 60;

/// One slot in so many has room for a name.
const NAMED_IN: usize = 4;

/// Longest name in bytes (IPVS's `IP_VS_PEDATA_MAXLEN`).
pub const NAME_MAX: usize = 255;

/// The port that an invalid template shows in place of its own, as in the kernel.
const INVALID_PORT: u16 = 0xffff;

/// What of [`Slot::what`] belongs to the key: all but the server's port.
const KEY_PARTS: u64 = !(0xffff << 16);

/// Eight bytes of the name in each.
const NAME_WORDS: usize = (NAME_MAX + 1) / 8;

pub(super) type Name = [AtomicU64; NAME_WORDS];

/// Where a key is looked for.
#[derive(Clone, Copy)]
struct Home {
    print: u64,
    /// Two different buckets, or twice the same; the lower one first.
    buckets: [usize; 2],
}

/// Buckets, the names of the first quarter of them, and how many templates lead to each server.
pub(super) type Memory = (Box<[Bucket]>, Box<[Name]>, Box<[AtomicU64]>);

/// All that is allocated, for `most` templates and so many real servers.
pub(super) fn allocate(most: usize, servers: usize) -> Memory {
    let slots = (most * 100).div_ceil(FULL_PERCENT);
    let buckets = match most {
        0 => 0,
        _ => slots
            .div_ceil(SLOTS)
            .max(NAMED_IN)
            .next_multiple_of(NAMED_IN),
    };
    let name = || core::array::from_fn(|_| AtomicU64::new(0));
    let names = buckets / NAMED_IN * SLOTS;
    let mut all: Vec<Bucket> = Vec::with_capacity(buckets);
    all.resize_with(buckets, Bucket::default);
    (
        all.into(),
        (0..names).map(|_| name()).collect(),
        (0..servers).map(|_| AtomicU64::new(0)).collect(),
    )
}

impl Templates {
    fn home(&self, key: &TemplateKey<'_>) -> Home {
        let [low, high] = self.seed;
        let mut hash = fold(key.client.0 as u64 ^ low, key.virt.0 as u64 ^ high);
        hash = fold(
            hash ^ (key.client.0 >> 64) as u64 ^ high,
            (key.virt.0 >> 64) as u64 ^ what_of(key.port, 0, key.protocol, 0) ^ low,
        );
        let mut buckets = self.buckets.len();
        if let Some(name) = key.name {
            buckets /= NAMED_IN;
            for eight in name.chunks(8) {
                hash = fold(hash ^ word_of(eight) ^ low, high);
            }
        }
        let hash = fold(hash, MIX);
        let place = |of: u64| ((of * buckets as u64) >> 32) as usize;
        let (one, other) = (place(hash >> 32), place(hash & 0xffff_ffff));
        Home {
            print: hash | 2,
            buckets: [one.min(other), one.max(other)],
        }
    }

    fn slot(&self, TemplateId(at): TemplateId) -> Option<(&Bucket, usize)> {
        let at = at as usize;
        Some((self.buckets.get(at / SLOTS)?, at % SLOTS))
    }

    fn is_under(&self, bucket: usize, at: usize, key: &TemplateKey<'_>) -> bool {
        let slot = &self.buckets[bucket].slots[at];
        let name_len = key.name.map_or(0, <[u8]>::len) as u8;
        let wanted = what_of(key.port, 0, key.protocol, name_len);
        let what = slot.what.load(Ordering::Relaxed);
        both(&slot.client) == key.client
            && both(&slot.virt) == key.virt
            && what & KEY_PARTS == wanted
            && key.name.is_none_or(|name| self.is_named(bucket, at, name))
    }

    fn is_named(&self, bucket: usize, at: usize, name: &[u8]) -> bool {
        let Some(words) = self.names.get(bucket * SLOTS + at) else {
            return false;
        };
        let words = words.iter().map(|word| word.load(Ordering::Relaxed));
        name.chunks(8).map(word_of).zip(words).all(|(a, b)| a == b)
    }

    /// The slot under `key` in a bucket that is held or read.
    fn position(&self, home: Home, bucket: usize, key: &TemplateKey<'_>) -> Option<usize> {
        let prints = &self.buckets[bucket].prints;
        (0..SLOTS).find(|at| {
            prints[*at].load(Ordering::Relaxed) == home.print && self.is_under(bucket, *at, key)
        })
    }

    /// Holds both buckets of a key, the lower one first.
    fn hold(&self, home: Home) -> Option<(Held<'_>, Option<Held<'_>>)> {
        let [one, other] = home.buckets;
        let first = self.buckets[one].hold()?;
        if one == other {
            return Some((first, None));
        }
        let second = self.buckets[other].hold()?;
        Some((first, Some(second)))
    }

    /// Another child for the template under `key`, whose life begins anew. None when there is none;
    /// one whose server is not `usable` leads nowhere from now on.
    ///
    /// # Errors
    /// [`Refusal::Contended`].
    pub fn attach(
        &self,
        now: Tick,
        key: &TemplateKey<'_>,
        usable: impl Fn(ServerId) -> bool,
    ) -> Result<Option<Attached>, Refusal> {
        if self.buckets.is_empty() {
            return Ok(None);
        }
        let home = self.home(key);
        let held = self.hold(home).ok_or(Refusal::Contended)?;
        let found = self.attach_held(now, home, key, usable);
        drop(held);
        Ok(found)
    }

    fn attach_held(
        &self,
        now: Tick,
        home: Home,
        key: &TemplateKey<'_>,
        usable: impl Fn(ServerId) -> bool,
    ) -> Option<Attached> {
        let at_home = home.buckets.into_iter();
        let mut found = at_home.filter_map(|b| Some((b, self.position(home, b, key)?)));
        let (bucket, at) = found.next()?;
        let Bucket { prints, slots, .. } = &self.buckets[bucket];
        let (print, slot) = (&prints[at], &slots[at]);
        let Some((_, lifetime)) = slot.life_at(now) else {
            self.free(print, slot);
            return None;
        };
        if !usable(slot.server()) {
            print.store(INVALID, Ordering::Relaxed);
            return None;
        }
        slot.children.fetch_add(1, Ordering::Relaxed);
        let life = life_of(now.after(lifetime), lifetime);
        slot.life.store(life, Ordering::Relaxed);
        Some(Attached {
            id: TemplateId((bucket * SLOTS + at) as u32),
            server: slot.server(),
        })
    }

    /// A new template under `key` with one child; or the one that another worker has made
    /// meanwhile, and its server.
    ///
    /// # Errors
    /// [`Refusal`]: there is none then.
    pub fn create(
        &self,
        now: Tick,
        key: &TemplateKey<'_>,
        lifetime: u32,
        (server, port): (ServerId, u16),
        usable: impl Fn(ServerId) -> bool,
    ) -> Result<Attached, Refusal> {
        if self.buckets.is_empty() || key.name.is_some_and(|name| name.len() > NAME_MAX) {
            return Err(Refusal::Full);
        }
        let home = self.home(key);
        let held = self.hold(home).ok_or(Refusal::Contended)?;
        let made = match self.attach_held(now, home, key, usable) {
            Some(theirs) => Ok(theirs),
            None => self.create_held(now, home, key, lifetime, server, port),
        };
        drop(held);
        made
    }

    fn create_held(
        &self,
        now: Tick,
        home: Home,
        key: &TemplateKey<'_>,
        lifetime: u32,
        server: ServerId,
        port: u16,
    ) -> Result<Attached, Refusal> {
        let free = home
            .buckets
            .map(|bucket| (bucket, self.reclaim(bucket, now)));
        let (bucket, count) = match free {
            [one, other] if other.1 > one.1 => other,
            [one, _] => one,
        };
        let prints = &self.buckets[bucket].prints;
        let at = (0..SLOTS).find(|at| prints[*at].load(Ordering::Relaxed) == FREE);
        let at = at.filter(|_| count > 0).ok_or(Refusal::Full)?;
        if self.used.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Full);
        }
        self.count(server, 1);
        let slot = &self.buckets[bucket].slots[at];
        set_both(&slot.client, key.client);
        set_both(&slot.virt, key.virt);
        let name = key.name.unwrap_or_default();
        let what = what_of(key.port, port, key.protocol, name.len() as u8);
        slot.what.store(what, Ordering::Relaxed);
        slot.server.store(u64::from(server.0), Ordering::Relaxed);
        let life = life_of(now.after(lifetime), lifetime);
        slot.life.store(life, Ordering::Relaxed);
        slot.children.store(1, Ordering::Relaxed);
        if let Some(words) = self.names.get(bucket * SLOTS + at) {
            for (eight, word) in name.chunks(8).zip(words) {
                word.store(word_of(eight), Ordering::Relaxed);
            }
        }
        prints[at].store(home.print, Ordering::Relaxed);
        Ok(Attached {
            id: TemplateId((bucket * SLOTS + at) as u32),
            server,
        })
    }

    /// Frees what is over in a bucket that is held; returns how many of its slots are free.
    fn reclaim(&self, bucket: usize, now: Tick) -> usize {
        let Bucket { prints, slots, .. } = &self.buckets[bucket];
        let mut free = 0;
        for (print, slot) in prints.iter().zip(slots) {
            let is_free = print.load(Ordering::Relaxed) == FREE;
            if is_free || slot.life_at(now).is_none() {
                if !is_free {
                    self.free(print, slot);
                }
                free += 1;
            }
        }
        free
    }

    fn free(&self, print: &AtomicU64, slot: &Slot) {
        print.store(FREE, Ordering::Relaxed);
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.count(slot.server(), -1);
    }

    fn count(&self, server: ServerId, by: i64) {
        if let Some(count) = self.of_server.get(server.0 as usize) {
            count.fetch_add(by as u64, Ordering::Relaxed);
        }
    }

    /// A child has ended, at `ended`, which may be a moment ago; how, says whether the last one takes
    /// the template with it.
    pub fn release(&self, ended: Tick, id: TemplateId, how: End) {
        let Some((bucket, at)) = self.slot(id) else {
            return;
        };
        let slot = &bucket.slots[at];
        let Some(held) = bucket.hold() else {
            slot.children.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if let Some((expires, lifetime)) = slot.life_at(ended) {
            let life = life_of(expires, lifetime);
            slot.life.store(life, Ordering::Relaxed);
        }
        let left = slot
            .children
            .fetch_sub(1, Ordering::Relaxed)
            .wrapping_sub(1);
        debug_assert!(left as u32 != u32::MAX, "a child that was not counted");
        let (is_last, is_assured) = (left as u32 == 0, left & ASSURED != 0);
        let goes = match how {
            End::InTime => false,
            End::Forced => is_last && !is_assured,
            End::Homeless => is_last,
        };
        if goes {
            self.free(&bucket.prints[at], slot);
        }
        drop(held);
    }

    /// A child has been answered.
    pub fn assure(&self, id: TemplateId) {
        if let Some((bucket, at)) = self.slot(id) {
            bucket.slots[at]
                .children
                .fetch_or(ASSURED, Ordering::Relaxed);
        }
    }

    /// The server that `key` leads to, without a new child.
    #[must_use]
    pub fn peek(&self, now: Tick, key: &TemplateKey<'_>) -> Option<ServerId> {
        if self.buckets.is_empty() {
            return None;
        }
        let home = self.home(key);
        let mut buckets = home.buckets.into_iter();
        buckets.find_map(|bucket| {
            self.buckets[bucket].read(|held| {
                let slot = &held.slots[self.position(home, bucket, key)?];
                slot.life_at(now)?;
                Some(slot.server())
            })?
        })
    }

    /// Buckets there are, a whole round of [`sweep`](Self::sweep).
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Frees what is over in the bucket `at`, and what has no child and is `gone`: that is asked of
    /// the server and whether a child has ever been answered.
    pub fn sweep(&self, now: Tick, at: usize, gone: impl Fn(ServerId, bool) -> bool) {
        let Some(bucket) = self.buckets.get(at) else {
            return;
        };
        let Bucket { prints, slots, .. } = bucket;
        let is_over = |slot: &Slot| {
            slot.life_at(now).is_none()
                || (!slot.has_children() && gone(slot.server(), slot.is_assured()))
        };
        let used = |print: &AtomicU64| print.load(Ordering::Relaxed) != FREE;
        let mut all = prints.iter().zip(slots);
        if !all.any(|(print, slot)| used(print) && is_over(slot)) {
            return;
        }
        // Looked at again, now that nobody else changes it.
        if let Some(held) = bucket.hold() {
            for (print, slot) in prints.iter().zip(slots) {
                if used(print) && is_over(slot) {
                    self.free(print, slot);
                }
            }
            drop(held);
        }
    }

    /// Tells the templates of the bucket `at`, as they are at one moment. `name` is where the name
    /// of each stands while it is told.
    pub fn visit(&self, now: Tick, at: usize, mut see: impl FnMut(&TemplateView, &[u8])) {
        let Some(bucket) = self.buckets.get(at) else {
            return;
        };
        for slot in 0..SLOTS {
            let mut name = [0; NAME_WORDS * 8];
            let found = bucket.read(|_| self.view(now, at, slot, &mut name));
            if let Some(Some((view, len))) = found {
                see(&view, &name[..len]);
            }
        }
    }

    fn view(
        &self,
        now: Tick,
        bucket: usize,
        at: usize,
        name: &mut [u8; NAME_WORDS * 8],
    ) -> Option<(TemplateView, usize)> {
        let Bucket { prints, slots, .. } = &self.buckets[bucket];
        let (print, slot) = (prints[at].load(Ordering::Relaxed), &slots[at]);
        if print == FREE {
            return None;
        }
        let (expires, _) = slot.life_at(now)?;
        let what = slot.what.load(Ordering::Relaxed);
        let len = usize::from((what >> 40) as u8);
        if len > 0 {
            let words = self.names.get(bucket * SLOTS + at)?;
            for (eight, word) in name.chunks_mut(8).zip(words) {
                eight.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
        }
        let is_valid = print != INVALID;
        let shown = |port: u16| if is_valid { port } else { INVALID_PORT };
        let children = slot.children.load(Ordering::Relaxed);
        let view = TemplateView {
            client: both(&slot.client),
            virt: both(&slot.virt),
            port: shown(what as u16),
            protocol: (what >> 32) as u8,
            server: slot.server(),
            dest_port: shown((what >> 16) as u16),
            children: children as u32,
            is_assured: children & ASSURED != 0,
            is_valid,
            ticks_left: expires.since(now),
        };
        Some((view, len))
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ MIX) * u128::from(b | 1);
    product as u64 ^ (product >> 64) as u64
}

fn word_of(eight: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..eight.len()].copy_from_slice(eight);
    u64::from_le_bytes(word)
}
