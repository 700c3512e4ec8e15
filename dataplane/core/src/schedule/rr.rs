//! Round robin: the next usable server after the last used one, in a circle.
//!
//! The cursor names the last used server, not its place, so that servers may come and go: an added
//! one enters at the head and moves nobody, and when the last used one is removed its predecessor
//! takes its place. 0 is the head of the list, otherwise the server's slot plus one.

use super::{is_usable, position_of};
use crate::load::Loads;
use crate::service::{ServerId, Service, Services};
use crate::sync::Ordering;

pub(super) fn pick(service: &Service, services: &Services, loads: &Loads) -> Option<ServerId> {
    let mut seen = service.cursor.load(Ordering::Relaxed);
    loop {
        let chosen = after(service, services, loads, seen)?;
        let next = u64::from(chosen.0) + 1;
        match service
            .cursor
            .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => return Some(chosen),
            Err(moved) => seen = moved,
        }
    }
}

/// The first usable server behind the one the cursor names; that one itself comes last.
fn after(service: &Service, services: &Services, loads: &Loads, cursor: u64) -> Option<ServerId> {
    let start = start_position(service, services, cursor);
    let (before, behind) = service.servers.split_at(start);
    behind
        .iter()
        .chain(before)
        .find(|candidate| is_usable(candidate, loads))
        .map(|candidate| candidate.server)
}

/// Where the walk begins: behind the last used server, or at the head.
fn start_position(service: &Service, services: &Services, cursor: u64) -> usize {
    let mut last = match cursor.checked_sub(1) {
        Some(slot) => ServerId(slot as u32),
        None => return 0,
    };
    // Each departed server points at its predecessor of that time; bounded by their number.
    for _ in 0..=service.departed.len() {
        if let Some(position) = position_of(service, services, last) {
            let next = position + 1;
            return if next < service.servers.len() {
                next
            } else {
                0
            };
        }
        let departed = service.departed.iter().find(|(gone, _)| *gone == last);
        match departed {
            Some((_, Some(predecessor))) => last = *predecessor,
            _ => return 0,
        }
    }
    0
}
