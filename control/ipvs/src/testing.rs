//! A table in memory that holds all that the kernel's does, for tests and fuzzers.

use std::net::IpAddr;

use crate::batch::Batch;
use crate::errno::Errno;
use crate::table::{Changes, ServerRow, Table};
use crate::types::{
    Counts, Daemon, DaemonState, Family, Server, ServerKey, Service, ServiceKey, Stats, Timeouts,
};

/// The table.
#[derive(Clone, Debug)]
pub struct Memory {
    services: Vec<(Service, Vec<Server>)>,
    timeouts: Timeouts,
    daemons: Vec<Daemon>,
    /// Interfaces with their MTU.
    pub interfaces: Vec<(String, u32)>,
    /// The connections of servers; those not named here have none.
    pub counts: Vec<(ServerKey, Counts)>,
    /// Schedulers.
    pub schedulers: Vec<String>,
}

impl Default for Memory {
    /// The table of the recorded kernel, which has no `twos`.
    fn default() -> Self {
        let schedulers = "rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh".split(' ');
        Self {
            services: Vec::new(),
            timeouts: Timeouts {
                tcp: 900,
                tcp_fin: 120,
                udp: 300,
            },
            daemons: Vec::new(),
            interfaces: vec![("lo".to_owned(), 65536)],
            counts: Vec::new(),
            schedulers: schedulers.map(str::to_owned).collect(),
        }
    }
}

impl Memory {
    /// Answers the questions of a batch, or does all of its changes or nothing; gives the replies.
    pub fn answer_batch(&mut self, batch: &Batch) -> Vec<Vec<u8>> {
        if batch.is_question() {
            return batch.answers(self);
        }
        let mut copy = self.clone();
        let done = batch.lay_over(&mut copy);
        if done.is_ok() {
            *self = copy;
        }
        vec![batch.reply(done)]
    }

    fn entry(&self, key: &ServiceKey) -> Option<&(Service, Vec<Server>)> {
        self.services
            .iter()
            .find(|(service, _)| service.key == *key)
    }

    fn entry_mut(&mut self, key: &ServiceKey) -> &mut (Service, Vec<Server>) {
        let mut services = self.services.iter_mut();
        let entry = services.find(|(service, _)| service.key == *key);
        entry.expect("only what is there is changed")
    }
}

impl Changes for Memory {
    fn has_scheduler(&self, name: &str) -> bool {
        self.schedulers.iter().any(|scheduler| scheduler == name)
    }

    fn has_engine(&self, name: &str) -> bool {
        name == "sip"
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }

    fn interface_mtu(&self, name: &str) -> Option<u32> {
        let mut interfaces = self.interfaces.iter();
        interfaces.find_map(|(interface, mtu)| (interface == name).then_some(*mtu))
    }

    fn service(&self, key: &ServiceKey) -> Option<Service> {
        self.entry(key).map(|(service, _)| service.clone())
    }

    fn has_server(&self, service: &ServiceKey, server: &ServerKey) -> bool {
        let servers = self.entry(service).map(|(_, servers)| servers);
        servers.is_some_and(|servers| servers.iter().any(|held| held.key == *server))
    }

    fn has_mixed_families(&self) -> bool {
        self.services.iter().any(|(service, servers)| {
            let family = service.key.family();
            let mut families = servers.iter().map(|server| Family::of(server.key.address));
            families.any(|of_server| of_server != family)
        })
    }

    fn daemons(&self) -> Vec<Daemon> {
        self.daemons.clone()
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Errno> {
        let set = |held: &mut u32, new: u32| {
            if new != 0 {
                *held = new;
            }
        };
        set(&mut self.timeouts.tcp, timeouts.tcp);
        set(&mut self.timeouts.tcp_fin, timeouts.tcp_fin);
        set(&mut self.timeouts.udp, timeouts.udp);
        Ok(())
    }

    fn add_service(&mut self, service: Service) -> Result<(), Errno> {
        self.services.push((service, Vec::new()));
        Ok(())
    }

    fn edit_service(&mut self, service: Service) -> Result<(), Errno> {
        let key = service.key;
        self.entry_mut(&key).0 = service;
        Ok(())
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Errno> {
        self.services.retain(|(service, _)| service.key != *key);
        Ok(())
    }

    fn add_server(&mut self, service: &ServiceKey, server: Server) -> Result<(), Errno> {
        self.entry_mut(service).1.push(server);
        Ok(())
    }

    fn edit_server(&mut self, service: &ServiceKey, server: Server) -> Result<(), Errno> {
        for held in &mut self.entry_mut(service).1 {
            if held.key == server.key {
                *held = server;
            }
        }
        Ok(())
    }

    fn remove_server(&mut self, service: &ServiceKey, server: &ServerKey) -> Result<(), Errno> {
        self.entry_mut(service).1.retain(|held| held.key != *server);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.services.clear();
        Ok(())
    }

    fn zero(&mut self, _: Option<&ServiceKey>) {}

    fn start_daemon(&mut self, daemon: Daemon) -> Result<(), Errno> {
        self.daemons.push(daemon);
        self.daemons.sort_by_key(|daemon| daemon.state);
        Ok(())
    }

    fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Errno> {
        self.daemons.retain(|daemon| daemon.state != state);
        Ok(())
    }
}

impl Table for Memory {
    fn size(&self) -> u32 {
        4096
    }

    fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn service_stats(&self, _: &ServiceKey) -> Stats {
        Stats::default()
    }

    fn services(&self) -> Vec<(Service, Stats)> {
        let services = self.services.iter();
        services
            .map(|(service, _)| (service.clone(), Stats::default()))
            .collect()
    }

    fn servers(&self, service: &ServiceKey) -> Vec<ServerRow> {
        let servers = self.entry(service).map(|(_, servers)| servers);
        let rows = servers.into_iter().flatten().rev();
        rows.map(|server| {
            let mut counts = self.counts.iter();
            let counts = counts.find(|(key, _)| *key == server.key);
            let counts = counts.map(|(_, counts)| *counts).unwrap_or_default();
            (*server, counts, Stats::default())
        })
        .collect()
    }
}
