//! Snapshots published while traffic runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use weir_core::io::WorkerId;
use weir_core::schedule::SchedulerName;
use weir_core::service::Method;
use weir_worker::Handle;

use crate::network::{Sent, WAN, network, syn};
use crate::running::{Plan, Running};
use crate::wire::{Wire, join, pause};
use crate::{WORKERS, amount};

/// Server lists that follow one another: servers come and go, weights change.
const LISTS: [&[(u8, u32)]; 4] = [
    &[(1, 1), (2, 1), (3, 1)],
    &[(1, 1), (3, 5)],
    &[(4, 2), (5, 1), (3, 5)],
    &[(2, 3)],
];

/// Flows that the tables have room for.
const FLOWS: u32 = 90_000;

/// Clients that begin flows until they are told to end.
struct Traffic<'a> {
    director: &'a [Handle],
    is_over: AtomicBool,
    next: AtomicU32,
    /// By flow: the epoch that all workers had adopted before its packet was delivered.
    floors: Vec<AtomicU64>,
}

impl Traffic<'_> {
    fn begin_flows(&self, wire: &Wire) {
        while !self.is_over.load(Ordering::Relaxed) {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(floor) = self.floors.get(n as usize) else {
                return;
            };
            let adopted = self.director.iter().map(Handle::adopted_epoch).min();
            floor.store(adopted.expect("a worker"), Ordering::Relaxed);
            let at = n as usize % self.director.len();
            wire.deliver(WorkerId(at as u16), WAN, &syn(n));
        }
    }
}

/// Publishes each list in turn under traffic. Returns what left, and by epoch which list held.
fn change_under_traffic(director: &mut Running, changes: u32) -> (Vec<(Sent, u64)>, Lists) {
    let handles = director.publisher.workers().to_vec();
    let traffic = Traffic {
        director: &handles,
        is_over: AtomicBool::new(false),
        next: AtomicU32::new(0),
        floors: (0..FLOWS).map(|_| AtomicU64::new(0)).collect(),
    };
    let mut lists = Lists::from([(director.publisher.newest().epoch, 0)]);
    let wire = Arc::clone(&director.wire);
    let mut sent = Vec::new();
    std::thread::scope(|scope| {
        let (traffic, wire) = (&traffic, &wire);
        let clients: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| traffic.begin_flows(wire)))
            .collect();
        let cursor = Arc::clone(&director.cursor);
        let watch = scope.spawn(move || watch_cursor(&cursor, &traffic.is_over));
        for change in 1..=changes {
            let list = change as usize % LISTS.len();
            let epoch = director.publisher.next_epoch();
            lists.insert(epoch, list);
            director.publish(LISTS[list]);
            for _ in 0..4 {
                pause();
                sent.extend(wire.collect());
                director.publisher.free_unused();
            }
        }
        traffic.is_over.store(true, Ordering::Relaxed);
        while !clients.iter().all(ScopedJoinHandle::is_finished) {
            sent.extend(wire.collect());
        }
        join(clients);
        join([watch]);
    });
    let begun = traffic.next.load(Ordering::Relaxed).min(FLOWS);
    director.await_that("the rest", |d| {
        sent.extend(wire.collect());
        sent.len() as u64 + d.drops() >= u64::from(begun)
    });
    assert_eq!(director.drops(), 0, "{}", director.told());
    let floor = |packet: &Sent| traffic.floors[packet.flow as usize].load(Ordering::Relaxed);
    let sent = sent.into_iter().map(|packet| {
        let floor = floor(&packet);
        (packet, floor)
    });
    (sent.collect(), lists)
}

/// By epoch: which of [`LISTS`].
type Lists = BTreeMap<u64, usize>;

/// The generation in a wrr cursor never falls, modulo 4096.
fn watch_cursor(cursor: &AtomicU64, is_over: &AtomicBool) {
    let mut before = cursor.load(Ordering::Relaxed) >> 52;
    while !is_over.load(Ordering::Relaxed) {
        let now = cursor.load(Ordering::Relaxed) >> 52;
        let risen = now.wrapping_sub(before) % 4096;
        assert!(risen < 2048, "the cursor went from {before} back to {now}");
        before = now;
        std::hint::spin_loop();
    }
}

#[test]
fn no_worker_chooses_a_server_that_the_epoch_it_adopted_does_not_have() {
    for scheduler in [SchedulerName::Rr, SchedulerName::Wrr] {
        for workers in WORKERS {
            let plan = Plan {
                scheduler,
                servers: LISTS[0].to_vec(),
                ..Plan::new(workers, Method::Dr)
            };
            let mut director = plan.start();
            let (sent, lists) = change_under_traffic(&mut director, amount(200));
            assert!(sent.len() > 100, "hardly any traffic: {}", sent.len());
            let mut later = 0;
            for (packet, floor) in &sent {
                let may_be = |list: &usize| LISTS[*list].iter().any(|(n, _)| *n == packet.server);
                assert!(
                    lists.range(floor..).any(|(_, list)| may_be(list)),
                    "server {} after epoch {floor}",
                    packet.server
                );
                later += u32::from(!LISTS[lists[floor]].iter().any(|(n, _)| *n == packet.server));
            }
            assert!((later as usize) < sent.len(), "floors say nothing");
            director.await_that("the last epoch", |d| d.has_adopted());
            let last = director.generation;
            director.wire.deliver(WorkerId(0), WAN, &syn(300_000));
            director.await_sent(1);
            if scheduler == SchedulerName::Wrr {
                let cursor = director.cursor.load(Ordering::Relaxed);
                assert_eq!(cursor >> 52, u64::from(last), "the newest list's cursor");
            }
        }
    }
}

#[test]
fn a_change_elsewhere_leaves_the_sequence_alone() {
    for scheduler in [SchedulerName::Rr, SchedulerName::Wrr] {
        for workers in WORKERS {
            let plan = Plan {
                scheduler,
                servers: vec![(1, 1), (2, 2), (3, 3)],
                ..Plan::new(workers, Method::Dr)
            };
            let mut director = plan.start();
            let handles = director.publisher.workers().to_vec();
            let taken: Vec<u8> = (0..amount(120))
                .map(|n| {
                    director.publisher.publish(|s| s.network = network());
                    let at = n as usize % handles.len();
                    director.wire.deliver(WorkerId(at as u16), WAN, &syn(n));
                    director.await_sent(1)[0].server
                })
                .collect();
            let round: &[u8] = match scheduler {
                SchedulerName::Rr => &[3, 2, 1],
                _ => &[3, 2, 1, 3, 3, 2],
            };
            let expected: Vec<u8> = round.iter().copied().cycle().take(taken.len()).collect();
            assert_eq!(taken, expected, "{scheduler} over {workers} workers");
        }
    }
}
