//! The daemon, its workers, and what was not forwarded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of `weird`.
    pub version: String,
    /// Version of DPDK it runs on.
    pub dpdk_version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The configuration it was started with.
    pub config_file: String,
    /// Raised with every change that was published to the workers.
    pub epoch: u64,
}

/// The answer of `GET /v1/workers`, by their number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workers {
    /// Who owns a flow among them, and why, in a sentence.
    pub steering: String,
    /// How many times the mean of all workers' packets the busiest one had in the last seconds; 1:
    /// all had as many.
    pub imbalance_ratio: f64,
    /// The workers.
    pub workers: Vec<WorkerView>,
}

/// One worker. Counters are since start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// Its number, from 0.
    pub id: u16,
    /// The core it is pinned to.
    pub core: Option<u16>,
    /// The epoch it works by.
    pub epoch: u64,
    /// Flows it holds.
    pub flows: u64,
    /// Flows it can hold.
    pub flows_max: u64,
    /// Flows made.
    pub flows_created: u64,
    /// Flows that timed out.
    pub flows_expired: u64,
    /// Packets received from ports.
    pub packets_received: u64,
    /// Packets that other workers handed to it.
    pub packets_taken_over: u64,
    /// Packets of flows sent on to a server or client.
    pub packets_forwarded: u64,
    /// Packets given to Linux.
    pub packets_punted: u64,
    /// Packets from Linux sent out of a port.
    pub packets_from_linux: u64,
    /// Packets handed to the worker that owns their flow.
    pub packets_handed_off: u64,
    /// Packets that were not forwarded, for any reason.
    pub packets_dropped: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// Share of turns in the last seconds that found a packet, from 0 to 1.
    pub busy_ratio: f64,
    /// Its longest turn, in microseconds.
    pub longest_turn_us: u64,
}

/// The answer of `GET /v1/drops`: every reason there is, those that never happened too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drops {
    /// The reasons.
    pub drops: Vec<DropView>,
}

/// Packets that were not forwarded for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DropView {
    /// The reason, as it is labelled in metrics.
    pub reason: String,
    /// What it means, in a sentence.
    pub help: String,
    /// Packets since start.
    pub packets: u64,
    /// One of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DropSampleView>,
}

/// One packet that was not forwarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DropSampleView {
    /// Seconds ago.
    pub age_seconds: f64,
    /// The port it came in by.
    pub port: String,
    /// Its headers in a line, as `tcpdump` would put it.
    pub summary: String,
}

/// The answer of `POST /v1/reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The epoch in which the workers now work, or soon will.
    pub epoch: u64,
    /// What changed, a sentence each; empty: the file says what was so already. After 1000 one more
    /// tells how many are left out.
    pub changes: Vec<String>,
}
