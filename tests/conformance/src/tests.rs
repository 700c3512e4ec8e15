//! Scenarios are what they say.

use super::*;

#[test]
fn scenarios_are_read_as_they_are_written() {
    let mut all = handmade::scenarios();
    all.extend((0..200).map(|number| generate::scenario(7, number)));
    let written: String = all.iter().map(Scenario::to_string).collect();
    assert_eq!(text::scenarios(&written), Ok(all));
}

#[test]
fn a_seed_makes_the_same_scenarios_again() {
    let make = |seed| {
        (0..50)
            .map(|n| generate::scenario(seed, n))
            .collect::<Vec<_>>()
    };
    assert_eq!(make(3), make(3));
    assert_ne!(make(3), make(4));
}

#[test]
fn thousands_are_apart() {
    assert_eq!(
        [0, 999, 1000, 1_002_003].map(group),
        ["0", "999", "1 000", "1 002 003"]
    );
}
