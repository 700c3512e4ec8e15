//! What a look-up of a service and of a server costs among 20 000 services of 10 servers each, and
//! among a few, which are in cache.
//!
//! `cargo run --release -p weir-core --features testing --example lookups`
//!
//! Nanoseconds each, the median of eleven runs with least and most.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use weir_core::load::Thresholds;
use weir_core::schedule::Scheduler;
use weir_core::service::{
    Candidate, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey, Services, Tunnel,
};
use weir_wire::Addr;

const ROUNDS: usize = 1_000_000;

fn main() {
    for services in [10, 1000, 20_000] {
        let all = all(services);
        let keys: Vec<_> = (0..services).map(key).collect();
        println!("{services} services of 10 servers");
        let mut at = 1usize;
        let mut random = move |below: usize| {
            at = at
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (at >> 33) % below
        };
        let order: Vec<usize> = (0..ROUNDS).map(|_| random(services as usize)).collect();
        time("find a service", || {
            let found = order.iter().filter(|at| {
                all.find(black_box(keys[**at]))
                    .is_some_and(|(_, s)| s.generation == 1)
            });
            found.count()
        });
        time("find none", || {
            let found = order.iter().filter(|at| {
                let key = ServiceKey {
                    port: 81,
                    ..keys[**at]
                };
                all.find(black_box(key)).is_some()
            });
            found.count()
        });
        time("a server", || {
            let there = order.iter().filter(|at| {
                let id = ServerId(black_box(**at as u32 * 10));
                all.server(id).is_some_and(|server| server.is_available)
            });
            there.count()
        });
        time("is_nat_source", || {
            let found = order.iter().filter(|at| {
                let addr = Addr::from_v4_bytes([10, 0, (**at >> 8) as u8, **at as u8]);
                all.is_nat_source(Protocol::Tcp, black_box(addr), 80)
            });
            found.count()
        });
    }
}

fn time(what: &str, work: impl Fn() -> usize) {
    let mut times: Vec<f64> = (0..11)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_nanos() as f64 / ROUNDS as f64
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    println!(
        "  {what:16} {:6.1} ({:.1} to {:.1})",
        times[5], times[0], times[10]
    );
}

fn key(n: u32) -> ServiceKey {
    let [_, _, third, fourth] = n.to_be_bytes();
    ServiceKey {
        protocol: Protocol::Tcp,
        addr: Addr::from_v4_bytes([198, 18, third, fourth]),
        port: 80,
        mark: 0,
    }
}

fn all(services: u32) -> Services {
    let servers = (0..services * 10).map(|n| {
        let [_, second, third, fourth] = n.to_be_bytes();
        Some(Server {
            addr: Addr::from_v4_bytes([10, second, third, fourth]),
            port: 80,
            method: Method::Nat,
            tunnel: Tunnel::Ipip,
            weight: 1,
            protocol: Protocol::Tcp,
            is_available: true,
            position: 0,
            service: ServiceId(0),
            thresholds: Thresholds::default(),
            has_any_port: false,
            was_nat: false,
        })
    });
    let services = (0..services).map(|n| {
        let candidate = |at| Candidate {
            server: ServerId(n * 10 + at),
            weight: 1,
        };
        let servers: Vec<_> = (0..10).map(candidate).collect();
        Service {
            key: key(n),
            scheduler: Scheduler::Rr,
            cursor: Arc::default(),
            generation: 1,
            servers: servers.into(),
            departed: [].into(),
            by_client: true,
            consistent: Arc::default(),
            new_flows_max: 0,
            one_packet: false,
            persistence: None,
            local: None,
        }
    });
    Services::new(services.collect::<Vec<_>>(), servers.collect::<Vec<_>>())
}
