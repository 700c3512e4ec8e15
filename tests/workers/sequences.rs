//! Schedulers over several workers: one sequence, one count.

use std::collections::BTreeMap;

use weir_core::io::WorkerId;
use weir_core::schedule::SchedulerName;
use weir_core::service::Method;

use crate::network::{Sent, WAN, syn};
use crate::running::{Plan, Running};
use crate::wire::join;
use crate::{WORKERS, amount};

fn plan(workers: u16, scheduler: SchedulerName) -> Plan {
    Plan {
        scheduler,
        servers: vec![(1, 1), (2, 2), (3, 3)],
        ..Plan::new(workers, Method::Dr)
    }
}

/// As the kernel's, for weights 3, 2, 1 in list order and connections that stay.
fn round(scheduler: SchedulerName) -> &'static [u8] {
    match scheduler {
        SchedulerName::Rr | SchedulerName::Lc => &[3, 2, 1],
        SchedulerName::Wrr => &[3, 2, 1, 3, 3, 2],
        SchedulerName::Wlc => &[3, 2, 1, 3, 2, 3],
        SchedulerName::Sed => &[3, 2, 3, 3, 2, 1],
        SchedulerName::Fo => &[3],
        other => panic!("{other} has no round"),
    }
}

#[test]
fn flows_one_after_the_other_take_the_kernels_sequence() {
    use SchedulerName::{Fo, Lc, Rr, Sed, Wlc, Wrr};
    for scheduler in [Rr, Wrr, Lc, Wlc, Sed, Fo] {
        for workers in WORKERS {
            let director = plan(workers, scheduler).start();
            let taken: Vec<u8> = (0..amount(120))
                .map(|n| {
                    let at = WorkerId((n % u32::from(workers)) as u16);
                    director.wire.deliver(at, WAN, &syn(n));
                    director.await_sent(1)[0].server
                })
                .collect();
            let expected = round(scheduler).iter().copied().cycle();
            let expected: Vec<u8> = expected.take(taken.len()).collect();
            assert_eq!(taken, expected, "{scheduler} over {workers} workers");
            assert_handed_off(&director);
        }
    }
}

#[test]
fn flows_at_once_give_each_server_its_exact_share() {
    for scheduler in [SchedulerName::Rr, SchedulerName::Wrr] {
        for workers in WORKERS {
            let director = plan(workers, scheduler).start();
            let rounds = amount(1000);
            let flows = rounds * round(scheduler).len() as u32;
            let sent = begin_at_once(&director, flows);
            let mut shares: BTreeMap<u8, u32> = BTreeMap::new();
            for packet in &sent {
                *shares.entry(packet.server).or_default() += 1;
            }
            let mut expected: BTreeMap<u8, u32> = BTreeMap::new();
            for server in round(scheduler) {
                *expected.entry(*server).or_default() += rounds;
            }
            assert_eq!(shares, expected, "{scheduler} over {workers} workers");
            for (server, share) in shares {
                let counted = director.total(|c| c.servers[usize::from(server)].connections.get());
                assert_eq!(counted, u64::from(share));
            }
            assert_handed_off(&director);
        }
    }
}

#[test]
fn whatever_they_go_by_flows_at_once_all_begin_and_are_counted_where_they_go() {
    for scheduler in SchedulerName::ALL {
        // These refuse by design.
        if matches!(scheduler, SchedulerName::None | SchedulerName::Ovf) {
            continue;
        }
        for workers in WORKERS {
            let director = plan(workers, *scheduler).start();
            let flows = amount(1500);
            let mut shares: BTreeMap<u8, u64> = BTreeMap::new();
            for packet in begin_at_once(&director, flows) {
                *shares.entry(packet.server).or_default() += 1;
            }
            for server in 1..=3 {
                let share = shares.get(&server).copied().unwrap_or(0);
                let told = format!("{scheduler} over {workers} workers, server {server}");
                assert_eq!(director.connections(server), (share, 0), "{told}");
            }
            assert_handed_off(&director);
        }
    }
}

/// Begins flows from three threads, each at all workers in turn.
fn begin_at_once(director: &Running, flows: u32) -> Vec<Sent> {
    const CLIENTS: u32 = 3;
    director.exchange(flows, |wire| {
        std::thread::scope(|scope| {
            join(
                (0..CLIENTS)
                    .map(|first| {
                        scope.spawn(move || {
                            for n in (first..flows).step_by(CLIENTS as usize) {
                                let at = n / CLIENTS % u32::from(director.workers());
                                wire.deliver(WorkerId(at as u16), WAN, &syn(n));
                            }
                        })
                    })
                    .collect::<Vec<_>>(),
            );
        });
    })
}

fn assert_handed_off(director: &Running) {
    let handed_off = director.total(|c| c.handed_off.get());
    assert_eq!(handed_off > 0, director.workers() > 1, "hand-offs");
    assert_eq!(director.drops(), 0);
}
