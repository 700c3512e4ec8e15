//! Choosing a real server for a new flow, exactly as the kernel's IPVS does.
//!
//! Two things hold for all: a server of weight 0 is never chosen, and lists are walked from the
//! server added last. A scheduler keeps where it stands in one atomic word shared by all workers,
//! so that the sequence is the kernel's whichever worker a flow meets.

pub mod consistent;
mod rr;
mod wrr;

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::service::{Candidate, ServerId, Service, Services};

/// The kinds of scheduler, by ipvsadm's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin, interleaved.
    Wrr(wrr::Weights),
}

impl Scheduler {
    /// Prepares the scheduler `name` for this list of servers. Runs on the control thread at each
    /// change of the list; [`pick`](Self::pick) only indexes.
    #[must_use]
    pub fn build(name: SchedulerName, servers: &[Candidate]) -> Self {
        match name {
            SchedulerName::Rr => Self::Rr,
            SchedulerName::Wrr => {
                let weights: Vec<u32> = servers.iter().map(|c| c.weight).collect();
                Self::Wrr(wrr::Weights::of(&weights))
            }
        }
    }

    /// Where a service stands whose scheduler was changed to this one while it had servers; a new
    /// service stands at 0. `generation` is the service's.
    #[must_use]
    pub fn cursor_after_change(&self, generation: u16) -> u64 {
        match self {
            Self::Rr => 0,
            Self::Wrr(weights) => weights.restarted(generation),
        }
    }

    /// The server of the next flow of `service`, or none when there is no usable one.
    ///
    /// Walks the list at most once per weight step; the common case ends at the first server.
    #[must_use]
    pub fn pick(service: &Service, services: &Services) -> Option<ServerId> {
        match &service.scheduler {
            Self::Rr => rr::pick(service, services),
            Self::Wrr(weights) => wrr::pick(service, weights),
        }
    }
}

/// The name of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchedulerName {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
}

impl SchedulerName {
    /// Every scheduler there is.
    pub const ALL: &'static [Self] = &[Self::Rr, Self::Wrr];
}

impl fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
        })
    }
}

/// There is no scheduler of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownScheduler;

impl FromStr for SchedulerName {
    type Err = UnknownScheduler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| name == alloc::format!("{known}"))
            .ok_or(UnknownScheduler)
    }
}

#[cfg(test)]
mod tests;
