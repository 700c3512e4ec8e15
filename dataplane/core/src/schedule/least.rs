//! The schedulers that look at all servers for each new flow: those by load (`lc`, `wlc`, `sed`,
//! `nq`), by weight (`fo`, `ovf`) and by lot (`twos`).
//!
//! The first of equals in the list, the server added last, is chosen. An active connection counts as
//! 256 inactive ones.

use super::{Arrival, is_usable};
use crate::load::{Connections, Loads};
use crate::service::{Candidate, ServerId, Service};

/// Who has the least load, whatever the weights.
pub(super) fn lc(service: &Service, loads: &Loads) -> Option<ServerId> {
    least(service, loads, load, |_| 1)
}

/// Who has the least load for its weight.
pub(super) fn wlc(service: &Service, loads: &Loads) -> Option<ServerId> {
    least(service, loads, load, |candidate| candidate.weight)
}

/// Who will have the fewest active connections for its weight once it has this one.
pub(super) fn sed(service: &Service, loads: &Loads) -> Option<ServerId> {
    let after = |connections: Connections| u64::from(connections.active) + 1;
    least(service, loads, after, |candidate| candidate.weight)
}

/// Who has no active connection, or as [`sed`].
pub(super) fn nq(service: &Service, loads: &Loads) -> Option<ServerId> {
    let mut usable = usable(service, loads);
    let idle = usable.find(|candidate| loads.of(candidate.server).active == 0);
    match idle {
        Some(candidate) => Some(candidate.server),
        None => sed(service, loads),
    }
}

/// Who has the greatest weight.
pub(super) fn fo(service: &Service, loads: &Loads) -> Option<ServerId> {
    heaviest(usable(service, loads))
}

/// Who has the greatest weight of those that have no more active connections than weight.
pub(super) fn ovf(service: &Service, loads: &Loads) -> Option<ServerId> {
    let has_room = |c: &&Candidate| loads.of(c.server).active <= c.weight;
    heaviest(usable(service, loads).filter(has_room))
}

/// Who has less load for its weight of two that are drawn, each as often as its weight says.
pub(super) fn twos(service: &Service, arrival: &Arrival<'_>) -> Option<ServerId> {
    let loads = arrival.loads;
    let weights = usable(service, loads).map(|candidate| u64::from(candidate.weight));
    let sum: u64 = weights.sum();
    let draw = || {
        // From 0 to the sum, both included, as the kernel has it: the first has one lot more.
        let mut lot = arrival.random.below(sum + 1);
        let mut all = usable(service, loads);
        all.find(|candidate| {
            let is_it = lot <= u64::from(candidate.weight);
            lot = lot.saturating_sub(candidate.weight.into());
            is_it
        })
    };
    let (one, other) = (draw()?, draw()?);
    let load_of = |candidate: &Candidate| load(loads.of(candidate.server));
    let is_other = is_more(load_of(one), one.weight, load_of(other), other.weight);
    Some(if is_other { other } else { one }.server)
}

/// What weighs on a server.
#[inline]
pub(super) fn load(connections: Connections) -> u64 {
    u64::from(connections.active) * 256 + u64::from(connections.inactive)
}

/// True when the first load is more for its weight than the second.
#[inline]
pub(super) fn is_more(load: u64, weight: u32, other_load: u64, other_weight: u32) -> bool {
    u128::from(load) * u128::from(other_weight) > u128::from(other_load) * u128::from(weight)
}

fn usable<'a>(service: &'a Service, loads: &'a Loads) -> impl Iterator<Item = &'a Candidate> {
    let candidates = service.servers.iter();
    candidates.filter(|candidate| is_usable(candidate, loads))
}

#[inline]
fn least(
    service: &Service,
    loads: &Loads,
    cost: impl Fn(Connections) -> u64,
    weight: impl Fn(&Candidate) -> u32,
) -> Option<ServerId> {
    let costs = usable(service, loads).map(|c| (c.server, cost(loads.of(c.server)), weight(c)));
    let least = costs.reduce(|held, next| {
        let is_next = is_more(held.1, held.2, next.1, next.2);
        if is_next { next } else { held }
    });
    least.map(|(server, ..)| server)
}

fn heaviest<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<ServerId> {
    let heaviest = candidates.reduce(|held, next| {
        let is_next = next.weight > held.weight;
        if is_next { next } else { held }
    });
    heaviest.map(|candidate| candidate.server)
}
