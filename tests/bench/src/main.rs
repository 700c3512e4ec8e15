//! `./x bench`: what a packet costs, measured on the real worker.
//!
//! A worker of `weir-worker` takes real frames of DPDK's pool from a [`source`] in memory and
//! gives them back to it. The parts, each in its file: the [`table`] of all forwarding methods
//! over numbers of flows, connections that come and go ([`churn`]), single [`steps`], DPDK's own
//! forwarder ([`testpmd`]), several [`workers`]; apart from those, [`instructions`] and [`plot`].
//! How time is taken is in [`mod@measure`].
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to people"
)]

mod check;
mod churn;
mod expiry;
mod instructions;
mod machine;
mod measure;
mod packet;
mod plot;
mod report;
mod scenario;
mod site;
mod source;
mod steps;
mod supply;
mod table;
mod testpmd;
mod workers;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand, ValueEnum};
use weir_dpdk::Frames;

use crate::churn::Churn;
use crate::measure::Meter;
use crate::report::Report;
use crate::scenario::Mode;
use crate::steps::Steps;
use crate::table::Table;
use crate::testpmd::Testpmd;

/// What a packet costs, measured on the real worker.
#[derive(Debug, Parser)]
#[command(name = "./x bench", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draws nanoseconds a packet over flows.
    Plot {
        /// What `--json` wrote.
        results: PathBuf,
        /// The SVG to write.
        out: PathBuf,
    },
    /// Counts instructions per packet and compares them with those kept in the tree.
    Instructions {
        /// Keeps what was counted.
        #[arg(long)]
        update: bool,
    },
    /// Takes one path, to be counted by callgrind.
    #[command(hide = true)]
    Take {
        path: instructions::Path,
        turns: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Measure {
    /// Forwarding methods, and `source` for source and sink alone.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source,dr,tun,nat,fullnat"
    )]
    modes: Vec<Mode>,
    /// Numbers of flows; those for which there is not enough memory are left out.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000,100000,1000000,10000000"
    )]
    flows: Vec<u32>,
    /// What to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "table,churn,expiry,steps,testpmd"
    )]
    parts: Vec<Part>,
    /// Compares so many workers with one, instead of the parts.
    #[arg(long, value_name = "N")]
    workers: Option<u16>,
    /// Rounds, over which median, least and greatest are taken.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round without 10 million flows: to see that it works.
    #[arg(long)]
    quick: bool,
    /// The core of the worker; several workers take the first cores.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Huge pages of 2 MB to reserve besides those for frames, for the flow table.
    #[arg(long, default_value_t = 0)]
    huge_pages: u64,
    /// Writes the results as data.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Packets of established flows, and flows opened and reset.
    Table,
    /// Connections made and ended for ever.
    Churn,
    /// Flows that end by time, all at once; in the first round only.
    Expiry,
    /// Lookup, insert and schedule alone.
    Steps,
    /// DPDK's own forwarder beside ours.
    Testpmd,
}

/// Memory that a flow may take in the worst mode, source included, in bytes.
const FLOW_BYTES_MAX: u64 = 300;

/// Room in the table for connections that come and go: at four million a second, each lives
/// for one and a half seconds.
const CHURN_FLOWS: u64 = 10_000_000;

fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Command::Plot { results, out }) => plot::draw(&results, &out),
        Some(Command::Instructions { update }) => instructions::run(update),
        Some(Command::Take { path, turns }) => {
            println!("{}", instructions::take(path, turns)?);
            Ok(())
        }
        None => measure(args.measure),
    }
}

fn measure(mut args: Measure) -> Result<()> {
    if args.quick {
        args.rounds = 1;
        args.flows.retain(|flows| *flows < 10_000_000);
    }
    let flows_max = machine::available_bytes() / FLOW_BYTES_MAX;
    args.flows.retain(|flows| {
        let fits = u64::from(*flows) < flows_max;
        if !fits {
            eprintln!("{flows} flows are left out: not enough memory");
        }
        fits
    });
    args.modes.retain(|mode| {
        let is_there = *mode == Mode::Source || mode.method().is_some();
        if !is_there {
            eprintln!(
                "{} is left out: the director has not got it yet",
                mode.name()
            );
        }
        is_there
    });
    let pages = machine::HugePages::reserve(machine::FRAME_PAGES * 2 + args.huge_pages)?;
    let report = run(&args, &pages, CHURN_FLOWS.min(flows_max) as usize)?;
    println!("{}", report.tables()?);
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text + "\n").with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// All rounds. What is compared is measured in turn in each round, so that it sees the same noise.
fn run(args: &Measure, pages: &machine::HugePages, churn_flows: usize) -> Result<Report> {
    let date = machine::date();
    let (eal, is_huge) = machine::start_dpdk(pages)?;
    let frames = Frames::new(&eal, args.workers.unwrap_or(1) + 1, 8192)?;
    let time = Duration::from_millis(if args.quick { 100 } else { 500 });
    let ns = time.as_nanos() as u64;
    let mut table = Table::new(&args.modes, &args.flows);
    let mut churn = Churn::new(&args.modes, churn_flows);
    let mut steps = Steps::new(&args.flows);
    let mut testpmd = Testpmd::default();
    let mut expiry = Vec::new();
    let mut workers = Vec::new();
    if let Some(count) = args.workers {
        workers = workers::run(
            &args.modes,
            &args.flows,
            count,
            args.rounds,
            time * 2,
            &frames,
        )?;
    } else {
        let mut meter = on_core(args.core, &frames, || Ok(Meter::new()))?;
        for round in 1..=args.rounds {
            eprintln!("round {round} of {}", args.rounds);
            for part in &args.parts {
                if *part == Part::Testpmd {
                    testpmd.round(args.core, is_huge, time)?;
                    continue;
                }
                on_core(args.core, &frames, || match part {
                    Part::Table => table.round(&mut meter, ns, &frames),
                    Part::Churn => churn.round(&mut meter, &frames),
                    Part::Expiry if round > 1 => Ok(()),
                    Part::Expiry => {
                        for flows in args.flows.iter().filter(|flows| **flows >= 100_000) {
                            expiry.push(expiry::measure(*flows, &frames)?);
                        }
                        Ok(())
                    }
                    Part::Steps => steps.round(&mut meter, ns / 2),
                    Part::Testpmd => Ok(()),
                })?;
            }
        }
    }
    let pages = if is_huge { "2 MB" } else { "4 KB" };
    Ok(Report {
        date,
        cpu: machine::cpu_model(),
        core: args.core,
        frame_pages: pages.to_string(),
        transparent_huge_pages: machine::transparent_huge_pages(),
        rounds: args.rounds,
        packet_bytes: 64,
        results: table.outcomes(),
        churn: churn.outcomes(),
        expiry,
        steps: steps.outcomes(),
        testpmd: testpmd.outcomes(),
        workers,
    })
}

/// Does `work` on a thread that is pinned to `core` and known to DPDK, as a worker is. The main
/// thread stays free: what it starts inherits its cores.
fn on_core<T: Send>(
    core: usize,
    frames: &Frames,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let done = thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            weir_worker::pin(core)?;
            let _registered = frames.register_thread()?;
            work()
        });
        pinned.join()
    });
    done.map_err(|_| anyhow!("the measuring thread panicked"))?
}
