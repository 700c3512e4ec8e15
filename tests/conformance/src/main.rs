//! Plays scenarios to the kernel's IPVS and to Weir, and compares what both did.
#![expect(clippy::print_stdout, reason = "it is a program that reports")]

mod compare;
mod differences;
mod generate;
mod handmade;
mod kernel;
mod mask;
mod shrink;
mod weir;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use weir_conformance::operation::Scenario;
use weir_conformance::text;

use crate::kernel::Kernel;

/// Operations that one guest plays: its answers have to find room in memory.
const BATCH: usize = 12_000;

/// Random scenarios of one seed.
const MOST: usize = 1_000_000;

#[derive(Debug, Parser)]
#[command(name = "./x conformance", about = "Weir beside the kernel's own IPVS")]
struct Args {
    /// What the random scenarios are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations of random scenarios that are played at least.
    #[arg(long, default_value_t = 100_000)]
    operations: usize,
    /// Workers of the directors that are compared.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    workers: Vec<usize>,
    /// Plays the scenarios of a file, and no others.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Failing scenarios, each of another feature, that are made small.
    #[arg(long, default_value_t = 2)]
    shrink: usize,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What a row of the page sums up.
#[derive(Clone, Debug, Default)]
struct Row {
    scenarios: usize,
    operations: usize,
    named: BTreeMap<&'static str, usize>,
    failed: usize,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let kernel = Kernel::find()?;
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut failing: Vec<(Scenario, usize, String)> = Vec::new();
    for batch in batches(&args)? {
        play(&kernel, &batch, &args.workers, &mut rows, &mut failing)?;
    }
    for (name, row) in &rows {
        println!(
            "{name}: {} scenarios, {} operations, {} differ, named {:?}",
            row.scenarios, row.operations, row.failed, row.named
        );
    }
    let mut shown = std::collections::BTreeSet::new();
    for (scenario, workers, told) in &failing {
        let feature = feature(&scenario.name).to_owned();
        if shown.contains(&feature) {
            continue;
        }
        println!("--- {} differs with {workers} workers", scenario.name);
        if shown.len() < args.shrink {
            let (small, outcome) = shrink::shrink(&kernel, scenario, *workers)?;
            println!("made small:\n{}", compare::report(&small, &outcome));
        } else {
            println!("{told}");
        }
        shown.insert(feature);
    }
    let bad = rows.values().filter(|row| row.failed > 0).count();
    let word = if bad == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {} passed; {bad} failed; 0 ignored; features",
        rows.len() - bad
    );
    let operations: usize = rows.values().map(|row| row.operations).sum();
    let named: usize = rows.values().flat_map(|row| row.named.values()).sum();
    let workers: Vec<String> = args.workers.iter().map(usize::to_string).collect();
    println!(
        "conformance: {operations} operations compared with {} workers, {} differences, {named} named ones",
        workers.join(" and with "),
        failing.len()
    );
    Ok(if failing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The feature that a scenario is about.
fn feature(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// All scenarios that are to be played, in batches for a guest each.
fn batches(args: &Args) -> Result<Vec<Vec<Scenario>>> {
    let all: Vec<Scenario> = match &args.replay {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            text::scenarios(&text).map_err(anyhow::Error::msg)?
        }
        None => {
            let mut all = handmade::scenarios();
            all.retain(|scenario| scenario.name.contains(&args.only));
            let mut operations = 0;
            all.extend(
                (0..MOST)
                    .map(|number| generate::scenario(args.seed, number))
                    .filter(|scenario| scenario.name.contains(&args.only))
                    .take_while(|scenario| {
                        let is_enough = operations >= args.operations;
                        operations += scenario.operations.len();
                        !is_enough
                    }),
            );
            all
        }
    };
    ensure!(!all.is_empty(), "no scenario to be played");
    let mut batches: Vec<Vec<Scenario>> = Vec::new();
    let mut room = 0;
    for scenario in all {
        let len = scenario.operations.len();
        if batches.is_empty() || room < len {
            batches.push(Vec::new());
            room = BATCH;
        }
        room = room.saturating_sub(len);
        batches.last_mut().expect("there is one").push(scenario);
    }
    Ok(batches)
}

fn play(
    kernel: &Kernel,
    batch: &[Scenario],
    workers: &[usize],
    rows: &mut BTreeMap<String, Row>,
    failing: &mut Vec<(Scenario, usize, String)>,
) -> Result<()> {
    let seen = kernel.play(batch)?;
    for (scenario, kernel) in batch.iter().zip(&seen) {
        let row = rows.entry(feature(&scenario.name).to_owned()).or_default();
        row.scenarios += 1;
        row.operations += scenario.operations.len();
        for &count in workers {
            let weir = weir::play(scenario, kernel, count)?;
            let outcome = compare::compare(scenario, kernel, &weir);
            for (name, times) in &outcome.named {
                *row.named.entry(name).or_default() += times;
            }
            if outcome.difference.is_some() {
                row.failed += 1;
                let told = compare::report(scenario, &outcome);
                failing.push((scenario.clone(), count, told));
            }
        }
    }
    Ok(())
}
