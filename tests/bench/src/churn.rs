//! Connections made and ended for ever: SYN, ACK and FIN of a client, and expiry a second later.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use weir_dpdk::Frames;

use crate::measure::{Meter, Spread};
use crate::scenario::{self, Mode};
use crate::site::{Place, Site};
use crate::source::Flows;

/// Connections made and ended with one mode.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChurnOutcome {
    pub(crate) mode: Mode,
    /// Millions per CPU second: three packets and the end of each.
    pub(crate) million_connections_per_second: Spread,
    /// Flows that lived meanwhile, in the last round.
    pub(crate) live: u64,
    /// Room in the table; where nearly as many live, it was the limit.
    pub(crate) capacity: usize,
}

/// Million connections per CPU second wanted.
pub(crate) fn target(mode: Mode) -> Option<f64> {
    (mode == Mode::Dr).then_some(4.0)
}

/// Measures over rounds.
#[derive(Debug)]
pub(crate) struct Churn {
    capacity: usize,
    /// Mode, nanoseconds a connection by round, flows that lived.
    rows: Vec<(Mode, Vec<f64>, u64)>,
}

impl Churn {
    pub(crate) fn new(modes: &[Mode], capacity: usize) -> Self {
        let modes = modes.iter().filter(|mode| mode.method().is_some());
        Self {
            capacity,
            rows: modes.map(|mode| (*mode, Vec::new(), 0)).collect(),
        }
    }

    /// One round of each mode.
    pub(crate) fn round(&mut self, meter: &mut Meter, frames: &Frames) -> Result<()> {
        for (mode, took, live) in &mut self.rows {
            let method = mode.method().context("a director's mode")?;
            let place = Place::alone(method, scenario::short_timeouts());
            let flows = Flows::Below(0);
            let mut site = Site::new(*mode, flows, self.capacity, frames.clone(), place);
            let churned = site.churn(meter);
            let churned = churned.with_context(|| format!("{}, churn", mode.name()))?;
            eprintln!("{}, churn: {:.0} ns", mode.name(), churned.connection_ns);
            took.push(churned.connection_ns);
            *live = churned.live;
        }
        Ok(())
    }

    pub(crate) fn outcomes(&self) -> Vec<ChurnOutcome> {
        let done = self.rows.iter().filter(|(_, took, _)| !took.is_empty());
        done.map(|(mode, took, live)| ChurnOutcome {
            mode: *mode,
            million_connections_per_second: Spread::of_rates(took.iter().copied()),
            live: *live,
            capacity: self.capacity,
        })
        .collect()
    }
}
