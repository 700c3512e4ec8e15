//! How many connections a server has, over all workers, and whether it is overloaded.
//!
//! Each worker counts its own flows alone, so that counting costs no shared write; who schedules
//! sums over the workers. With one worker or with workers that take their turns this is exact; of
//! workers that choose at the same instant neither sees the other's choice, as in the kernel.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Add;

use crate::counters::{Counter, WorkerCounters};
use crate::service::{Server, ServerId};
use crate::sync::{AtomicU64, Ordering};

/// The connections of a server, as ipvsadm shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Opening and established TCP.
    pub active: u32,
    /// All others.
    pub inactive: u32,
}

impl Connections {
    /// A single active one.
    pub const ACTIVE: Self = Self {
        active: 1,
        inactive: 0,
    };
    /// A single inactive one.
    pub const INACTIVE: Self = Self {
        active: 0,
        inactive: 1,
    };

    /// A single one that is active or not.
    #[inline]
    #[must_use]
    pub const fn one(is_active: bool) -> Self {
        match is_active {
            true => Self::ACTIVE,
            false => Self::INACTIVE,
        }
    }

    /// All of them.
    #[inline]
    #[must_use]
    pub const fn total(self) -> u64 {
        self.active as u64 + self.inactive as u64
    }

    const fn word(self) -> u64 {
        (self.active as u64) << 32 | self.inactive as u64
    }

    const fn of_word(word: u64) -> Self {
        Self {
            active: (word >> 32) as u32,
            inactive: word as u32,
        }
    }
}

impl Add for Connections {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            active: self.active.wrapping_add(other.active),
            inactive: self.inactive.wrapping_add(other.inactive),
        }
    }
}

/// The connections of one server that one worker holds, in one word: a reader never sees a flow
/// twice or not at all while it goes from one count to the other.
#[derive(Debug, Default)]
pub struct Load(Counter);

impl Load {
    /// Adds `some`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, some: Connections) {
        self.0.add(some.word());
    }

    /// Takes `some` off, which were added. Only the owning worker may call this.
    #[inline]
    pub fn sub(&self, some: Connections) {
        self.0.sub(some.word());
    }

    /// A flow became active, or inactive. Only the owning worker may call this.
    #[inline]
    pub fn turn(&self, is_active: bool) {
        let (from, to) = (Connections::one(!is_active), Connections::one(is_active));
        self.0.add(to.word().wrapping_sub(from.word()));
    }

    /// As last written.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Connections {
        Connections::of_word(self.0.get())
    }
}

/// The connections at which a server becomes overloaded, and below which it no longer is
/// (ipvsadm `-x`, `-y`). 0 and 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// With so many it is overloaded; 0: with no number.
    pub upper: u32,
    /// With fewer it is no longer; 0: three quarters of `upper`.
    pub lower: u32,
}

impl Thresholds {
    const fn is_reached(self, total: u64) -> bool {
        self.upper != 0 && total >= self.upper as u64
    }

    const fn is_relieved(self, total: u64) -> bool {
        match (self.upper, self.lower) {
            (0, 0) => true,
            (upper, 0) => total * 4 < upper as u64 * 3,
            (_, lower) => total < lower as u64,
        }
    }

    /// Whether a server that had these is free of overload at once when it gets `new` ones.
    #[must_use]
    pub const fn are_relieved_by(self, new: Self) -> bool {
        new.upper == 0 || new.upper > self.upper
    }
}

const BITS: usize = u64::BITS as usize;

/// The connections of all servers over all workers, and which servers are overloaded.
///
/// Overload is a latch: it is set when a connection is bound and cleared when one ends, wherever
/// that is, and not reckoned in between. It is written only for servers with thresholds.
#[derive(Debug, Default)]
pub struct Loads {
    workers: Box<[Arc<WorkerCounters>]>,
    /// A bit for each slot.
    overloaded: Box<[AtomicU64]>,
}

impl Loads {
    /// Of these workers, which have as many slots each.
    #[must_use]
    pub fn new(workers: impl IntoIterator<Item = Arc<WorkerCounters>>) -> Self {
        let workers: Box<[Arc<WorkerCounters>]> = workers.into_iter().collect();
        let slots = workers.iter().map(|counters| counters.loads.len()).max();
        let words = slots.unwrap_or(0).div_ceil(BITS);
        Self {
            workers,
            overloaded: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The connections of the server in slot `id`.
    #[inline]
    #[must_use]
    pub fn of(&self, id: ServerId) -> Connections {
        let loads = self.workers.iter();
        let loads = loads.filter_map(|counters| counters.loads.get(id.0 as usize));
        loads.fold(Connections::default(), |sum, load| sum + load.get())
    }

    /// True while the server gets no new connections for having too many.
    #[inline]
    #[must_use]
    pub fn is_overloaded(&self, id: ServerId) -> bool {
        let word = self.overloaded.get(id.0 as usize / BITS);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit(id) != 0)
    }

    /// A connection to `server` began, which is counted.
    #[inline]
    pub fn bound(&self, id: ServerId, server: &Server) {
        let thresholds = server.thresholds;
        if thresholds.upper != 0 && thresholds.is_reached(self.of(id).total()) {
            self.latch(id, true);
        }
    }

    /// A connection to the server in `id` ended, which is not counted any more.
    #[inline]
    pub fn unbound(&self, id: ServerId, server: Option<&Server>) {
        if self.is_overloaded(id) {
            let thresholds = server.map_or(Thresholds::default(), |server| server.thresholds);
            if thresholds.is_relieved(self.of(id).total()) {
                self.latch(id, false);
            }
        }
    }

    /// The server is no longer overloaded, whatever its connections.
    pub fn relieve(&self, id: ServerId) {
        if self.is_overloaded(id) {
            self.latch(id, false);
        }
    }

    fn latch(&self, id: ServerId, is_overloaded: bool) {
        if let Some(word) = self.overloaded.get(id.0 as usize / BITS) {
            if is_overloaded {
                word.fetch_or(bit(id), Ordering::Relaxed);
            } else {
                word.fetch_and(!bit(id), Ordering::Relaxed);
            }
        }
    }
}

#[inline]
const fn bit(id: ServerId) -> u64 {
    1 << (id.0 as usize % BITS)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::service::{Method, Protocol, ServiceId, Tunnel};

    const ID: ServerId = ServerId(70);

    fn server(upper: u32, lower: u32) -> Server {
        Server {
            addr: weir_wire::Addr(1),
            port: 80,
            method: Method::Dr,
            tunnel: Tunnel::Ipip,
            weight: 1,
            protocol: Protocol::Tcp,
            is_available: true,
            position: 0,
            service: ServiceId(0),
            thresholds: Thresholds { upper, lower },
            has_any_port: false,
            was_nat: false,
        }
    }

    fn loads() -> (Vec<Arc<WorkerCounters>>, Loads) {
        let new = |_| Arc::new(WorkerCounters::new(0, 100));
        let workers: Vec<_> = (0..2).map(new).collect();
        let loads = Loads::new(workers.iter().cloned());
        (workers, loads)
    }

    #[test]
    fn connections_are_summed_over_the_workers() {
        let (workers, loads) = loads();
        let slot = ID.0 as usize;
        workers[0].loads[slot].add(Connections::INACTIVE);
        workers[0].loads[slot].turn(true);
        workers[1].loads[slot].add(Connections::INACTIVE);
        workers[1].loads[slot].add(Connections::ACTIVE);
        workers[1].loads[slot].turn(false);
        let connections = |active, inactive| Connections { active, inactive };
        assert_eq!(loads.of(ID), connections(1, 2));
        workers[1].loads[slot].sub(Connections::INACTIVE);
        assert_eq!(loads.of(ID), connections(1, 1));
        assert_eq!(loads.of(ServerId(71)), Connections::default());
        assert_eq!(loads.of(ServerId(1000)), Connections::default());
    }

    /// Upper, lower, and the number below which the latch opens.
    #[test]
    fn overload_begins_at_the_upper_and_ends_below_the_lower_threshold() {
        for (upper, lower, opens) in [(4, 2, 1), (4, 0, 2), (8, 0, 5), (3, 3, 2), (1, 0, 0)] {
            let (workers, loads) = loads();
            let (server, load) = (server(upper, lower), &workers[1].loads[ID.0 as usize]);
            for n in 1..=upper {
                assert!(!loads.is_overloaded(ID), "{upper} {lower}");
                load.add(Connections::INACTIVE);
                loads.bound(ID, &server);
                assert_eq!(loads.is_overloaded(ID), n == upper, "{upper} {lower}");
            }
            for n in (0..upper).rev() {
                load.sub(Connections::INACTIVE);
                loads.unbound(ID, Some(&server));
                assert_eq!(loads.is_overloaded(ID), n > opens, "{upper} {lower} {n}");
            }
            assert!(!loads.is_overloaded(ServerId(ID.0 - 1)));
        }
    }

    #[test]
    fn without_thresholds_nothing_overloads_and_the_end_of_any_relieves() {
        let (workers, loads) = loads();
        let load = &workers[0].loads[ID.0 as usize];
        load.add(Connections {
            active: 1_000_000,
            inactive: 1_000_000,
        });
        loads.bound(ID, &server(0, 0));
        assert!(!loads.is_overloaded(ID));
        loads.bound(ID, &server(1, 0));
        assert!(loads.is_overloaded(ID));
        loads.unbound(ID, Some(&server(0, 0)));
        assert!(!loads.is_overloaded(ID));
    }

    #[test]
    fn an_edit_relieves_when_the_upper_threshold_goes_or_rises() {
        let of = |upper| Thresholds { upper, lower: 0 };
        assert!(of(3).are_relieved_by(of(4)));
        assert!(of(3).are_relieved_by(of(0)));
        assert!(!of(3).are_relieved_by(of(3)));
        assert!(!of(3).are_relieved_by(of(2)));
    }
}
