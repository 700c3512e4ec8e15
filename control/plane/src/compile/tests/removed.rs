//! Servers and services that leave and may come back.

use std::time::Duration;

use weir_core::load::Connections;

use super::world::World;
use crate::difference;
use crate::testing::{SERVERS, services};
use crate::totals::Totals;

#[test]
fn a_removed_server_keeps_its_slot_until_no_flow_remembers_it() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.load(id).add(Connections::ACTIVE);
    world.reload("rr", &[(1, 1)]);
    assert!(!world.now.server(id).expect("it lingers").is_available);
    assert!(!world.reap_for(300));
    world.load(id).sub(Connections::ACTIVE);
    assert!(!world.reap_for(119), "it may come back");
    assert!(world.reap_for(65));
    world.reload("rr", &[(1, 1)]);
    assert_eq!(world.now.server(id), None);
}

#[test]
fn nothing_is_freed_while_a_worker_decides_by_an_older_epoch() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    world.reload("rr", &[(1, 1)]);
    for _ in 0..3 {
        let old = world.epoch - 1;
        world.clock += Duration::from_secs(100);
        let (epochs, now) = ((old, world.epoch), world.clock);
        assert!(
            !world
                .compiler
                .reap(&world.workers, &world.templates, epochs, now)
        );
    }
}

#[test]
fn a_server_that_comes_back_finds_its_flows_and_counters() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.count(id).connections.add(5);
    world.load(id).add(Connections::INACTIVE);
    world.reload("rr", &[(1, 1)]);
    world.reload("rr", &[(1, 1), (2, 1)]);
    assert_eq!(world.id(2), id);
    assert!(world.now.server(id).expect("it is back").is_available);
    assert_eq!(
        world
            .compiler
            .slots()
            .totals(&world.workers, id)
            .connections,
        5
    );
}

/// The kernel counts replies of a removed server nowhere.
#[test]
fn what_a_removed_server_answers_counts_for_nobody() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.count(id).packets_out.add(5);
    world.load(id).add(Connections::INACTIVE);
    world.reload("rr", &[(1, 1)]);
    world.count(id).packets_out.add(7);
    let totals = |world: &World| {
        let of_server = world.compiler.slots().totals(&world.workers, id);
        [of_server.packets_out, world.service_totals().packets_out]
    };
    assert_eq!(totals(&world), [5, 5]);
    world.reload("rr", &[(1, 1), (2, 1)]);
    assert_eq!(totals(&world), [5, 5]);
    world.count(id).packets_out.add(1);
    assert_eq!(totals(&world), [6, 6]);
    world.load(id).sub(Connections::INACTIVE);
    world.reload("rr", &[(1, 1)]);
    world.count(id).packets_out.add(9);
    assert!(world.reap_for(190));
    assert_eq!(world.service_totals().packets_out, 6);
}

#[test]
fn removed_servers_without_flows_give_way_when_slots_run_short() {
    let all: Vec<_> = (1..=SERVERS as u8).map(|n| (n, 1)).collect();
    let mut world = World::new("rr", &all);
    world.reload("rr", &all[..1]);
    assert!(!world.reap(), "it may come back at once");
    assert!(world.reap());
}

#[test]
fn a_removed_service_is_remembered_by_several_workers_while_its_flows_live() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let key = world.service().key;
    let id = world.id(2);
    world.load(id).add(Connections::INACTIVE);
    world.want(Vec::new());
    assert!(!world.now.has_formers(), "a single worker has all flows");

    let mut world = World::of_workers(2, "rr", &[(1, 1), (2, 1)]);
    world.want(Vec::new());
    assert!(world.now.has_formers());
    assert!(world.reap() && !world.now.has_formers(), "it has no flows");
    world.reload("rr", &[(1, 1), (2, 1)]);
    world.load(id).add(Connections::INACTIVE);
    world.want(Vec::new());
    world.reap_for(300);
    assert!(world.now.former(key).is_some());
    world.reload("rr", &[(1, 1)]);
    assert!(!world.now.has_formers(), "it is back");
    // It is remembered for a server, too, that did not come back.
    world.want(Vec::new());
    world.reap_for(300);
    assert!(world.now.has_formers());
    world.load(id).sub(Connections::INACTIVE);
    assert!(world.reap() && !world.now.has_formers());
}

#[test]
fn a_slot_used_again_starts_from_zero_and_the_service_never_falls() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let id = world.id(2);
    world.count(id).connections.add(5);
    assert_eq!(world.service_totals().connections, 5);
    world.reload("rr", &[(1, 1)]);
    assert_eq!(world.service_totals().connections, 5);
    assert!(world.reap_for(190));
    assert_eq!(world.service_totals().connections, 5);
    world.reload("rr", &[(1, 1), (9, 1)]);
    assert_eq!(world.id(9), id);
    assert_eq!(
        world.compiler.slots().totals(&world.workers, id),
        Totals::default()
    );
    world.count(id).connections.add(2);
    assert_eq!(
        world
            .compiler
            .slots()
            .totals(&world.workers, id)
            .connections,
        2
    );
    assert_eq!(world.service_totals().connections, 7);
}

#[test]
fn servers_that_linger_leave_less_room() {
    let world_full: Vec<(u8, u16)> = (1..=SERVERS as u8).map(|n| (n, 1)).collect();
    let mut world = World::new("rr", &world_full);
    world.reload("rr", &[(1, 1)]);
    let wanted = services("rr", &[(1, 1), (99, 1)]);
    let error = world
        .compiler
        .check_room(&difference::services(&world.wanted, &wanted));
    let sentence = error.expect_err("all places are kept").to_string();
    assert!(sentence.contains("raise limits.servers"), "{sentence}");
    // Those that come back need none.
    let wanted = services("rr", &world_full);
    let steps = difference::services(&world.wanted, &wanted);
    assert_eq!(world.compiler.check_room(&steps), Ok(()));
}

#[test]
fn a_service_that_left_is_unknown_and_its_servers_linger() {
    let mut world = World::new("rr", &[(1, 1)]);
    world.want(Vec::new());
    assert!(world.now.is_empty());
    assert_eq!(world.now.servers().count(), 1);
    world.reload("rr", &[(1, 1)]);
    assert_eq!(world.service().servers.len(), 1);
    assert_eq!(world.now.servers().count(), 1);
}

/// As seen of Linux 6.1.
#[test]
fn a_service_that_comes_again_finds_connections_and_counts_from_zero() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let (id, left) = (world.id(2), world.id(1));
    for id in [id, left] {
        world.count(id).connections.add(5);
        world.load(id).add(Connections::ACTIVE);
    }
    // One that left before its service did.
    world.reload("rr", &[(2, 1)]);
    world.want(Vec::new());
    world.reload("rr", &[(2, 1)]);
    assert_eq!(world.id(2), id);
    assert_eq!(world.load(id).get(), Connections::ACTIVE);
    assert_eq!(world.service_totals(), Totals::default());
    world.count(id).connections.add(2);
    assert_eq!(world.service_totals().connections, 2);
    assert_eq!(
        world
            .compiler
            .slots()
            .totals(&world.workers, id)
            .connections,
        2
    );
}

/// Its flows remember the slot.
#[test]
fn a_service_that_is_deleted_and_made_again_has_the_servers_its_flows_remember() {
    let mut world = World::new("rr", &[(1, 1), (2, 1)]);
    let before = (world.id(1), world.id(2));
    world.load(before.0).add(Connections::INACTIVE);
    world.want(Vec::new());
    world.reap();
    let removed = world.now.server(before.0).expect("a flow remembers it");
    assert!(!removed.is_available && world.now.has_removed());
    world.reload("rr", &[(1, 1), (2, 1)]);
    assert_eq!(world.id(1), before.0);
    let again = world.now.server(before.0).expect("its slot is filled");
    assert!(again.is_available && !world.now.has_removed());
}

/// As the kernel's trash, which keeps what a cache refers to.
#[test]
fn a_server_that_comes_back_is_the_one_that_a_cache_remembers() {
    let mut world = World::new("lblc", &[(1, 1), (2, 1)]);
    let chosen = world.pick(1)[0];
    let (id, other) = (world.id(chosen), world.id(3 - chosen));
    world.reload("lblc", &[]);
    assert!(world.reap_for(300), "the other is forgotten");
    assert_eq!(world.now.server(other), None);
    assert!(world.now.server(id).is_some());
    world.reload("lblc", &[(1, 1), (2, 1)]);
    assert_eq!(world.id(chosen), id);
    assert_eq!(world.pick(3), [chosen; 3]);
}

/// Flows that began by NAT live on, and their replies are to find them.
#[test]
fn a_server_that_comes_back_by_another_method_is_known_by_its_replies() {
    let mut world = World::new("rr", &[(1, 1)]);
    let server = *world.now.server(world.id(1)).expect("its slot is filled");
    let is_nat_source = |world: &World| {
        let services = &world.now;
        let known = services.is_nat_source(server.protocol, server.addr, server.port);
        let is_one_now = services.has_nat_server(server.protocol, server.addr, server.port);
        (known, is_one_now)
    };
    let reach = |method| {
        let mut wanted = services("rr", &[(1, 1)]);
        wanted[0].servers[0].method = method;
        wanted
    };
    assert_eq!(is_nat_source(&world), (true, true));
    world.want(Vec::new());
    world.want(reach(weir_model::Method::Dr));
    assert_eq!(is_nat_source(&world), (true, false));
    world.want(reach(weir_model::Method::Tun));
    assert_eq!(
        is_nat_source(&world),
        (true, false),
        "for as long as it has its slot"
    );
    world.want(Vec::new());
    world.reap_for(300);
    world.want(reach(weir_model::Method::Dr));
    assert_eq!(is_nat_source(&world), (false, false));
}
