//! Flows listed while traffic runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_wire::tcp_flag::{ACK, RST, SYN};
use weir_worker::Handle;
use weir_worker::handle::{FlowDump, FlowFilter, FlowRecord};

use crate::network::{FlowNumber, WAN, flow_of, segment, server, syn};
use crate::running::{Plan, Running};
use crate::wire::{join, pause};
use crate::{WORKERS, amount};

/// How often each flow is listed by all workers together.
fn list(director: &Running, filter: FlowFilter) -> BTreeMap<FlowNumber, u32> {
    list_by(director, filter, |handle, filter| {
        handle.dump_flows(filter, usize::MAX)
    })
}

fn list_by(
    director: &Running,
    filter: FlowFilter,
    ask: impl Fn(&Handle, FlowFilter) -> Option<Arc<FlowDump>>,
) -> BTreeMap<FlowNumber, u32> {
    let mut times = BTreeMap::new();
    for handle in director.publisher.workers() {
        let dump = ask(handle, filter).expect("a free place");
        let mut note = |record: FlowRecord| {
            assert!(filter.matches(&record), "{record:?}");
            let flow = flow_of(record.request.src, record.request.src_port);
            *times.entry(flow).or_default() += 1;
        };
        let drain = |note: &mut dyn FnMut(FlowRecord), dump: &FlowDump| {
            while let Some(record) = dump.take() {
                note(record);
            }
        };
        director.await_that("the end of the listing", |d| {
            // In this order: what arrives before the end is seen.
            let is_done = dump.is_done();
            drain(&mut note, &dump);
            d.wire.collect();
            is_done
        });
    }
    times
}

#[test]
fn a_flow_that_lives_throughout_is_listed_once() {
    for workers in WORKERS {
        let director = Plan::new(workers, Method::Dr).start();
        let at = |n: u32| WorkerId((n % u32::from(workers)) as u16);
        let steady = amount(3000);
        director.exchange(steady, |wire| {
            for n in 0..steady {
                wire.deliver(at(n), WAN, &segment(n, SYN, 0));
            }
        });
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Flows that begin and end all the time, between and behind the others.
            let churn = scope.spawn(|| {
                for n in (steady..200_000).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    for frame in [syn(n), segment(n, ACK, 1), segment(n, RST, 1)] {
                        while !director.wire.device.deliver(at(n), WAN, &frame) {
                            if is_over.load(Ordering::Relaxed) {
                                return;
                            }
                            pause();
                        }
                    }
                }
            });
            let by_server = FlowFilter {
                server: Some(server(2)),
                ..FlowFilter::default()
            };
            for _ in 0..amount(8) {
                let all = list(&director, FlowFilter::default());
                let some = list(&director, by_server);
                for n in 0..steady {
                    assert_eq!(all.get(&n), Some(&1), "flow {n} of {workers} workers");
                }
                let steady_of_two = some.range(..steady);
                assert!(steady_of_two.clone().all(|(_, times)| *times == 1));
                assert_eq!(steady_of_two.count() as u32, steady / 3);
            }
            is_over.store(true, Ordering::Relaxed);
            join([churn]);
        });
    }
}

#[test]
fn a_listing_that_nobody_takes_does_not_hold_the_next_up() {
    let director = Plan::new(2, Method::Dr).start();
    director.exchange(100, |wire| {
        for n in 0..100 {
            wire.deliver(WorkerId((n % 2) as u16), WAN, &syn(n));
        }
    });
    for handle in director.publisher.workers() {
        let left = handle.dump_flows(FlowFilter::default(), usize::MAX);
        left.expect("a free place").give_up();
    }
    assert_eq!(list(&director, FlowFilter::default()).len(), 100);
}

#[test]
fn flows_that_are_ended_as_they_are_told_are_gone() {
    for workers in WORKERS {
        let director = Plan::new(workers, Method::Nat).start();
        let at = |n: u32| WorkerId((n % u32::from(workers)) as u16);
        let count = amount(2000);
        director.exchange(count, |wire| {
            for n in 0..count {
                wire.deliver(at(n), WAN, &syn(n));
            }
        });
        let of_one = FlowFilter {
            server: Some(server(1)),
            ..FlowFilter::default()
        };
        let ended = list_by(&director, of_one, |handle, filter| {
            handle.end_flows(filter, usize::MAX)
        });
        assert!(!ended.is_empty());
        let left = list(&director, FlowFilter::default());
        assert_eq!(left.len() + ended.len(), count as usize);
        assert!(ended.keys().all(|flow| !left.contains_key(flow)));
        assert!(list(&director, of_one).is_empty());
    }
}
