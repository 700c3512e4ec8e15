use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_core::load::Load;
use weir_core::persist::Templates;
use weir_core::service::{ServerId, Services};
use weir_core::testing;
use weir_model::Service;
use weir_worker::Handle;
use weir_worker::publish::Publisher;

use crate::compile::Compiler;
use crate::difference;
use crate::testing::{SERVERS, services, worker};
use crate::totals::Totals;

/// A director's control, and a worker's side of it.
pub(super) struct World {
    pub(super) compiler: Compiler,
    pub(super) workers: Vec<Handle>,
    pub(super) epoch: u64,
    pub(super) wanted: Vec<Service>,
    pub(super) now: Arc<Services>,
    pub(super) templates: Templates,
    pub(super) clock: Instant,
}

impl World {
    pub(super) fn new(scheduler: &str, servers: &[(u8, u16)]) -> Self {
        Self::of_workers(1, scheduler, servers)
    }

    pub(super) fn of_workers(count: u16, scheduler: &str, servers: &[(u8, u16)]) -> Self {
        let workers: Vec<_> = (0..count).map(worker).collect();
        let publisher = Publisher::new(workers.clone());
        let mut world = Self {
            compiler: Compiler::new(SERVERS, Arc::clone(&publisher.newest().loads)),
            workers,
            epoch: 0,
            wanted: Vec::new(),
            now: Arc::default(),
            templates: Templates::new(8, SERVERS, [1, 2]),
            clock: Instant::now(),
        };
        world.reload(scheduler, servers);
        world
    }

    pub(super) fn reload(&mut self, scheduler: &str, servers: &[(u8, u16)]) {
        self.want(services(scheduler, servers));
    }

    pub(super) fn want(&mut self, wanted: Vec<Service>) {
        self.epoch += 1;
        let steps = difference::services(&self.wanted, &wanted);
        self.compiler.check_room(&steps).expect("there is room");
        self.compiler.apply(&steps, &self.workers, self.epoch);
        self.now = self.compiler.services();
        self.wanted = wanted;
    }

    pub(super) fn service(&self) -> &weir_core::service::Service {
        self.now.iter().next().expect("there is a service").1
    }

    /// A second passes.
    pub(super) fn reap(&mut self) -> bool {
        self.clock += Duration::from_secs(1);
        let epochs = (self.epoch, self.epoch);
        let has_freed = self
            .compiler
            .reap(&self.workers, &self.templates, epochs, self.clock);
        if has_freed {
            self.now = self.compiler.services();
        }
        has_freed
    }

    /// So many seconds pass.
    pub(super) fn reap_for(&mut self, seconds: usize) -> bool {
        (0..seconds).fold(false, |has_freed, _| self.reap() | has_freed)
    }

    /// The last bytes of the addresses of the next servers.
    pub(super) fn pick(&self, n: usize) -> Vec<u8> {
        let service = self.service();
        let picks = (0..n).map(|_| testing::pick(service, &self.now));
        picks
            .map(|id| self.number(id.expect("one is usable")))
            .collect()
    }

    pub(super) fn load(&self, id: ServerId) -> &Load {
        &self.workers[0].counters().loads[id.0 as usize]
    }

    pub(super) fn number(&self, id: ServerId) -> u8 {
        let server = self.now.server(id).expect("a slot of the list is filled");
        server.addr.v4_bytes()[3]
    }

    /// The list, by the last bytes of the addresses.
    pub(super) fn list(&self) -> Vec<u8> {
        let servers = self.service().servers.iter();
        servers
            .map(|candidate| self.number(candidate.server))
            .collect()
    }

    pub(super) fn id(&self, number: u8) -> ServerId {
        let slots = self.compiler.slots().iter();
        let is_it = |key: crate::slots::SlotKey| {
            key.server.address.to_string() == format!("10.0.0.{number}")
        };
        slots
            .into_iter()
            .find(|(_, slot)| is_it(slot.key))
            .expect("it has a slot")
            .0
    }

    pub(super) fn count(&self, id: ServerId) -> &weir_core::counters::ServerCounters {
        &self.workers[0].counters().servers[id.0 as usize]
    }

    pub(super) fn service_totals(&self) -> Totals {
        let totals = self.compiler.service_totals(&self.workers);
        totals.into_values().next().expect("there is one service")
    }
}
