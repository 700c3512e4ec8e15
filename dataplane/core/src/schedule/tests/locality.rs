//! `lblc` and `lblcr`: what is remembered, for how long, and how much at most.

use std::vec::Vec;

use super::{Worker, request};
use crate::flow::Tuple;
use crate::load::Connections;
use crate::schedule::{Recipe, SchedulerName};
use crate::service::{ServerId, Services};
use crate::time::{Tick, seconds};
use weir_wire::Addr;

fn services(name: SchedulerName, weights: &[u32]) -> Services {
    let recipe = Recipe {
        has_many_addrs: true,
        ..Recipe::plain(name)
    };
    super::of_recipe(&recipe, weights)
}

impl Worker {
    fn pick_to(&mut self, services: &Services, destination: u32) -> Option<u32> {
        let request = Tuple {
            dst: Addr::from_v4_bytes(destination.to_be_bytes()),
            ..request(1)
        };
        let service = services.iter().next().expect("there is one").1;
        let picked = self.schedules.pick(service, services, &request);
        picked.map(|id| id.0)
    }

    fn load(&self, slot: usize, active: u32) {
        let load = &self.counters.loads[slot];
        load.sub(load.get());
        load.add(Connections {
            active,
            inactive: 0,
        });
    }
}

#[test]
fn lblc_keeps_a_destinations_server_until_it_is_overloaded_and_another_is_idle() {
    let all = services(SchedulerName::Lblc, &[2, 2]);
    let mut worker = Worker::new();
    assert_eq!(worker.pick_to(&all, 7), Some(1));
    worker.load(1, 3);
    worker.load(0, 1);
    assert_eq!(worker.pick_to(&all, 7), Some(1), "nobody is idle");
    assert_eq!(worker.pick_to(&all, 8), Some(0));
    worker.load(0, 0);
    worker.load(1, 2);
    assert_eq!(worker.pick_to(&all, 7), Some(1), "no more than its weight");
    worker.load(1, 3);
    assert_eq!(worker.pick_to(&all, 7), Some(0));
    worker.load(1, 0);
    worker.load(0, 2);
    assert_eq!(worker.pick_to(&all, 7), Some(0));
    // Overload by thresholds is not asked of what is remembered.
    worker.overload(0, &all);
    assert_eq!(worker.pick_to(&all, 7), Some(0));
    assert_eq!(worker.pick_to(&all, 9), Some(1));
}

#[test]
fn lblcr_adds_a_server_when_all_are_overloaded_and_gives_the_fullest_up_after_a_day() {
    let all = services(SchedulerName::Lblcr, &[2, 2, 2]);
    let mut worker = Worker::new();
    assert_eq!(worker.pick_to(&all, 7), Some(2));
    worker.load(2, 3);
    assert_eq!(worker.pick_to(&all, 7), Some(1));
    worker.load(1, 2);
    worker.load(2, 1);
    assert_eq!(worker.pick_to(&all, 7), Some(2), "both are its own now");
    worker.schedules.now = Tick(1000).after(seconds(86_399));
    assert_eq!(worker.pick_to(&all, 7), Some(2));
    worker.schedules.now = Tick(1001).after(seconds(86_400));
    // The fullest, server 1, leaves; the choice was made before.
    assert_eq!(worker.pick_to(&all, 7), Some(2));
    worker.load(2, 2);
    worker.load(1, 0);
    assert_eq!(worker.pick_to(&all, 7), Some(2));
}

#[test]
fn a_destination_is_forgotten_after_a_day() {
    for name in [SchedulerName::Lblc, SchedulerName::Lblcr] {
        let all = services(name, &[2, 2]);
        let mut worker = Worker::new();
        assert_eq!(worker.pick_to(&all, 7), Some(1));
        worker.load(1, 1);
        worker.schedules.now = Tick(1000).after(seconds(86_400));
        assert_eq!(worker.pick_to(&all, 7), Some(1), "used again in time");
        worker.schedules.now = worker.schedules.now.after(seconds(86_400) + 1);
        assert_eq!(worker.pick_to(&all, 7), Some(0), "{name}");
    }
}

#[test]
fn more_destinations_than_there_is_room_for_are_scheduled_all_the_same() {
    for name in [SchedulerName::Lblc, SchedulerName::Lblcr] {
        let all = services(name, &[1, 1]);
        let mut worker = Worker::new();
        for destination in 0..40_000 {
            assert!(worker.pick_to(&all, destination).is_some());
        }
        // Server 1 has what was remembered, until those that idle make room.
        worker.load(1, 1);
        assert_eq!(worker.pick_to(&all, 0), Some(1));
        assert_eq!(worker.pick_to(&all, 39_999), Some(0));
        worker.schedules.now = worker.schedules.now.after(seconds(361));
        assert_eq!(worker.pick_to(&all, 39_998), Some(0));
        worker.load(1, 0);
        assert_eq!(worker.pick_to(&all, 39_998), Some(0), "it is remembered");
    }
}

#[test]
fn a_slots_next_owner_is_not_taken_for_the_one_before() {
    for name in [SchedulerName::Lblc, SchedulerName::Lblcr] {
        let all = services(name, &[1, 1]);
        let mut worker = Worker::new();
        assert_eq!(worker.pick_to(&all, 7), Some(1));
        let service = all.iter().next().expect("one").1;
        let cache = service.scheduler.cache().expect("it has one");
        assert!(cache.forget(ServerId(1)));
        worker.load(1, 1);
        assert_eq!(worker.pick_to(&all, 7), Some(0), "{name}");
    }
}

/// Whoever chooses addresses that share a bucket makes nobody walk far.
#[test]
fn destinations_that_share_a_bucket_are_not_all_remembered() {
    let all = services(SchedulerName::Lblc, &[1, 1]);
    let mut worker = Worker::new();
    // The bucket is made of bits 32 to 42 of a product.
    let bucket = |destination: u32| {
        let addr = u64::from(destination) | 0xffff_0000_0000;
        addr.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 2047
    };
    let mut shared = (0..).filter(|destination| bucket(*destination) == 7);
    let shared: Vec<u32> = shared.by_ref().take(100).collect();
    for destination in &shared {
        assert_eq!(worker.pick_to(&all, *destination), Some(1));
    }
    worker.load(1, 1);
    let remembered = shared
        .iter()
        .map(|destination| worker.pick_to(&all, *destination));
    let remembered = remembered.collect::<Vec<_>>();
    let count = remembered
        .iter()
        .filter(|server| **server == Some(1))
        .count();
    assert_eq!(count, 64, "{remembered:?}");
}
