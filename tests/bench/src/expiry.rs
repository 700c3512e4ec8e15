//! Many flows that end together: how late they do, and how long the longest turn is meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use weir_core::flow::{TcpState, Timeouts};
use weir_core::time::{TICKS_PER_SECOND, seconds};
use weir_dpdk::Frames;

use crate::measure::cpu_ns;
use crate::scenario::Mode;
use crate::site::{Place, Site};
use crate::source::{Flows, Packet};

/// How long a flow lives after its reset, in seconds: longer than resetting all of them takes.
const LIFETIME: u32 = 8;

/// What is past this is no lateness but a fault.
const LATE_MAX: Duration = Duration::from_secs(10);

/// Flows that ended by time, with an idle worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExpiryOutcome {
    pub(crate) flows: u32,
    /// From when the last was due to when none was left, in seconds of the wall clock.
    pub(crate) late_seconds: f64,
    /// The longest turn of the loop meanwhile, in microseconds of the worker's CPU time.
    pub(crate) longest_turn_us: f64,
}

/// Opens `flows`, resets them and waits for their end.
pub(crate) fn measure(flows: u32, frames: &Frames) -> Result<ExpiryOutcome> {
    let mut timeouts = Timeouts::default();
    timeouts.tcp[TcpState::Close as usize] = seconds(LIFETIME);
    let method = Mode::Dr.method().expect("DR is a method");
    let place = Place::alone(method, timeouts);
    let all = Flows::Below(flows);
    let mut site = Site::new(Mode::Dr, all, flows as usize, frames.clone(), place);
    site.open_unmeasured()?;
    let first_reset = Instant::now();
    site.run_pass(Packet::Rst);
    let lifetime = Duration::from_secs(u64::from(LIFETIME));
    let (first_due, last_due) = (first_reset + lifetime, Instant::now() + lifetime);
    let tick = Duration::from_secs(1) / TICKS_PER_SECOND;
    let mut longest = 0;
    while !site.is_empty() {
        let before = cpu_ns();
        site.turn();
        let took = cpu_ns() - before;
        if Instant::now() + tick < first_due {
            ensure!(site.open_flows() == u64::from(flows), "a flow ended early");
            continue;
        }
        longest = took.max(longest);
        ensure!(last_due.elapsed() < LATE_MAX, "flows do not end");
    }
    Ok(ExpiryOutcome {
        flows,
        late_seconds: last_due.elapsed().as_secs_f64(),
        longest_turn_us: longest as f64 / 1e3,
    })
}
