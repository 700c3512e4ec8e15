//! The page that Prometheus reads: names, units and help texts by its conventions, made anew at
//! each scrape from what workers and devices have counted.
//!
//! Control only takes the readings; another thread makes the page of them, which takes longer.

mod page;
mod ports;
mod services;
mod workers;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use weir_core::counters::{DropReason, Overflow};
use weir_core::persist::{Refusal, Templates};
use weir_model::api::Services;
use weir_worker::Handle;

use crate::devices::{Buffers, PortReport};
use crate::drops;
use crate::host::TwinCounters;
use crate::state::{About, BusyMeter, LastReload, State};
use page::{Labels, Page, Result};
use services::slot_key;

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
    /// By worker.
    are_stalled: Vec<bool>,
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
            are_stalled: self.pulse.are_stalled().collect(),
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
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
