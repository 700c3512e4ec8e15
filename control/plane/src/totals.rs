//! What servers and services carried: sums over workers, and rates.

use std::ops::{Add, AddAssign, Sub};

use weir_core::counters::ServerCounters;
use weir_core::load::Load;
use weir_core::service::ServerId;
use weir_model::api::{Rates, Stats};
use weir_worker::Handle;

/// What a server or service carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Flows scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

impl Totals {
    /// What all workers have counted in the slot `id` since they started.
    #[must_use]
    pub fn of_slot(workers: &[Handle], id: ServerId) -> Self {
        slot_counters(workers, id).fold(Self::default(), |sum, counters| sum + Self::of(counters))
    }

    /// What a worker has counted in all slots since it started.
    #[must_use]
    pub fn of_worker(worker: &Handle) -> Self {
        let counters = worker.counters().servers.iter();
        counters.fold(Self::default(), |sum, counters| sum + Self::of(counters))
    }

    fn of(counters: &ServerCounters) -> Self {
        Self {
            connections: counters.connections.get(),
            packets_in: counters.packets_in.get(),
            packets_out: counters.packets_out.get(),
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
        }
    }

    fn counts(self) -> [u64; 5] {
        [
            self.connections,
            self.packets_in,
            self.packets_out,
            self.bytes_in,
            self.bytes_out,
        ]
    }

    /// With rates, as the API tells it.
    #[must_use]
    pub fn stats(self, rates: Rates) -> Stats {
        Stats {
            connections: self.connections,
            packets_in: self.packets_in,
            packets_out: self.packets_out,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            rates,
        }
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            packets_in: self.packets_in + other.packets_in,
            packets_out: self.packets_out + other.packets_out,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Totals {
    type Output = Self;

    /// What came since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(earlier.connections),
            packets_in: self.packets_in.saturating_sub(earlier.packets_in),
            packets_out: self.packets_out.saturating_sub(earlier.packets_out),
            bytes_in: self.bytes_in.saturating_sub(earlier.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(earlier.bytes_out),
        }
    }
}

/// The flows that workers hold for one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Opening and established TCP.
    pub active: u64,
    /// All others.
    pub inactive: u64,
}

impl FlowCounts {
    /// Of the slot `id`, over all workers.
    #[must_use]
    pub fn of_slot(workers: &[Handle], id: ServerId) -> Self {
        let loads = workers.iter().map(|worker| &worker.counters().loads);
        let loads = loads.filter_map(|loads| loads.get(id.0 as usize));
        loads.map(Load::get).fold(Self::default(), |sum, one| Self {
            active: sum.active + u64::from(one.active),
            inactive: sum.inactive + u64::from(one.inactive),
        })
    }

    /// True when no worker remembers a flow.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

fn slot_counters(workers: &[Handle], id: ServerId) -> impl Iterator<Item = &ServerCounters> {
    let counters_of = workers.iter().map(Handle::counters);
    counters_of.filter_map(move |counters| counters.servers.get(id.0 as usize))
}

/// Seconds between two looks of an [`Estimator`], as in IPVS.
pub const ESTIMATE_SECONDS: u64 = 2;

/// A look that is late by no more than this counts as one in time.
const LATENESS: f64 = 0.2;

/// Bits after the binary point of each rate: of connections, packets and bytes.
const FRACTIONS: [u32; 5] = [10, 10, 10, 5, 5];

/// Rates as IPVS estimates them: every two seconds a quarter of the way to the newest, reckoned in
/// whole numbers as it does, so that the same is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimator {
    last: Totals,
    /// What had been counted when it was asked to count from zero.
    zero: Totals,
    /// A second, with [`FRACTIONS`].
    rates: [i64; 5],
}

impl Estimator {
    /// Rates are zero and begin again at `totals`.
    pub fn pause(&mut self, totals: Totals) {
        self.last = totals;
        self.rates = [0; 5];
    }

    /// The same, and what was counted until now is no longer told to who counts from zero
    /// (`ipvsadm -Z`).
    pub fn zero(&mut self, totals: Totals) {
        self.pause(totals);
        self.zero = totals;
    }

    /// What of `totals` came since it was asked to count from zero.
    #[must_use]
    pub fn since_zero(&self, totals: Totals) -> Totals {
        totals - self.zero
    }

    /// Takes `totals` into account, `seconds` after the last time.
    pub fn observe(&mut self, totals: Totals, seconds: f64) {
        let counts = (totals - self.last).counts();
        self.last = totals;
        for ((rate, count), fraction) in self.rates.iter_mut().zip(counts).zip(FRACTIONS) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let new = if (seconds - ESTIMATE_SECONDS as f64).abs() < LATENESS {
                count.saturating_mul(1 << fraction) / ESTIMATE_SECONDS as i64
            } else {
                (count as f64 * f64::from(1 << fraction) / seconds) as i64
            };
            *rate += (new - *rate) >> 2;
        }
    }

    /// The rates as estimated last.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let mut rates = self.rates.iter().zip(FRACTIONS);
        let mut next = || match rates.next() {
            Some((rate, fraction)) => *rate as f64 / f64::from(1 << fraction),
            None => 0.0,
        };
        Rates {
            connections_per_second: next(),
            packets_in_per_second: next(),
            packets_out_per_second: next(),
            bytes_in_per_second: next(),
            bytes_out_per_second: next(),
        }
    }
}

/// A rate as IPVS shows it: the nearest whole number, and of two the lower.
#[must_use]
pub fn shown(rate: f64) -> u64 {
    (rate - 0.5).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ipvsadm lists them.
    fn listed(estimator: &Estimator) -> [u64; 5] {
        let rates = estimator.rates();
        [
            rates.connections_per_second,
            rates.packets_in_per_second,
            rates.packets_out_per_second,
            rates.bytes_in_per_second,
            rates.bytes_out_per_second,
        ]
        .map(shown)
    }

    fn totals(connections: u64, bytes_in: u64, bytes_out: u64) -> Totals {
        Totals {
            connections,
            packets_in: connections,
            packets_out: if bytes_out == 0 { 0 } else { connections },
            bytes_in,
            bytes_out,
        }
    }

    /// Of Linux 6.1: a service over five looks, and one of its servers.
    #[test]
    fn rates_are_the_kernels() {
        let mut service = Estimator::default();
        for (totals, seen) in [
            (totals(37, 3700, 1480), [5, 5, 5, 462, 185]),
            (totals(80, 8000, 3200), [9, 9, 9, 884, 354]),
            (totals(80, 8000, 3200), [7, 7, 7, 663, 265]),
            (totals(80, 8000, 3200), [5, 5, 5, 497, 199]),
        ] {
            service.observe(totals, 2.0);
            assert_eq!(listed(&service), seen);
        }
        let mut server = Estimator::default();
        for (totals, seen) in [
            (totals(18, 1800, 720), [2, 2, 2, 225, 90]),
            (totals(40, 4000, 1600), [4, 4, 4, 444, 177]),
            (totals(40, 4000, 1600), [3, 3, 3, 333, 133]),
            (totals(40, 4000, 1600), [2, 2, 2, 250, 100]),
        ] {
            server.observe(totals, 2.0);
            assert_eq!(listed(&server), seen);
        }
    }

    /// Of Linux 6.1: what it shows of 1 to 12 SYNs of 40 bytes after 2, 4 and 6 seconds; of four it
    /// shows 0 connections a second for a rate of one half.
    #[test]
    fn small_rates_are_rounded_as_the_kernel_does() {
        let seen = [
            [(0, 5), (0, 4), (0, 3)],
            [(0, 10), (0, 7), (0, 6)],
            [(0, 15), (0, 11), (0, 8)],
            [(0, 20), (0, 15), (0, 11)],
            [(1, 25), (0, 19), (0, 14)],
            [(1, 30), (1, 22), (0, 17)],
            [(1, 35), (1, 26), (0, 20)],
            [(1, 40), (1, 30), (1, 22)],
            [(1, 45), (1, 34), (1, 25)],
            [(1, 50), (1, 37), (1, 28)],
            [(1, 55), (1, 41), (1, 31)],
            [(1, 60), (1, 45), (1, 34)],
        ];
        for (count, seen) in (1..).zip(seen) {
            let mut estimator = Estimator::default();
            for (connections, bytes) in seen {
                estimator.observe(totals(count, count * 40, 0), 2.0);
                let expected = [connections, connections, 0, bytes, 0];
                assert_eq!(listed(&estimator), expected, "{count} connections");
            }
        }
    }

    #[test]
    fn a_look_that_is_late_counts_for_the_time_it_took() {
        let (mut late, mut punctual) = (Estimator::default(), Estimator::default());
        late.observe(totals(400, 0, 0), 4.0);
        punctual.observe(totals(200, 0, 0), 2.01);
        assert_eq!(listed(&late), listed(&punctual));
        assert_eq!(late.rates().connections_per_second, 25.0);
    }

    #[test]
    fn rates_that_begin_again_know_no_past_and_neither_do_counts_from_zero() {
        let mut estimator = Estimator::default();
        estimator.observe(totals(400, 0, 0), 2.0);
        estimator.pause(totals(500, 0, 0));
        assert_eq!(listed(&estimator), [0; 5]);
        let now = totals(508, 0, 0);
        assert_eq!(estimator.since_zero(now), now);
        estimator.observe(now, 2.0);
        assert_eq!(listed(&estimator), [1, 1, 0, 0, 0]);
        estimator.zero(now);
        assert_eq!(listed(&estimator), [0; 5]);
        assert_eq!(estimator.since_zero(now), Totals::default());
        assert_eq!(estimator.since_zero(totals(509, 0, 0)), totals(1, 0, 0));
    }
}
