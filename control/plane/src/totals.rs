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
        slot_counters(workers, id).fold(Self::default(), |sum, counters| {
            sum + Self {
                connections: counters.connections.get(),
                packets_in: counters.packets_in.get(),
                packets_out: counters.packets_out.get(),
                bytes_in: counters.bytes_in.get(),
                bytes_out: counters.bytes_out.get(),
            }
        })
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

/// Rates as IPVS estimates them: every two seconds a quarter of the way to the newest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimator {
    last: Totals,
    rates: Rates,
}

impl Estimator {
    /// Begins at `totals` with rates of zero.
    #[must_use]
    pub fn starting_at(totals: Totals) -> Self {
        Self {
            last: totals,
            rates: Rates::default(),
        }
    }

    /// Takes `totals` into account, `seconds` after the last time.
    pub fn observe(&mut self, totals: Totals, seconds: f64) {
        let new = totals - self.last;
        self.last = totals;
        let approach = |rate: &mut f64, count: u64| {
            *rate += (count as f64 / seconds - *rate) / 4.0;
        };
        approach(&mut self.rates.connections_per_second, new.connections);
        approach(&mut self.rates.packets_in_per_second, new.packets_in);
        approach(&mut self.rates.packets_out_per_second, new.packets_out);
        approach(&mut self.rates.bytes_in_per_second, new.bytes_in);
        approach(&mut self.rates.bytes_out_per_second, new.bytes_out);
    }

    /// The rates as estimated last.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_goes_a_quarter_of_the_way_at_each_look() {
        let mut estimator = Estimator::default();
        let totals = |connections| Totals {
            connections,
            ..Totals::default()
        };
        estimator.observe(totals(200), 2.0);
        assert_eq!(estimator.rates().connections_per_second, 25.0);
        estimator.observe(totals(400), 2.0);
        assert_eq!(estimator.rates().connections_per_second, 43.75);
        estimator.observe(totals(400), 2.0);
        assert_eq!(estimator.rates().connections_per_second, 32.8125);
        assert_eq!(estimator.rates().bytes_in_per_second, 0.0);
    }
}
