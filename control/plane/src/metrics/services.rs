//! What services and their real servers carried.

use weir_model::ServiceKey;
use weir_model::api::{ServerState, ServerView, ServiceView, Stats};

use super::Readings;
use super::page::{Labels, Page, Result};
use crate::slots::SlotKey;

impl Readings {
    pub(super) fn service_metrics(&self, page: &mut Page<'_>) -> Result {
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
}

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

pub(super) fn slot_key(service: &ServiceView, server: &ServerView) -> SlotKey {
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
