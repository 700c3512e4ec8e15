//! Scenarios made by hand: every line of what IPVS does, at least once and on purpose.

mod connections;
mod gone;
mod icmp;
mod protocols;
mod scheduling;
mod script;
mod tunnels;

use weir_conformance::operation::Scenario;

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    scheduling::all(&mut all);
    connections::all(&mut all);
    gone::all(&mut all);
    protocols::all(&mut all);
    icmp::all(&mut all);
    tunnels::all(&mut all);
    all
}
