//! Scenarios made by hand: every line of what IPVS does, at least once and on purpose.

mod connections;
mod fragments;
mod protocols;
mod scheduling;
mod script;

use weir_conformance::operation::Scenario;

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    scheduling::all(&mut all);
    connections::all(&mut all);
    protocols::all(&mut all);
    fragments::all(&mut all);
    all
}
