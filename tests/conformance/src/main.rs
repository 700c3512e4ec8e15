//! Plays scenarios to the kernel's IPVS and to Weir, and compares what both did.
#![expect(clippy::print_stdout, reason = "it is a program that reports")]

mod compare;
mod differences;
mod generate;
mod handmade;
mod joined;
mod kernel;
mod mask;
mod page;
mod pieces;
mod shrink;
#[cfg(test)]
mod tests;
mod weir;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use weir_conformance::operation::Scenario;
use weir_conformance::text;

use crate::kernel::Kernel;

/// Operations that one guest plays: its answers have to find room in memory.
const BATCH: usize = 6_000;

/// Random scenarios of one seed.
const MOST: usize = 100_000;

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
    /// Leaves out the scenarios that this file names: the beginning of a name a line.
    #[arg(long)]
    except: Option<PathBuf>,
    /// Writes the conformance page to this file.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Plays the scenarios of a file, and no others.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Failing scenarios, each of another feature, that are made small.
    #[arg(long, default_value_t = 2)]
    shrink: usize,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Shows what the wanted differences explained whose name contains this.
    #[arg(long)]
    explained: Option<String>,
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
    let except = exceptions(&args)?;
    let Results {
        rows,
        failing,
        explained,
    } = play_all(&kernel, batches(&args, &except)?, &args.workers)?;
    if let Some(wanted) = &args.explained {
        let shown = explained.iter().filter(|(name, _)| name.contains(wanted));
        shown.for_each(|(name, told)| println!("--- {name}: {told}"));
    }
    for (name, row) in &rows {
        println!(
            "{name}: {} scenarios, {} operations, {} differ, named {:?}",
            row.scenarios, row.operations, row.failed, row.named
        );
    }
    if let Some(path) = &args.page {
        let page = page::page(&rows, args.seed, &args.workers, &except);
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    let mut shown = std::collections::BTreeSet::new();
    for (scenario, workers, told) in &failing {
        let feature = feature(&scenario.name).to_owned();
        println!("--- {} differs with {workers} workers", scenario.name);
        if shown.contains(&feature) {
            println!("{}", compare::last_of(told));
        } else if shown.len() < args.shrink {
            let (small, outcome) = shrink::shrink(&kernel, scenario, *workers)?;
            println!("made small:\n{}", compare::report(&small, &outcome));
        } else {
            println!("{told}");
        }
        shown.insert(feature);
    }
    if !except.is_empty() {
        println!("left out: {}", except.join(", "));
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
        "conformance: {} operations compared with {} workers, {} differences, {} named ones",
        group(operations),
        workers.join(" and with "),
        failing.len(),
        group(named)
    );
    Ok(if failing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A number with its thousands apart.
fn group(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{} {:03}", group(number / 1000), number % 1000),
    }
}

/// The feature that a scenario is about.
fn feature(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// What scenarios that are left out begin with.
fn exceptions(args: &Args) -> Result<Vec<String>> {
    let Some(path) = &args.except else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// All scenarios that are to be played, in batches for a guest each.
fn batches(args: &Args, except: &[String]) -> Result<Vec<Vec<Scenario>>> {
    let is_wanted = |scenario: &Scenario| {
        let name = &scenario.name;
        name.contains(&args.only) && !except.iter().any(|start| name.starts_with(start))
    };
    let all: Vec<Scenario> = match &args.replay {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            text::scenarios(&text).map_err(anyhow::Error::msg)?
        }
        None => {
            let mut all = handmade::scenarios();
            all.retain(is_wanted);
            let mut operations = 0;
            all.extend(
                (0..MOST)
                    .map(|number| generate::scenario(args.seed, number))
                    .filter(is_wanted)
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

/// What all scenarios gave.
#[derive(Default)]
struct Results {
    rows: BTreeMap<String, Row>,
    /// Scenarios that differ, with how many workers, and how.
    failing: Vec<(Scenario, usize, String)>,
    /// What wanted differences explained: the name, and where and what.
    explained: Vec<(&'static str, String)>,
}

impl Results {
    fn add(&mut self, other: Self) {
        for (name, row) in other.rows {
            let sum = self.rows.entry(name).or_default();
            sum.scenarios += row.scenarios;
            sum.operations += row.operations;
            sum.failed += row.failed;
            for (name, times) in row.named {
                *sum.named.entry(name).or_default() += times;
            }
        }
        self.failing.extend(other.failing);
        self.explained.extend(other.explained);
    }
}

/// Plays the batches, a guest on each core.
fn play_all(kernel: &Kernel, batches: Vec<Vec<Scenario>>, workers: &[usize]) -> Result<Results> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(batches.into_iter());
    let next = || waiting.lock().expect("nobody panics with it").next();
    let results = Mutex::new(Results::default());
    let run = || -> Result<()> {
        while let Some(batch) = next() {
            let played = play(kernel, &batch, workers)?;
            results.lock().expect("nobody panics with it").add(played);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let mut results = results.into_inner().expect("nobody panics with it");
    results.failing.sort_by(|(a, ..), (b, ..)| {
        (a.operations.len(), &a.name).cmp(&(b.operations.len(), &b.name))
    });
    Ok(results)
}

fn play(kernel: &Kernel, batch: &[Scenario], workers: &[usize]) -> Result<Results> {
    let seen = kernel.play(batch)?;
    let mut results = Results::default();
    for (scenario, kernel) in batch.iter().zip(&seen) {
        let row = results
            .rows
            .entry(feature(&scenario.name).to_owned())
            .or_default();
        row.scenarios += 1;
        row.operations += scenario.operations.len();
        for &count in workers {
            let weir =
                weir::play(scenario, kernel, count).with_context(|| scenario.name.clone())?;
            let outcome = compare::compare(scenario, kernel, &weir);
            for (name, times) in &outcome.named {
                *row.named.entry(name).or_default() += times;
            }
            for (name, at, what) in &outcome.explained {
                let (scenario, operation) = (&scenario.name, &scenario.operations[*at]);
                let told = format!("{scenario}, {count} workers, {at}\n{operation}\n{what}");
                results.explained.push((name, told));
            }
            if outcome.difference.is_some() {
                row.failed += 1;
                let told = compare::report(scenario, &outcome);
                results.failing.push((scenario.clone(), count, told));
            }
        }
    }
    Ok(results)
}
