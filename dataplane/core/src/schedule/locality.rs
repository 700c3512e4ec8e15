//! The schedulers for caches (`lblc`, `lblcr`): what goes to one destination stays on one server, or
//! on few, as long as these are not overloaded.
//!
//! Here a server is overloaded when it has more active connections than its weight while another has
//! less than half of its own.

mod cache;

use super::least::{is_more, load, wlc};
use super::{Arrival, candidate_of};
use crate::service::{Candidate, ServerId, Service, Services};

pub use cache::Cache;
use cache::{Destination, Open};

/// The destination's server, or that of the least load for its weight, which becomes it.
pub(super) fn lblc(
    service: &Service,
    services: &Services,
    cache: &Cache,
    arrival: &Arrival<'_>,
) -> Option<ServerId> {
    let (dst, now) = (arrival.request.dst, arrival.now);
    let idle_max = arrival.settings.ipvs.lblc_expiration;
    let Some(mut cache) = cache.open(now, idle_max) else {
        return wlc(service, arrival.loads);
    };
    let held = cache.find(dst);
    if let Some(destination) = held {
        let server = cache.servers(destination).next();
        let server = server.and_then(|id| candidate_of(service, services, id));
        if let Some(server) = server.filter(|server| server.weight > 0)
            && !is_overloaded(server, service, arrival)
        {
            return Some(server.server);
        }
    }
    let chosen = wlc(service, arrival.loads)?;
    if let Some(destination) = held.or_else(|| cache.add(dst)) {
        cache.replace(destination, chosen);
    }
    Some(chosen)
}

/// The server of the least load for its weight among the destination's, to which another is added
/// when it is overloaded.
pub(super) fn lblcr(
    service: &Service,
    services: &Services,
    cache: &Cache,
    arrival: &Arrival<'_>,
) -> Option<ServerId> {
    let (dst, now) = (arrival.request.dst, arrival.now);
    let idle_max = arrival.settings.ipvs.lblcr_expiration;
    let Some(mut cache) = cache.open(now, idle_max) else {
        return wlc(service, arrival.loads);
    };
    let held = cache.find(dst);
    if let Some(destination) = held {
        let mut all = of(&cache, destination, service, services);
        let least = all.find(|c| c.weight > 0 && !arrival.loads.is_overloaded(c.server));
        let least = least.map(|first| {
            let rest = all.filter(|c| !arrival.loads.is_overloaded(c.server));
            rest.fold(first, |held, next| {
                if is_less(next, held, arrival) {
                    next
                } else {
                    held
                }
            })
        });
        if cache.is_unchanged_for(destination, idle_max) {
            let mut all = of(&cache, destination, service, services).filter(|c| c.weight > 0);
            let most = all.next().map(|first| {
                all.fold(first, |held, next| {
                    if is_less(held, next, arrival) {
                        next
                    } else {
                        held
                    }
                })
            });
            if let Some(most) = most {
                cache.take_out(destination, most.server);
            }
        }
        if let Some(least) = least.filter(|least| !is_overloaded(least, service, arrival)) {
            return Some(least.server);
        }
    }
    let chosen = wlc(service, arrival.loads)?;
    if let Some(destination) = held.or_else(|| cache.add(dst)) {
        cache.put_in(destination, chosen);
    }
    Some(chosen)
}

/// The destination's servers that are still the service's; the one put in last comes first.
fn of<'a>(
    cache: &Open<'_>,
    destination: Destination,
    service: &'a Service,
    services: &Services,
) -> impl Iterator<Item = &'a Candidate> {
    let servers = cache.servers(destination);
    servers.filter_map(|id| candidate_of(service, services, id))
}

fn is_less(one: &Candidate, other: &Candidate, arrival: &Arrival<'_>) -> bool {
    let load_of = |candidate: &Candidate| load(arrival.loads.of(candidate.server));
    is_more(load_of(other), other.weight, load_of(one), one.weight)
}

fn is_overloaded(server: &Candidate, service: &Service, arrival: &Arrival<'_>) -> bool {
    let active = |candidate: &Candidate| u64::from(arrival.loads.of(candidate.server).active);
    let has_room = |candidate: &Candidate| active(candidate) * 2 < u64::from(candidate.weight);
    active(server) > u64::from(server.weight) && service.servers.iter().any(has_room)
}
