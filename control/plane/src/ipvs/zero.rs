//! What was counted when it was asked to count from zero again (`ipvsadm -Z`). Only IPVS's clients
//! see that: the API and the metrics go on, because a counter of Prometheus does not fall.

use hashbrown::HashMap;
use weir_model::{ServerKey, ServiceKey};

use crate::slots::SlotKey;
use crate::state::State;
use crate::totals::Totals;

/// What is to be taken off.
#[derive(Debug, Default)]
pub struct Zero {
    services: HashMap<ServiceKey, Totals>,
    servers: HashMap<SlotKey, Totals>,
    /// Of each worker.
    workers: Vec<Totals>,
}

impl Zero {
    /// What a service carried since.
    #[must_use]
    pub fn service(&self, key: &ServiceKey, totals: Totals) -> Totals {
        totals - self.services.get(key).copied().unwrap_or_default()
    }

    /// What a server carried since.
    #[must_use]
    pub fn server(&self, key: &SlotKey, totals: Totals) -> Totals {
        totals - self.servers.get(key).copied().unwrap_or_default()
    }

    /// What a worker carried since.
    #[must_use]
    pub fn worker(&self, worker: usize, totals: Totals) -> Totals {
        totals - self.workers.get(worker).copied().unwrap_or_default()
    }

    /// A service left; one with its key begins anew.
    pub fn forget(&mut self, service: &ServiceKey) {
        self.services.remove(service);
        self.servers.retain(|key, _| key.service != *service);
    }

    /// A server left.
    pub fn forget_server(&mut self, service: ServiceKey, server: ServerKey) {
        self.servers.remove(&SlotKey { service, server });
    }

    /// All services left.
    pub fn forget_all(&mut self) {
        self.services.clear();
        self.servers.clear();
    }
}

impl State {
    /// IPVS's clients are told of one service with its servers, or of all, as if nothing had been
    /// counted.
    pub(crate) fn count_from_zero(&mut self, service: Option<&ServiceKey>) {
        let totals = match service {
            Some(key) => vec![(*key, self.compiler.service_total(key, self.workers()))],
            None => {
                let totals = self.compiler.service_totals(self.workers());
                totals.into_iter().collect()
            }
        };
        let slots = self.compiler.slots();
        let is_meant = |key: &SlotKey| service.is_none_or(|service| key.service == *service);
        let servers = slots.iter().filter(|(_, slot)| is_meant(&slot.key));
        let servers = servers.map(|(id, slot)| (slot.key, slots.totals(self.workers(), id)));
        let servers: Vec<_> = servers.collect();
        let workers = service.is_none().then(|| self.worker_totals());
        self.zero.services.extend(totals);
        self.zero.servers.extend(servers);
        if let Some(workers) = workers {
            self.zero.workers = workers;
        }
    }

    /// What each worker carried, for all servers there ever were.
    pub(crate) fn worker_totals(&self) -> Vec<Totals> {
        let workers = self.workers().iter();
        let sum = workers.map(|worker| Totals::of_worker(worker));
        sum.collect()
    }
}
