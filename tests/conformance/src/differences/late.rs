//! How late the kernel's timers are.

use weir_conformance::operation::Operation;
use weir_conformance::seen::{Entry, Seen};

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
