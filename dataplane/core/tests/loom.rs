//! Every order in which workers may meet at what they share, by the model checker loom
//! (`tests/sanitize/run loom`). Empty in other builds.
#![cfg(weir_loom)]

use std::sync::Arc;

use loom::thread;
use weir_core::counters::Counter;
use weir_core::load::Thresholds;
use weir_core::persist::{Attached, End, TemplateKey, Templates};
use weir_core::schedule::SchedulerName;
use weir_core::service::{
    Candidate, Method, Protocol, Server, ServerId, Service, ServiceId, ServiceKey, Services, Tunnel,
};
use weir_core::sync::{AtomicU64, Ordering};
use weir_core::testing::{pick, scheduler};
use weir_core::time::Tick;
use weir_wire::Addr;

/// One service with these servers: slot and weight, in list order.
fn services(
    name: SchedulerName,
    cursor: &Arc<AtomicU64>,
    generation: u16,
    servers: &[(u32, u32)],
) -> Arc<Services> {
    let mut slots = vec![None; 8];
    for (slot, weight) in servers {
        slots[*slot as usize] = Some(Server {
            addr: Addr::from_v4_bytes([10, 0, 0, *slot as u8]),
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
        });
    }
    let candidates: Vec<Candidate> = servers
        .iter()
        .map(|(slot, weight)| Candidate {
            server: ServerId(*slot),
            weight: *weight,
        })
        .collect();
    let service = Service {
        key: ServiceKey {
            protocol: Protocol::Tcp,
            addr: Addr::from_v4_bytes([192, 0, 2, 100]),
            port: 80,
            mark: 0,
        },
        scheduler: scheduler(name, &candidates),
        cursor: Arc::clone(cursor),
        generation,
        servers: candidates.into(),
        departed: [].into(),
        by_client: false,
        local: None,
        consistent: Arc::default(),
        new_flows_max: 0,
        one_packet: false,
        persistence: None,
    };
    Arc::new(Services::new(vec![service], slots))
}

fn picks(services: &Services, count: usize) -> Vec<u32> {
    let (_, service) = services.iter().next().expect("a service");
    let next = || pick(service, services).expect("a usable server");
    (0..count).map(|_| next().0).collect()
}

/// `count` picks by each of `threads` workers at once.
fn picks_at_once(services: &Arc<Services>, threads: usize, count: usize) -> Vec<u32> {
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let services = Arc::clone(services);
            thread::spawn(move || picks(&services, count))
        })
        .collect();
    let mut all = picks(services, count);
    for other in others {
        all.extend(other.join().expect("no panic"));
    }
    all
}

#[test]
fn workers_together_take_the_sequence_of_one() {
    for name in [SchedulerName::Rr, SchedulerName::Wrr] {
        for (threads, count) in [(2, 3), (3, 1)] {
            loom::model(move || {
                let servers = [(3, 3), (2, 1), (1, 2)];
                let shared = services(name, &Arc::default(), 1, &servers);
                let mut all = picks_at_once(&shared, threads, count);
                let one = services(name, &Arc::default(), 1, &servers);
                let mut alone = picks(&one, threads * count);
                all.sort_unstable();
                alone.sort_unstable();
                assert_eq!(all, alone, "{name}");
            });
        }
    }
}

#[test]
fn a_worker_with_the_older_list_does_not_disturb_the_newer_ones_sequence() {
    loom::model(|| {
        let cursor = Arc::default();
        let older = services(SchedulerName::Wrr, &cursor, 1, &[(3, 3), (2, 1), (1, 2)]);
        let newer = services(SchedulerName::Wrr, &cursor, 2, &[(2, 2), (1, 1)]);
        // The cursor is the newer list's from here on.
        let first = picks(&newer, 1);
        let late = thread::spawn(move || picks(&older, 2));
        let rest = picks(&newer, 4);
        late.join().expect("no panic");
        assert_eq!(cursor.load(Ordering::Relaxed) >> 52, 2);
        let taken = [first, rest, picks(&newer, 1)].concat();
        // Two rounds of the weights 2 and 1, whatever the late worker did.
        assert_eq!(taken, [2, 1, 2, 2, 1, 2]);
    });
}

#[test]
fn a_worker_with_the_newer_list_takes_the_cursor_over_for_good() {
    loom::model(|| {
        let cursor: Arc<AtomicU64> = Arc::default();
        let older = services(SchedulerName::Wrr, &cursor, 4095, &[(3, 1), (2, 1)]);
        // Generations are counted modulo 4096.
        let newer = services(SchedulerName::Wrr, &cursor, 4096, &[(2, 1), (1, 1)]);
        let late = thread::spawn(move || picks(&older, 2));
        let taken = picks(&newer, 2);
        late.join().expect("no panic");
        assert_eq!(cursor.load(Ordering::Relaxed) >> 52, 0);
        assert_eq!(taken, [2, 1]);
    });
}

#[test]
fn a_reader_of_a_counter_sees_what_was_written_and_never_less_than_before() {
    loom::model(|| {
        let counter = Arc::new(Counter::default());
        let writer = Arc::clone(&counter);
        let writer = thread::spawn(move || {
            for _ in 0..3 {
                writer.add(1 << 33 | 1);
            }
        });
        let seen = [counter.get(), counter.get()];
        assert!(seen[0] <= seen[1], "{seen:?}");
        assert!(seen.iter().all(|n| n >> 33 == n & 3), "half a number");
        writer.join().expect("no panic");
        assert_eq!(counter.get(), 3 * (1 << 33 | 1));
    });
}

#[test]
fn workers_that_remember_a_destination_at_once_leave_what_is_remembered_whole() {
    loom::model(|| {
        let shared = services(SchedulerName::Lblc, &Arc::default(), 1, &[(2, 1), (1, 1)]);
        let all = picks_at_once(&shared, 2, 1);
        assert_eq!(all, [2, 2]);
        let service = shared.iter().next().expect("a service").1;
        let cache = service.scheduler.cache().expect("it remembers");
        assert!(cache.forget(ServerId(2)), "nobody has it open");
        assert_eq!(picks(&shared, 2), [2, 2]);
    });
}

const NOW: Tick = Tick(1000);
const LIFETIME: u32 = 100;

fn template_key() -> TemplateKey<'static> {
    TemplateKey {
        client: Addr::from_v4_bytes([198, 51, 100, 7]),
        virt: Addr::from_v4_bytes([192, 0, 2, 100]),
        port: 80,
        protocol: 6,
        name: None,
    }
}

/// Every order in which threads change places three times at most: a template has so many words
/// that all orders would take an hour.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A new flow of the client, which the scheduler would give this server.
fn begin(templates: &Templates, now: Tick, server: u32) -> Attached {
    let key = template_key();
    let found = templates
        .attach(now, &key, |_| true)
        .expect("it comes in between");
    let to = (ServerId(server), 80);
    let make = || templates.create(now, &key, LIFETIME, to, |_| true);
    found.unwrap_or_else(|| make().expect("it comes in between, and there is room"))
}

fn children(templates: &Templates, now: Tick) -> Vec<(u32, u32)> {
    let mut all = Vec::new();
    for at in 0..templates.buckets() {
        templates.visit(now, at, |view, _| all.push((view.server.0, view.children)));
    }
    all
}

#[test]
fn workers_that_meet_a_client_at_once_agree_on_its_server() {
    model(|| {
        let templates = Arc::new(Templates::new(1, 4, [1, 2]));
        let others = Arc::clone(&templates);
        let other = thread::spawn(move || begin(&others, NOW, 1));
        let own = begin(&templates, NOW, 2);
        assert_eq!(other.join().expect("no panic"), own);
        assert_eq!(children(&templates, NOW), [(own.server.0, 2)]);
        assert_eq!((templates.len(), templates.of_server(own.server)), (1, 1));
    });
}

#[test]
fn a_template_whose_time_is_up_is_forgotten_or_held_by_a_flow_and_never_both() {
    model(|| {
        let templates = Arc::new(Templates::new(1, 4, [1, 2]));
        let first = begin(&templates, NOW, 1);
        templates.release(NOW, first.id, End::InTime);
        let over = NOW.after(LIFETIME);
        let others = Arc::clone(&templates);
        let sweeper = thread::spawn(move || {
            (0..others.buckets()).for_each(|at| others.sweep(over, at, |_, _| false));
        });
        // This worker's clock stands a tick behind.
        let own = begin(&templates, Tick(over.0 - 1), 2);
        sweeper.join().expect("no panic");
        assert_eq!(children(&templates, over), [(own.server.0, 1)]);
        assert_eq!((templates.len(), templates.of_server(own.server)), (1, 1));
    });
}

#[test]
fn flows_that_end_while_another_begins_are_all_counted() {
    model(|| {
        let templates = Arc::new(Templates::new(1, 4, [1, 2]));
        let first = begin(&templates, NOW, 1);
        let others = Arc::clone(&templates);
        let other = thread::spawn(move || {
            others.assure(first.id);
            others.release(NOW, first.id, End::Forced);
        });
        let own = begin(&templates, NOW, 2);
        other.join().expect("no panic");
        assert_eq!(own.server, ServerId(1), "an answered one stays");
        assert_eq!(children(&templates, NOW), [(1, 1)]);
    });
}
