//! The machine: huge pages, DPDK's environment, memory, and what it is called.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use weir_dpdk::{Eal, EalConfig};

const NR_HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Huge pages that are reserved while this lives; afterwards as many as before, also when a signal
/// ends the process.
#[derive(Debug)]
pub(crate) struct HugePages {
    before: Option<u64>,
    /// Pages that can be had, 0 for none.
    pub(crate) free: u64,
}

impl HugePages {
    /// Reserves `count` more when this user may; else takes what there is.
    pub(crate) fn reserve(count: u64) -> Result<Self> {
        let before = fs::read_to_string(NR_HUGE_PAGES).ok();
        let before = before.and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(before) = before {
            at_a_signal(move || set_huge_pages(before))?;
        }
        let before = before.filter(|before| set_huge_pages(before + count));
        Ok(Self {
            before,
            free: meminfo("HugePages_Free:").unwrap_or(0),
        })
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // Nothing can be done when it fails.
            set_huge_pages(before);
        }
    }
}

/// True when it could be written.
fn set_huge_pages(count: u64) -> bool {
    fs::write(NR_HUGE_PAGES, count.to_string()).is_ok()
}

/// Does `last` and ends the process at SIGINT or SIGTERM.
fn at_a_signal(last: impl FnOnce() -> bool + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok::<_, std::io::Error>((interrupt, signal(SignalKind::terminate())?))
    })?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        });
        last();
        std::process::exit(130);
    });
    Ok(())
}

/// Starts DPDK without any device; on huge pages, and says so, when there are enough of 2 MB for
/// the frames.
pub(crate) fn start_dpdk(pages: &HugePages) -> Result<(Eal, bool)> {
    let prefix = format!("weir-bench-{}", std::process::id());
    let common = ["--no-pci", "--file-prefix", &prefix];
    let is_huge = pages.free >= FRAME_PAGES;
    let memory: &[&str] = match is_huge {
        true => &["--in-memory"],
        false => &["--no-huge", "-m", "64"],
    };
    let args = common.iter().chain(memory).map(|arg| (*arg).to_string());
    let eal = Eal::init(&EalConfig {
        args: args.collect(),
    })
    .context("the benchmarks take real frames from DPDK")?;
    Ok((eal, is_huge))
}

/// Huge pages for the frames.
pub(crate) const FRAME_PAGES: u64 = 32;

fn meminfo(label: &str) -> Option<u64> {
    field("/proc/meminfo", label)
}

/// The first number behind `label` at the beginning of a line of `file`.
fn field(file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory that can be taken, in bytes.
pub(crate) fn available_bytes() -> u64 {
    meminfo("MemAvailable:").unwrap_or(0) * 1024
}

/// Memory that this process has touched, huge pages included, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let of = |label| field("/proc/self/status", label).unwrap_or(0);
    (of("VmRSS:") + of("HugetlbPages:")) * 1024
}

/// Now, as RFC 3339 has it.
pub(crate) fn date() -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.unwrap_or_default()
}

/// The processor's name.
pub(crate) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = name.unwrap_or_default();
    name.trim_start_matches([':', ' ', '\t']).to_string()
}

/// How Linux gives transparent huge pages.
pub(crate) fn transparent_huge_pages() -> String {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let text = text.unwrap_or_default();
    let chosen = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    chosen.map_or("none", |(chosen, _)| chosen).to_string()
}
