//! Fragments in any order, held against a model of the payload's bytes.

use std::vec::Vec;

use proptest::prelude::*;
use weir_wire::builder::addr;

use super::*;
use crate::testing::MemFrame;

const PORT: PortId = PortId(0);

/// A table, and what ended.
struct World {
    table: Reassembly<MemFrame>,
    now: Tick,
    ended: Vec<DropReason>,
}

impl World {
    fn new(fragments: usize) -> Self {
        Self {
            table: Reassembly::new(fragments, 7),
            now: Tick(1000),
            ended: Vec::new(),
        }
    }

    /// Adds the fragment `offset..end` of the packet `id`, whose payload counts up, and returns the
    /// payload of the whole when it is complete.
    fn add(&mut self, is_v4: bool, id: u32, offset: u16, end: u16, more: bool) -> Option<Vec<u8>> {
        let bytes: Vec<u8> = (offset..end).map(|n| n as u8).collect();
        let [src, dst] = match is_v4 {
            true => ["192.0.2.1", "192.0.2.2"],
            false => ["2001:db8::1", "2001:db8::2"],
        };
        let key = Key {
            src: addr(src),
            dst: addr(dst),
            id,
            protocol: 17,
        };
        let part = Part {
            offset,
            end,
            more,
            at: 0,
            packet_len: 20 + bytes.len() as u16,
            tos: 0,
            dont_fragment: false,
        };
        let ended = &mut self.ended;
        let frame = (PORT, MemFrame::new(&bytes));
        let complete = self
            .table
            .add(self.now, &key, part, frame, |reason, _, _| {
                ended.push(reason)
            })?;
        let mut payload = std::vec![0; 0x10000];
        let (mut frames, mut ends) = (Frames::new(), Ends::new());
        let summary = self
            .table
            .take(complete, &mut payload, &mut frames, &mut ends);
        assert!(ends.is_sorted() && ends.len() == frames.len());
        assert_eq!(ends.last().copied().map(usize::from), Some(summary.len));
        payload.truncate(summary.len);
        Some(payload)
    }

    fn expire(&mut self) {
        let mut frames = Frames::new();
        while self.table.take_late(self.now, &mut frames).is_some() {
            let late = frames.drain(..).map(|_| DropReason::FragmentTimeout);
            self.ended.extend(late);
        }
    }

    fn ended(&mut self) -> Vec<DropReason> {
        core::mem::take(&mut self.ended)
    }

    /// Every place and set is free, and none is lost.
    fn assert_empty(&self) {
        let table = &self.table;
        let count = |first: u16, next: &dyn Fn(u16) -> u16| {
            let mut at = first;
            let mut n = 0;
            while at != NONE {
                at = next(at);
                n += 1;
            }
            n
        };
        let places = count(table.free_place, &|at| table.places[usize::from(at)].next);
        let sets = count(table.free_set, &|at| table.sets[usize::from(at)].next);
        assert_eq!((places, sets), (table.places.len(), table.sets.len()));
        assert!(table.places.iter().all(|place| place.frame.is_none()));
        assert!(table.buckets.iter().all(|first| *first == NONE));
        assert_eq!((table.oldest, table.newest), ([NONE; 2], [NONE; 2]));
    }
}

fn counting(len: u16) -> Vec<u8> {
    (0..len).map(|n| n as u8).collect()
}

proptest! {
    /// Cut anywhere at 8 bytes, in any order, some twice.
    #[test]
    fn whatever_the_order_the_whole_is_what_was_cut(
        cuts in prop::collection::btree_set(1u16..500, 0..40), last in 1u16..9,
        seed: u64, is_v4: bool,
    ) {
        let len = cuts.last().copied().unwrap_or(0) * 8 + last;
        let mut ends: Vec<u16> = cuts.iter().map(|cut| cut * 8).collect();
        ends.push(len);
        let starts = std::iter::once(0).chain(ends.clone());
        let mut parts: Vec<_> = starts.zip(ends.clone()).map(|(a, b)| (a, b, b != len)).collect();
        let count = parts.len();
        let mut random = seed;
        for n in (1..count).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            parts.swap(n, (random >> 33) as usize % (n + 1));
        }
        let mut world = World::new(64);
        for (n, (from, to, more)) in parts.iter().enumerate() {
            let whole = world.add(is_v4, 1, *from, *to, *more);
            prop_assert_eq!(whole.is_some(), n + 1 == count);
            if let Some(whole) = whole {
                prop_assert_eq!(whole, counting(len));
            } else {
                // Again: it is noticed, and changes nothing.
                prop_assert_eq!(world.add(is_v4, 1, *from, *to, *more), None);
                prop_assert_eq!(world.ended(), [DropReason::FragmentAgain]);
            }
        }
        prop_assert_eq!(world.ended(), []);
        world.assert_empty();
    }

    /// Anything at all: nothing is put together that was not sent, nothing is lost count of.
    #[test]
    fn no_mess_of_fragments_is_lost_count_of(
        parts in prop::collection::vec(
            (any::<bool>(), 0u32..3, 0u16..40, 0u16..80, any::<bool>(), 0u32..2000), 0..200,
        ),
    ) {
        let mut world = World::new(16);
        for (is_v4, id, offset, len, more, later) in parts {
            let end = offset * 8 + len;
            let ended = world.ended.len();
            let whole = world.add(is_v4, id, offset * 8, end, more);
            if let Some(whole) = whole {
                prop_assert_eq!(&whole, &counting(whole.len() as u16));
            }
            prop_assert!(world.ended.len() <= ended + 17);
            world.now = world.now.after(later);
            world.expire();
        }
        world.now = world.now.after(seconds(61));
        world.expire();
        world.assert_empty();
    }
}

/// RFC 5722 for IPv6, and Linux does the same for IPv4.
#[test]
fn fragments_that_overlap_end_all_of_their_packet() {
    for is_v4 in [true, false] {
        for (from, to, more) in [
            (8, 24, true),   // into one that is there
            (0, 24, true),   // over one and further
            (40, 56, true),  // past the end
            (24, 32, false), // another end
        ] {
            let mut world = World::new(8);
            assert_eq!(world.add(is_v4, 1, 0, 16, true), None);
            assert_eq!(world.add(is_v4, 1, 40, 48, false), None);
            assert_eq!(world.add(is_v4, 1, from, to, more), None);
            // One of IPv6 that contradicts the end ends alone.
            if is_v4 || from < 24 {
                assert_eq!(world.ended(), [DropReason::FragmentOverlap; 3]);
                world.assert_empty();
            } else {
                assert_eq!(world.ended(), [DropReason::FragmentOverlap]);
                assert_eq!(world.add(is_v4, 1, 16, 40, true), Some(counting(48)));
            }
        }
    }
}

#[test]
fn a_fragment_that_is_there_may_tell_where_the_packet_ends() {
    for is_v4 in [true, false] {
        let mut world = World::new(8);
        assert_eq!(world.add(is_v4, 1, 8, 16, true), None);
        assert_eq!(world.add(is_v4, 1, 8, 16, false), None);
        assert_eq!(world.ended(), [DropReason::FragmentAgain]);
        assert_eq!(world.add(is_v4, 1, 0, 8, true), Some(counting(16)));
    }
}

#[test]
fn a_piece_of_what_is_there_is_only_dropped() {
    let mut world = World::new(8);
    assert_eq!(world.add(true, 1, 0, 16, true), None);
    assert_eq!(world.add(true, 1, 16, 32, true), None);
    assert_eq!(world.add(true, 1, 8, 24, true), None);
    assert_eq!(world.ended(), [DropReason::FragmentAgain]);
    assert_eq!(world.add(true, 1, 32, 40, false), Some(counting(40)));
}

/// Linux takes the odd bytes back with IPv4; RFC 8200 §4.5 wants IPv6's dropped.
#[test]
fn a_fragment_that_is_not_cut_at_eight_bytes() {
    let mut world = World::new(8);
    assert_eq!(world.add(true, 1, 0, 19, true), None);
    assert_eq!(world.add(true, 1, 16, 20, false), Some(counting(20)));
    assert_eq!(world.add(false, 1, 0, 19, true), None);
    assert_eq!(world.ended(), [DropReason::Fragment]);
    assert_eq!(
        world.add(true, 2, 0, 7, true),
        None,
        "nothing is left of it"
    );
    assert_eq!(
        world.add(true, 2, 8, 8, false),
        None,
        "there is nothing in it"
    );
    assert_eq!(world.ended(), [DropReason::Fragment; 2]);
    world.assert_empty();
}

#[test]
fn what_does_not_come_in_time_ends() {
    let mut world = World::new(8);
    world.add(true, 1, 0, 8, true);
    world.add(false, 1, 0, 8, true);
    world.now = world.now.after(seconds(29));
    world.expire();
    assert_eq!(world.ended(), []);
    world.now = world.now.after(seconds(1));
    world.expire();
    assert_eq!(world.ended(), [DropReason::FragmentTimeout]);
    world.now = world.now.after(seconds(30));
    world.expire();
    assert_eq!(world.ended(), [DropReason::FragmentTimeout]);
    world.assert_empty();
}

#[test]
fn what_has_waited_longest_gives_way() {
    let mut world = World::new(3);
    for (is_v4, id) in [(false, 1), (true, 2), (true, 3)] {
        world.add(is_v4, id, 8, 16, false);
        world.now = world.now.after(1);
    }
    assert_eq!(world.add(true, 4, 8, 16, false), None);
    assert_eq!(world.ended(), [DropReason::FragmentLimit]);
    assert_eq!(world.add(true, 4, 0, 8, true), Some(counting(16)));
    assert_eq!(
        world.ended(),
        [DropReason::FragmentLimit],
        "of the next oldest"
    );
    assert_eq!(world.add(true, 3, 0, 8, true), Some(counting(16)));
    world.assert_empty();
}

#[test]
fn a_packet_that_needs_all_places_and_more_ends() {
    let mut world = World::new(3);
    for n in 0..3 {
        assert_eq!(world.add(true, 1, n * 8, n * 8 + 8, true), None);
    }
    assert_eq!(world.add(true, 1, 24, 32, false), None);
    assert_eq!(world.ended(), [DropReason::FragmentLimit; 4]);
    world.assert_empty();
    let mut none = World::new(0);
    assert_eq!(none.add(true, 1, 0, 8, true), None);
    assert_eq!(none.ended(), [DropReason::FragmentLimit]);
}

#[test]
fn a_packet_of_too_many_fragments_ends() {
    let mut world = World::new(400);
    for n in 0..=FRAGMENTS_MAX as u16 {
        assert_eq!(world.add(true, 1, n * 8, n * 8 + 8, true), None);
    }
    assert_eq!(
        world.ended(),
        [DropReason::FragmentLimit; FRAGMENTS_MAX + 1]
    );
    world.assert_empty();
}

#[test]
fn the_longest_packet_there_can_be_is_put_together() {
    let mut world = World::new(64);
    for n in 0..44 {
        assert_eq!(world.add(true, 1, n * 1480, n * 1480 + 1480, true), None);
    }
    assert_eq!(
        world.add(true, 1, 65120, 65515, false),
        Some(counting(65515))
    );
}
