//! The state as the API tells it.

use std::collections::HashMap;
use std::time::Instant;

use weir_core::counters::DropReason;
use weir_model::api::{
    Drops, Neighbours, PortView, Ports, Problem, Routes, ServerState, ServerView, ServiceView,
    Services, Stats, Status, WorkerView, Workers,
};
use weir_model::{ServerKey, Service, ServiceKey};

use crate::compile::model_method;
use crate::draft::{find_server, no_server, no_service};
use crate::local::LocalUse;
use crate::slots::{SlotKey, Slots};
use crate::state::{BusyMeter, State};
use crate::totals::FlowCounts;

impl State {
    /// The daemon.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            version: self.about.version.clone(),
            dpdk_version: self.about.dpdk_version.clone(),
            pid: std::process::id(),
            uptime_seconds: self.started_at.elapsed().as_secs(),
            config_file: self.file_name().to_owned(),
            epoch: self.epoch(),
        }
    }

    /// The service that `word` names: its key, or its name.
    ///
    /// # Errors
    /// There is none.
    pub fn find_service(&self, word: &str) -> Result<&Service, Problem> {
        let found = match word.parse() {
            Ok(key) => self.service(&key),
            Err(_) => {
                let mut services = self.config().services.iter();
                services.find(|service| service.name.as_deref() == Some(word))
            }
        };
        found.ok_or_else(|| no_service(word))
    }

    /// The server that `word` names, by its address and port or its name, of a service that
    /// `service` names.
    ///
    /// # Errors
    /// There is none.
    pub fn find_server(&self, service: &str, word: &str) -> Result<SlotKey, Problem> {
        let service = self.find_service(service)?;
        let place = find_server(service, word);
        let place = place.ok_or_else(|| no_server(service, word))?;
        Ok(SlotKey {
            service: service.key,
            server: service.servers[place].key(),
        })
    }

    /// One service, with its servers.
    ///
    /// # Errors
    /// There is none that `word` names.
    pub fn service_view(&self, word: &str) -> Result<ServiceView, Problem> {
        let service = self.find_service(word)?;
        let mut views = self.views(std::slice::from_ref(service)).services;
        views.pop().ok_or_else(|| no_service(word))
    }

    /// Services and servers, with those that were removed and are remembered by flows.
    #[must_use]
    pub fn services(&self) -> Services {
        self.views(&self.config().services)
    }

    fn views(&self, services: &[Service]) -> Services {
        let totals = self.compiler.service_totals(self.workers());
        let removed = self.removed_servers();
        let local_use = self.local_use();
        let view = |service: &Service| {
            let key = service.key;
            let carried = totals.get(&key).copied().unwrap_or_default();
            ServiceView {
                key,
                name: service.name.clone(),
                scheduler: service.scheduler,
                scheduler_flags: {
                    let words = service.scheduler_flags.words(service.scheduler);
                    words.into_iter().map(str::to_owned).collect()
                },
                one_packet: service.one_packet,
                persistence_timeout: service.persistence_timeout,
                persistence_mask: {
                    let mask = service.persistence_mask;
                    (!mask.is_whole()).then_some(mask)
                },
                persistence_engine: service.persistence_engine,
                local_addresses: service.local_addresses.clone(),
                local_ports: (!service.local_addresses.is_empty()).then_some(service.local_ports),
                stats: carried.stats(self.compiler.service_rates(key)),
                servers: self.servers(service, removed.get(&key), &local_use),
            }
        };
        let services = services.iter().map(view);
        Services {
            services: services.collect(),
        }
    }

    /// Those that left the configuration and are remembered by flows.
    fn removed_servers(&self) -> HashMap<ServiceKey, Vec<ServerKey>> {
        let mut removed: HashMap<_, Vec<_>> = HashMap::new();
        let removed_slots = self.compiler.slots().removed();
        let templates = self.templates();
        let remembered =
            removed_slots.filter(|(id, _)| Slots::is_remembered(self.workers(), templates, *id));
        for (_, slot) in remembered {
            let of_service = removed.entry(slot.key.service).or_default();
            of_service.push(slot.key.server);
        }
        removed
    }

    fn servers(
        &self,
        service: &Service,
        removed: Option<&Vec<ServerKey>>,
        local_use: &LocalUse<'_>,
    ) -> Vec<ServerView> {
        let configured = service.servers.iter().map(|server| {
            let key = SlotKey {
                service: service.key,
                server: server.key(),
            };
            let state = match server.weight {
                0 => ServerState::Draining,
                _ if self.is_full(key) => ServerState::Full,
                _ => ServerState::Up,
            };
            let local = local_use.ratios(key);
            let is_tun = server.method == weir_model::Method::Tun;
            let or_none = |number: u32| (number != 0).then_some(number);
            ServerView {
                upper_threshold: or_none(server.upper_threshold),
                lower_threshold: or_none(server.lower_threshold),
                tunnel: is_tun.then_some(server.tunnel),
                tunnel_port: (server.tunnel_port != 0).then_some(server.tunnel_port),
                tunnel_checksum: match server.tunnel_checksum {
                    weir_model::TunnelChecksum::None => None,
                    checksum => Some(checksum),
                },
                name: server.name.clone(),
                method: server.method,
                weight: server.weight,
                local_ports_used_ratio: local.into_iter().reduce(f64::max),
                state,
                ..self.server(service, server.key())
            }
        });
        let removed = removed.into_iter().flatten();
        let removed = removed.map(|key| self.server(service, *key));
        configured.chain(removed).collect()
    }

    /// True while the server gets nothing new for having too many connections.
    fn is_full(&self, key: SlotKey) -> bool {
        let loads = &self.publisher.newest().loads;
        let slot = self.compiler.slots().find(key);
        slot.is_some_and(|(id, _)| loads.is_overloaded(id))
    }

    /// What the slot of a server knows; the rest is for one that was removed.
    fn server(&self, service: &Service, key: ServerKey) -> ServerView {
        let slot = self.compiler.slots().find(SlotKey {
            service: service.key,
            server: key,
        });
        let (stats, flows, persistent) = match slot {
            Some((id, slot)) => {
                let totals = self.compiler.slots().totals(self.workers(), id);
                let flows = FlowCounts::of_slot(self.workers(), id);
                (
                    totals.stats(slot.rates()),
                    flows,
                    self.templates().of_server(id),
                )
            }
            None => (Stats::default(), FlowCounts::default(), 0),
        };
        ServerView {
            address: key.address,
            port: key.port,
            name: None,
            method: slot.map_or(weir_model::Method::Nat, |(_, s)| model_method(s.method)),
            weight: 0,
            upper_threshold: None,
            lower_threshold: None,
            tunnel: None,
            tunnel_port: None,
            tunnel_checksum: None,
            active: flows.active,
            inactive: flows.inactive,
            persistent,
            local_ports_used_ratio: None,
            state: ServerState::Removed,
            stats,
        }
    }

    /// The workers.
    #[must_use]
    pub fn workers_view(&self) -> Workers {
        let meters = self.workers().iter().zip(&self.busy);
        let workers = meters.map(|(worker, busy)| {
            let counters = worker.counters();
            let drops = DropReason::ALL.iter().map(|reason| counters.drops(*reason));
            WorkerView {
                id: worker.id().0,
                core: worker.core().and_then(|core| u16::try_from(core).ok()),
                epoch: worker.adopted_epoch(),
                flows: counters.flows.get(),
                flows_max: worker.flows_max() as u64,
                flows_created: counters.flows_created.get(),
                flows_expired: counters.flows_expired.get(),
                packets_received: counters.packets_received(),
                packets_taken_over: counters.taken_over.get(),
                packets_forwarded: counters.forwarded.get(),
                packets_punted: counters.punted.get(),
                packets_from_linux: counters.from_linux.get(),
                packets_handed_off: counters.handed_off.get(),
                packets_dropped: drops.sum(),
                turns: counters.turns.get(),
                busy_ratio: busy.ratio,
                longest_turn_us: counters.turn_longest_ns.get() / 1000,
            }
        });
        Workers {
            steering: self.about.steering.clone(),
            imbalance_ratio: BusyMeter::imbalance(&self.busy),
            workers: workers.collect(),
        }
    }

    /// The ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        let reports = self.devices.ports();
        let ports = self.config().ports.iter().zip(reports);
        let view = ports.map(|(port, report)| PortView {
            name: port.name.clone(),
            device: port.device.clone(),
            driver: report.driver,
            mac: report.mac,
            mtu: report.mtu,
            twin: port.twin.clone(),
            addresses: port.all_addresses().map(|(_, address)| address).collect(),
            link: report.link,
            queues: report.queues,
            steering: report.steering,
            rx_packets: report.rx_packets,
            rx_bytes: report.rx_bytes,
            rx_missed: report.rx_missed,
            rx_errors: report.rx_errors,
            rx_no_buffer: report.rx_no_buffer,
            tx_packets: report.tx_packets,
            tx_bytes: report.tx_bytes,
            tx_errors: report.tx_errors,
        });
        Ports {
            ports: view.collect(),
        }
    }

    /// The neighbours.
    #[must_use]
    pub fn neighbours(&self) -> Neighbours {
        Neighbours {
            neighbours: self.neighbours.clone(),
        }
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes {
            routes: self.routes.clone(),
        }
    }

    /// What was not forwarded.
    #[must_use]
    pub fn drops(&mut self, now: Instant) -> Drops {
        self.samples.collect(self.publisher.workers(), now);
        let port_name = |port: usize| {
            let port = self.config().ports.get(port);
            port.map(|port| port.name.clone()).unwrap_or_default()
        };
        self.samples.view(self.workers(), now, port_name)
    }
}
