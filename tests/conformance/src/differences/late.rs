//! What the kernel does late: its timers, and its counters where rates are not estimated.

use weir_conformance::operation::Operation;
use weir_conformance::seen::{Counted, Entry, Seen};

use super::Case;

/// A template that was given another minute.
pub(super) fn is_late(case: &Case<'_>) -> bool {
    match (case.kernel, case.weir) {
        (Seen::Entries(kernel), Seen::Entries(weir)) => {
            let passes = |op: &Operation| matches!(op, Operation::Advance(_));
            case.before.iter().any(passes) && are_alike_but_for_lateness(kernel, weir)
        }
        _ => false,
    }
}

/// Counters since rates were not estimated for some time.
pub(super) fn are_counters_old(case: &Case<'_>) -> bool {
    let off = |op: &Operation| matches!(op, Operation::Sysctl(name, 0) if name == "run_estimation");
    let held = |counted: &Counted| Counted {
        totals: [0; 5],
        rates: [0; 5],
        ..counted.clone()
    };
    match (case.kernel, case.weir) {
        (Seen::Counters(_, kernel), Seen::Counters(_, weir)) => {
            case.before.iter().any(off) && kernel.iter().map(held).eq(weir.iter().map(held))
        }
        _ => false,
    }
}

/// Seconds that the kernel may be late in giving a template its next minute, some times after another.
const LATE: u32 = 20;

/// The same but for how much longer templates live.
fn are_alike_but_for_lateness(kernel: &[Entry], weir: &[Entry]) -> bool {
    let is_template =
        |entry: &Entry| entry.client.port() == 0 && matches!(&*entry.state, "NONE" | "ASSURED");
    let name = |entry: &Entry| Entry {
        seconds: 0,
        ..entry.clone()
    };
    let rest = |entries: &[Entry]| -> Vec<Entry> {
        entries
            .iter()
            .filter(|entry| !is_template(entry))
            .cloned()
            .collect()
    };
    let is_late = |entry: &Entry| {
        let same = weir.iter().find(|other| name(other) == name(entry));
        match same {
            Some(same) => {
                entry.seconds.abs_diff(same.seconds) <= LATE && entry.seconds >= same.seconds
            }
            None => entry.seconds <= LATE,
        }
    };
    let is_known = |entry: &Entry| kernel.iter().any(|other| name(other) == name(entry));
    rest(kernel) == rest(weir)
        && kernel
            .iter()
            .filter(|entry| is_template(entry))
            .all(is_late)
        && weir.iter().all(is_known)
}
