//! A director between a client side and a server side, in memory.
//!
//! Port 0 is `wan`: 192.0.2.1, 2001:db8:1::1, the way to every client through a router. Port 1 is
//! `lan`: 10.0.0.254, 2001:db8:2::fe, with the real servers 10.0.0.N and 2001:db8:2::N.

mod counters;
mod net;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weir_core::counters::WorkerCounters;
use weir_core::director::{Director, Limits};
use weir_core::flow::{Flow, Tuple};
use weir_core::io::{Burst, PortId, WorkerId};
use weir_core::load::{Loads, Thresholds};
use weir_core::mark::{MarkRule, MarkRules};
use weir_core::persist::Templates;
use weir_core::service::{Server, ServerId, Service, ServiceKey, Services};
use weir_core::settings::{Ipvs, Settings};
use weir_core::snapshot::Snapshot;
use weir_core::steer::Steering;
use weir_core::testing::{MemFrame, MemOutlet};
use weir_core::time::Tick;
use weir_wire::Addr;

use counters::names;

pub(crate) use counters::each_counter;
pub(crate) use net::{LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, number_of, server_mac};
pub(crate) use service::Described;

pub(crate) struct World {
    pub(crate) director: Director<MemFrame>,
    pub(crate) out: MemOutlet,
    pub(crate) now: Tick,
    pub(crate) mtu_lan: u16,
    pub(crate) mtu_wan: u16,
    /// VLAN of the server side, 0 for none.
    pub(crate) vlan_lan: u16,
    /// The servers are on the client side too.
    pub(crate) is_one_arm: bool,
    pub(crate) unknown_neighbours: Vec<Addr>,
    /// Servers whose flows are ended by resets.
    pub(crate) resets: Vec<u8>,
    /// Besides those that every world has.
    pub(crate) own_addresses: Vec<Addr>,
    /// IPv4 prefixes of 16 bits to which there is no way.
    pub(crate) refused: Vec<Addr>,
    pub(crate) settings: Settings,
    pub(crate) marks: Vec<MarkRule>,
    pub(crate) templates: Arc<Templates>,
    counters: Arc<WorkerCounters>,
    loads: Arc<Loads>,
    /// By server's number; others have none.
    pub(crate) thresholds: BTreeMap<u8, Thresholds>,
    before: BTreeMap<String, u64>,
    epoch: u64,
    cursors: BTreeMap<ServiceKey, Arc<AtomicU64>>,
    generation: u16,
}

pub(crate) fn limits() -> Limits {
    Limits {
        flows: 1000,
        flows_v6: 1000,
        half_open: 1000,
        services: 32,
        servers: 64,
        punt_per_second: 1000,
        punt_reserved_percent: 25,
        icmp_per_second: 1000,
        parked: 8,
        parked_per_neighbour: 2,
        fragments: 64,
    }
}

impl World {
    pub(crate) fn new(services: &[Described]) -> Self {
        Self::worker(0, 1, limits(), services)
    }

    pub(crate) fn worker(
        id: u16,
        steering: impl Into<Steering>,
        limits: Limits,
        services: &[Described],
    ) -> Self {
        let counters = Arc::new(WorkerCounters::new(2, limits.servers));
        let mut world = Self {
            director: Director::new(
                WorkerId(id),
                steering,
                &limits,
                Arc::clone(&counters),
                [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321],
            ),
            out: MemOutlet::default(),
            now: Tick(1000),
            mtu_lan: 1500,
            mtu_wan: 1500,
            vlan_lan: 0,
            is_one_arm: false,
            unknown_neighbours: Vec::new(),
            resets: Vec::new(),
            loads: Arc::new(Loads::new([Arc::clone(&counters)])),
            thresholds: BTreeMap::new(),
            own_addresses: Vec::new(),
            refused: Vec::new(),
            settings: Settings::default(),
            marks: Vec::new(),
            templates: Arc::new(Templates::new(1000, limits.servers, [7, 9])),
            counters,
            before: BTreeMap::new(),
            epoch: 0,
            cursors: BTreeMap::new(),
            generation: 0,
        };
        world.publish(services, &[]);
        world
    }

    /// Makes these the services; servers named in `removed` keep their slot, unavailable.
    pub(crate) fn publish(&mut self, services: &[Described], removed: &[u8]) {
        self.generation += 1;
        let snapshot = self.snapshot(services, removed);
        self.director.adopt(Arc::new(snapshot), &mut self.out);
    }

    /// Makes these the services.
    pub(crate) fn publish_services(&mut self, services: Vec<Service>, slots: Vec<Option<Server>>) {
        self.epoch += 1;
        let snapshot = self.snapshot_of(Services::new(services, slots));
        self.director.adopt(Arc::new(snapshot), &mut self.out);
    }

    /// Shares `other`'s scheduler positions and templates, as the workers of one process do.
    pub(crate) fn share_cursor(&mut self, other: &Self, services: &[Described]) {
        self.cursors.clone_from(&other.cursors);
        self.templates = Arc::clone(&other.templates);
        self.generation = other.generation - 1;
        self.publish(services, &[]);
    }

    /// Lets these workers see each other's connections, as those of one process do.
    pub(crate) fn share_loads(worlds: &mut [Self], services: &[Described]) {
        let counters = worlds.iter().map(|world| Arc::clone(&world.counters));
        let loads = Arc::new(Loads::new(counters));
        for world in worlds {
            world.loads = Arc::clone(&loads);
            // The list is the same.
            world.generation -= 1;
            world.publish(services, &[]);
        }
    }

    fn snapshot(&mut self, services: &[Described], removed: &[u8]) -> Snapshot {
        self.epoch += 1;
        let mut slots: Vec<Option<Server>> = vec![None; limits().servers];
        let list = services
            .iter()
            .map(|service| {
                let cursor = Arc::clone(self.cursors.entry(service.key).or_default());
                self.service(service, cursor, removed, &mut slots)
            })
            .collect();
        let mut services = Services::new(list, slots);
        for slot in &self.resets {
            services.set_resets(ServerId((*slot).into()), true);
        }
        self.snapshot_of(services)
    }

    fn snapshot_of(&self, services: Services) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            network_epoch: self.epoch as u32,
            services: Arc::new(services),
            network: Arc::new(self.network()),
            settings: self.settings,
            loads: Arc::clone(&self.loads),
            marks: Arc::new(MarkRules::new(&self.marks)),
            templates: Arc::clone(&self.templates),
        }
    }

    /// One burst received at `port`.
    pub(crate) fn receive(&mut self, port: PortId, packets: &[Vec<u8>]) {
        self.take(port, false, packets);
    }

    pub(crate) fn take(&mut self, port: PortId, is_handed_off: bool, packets: &[Vec<u8>]) {
        let frames = packets.iter().map(|p| MemFrame::new(p)).collect();
        self.take_frames(port, is_handed_off, frames);
    }

    pub(crate) fn take_frames(
        &mut self,
        port: PortId,
        is_handed_off: bool,
        mut burst: Burst<MemFrame>,
    ) {
        self.director
            .process(self.now, port, is_handed_off, &mut burst, &mut self.out);
        assert!(burst.is_empty());
    }

    /// Publishes `services` with these rules for connections, and lets the workers begin to keep
    /// them.
    pub(crate) fn set_rules(&mut self, services: &[Described], rules: Ipvs) {
        self.settings.ipvs = rules;
        self.publish(services, &[]);
        self.housekeep();
    }

    /// The flow of a request with this tuple.
    pub(crate) fn flow(&self, tuple: &Tuple) -> Option<Flow> {
        let flows = self.director.flows();
        let (id, _) = flows.find(tuple, flows.hash(tuple))?;
        Some(flows.get(id))
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<(PortId, Vec<u8>)> {
        std::mem::take(&mut self.out.sent)
    }

    /// The only packet sent since the last call.
    pub(crate) fn only_sent(&mut self) -> (PortId, Vec<u8>) {
        let mut sent = self.sent();
        assert_eq!(
            sent.len(),
            1,
            "packets sent; dropped: {:?}",
            self.out.dropped
        );
        sent.remove(0)
    }

    /// The counters that moved since the last call, by name, and by how much.
    pub(crate) fn moved(&mut self) -> Vec<(String, u64)> {
        let after = names(&self.counters);
        let before = std::mem::replace(&mut self.before, after.clone());
        after
            .into_iter()
            .map(|(name, value)| {
                let was = before.get(&name).copied().unwrap_or(0);
                (name, value.wrapping_sub(was))
            })
            .filter(|(_, by)| *by != 0)
            .collect()
    }

    /// Asserts that exactly these counters moved since the last call.
    pub(crate) fn assert_moved(&mut self, expected: &[(&str, u64)]) {
        let mut expected: Vec<(String, u64)> = expected
            .iter()
            .map(|(n, by)| ((*n).to_owned(), *by))
            .collect();
        expected.sort();
        assert_eq!(self.moved(), expected);
    }

    pub(crate) fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// The number of the server that the flow of this client port went to.
    pub(crate) fn server_of(&self, tuple: &Tuple) -> Option<u32> {
        Some(self.flow(tuple)?.server().0)
    }

    pub(crate) fn later(&mut self, seconds: u32) {
        self.now = self.now.after(weir_core::time::seconds(seconds));
    }

    pub(crate) fn housekeep(&mut self) {
        self.director.housekeep(self.now, usize::MAX, &mut self.out);
        self.director.end_drained(self.now, &mut self.out);
    }
}
