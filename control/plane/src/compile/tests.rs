use std::sync::Arc;

use proptest::prelude::*;
use weir_core::service::{Protocol, ServerId};
use weir_core::settings::{Defence, FtpPorts, Ipvs};
use weir_core::testing;
use weir_core::time::seconds;

mod removed;
mod world;

use self::world::World;
use crate::testing::{SERVERS, services};

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
