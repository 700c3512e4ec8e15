//! The kernel's answer beside Weir's, operation by operation.

use std::collections::BTreeMap;

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_conformance::seen::{Counted, Entry, Passed, Seen};
use weir_conformance::text::summary;

use crate::differences::{self, Aftermath};
use crate::mask::masked;

/// What comparing a scenario gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Operations that were compared.
    pub(crate) compared: usize,
    /// Differences that are wanted, by name.
    pub(crate) named: BTreeMap<&'static str, usize>,
    /// What each of them explained: its name, at which operation, and what.
    pub(crate) explained: Vec<(&'static str, usize, String)>,
    /// The first difference that is not: at which operation, and what.
    pub(crate) difference: Option<(usize, String)>,
}

/// Compares until the first difference that has no name.
pub(crate) fn compare(scenario: &Scenario, kernel: &[Seen], weir: &[Seen]) -> Outcome {
    debug_assert_eq!(kernel.len(), scenario.operations.len());
    let mut outcome = Outcome::default();
    let mut aftermath = Aftermath::Nothing;
    for (at, (kernel, weir)) in kernel.iter().zip(weir).enumerate() {
        outcome.compared += 1;
        let Some(what) = difference(kernel, weir, aftermath) else {
            continue;
        };
        // A name has to explain what is not explained already.
        let [kernel, weir] = [kernel, weir].map(|seen| match seen {
            Seen::Counters(at, counters) => Seen::Counters(*at, known(counters, aftermath)),
            seen => seen.clone(),
        });
        let Some(named) = differences::name_of(&scenario.operations[..at], &kernel, &weir) else {
            outcome.difference = Some((at, what));
            break;
        };
        *outcome.named.entry(named.name).or_default() += 1;
        outcome.explained.push((named.name, at, what));
        aftermath = aftermath.max(named.aftermath);
        if aftermath == Aftermath::Everything {
            break;
        }
    }
    outcome
}

fn difference(kernel: &Seen, weir: &Seen, aftermath: Aftermath) -> Option<String> {
    match (kernel, weir) {
        (Seen::Command(kernel), Seen::Command(weir)) => {
            let same = (*kernel == 0) == (*weir == 0);
            (!same).then(|| format!("    kernel: errno {kernel}\n    weir:   errno {weir}\n"))
        }
        (Seen::Frame(kernel), Seen::Frame(weir)) => frames(kernel, weir),
        (Seen::Entries(kernel), Seen::Entries(weir)) => lists(kernel, weir, entry),
        (Seen::Counters(_, kernel), Seen::Counters(_, weir)) => {
            let known = |counters| known(counters, aftermath);
            lists(&known(kernel), &known(weir), counted)
        }
        (kernel, weir) if kernel == weir => None,
        (kernel, weir) => Some(format!("    kernel: {kernel:?}\n    weir:   {weir:?}\n")),
    }
}

/// What is the same on both sides after such a difference.
fn known(counters: &[Counted], aftermath: Aftermath) -> Vec<Counted> {
    let each = counters.iter().map(|counted| {
        let known =
            |[connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]| match aftermath
            {
                Aftermath::Nothing => [connections, packets_in, packets_out, bytes_in, bytes_out],
                Aftermath::CountsOut => [connections, packets_in, 0, bytes_in, 0],
                Aftermath::Counts | Aftermath::Everything => [connections, 0, 0, 0, 0],
            };
        Counted {
            totals: known(counted.totals),
            rates: known(counted.rates),
            ..counted.clone()
        }
    });
    each.collect()
}

/// What left otherwise, if anything did.
pub(crate) fn frames(kernel: &Passed, weir: &Passed) -> Option<String> {
    let came = kernel.frame.as_ref()?;
    let mut told = String::new();
    for (leg, (kernel, weir)) in Leg::ALL.into_iter().zip(kernel.out.iter().zip(&weir.out)) {
        let same = kernel.len() == weir.len()
            && kernel.iter().zip(weir).all(|(kernel, weir)| {
                kernel == weir || masked(came, kernel, kernel) == masked(came, kernel, weir)
            });
        if !same {
            for (who, frames) in [("kernel", kernel), ("weir  ", weir)] {
                told += &format!("    {who} to {leg}: {}\n", list_of(frames));
            }
        }
    }
    (!told.is_empty()).then_some(told)
}

fn list_of(frames: &[Bytes]) -> String {
    let each = frames
        .iter()
        .map(|frame| format!("\n      {frame} # {}", summary(&frame.0)));
    if frames.is_empty() {
        "nothing".to_owned()
    } else {
        each.collect()
    }
}

fn lists<T: PartialEq>(kernel: &[T], weir: &[T], words: impl Fn(&T) -> String) -> Option<String> {
    if kernel == weir {
        return None;
    }
    let mut told = String::new();
    for (who, ours, others) in [("kernel", kernel, weir), ("weir  ", weir, kernel)] {
        for item in ours.iter().filter(|item| !others.contains(item)) {
            told += &format!("    only {who}: {}\n", words(item));
        }
    }
    Some(told)
}

fn entry(entry: &Entry) -> String {
    let Entry {
        protocol,
        client,
        service,
        server,
        state,
        seconds,
        engine,
    } = entry;
    let engine = engine.as_deref().unwrap_or_default();
    format!("{protocol} {client} {service} {server} {state} {seconds} s {engine}")
}

fn counted(counted: &Counted) -> String {
    let [active, inactive, templates] = counted.connections;
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = counted.totals;
    let server = counted
        .server
        .map_or(String::new(), |server| format!(" {server}"));
    format!(
        "{}{server}: {active} active, {inactive} inactive, {templates} templates; {connections} \
         connections, packets {packets_in} in {packets_out} out, bytes {bytes_in} in {bytes_out} out; a \
         second {:?}",
        counted.service, counted.rates
    )
}

/// How a difference is shown: the scenario up to it, and both answers.
pub(crate) fn report(scenario: &Scenario, outcome: &Outcome) -> String {
    let Some((at, what)) = &outcome.difference else {
        return String::new();
    };
    let mut told = format!("scenario {}\n", scenario.name);
    for operation in &scenario.operations[..=*at] {
        told += &format!("{operation}\n");
    }
    told + what
}

/// The last operation of a report, and both answers.
pub(crate) fn last_of(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let last = lines.iter().rposition(|line| !line.starts_with(' '));
    lines[last.unwrap_or(0)..].join("\n")
}
