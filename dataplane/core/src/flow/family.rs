//! The entries of one family: a hash table laid out by cache line.
//!
//! An entry has a *home* line and three others: the neighbour of its home (the other half of a
//! pair of lines), and a second pair. It goes into the first of the four that has room; when all
//! are full, one of those in its way is moved to another of its own four. Nearly every entry is at
//! home, so a look-up reads one cache line; a line counts how many of its own are *away*, so that a
//! look-up that finds nothing at home knows whether to go on.
//!
//! Nothing is re-armed when a packet passes: the entry carries the moment at which its flow ends.
//! For each group of lines there is a moment before which none of its flows ends, so that a sweep
//! passes over most groups without reading them.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;
use weir_memory::{Pages, TableMemory, prefetch};

use super::entry::{AWAY_MAX, Entry, Key, NONE};
use super::table::Full;
use crate::time::Tick;

/// Lines that share one moment in [`Family::due`].
pub(super) const GROUP: usize = 32;

/// A moment that is not reached before the group is looked at again: 124 days.
const FAR: u32 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Family<E: Entry> {
    entries: TableMemory<E>,
    lines: u32,
    /// By group of lines: no flow in it ends before.
    due: Vec<Tick>,
    seed: [u64; 2],
    version: u32,
    /// Replies whose entries are still to be made.
    pub(super) awaited: ArrayVec<Awaited<E>, AWAITED>,
}

/// The reply's key of a flow that has its own entry only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited<E: Entry> {
    /// The flow's entry, and its place unless it was pushed to another.
    pub(super) request: Key<E::Ip>,
    pub(super) place: u32,
    pub(super) reply: Key<E::Ip>,
    /// The home line of `reply`.
    pub(super) home: u32,
}

/// As many as flows can begin in a burst.
pub(super) const AWAITED: usize = crate::io::BURST_MAX;

/// An entry in the way of another, and the step whose entry would come to its place.
#[derive(Clone, Copy)]
struct Step {
    place: u32,
    before: Option<u8>,
}

/// Entries looked at before one is told that there is no room. With tables as full as they may be
/// this is never reached in practice.
const SEARCH: usize = 128;

impl<E: Entry> Family<E> {
    /// Room for `flows` flows of two entries each.
    pub(super) fn new(flows: usize, seed: [u64; 2]) -> Self {
        let entries = (flows * 2 * 100).div_ceil(E::FULL_PERCENT).max(4 * GROUP);
        let lines = entries.div_ceil(E::PER_LINE).next_multiple_of(GROUP);
        assert!(
            lines * E::PER_LINE < NONE as usize,
            "limits bound the flows"
        );
        Self {
            entries: TableMemory::filled(lines * E::PER_LINE, E::FREE),
            lines: lines as u32,
            due: vec![Tick(0).after(FAR); lines / GROUP],
            seed,
            version: 0,
            awaited: ArrayVec::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.bytes() + self.due.len() * size_of::<Tick>()
    }

    pub(super) fn pages(&self) -> Pages {
        self.entries.pages()
    }

    #[inline]
    pub(crate) fn hash(&self, key: &Key<E::Ip>) -> u64 {
        E::hash(key, self.seed)
    }

    /// Asks for the home line of what has this hash; returns the line.
    #[inline(always)]
    pub(crate) fn prefetch_home(&self, hash: u64) -> u32 {
        let home = self.home(hash);
        if let Some(entry) = self.entries.get(home * E::PER_LINE) {
            prefetch(entry);
        }
        home as u32
    }

    /// Asks for the line of the entry at `place`.
    #[inline(always)]
    pub(crate) fn prefetch_place(&self, place: u32) {
        if let Some(entry) = self.entries.get(place as usize) {
            prefetch(entry);
        }
    }

    /// Asks for the other lines in which the entry may be that is not at home.
    #[inline(never)]
    pub(crate) fn prefetch_others(&self, key: &Key<E::Ip>) {
        let [_, others @ ..] = self.candidates(self.hash(key));
        for line in others {
            self.prefetch_place((line * E::PER_LINE) as u32);
        }
    }

    /// Asks for what an insertion needs besides the home line.
    #[inline(always)]
    pub(crate) fn prefetch_due(&self, home: u32) {
        if let Some(due) = self.due.get(home as usize / GROUP) {
            prefetch(due);
        }
    }

    /// True when no entry whose home is this line is away from it.
    #[inline(always)]
    pub(crate) fn is_absent(&self, home: u32) -> bool {
        let first = self.entries.get(home as usize * E::PER_LINE);
        first.is_none_or(|entry| entry.head().away() == 0)
    }

    /// The entry under `key`, with its place, if it stands in this line.
    #[inline(always)]
    pub(crate) fn in_line(&self, line: u32, key: &Key<E::Ip>) -> Option<(u32, &E)> {
        let first = line as usize * E::PER_LINE;
        let line = self.entries.get(first..first + E::PER_LINE)?;
        // Which of two entries is the right one is as chance has it: no branch may depend on it.
        let (mut at, mut least) = (0, u64::MAX);
        for (way, entry) in line.iter().enumerate() {
            let differs = entry.differs(key);
            at = if differs == 0 { way } else { at };
            least = least.min(differs);
        }
        let entry = line.get(at).filter(|_| least == 0)?;
        Some(((first + at) as u32, entry))
    }

    /// The entry at `place`, in use or not.
    #[inline(always)]
    pub(crate) fn at(&self, place: u32) -> Option<&E> {
        self.entries.get(place as usize)
    }

    /// Raised whenever an entry comes, goes or moves.
    #[inline(always)]
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The place of the entry under `key`.
    #[inline]
    pub(crate) fn find(&self, key: &Key<E::Ip>, hash: u64) -> Option<u32> {
        self.find_from(self.home(hash) as u32, key)
    }

    /// The place of the entry under `key`, whose home line is known.
    #[inline]
    pub(crate) fn find_from(&self, home: u32, key: &Key<E::Ip>) -> Option<u32> {
        match self.in_line(home, key) {
            Some((place, _)) => Some(place),
            None if self.is_absent(home) => None,
            None => self.find_away(key),
        }
    }

    #[inline(never)]
    fn find_away(&self, key: &Key<E::Ip>) -> Option<u32> {
        let [_, others @ ..] = self.candidates(self.hash(key));
        let mut found = others.into_iter();
        found.find_map(|line| Some(self.in_line(line as u32, key)?.0))
    }

    /// The entry at `place`, which this table has handed out.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> &E {
        &self.entries[place as usize]
    }

    /// As [`get`](Self::get). The key and the end of life are not to be changed by it: see
    /// [`keep_until`](Self::keep_until).
    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut E {
        &mut self.entries[place as usize]
    }

    /// Sets the end of life of the flow at `place`.
    #[inline(always)]
    pub(crate) fn keep_until(&mut self, place: u32, expires: Tick) {
        self.keep(place, expires, false);
    }

    /// The same, and counts a packet of the client if there is one.
    #[inline(always)]
    pub(crate) fn keep(&mut self, place: u32, expires: Tick, is_clients: bool) {
        let Some(entry) = self.entries.get_mut(place as usize) else {
            return;
        };
        if is_clients {
            entry.head_mut().count_packet();
        }
        let before = core::mem::replace(&mut entry.head_mut().expires, expires);
        if !expires.has_reached(before) {
            self.bring_forward(place, expires);
        }
    }

    /// Sees to it that the sweep looks at the group of `place` at `expires`.
    #[inline(never)]
    fn bring_forward(&mut self, place: u32, expires: Tick) {
        let due = &mut self.due[place as usize / E::PER_LINE / GROUP];
        if !expires.has_reached(*due) {
            *due = expires;
        }
    }

    /// As [`insert`](Self::insert), of an entry whose home line is known.
    #[inline]
    pub(super) fn insert_at(&mut self, home: u32, entry: E) -> Result<u32, Full> {
        match self.free_in(home as usize) {
            Some(place) => {
                self.put(place, entry, home as usize);
                Ok(place)
            }
            None => self.insert(entry),
        }
    }

    /// Takes an entry in, whose key is not there yet. A request comes with its end of life set.
    #[inline(never)]
    pub(super) fn insert(&mut self, entry: E) -> Result<u32, Full> {
        let hash = self.hash(&entry.own_key());
        let candidates = self.candidates(hash);
        let free = candidates.iter().find_map(|line| self.free_in(*line));
        let place = match free {
            Some(place) => place,
            None => self.make_room(candidates).ok_or(Full)?,
        };
        self.put(place, entry, candidates[0]);
        Ok(place)
    }

    /// Takes the entry at `place` out.
    pub(super) fn remove(&mut self, place: u32) -> E {
        let entry = *self.get(place);
        let hash = self.hash(&entry.own_key());
        self.clear(place, self.home(hash));
        entry
    }

    /// Frees a place in one of these lines: the entry there moves to another of its own lines, and
    /// if those are full as well, one of theirs moves first. The shortest such chain is searched
    /// for, breadth first, among [`SEARCH`] entries.
    #[cold]
    fn make_room(&mut self, lines: [usize; 4]) -> Option<u32> {
        let mut steps: ArrayVec<Step, SEARCH> = ArrayVec::new();
        let add = |steps: &mut ArrayVec<Step, SEARCH>, line, before| {
            for place in places_of::<E>(line) {
                // Met twice, it would be moved twice.
                if !steps.is_full() && steps.iter().all(|step| step.place != place) {
                    steps.push(Step { place, before });
                }
            }
        };
        for line in lines {
            add(&mut steps, line, None);
        }
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            let key = self.get(step.place).own_key();
            for line in self.candidates(self.hash(&key)) {
                if let Some(free) = self.free_in(line) {
                    return Some(self.shift(&steps, at, free));
                }
                add(&mut steps, line, Some(at as u8));
            }
            at += 1;
        }
        None
    }

    /// Moves the entry of the step `at` to the `free` place, the one before it to the place that
    /// got free, and so on. Returns the place that is free in the end.
    fn shift(&mut self, steps: &[Step], at: usize, mut free: u32) -> u32 {
        let mut next = Some(at as u8);
        while let Some(step) = next.and_then(|at| steps.get(usize::from(at))) {
            self.move_entry(step.place, free);
            free = step.place;
            next = step.before;
        }
        free
    }

    fn move_entry(&mut self, from: u32, to: u32) {
        let entry = *self.get(from);
        let home = self.home(self.hash(&entry.own_key()));
        self.clear(from, home);
        self.put(to, entry, home);
        if let Some(partner) = self.entries.get_mut(entry.head().link as usize) {
            partner.head_mut().link = to;
        }
    }

    /// Writes `entry`, whose home is the line `home`, to the free `place`.
    fn put(&mut self, place: u32, mut entry: E, home: usize) {
        if place as usize / E::PER_LINE != home {
            self.count_away(home, 1);
        }
        self.version = self.version.wrapping_add(1);
        let at = &mut self.entries[place as usize];
        entry.head_mut().set_away(at.head().away());
        *at = entry;
        if entry.head().is_request() {
            self.bring_forward(place, entry.head().expires);
        }
    }

    fn clear(&mut self, place: u32, home: usize) {
        self.version = self.version.wrapping_add(1);
        let at = &mut self.entries[place as usize];
        let mut free = E::FREE;
        free.head_mut().set_away(at.head().away());
        *at = free;
        if place as usize / E::PER_LINE != home {
            self.count_away(home, -1);
        }
    }

    /// How many of a line's own are away; a count that ran over stays where it is.
    fn count_away(&mut self, line: usize, by: i8) {
        let head = self.entries[line * E::PER_LINE].head_mut();
        let away = head.away();
        if away < AWAY_MAX {
            head.set_away(away.saturating_add_signed(by));
        }
    }

    fn free_in(&self, line: usize) -> Option<u32> {
        let first = line * E::PER_LINE;
        let slots = &self.entries[first..first + E::PER_LINE];
        let way = slots.iter().position(|entry| !entry.head().is_live())?;
        Some((first + way) as u32)
    }

    /// The home line of what has this key.
    #[inline]
    pub(super) fn home_of(&self, key: &Key<E::Ip>) -> u32 {
        self.home(self.hash(key)) as u32
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        scale(hash >> 32, self.lines)
    }

    /// The four lines of an entry, its home first.
    fn candidates(&self, hash: u64) -> [usize; 4] {
        let home = self.home(hash);
        let mut other = scale(hash & 0xffff_ffff, self.lines);
        if other / 2 == home / 2 {
            other = (other + 2) % self.lines as usize;
        }
        [home, home ^ 1, other, other ^ 1]
    }

    /// Tells `ended` the places of flows of a group that have ended by `now`, which removes them or
    /// gives them more time.
    pub(super) fn sweep(&mut self, group: usize, now: Tick, mut ended: impl FnMut(&mut Self, u32)) {
        let size = GROUP * E::PER_LINE;
        let mut due = now.after(FAR);
        for place in group * size..(group + 1) * size {
            let head = self.entries[place].head();
            if head.is_request() && now.has_reached(head.expires) {
                ended(self, place as u32);
            }
            let head = self.entries[place].head();
            if head.is_request() && !head.expires.has_reached(due) {
                due = head.expires;
            }
        }
        self.due[group] = due;
    }

    /// True when the sweep has to read the group.
    pub(super) fn is_due(&self, group: usize, now: Tick) -> bool {
        now.has_reached(self.due[group])
    }

    /// The number of groups, a whole round of the sweep.
    pub(super) fn groups(&self) -> usize {
        self.due.len()
    }

    /// All places.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }
}

/// The places of a line.
fn places_of<E: Entry>(line: usize) -> Range<u32> {
    (line * E::PER_LINE) as u32..((line + 1) * E::PER_LINE) as u32
}

/// `of` / 2³² of `lines`.
#[inline]
fn scale(of: u64, lines: u32) -> usize {
    ((of * u64::from(lines)) >> 32) as usize
}

#[cfg(test)]
impl<E: Entry> Family<E> {
    /// What holds whatever came before: each entry stands in one of its lines and is found, links lead
    /// there and back, lines know how many of their own are away, and no flow ends before its group
    /// is looked at.
    pub(super) fn assert_sound(&self) {
        let mut away = vec![0; self.lines as usize];
        for place in 0..self.entries.len() as u32 {
            let (entry, line) = (self.get(place), place as usize / E::PER_LINE);
            let head = entry.head();
            if !head.is_live() {
                continue;
            }
            let key = entry.own_key();
            let hash = self.hash(&key);
            assert_eq!(self.find(&key, hash), Some(place), "{key:?}");
            assert!(self.candidates(hash).contains(&line), "{key:?}");
            if self.home(hash) != line {
                away[self.home(hash)] += 1;
            }
            if head.link == NONE {
                assert!(head.is_request(), "a reply of nothing: {key:?}");
            } else {
                let partner = self.get(head.link).head();
                assert!(partner.is_live() && partner.is_reply() != head.is_reply());
                assert_eq!(partner.link, place, "{key:?}");
            }
            if head.is_request() {
                let due = self.due[line / GROUP];
                assert!(head.expires.has_reached(due), "{key:?} ends unseen");
            }
        }
        for (line, away) in away.into_iter().enumerate() {
            let counted = self.entries[line * E::PER_LINE].head().away();
            assert!(counted == AWAY_MAX || counted == away, "line {line}");
        }
    }

    /// True when no entry is live and no line counts any of its own away.
    pub(super) fn is_pristine(&self) -> bool {
        let mut heads = self.entries.iter().map(Entry::head);
        heads.all(|head| !head.is_live() && head.away() == 0)
    }
}
