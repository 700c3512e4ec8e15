//! The results, as tables and as data.

use std::fmt::{Error, Write as _};

use serde::{Deserialize, Serialize};

use crate::churn::{self, ChurnOutcome};
use crate::expiry::ExpiryOutcome;
use crate::measure::{Spread, Turns};
use crate::scenario::Mode;
use crate::steps::StepOutcome;
use crate::testpmd::TestpmdOutcome;
use crate::workers::{self, WorkersOutcome};

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When it began, UTC, as RFC 3339 has it.
    pub(crate) date: String,
    pub(crate) cpu: String,
    /// The core the worker was pinned to.
    pub(crate) core: usize,
    /// Pages of the frames.
    pub(crate) frame_pages: String,
    /// Linux's transparent huge pages.
    pub(crate) transparent_huge_pages: String,
    pub(crate) rounds: usize,
    /// Bytes of a packet on the wire.
    pub(crate) packet_bytes: u32,
    pub(crate) results: Vec<Outcome>,
    pub(crate) churn: Vec<ChurnOutcome>,
    pub(crate) expiry: Vec<ExpiryOutcome>,
    pub(crate) steps: Vec<StepOutcome>,
    pub(crate) testpmd: Vec<TestpmdOutcome>,
    pub(crate) workers: Vec<WorkersOutcome>,
}

/// One mode with one number of flows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) mode: Mode,
    pub(crate) flows: u32,
    pub(crate) ns_per_packet: Spread,
    /// Million packets per CPU second.
    pub(crate) million_per_second: Spread,
    /// New flows in millions per CPU second; none where too few are opened to tell.
    pub(crate) million_new_flows_per_second: Option<Spread>,
    /// Flows ended by a reset, in millions per CPU second.
    pub(crate) million_ended_flows_per_second: Option<Spread>,
    /// Memory that came with the flows, by flow; none where they are too few to tell.
    pub(crate) bytes_per_flow: Option<f64>,
    /// What the flow table's memory came from: `reserved` or `transparent` huge pages, or `small`.
    pub(crate) table_pages: Option<String>,
    /// Durations of a turn with a burst of 32, in nanoseconds.
    pub(crate) turn_ns: Option<Turns>,
    /// The share of undisturbed slices, 0 to 1.
    pub(crate) calm: f64,
}

/// Million packets per CPU second wanted, by mode and flows.
pub(crate) fn target(mode: Mode, flows: u32) -> Option<f64> {
    let by_size = match mode {
        Mode::Source => return None,
        Mode::Dr => [35.0, 30.0, 24.0, 15.0],
        Mode::Tun => [28.0, 24.0, 19.0, 12.0],
        Mode::Nat => [26.0, 22.0, 17.0, 11.0],
        Mode::FullNat => [22.0, 18.0, 14.0, 9.0],
    };
    let at = SIZES.iter().position(|size| *size == flows)?;
    Some(by_size[at])
}

/// The numbers of flows that there are targets for.
pub(crate) const SIZES: [u32; 4] = [1_000, 100_000, 1_000_000, 10_000_000];

/// Million new flows per CPU second wanted.
pub(crate) fn target_new_flows(mode: Mode) -> Option<f64> {
    match mode {
        Mode::Source => None,
        Mode::Dr => Some(10.0),
        Mode::Tun => Some(9.0),
        Mode::Nat => Some(7.0),
        Mode::FullNat => Some(5.0),
    }
}

fn wanted(target: Option<f64>) -> String {
    target.map_or_else(String::new, |target| format!("{target:.0}"))
}

fn told<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl Report {
    /// All tables, for people.
    pub(crate) fn tables(&self) -> Result<String, Error> {
        let mut out = String::new();
        writeln!(
            out,
            "{}, {}, core {}; frames on pages of {}, transparent huge pages: {}\n\
             {}-byte TCP in bursts of 32; median (least-greatest) of {} rounds, per CPU second\n",
            self.date,
            self.cpu,
            self.core,
            self.frame_pages,
            self.transparent_huge_pages,
            self.packet_bytes,
            self.rounds,
        )?;
        self.packets(&mut out)?;
        self.new_flows(&mut out)?;
        self.beside_testpmd(&mut out)?;
        self.steps(&mut out)?;
        if !self.workers.is_empty() {
            writeln!(out, "{}", workers::table(&self.workers))?;
        }
        Ok(out)
    }

    fn packets(&self, out: &mut String) -> Result<(), Error> {
        if self.results.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{:8} {:>10} {:>24} {:>7} {:>7} {:>7} {:>12} {:>20} {:>6}",
            "mode",
            "flows",
            "million packets/s",
            "target",
            "ns",
            "B/flow",
            "table pages",
            "turn p50/p99/max us",
            "calm",
        )?;
        for o in &self.results {
            let turns = o.turn_ns.map(|turns| {
                let [p50, p99, max] = [turns.p50, turns.p99, turns.max].map(|ns| ns as f64 / 1e3);
                format!("{p50:.1}/{p99:.1}/{max:.0}")
            });
            writeln!(
                out,
                "{:8} {:>10} {:>24} {:>7} {:>7.1} {:>7} {:>12} {:>20} {:>5.0}%",
                o.mode.name(),
                o.flows,
                o.million_per_second.to_string(),
                wanted(target(o.mode, o.flows)),
                o.ns_per_packet.median,
                wanted(o.bytes_per_flow),
                told(o.table_pages.as_ref()),
                told(turns),
                o.calm * 100.0,
            )?;
        }
        writeln!(out)
    }

    fn new_flows(&self, out: &mut String) -> Result<(), Error> {
        let opened = self.results.iter();
        let mut opened = opened
            .filter(|o| o.million_new_flows_per_second.is_some())
            .peekable();
        if opened.peek().is_some() {
            writeln!(
                out,
                "{:8} {:>10} {:>24} {:>7} {:>24}",
                "mode", "flows", "million new flows/s", "target", "million resets/s"
            )?;
        }
        for o in opened {
            writeln!(
                out,
                "{:8} {:>10} {:>24} {:>7} {:>24}",
                o.mode.name(),
                o.flows,
                told(o.million_new_flows_per_second),
                wanted(target_new_flows(o.mode)),
                told(o.million_ended_flows_per_second),
            )?;
        }
        writeln!(out)?;
        for o in &self.churn {
            writeln!(
                out,
                "{:8} made and ended for ever: {} million connections/s{}, {} alive in a table for {}",
                o.mode.name(),
                o.million_connections_per_second,
                churn::target(o.mode).map_or_else(String::new, |t| format!(" (target {t})")),
                o.live,
                o.capacity,
            )?;
        }
        for o in &self.expiry {
            writeln!(
                out,
                "{} flows that end together: the last {:.2} s after it was due, longest turn {:.0} us",
                o.flows, o.late_seconds, o.longest_turn_us,
            )?;
        }
        if !self.churn.is_empty() || !self.expiry.is_empty() {
            writeln!(out)?;
        }
        Ok(())
    }

    fn beside_testpmd(&self, out: &mut String) -> Result<(), Error> {
        for o in &self.testpmd {
            writeln!(
                out,
                "dpdk-testpmd {:8} on net_null, same core: {} million packets/s",
                o.forwarding, o.million_per_second
            )?;
            for ours in &self.results {
                let ratio = ours.million_per_second.median / o.million_per_second.median;
                let name = ours.mode.name();
                writeln!(
                    out,
                    "    {name:8} {:>10} flows: {ratio:.2} of it",
                    ours.flows
                )?;
            }
        }
        if !self.testpmd.is_empty() {
            writeln!(out)?;
        }
        Ok(())
    }

    fn steps(&self, out: &mut String) -> Result<(), Error> {
        if self.steps.is_empty() {
            return Ok(());
        }
        writeln!(out, "{:10} {:>10} {:>24}", "step alone", "flows", "ns")?;
        for o in &self.steps {
            writeln!(
                out,
                "{:10} {:>10} {:>24}",
                o.step,
                o.flows,
                o.ns.to_string()
            )?;
        }
        writeln!(out)
    }
}
