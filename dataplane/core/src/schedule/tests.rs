use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use weir_wire::builder::addr;

use super::*;
use crate::counters::WorkerCounters;
use crate::load::{Connections, Thresholds};
use crate::service::{Method, Protocol, Server, ServiceId, ServiceKey, Tunnel};
use crate::testing::Schedules;

mod by_the_rules;
mod locality;

/// A service whose servers have these weights, in the order of addition; server `n` is in slot `n`.
fn services(name: SchedulerName, weights: &[u32]) -> Services {
    of_recipe(&Recipe::plain(name), weights)
}

fn of_recipe(recipe: &Recipe, weights: &[u32]) -> Services {
    let server = |(n, weight): (u8, &u32)| Server {
        addr: Addr::from_v4_bytes([10, 0, n / 250, n % 250 + 1]),
        port: 80,
        method: Method::Dr,
        tunnel: Tunnel::Ipip,
        weight: *weight,
        protocol: Protocol::Tcp,
        is_available: true,
        position: 0,
        service: ServiceId(0),
        thresholds: Thresholds::default(),
        has_any_port: false,
        was_nat: false,
    };
    let servers: Vec<Server> = (0u8..).zip(weights).map(server).collect();
    let listed = servers.iter().enumerate().rev();
    let candidates: Vec<Candidate> = listed
        .map(|(slot, server)| Candidate {
            server: ServerId(slot as u32),
            weight: server.weight,
        })
        .collect();
    let members = servers.iter().rev().map(|server| Member {
        addr: server.addr,
        port: server.port,
        weight: server.weight,
        last_weight: server.weight,
    });
    let service = Service {
        key: ServiceKey {
            protocol: Protocol::Tcp,
            addr: addr("192.0.2.100"),
            port: 80,
            mark: 0,
        },
        scheduler: Scheduler::build(recipe, &members.collect::<Vec<_>>(), None),
        cursor: Arc::default(),
        generation: 1,
        servers: candidates.into(),
        departed: [].into(),
        by_client: false,
        consistent: Arc::default(),
        new_flows_max: 0,
        one_packet: false,
        persistence: None,
        local: None,
    };
    Services::new(vec![service], servers.into_iter().map(Some).collect())
}

/// Client `n` to the service.
fn request(n: u32) -> Tuple {
    Tuple {
        src: Addr::from_v4_bytes((0xc633_6400 + n).to_be_bytes()),
        dst: addr("192.0.2.100"),
        src_port: 1024 + (n % 60_000) as u16,
        dst_port: 80,
        protocol: Protocol::Tcp,
    }
}

/// A worker that schedules, and counts nothing but what it is told to.
struct Worker {
    counters: Arc<WorkerCounters>,
    schedules: Schedules,
    flows: u32,
}

impl Worker {
    fn new() -> Self {
        let counters = Arc::new(WorkerCounters::new(0, 300));
        let loads = Loads::new([Arc::clone(&counters)]);
        Self {
            counters,
            schedules: Schedules::new(Arc::new(loads)),
            flows: 0,
        }
    }

    fn pick(&mut self, services: &Services) -> Option<u32> {
        self.flows += 1;
        let request = request(self.flows);
        let service = services.iter().next().expect("there is one").1;
        let picked = self.schedules.pick(service, services, &request);
        picked.map(|id| id.0)
    }

    fn picks(&mut self, services: &Services, count: usize) -> Vec<u32> {
        let picks = (0..count).map(|_| self.pick(services));
        picks.map(|id| id.expect("a server")).collect()
    }

    fn count(&self, slot: usize, active: u32, inactive: u32) {
        self.counters.loads[slot].add(Connections { active, inactive });
    }

    fn overload(&self, slot: u32, services: &Services) {
        let thresholds = Thresholds { upper: 1, lower: 0 };
        let server = services.server(ServerId(slot)).expect("it has a server");
        self.count(slot as usize, 0, 1);
        self.schedules.loads.bound(
            ServerId(slot),
            &Server {
                thresholds,
                ..*server
            },
        );
        self.counters.loads[slot as usize].sub(Connections::INACTIVE);
    }
}

fn picks(services: &Services, count: usize) -> Vec<u32> {
    Worker::new().picks(services, count)
}

#[test]
fn weight_zero_gets_nothing_and_all_zero_is_nobody() {
    for name in SchedulerName::ALL {
        let mut worker = Worker::new();
        let all = services(*name, &[1, 0, 2]);
        for _ in 0..30 {
            let picked = worker.pick(&all);
            assert_ne!(picked, Some(1), "{name}");
            // These two have places for it, whose clients are refused.
            let may_refuse = matches!(name, SchedulerName::Dh | SchedulerName::Sh);
            let refuses = may_refuse || *name == SchedulerName::None;
            assert!(picked.is_some() || refuses, "{name}");
        }
        for weights in [&[0, 0][..], &[]] {
            assert_eq!(worker.pick(&services(*name, weights)), None, "{name}");
        }
    }
}

#[test]
fn an_overloaded_server_is_passed_over_and_all_overloaded_is_nobody() {
    for name in SchedulerName::ALL {
        let mut worker = Worker::new();
        let all = services(*name, &[1, 5, 2]);
        worker.overload(1, &all);
        for _ in 0..30 {
            assert_ne!(worker.pick(&all), Some(1), "{name}");
        }
        worker.overload(0, &all);
        worker.overload(2, &all);
        // What is remembered is taken whatever the thresholds say: see `by_locality`.
        if *name != SchedulerName::Lblc {
            assert_eq!(worker.pick(&all), None, "{name}");
        }
    }
}

#[test]
fn wrr_gives_each_round_its_weights_whatever_they_are() {
    for weights in [&[7, 5, 3][..], &[100, 1], &[65535, 65535, 1], &[6, 4, 2, 8]] {
        let services = services(SchedulerName::Wrr, weights);
        let divisor = weights.iter().fold(0, |a, b| wrr::gcd(a, *b));
        let round: u32 = weights.iter().map(|w| w / divisor).sum();
        let picked = picks(&services, round as usize);
        for (server, weight) in (0u32..).zip(weights) {
            let got = picked.iter().filter(|p| **p == server).count() as u32;
            assert_eq!(got, weight / divisor, "{weights:?}");
        }
    }
}

/// As many steps as the weights are apart would take minutes.
#[test]
fn wrr_passes_a_heavy_server_over_at_once() {
    let mut worker = Worker::new();
    let services = services(SchedulerName::Wrr, &[1, i32::MAX as u32]);
    assert_eq!(worker.picks(&services, 4), [1, 0, 1, 1]);
    worker.overload(1, &services);
    assert_eq!(worker.picks(&services, 100), [0; 100]);
}

#[test]
fn threads_together_take_the_sequence_of_one() {
    for name in [SchedulerName::Rr, SchedulerName::Wrr] {
        let services = services(name, &[3, 1, 2]);
        let mut all: Vec<u32> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| picks(&services, 3000)))
                .collect();
            let taken = workers
                .into_iter()
                .flat_map(|w| w.join().expect("no panic"));
            taken.collect()
        });
        let mut alone = picks(&self::services(name, &[3, 1, 2]), 12_000);
        all.sort_unstable();
        alone.sort_unstable();
        assert_eq!(all, alone, "{name}");
    }
}

#[test]
fn twos_draws_by_weight_and_takes_the_less_loaded_of_two() {
    let services = services(SchedulerName::Twos, &[1, 2, 5]);
    let mut worker = Worker::new();
    let mut shares = [0u32; 3];
    for server in worker.picks(&services, 80_000) {
        shares[server as usize] += 1;
    }
    // Of equals the first drawn; the list's first, server 2, has one lot of nine more.
    for (share, lots) in shares.into_iter().zip([1, 2, 6]) {
        let expected = 80_000 * lots / 9;
        assert!(share.abs_diff(expected) < expected / 10, "{shares:?}");
    }
    // Server 2 is chosen only when both draws are its own.
    worker.count(2, 1000, 0);
    let count = worker.picks(&services, 81_000);
    let count = count.into_iter().filter(|server| *server == 2).count() as u32;
    let expected = 81_000 * 36 / 81;
    assert!(count.abs_diff(expected) < expected / 10, "{count}");
}

#[test]
fn maglev_gives_each_of_a_thousand_servers_its_share_to_within_a_percent() {
    let server = |n: u16| {
        let [high, low] = n.to_be_bytes();
        (Addr::from_v4_bytes([10, 0, high, low]), 80, 1)
    };
    for count in [3, 10, 100, 1000] {
        let servers: Vec<_> = (0..count).map(server).collect();
        let table = Consistent::even(&servers);
        let mut shares = vec![0u32; count.into()];
        table
            .from(&request(1))
            .for_each(|position| shares[position] += 1);
        let all: u32 = shares.iter().sum();
        let fair = f64::from(all) / f64::from(count);
        for share in shares {
            let off = (f64::from(share) - fair).abs() / fair;
            assert!(off < 0.01, "{share} of {fair}");
        }
    }
}

#[test]
fn maglev_keeps_clients_by_address_and_port_and_takes_the_next_when_one_is_overloaded() {
    let all = services(SchedulerName::Maglev, &[1; 5]);
    let service = all.iter().next().expect("one").1;
    let mut worker = Worker::new();
    let mut moved = 0;
    for n in 0..200 {
        let first = worker.schedules.pick(service, &all, &request(n));
        assert_eq!(first, worker.schedules.pick(service, &all, &request(n)));
        let other_port = Tuple {
            src_port: 5,
            ..request(n)
        };
        moved += u32::from(first != worker.schedules.pick(service, &all, &other_port));
    }
    assert!(moved > 100, "{moved}");
    worker.overload(3, &all);
    assert!(!worker.picks(&all, 300).contains(&3));
}

#[test]
fn names_are_ipvsadms() {
    for name in SchedulerName::ALL {
        assert_eq!(alloc::format!("{name}").parse(), Ok(*name));
    }
    assert_eq!("lce".parse::<SchedulerName>(), Err(UnknownScheduler));
}
