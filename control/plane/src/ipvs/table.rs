//! The state as the table that IPVS's clients see and change.

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use tracing::{debug, info};
use weir_ipvs::{Changes, Counts, Daemon, DaemonState, Errno, ServerRow, Stats, Table, Timeouts};
use weir_model::api::Rates;
use weir_model::{ChangeFault, Operation, Rules, SchedulerName, ServiceKey};

use super::words;
use crate::change::ChangeRefused;
use crate::slots::SlotKey;
use crate::state::State;
use crate::totals::{FlowCounts, Totals, shown};

/// What the kernel tells of the size of its connection table unless it was told another. Clients
/// print it; ours says nothing of this director's.
const TABLE_SIZE: u32 = 4096;

/// The MTU of an interface that does not tell it.
const MTU_DEFAULT: u32 = 1500;

/// The state, as its clients see it by IPVS.
#[derive(Debug)]
pub struct IpvsTable<'s>(pub &'s mut State);

impl IpvsTable<'_> {
    /// Does all of `operations`, or none.
    pub(super) fn change(&mut self, operations: &[Operation]) -> Result<(), ChangeRefused> {
        let applied = self.0.change(operations, Rules::Ipvs)?;
        for change in applied.changes.into_vec() {
            debug!("ipvs: {change}");
        }
        Ok(())
    }

    fn one(&mut self, operation: Operation) -> Result<(), Errno> {
        self.change(&[operation]).map_err(|refused| {
            info!("ipvs: refused: {refused}");
            errno(&refused)
        })
    }

    fn held(&self, key: &weir_ipvs::ServiceKey) -> Option<&weir_model::Service> {
        self.0.service(&words::key(key)?)
    }

    /// A key that is held: the handler looks before it changes something.
    fn held_key(&self, key: &weir_ipvs::ServiceKey) -> Result<ServiceKey, Errno> {
        self.held(key)
            .map(|service| service.key)
            .ok_or(Errno::Esrch)
    }

    fn stats_of(&self, key: &ServiceKey, totals: Totals) -> Stats {
        let rates = self.0.compiler.service_rates(*key);
        stats(self.0.compiler.since_zero(*key, totals), &rates)
    }

    /// What all of it carried, and what each worker did.
    pub(crate) fn all_stats(&self) -> (Stats, Vec<Stats>) {
        let state = &self.0;
        let workers = state.compiler.workers_since_zero(state.workers());
        let all = workers
            .iter()
            .fold(Totals::default(), |sum, one| sum + *one);
        let rates = state.compiler.all_rates();
        let workers = workers.into_iter();
        let workers = workers.map(|totals| stats(totals, &Rates::default()));
        (stats(all, &rates), workers.collect())
    }
}

impl Changes for IpvsTable<'_> {
    fn has_scheduler(&self, name: &str) -> bool {
        SchedulerName::from_name(name).is_some()
    }

    fn has_engine(&self, name: &str) -> bool {
        name == weir_model::PersistenceEngine::Sip.name()
    }

    fn is_local(&self, address: IpAddr) -> bool {
        let ports = self.0.config().ports.iter();
        let mut own = ports.flat_map(|port| port.all_addresses().map(|(_, net)| net.addr()));
        address.is_loopback() || own.any(|own| own == address)
    }

    fn interface_mtu(&self, name: &str) -> Option<u32> {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            None,
        );
        rustix::net::netdevice::name_to_index(socket.ok()?.as_fd(), name).ok()?;
        // The kernel has interfaces of no name with a slash.
        let mtu = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu"));
        let mtu = mtu.ok().and_then(|mtu| mtu.trim().parse().ok());
        Some(mtu.unwrap_or(MTU_DEFAULT))
    }

    fn service(&self, key: &weir_ipvs::ServiceKey) -> Option<weir_ipvs::Service> {
        self.held(key).map(words::told)
    }

    fn has_server(&self, service: &weir_ipvs::ServiceKey, server: &weir_ipvs::ServerKey) -> bool {
        let server = words::server_key(server);
        self.held(service)
            .is_some_and(|held| held.server(server).is_some())
    }

    fn has_mixed_families(&self) -> bool {
        let mut services = self.0.config().services.iter();
        services.any(|service| {
            let family = service.key.family();
            let mut servers = service.servers.iter();
            servers.any(|server| weir_model::Family::of(server.address) != family)
        })
    }

    fn daemons(&self) -> Vec<Daemon> {
        self.0.sync_daemons.clone()
    }

    fn set_timeouts(&mut self, wanted: Timeouts) -> Result<(), Errno> {
        let timeouts = words::timeouts(wanted, &self.0.config().timeouts);
        self.one(Operation::SetTimeouts(timeouts))
    }

    fn add_service(&mut self, service: weir_ipvs::Service) -> Result<(), Errno> {
        let service = words::service(&service, None)?;
        self.one(Operation::AddService(service))
    }

    fn edit_service(&mut self, service: weir_ipvs::Service) -> Result<(), Errno> {
        let service = words::service(&service, self.held(&service.key))?;
        self.one(Operation::EditService(service))
    }

    fn remove_service(&mut self, key: &weir_ipvs::ServiceKey) -> Result<(), Errno> {
        let key = self.held_key(key)?;
        self.one(Operation::RemoveService(key))
    }

    fn add_server(
        &mut self,
        service: &weir_ipvs::ServiceKey,
        server: weir_ipvs::Server,
    ) -> Result<(), Errno> {
        let key = self.held_key(service)?;
        let server = words::server(&server, None)?;
        self.one(Operation::AddServer(key, server))
    }

    fn edit_server(
        &mut self,
        service: &weir_ipvs::ServiceKey,
        server: weir_ipvs::Server,
    ) -> Result<(), Errno> {
        let held = self.held(service).ok_or(Errno::Esrch)?;
        let key = held.key;
        let server = words::server(&server, held.server(words::server_key(&server.key)))?;
        self.one(Operation::EditServer(key, server))
    }

    fn remove_server(
        &mut self,
        service: &weir_ipvs::ServiceKey,
        server: &weir_ipvs::ServerKey,
    ) -> Result<(), Errno> {
        let key = self.held_key(service)?;
        let server = words::server_key(server);
        self.one(Operation::RemoveServer(key, server))
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.one(Operation::RemoveServices)
    }

    fn zero(&mut self, service: Option<&weir_ipvs::ServiceKey>) {
        let key = service.map(words::key);
        if key != Some(None) {
            self.0.zero(key.flatten());
        }
    }

    fn start_daemon(&mut self, daemon: Daemon) -> Result<(), Errno> {
        info!(
            "ipvs: a {} daemon is to synchronise by {}: noted; this director does not synchronise yet",
            daemon.state, daemon.interface
        );
        self.0.sync_daemons.push(daemon);
        self.0.sync_daemons.sort_by_key(|daemon| daemon.state);
        self.0.keep_beside();
        Ok(())
    }

    fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Errno> {
        self.0.sync_daemons.retain(|daemon| daemon.state != state);
        self.0.keep_beside();
        Ok(())
    }
}

impl Table for IpvsTable<'_> {
    fn size(&self) -> u32 {
        TABLE_SIZE
    }

    fn timeouts(&self) -> Timeouts {
        let timeouts = &self.0.config().timeouts;
        Timeouts {
            tcp: timeouts.tcp,
            tcp_fin: timeouts.tcp_fin,
            udp: timeouts.udp,
        }
    }

    fn service_stats(&self, key: &weir_ipvs::ServiceKey) -> Stats {
        let Some(key) = words::key(key) else {
            return Stats::default();
        };
        let totals = self.0.compiler.service_total(&key, self.0.workers());
        self.stats_of(&key, totals)
    }

    fn services(&self) -> Vec<(weir_ipvs::Service, Stats)> {
        let totals = self.0.compiler.service_totals(self.0.workers());
        let services = self.0.config().services.iter();
        let rows = services.map(|service| {
            let totals = totals.get(&service.key).copied().unwrap_or_default();
            (words::told(service), self.stats_of(&service.key, totals))
        });
        rows.collect()
    }

    fn servers(&self, service: &weir_ipvs::ServiceKey) -> Vec<ServerRow> {
        let Some(service) = self.held(service) else {
            return Vec::new();
        };
        let workers = self.0.workers();
        let slots = self.0.compiler.slots();
        let newest_first = self.0.compiler.servers_newest_first(&service.key);
        let rows = newest_first.into_iter().filter_map(|key| {
            let server = words::told_server(service.server(key)?);
            let key = SlotKey {
                service: service.key,
                server: key,
            };
            let (id, slot) = slots.find(key)?;
            let totals = slot.since_zero(slots.totals(workers, id));
            let persistent = self.0.templates().of_server(id);
            let counts = counts(FlowCounts::of_slot(workers, id), persistent);
            Some((server, counts, stats(totals, &slot.rates())))
        });
        rows.collect()
    }
}

pub(super) fn errno(refused: &ChangeRefused) -> Errno {
    match refused {
        ChangeRefused::Fault(fault) => match fault {
            ChangeFault::ServiceExists(_) | ChangeFault::ServerExists(..) => Errno::Eexist,
            ChangeFault::NoService(_) => Errno::Esrch,
            ChangeFault::NoServer(..) => Errno::Enoent,
            ChangeFault::Invalid(..) | ChangeFault::InvalidSettings(_) => Errno::Einval,
            ChangeFault::Limit { .. } => Errno::Enomem,
        },
        ChangeRefused::NoSlots(_) => Errno::Enomem,
    }
}

fn counts(flows: FlowCounts, persistent: impl TryInto<u32>) -> Counts {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Counts {
        active: number(flows.active),
        inactive: number(flows.inactive),
        persistent: persistent.try_into().unwrap_or(u32::MAX),
    }
}

fn stats(totals: Totals, rates: &Rates) -> Stats {
    Stats {
        connections: totals.connections,
        packets_in: totals.packets_in,
        packets_out: totals.packets_out,
        bytes_in: totals.bytes_in,
        bytes_out: totals.bytes_out,
        connections_rate: shown(rates.connections_per_second),
        packets_in_rate: shown(rates.packets_in_per_second),
        packets_out_rate: shown(rates.packets_out_per_second),
        bytes_in_rate: shown(rates.bytes_in_per_second),
        bytes_out_rate: shown(rates.bytes_out_per_second),
    }
}
