//! Scenarios made by hand: every line of what IPVS does, at least once and on purpose.

mod connections;
mod defences;
mod fragments;
mod ftp;
mod gone;
mod icmp;
mod ipsec;
mod malformed;
mod marks;
mod persistence;
mod protocols;
mod rates;
mod scheduling;
mod script;
mod sctp;
mod sip;
mod switches;
mod thresholds;
mod tunnel_kinds;
mod tunnels;

use weir_conformance::operation::Scenario;

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    scheduling::all(&mut all);
    thresholds::all(&mut all);
    connections::all(&mut all);
    sctp::all(&mut all);
    persistence::all(&mut all);
    marks::all(&mut all);
    gone::all(&mut all);
    protocols::all(&mut all);
    malformed::all(&mut all);
    fragments::all(&mut all);
    icmp::all(&mut all);
    tunnels::all(&mut all);
    tunnel_kinds::all(&mut all);
    ftp::all(&mut all);
    sip::all(&mut all);
    ipsec::all(&mut all);
    switches::all(&mut all);
    defences::all(&mut all);
    rates::all(&mut all);
    all
}
