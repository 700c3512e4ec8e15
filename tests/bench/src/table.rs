//! The table of all modes over numbers of flows, in interleaved rounds.

use anyhow::{Context, Result};
use weir_core::flow::Timeouts;
use weir_dpdk::Frames;

use crate::machine;
use crate::measure::{Meter, Spread, Turns};
use crate::report::Outcome;
use crate::scenario::Mode;
use crate::site::{Place, Site, source_alone};
use crate::source::Flows;

/// Fewer flows than these are opened too fast to be timed.
const FEW_TO_OPEN: u32 = 50_000;

/// The memory of fewer flows than these is lost in the rest.
const FEW_TO_WEIGH: u32 = 1_000_000;

/// One mode with one number of flows in one round.
#[derive(Debug)]
struct Sample {
    ns: f64,
    calm: f64,
    new_flow_ns: Option<f64>,
    end_flow_ns: Option<f64>,
    bytes_per_flow: Option<f64>,
    table_pages: Option<String>,
    turns: Option<Turns>,
}

/// Every mode with every number of flows, over rounds.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<(Mode, u32, Vec<Sample>)>,
}

impl Table {
    pub(crate) fn new(modes: &[Mode], sizes: &[u32]) -> Self {
        let of_mode = |mode: &Mode| {
            let mode = *mode;
            sizes.iter().map(move |flows| (mode, *flows, Vec::new()))
        };
        Self {
            rows: modes.iter().flat_map(of_mode).collect(),
        }
    }

    /// One round of all, one after another. `ns` is the CPU time of one measurement.
    pub(crate) fn round(&mut self, meter: &mut Meter, ns: u64, frames: &Frames) -> Result<()> {
        for (mode, flows, samples) in &mut self.rows {
            let what = || format!("{} with {flows} flows", mode.name());
            let sample = sample(*mode, *flows, ns, frames, meter).with_context(what)?;
            eprintln!("{}: {:.1} ns", what(), sample.ns);
            samples.push(sample);
        }
        Ok(())
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let done = self
            .rows
            .iter()
            .filter(|(_, _, samples)| !samples.is_empty());
        done.map(|(mode, flows, samples)| outcome(*mode, *flows, samples))
            .collect()
    }
}

fn sample(mode: Mode, flows: u32, ns: u64, frames: &Frames, meter: &mut Meter) -> Result<Sample> {
    let Some(method) = mode.method() else {
        let rate = source_alone(flows, frames.clone(), meter, ns);
        return Ok(Sample {
            ns: rate.ns,
            calm: rate.calm,
            new_flow_ns: None,
            end_flow_ns: None,
            bytes_per_flow: None,
            table_pages: None,
            turns: None,
        });
    };
    let before = machine::resident_bytes();
    let place = Place::alone(method, Timeouts::default());
    let playing = Flows::Below(flows);
    let mut site = Site::new(mode, playing, flows as usize, frames.clone(), place);
    let open = site.open(meter)?;
    // What the source remembers is not the director's.
    let memory = (machine::resident_bytes() - before).saturating_sub(site.desk.bytes());
    let keep = site.keep(meter, ns)?;
    let turns = site.time_turns();
    site.check()?;
    let end = site.end(meter)?;
    let told = |value| (flows >= FEW_TO_OPEN).then_some(value);
    Ok(Sample {
        ns: keep.ns,
        calm: keep.calm,
        new_flow_ns: told(open.ns),
        end_flow_ns: told(end.ns),
        bytes_per_flow: (flows >= FEW_TO_WEIGH).then(|| memory as f64 / f64::from(flows)),
        table_pages: Some(site.table_pages()),
        turns: Some(turns),
    })
}

fn outcome(mode: Mode, flows: u32, samples: &[Sample]) -> Outcome {
    let rates = |each: fn(&Sample) -> Option<f64>| {
        let all: Option<Vec<f64>> = samples.iter().map(each).collect();
        all.map(Spread::of_rates)
    };
    let turns: Vec<Turns> = samples.iter().filter_map(|sample| sample.turns).collect();
    Outcome {
        mode,
        flows,
        ns_per_packet: Spread::of(samples.iter().map(|s| s.ns)),
        million_per_second: Spread::of_rates(samples.iter().map(|s| s.ns)),
        million_new_flows_per_second: rates(|s| s.new_flow_ns),
        million_ended_flows_per_second: rates(|s| s.end_flow_ns),
        bytes_per_flow: samples.last().and_then(|s| s.bytes_per_flow),
        table_pages: samples.last().and_then(|s| s.table_pages.clone()),
        turn_ns: Turns::over(&turns),
        calm: Spread::of(samples.iter().map(|s| s.calm)).median,
    }
}
