//! The results, as a table and as data.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::measure::{Spread, Turns};
use crate::scenario::Mode;

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When it began, in seconds since 1970.
    pub(crate) unix_time: u64,
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
    /// Durations of a turn in nanoseconds, with a burst of 32; the worst round.
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
    let sizes = [1_000, 100_000, 1_000_000, 10_000_000];
    sizes
        .iter()
        .position(|size| *size == flows)
        .map(|at| by_size[at])
}

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

fn spread(spread: &Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.2} ({min:.2}-{max:.2})")
}

fn wanted(target: Option<f64>) -> String {
    target.map_or_else(String::new, |target| format!("{target:.0}"))
}

impl Report {
    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "{}, core {}; frames on pages of {}, transparent huge pages: {}\n\
             {}-byte TCP; median (least-greatest) of {} rounds, per CPU second of one worker\n\n\
             {:8} {:>10} {:>22} {:>6} {:>7} {:>22} {:>6} {:>9} {:>22} {:>5}",
            self.cpu,
            self.core,
            self.frame_pages,
            self.transparent_huge_pages,
            self.packet_bytes,
            self.rounds,
            "mode",
            "flows",
            "million packets/s",
            "target",
            "ns",
            "million new flows/s",
            "target",
            "B/flow",
            "turn p50/p99/max us",
            "calm",
        );
        for outcome in &self.results {
            let _ = writeln!(out, "{}", outcome.line());
        }
        out
    }
}

impl Outcome {
    /// Its line in the table.
    pub(crate) fn line(&self) -> String {
        let new_flows = self.million_new_flows_per_second.as_ref();
        let turns = self.turn_ns.as_ref().map_or_else(String::new, |turns| {
            let us = |ns| ns as f64 / 1000.0;
            let (p50, p99, max) = (us(turns.p50), us(turns.p99), us(turns.max));
            format!("{p50:.1}/{p99:.1}/{max:.0}")
        });
        format!(
            "{:8} {:>10} {:>22} {:>6} {:>7.1} {:>22} {:>6} {:>9} {:>22} {:>4.0}%",
            self.mode.name(),
            self.flows,
            spread(&self.million_per_second),
            wanted(target(self.mode, self.flows)),
            self.ns_per_packet.median,
            new_flows.map_or_else(String::new, spread),
            wanted(new_flows.and_then(|_| target_new_flows(self.mode))),
            self.bytes_per_flow
                .map_or_else(String::new, |bytes| format!("{bytes:.0}")),
            turns,
            self.calm * 100.0,
        )
    }
}
