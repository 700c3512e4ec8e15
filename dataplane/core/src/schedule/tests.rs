use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use weir_wire::builder::addr;

use super::*;
use crate::service::{Method, Protocol, Server, ServiceId, ServiceKey, Tunnel};

/// A service whose servers have these weights, in the order of addition; server `n` is in slot `n`.
fn services(name: SchedulerName, weights: &[u32]) -> Services {
    let server = |weight: u32| Server {
        addr: addr("10.0.0.1"),
        port: 80,
        method: Method::Dr,
        tunnel: Tunnel::Ipip,
        weight,
        protocol: Protocol::Tcp,
        is_available: true,
        position: 0,
        service: ServiceId(0),
        has_any_port: false,
    };
    let slots = weights.iter().map(|weight| Some(server(*weight))).collect();
    let candidates: Vec<Candidate> = weights
        .iter()
        .enumerate()
        .rev()
        .map(|(slot, weight)| Candidate {
            server: ServerId(slot as u32),
            weight: *weight,
        })
        .collect();
    let service = Service {
        key: ServiceKey {
            protocol: Protocol::Tcp,
            addr: addr("192.0.2.100"),
            port: 80,
            mark: 0,
        },
        scheduler: Scheduler::build(name, &candidates),
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
    Services::new(vec![service], slots)
}

fn picks(services: &Services, count: usize) -> Vec<u32> {
    let (_, service) = services.iter().next().expect("there is one");
    (0..count)
        .map(|_| Scheduler::pick(service, services).expect("a server").0)
        .collect()
}

#[test]
fn weight_zero_gets_nothing_and_all_zero_is_nobody() {
    for name in SchedulerName::ALL {
        assert!(
            !picks(&services(*name, &[1, 0, 2]), 30).contains(&1),
            "{name}"
        );
        for weights in [&[0, 0][..], &[]] {
            let services = services(*name, weights);
            assert_eq!(
                Scheduler::pick(services.iter().next().expect("one").1, &services),
                None,
                "{name}"
            );
        }
    }
}

#[test]
fn wrr_gives_each_round_its_weights_whatever_they_are() {
    for weights in [&[7, 5, 3][..], &[100, 1], &[65535, 65535, 1], &[6, 4, 2, 8]] {
        let services = services(SchedulerName::Wrr, weights);
        let divisor = weights.iter().fold(0, |a, b| gcd(a, *b));
        let round: u32 = weights.iter().map(|w| w / divisor).sum();
        let picked = picks(&services, round as usize);
        for (server, weight) in (0u32..).zip(weights) {
            let got = picked.iter().filter(|p| **p == server).count() as u32;
            assert_eq!(got, weight / divisor, "{weights:?}");
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn threads_together_take_the_sequence_of_one() {
    for name in SchedulerName::ALL {
        let services = services(*name, &[3, 1, 2]);
        let mut all: Vec<u32> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| picks(&services, 3000)))
                .collect();
            let taken = workers
                .into_iter()
                .flat_map(|w| w.join().expect("no panic"));
            taken.collect()
        });
        let mut alone = picks(&self::services(*name, &[3, 1, 2]), 12_000);
        all.sort_unstable();
        alone.sort_unstable();
        assert_eq!(all, alone, "{name}");
    }
}

#[test]
fn names_are_ipvsadms() {
    for name in SchedulerName::ALL {
        assert_eq!(alloc::format!("{name}").parse(), Ok(*name));
    }
    assert_eq!("lc".parse::<SchedulerName>(), Err(UnknownScheduler));
}
