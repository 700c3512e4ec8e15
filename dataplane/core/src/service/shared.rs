//! Tables that share with their clone all that did not change since: a clone copies pointers, a
//! change copies the one piece it touches. So a change of one service among tens of thousands
//! costs microseconds, and the published tables stay as they are.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use weir_wire::Addr;

/// Places of one chunk.
const CHUNK: usize = 256;

/// A dense table of places that are filled or empty.
#[derive(Clone, Debug)]
pub(super) struct Chunks<T>(Vec<Arc<[Option<T>; CHUNK]>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Chunks<T> {
    /// What is at `at`. Two dependent loads before its own cache line.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / CHUNK)?[at % CHUNK].as_ref()
    }

    /// Room for `at`, to be filled or emptied.
    pub(super) fn place(&mut self, at: usize) -> &mut Option<T> {
        while self.0.len() <= at / CHUNK {
            self.0.push(Arc::new([const { None }; CHUNK]));
        }
        &mut Arc::make_mut(&mut self.0[at / CHUNK])[at % CHUNK]
    }

    /// What is there, with its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let places = self.0.iter().flat_map(|chunk| chunk.iter()).enumerate();
        places.filter_map(|(at, place)| Some((at, place.as_ref()?)))
    }
}

/// Pieces of a hash table. With more of them a change copies less, and a look-up misses the cache more
/// often.
const SHARDS: usize = 64;

/// A hash table.
#[derive(Clone, Debug)]
pub(super) struct Shards<T>(Box<[Arc<HashTable<T>>; SHARDS]>);

/// What a [`Shards`] holds.
pub(super) trait Keyed: Clone {
    /// What it is found by.
    type Key: Copy + Eq + Mix;

    /// Its key.
    fn key(&self) -> Self::Key;
}

/// A number that differs in all its bits where two keys differ in one. Keys come from the
/// configuration, so nobody can choose them to collide.
pub(super) trait Mix {
    fn mix(&self) -> u64;
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self(Box::new(core::array::from_fn(|_| Arc::clone(&empty))))
    }
}

impl<T: Keyed> Shards<T> {
    /// What has this key: one hash, one probe.
    #[inline]
    pub(super) fn find(&self, key: T::Key) -> Option<&T> {
        let hash = key.mix();
        self.0[shard_of(hash)].find(hash, |item| item.key() == key)
    }

    fn entry(&mut self, key: T::Key) -> Entry<'_, T> {
        let hash = key.mix();
        let shard = Arc::make_mut(&mut self.0[shard_of(hash)]);
        shard.entry(hash, |item| item.key() == key, |item| item.key().mix())
    }

    /// Puts `item` in, in the place of the one with its key if there is one.
    pub(super) fn put(&mut self, item: T) {
        self.entry(item.key()).insert(item);
    }

    /// Takes out what has this key.
    pub(super) fn remove(&mut self, key: T::Key) -> Option<T> {
        match self.entry(key) {
            Entry::Occupied(entry) => Some(entry.remove().0),
            Entry::Vacant(_) => None,
        }
    }
}

/// `hashbrown` looks by the lowest and the highest bits.
#[inline]
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

/// A set that remembers how often each key was added.
pub(super) type Counted<K> = Shards<(K, u32)>;

impl<K: Copy + Eq + Mix> Keyed for (K, u32) {
    type Key = K;

    #[inline]
    fn key(&self) -> K {
        self.0
    }
}

impl<K: Copy + Eq + Mix> Counted<K> {
    #[inline]
    pub(super) fn contains(&self, key: K) -> bool {
        self.find(key).is_some()
    }

    /// Once more.
    pub(super) fn count(&mut self, key: K) {
        self.entry(key).or_insert((key, 0)).get_mut().1 += 1;
    }

    /// Once less.
    pub(super) fn uncount(&mut self, key: K) {
        if let Entry::Occupied(mut entry) = self.entry(key) {
            match entry.get().1 {
                1 => drop(entry.remove()),
                _ => entry.get_mut().1 -= 1,
            }
        }
    }
}

impl Mix for Addr {
    #[inline]
    fn mix(&self) -> u64 {
        mix(*self, 0)
    }
}

/// Of an address and what goes with it. The constants are digits of pi.
#[inline]
pub(super) fn mix(addr: Addr, rest: u64) -> u64 {
    let near = addr.0 as u64 ^ 0x243f_6a88_85a3_08d3;
    let far = (addr.0 >> 64) as u64 ^ rest ^ 0x1319_8a2e_0370_7344;
    let product = u128::from(near) * u128::from(far);
    (product >> 64) as u64 ^ product as u64
}
