//! The page that Prometheus reads: names, units and help texts by its conventions, made anew at
//! each scrape from what workers and devices have counted.
//!
//! Control only takes the readings; another thread makes the page of them, which takes longer.

mod page;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use weir_core::counters::{DropReason, Overflow, WorkerCounters};
use weir_core::persist::{Refusal, Templates};
use weir_model::ServiceKey;
use weir_model::api::{ServerState, ServerView, ServiceView, Services, Stats};
use weir_wire::Family;
use weir_worker::Handle;

use crate::devices::{Buffers, PortReport};
use crate::drops;
use crate::host::TwinCounters;
use crate::slots::SlotKey;
use crate::state::{About, BusyMeter, LastReload, State};
use page::{Labels, Page, Result};

/// The content type of the page: Prometheus's text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the page is made of.
#[derive(Debug)]
pub struct Readings {
    about: About,
    started: SystemTime,
    last_reload: LastReload,
    epoch: u64,
    services: Services,
    workers: Vec<Handle>,
    templates: Arc<Templates>,
    /// By worker.
    busy_ratios: Vec<f64>,
    imbalance_ratio: f64,
    /// By worker, of the servers that have any; the places of service and server.
    local_ratios: Vec<((usize, usize), Vec<f64>)>,
    /// With their names.
    ports: Vec<(String, PortReport)>,
    buffers: Buffers,
    /// With their ports' names.
    twins: Vec<(String, Arc<TwinCounters>)>,
}

impl State {
    /// Takes the readings.
    #[must_use]
    pub fn metrics(&self) -> Readings {
        let names = self.config().ports.iter().map(|port| port.name.clone());
        let twins = self.twins.iter().filter_map(|(id, counters)| {
            let port = self.config().ports.get(usize::from(id.0))?;
            Some((port.name.clone(), Arc::clone(counters)))
        });
        let services = self.services();
        Readings {
            about: self.about.clone(),
            started: self.started,
            last_reload: self.last_reload,
            epoch: self.epoch(),
            local_ratios: self.local_ratios(&services),
            services,
            workers: self.workers().to_vec(),
            templates: Arc::clone(self.templates()),
            busy_ratios: self.busy.iter().map(|meter| meter.ratio).collect(),
            imbalance_ratio: BusyMeter::imbalance(&self.busy),
            ports: names.zip(self.devices.ports()).collect(),
            buffers: self.devices.buffers(),
            twins: twins.collect(),
        }
    }
}

impl State {
    fn local_ratios(&self, services: &Services) -> Vec<((usize, usize), Vec<f64>)> {
        let local_use = self.local_use();
        let services = services.services.iter().enumerate();
        let keys = services.flat_map(|(at, service)| {
            let servers = service.servers.iter().enumerate();
            servers.map(move |(place, server)| ((at, place), slot_key(service, server)))
        });
        let ratios = keys.map(|(at, key)| (at, local_use.ratios(key)));
        ratios.filter(|(_, ratios)| !ratios.is_empty()).collect()
    }
}

impl Readings {
    /// The page, given away in pieces until `give` returns false.
    pub fn page(&self, mut give: impl FnMut(String) -> bool) {
        let mut page = Page::new(&mut give);
        // Where nobody wants more there is nothing left to do.
        let _ = self.fill(&mut page).and_then(|()| page.finish());
    }

    fn fill(&self, page: &mut Page<'_>) -> Result {
        self.about_metrics(page)?;
        self.service_metrics(page)?;
        self.worker_metrics(page)?;
        self.port_metrics(page)?;
        self.twin_metrics(page)
    }

    fn about_metrics(&self, page: &mut Page<'_>) -> Result {
        let about = Labels::new()
            .with("version", &self.about.version)
            .with("dpdk", &self.about.dpdk_version);
        page.gauge("weir_build_info", "Always 1; the labels tell the versions.")?
            .set(about, 1.0)?;
        page.gauge(
            "weir_start_time_seconds",
            "When the director started, in seconds since 1970.",
        )?
        .set(Labels::new(), unix_seconds(self.started))?;
        page.gauge(
            "weir_config_last_reload_successful",
            "1 when the last reload was applied, 0 when it was refused.",
        )?
        .set(Labels::new(), f64::from(u8::from(self.last_reload.is_ok)))?;
        page.gauge(
            "weir_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was taken, in seconds since 1970.",
        )?
        .set(Labels::new(), unix_seconds(self.last_reload.succeeded))?;
        page.gauge(
            "weir_epoch",
            "Raised with every change that was published to the workers.",
        )?
        .set(Labels::new(), self.epoch as f64)?;
        let mut not_kept = page.counter(
            "weir_flows_not_kept_total",
            "New flows that were forwarded without being kept, by cause: table_full, half_open, rate.",
        )?;
        for cause in Overflow::ALL {
            let labels = Labels::new().with("cause", cause.label());
            let counts = self.workers.iter().map(|w| w.counters().not_kept(cause));
            not_kept.set(labels, counts.sum::<u64>() as f64)?;
        }
        page.gauge(
            "weir_persistence_templates",
            "Clients of persistent services that are remembered now.",
        )?
        .set(Labels::new(), self.templates.len() as f64)?;
        page.gauge(
            "weir_persistence_templates_max",
            "Clients that can be remembered (limits.persistence_templates).",
        )?
        .set(Labels::new(), self.templates.capacity() as f64)?;
        let mut refused = page.counter(
            "weir_persistence_templates_refused_total",
            "New flows of clients that could not be remembered, by cause: full, contended.",
        )?;
        for cause in Refusal::ALL {
            let labels = Labels::new().with("cause", cause.label());
            let counts = self.workers.iter().map(|w| w.counters().no_template(cause));
            refused.set(labels, counts.sum::<u64>() as f64)?;
        }
        let mut drops = page.counter(
            "weir_dropped_packets_total",
            "Packets that were not forwarded, by reason; GET /v1/drops explains each.",
        )?;
        for reason in DropReason::ALL {
            let labels = Labels::new().with("reason", reason.label());
            let count = drops::count(&self.workers, *reason);
            drops.set(labels, count as f64)?;
        }
        Ok(())
    }

    fn service_metrics(&self, page: &mut Page<'_>) -> Result {
        let services = &self.services.services;
        let all = services.iter().map(|s| (service_labels(s), &s.stats));
        traffic(page, "weir_service", "the service", all)?;
        // Labels are made anew for every family: those of all servers would be a big page's memory.
        let servers = services.iter().flat_map(|service| {
            let labels = service_labels(service);
            let server = move |server| (server_labels(&labels, server), server);
            service.servers.iter().map(server)
        });
        let all = servers.clone();
        let all = all.map(|(labels, server)| (labels, &server.stats));
        traffic(page, "weir_server", "the real server", all)?;
        let mut gauge = |name, help, value: fn(&ServerView) -> f64| {
            let mut family = page.gauge(name, help)?;
            for (labels, server) in servers.clone() {
                family.set(labels, value(server))?;
            }
            Ok(())
        };
        gauge(
            "weir_server_connections_active",
            "Flows that IPVS counts as active: opening and established TCP.",
            |server| server.active as f64,
        )?;
        gauge(
            "weir_server_connections_inactive",
            "All other flows: closing TCP, and UDP.",
            |server| server.inactive as f64,
        )?;
        gauge(
            "weir_server_persistent_clients",
            "Clients that the server is remembered for (persistence templates).",
            |server| server.persistent as f64,
        )?;
        gauge(
            "weir_server_weight",
            "Its share of new flows; 0 drains.",
            |server| f64::from(server.weight),
        )?;
        gauge(
            "weir_server_up",
            "1 when it gets new flows, 0 when it is drained, full or removed.",
            |server| f64::from(u8::from(server.state == ServerState::Up)),
        )?;
        let mut family = page.gauge(
            "weir_server_local_ports_used_ratio",
            "Share of the local ports towards the server (FullNAT) that flows of the worker have.",
        )?;
        for ((service, server), ratios) in &self.local_ratios {
            let service = &services[*service];
            let labels = server_labels(&service_labels(service), &service.servers[*server]);
            for (worker, ratio) in self.workers.iter().zip(ratios) {
                let labels = labels.clone().with("worker", worker.id().0);
                family.set(labels, *ratio)?;
            }
        }
        Ok(())
    }

    fn worker_metrics(&self, page: &mut Page<'_>) -> Result {
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

    fn port_metrics(&self, page: &mut Page<'_>) -> Result {
        for (name, help, value) in PORT_COUNTERS {
            let mut family = page.counter(name, help)?;
            for (port, report) in &self.ports {
                family.set(Labels::new().with("port", port), value(report) as f64)?;
            }
        }
        let mut family = page.gauge("weir_port_up", "1 when the port's link carries packets.")?;
        for (port, report) in &self.ports {
            let labels = Labels::new().with("port", port);
            family.set(labels, f64::from(u8::from(report.link.up)))?;
        }
        let mut family = page.gauge(
            "weir_port_speed_bytes",
            "Speed of the port's link in bytes a second, where the device knows it.",
        )?;
        for (port, report) in &self.ports {
            if let Some(mbps) = report.link.speed_mbps {
                let labels = Labels::new().with("port", port);
                family.set(labels, f64::from(mbps) * 125_000.0)?;
            }
        }
        let buffers = &self.buffers;
        page.gauge("weir_packet_buffers", "Packet buffers of all ports.")?
            .set(Labels::new(), buffers.all as f64)?;
        page.gauge("weir_packet_buffers_free", "Packet buffers in no use.")?
            .set(Labels::new(), buffers.free as f64)
    }

    fn twin_metrics(&self, page: &mut Page<'_>) -> Result {
        for (name, help, to_linux, from_linux) in TWIN_COUNTERS {
            let mut family = page.counter(name, help)?;
            for (port, counters) in &self.twins {
                let labels = Labels::new().with("port", port);
                for (way, counter) in [
                    ("to_linux", to_linux(counters)),
                    ("from_linux", from_linux(counters)),
                ] {
                    let value = counter.load(Ordering::Relaxed) as f64;
                    family.set(labels.clone().with("direction", way), value)?;
                }
            }
        }
        Ok(())
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

type PortCounter = (&'static str, &'static str, fn(&PortReport) -> u64);

const PORT_COUNTERS: &[PortCounter] = &[
    (
        "weir_port_receive_packets_total",
        "Packets that the device received.",
        |port| port.rx_packets,
    ),
    (
        "weir_port_receive_bytes_total",
        "Bytes that the device received.",
        |port| port.rx_bytes,
    ),
    (
        "weir_port_receive_missed_total",
        "Packets lost because a receive queue was full.",
        |port| port.rx_missed,
    ),
    (
        "weir_port_receive_errors_total",
        "Packets received broken.",
        |port| port.rx_errors,
    ),
    (
        "weir_port_receive_no_buffer_total",
        "Packets lost for want of a packet buffer.",
        |port| port.rx_no_buffer,
    ),
    (
        "weir_port_transmit_packets_total",
        "Packets that the device sent.",
        |port| port.tx_packets,
    ),
    (
        "weir_port_transmit_bytes_total",
        "Bytes that the device sent.",
        |port| port.tx_bytes,
    ),
    (
        "weir_port_transmit_errors_total",
        "Packets that could not be sent.",
        |port| port.tx_errors,
    ),
];

type TwinCounter = (
    &'static str,
    &'static str,
    fn(&TwinCounters) -> &AtomicU64,
    fn(&TwinCounters) -> &AtomicU64,
);

const TWIN_COUNTERS: &[TwinCounter] = &[
    (
        "weir_twin_packets_total",
        "Packets between the port's twin in Linux and the workers.",
        |twin| &twin.packets_to_linux,
        |twin| &twin.packets_from_linux,
    ),
    (
        "weir_twin_bytes_total",
        "Bytes between the port's twin in Linux and the workers.",
        |twin| &twin.bytes_to_linux,
        |twin| &twin.bytes_from_linux,
    ),
    (
        "weir_twin_dropped_packets_total",
        "Packets that Linux or the workers did not take from the other.",
        |twin| &twin.dropped_to_linux,
        |twin| &twin.dropped_from_linux,
    ),
];

/// What services and servers both count.
fn traffic<'a>(
    page: &mut Page<'_>,
    prefix: &str,
    whose: &str,
    all: impl Iterator<Item = (Labels, &'a Stats)> + Clone,
) -> Result {
    let name = format!("{prefix}_connections_total");
    let help = format!("Flows scheduled to {whose}.");
    let mut family = page.counter(&name, &help)?;
    for (labels, stats) in all.clone() {
        family.set(labels, stats.connections as f64)?;
    }
    let name = format!("{prefix}_packets_total");
    let help =
        format!("Packets of {whose}: in from clients, out to them (where replies pass Weir).");
    let mut family = page.counter(&name, &help)?;
    for (labels, stats) in all.clone() {
        let out = labels.clone().with("direction", "out");
        family.set(labels.with("direction", "in"), stats.packets_in as f64)?;
        family.set(out, stats.packets_out as f64)?;
    }
    let name = format!("{prefix}_bytes_total");
    let help = format!("Bytes of those packets of {whose}, from the IP header on.");
    let mut family = page.counter(&name, &help)?;
    for (labels, stats) in all {
        let out = labels.clone().with("direction", "out");
        family.set(labels.with("direction", "in"), stats.bytes_in as f64)?;
        family.set(out, stats.bytes_out as f64)?;
    }
    Ok(())
}

fn slot_key(service: &ServiceView, server: &ServerView) -> SlotKey {
    SlotKey {
        service: service.key,
        server: weir_model::ServerKey {
            address: server.address,
            port: server.port,
        },
    }
}

/// `service` is what people call it; a service without a name is called by what tells it apart.
fn service_labels(service: &ServiceView) -> Labels {
    let name = service.name.clone();
    let name = name.unwrap_or_else(|| service.key.to_string());
    let labels = match service.key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => Labels::new()
            .with("protocol", protocol.name())
            .with("address", address)
            .with("port", port),
        ServiceKey::Mark { mark, family } => Labels::new()
            .with("mark", mark)
            .with("family", family.name()),
    };
    labels.with("service", name)
}

fn server_labels(service: &Labels, server: &ServerView) -> Labels {
    service
        .clone()
        .with("server_address", server.address)
        .with("server_port", server.port)
        .with("server", server.name.as_deref().unwrap_or_default())
        .with("method", server.method.name())
}

fn worker_labels(worker: &Handle) -> Labels {
    Labels::new().with("worker", worker.id().0)
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests;
