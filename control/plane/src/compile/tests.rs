use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::load::{Connections, Load};
use weir_core::persist::Templates;
use weir_core::service::{Protocol, ServerId, Services};
use weir_core::settings::{Defence, FtpPorts, Ipvs};
use weir_core::testing;
use weir_core::time::seconds;
use weir_model::Service;
use weir_worker::Handle;
use weir_worker::publish::Publisher;

use super::Compiler;
use crate::difference;
use crate::testing::{SERVERS, services, worker};
use crate::totals::Totals;

/// A director's control, and a worker's side of it.
struct World {
    compiler: Compiler,
    workers: Vec<Handle>,
    epoch: u64,
    wanted: Vec<Service>,
    now: Arc<Services>,
    templates: Templates,
    clock: Instant,
}

impl World {
    fn new(scheduler: &str, servers: &[(u8, u16)]) -> Self {
        Self::of_workers(1, scheduler, servers)
    }

    fn of_workers(count: u16, scheduler: &str, servers: &[(u8, u16)]) -> Self {
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

    fn reload(&mut self, scheduler: &str, servers: &[(u8, u16)]) {
        self.want(services(scheduler, servers));
    }

    fn want(&mut self, wanted: Vec<Service>) {
        self.epoch += 1;
        let steps = difference::services(&self.wanted, &wanted);
        self.compiler.check_room(&steps).expect("there is room");
        self.compiler.apply(&steps, &self.workers, self.epoch);
        self.now = self.compiler.services();
        self.wanted = wanted;
    }

    fn service(&self) -> &weir_core::service::Service {
        self.now.iter().next().expect("there is a service").1
    }

    /// A second passes.
    fn reap(&mut self) -> bool {
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
    fn reap_for(&mut self, seconds: usize) -> bool {
        (0..seconds).fold(false, |has_freed, _| self.reap() | has_freed)
    }

    /// The last bytes of the addresses of the next servers.
    fn pick(&self, n: usize) -> Vec<u8> {
        let service = self.service();
        let picks = (0..n).map(|_| testing::pick(service, &self.now));
        picks
            .map(|id| self.number(id.expect("one is usable")))
            .collect()
    }

    fn load(&self, id: ServerId) -> &Load {
        &self.workers[0].counters().loads[id.0 as usize]
    }

    fn number(&self, id: ServerId) -> u8 {
        let server = self.now.server(id).expect("a slot of the list is filled");
        server.addr.v4_bytes()[3]
    }

    /// The list, by the last bytes of the addresses.
    fn list(&self) -> Vec<u8> {
        let servers = self.service().servers.iter();
        servers
            .map(|candidate| self.number(candidate.server))
            .collect()
    }

    fn id(&self, number: u8) -> ServerId {
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

    fn count(&self, id: ServerId) -> &weir_core::counters::ServerCounters {
        &self.workers[0].counters().servers[id.0 as usize]
    }

    fn service_totals(&self) -> Totals {
        let totals = self.compiler.service_totals(&self.workers);
        totals.into_values().next().expect("there is one service")
    }
}

#[test]
fn the_list_is_the_reverse_of_the_file() {
    let world = World::new("rr", &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.list(), [3, 2, 1]);
    assert_eq!(world.pick(4), [3, 2, 1, 3]);
}

#[test]
fn an_added_server_enters_at_the_head_wherever_it_stands_in_the_file() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    world.reload("rr", &[(1, 1), (7, 1), (2, 1)]);
    assert_eq!(world.list(), [7, 2, 1]);
    world.reload("rr", &[(8, 1), (2, 1), (1, 1), (9, 1)]);
    assert_eq!(world.list(), [9, 8, 2, 1]);
}

#[test]
fn the_turn_goes_on_over_a_reload() {
    let mut world = World::new("rr", &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.pick(1), [3]);
    world.reload("rr", &[(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(world.pick(5), [2, 1, 4, 3, 2]);
}

#[test]
fn when_the_last_used_server_leaves_its_predecessor_takes_its_place() {
    let mut world = World::new("rr", &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.pick(2), [3, 2]);
    world.reload("rr", &[(1, 1), (3, 1)]);
    assert_eq!(world.pick(2), [1, 3]);
    // The same after the slot was freed and is another's.
    world.reload("rr", &[(3, 1)]);
    assert!(world.reap_for(190));
    world.reload("rr", &[(3, 1), (5, 1)]);
    assert_eq!(world.pick(2), [5, 3]);
}

#[test]
fn a_server_that_comes_back_is_not_taken_for_the_last_used_one() {
    let mut world = World::new("rr", &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.pick(2), [3, 2]);
    world.reload("rr", &[(1, 1), (3, 1)]);
    world.reload("rr", &[(1, 1), (3, 1), (2, 1)]);
    assert_eq!(world.list(), [2, 3, 1]);
    assert_eq!(world.pick(3), [1, 2, 3]);
}

#[test]
fn another_scheduler_starts_afresh_and_the_same_goes_on() {
    let mut world = World::new("wrr", &[(1, 1), (2, 2)]);
    let cursor = world.service().cursor.clone();
    let generation = world.service().generation;
    assert_eq!(world.pick(3), [2, 1, 2]);
    world.reload("wrr", &[(1, 1), (2, 2)]);
    assert_eq!(world.service().generation, generation);
    assert!(Arc::ptr_eq(&cursor, &world.service().cursor));
    world.reload("wrr", &[(1, 1), (2, 3)]);
    assert_eq!(world.service().generation, generation + 1);
    world.reload("rr", &[(1, 1), (2, 3)]);
    assert!(!Arc::ptr_eq(&cursor, &world.service().cursor));
    assert_eq!(world.pick(2), [2, 1]);
    world.reload("wrr", &[(1, 1), (2, 3)]);
    assert_eq!(world.pick(4), [2, 2, 2, 1]);
}

#[test]
fn a_removed_server_keeps_its_slot_until_no_flow_remembers_it() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.load(id).add(Connections::ACTIVE);
    world.reload("rr", &[(1, 1)]);
    assert!(!world.now.server(id).expect("it lingers").is_available);
    assert!(!world.reap_for(300));
    world.load(id).sub(Connections::ACTIVE);
    assert!(!world.reap_for(119), "it may come back");
    assert!(world.reap_for(65));
    world.reload("rr", &[(1, 1)]);
    assert_eq!(world.now.server(id), None);
}

#[test]
fn nothing_is_freed_while_a_worker_decides_by_an_older_epoch() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    world.reload("rr", &[(1, 1)]);
    for _ in 0..3 {
        let old = world.epoch - 1;
        world.clock += Duration::from_secs(100);
        let (epochs, now) = ((old, world.epoch), world.clock);
        assert!(
            !world
                .compiler
                .reap(&world.workers, &world.templates, epochs, now)
        );
    }
}

#[test]
fn a_server_that_comes_back_finds_its_flows_and_counters() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.count(id).connections.add(5);
    world.load(id).add(Connections::INACTIVE);
    world.reload("rr", &[(1, 1)]);
    world.reload("rr", &[(1, 1), (2, 1)]);
    assert_eq!(world.id(2), id);
    assert!(world.now.server(id).expect("it is back").is_available);
    assert_eq!(
        world
            .compiler
            .slots()
            .totals(&world.workers, id)
            .connections,
        5
    );
}

/// The kernel counts replies of a removed server nowhere.
#[test]
fn what_a_removed_server_answers_counts_for_nobody() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.count(id).packets_out.add(5);
    world.load(id).add(Connections::INACTIVE);
    world.reload("rr", &[(1, 1)]);
    world.count(id).packets_out.add(7);
    let totals = |world: &World| {
        let of_server = world.compiler.slots().totals(&world.workers, id);
        [of_server.packets_out, world.service_totals().packets_out]
    };
    assert_eq!(totals(&world), [5, 5]);
    world.reload("rr", &[(1, 1), (2, 1)]);
    assert_eq!(totals(&world), [5, 5]);
    world.count(id).packets_out.add(1);
    assert_eq!(totals(&world), [6, 6]);
    world.load(id).sub(Connections::INACTIVE);
    world.reload("rr", &[(1, 1)]);
    world.count(id).packets_out.add(9);
    assert!(world.reap_for(190));
    assert_eq!(world.service_totals().packets_out, 6);
}

#[test]
fn removed_servers_without_flows_give_way_when_slots_run_short() {
    let all: Vec<_> = (1..=SERVERS as u8).map(|n| (n, 1)).collect();
    let mut world = World::new("rr", &all);
    world.reload("rr", &all[..1]);
    assert!(!world.reap(), "it may come back at once");
    assert!(world.reap());
}

#[test]
fn a_removed_service_is_remembered_by_several_workers_while_its_flows_live() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let key = world.service().key;
    let id = world.id(2);
    world.load(id).add(Connections::INACTIVE);
    world.want(Vec::new());
    assert!(!world.now.has_formers(), "a single worker has all flows");

    let mut world = World::of_workers(2, "rr", &[(1, 1), (2, 1)]);
    world.want(Vec::new());
    assert!(world.now.has_formers());
    assert!(world.reap() && !world.now.has_formers(), "it has no flows");
    world.reload("rr", &[(1, 1), (2, 1)]);
    world.load(id).add(Connections::INACTIVE);
    world.want(Vec::new());
    world.reap_for(300);
    assert!(world.now.former(key).is_some());
    world.reload("rr", &[(1, 1)]);
    assert!(!world.now.has_formers(), "it is back");
    // It is remembered for a server, too, that did not come back.
    world.want(Vec::new());
    world.reap_for(300);
    assert!(world.now.has_formers());
    world.load(id).sub(Connections::INACTIVE);
    assert!(world.reap() && !world.now.has_formers());
}

#[test]
fn a_slot_used_again_starts_from_zero_and_the_service_never_falls() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.count(id).connections.add(5);
    assert_eq!(world.service_totals().connections, 5);
    world.reload("rr", &[(1, 1)]);
    assert_eq!(world.service_totals().connections, 5);
    assert!(world.reap_for(190));
    assert_eq!(world.service_totals().connections, 5);
    world.reload("rr", &[(1, 1), (9, 1)]);
    assert_eq!(world.id(9), id);
    assert_eq!(
        world.compiler.slots().totals(&world.workers, id),
        Totals::default()
    );
    world.count(id).connections.add(2);
    assert_eq!(
        world
            .compiler
            .slots()
            .totals(&world.workers, id)
            .connections,
        2
    );
    assert_eq!(world.service_totals().connections, 7);
}

#[test]
fn servers_that_linger_leave_less_room() {
    let world_full: Vec<(u8, u16)> = (1..=SERVERS as u8).map(|n| (n, 1)).collect();
    let mut world = World::new("rr", &world_full);
    world.reload("rr", &[(1, 1)]);
    let wanted = services("rr", &[(1, 1), (99, 1)]);
    let error = world
        .compiler
        .check_room(&difference::services(&world.wanted, &wanted));
    let sentence = error.expect_err("all places are kept").to_string();
    assert!(sentence.contains("raise limits.servers"), "{sentence}");
    // Those that come back need none.
    let wanted = services("rr", &world_full);
    let steps = difference::services(&world.wanted, &wanted);
    assert_eq!(world.compiler.check_room(&steps), Ok(()));
}

#[test]
fn a_service_that_left_is_unknown_and_its_servers_linger() {
    let mut world = World::new("rr", &[(1, 1)]);
    world.want(Vec::new());
    assert!(world.now.is_empty());
    assert_eq!(world.now.servers().count(), 1);
    world.reload("rr", &[(1, 1)]);
    assert_eq!(world.service().servers.len(), 1);
    assert_eq!(world.now.servers().count(), 1);
}

/// As seen of Linux 6.1.
#[test]
fn a_service_that_comes_again_finds_connections_and_counts_from_zero() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let (id, left) = (world.id(2), world.id(1));
    for id in [id, left] {
        world.count(id).connections.add(5);
        world.load(id).add(Connections::ACTIVE);
    }
    // One that left before its service did.
    world.reload("rr", &[(2, 1)]);
    world.want(Vec::new());
    world.reload("rr", &[(2, 1)]);
    assert_eq!(world.id(2), id);
    assert_eq!(world.load(id).get(), Connections::ACTIVE);
    assert_eq!(world.service_totals(), Totals::default());
    world.count(id).connections.add(2);
    assert_eq!(world.service_totals().connections, 2);
    assert_eq!(
        world
            .compiler
            .slots()
            .totals(&world.workers, id)
            .connections,
        2
    );
}

/// The kernel's list and where its `rr` stands.
#[derive(Default)]
struct Kernel {
    /// The head first.
    list: Vec<(u8, u16)>,
    last: Option<u8>,
}

impl Kernel {
    fn reload(&mut self, wanted: &[(u8, u16)]) {
        while let Some(at) = self
            .list
            .iter()
            .position(|(held, _)| wanted.iter().all(|(n, _)| n != held))
        {
            if self.last == Some(self.list[at].0) {
                self.last = at.checked_sub(1).map(|before| self.list[before].0);
            }
            self.list.remove(at);
        }
        for &(n, weight) in wanted {
            match self.list.iter_mut().find(|(held, _)| *held == n) {
                Some(held) => held.1 = weight,
                None => self.list.insert(0, (n, weight)),
            }
        }
    }

    fn pick(&mut self) -> Option<u8> {
        let at = self.list.iter().position(|(n, _)| Some(*n) == self.last);
        let (before, behind) = self.list.split_at(at.map_or(0, |at| at + 1));
        let mut all = behind.iter().chain(before);
        let chosen = all.find(|(_, weight)| *weight > 0)?.0;
        self.last = Some(chosen);
        Some(chosen)
    }
}

proptest! {
    #[test]
    fn whatever_is_reloaded_the_list_and_the_turn_are_the_kernels(
        reloads in proptest::collection::vec(
            (proptest::sample::subsequence((1..=SERVERS as u8).collect::<Vec<_>>(), 0..6),
             proptest::collection::vec(0..3u16, 6), any::<bool>(), 0..5usize, any::<bool>()),
            1..25,
        )
    ) {
        let mut kernel = Kernel::default();
        let mut world = World::new("rr", &[]);
        for (numbers, weights, is_reversed, picks, is_reaped) in reloads {
            let mut wanted: Vec<(u8, u16)> = numbers.into_iter().zip(weights).collect();
            if is_reversed {
                wanted.reverse();
            }
            let (list, generation) = (world.service().servers.clone(), world.service().generation);
            kernel.reload(&wanted);
            world.reload("rr", &wanted);
            let is_other = list != world.service().servers;
            prop_assert_eq!(world.service().generation, generation + u16::from(is_other));
            let numbers = kernel.list.iter().map(|(n, _)| *n);
            prop_assert_eq!(world.list(), numbers.collect::<Vec<_>>());
            if is_reaped {
                world.reap_for(190);
            }
            for _ in 0..picks {
                let picked = testing::pick(world.service(), &world.now);
                prop_assert_eq!(picked.map(|id| world.number(id)), kernel.pick());
            }
        }
    }
}

/// Replies of NAT servers show the client only, and flows keep to the owner they were made by.
#[test]
fn a_service_that_ever_had_a_nat_server_is_owned_by_client() {
    let mut world = World::new("rr", &[]);
    let mut is_by_client = |methods: &[weir_model::Method]| {
        let mut wanted = services("rr", &[(1, 1), (2, 1)]);
        wanted[0].servers.truncate(methods.len());
        for (server, method) in wanted[0].servers.iter_mut().zip(methods) {
            server.method = *method;
        }
        world.want(wanted);
        world.service().by_client
    };
    use weir_model::Method::{Dr, Nat, Tun};
    assert!(!is_by_client(&[]));
    assert!(!is_by_client(&[Dr, Tun]));
    assert!(is_by_client(&[Dr, Nat]));
    assert!(is_by_client(&[Dr]));
}

/// Its flows have local ports for as long as they last.
#[test]
fn a_slot_is_listed_for_fullnat_while_its_server_is_reached_by_it() {
    let mut world = World::new("rr", &[]);
    let mut listed = |method: Option<weir_model::Method>| {
        let mut wanted = services("rr", &[(1, 1), (2, 1)]);
        wanted[0]
            .servers
            .truncate(1 + usize::from(method.is_some()));
        if let Some(method) = method {
            wanted[0].servers[1].method = method;
        }
        world.want(wanted);
        let listed = |world: &World| world.compiler.slots().fullnat().count();
        let at_once = listed(&world);
        world.reap_for(190);
        (at_once, listed(&world))
    };
    use weir_model::Method::{Dr, FullNat};
    assert_eq!(listed(None), (0, 0));
    assert_eq!(listed(Some(FullNat)), (1, 1));
    assert_eq!(listed(Some(Dr)), (0, 0));
    assert_eq!(listed(Some(FullNat)), (1, 1));
    assert_eq!(listed(None), (1, 0));
    assert_eq!(listed(Some(Dr)), (0, 0));
}

/// Its flows remember the slot.
#[test]
fn a_service_that_is_deleted_and_made_again_has_the_servers_its_flows_remember() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let before = (world.id(1), world.id(2));
    world.load(before.0).add(Connections::INACTIVE);
    world.want(Vec::new());
    world.reap();
    let removed = world.now.server(before.0).expect("a flow remembers it");
    assert!(!removed.is_available && world.now.has_removed());
    world.reload("rr", &[(1, 1), (2, 1)]);
    assert_eq!(world.id(1), before.0);
    let again = world.now.server(before.0).expect("its slot is filled");
    assert!(again.is_available && !world.now.has_removed());
}

#[test]
fn a_service_of_sctp_and_one_by_the_packet_are_what_they_are_for_the_workers() {
    let text = "[[service]]\nprotocol = \"sctp\"\naddress = \"192.0.2.100\"\nport = 80\n\
                [[service]]\nprotocol = \"udp\"\naddress = \"192.0.2.100\"\nport = 53\n\
                one_packet = true\n";
    let mut world = World::new("rr", &[]);
    world.want(crate::testing::config(text).services);
    let mut seen: Vec<_> = world
        .now
        .iter()
        .map(|(_, service)| (service.key.protocol, service.one_packet))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(Protocol::Udp, true), (Protocol::Sctp, false)]);
    // An edit of the kind alone reaches the workers.
    let ordinary = text.replace("true", "false");
    world.want(crate::testing::config(&ordinary).services);
    assert!(world.now.iter().all(|(_, service)| !service.one_packet));
}

#[test]
fn every_switch_reaches_the_workers() {
    let defaults = super::settings(&crate::testing::config(""));
    assert_eq!(defaults.ipvs, Ipvs::default());
    let text = "[ipvs]\nconn_reuse_mode = 3\nexpire_nodest_conn = true\n\
                expire_quiescent_template = true\nsloppy_tcp = true\n\
                sloppy_sctp = true\nnat_icmp_send = true\nschedule_icmp = true\n\
                cache_bypass = true\nsecure_tcp = 1\n\
                drop_entry = 2\ndrop_packet = 3\nam_droprate = 7\namemthresh = 9\n\
                ftp_ports = [2121, 21]\nlblc_expiration = 5\nlblcr_expiration = 6\n";
    let settings = super::settings(&crate::testing::config(text));
    let expected = Ipvs {
        conn_reuse_mode: 3,
        expire_nodest_conn: true,
        expire_quiescent_template: true,
        sloppy_tcp: true,
        sloppy_sctp: true,
        nat_icmp_send: true,
        schedule_icmp: true,
        cache_bypass: true,
        secure_tcp: Defence::Auto,
        drop_entry: Defence::Auto,
        drop_packet: Defence::Always,
        am_droprate: 7,
        amemthresh: 9,
        ftp_ports: FtpPorts::new(&[2121, 21]),
        lblc_expiration: seconds(5),
        lblcr_expiration: seconds(6),
    };
    assert_eq!(settings.ipvs, expected);
}

#[test]
fn one_service_counts_from_zero_or_all_do_and_totals_go_on() {
    let two = crate::testing::service("rr", &[(1, 1), (2, 1)]);
    let other = two.replace("port = 80", "port = 81").replace("web", "more");
    let mut world = World::new("rr", &[]);
    world.want(crate::testing::config(&(two + &other)).services);
    let keys: Vec<_> = world.wanted.iter().map(|service| service.key).collect();
    for slot in 0..4 {
        world.count(ServerId(slot)).connections.add(80);
    }
    world.compiler.estimate(&world.workers, 2.0);
    // Of the first service's first server, the second's last, both services, and of all.
    let rates = |world: &World| {
        let slot = |at| world.compiler.slots().get(ServerId(at)).expect("in use");
        let services = [0, 1].map(|at: usize| world.compiler.service_rates(keys[at]));
        let all = world.compiler.all_rates();
        let each = [
            slot(0).rates(),
            slot(3).rates(),
            services[0],
            services[1],
            all,
        ];
        each.map(|rates| rates.connections_per_second)
    };
    let counts = |world: &World| {
        let (compiler, workers) = (&world.compiler, &world.workers);
        let of_slot = |at| {
            let totals = compiler.slots().totals(workers, ServerId(at));
            let slot = compiler.slots().get(ServerId(at)).expect("in use");
            slot.since_zero(totals).connections
        };
        let of_service = |at: usize| {
            let totals = compiler.service_total(&keys[at], workers);
            compiler.since_zero(keys[at], totals).connections
        };
        let all = compiler.workers_since_zero(workers)[0].connections;
        [of_slot(0), of_slot(3), of_service(0), of_service(1), all]
    };
    assert_eq!(rates(&world), [10.0, 10.0, 20.0, 20.0, 40.0]);
    world.compiler.zero(&world.workers, Some(keys[0]));
    assert_eq!(rates(&world), [0.0, 10.0, 0.0, 20.0, 40.0]);
    assert_eq!(counts(&world), [0, 80, 0, 160, 320]);
    world.compiler.estimate(&world.workers, 2.0);
    assert_eq!(rates(&world), [0.0, 7.5, 0.0, 15.0, 30.0]);
    world.count(ServerId(0)).connections.add(1);
    assert_eq!(counts(&world), [1, 80, 1, 160, 321]);
    world.compiler.zero(&world.workers, None);
    assert_eq!((rates(&world), counts(&world)), ([0.0; 5], [0; 5]));
    world.compiler.estimate(&world.workers, 2.0);
    assert_eq!(
        rates(&world),
        [0.0; 5],
        "what came before is not counted again"
    );
    let total = world.compiler.service_total(&keys[0], &world.workers);
    assert_eq!(total.connections, 161, "totals go on");
}
