//! What the kernel does late: its timers, and its counters where rates are not estimated.

use weir_conformance::operation::Operation;
use weir_conformance::seen::{Counted, Entry, Seen};

use super::Case;

/// Templates that were given another minute.
pub(super) fn is_late(case: &Case<'_>) -> bool {
    match (case.kernel, case.weir) {
        (Seen::Entries(kernel), Seen::Entries(weir)) => latest(case.before)
            .is_some_and(|latest| are_alike_but_for_lateness(kernel, weir, latest)),
        _ => false,
    }
}

/// How many seconds the kernel may be late by now: an eighth of the time that has passed, for each timer may
/// be by an eighth of its own. None as long as no template's time may be over.
fn latest(before: &[Operation]) -> Option<u32> {
    let persistence = before.iter().filter_map(|operation| match operation {
        Operation::AddService(service) | Operation::EditService(service) => service.persistence,
        _ => None,
    });
    let ticks: u32 = before
        .iter()
        .map(|operation| match operation {
            Operation::Advance(ticks) => *ticks,
            other => other.ticks(),
        })
        .sum();
    let seconds = ticks / 100;
    (seconds >= persistence.min()?).then_some(seconds / 8 + 1)
}

/// Counters while rates are not estimated, which the kernel leaves as they are; and rates of what came
/// meanwhile, when they are again.
pub(super) fn are_counters_old(case: &Case<'_>) -> bool {
    let switch = case
        .before
        .iter()
        .rev()
        .find_map(|operation| match operation {
            Operation::Sysctl(name, value) if name == "run_estimation" => Some(*value),
            _ => None,
        });
    let (Some(switch), Seen::Counters(_, kernel), Seen::Counters(_, weir)) =
        (switch, case.kernel, case.weir)
    else {
        return false;
    };
    let is_explained = |kernel: &Counted, weir: &Counted| {
        let mut both = kernel.totals.iter().zip(weir.totals);
        let are_totals_right = match switch {
            0 => both.all(|(kernel, weir)| *kernel <= weir),
            _ => both.all(|(kernel, weir)| *kernel == weir),
        };
        let names =
            |counted: &Counted| (counted.service.clone(), counted.server, counted.connections);
        are_totals_right && names(kernel) == names(weir)
    };
    kernel.len() == weir.len() && kernel.iter().zip(weir).all(|(k, w)| is_explained(k, w))
}

/// The same but for how much longer templates live that are given a minute at a time.
fn are_alike_but_for_lateness(kernel: &[Entry], weir: &[Entry], latest: u32) -> bool {
    const MINUTE: u32 = 60;
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
            Some(same) if entry.seconds == same.seconds => true,
            Some(same) => {
                let is_later = (same.seconds..=same.seconds + latest).contains(&entry.seconds);
                is_later && entry.seconds <= MINUTE
            }
            None => entry.seconds <= latest.min(MINUTE),
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
