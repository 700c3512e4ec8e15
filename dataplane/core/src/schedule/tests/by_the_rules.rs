//! Each scheduler against its rule, written down as plainly as it is said.

use std::vec::Vec;

use proptest::prelude::*;

use super::{Worker, services};
use crate::load::Connections;
use crate::schedule::SchedulerName;

/// A server as the rules see it, in the order of the list.
#[derive(Clone, Copy, Debug)]
struct Seen {
    slot: u32,
    weight: u64,
    active: u64,
    inactive: u64,
    is_overloaded: bool,
}

impl Seen {
    fn load(self) -> u64 {
        256 * self.active + self.inactive
    }

    fn is_usable(self) -> bool {
        self.weight > 0 && !self.is_overloaded
    }
}

/// The first with the least `cost`, which is a fraction.
fn least(servers: &[Seen], cost: impl Fn(&Seen) -> (u64, u64)) -> Option<u32> {
    let is_least = |one: &&Seen| {
        let (load, weight) = cost(one);
        servers.iter().all(|other| {
            let (other_load, other_weight) = cost(other);
            load * other_weight <= other_load * weight
        })
    };
    servers.iter().find(is_least).map(|seen| seen.slot)
}

fn by_the_rule(name: SchedulerName, list: &[Seen]) -> Option<u32> {
    let usable: Vec<Seen> = list.iter().copied().filter(|s| s.is_usable()).collect();
    let heaviest = |servers: &[Seen]| least(servers, |s| (1, s.weight));
    match name {
        SchedulerName::Lc => least(&usable, |s| (s.load(), 1)),
        SchedulerName::Wlc => least(&usable, |s| (s.load(), s.weight)),
        SchedulerName::Sed => least(&usable, |s| (s.active + 1, s.weight)),
        SchedulerName::Nq => {
            let idle = usable.iter().find(|s| s.active == 0);
            idle.map_or_else(
                || by_the_rule(SchedulerName::Sed, list),
                |idle| Some(idle.slot),
            )
        }
        SchedulerName::Fo => heaviest(&usable),
        SchedulerName::Ovf => {
            let with_room: Vec<Seen> = usable
                .into_iter()
                .filter(|s| s.active <= s.weight)
                .collect();
            heaviest(&with_room)
        }
        other => panic!("{other} has no such rule"),
    }
}

fn some_weight() -> impl Strategy<Value = u32> {
    prop_oneof![0..6u32, Just(100), Just(i32::MAX as u32)]
}

fn some_servers() -> impl Strategy<Value = Vec<(u32, u32, u32, bool)>> {
    let server = (
        some_weight(),
        0..8u32,
        prop_oneof![0..4u32, 0..600u32],
        any::<bool>(),
    );
    proptest::collection::vec(server, 0..6)
}

proptest! {
    #[test]
    fn those_that_look_at_all_servers_choose_by_their_rule(servers in some_servers()) {
        let weights: Vec<u32> = servers.iter().map(|server| server.0).collect();
        let mut worker = Worker::new();
        let mut list = Vec::new();
        for (slot, (weight, active, inactive, is_overloaded)) in (0u32..).zip(&servers) {
            let all = services(SchedulerName::Lc, &weights);
            if *is_overloaded {
                worker.overload(slot, &all);
            }
            worker.count(slot as usize, *active, *inactive);
            list.insert(0, Seen {
                slot,
                weight: u64::from(*weight),
                active: u64::from(*active),
                inactive: u64::from(*inactive),
                is_overloaded: *is_overloaded,
            });
        }
        use SchedulerName::{Fo, Lc, Nq, Ovf, Sed, Wlc};
        for name in [Lc, Wlc, Sed, Nq, Fo, Ovf] {
            let picked = worker.pick(&services(name, &weights));
            prop_assert_eq!(picked, by_the_rule(name, &list), "{}", name);
        }
    }

    /// The walk step by step, against ours, which jumps.
    #[test]
    fn wrr_walks_step_by_step_over_those_that_are_not_overloaded(
        weights in proptest::collection::vec(0..9u32, 1..6),
        moments in proptest::collection::vec((any::<u8>(), 0..6usize), 1..6),
    ) {
        let all = services(SchedulerName::Wrr, &weights);
        let mut worker = Worker::new();
        let mut walk = Walk::new(&weights);
        for (overloaded, count) in moments {
            for slot in 0..weights.len() as u32 {
                if overloaded & 1 << slot != 0 {
                    worker.overload(slot, &all);
                } else {
                    worker.schedules.loads.relieve(crate::service::ServerId(slot));
                }
            }
            for _ in 0..count {
                prop_assert_eq!(worker.pick(&all), walk.pick(overloaded));
            }
        }
        prop_assert_eq!(worker.counters.loads[0].get(), Connections::default());
    }
}

/// The walk of `wrr` as lvs's own, one step at a time.
struct Walk {
    /// Slot and weight, the last added first.
    list: Vec<(u32, i64)>,
    /// The place last used, or the head.
    last: Option<usize>,
    cw: i64,
    max: i64,
    divisor: i64,
}

impl Walk {
    fn new(weights: &[u32]) -> Self {
        let mut walk = Self {
            list: Vec::new(),
            last: None,
            cw: 0,
            max: 0,
            divisor: 1,
        };
        for (slot, weight) in (0u32..).zip(weights) {
            walk.list.insert(0, (slot, i64::from(*weight)));
            walk.see_change();
        }
        walk
    }

    fn see_change(&mut self) {
        let divides = |divisor: &i64| self.list.iter().all(|(_, weight)| weight % divisor == 0);
        let greatest = self.list.iter().map(|(_, weight)| *weight).max();
        let greatest = greatest.unwrap_or(0);
        self.divisor = (1..=greatest).rev().find(divides).unwrap_or(1);
        self.max = greatest - (self.divisor - 1);
        self.last = None;
        if self.cw > self.max || self.cw == 0 {
            self.cw = self.max;
        } else if self.divisor > 1 {
            self.cw = self.cw / self.divisor * self.divisor + 1;
        }
    }

    fn pick(&mut self, overloaded: u8) -> Option<u32> {
        if self.max <= 0 {
            return None;
        }
        let started = self.last;
        let (mut is_restarted, mut is_last_pass) = (false, false);
        let mut from = started.map_or(0, |at| at + 1);
        loop {
            for at in from..self.list.len() {
                let (slot, weight) = self.list[at];
                if overloaded & 1 << slot == 0 && weight >= self.cw {
                    self.last = Some(at);
                    return Some(slot);
                }
                if is_last_pass && Some(at) == started {
                    return None;
                }
            }
            from = 0;
            self.cw -= self.divisor;
            if self.cw <= 0 {
                self.cw = self.max;
                if is_last_pass || started.is_none() {
                    self.last = None;
                    return None;
                }
                is_restarted = true;
            }
            is_last_pass = is_restarted && self.cw <= self.divisor;
        }
    }
}
