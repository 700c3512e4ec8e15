//! Single steps of the packet path alone, by weir-core's public interface: one packet at a time
//! and without prefetch, so they tell what a step costs where nothing hides its misses.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use weir_core::flow::{FlowTable, NewFlow, Timeouts, Tuple};
use weir_core::schedule::{Arrival, Scheduler};
use weir_core::service::{Method, Protocol, ServerId};
use weir_core::snapshot::Snapshot;
use weir_core::time::Tick;
use weir_wire::Family;

use crate::measure::{Meter, Spread};
use crate::scenario::{self, SERVICE_PORT, VIP, addr};
use crate::source::Random;

/// Steps between two looks at the clock, so that a slice is not made of too few.
const BATCH: u64 = 32;

/// What a step costs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StepOutcome {
    pub(crate) step: String,
    pub(crate) flows: u32,
    pub(crate) ns: Spread,
}

/// Measures over rounds.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Step, flows, nanoseconds by round.
    rows: Vec<(&'static str, u32, Vec<f64>)>,
}

const STEPS: [&str; 3] = ["lookup", "insert", "schedule"];

impl Steps {
    pub(crate) fn new(sizes: &[u32]) -> Self {
        let each = |step| sizes.iter().map(move |flows| (step, *flows, Vec::new()));
        Self {
            rows: STEPS.into_iter().flat_map(each).collect(),
        }
    }

    /// One round with `ns` of CPU time for each step.
    pub(crate) fn round(&mut self, meter: &mut Meter, ns: u64) -> Result<()> {
        let snapshot = scenario::snapshot(Family::V4, Method::Dr, Timeouts::default());
        for (step, flows, took) in &mut self.rows {
            took.push(match *step {
                "lookup" => lookup(*flows, meter, ns)?,
                "insert" => insert(*flows, meter)?.1,
                _ => schedule(&snapshot, meter, ns),
            });
        }
        Ok(())
    }

    pub(crate) fn outcomes(&self) -> Vec<StepOutcome> {
        let done = self.rows.iter().filter(|(_, _, took)| !took.is_empty());
        done.map(|(step, flows, took)| StepOutcome {
            step: (*step).to_string(),
            flows: *flows,
            ns: Spread::of(took.iter().copied()),
        })
        .collect()
    }
}

fn tuple(n: u32) -> Tuple {
    let (client, port) = scenario::client(n);
    Tuple {
        src: addr(client),
        dst: addr(VIP),
        src_port: port,
        dst_port: SERVICE_PORT,
        protocol: Protocol::Tcp,
    }
}

/// A table with `flows` flows, and what each cost to take in.
fn insert(flows: u32, meter: &mut Meter) -> Result<(FlowTable, f64)> {
    let mut table = FlowTable::new(flows as usize, 1024, [1, 2]);
    let (mut n, mut is_full) = (0, false);
    while n < flows && !is_full {
        meter.slice(|| {
            let last = flows.min(n + BATCH as u32);
            let count = u64::from(last - n);
            for n in n..last {
                let key = tuple(n);
                let flow = NewFlow {
                    request: key,
                    reply: None,
                    server: ServerId(0),
                    method: Method::Dr,
                    expires: Tick(9),
                    is_controlled: false,
                    template: None,
                };
                is_full |= table.find(&key, table.hash(&key)).is_some();
                is_full |= table.insert(&flow).is_err();
            }
            n = last;
            (count > 0).then_some(count)
        });
    }
    ensure!(!is_full, "the table did not take {flows} flows");
    Ok((table, meter.take().ns))
}

fn lookup(flows: u32, meter: &mut Meter, ns: u64) -> Result<f64> {
    let (table, _) = insert(flows, meter)?;
    let (mut random, mut missed) = (Random(1), 0);
    meter.slices_for(ns, || {
        for _ in 0..BATCH {
            let key = tuple(random.below(flows));
            missed += u32::from(table.find(&key, table.hash(&key)).is_none());
        }
        Some(BATCH)
    });
    ensure!(missed == 0, "{missed} flows were not found");
    Ok(meter.take().ns)
}

fn schedule(snapshot: &Arc<Snapshot>, meter: &mut Meter, ns: u64) -> f64 {
    let services = &snapshot.services;
    let list: Vec<_> = services.iter().map(|(_, service)| service).collect();
    let request = tuple(0);
    let arrival = Arrival {
        request: &request,
        now: Tick(0),
        loads: &snapshot.loads,
        settings: &snapshot.settings,
        random: &weir_core::schedule::Random::new(1),
    };
    meter.slices_for(ns, || {
        for service in list.iter().cycle().take(BATCH as usize) {
            black_box(Scheduler::pick(service, services, &arrival));
        }
        Some(BATCH)
    });
    meter.take().ns
}
