//! Local ends of FullNAT: the address and port that stand for a client at its real server.
//!
//! A real server tells flows apart by the local end, so a local end is free for a server as long as
//! no flow to that very server (address, port, protocol) has it: the same local end serves one flow
//! at each server. What is taken is asked of the flow table, which knows; nothing else is kept but,
//! for each server, where the last search ended. So the ends are taken in turn, and one that was
//! given back is used again only after all others: the server may still hold it in TIME-WAIT.
//!
//! Each worker takes only the ends whose replies reach it, so that workers need not agree on any.

use alloc::boxed::Box;
use core::ops::RangeInclusive;

use weir_wire::Addr;

use crate::service::ServerId;

/// Most addresses in a pool.
pub const ADDRS_MAX: usize = 64;

/// Look-ups of the flow table for one new flow at most. The first end is nearly always free: it was
/// taken longest ago.
const MANY_PROBES: u32 = 256;
/// The same after a search that failed, until one succeeds: without a free end, each further SYN of
/// a flood would cost as much.
const FEW_PROBES: u32 = 8;
/// Ends looked at for each worker and probe, most of them other workers'. With an even spread one
/// of so many is this worker's but for one in `e` to the power of 8.
const STEPS_PER_PROBE: u32 = 8;

/// The local ends that flows of a service may have: each address with each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPool {
    addrs: Box<[Addr]>,
    first_port: u16,
    last_port: u16,
}

impl LocalPool {
    /// Every port of `ports` at each of `addrs`, of which there are 1 to [`ADDRS_MAX`], of one
    /// family. Port 0 is none.
    #[must_use]
    pub fn new(addrs: &[Addr], ports: RangeInclusive<u16>) -> Self {
        let first_port = (*ports.start()).max(1);
        Self {
            addrs: addrs.iter().copied().take(ADDRS_MAX).collect(),
            first_port,
            last_port: (*ports.end()).max(first_port),
        }
    }

    /// Its addresses.
    #[must_use]
    pub fn addrs(&self) -> &[Addr] {
        &self.addrs
    }

    /// How many ports each address has.
    #[must_use]
    pub fn ports(&self) -> u32 {
        u32::from(self.last_port - self.first_port) + 1
    }
}

/// Where one worker's search for local ends stands, for each real server.
#[derive(Debug)]
pub(crate) struct LocalEnds {
    workers: u16,
    cursors: Box<[Cursor]>,
}

/// Pairs of address and port are taken with the port first: after a round of all ports the
/// addresses have moved on by one against them, so that after as many rounds as there are
/// addresses every pair has had its turn.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    port: u16,
    round: u8,
    has_failed: bool,
}

impl LocalEnds {
    /// For one worker of `workers` and so many real-server slots. `seed` is random: after a restart
    /// the first ends taken are others than those that servers may still remember.
    pub(crate) fn new(workers: u16, servers: usize, seed: u64) -> Self {
        let start = |slot: usize| {
            let mixed = (seed ^ slot as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Cursor {
                port: (mixed >> 48) as u16,
                round: (mixed >> 40) as u8,
                has_failed: false,
            }
        };
        Self {
            workers,
            cursors: (0..servers).map(start).collect(),
        }
    }

    /// A local end for a new flow to `server`; none when no free one was found. `is_own` tells
    /// whether replies to an end reach this worker, `is_taken` whether a flow to this server has it.
    pub(crate) fn take(
        &mut self,
        server: ServerId,
        pool: &LocalPool,
        is_own: impl Fn(Addr, u16) -> bool,
        is_taken: impl Fn(Addr, u16) -> bool,
    ) -> Option<(Addr, u16)> {
        let cursor = self.cursors.get_mut(server.0 as usize)?;
        let probes = match cursor.has_failed {
            true => FEW_PROBES,
            false => MANY_PROBES,
        };
        let found = cursor.search(pool, probes, self.workers, is_own, is_taken);
        cursor.has_failed = found.is_none();
        found
    }
}

impl Cursor {
    fn search(
        &mut self,
        pool: &LocalPool,
        probes: u32,
        workers: u16,
        is_own: impl Fn(Addr, u16) -> bool,
        is_taken: impl Fn(Addr, u16) -> bool,
    ) -> Option<(Addr, u16)> {
        let addrs = pool.addrs();
        let ports = pool.ports();
        let mut left = probes;
        for _ in 0..probes * STEPS_PER_PROBE * u32::from(workers) {
            // The pool may be a smaller one than last time.
            let port = u32::from(self.port) % ports;
            let at = (port as usize + usize::from(self.round)) % addrs.len().max(1);
            let (addr, local_port) = (*addrs.get(at)?, pool.first_port + port as u16);
            self.step(port, ports, addrs.len());
            if !is_own(addr, local_port) {
                continue;
            }
            if !is_taken(addr, local_port) {
                return Some((addr, local_port));
            }
            left -= 1;
            if left == 0 {
                return None;
            }
        }
        None
    }

    fn step(&mut self, port: u32, ports: u32, addrs: usize) {
        if port + 1 < ports {
            self.port = port as u16 + 1;
        } else {
            self.port = 0;
            let next = usize::from(self.round) + 1;
            self.round = (next % addrs) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn pool(addrs: u8, ports: RangeInclusive<u16>) -> LocalPool {
        let addrs: Vec<Addr> = (0..addrs)
            .map(|n| Addr::from_v4_bytes([10, 0, 0, 200 + n]))
            .collect();
        LocalPool::new(&addrs, ports)
    }

    fn len(pool: &LocalPool) -> usize {
        pool.addrs().len() * pool.ports() as usize
    }

    const SERVER: ServerId = ServerId(1);

    /// Takes ends until one search fails; `id` owns the ports of its remainder.
    fn take_all(ends: &mut LocalEnds, pool: &LocalPool, id: u16) -> Vec<(Addr, u16)> {
        let mut taken = Vec::new();
        let mut seen = BTreeSet::new();
        let workers = ends.workers;
        while let Some(end) = ends.take(
            SERVER,
            pool,
            |_, port| port % workers == id,
            |addr, port| seen.contains(&(addr, port)),
        ) {
            assert!(seen.insert(end), "{end:?} twice");
            taken.push(end);
        }
        taken
    }

    #[test]
    fn every_end_of_the_pool_is_taken_once_whatever_its_shape() {
        for (addrs, first, last) in [(1, 1, 1), (1, 5, 9), (2, 1024, 1027), (3, 1, 7), (4, 1, 4)] {
            for seed in 0..20 {
                let pool = pool(addrs, first..=last);
                let mut ends = LocalEnds::new(1, 2, seed);
                let taken = take_all(&mut ends, &pool, 0);
                assert_eq!(taken.len(), len(&pool), "{addrs} {first}-{last}");
                let mut in_range = taken.iter().map(|(_, port)| port);
                assert!(in_range.all(|port| (first..=last).contains(port)));
            }
        }
    }

    #[test]
    fn the_first_try_succeeds_while_flows_end_in_the_order_they_began() {
        let pool = pool(2, 1000..=1099);
        let mut ends = LocalEnds::new(1, 2, 7);
        let mut taken: Vec<(Addr, u16)> = Vec::new();
        for _ in 0..1000 {
            let looked = core::cell::Cell::new(0);
            let is_taken = |addr, port| {
                looked.set(looked.get() + 1);
                taken.contains(&(addr, port))
            };
            let end = ends.take(SERVER, &pool, |_, _| true, is_taken);
            assert_eq!(looked.get(), 1);
            taken.push(end.expect("one is free"));
            if taken.len() == 190 {
                taken.remove(0);
            }
        }
    }

    #[test]
    fn an_end_given_back_is_used_after_all_others() {
        let pool = pool(2, 1000..=1004);
        let mut ends = LocalEnds::new(1, 2, 3);
        let mut take = || ends.take(SERVER, &pool, |_, _| true, |_, _| false);
        let first = take().expect("free");
        for _ in 1..len(&pool) {
            assert_ne!(take(), Some(first));
        }
        assert_eq!(take(), Some(first));
    }

    #[test]
    fn workers_share_the_pool_without_a_common_end() {
        let pool = pool(2, 2000..=2119);
        let mut all = BTreeSet::new();
        for id in 0..3 {
            let mut ends = LocalEnds::new(3, 2, u64::from(id));
            let taken = take_all(&mut ends, &pool, id);
            assert_eq!(taken.len(), len(&pool) / 3);
            all.extend(taken);
        }
        assert_eq!(all.len(), 240);
    }

    #[test]
    fn a_search_that_must_fail_is_short_and_the_next_one_shorter() {
        let pool = pool(4, 1024..=65535);
        let mut ends = LocalEnds::new(1, 2, 3);
        let looked = core::cell::Cell::new(0);
        let mut fail = || {
            looked.set(0);
            let is_taken = |_, _| {
                looked.set(looked.get() + 1);
                true
            };
            let end = ends.take(SERVER, &pool, |_, _| true, is_taken);
            assert_eq!(end, None);
            looked.get()
        };
        assert_eq!((fail(), fail()), (MANY_PROBES, FEW_PROBES));
    }

    #[test]
    fn a_worker_without_an_end_of_its_own_comes_to_an_end() {
        let pool = pool(1, 4..=4);
        let mut ends = LocalEnds::new(3, 2, 1);
        assert_eq!(ends.take(SERVER, &pool, |_, _| false, |_, _| false), None);
    }

    #[test]
    fn a_pool_that_shrank_gives_only_what_it_has() {
        let (wide, narrow) = (pool(5, 1024..=65535), pool(2, 3000..=3001));
        for seed in 0..50 {
            let mut ends = LocalEnds::new(1, 2, seed);
            for _ in 0..4 {
                let _ = ends.take(SERVER, &wide, |_, _| true, |_, _| false);
                let (addr, port) = ends
                    .take(SERVER, &narrow, |_, _| true, |_, _| false)
                    .expect("free");
                assert!(narrow.addrs().contains(&addr) && (3000..=3001).contains(&port));
            }
        }
    }
}
