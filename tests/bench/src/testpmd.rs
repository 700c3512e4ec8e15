//! DPDK's own forwarder beside ours: `dpdk-testpmd` on two in-memory devices, net_null.
//!
//! What is compared: net_null takes an empty mbuf from the pool for each packet and testpmd gives
//! it back; `io` moves packets without looking at them, `macswap` reads and writes their Ethernet
//! header (zeros here: net_null writes nothing). It is what a packet costs DPDK at least, with no
//! packet made, parsed, looked up or rewritten.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::measure::Spread;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

const PORTS: usize = 2;

/// How testpmd forwards.
const WAYS: [&str; 2] = ["io", "macswap"];

/// Million packets per CPU second of testpmd's forwarding thread.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TestpmdOutcome {
    pub(crate) forwarding: String,
    pub(crate) million_per_second: Spread,
}

/// Measures over rounds.
#[derive(Debug, Default)]
pub(crate) struct Testpmd {
    /// By way: nanoseconds a packet.
    ns: [Vec<f64>; WAYS.len()],
}

impl Testpmd {
    /// One round, `time` for each way.
    pub(crate) fn round(&mut self, core: usize, huge: bool, time: Duration) -> Result<()> {
        let mut process = Process::start(core, huge)?;
        for (way, ns) in WAYS.iter().zip(&mut self.ns) {
            process.say(&format!("set fwd {way}"))?;
            process.say("start")?;
            thread::sleep(time / 5);
            let before = process.packets_and_ns()?;
            thread::sleep(time);
            let after = process.packets_and_ns()?;
            process.say("stop")?;
            ns.push((after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64);
        }
        Ok(())
    }

    pub(crate) fn outcomes(&self) -> Vec<TestpmdOutcome> {
        let each = WAYS.iter().zip(&self.ns).filter(|(_, ns)| !ns.is_empty());
        each.map(|(way, ns)| TestpmdOutcome {
            forwarding: (*way).to_string(),
            million_per_second: Spread::of_rates(ns.iter().copied()),
        })
        .collect()
    }
}

/// A running testpmd. It is ended when this is dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(core: usize, huge: bool) -> Result<Self> {
        let prefix = format!("weir-testpmd-{}", std::process::id());
        let memory: &[&str] = if huge {
            &["--in-memory"]
        } else {
            &["--no-huge", "-m", "64"]
        };
        // It answers by whole lines then; without, only when it ends.
        let mut child = Command::new("stdbuf")
            .args(["-oL", "dpdk-testpmd"])
            .args(["--no-pci", "--no-telemetry", "--file-prefix", &prefix])
            .args(memory)
            // The prompt may run anywhere, forwarding on the worker's core.
            .args(["--main-lcore", "0", "--lcores"])
            .arg(format!("0@(0-{}),1@{core}", last_core()))
            .args(["--vdev", "net_null0", "--vdev", "net_null1", "--", "-i"])
            .args(["--nb-cores=1", "--total-num-mbufs=4096"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("dpdk-testpmd cannot be run; `./x bench` installs it")?;
        let input = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once it is being ended.
                let _ = sender.send(line);
            }
        });
        Ok(Self {
            child,
            input,
            lines,
        })
    }

    fn say(&mut self, command: &str) -> Result<()> {
        writeln!(self.input, "{command}").context("testpmd has ended")
    }

    /// Packets sent by all ports so far, and the CPU time of the forwarding thread.
    fn packets_and_ns(&mut self) -> Result<(u64, u64)> {
        self.say("show port stats all")?;
        let mut packets = 0;
        for _ in 0..PORTS {
            packets += self.next_number("TX-packets:")?;
        }
        Ok((packets, self.forwarding_ns()?))
    }

    /// The number behind `label` in the next line that begins with it.
    fn next_number(&self, label: &str) -> Result<u64> {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                bail!("dpdk-testpmd did not answer within {PATIENCE:?}");
            };
            // Those of the ports; the summary at a stop has more in its line.
            if let Some(rest) = line.trim_start().strip_prefix(label)
                && line.contains("TX-errors:")
            {
                let number = rest.split_whitespace().next();
                return number.context("no number")?.parse().context(line.clone());
            }
        }
    }

    fn forwarding_ns(&self) -> Result<u64> {
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.trim() == "rte-worker-1" {
                let schedstat = fs::read_to_string(task.join("schedstat"))?;
                let ns = schedstat.split_whitespace().next();
                return Ok(ns.context("an empty schedstat")?.parse()?);
            }
        }
        bail!("dpdk-testpmd has no forwarding thread")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.say("quit");
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        // It does not listen.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_core() -> usize {
    thread::available_parallelism().map_or(0, |cores| cores.get() - 1)
}
