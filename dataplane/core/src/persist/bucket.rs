//! A bucket of templates: who changes it, who reads it, and what time has done to a template.

use weir_wire::Addr;

use crate::service::ServerId;
use crate::sync::{AtomicU64, Ordering, fence, spin_loop};
use crate::time::{Tick, seconds};

/// Slots of a bucket: with the version and seven prints its first line is full.
#[cfg(not(weir_loom))]
pub(super) const SLOTS: usize = 7;
#[cfg(weir_loom)]
pub(super) const SLOTS: usize = 2;

/// Tries to get a bucket that another thread changes.
#[cfg(not(weir_loom))]
pub(super) const TRIES: u32 = 4096;
#[cfg(weir_loom)]
pub(super) const TRIES: u32 = 8;

/// A print of a free slot, and one of a slot that no key leads to any more.
pub(super) const FREE: u64 = 0;
pub(super) const INVALID: u64 = 1;

/// A template that has children when its time is up lives on for so long, again and again.
pub(super) const PROLONGED: u32 = seconds(60);

/// In [`Slot::children`]: a child of it has been answered.
pub(super) const ASSURED: u64 = 1 << 32;

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Bucket {
    pub(super) version: AtomicU64,
    pub(super) prints: [AtomicU64; SLOTS],
    pub(super) slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) client: [AtomicU64; 2],
    pub(super) virt: [AtomicU64; 2],
    /// From the lowest bit on: port (16), real server's port (16), protocol (8), length of the name (8).
    pub(super) what: AtomicU64,
    pub(super) server: AtomicU64,
    /// The end of its life and, in the upper half, how long that is.
    pub(super) life: AtomicU64,
    /// How many flows live under it; and [`ASSURED`].
    pub(super) children: AtomicU64,
}

#[cfg(not(weir_loom))]
const _: () = assert!(size_of::<Bucket>() == 512);

impl Default for Bucket {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            prints: core::array::from_fn(|_| AtomicU64::new(FREE)),
            slots: core::array::from_fn(|_| Slot::default()),
        }
    }
}

pub(super) fn both(words: &[AtomicU64; 2]) -> Addr {
    let [high, low] = words;
    let word = |of: &AtomicU64| u128::from(of.load(Ordering::Relaxed));
    Addr(word(high) << 64 | word(low))
}

pub(super) fn set_both(words: &[AtomicU64; 2], addr: Addr) {
    words[0].store((addr.0 >> 64) as u64, Ordering::Relaxed);
    words[1].store(addr.0 as u64, Ordering::Relaxed);
}

pub(super) const fn what_of(port: u16, dest_port: u16, protocol: u8, name_len: u8) -> u64 {
    port as u64 | (dest_port as u64) << 16 | (protocol as u64) << 32 | (name_len as u64) << 40
}

pub(super) const fn life_of(expires: Tick, lifetime: u32) -> u64 {
    expires.0 as u64 | (lifetime as u64) << 32
}

impl Slot {
    pub(super) fn life(&self) -> (Tick, u32) {
        let life = self.life.load(Ordering::Relaxed);
        (Tick(life as u32), (life >> 32) as u32)
    }

    pub(super) fn has_children(&self) -> bool {
        self.children.load(Ordering::Relaxed) as u32 != 0
    }

    pub(super) fn is_assured(&self) -> bool {
        self.children.load(Ordering::Relaxed) & ASSURED != 0
    }

    /// The end of its life and how long that is, as the kernel's timer would have set it by now. None
    /// when it is over.
    pub(super) fn life_at(&self, now: Tick) -> Option<(Tick, u32)> {
        let (expires, lifetime) = self.life();
        if !now.has_reached(expires) {
            return Some((expires, lifetime));
        }
        let rounds = now.since(expires) / PROLONGED + 1;
        let prolonged = expires.after(rounds * PROLONGED);
        self.has_children().then_some((prolonged, PROLONGED))
    }

    pub(super) fn server(&self) -> ServerId {
        ServerId(self.server.load(Ordering::Relaxed) as u32)
    }
}

/// A bucket that this thread alone changes until it is dropped.
pub(super) struct Held<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) version: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let next = self.version.wrapping_add(2);
        self.bucket.version.store(next, Ordering::Release);
    }
}

impl Bucket {
    pub(super) fn hold(&self) -> Option<Held<'_>> {
        for _ in 0..TRIES {
            let version = self.version.load(Ordering::Relaxed);
            let is_free = version & 1 == 0;
            let claim = version.wrapping_add(1);
            let (held, failed) = (Ordering::Acquire, Ordering::Relaxed);
            if is_free
                && self
                    .version
                    .compare_exchange(version, claim, held, failed)
                    .is_ok()
            {
                // Readers that see a change see the odd version, too.
                fence(Ordering::Release);
                let bucket = self;
                return Some(Held { bucket, version });
            }
            spin_loop();
        }
        None
    }

    /// What `read` finds while nobody changes the bucket; none when somebody always does.
    pub(super) fn read<T>(&self, mut read: impl FnMut(&Self) -> T) -> Option<T> {
        for _ in 0..TRIES {
            let before = self.version.load(Ordering::Acquire);
            if before & 1 == 0 {
                let found = read(self);
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return Some(found);
                }
            }
            spin_loop();
        }
        None
    }
}
