//! Persistence templates, which all workers share.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::io::WorkerId;
use weir_core::persist::{Persistence, Refusal};
use weir_core::service::{Method, ServerId};
use weir_core::time::seconds;
use weir_wire::tcp_flag::{ACK, RST, SYN};

use crate::network::{PORTS, Sent, WAN, segment};
use crate::running::{Plan, Running};
use crate::wire::join;
use crate::{WORKERS, amount};

const CLIENTS: u32 = 100;

/// A segment of each of these connections of every client, from three threads, each at the next
/// worker.
fn send(director: &Running, connections: u32, flags: u8) -> Vec<Sent> {
    let all: Vec<u32> = (0..connections)
        .flat_map(|n| (0..CLIENTS).map(move |client| client * PORTS + n))
        .collect();
    let (all, workers) = (&all, u32::from(director.workers()));
    director.exchange(all.len() as u32, |wire| {
        std::thread::scope(|scope| {
            let part = |first: usize| {
                scope.spawn(move || {
                    for (at, n) in all.iter().enumerate().skip(first).step_by(3) {
                        let at = WorkerId((at as u32 % workers) as u16);
                        wire.deliver(at, WAN, &segment(*n, flags, 0));
                    }
                })
            };
            join((0..3).map(part).collect::<Vec<_>>());
        });
    })
}

fn children(director: &Running) -> Vec<u32> {
    let templates = &director.publisher.newest().templates;
    let now = director.publisher.workers()[0].now();
    let mut children = Vec::new();
    for at in 0..templates.buckets() {
        templates.visit(now, at, |view, _| children.push(view.children));
    }
    children
}

#[test]
fn connections_at_once_agree_on_their_clients_server_and_are_all_counted() {
    for workers in WORKERS {
        let director = Plan {
            persistence: Some(Persistence {
                lifetime: seconds(600),
                mask: !0,
                engine: None,
            }),
            ..Plan::new(workers, Method::Dr)
        };
        let director = director.start();
        let connections = amount(60);
        let mut servers: BTreeMap<u32, BTreeSet<u8>> = BTreeMap::new();
        for packet in send(&director, connections, SYN) {
            let client = packet.flow / PORTS;
            servers.entry(client).or_default().insert(packet.server);
        }
        // A thread that loses its processor with a bucket in hand may cost others their template.
        let without = |cause| director.total(|c| c.no_template(cause));
        let lost = without(Refusal::Contended);
        assert_eq!(without(Refusal::Full), 0);
        let more: usize = servers.values().map(|servers| servers.len() - 1).sum();
        assert!(
            more as u64 <= lost,
            "{more} clients with two servers, {lost} without template"
        );
        let held: u32 = children(&director).iter().sum();
        assert_eq!(u64::from(held) + lost, u64::from(connections * CLIENTS));
        let templates = &director.publisher.newest().templates;
        assert!(templates.len() <= u64::from(CLIENTS));
        let of_servers = (1..=3).map(|n| templates.of_server(ServerId(n)));
        assert_eq!(of_servers.sum::<u64>(), templates.len());

        send(&director, connections, ACK);
        send(&director, connections, RST);
        director.await_that("the end of all flows", |d| d.total(|c| c.flows.get()) == 0);
        assert!(children(&director).iter().all(|count| *count == 0));
    }
}
