//! The end of workers that have frames everywhere.

use std::sync::Arc;

use weir_core::counters::DropReason;
use weir_core::io::WorkerId;
use weir_core::service::Method;

use crate::network::{WAN, syn};
use crate::running::Plan;
use crate::wire::join;

#[test]
fn stopping_with_full_rings_frees_every_frame() {
    // Server 12 does not answer ARP: frames wait for it.
    let plan = Plan {
        servers: vec![(1, 1), (2, 1), (12, 1)],
        depth: 64,
        ..Plan::new(3, Method::Dr)
    };
    let (mut director, workers) = plan.build();
    let mut workers = workers.into_iter();
    for _ in 0..2 {
        director.run(workers.next().expect("three workers"));
    }
    let never_runs = workers.next().expect("three workers");
    director.await_that("the snapshot", |d| {
        let running = &d.publisher.workers()[..2];
        running
            .iter()
            .all(|w| w.adopted_epoch() == d.publisher.newest().epoch)
    });
    // Worker 2 takes nothing and the wire takes nothing: rings and queues fill up.
    for n in 0..12_000 {
        director.wire.flood(WorkerId((n % 2) as u16), WAN, &syn(n));
    }
    director.await_that("full rings", |d| {
        let full = [DropReason::HandOffRingFull, DropReason::TransmitFull];
        let parked = DropReason::NeighbourQueueFull;
        full.iter()
            .chain([&parked])
            .all(|reason| d.total(|c| c.drops(*reason)) > 0)
    });
    while director.wire.device.deliver(WorkerId(2), WAN, &syn(0)) {}
    let alive = director.wire.device.frames_alive();
    assert!(alive > 2 * 1024, "two rings are full: {alive}");

    director.stop();
    drop((workers, never_runs));
    director.wire.device.clear();
    assert_eq!(director.wire.device.frames_alive(), 0);
}

#[test]
fn stopping_under_traffic_ends_every_worker() {
    for workers in crate::WORKERS {
        let mut director = Plan::new(workers, Method::Nat).start();
        let wire = Arc::clone(&director.wire);
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                for n in 0..10_000 {
                    // What no queue has room for is lost on the wire.
                    let at = WorkerId((n % u32::from(workers)) as u16);
                    let _ = wire.device.deliver(at, WAN, &syn(n));
                }
            });
            director.await_that("traffic", |d| d.total(|c| c.forwarded.get()) > 0);
            director.stop();
            join([traffic]);
        });
        wire.device.clear();
        assert_eq!(wire.device.frames_alive(), 0);
    }
}
