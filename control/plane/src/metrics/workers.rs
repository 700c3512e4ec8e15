//! What workers did, and how full they are.

use weir_core::counters::WorkerCounters;
use weir_wire::Family;
use weir_worker::Handle;

use super::Readings;
use super::page::{Labels, Page, Result};

impl Readings {
    pub(super) fn worker_metrics(&self, page: &mut Page<'_>) -> Result {
        for (name, help, value) in WORKER_COUNTERS {
            let mut family = page.counter(name, help)?;
            for worker in &self.workers {
                family.set(worker_labels(worker), value(worker.counters()))?;
            }
        }
        let families = [("ipv4", Family::V4), ("ipv6", Family::V6)];
        for (name, help, value) in TABLE_GAUGES {
            let mut family = page.gauge(name, help)?;
            for worker in &self.workers {
                for (label, of) in families {
                    let labels = worker_labels(worker).with("family", label);
                    family.set(labels, value(&worker.flows_of(of)))?;
                }
            }
        }
        for (name, help, value) in WORKER_GAUGES {
            let mut family = page.gauge(name, help)?;
            for worker in &self.workers {
                family.set(worker_labels(worker), value(worker))?;
            }
        }
        let mut family = page.counter(
            "weir_drained_flows_total",
            "Flows ended because their server's time to drain was over, by end: reset, or removed where \
             nobody could be told.",
        )?;
        for worker in &self.workers {
            let counters = worker.counters();
            for (end, counter) in [
                ("reset", &counters.drained_reset),
                ("removed", &counters.drained_removed),
            ] {
                let labels = worker_labels(worker).with("end", end);
                family.set(labels, counter.get() as f64)?;
            }
        }
        let mut family = page.gauge(
            "weir_worker_stalled",
            "1 while the worker makes no turn, which the log tells and systemd hears no more of life.",
        )?;
        for (worker, is_stalled) in self.workers.iter().zip(&self.are_stalled) {
            family.set(worker_labels(worker), f64::from(u8::from(*is_stalled)))?;
        }
        let mut family = page.gauge(
            "weir_worker_busy_ratio",
            "Share of turns in the last seconds that found a packet.",
        )?;
        for (worker, ratio) in self.workers.iter().zip(&self.busy_ratios) {
            family.set(worker_labels(worker), *ratio)?;
        }
        page.gauge(
            "weir_workers_imbalance_ratio",
            "Packets of the busiest worker in the last seconds, received or taken over, to the mean of all.",
        )?
        .set(Labels::new(), self.imbalance_ratio)
    }
}

type CounterOf<T> = (&'static str, &'static str, fn(&T) -> f64);

const WORKER_COUNTERS: &[CounterOf<WorkerCounters>] = &[
    (
        "weir_worker_received_packets_total",
        "Packets that the worker took from receive queues.",
        |c| c.packets_received() as f64,
    ),
    (
        "weir_worker_forwarded_packets_total",
        "Packets of flows sent on to a real server or client.",
        |c| c.forwarded.get() as f64,
    ),
    (
        "weir_worker_punted_packets_total",
        "Packets given to Linux.",
        |c| c.punted.get() as f64,
    ),
    (
        "weir_worker_from_linux_packets_total",
        "Packets from Linux sent out of a port.",
        |c| c.from_linux.get() as f64,
    ),
    (
        "weir_worker_handed_off_packets_total",
        "Packets handed to the worker that owns their flow.",
        |c| c.handed_off.get() as f64,
    ),
    (
        "weir_worker_taken_over_packets_total",
        "Packets that other workers handed to this one.",
        |c| c.taken_over.get() as f64,
    ),
    (
        "weir_worker_unparked_packets_total",
        "Packets that waited for a neighbour and were then sent.",
        |c| c.unparked.get() as f64,
    ),
    (
        "weir_worker_icmp_errors_sent_total",
        "ICMP errors made.",
        |c| c.icmp_sent.get() as f64,
    ),
    ("weir_worker_resets_sent_total", "TCP resets made.", |c| {
        c.resets_sent.get() as f64
    }),
    (
        "weir_worker_answers_suppressed_total",
        "ICMP errors and TCP resets that were due but over limits.icmp_per_second.",
        |c| c.answers_suppressed.get() as f64,
    ),
    (
        "weir_worker_fragments_sent_total",
        "IP fragments made of packets bigger than the MTU.",
        |c| c.fragments_sent.get() as f64,
    ),
    (
        "weir_worker_reassembled_packets_total",
        "Packets put together from IP fragments.",
        |c| c.reassembled.get() as f64,
    ),
    ("weir_flows_created_total", "Flows made.", |c| {
        c.flows_created.get() as f64
    }),
    (
        "weir_flows_expired_total",
        "Flows that timed out, or that a defence or the removal of their server ended.",
        |c| c.flows_expired.get() as f64,
    ),
    (
        "weir_drain_probes_total",
        "Segments sent to the ends of silent flows whose server's time to drain was over.",
        |c| c.drain_probes.get() as f64,
    ),
    (
        "weir_flows_adopted_total",
        "Flows made of connections that began while flows were not kept.",
        |c| c.adopted.get() as f64,
    ),
    (
        "weir_ftp_unaided_total",
        "Control and data connections of FTP that got no help: no room for them, or not allowed.",
        |c| c.ftp_unaided.get() as f64,
    ),
    (
        "weir_worker_stateless_packets_total",
        "Packets forwarded without a flow, to a server chosen by consistent hash.",
        |c| c.stateless.get() as f64,
    ),
    (
        "weir_worker_turns_total",
        "Turns of the worker's loop.",
        |c| c.turns.get() as f64,
    ),
    (
        "weir_worker_busy_turns_total",
        "Turns that found a packet.",
        |c| c.turns_busy.get() as f64,
    ),
    (
        "weir_worker_slept_seconds_total",
        "Time asleep in adaptive idle mode.",
        |c| seconds(c.slept_ns.get()),
    ),
];

const TABLE_GAUGES: &[CounterOf<(usize, u64)>] = &[
    (
        "weir_flow_table_entries",
        "Flows that the worker holds now, by family.",
        |(_, held)| *held as f64,
    ),
    (
        "weir_flow_table_capacity",
        "Flows that the worker can hold, by family.",
        |(most, _)| *most as f64,
    ),
];

const WORKER_GAUGES: &[CounterOf<Handle>] = &[
    (
        "weir_flows_half_open",
        "TCP flows now whose handshake is not complete; compare limits.half_open_per_worker.",
        |worker| worker.counters().half_open.get() as f64,
    ),
    (
        "weir_worker_longest_turn_seconds",
        "The longest turn since start.",
        |worker| seconds(worker.counters().turn_longest_ns.get()),
    ),
    (
        "weir_worker_epoch",
        "The published change that the worker decides by; compare weir_epoch.",
        |worker| worker.adopted_epoch() as f64,
    ),
];

fn worker_labels(worker: &Handle) -> Labels {
    Labels::new().with("worker", worker.id().0)
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
