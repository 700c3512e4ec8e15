//! The short way of plain packets does what the general way does: see `compared/`.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::compared::{Compared, Seen};

/// Why no packet of these runs ends: it takes more than the director.
const NEVER: [&str; 4] = ["contended", "port_gone", "punt_ring_full", "transmit_full"];

proptest! {
    #[test]
    fn the_short_way_does_what_the_general_way_does(
        input in prop::collection::vec(any::<u8>(), 1..6000)
    ) {
        Compared::new(1).run(&input);
    }

    #[test]
    fn two_workers_do_the_same_by_both_ways(
        input in prop::collection::vec(any::<u8>(), 1..6000)
    ) {
        Compared::new(2).run(&input);
    }
}

/// That the comparisons above are about something.
#[test]
fn compared_packets_end_in_every_way() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut all: Option<Seen> = None;
    for workers in [1, 2].repeat(70) {
        let mut input = vec![0; 6000];
        random.fill_bytes(&mut input);
        let seen = Compared::new(workers).run(&input);
        match &mut all {
            Some(all) => all.add(&seen),
            None => all = Some(seen),
        }
    }
    let all = all.expect("there were runs");
    let never = all.0.iter().filter(|(_, count)| **count == 0);
    let never: Vec<_> = never.map(|(name, _)| name.as_str()).collect();
    assert_eq!(never, NEVER);
}
