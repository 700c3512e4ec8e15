//! `./x bench`: what a packet costs, measured on the real worker.
//!
//! A worker of `weir-worker` takes real frames of DPDK's pool from a source in memory
//! ([`source`]) and gives them back to it. [`table`] measures all forwarding methods over numbers
//! of flows.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to people"
)]

mod check;
mod machine;
mod measure;
mod packet;
mod report;
mod scenario;
mod site;
mod source;
mod supply;
mod table;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use weir_dpdk::Frames;

use crate::report::Report;
use crate::scenario::Mode;

/// What a packet costs, measured on the real worker.
#[derive(Debug, Parser)]
#[command(name = "./x bench")]
struct Args {
    /// Forwarding methods, and `source` for source and sink alone.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source,dr,tun,nat,fullnat"
    )]
    modes: Vec<Mode>,
    /// Numbers of flows; 10 million are left out where memory does not allow them.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000,100000,1000000,10000000"
    )]
    flows: Vec<u32>,
    /// Rounds, over which median, least and greatest are taken.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round without 10 million flows: to see that it works.
    #[arg(long)]
    quick: bool,
    /// The core of the worker.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Huge pages of 2 MB to reserve besides those for frames, for the flow table.
    #[arg(long, default_value_t = 0)]
    huge_pages: u64,
    /// Writes the results as data.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Memory that a flow may take in the worst mode, source included, in bytes.
const FLOW_BYTES_MAX: u64 = 300;

fn main() -> Result<()> {
    let mut args = Args::parse();
    if args.quick {
        args.rounds = 1;
        args.flows.retain(|flows| *flows < 10_000_000);
    }
    args.flows.retain(|flows| {
        let fits = u64::from(*flows) * FLOW_BYTES_MAX < machine::available_bytes();
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
    let pages = machine::HugePages::reserve(machine::FRAME_PAGES + args.huge_pages);
    let report = measure(&args, &pages)?;
    println!("{}", report.table());
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text + "\n").with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn measure(args: &Args, pages: &machine::HugePages) -> Result<Report> {
    let (eal, frame_pages) = machine::start_dpdk(pages)?;
    let frames = Frames::new(&eal, 2, 8192)?;
    weir_worker::pin(args.core)?;
    let _registered = frames.register_thread()?;
    let ns = if args.quick { 100_000_000 } else { 500_000_000 };
    let tell = |line: &str| eprintln!("{line}");
    let results = table::run(&args.modes, &args.flows, args.rounds, ns, &frames, tell)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Report {
        unix_time: now.as_secs(),
        cpu: machine::cpu_model(),
        core: args.core,
        frame_pages: frame_pages.to_string(),
        transparent_huge_pages: machine::transparent_huge_pages(),
        rounds: args.rounds,
        packet_bytes: 64,
        results,
    })
}
