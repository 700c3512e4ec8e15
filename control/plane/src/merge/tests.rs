use weir_model::{Changeable, Config};

use super::merge;
use crate::testing::{config, service};

const TIMEOUTS: &str = "[timeouts]\nudp = 7\n";

fn merged(base: &str, new: &str, held: &str) -> (Changeable, Vec<String>) {
    let merged = merge(
        &config(base).changeable(),
        &config(new),
        config(held).changeable(),
    );
    (merged.state, merged.overridden)
}

/// What is to come of it, and how many changes at run time gave way.
fn check(base: &str, new: &str, held: &str, wanted: &str, overridden: usize) {
    let (state, told) = merged(base, new, held);
    let wanted: Config = config(wanted);
    assert!(state.is_of(&wanted), "{state:#?}\n{:#?}", wanted.services);
    assert_eq!(told.len(), overridden, "{told:?}");
}

#[test]
fn what_only_one_side_changed_is_as_that_side_says() {
    let one = service("rr", &[(1, 1)]);
    let two = service("rr", &[(1, 1), (2, 1)]);
    check(&one, &one, &two, &two, 0);
    check(&one, &two, &one, &two, 0);
    check(&one, "", &one, "", 0);
    check("", &one, "", &one, 0);
    check(&one, &one, "", "", 0);
    let with_timeouts = one.clone() + TIMEOUTS;
    check(&one, &with_timeouts, &two, &(two.clone() + TIMEOUTS), 0);
    check(&one, &two, &with_timeouts, &(two.clone() + TIMEOUTS), 0);
    let wrr = service("wrr", &[(1, 1)]);
    check(&one, &wrr, &two, &service("wrr", &[(1, 1), (2, 1)]), 0);
}

#[test]
fn what_both_changed_alike_is_no_conflict() {
    let one = service("rr", &[(1, 1)]);
    let other = service("rr", &[(1, 3), (2, 1)]);
    check(&one, &other, &other, &other, 0);
    check("", &one, &one, &one, 0);
}

#[test]
fn what_both_changed_is_as_the_file_says_and_told() {
    let one = service("rr", &[(1, 1)]);
    let (two, three) = (service("rr", &[(1, 2)]), service("rr", &[(1, 3)]));
    check(&one, &two, &three, &two, 1);
    check(&one, "", &three, "", 1);
    check("", &two, &three, &two, 1);
    check(&one, &two, "", &two, 1);
    let both = service("rr", &[(1, 1), (2, 1)]);
    let changed = service("rr", &[(1, 1), (2, 5)]);
    check(&both, &changed, &one, &changed, 1);
    check(
        &one,
        &service("wrr", &[(1, 1)]),
        &service("lc", &[(1, 1)]),
        &service("wrr", &[(1, 1)]),
        1,
    );
    check(TIMEOUTS, "", "[timeouts]\nudp = 8\n", "", 1);
}
