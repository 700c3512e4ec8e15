//! Instructions that the worker executes per packet, counted by callgrind, and kept in the tree.
//!
//! Time on a shared machine is known to some percent; instructions of one build are known exactly.
//! They say nothing of cache misses, but a path that has grown by a twentieth did so for a reason.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use weir_core::flow::Timeouts;
use weir_wire::Family;

use crate::scenario::Mode;
use crate::site::{Place, Site};
use crate::source::{Flows, Packet, Phase};
use crate::supply::Memory;

/// Where the counts are kept, from the root of the tree.
const FILE: &str = "tests/bench/instructions.toml";

/// What counts as a change, in percent.
const TOLERANCE: f64 = 5.0;

const FLOWS: u32 = 16_384;

/// Turns before the counted ones.
const TURNS_TO_WARM_UP: u32 = 128;

/// Turns that are counted in two runs. What differs between them is what the second has more.
const TURNS: [u32; 2] = [64, 448];

/// Runs of each, of which the one with the fewest instructions counts: a worker keeps house by the
/// clock, so a run that Linux lets wait does more of it.
const RUNS: usize = 3;

/// A way of a packet through the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Path {
    Dr,
    DrNewFlow,
    DrV6,
    DrV6NewFlow,
    Tun,
    TunV6,
    NatRequest,
    NatReply,
    NatNewFlow,
    NatV6Request,
    NatV6Reply,
    NatV6NewFlow,
    FullnatRequest,
    FullnatReply,
    FullnatNewFlow,
    FullnatV6Request,
    FullnatV6Reply,
    FullnatV6NewFlow,
}

/// The packets of a path that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    NewFlows,
    Requests,
    Replies,
}

impl Path {
    const fn kind(self) -> (Family, Mode, Counted) {
        use Counted::{NewFlows, Replies, Requests};
        use Family::{V4, V6};
        match self {
            Self::Dr => (V4, Mode::Dr, Requests),
            Self::DrNewFlow => (V4, Mode::Dr, NewFlows),
            Self::DrV6 => (V6, Mode::Dr, Requests),
            Self::DrV6NewFlow => (V6, Mode::Dr, NewFlows),
            Self::Tun => (V4, Mode::Tun, Requests),
            Self::TunV6 => (V6, Mode::Tun, Requests),
            Self::NatRequest => (V4, Mode::Nat, Requests),
            Self::NatReply => (V4, Mode::Nat, Replies),
            Self::NatNewFlow => (V4, Mode::Nat, NewFlows),
            Self::NatV6Request => (V6, Mode::Nat, Requests),
            Self::NatV6Reply => (V6, Mode::Nat, Replies),
            Self::NatV6NewFlow => (V6, Mode::Nat, NewFlows),
            Self::FullnatRequest => (V4, Mode::FullNat, Requests),
            Self::FullnatReply => (V4, Mode::FullNat, Replies),
            Self::FullnatNewFlow => (V4, Mode::FullNat, NewFlows),
            Self::FullnatV6Request => (V6, Mode::FullNat, Requests),
            Self::FullnatV6Reply => (V6, Mode::FullNat, Replies),
            Self::FullnatV6NewFlow => (V6, Mode::FullNat, NewFlows),
        }
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |v| v.get_name().to_string())
    }

    fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }
}

/// Runs under callgrind: takes the path, and prints how many packets did so while it counted.
pub(crate) fn take(path: Path, turns: u32) -> Result<u64> {
    let (family, mode, counted) = path.kind();
    let method = mode.method().context("no director takes part")?;
    let place = Place::alone_in(family, method, Timeouts::default());
    // Half full, so that it matters little which seed the table drew.
    let capacity = 2 * FLOWS as usize;
    let mut site = Site::new(
        mode,
        Flows::Below(FLOWS),
        capacity,
        Memory::default(),
        place,
    );
    match counted {
        Counted::NewFlows => {
            // The worker takes the snapshot before it takes a packet.
            site.turn();
            site.desk.pass(Packet::Syn);
            site.turn();
        }
        _ => {
            site.open_unmeasured()?;
            site.desk.phase.set(match counted {
                Counted::Replies => Phase::Replies,
                _ => Phase::Requests,
            });
            for _ in 0..TURNS_TO_WARM_UP {
                site.turn();
            }
        }
    }
    let before = site.desk.given.get();
    counted_turns(&mut site, turns);
    let packets = site.desk.given.get() - before;
    site.all_came_through()?;
    Ok(packets)
}

#[inline(never)]
fn counted_turns(site: &mut Site<Memory>, turns: u32) {
    for _ in 0..turns {
        site.turn();
    }
}

/// Functions at whose entry and exit callgrind begins and stops to count. Within the counted turns
/// it so leaves out the source, whose functions the other two are; elsewhere it counts only the
/// source, the same in both runs.
const TOGGLES: [&str; 3] = [
    "*instructions*counted_turns*",
    "*weir_bench*source*fill*",
    "*weir_bench*source*take_back*",
];

/// Counts one path; instructions per packet.
fn count(path: Path) -> Result<f64> {
    let fewest = |turns| {
        let mut fewest = count_turns(path, turns)?;
        for _ in 1..RUNS {
            let run = count_turns(path, turns)?;
            fewest.0 = run.0.min(fewest.0);
        }
        Ok::<_, anyhow::Error>(fewest)
    };
    let [few, many] = TURNS.map(fewest);
    let ((few, few_packets), (many, many_packets)) = (few?, many?);
    Ok((many - few) / (many_packets - few_packets))
}

/// Runs a process of its own under callgrind; instructions and packets.
fn count_turns(path: Path, turns: u32) -> Result<(f64, f64)> {
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(TOGGLES.map(|function| format!("--toggle-collect={function}")))
        .arg(program)
        .args(["take", &path.name(), &turns.to_string()])
        .output()
        .context("valgrind cannot be run; `./x bench` installs it")?;
    let (printed, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{}: {said}", path.name());
    let packets = printed
        .trim()
        .parse()
        .with_context(|| printed.to_string())?;
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) = collected.context("callgrind does not tell what it collected")?;
    Ok((collected.trim().parse()?, packets))
}

/// Counts all paths and compares them with those kept, or keeps them.
pub(crate) fn run(update: bool) -> Result<()> {
    let now: BTreeMap<String, f64> = Path::all()
        .map(|path| Ok((path.name(), (count(path)? * 10.0).round() / 10.0)))
        .collect::<Result<_>>()?;
    if update {
        fs::write(FILE, format!("{HEAD}{}", toml::to_string(&now)?)).context(FILE)?;
    }
    let kept: BTreeMap<String, f64> =
        toml::from_str(&fs::read_to_string(FILE).context(FILE)?).context(FILE)?;
    let mut changed = 0;
    println!("{:18} {:>8} {:>8}", "path", "kept", "now");
    for (name, now) in &now {
        let kept = kept.get(name).copied();
        let word = verdict(kept, *now);
        changed += usize::from(!word.is_empty());
        let kept = kept.map_or_else(String::new, |kept| format!("{kept:.1}"));
        println!("{name:18} {kept:>8} {now:>8.1}  {word}");
    }
    if changed > 0 {
        bail!(
            "{changed} of the paths changed by more than {TOLERANCE} % in instructions per packet; \
             when that is wanted, `./x bench instructions --update` and say why in the commit"
        );
    }
    Ok(())
}

/// What is to be said of a path; nothing when it is as it was.
fn verdict(kept: Option<f64>, now: f64) -> &'static str {
    match kept.map(|kept| (now / kept - 1.0) * 100.0) {
        None => "is not kept yet",
        Some(percent) if percent > TOLERANCE => "grew",
        Some(percent) if percent < -TOLERANCE => "fell: keep what was won",
        Some(_) => "",
    }
}

const HEAD: &str = "\
# Instructions of the worker per packet, by callgrind: bursts of 32, 16384 flows, release profile.
# Written by `./x bench instructions --update`; `./x test bench` fails when one differs by 5 %.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_more_or_less_is_told() {
        assert_eq!(verdict(Some(100.0), 104.9), "");
        assert_eq!(verdict(Some(100.0), 95.1), "");
        assert_eq!(verdict(Some(100.0), 105.1), "grew");
        assert_eq!(verdict(Some(100.0), 94.9), "fell: keep what was won");
        assert_eq!(verdict(None, 1.0), "is not kept yet");
    }
}
