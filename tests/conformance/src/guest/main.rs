//! Process 1 of a user-mode Linux guest: plays scenarios to the kernel's IPVS and writes down what it
//! was seen to do.
//!
//! The host's root is mounted read-only by hostfs, so this is the host's own build of it. The
//! kernel's command line gives `BATCH`, the file of scenarios; a line of JSON for each scenario goes
//! to the file of the same name and `.seen`. No word to a file of the host waits for anything, so
//! that the guest is idle only when it wants time to pass.

mod clock;
mod ipvs;
mod netlink;
mod network;
mod sys;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use weir_conformance::answer::answer;
use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{MarkRule, Operation, Scenario};
use weir_conformance::place::{self, Leg};
use weir_conformance::seen::{Passed, Seen};
use weir_conformance::{mark, text};

use crate::clock::Clock;
use crate::ipvs::Ipvs;
use crate::network::Network;

/// Ticks in which the kernel has certainly brought its counters up to date.
const ESTIMATED: u32 = 250;

/// Modules, those that others need first.
const MODULES: &[&str] = &[
    "ipv6",
    "veth",
    "nf_conntrack",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_lc",
    "ip_vs_wlc",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_dh",
    "ip_vs_sh",
    "ip_vs_sed",
    "ip_vs_nq",
    "ip_vs_fo",
    "ip_vs_ovf",
    "ip_vs_mh",
    "ip_vs_ftp",
    "ip_vs_pe_sip",
];

fn main() {
    if let Err(error) = run() {
        complain(&error);
    }
    sys::power_off();
}

/// The console is all that is left to tell it by.
#[expect(clippy::print_stderr, reason = "process 1 has no log")]
fn complain(error: &io::Error) {
    eprintln!("conformance guest: {error}");
}

fn run() -> io::Result<()> {
    let batch = std::env::var_os("BATCH").map(PathBuf::from);
    let batch = batch.ok_or_else(|| io::Error::other("no BATCH on the command line"))?;
    let dir = batch.parent().unwrap_or(Path::new("/")).to_owned();
    sys::mount("proc", "/proc", "proc", "")?;
    let on_host = dir.display().to_string();
    sys::mount("none", &on_host, "hostfs", &on_host)?;
    load_modules()?;
    let scenarios = text::scenarios(&std::fs::read_to_string(&batch)?).map_err(io::Error::other)?;
    let mut out = batch.into_os_string();
    out.push(".seen");
    let mut out = BufWriter::new(File::create(out)?);
    let mut clock = Clock::begin(&dir)?;
    for scenario in &scenarios {
        let seen = play(&mut clock, scenario)
            .map_err(|error| io::Error::other(format!("{}: {error}", scenario.name)))?;
        serde_json::to_writer(&mut out, &seen)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Loads all modules with what they need, by the kernel's own list.
fn load_modules() -> io::Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let dir = Path::new("/usr/lib/uml/modules").join(release.trim());
    let list = std::fs::read_to_string(dir.join("modules.dep"))?;
    let name = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split('.').next().unwrap_or(file).replace('-', "_")
    };
    let lines = list.lines().filter_map(|line| line.split_once(':'));
    let known: HashMap<String, (&str, &str)> = lines
        .map(|(path, needs)| (name(path), (path, needs)))
        .collect();
    for module in MODULES {
        let missing = || io::Error::other(format!("the kernel has no module {module}"));
        let (path, needs) = known.get(*module).ok_or_else(missing)?;
        for path in needs.split_whitespace().rev() {
            sys::load_module(&dir.join(path), "")?;
        }
        let parameters = match *module {
            "ip_vs_ftp" => format!(
                "ports={}",
                place::FTP_PORTS.map(|port| port.to_string()).join(",")
            ),
            _ => String::new(),
        };
        sys::load_module(&dir.join(path), &parameters)?;
    }
    Ok(())
}

/// One scenario in networks of its own.
struct Stage<'c> {
    clock: &'c mut Clock,
    director: Network,
    /// A Linux without IPVS in the director's place.
    host: Network,
    ipvs: Ipvs,
    marks: Vec<MarkRule>,
    /// By number of frame and leg: the last frame that left because of it.
    left: HashMap<(u32, Leg), Bytes>,
}

fn play(clock: &mut Clock, scenario: &Scenario) -> io::Result<Vec<Seen>> {
    clock.begin_rates();
    let host = Network::new()?;
    let director = Network::new()?;
    let mut stage = Stage {
        ipvs: Ipvs::new()?,
        director,
        host,
        marks: Vec::new(),
        left: HashMap::new(),
        clock,
    };
    stage.clock.align();
    let operations = scenario.operations.iter();
    let seen = operations.map(|operation| {
        let seen = stage.play(operation);
        if operation.ticks() > 0 {
            stage.clock.sleep(operation.ticks());
        }
        seen.map_err(|error| io::Error::other(format!("{operation}: {error}")))
    });
    seen.collect()
}

impl Stage<'_> {
    fn play(&mut self, operation: &Operation) -> io::Result<Seen> {
        match operation {
            Operation::Frame { id, leg, bytes } => self.pass(*id, *leg, Some(bytes.clone())),
            Operation::Answer {
                id,
                to,
                from,
                answer: what,
            } => {
                let left = self.left.get(&(*to, *from));
                let frame = left.and_then(|frame| answer(&frame.0, *from, what));
                self.pass(*id, *from, frame)
            }
            Operation::Advance(ticks) => {
                let passed = self.clock.advance(*ticks)?;
                // What Linux says when it has waited for long enough is nobody's answer.
                self.director.forget()?;
                self.host.forget()?;
                Ok(Seen::Advanced(passed))
            }
            Operation::Entries => ipvs::entries().map(Seen::Entries),
            Operation::Counters => {
                let passed = self.clock.advance(ESTIMATED)?;
                Ok(Seen::Counters(passed, self.ipvs.counters()?))
            }
            Operation::Sysctl(name, value) => {
                let path = format!("/proc/sys/net/ipv4/vs/{name}");
                let written = std::fs::write(path, value.to_string());
                let errno = written
                    .err()
                    .map_or(0, |error| error.raw_os_error().unwrap_or(1));
                Ok(Seen::Command(errno))
            }
            Operation::Mtu(leg, mtu) => {
                self.director.set_mtu(*leg, *mtu)?;
                self.host.set_mtu(*leg, *mtu)?;
                Ok(Seen::Command(0))
            }
            Operation::Mark(rule) => {
                self.marks.push(rule.clone());
                Ok(Seen::Command(0))
            }
            command => self.ipvs.command(command).map(Seen::Command),
        }
    }

    fn pass(&mut self, id: u32, leg: Leg, frame: Option<Bytes>) -> io::Result<Seen> {
        let Some(frame) = frame else {
            return Ok(Seen::Frame(Passed::default()));
        };
        if !self.marks.is_empty() {
            self.director
                .set_mark(mark::of(&self.marks, leg, &frame.0))?;
        }
        let (Some(out), Some(host)) = (
            self.director.pass(leg, &frame.0)?,
            self.host.pass(leg, &frame.0)?,
        ) else {
            return Ok(Seen::Frame(Passed::default()));
        };
        for (leg, out) in Leg::ALL.into_iter().zip(&out) {
            if let Some(last) = out.last() {
                self.left.insert((id, leg), last.clone());
            }
        }
        Ok(Seen::Frame(Passed {
            frame: Some(frame),
            out,
            host,
        }))
    }
}
