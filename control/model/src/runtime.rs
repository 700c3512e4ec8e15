//! `[eal]` and `[workers]`: what the process takes from the machine.

use crate::fault::Problem;
use crate::reader::{Choice, Section};

/// `[eal]`: how DPDK's environment starts. None of it changes on a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eal {
    /// Packet memory lies in huge pages; `false` hands `--no-huge` to EAL. Default `true`.
    pub huge_pages: bool,
    /// Memory for packets and queues, in MiB; 64 to 1 048 576, default 512.
    pub memory_mb: u32,
    /// Tells several DPDK processes on one machine apart (`--file-prefix`). Default `weir`.
    pub file_prefix: String,
    /// EAL looks for PCI devices; `false` hands `--no-pci` to it. Default `true`.
    pub pci: bool,
    /// PMD plug-ins that EAL loads (`-d`), one path or library name each. Default none.
    pub plugins: Vec<String>,
    /// Handed to EAL as they are, after everything else. Default none.
    pub extra_args: Vec<String>,
}

/// `[workers]`: the cores that forward. None of it changes on a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// One worker is pinned to each; 1 to 128 distinct cores, default `[1]`, which leaves core 0
    /// to Linux and to the control plane.
    pub cores: Vec<u16>,
    /// What a worker does when its queues are empty. Default `busy`.
    pub idle: Idle,
    /// Longest sleep with `adaptive`, in microseconds; 1 to 10 000, default 200. When raised, a
    /// packet after a quiet time waits longer.
    pub idle_sleep_us_max: u32,
}

/// What a worker does when its queues are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idle {
    /// Asks again at once: the core is always at 100 %.
    Busy,
    /// Sleeps a little longer each time it finds nothing.
    Adaptive,
}

impl Choice for Idle {
    const NOUN: &'static str = "way to be idle";
    const WORDS: &'static [(&'static str, Self)] =
        &[("busy", Idle::Busy), ("adaptive", Idle::Adaptive)];
}

impl Eal {
    pub(crate) fn read(s: Section<'_>) -> Self {
        let eal = Eal {
            huge_pages: s.bool("huge_pages", true),
            memory_mb: s.number("memory_mb", "MiB", 512, 64..=1_048_576),
            file_prefix: s.text("file_prefix", "weir".to_owned(), file_prefix),
            pci: s.bool("pci", true),
            plugins: s.texts("plugins", plugin),
            extra_args: s.texts("extra_args", extra_arg),
        };
        s.finish();
        eal
    }
}

impl Workers {
    /// Most workers there can be.
    pub const MAX: usize = 128;

    pub(crate) fn read(s: Section<'_>) -> Self {
        let workers = Workers {
            cores: s.numbers("cores", "core numbers", &[1], 0..=1023),
            idle: s.choice("idle", Idle::Busy),
            idle_sleep_us_max: s.number("idle_sleep_us_max", "microseconds", 200, 1..=10_000),
        };
        workers.check(&s);
        s.finish();
        workers
    }

    fn check(&self, s: &Section<'_>) {
        for (index, core) in self.cores.iter().enumerate() {
            if self.cores[..index].contains(core) {
                let problem = format!("core {core} is named twice");
                let cure = "name each core once: a core carries one worker";
                s.fault(&format!("cores[{index}]"), Problem::new(problem, cure));
            }
        }
        if self.cores.is_empty() {
            let cure = "name at least one core, such as [1]";
            s.fault("cores", Problem::new("no core is named", cure));
        }
        if self.cores.len() > Self::MAX {
            let problem = format!("{} cores are more than {}", self.cores.len(), Self::MAX);
            let cure = format!("name {} at most", Self::MAX);
            s.fault("cores", Problem::new(problem, cure));
        }
    }
}

/// A file name of the run-time directory, so no slash and no blank.
fn file_prefix(text: &str) -> Result<String, Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_plain) || text.starts_with('.') {
        return Err(Problem::new(
            format!("{text:?} cannot be part of a file name"),
            "give up to 64 letters, digits, '_', '-' or '.'",
        ));
    }
    Ok(text.to_owned())
}

fn plugin(text: &str) -> Result<String, Problem> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err(Problem::new(
            "is empty",
            "give the path of a PMD, such as \"/usr/lib/librte_net_x.so\"",
        ));
    }
    Ok(text.to_owned())
}

/// EAL options that other keys stand for: given twice, EAL would refuse or silently prefer one.
const TAKEN_ARGS: &[(&str, &str)] = &[
    ("--no-huge", "eal.huge_pages = false"),
    ("-m", "eal.memory_mb"),
    ("--file-prefix", "eal.file_prefix"),
    ("--no-pci", "eal.pci = false"),
    ("-d", "eal.plugins"),
    ("-l", "workers.cores"),
    ("-c", "workers.cores"),
    ("--lcores", "workers.cores"),
    ("--vdev", "a [[port]] with that device"),
];

fn extra_arg(text: &str) -> Result<String, Problem> {
    if text.is_empty() || text.contains('\0') {
        return Err(Problem::new("is empty", "give one EAL argument per entry"));
    }
    let option = text.split_once('=').map_or(text, |(option, _)| option);
    match TAKEN_ARGS.iter().find(|(taken, _)| *taken == option) {
        Some((_, key)) => Err(Problem::new(
            format!("{option} has its own key"),
            format!("use {key}"),
        )),
        None => Ok(text.to_owned()),
    }
}
