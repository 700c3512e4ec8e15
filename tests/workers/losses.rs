//! Packets in are packets out and counted drops, each once and in order.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::counters::DropReason;
use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_wire::tcp_flag::{ACK, SYN};

use crate::network::{LAN, Sent, WAN, reply, segment, syn};
use crate::running::{Plan, Running};
use crate::wire::{join, pause};
use crate::{WORKERS, amount};

/// What leaves until everything that was delivered has left or was dropped.
fn until_quiet(director: &Running, delivered: u32) -> Vec<Sent> {
    let mut sent = Vec::new();
    director.await_that("all packets", |d| {
        sent.extend(d.wire.collect());
        sent.len() as u64 + d.drops() >= u64::from(delivered)
    });
    sent
}

#[test]
fn both_directions_at_once_lose_nothing_and_keep_their_order() {
    for workers in WORKERS {
        let director = Plan::new(workers, Method::Nat).start();
        let (flows, segments) = (amount(90), 100);
        let at = |n: u32| WorkerId((n % u32::from(workers)) as u16);
        let begun = director.exchange(flows, |wire| {
            for n in 0..flows {
                wire.deliver(at(n), WAN, &syn(n));
            }
        });
        let server_of: BTreeMap<u32, u8> = begun.iter().map(|p| (p.flow, p.server)).collect();

        let sent = std::thread::scope(|scope| {
            let requests = scope.spawn(|| {
                for seq in 1..=segments {
                    for n in 0..flows {
                        director.wire.deliver(at(n), WAN, &segment(n, ACK, seq));
                    }
                }
            });
            let replies = scope.spawn(|| {
                for seq in 1..=segments {
                    for n in 0..flows {
                        // Each flow's replies by one queue, but not by its requests'.
                        let frame = &reply(n, server_of[&n], ACK, seq)[0];
                        director.wire.deliver(at(n + 1), LAN, frame);
                    }
                }
            });
            let sent = director.await_sent(2 * flows * segments);
            join([requests, replies]);
            sent
        });
        let mut orders: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for packet in &sent {
            orders
                .entry((packet.port, packet.flow))
                .or_default()
                .push(packet.seq);
            if packet.port == LAN {
                assert_eq!(packet.server, server_of[&packet.flow], "another server");
            }
        }
        assert_eq!(orders.len(), 2 * flows as usize);
        let in_order: Vec<u32> = (1..=segments).collect();
        for (which, order) in orders {
            assert_eq!(order, in_order, "{which:?} over {workers} workers");
        }
        assert_eq!(director.drops(), 0);
    }
}

#[test]
fn what_finds_no_room_is_counted_and_nothing_else_is_lost() {
    for workers in WORKERS {
        let plan = Plan {
            // Bursts of 32 from up to eight workers do not fit one.
            depth: 16,
            ..Plan::new(workers, Method::Dr)
        };
        let director = plan.start();
        let flows = amount(20_000);
        let sent = std::thread::scope(|scope| {
            let clients = [0, 1].map(|first| {
                let director = &director;
                scope.spawn(move || {
                    for n in (first..flows).step_by(2) {
                        let at = WorkerId((n / 2 % u32::from(workers)) as u16);
                        director.wire.flood(at, WAN, &syn(n));
                    }
                })
            });
            // A device that takes packets slower than they come.
            for _ in 0..amount(200) {
                pause();
            }
            let sent = until_quiet(&director, flows);
            join(clients);
            sent
        });
        let lost = director.drops();
        assert_eq!(sent.len() as u64 + lost, u64::from(flows));
        let room = [DropReason::TransmitFull, DropReason::HandOffRingFull];
        let known: u64 = room.iter().map(|r| director.total(|c| c.drops(*r))).sum();
        assert_eq!(lost, known, "{}", director.told());
        let once: BTreeSet<u32> = sent.iter().map(|packet| packet.flow).collect();
        assert_eq!(once.len(), sent.len(), "a packet left twice");
        assert_eq!(
            director.total(|c| c.flows_created.get()),
            u64::from(flows) - director.total(|c| c.drops(DropReason::HandOffRingFull)),
        );
        director.await_that("the port's counters", |d| {
            d.total(|c| c.ports[1].packets_sent.get()) == sent.len() as u64
        });
        assert_eq!(director.wire.device.frames_alive(), 0);
    }
}

#[test]
fn a_worker_that_stands_still_costs_what_its_ring_does_not_hold() {
    let (mut director, workers) = Plan::new(2, Method::Dr).build();
    let mut workers = workers.into_iter();
    director.run(workers.next().expect("worker 0"));
    let idle = workers.next().expect("worker 1");
    director.await_that("the snapshot", |d| {
        d.publisher.workers()[0].adopted_epoch() == d.publisher.newest().epoch
    });
    let of_idle = (0..).filter(|n| director.owner(*n) == WorkerId(1));
    let sent: Vec<u32> = of_idle.take(1500).collect();
    for n in &sent {
        director.wire.flood(WorkerId(0), WAN, &segment(*n, SYN, 0));
    }
    director.await_that("the drops", |d| {
        d.total(|c| c.handed_off.get()) + d.drops() == sent.len() as u64
    });
    let dropped = director.total(|c| c.drops(DropReason::HandOffRingFull));
    assert_eq!(dropped, director.drops());
    let waiting = sent.len() as u32 - dropped as u32;
    assert!(dropped > 0 && waiting > 0);
    // It goes on, and nothing that waited is lost.
    director.run(idle);
    director.await_sent(waiting);
    assert_eq!(director.wire.device.frames_alive(), 0);
}
