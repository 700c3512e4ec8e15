//! A running director: workers in threads, control's publisher, and the wire in the test's hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_core::counters::{DropReason, WorkerCounters};
use weir_core::director::Limits;
use weir_core::flow::{TcpState, Timeouts};
use weir_core::io::WorkerId;
use weir_core::load::Thresholds;
use weir_core::persist::{Persistence, Templates};
use weir_core::schedule::SchedulerName;
use weir_core::service::{
    Candidate, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey, Services, Tunnel,
};
use weir_core::steer::Steering;
use weir_core::testing::scheduler;
use weir_worker::publish::Publisher;
use weir_worker::rings::TwinLink;
use weir_worker::testing::MemIo;
use weir_worker::{Clock, Config, Handle, Idle, Worker, mesh};

use crate::network::{FlowNumber, LAN, Sent, WAN, client, network, server, vip};
use crate::wire::{PATIENCE, Wire, join, pause};

/// Real-server slots; server `n` is in slot `n`.
const SLOTS: u8 = 16;

/// A director to be started.
pub(crate) struct Plan {
    pub(crate) workers: u16,
    pub(crate) scheduler: SchedulerName,
    pub(crate) method: Method,
    /// Number and weight, in the order of addition.
    pub(crate) servers: Vec<(u8, u32)>,
    /// Frames that each queue of a port holds.
    pub(crate) depth: usize,
    /// By worker, where there are twins.
    pub(crate) twins: Vec<TwinLink>,
    pub(crate) persistence: Option<Persistence>,
}

impl Plan {
    /// Servers 1, 2 and 3 by rr.
    pub(crate) fn new(workers: u16, method: Method) -> Self {
        Self {
            workers,
            scheduler: SchedulerName::Rr,
            method,
            servers: vec![(1, 1), (2, 1), (3, 1)],
            depth: 1024,
            twins: Vec::new(),
            persistence: None,
        }
    }

    /// Makes the workers without running them.
    pub(crate) fn build(self) -> (Running, Vec<Worker<MemIo>>) {
        let wire = Arc::new(Wire::new(self.workers, self.depth));
        let clock = Clock::start();
        let workers: Vec<Worker<MemIo>> = (0..self.workers)
            .map(WorkerId)
            .zip(mesh(self.workers.into()))
            .map(|(id, peers)| {
                let twins = self.twins.get(usize::from(id.0)).cloned();
                let config = Config {
                    id,
                    core: None,
                    idle: Idle::Adaptive {
                        sleep_max: Duration::from_micros(200),
                    },
                    limits: limits(),
                    ports: 2,
                    twins: twins.map(|link| (link, vec![WAN, LAN])),
                    steering: Steering::by_client(self.workers),
                    clock,
                };
                Worker::new(&config, wire.device.io(id), peers)
            })
            .collect();
        let handles: Vec<Handle> = workers.iter().map(Worker::handle).collect();
        let mut running = Running {
            wire,
            publisher: Publisher::new(handles),
            cursor: Arc::default(),
            generation: 0,
            scheduler: self.scheduler,
            method: self.method,
            persistence: self.persistence,
            known: BTreeMap::new(),
            threads: Vec::new(),
        };
        running.publisher.publish(|snapshot| {
            snapshot.network = network();
            snapshot.settings.timeouts = timeouts();
            snapshot.templates = Arc::new(Templates::new(10_000, SLOTS.into(), [3, 5]));
        });
        running.publish(&self.servers);
        (running, workers)
    }

    /// Starts the workers and waits until all decide by the plan.
    pub(crate) fn start(self) -> Running {
        let (mut running, workers) = self.build();
        for worker in workers {
            running.run(worker);
        }
        running.await_that("the first snapshot", |r| r.has_adopted());
        running
    }
}

fn limits() -> Limits {
    Limits {
        flows: 100_000,
        flows_v6: 16,
        half_open: 100_000,
        services: 1,
        servers: SLOTS.into(),
        punt_per_second: 10_000_000,
        punt_reserved_percent: 0,
        icmp_per_second: 0,
        parked: 64,
        parked_per_neighbour: 16,
        fragments: 256,
    }
}

/// What a reset or FINs ended is gone in a moment; nothing else ends within a test.
fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    for ended in [TcpState::Close, TcpState::TimeWait] {
        timeouts.tcp[ended as usize] = 5;
    }
    timeouts
}

/// The director, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) wire: Arc<Wire>,
    pub(crate) publisher: Publisher,
    pub(crate) cursor: Arc<AtomicU64>,
    pub(crate) generation: u16,
    scheduler: SchedulerName,
    method: Method,
    persistence: Option<Persistence>,
    /// Every server there ever was.
    known: BTreeMap<u8, u32>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn run(&mut self, worker: Worker<MemIo>) {
        self.threads.push(std::thread::spawn(move || worker.run()));
    }

    pub(crate) fn workers(&self) -> u16 {
        self.publisher.workers().len() as u16
    }

    pub(crate) fn owner(&self, n: FlowNumber) -> WorkerId {
        let (addr, port) = client(n);
        Steering::by_client(self.workers()).owner_of_client(addr, port)
    }

    /// Makes these the servers; those left out stay known and unavailable.
    pub(crate) fn publish(&mut self, servers: &[(u8, u32)]) {
        self.generation = (self.generation + 1) % 4096;
        self.known.extend(servers.iter().copied());
        let services = Arc::new(self.services(servers));
        self.publisher
            .publish(|snapshot| snapshot.services = services);
    }

    fn services(&self, servers: &[(u8, u32)]) -> Services {
        let slot = |n: u8| {
            Some(Server {
                addr: server(n),
                port: 80,
                method: self.method,
                tunnel: Tunnel::Ipip,
                weight: *self.known.get(&n)?,
                protocol: Protocol::Tcp,
                is_available: servers.iter().any(|(present, _)| *present == n),
                position: 0,
                service: ServiceId(0),
                thresholds: Thresholds::default(),
                has_any_port: false,
                was_nat: false,
            })
        };
        // IPVS's list: the server added last comes first.
        let candidates: Vec<Candidate> = servers
            .iter()
            .rev()
            .map(|(n, weight)| Candidate {
                server: ServerId((*n).into()),
                weight: *weight,
            })
            .collect();
        let service = Service {
            key: ServiceKey {
                protocol: Protocol::Tcp,
                addr: vip(),
                port: 80,
                mark: 0,
            },
            scheduler: scheduler(self.scheduler, &candidates),
            cursor: Arc::clone(&self.cursor),
            generation: self.generation,
            servers: candidates.into(),
            departed: [].into(),
            by_client: self.method == Method::Nat,
            consistent: Arc::default(),
            new_flows_max: 0,
            one_packet: false,
            persistence: self.persistence,
            local: None,
        };
        Services::new(vec![service], (0..SLOTS).map(slot).collect())
    }

    pub(crate) fn has_adopted(&self) -> bool {
        self.publisher.adopted_epoch() == self.publisher.newest().epoch
    }

    /// What leaves while `deliver` runs in another thread, until `count` packets have.
    pub(crate) fn exchange(&self, count: u32, deliver: impl FnOnce(&Wire) + Send) -> Vec<Sent> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| deliver(&self.wire));
            let sent = self.await_sent(count);
            join([thread]);
            sent
        })
    }

    /// What leaves until `count` packets have.
    pub(crate) fn await_sent(&self, count: u32) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.await_that("packets", |r| {
            sent.extend(r.wire.collect());
            sent.len() >= count as usize
        });
        assert_eq!(sent.len(), count as usize, "more left than came");
        sent
    }

    pub(crate) fn await_that(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            if start.elapsed() > PATIENCE {
                panic!("{what} did not come; {}", self.told());
            }
            pause();
        }
    }

    /// A number summed over the workers.
    pub(crate) fn total(&self, number: impl Fn(&WorkerCounters) -> u64) -> u64 {
        let workers = self.publisher.workers().iter();
        workers.map(|handle| number(handle.counters())).sum()
    }

    /// Packets dropped, whatever the reason.
    pub(crate) fn drops(&self) -> u64 {
        self.total(|c| DropReason::ALL.iter().map(|reason| c.drops(*reason)).sum())
    }

    /// What a failed claim wants to know.
    pub(crate) fn told(&self) -> String {
        let reasons = DropReason::ALL.iter();
        let drops: Vec<_> = reasons
            .map(|reason| (reason.label(), self.total(|c| c.drops(*reason))))
            .filter(|(_, count)| *count > 0)
            .collect();
        let [forwarded, punted, handed_off, flows] = [
            self.total(|c| c.forwarded.get()),
            self.total(|c| c.punted.get()),
            self.total(|c| c.handed_off.get()),
            self.total(|c| c.flows.get()),
        ];
        format!(
            "forwarded {forwarded}, punted {punted}, handed off {handed_off}, flows {flows}, \
             dropped {drops:?}"
        )
    }

    /// Active and inactive connections of server `n`, as ipvsadm shows them.
    pub(crate) fn connections(&self, n: u8) -> (u64, u64) {
        let load = |c: &WorkerCounters| c.loads[usize::from(n)].get();
        let active = self.total(|c| load(c).active.into());
        let inactive = self.total(|c| load(c).inactive.into());
        (active, inactive)
    }

    /// Ends the workers' threads.
    pub(crate) fn stop(&mut self) {
        for handle in self.publisher.workers() {
            handle.stop();
        }
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "a worker panicked"
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
