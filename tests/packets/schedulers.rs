//! Schedulers that look at connections: what packets do to the counts, and the counts to choices.

use weir_core::counters::DropReason;
use weir_core::load::Thresholds;
use weir_core::schedule::SchedulerName;
use weir_core::service::Method;
use weir_core::steer::Steering;
use weir_wire::tcp_flag::{ACK, FIN, RST};

use crate::several_workers::{deliver, workers};
use crate::world::{Described, Net, WAN, World};

fn web(net: &Net, scheduler: SchedulerName) -> Described {
    Described {
        scheduler,
        ..Described::web(net, Method::Dr)
    }
}

/// The server of a new connection from this port.
fn begin(world: &mut World, net: &Net, port: u16) -> Option<u32> {
    world.receive(WAN, &[net.syn(port), net.segment(port, ACK)]);
    world.server_of(&net.tuple(port))
}

#[test]
fn connections_that_close_weigh_less_and_those_that_ended_nothing() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net, SchedulerName::Lc)]);
        let begun: Vec<_> = (1..=6).map(|port| begin(&mut world, &net, port)).collect();
        assert_eq!(begun, [3, 2, 1, 3, 2, 1].map(Some));
        // One of server 1's connections closes: it has one active and one inactive.
        world.receive(WAN, &[net.segment(3, FIN | ACK)]);
        assert_eq!(begin(&mut world, &net, 7), Some(1));
        assert_eq!(
            begin(&mut world, &net, 8),
            Some(3),
            "inactive ones count too"
        );
        // Both of server 2's end.
        world.receive(WAN, &[net.segment(2, RST), net.segment(5, RST)]);
        world.later(10);
        world.housekeep();
        assert_eq!(begin(&mut world, &net, 9), Some(2));
        assert_eq!(begin(&mut world, &net, 10), Some(2));
        assert_eq!(begin(&mut world, &net, 11), Some(2));
        assert_eq!(
            begin(&mut world, &net, 12),
            Some(1),
            "one inactive among three"
        );
    }
}

#[test]
fn a_server_at_its_upper_threshold_gets_nothing_until_it_is_below_the_lower() {
    for net in Net::both() {
        let services = [web(&net, SchedulerName::Rr)];
        let mut world = World::new(&services);
        let thresholds = |upper, lower| Thresholds { upper, lower };
        world.thresholds = [
            (3, thresholds(2, 1)),
            (2, thresholds(1, 0)),
            (1, thresholds(2, 0)),
        ]
        .into();
        world.publish(&services, &[]);
        let begun: Vec<_> = (1..=6).map(|port| begin(&mut world, &net, port)).collect();
        assert_eq!(begun, [Some(3), Some(2), Some(1), Some(3), Some(1), None]);
        world.receive(WAN, &[net.segment(1, RST)]);
        assert_eq!(
            begin(&mut world, &net, 6),
            None,
            "a reset one counts until it ends"
        );
        world.later(10);
        world.housekeep();
        assert_eq!(begin(&mut world, &net, 6), None, "1 is not below 1");
        world.receive(WAN, &[net.segment(4, RST)]);
        world.later(10);
        world.housekeep();
        world.moved();
        assert_eq!(begin(&mut world, &net, 6), Some(3));
        // The one that a new one replaces still counts when that is scheduled, and so fills its server.
        world.receive(WAN, &[net.segment(6, RST)]);
        assert_eq!(begin(&mut world, &net, 6), Some(3));
        assert_eq!(begin(&mut world, &net, 7), None);
        assert_eq!(world.counters().drops(DropReason::NoServer), 4);
    }
}

#[test]
fn a_connection_that_is_replaced_weighs_when_the_next_is_scheduled() {
    for net in Net::both() {
        let mut world = World::new(&[web(&net, SchedulerName::Lc)]);
        assert_eq!(begin(&mut world, &net, 1), Some(3));
        world.receive(WAN, &[net.segment(1, RST)]);
        assert_eq!(begin(&mut world, &net, 1), Some(2));
        assert_eq!(begin(&mut world, &net, 2), Some(3));
    }
}

#[test]
fn without_scheduler_nothing_begins_and_what_lives_goes_on() {
    let net = Net::v4();
    let mut world = World::new(&[web(&net, SchedulerName::Rr)]);
    assert_eq!(begin(&mut world, &net, 1), Some(3));
    world.publish(&[web(&net, SchedulerName::None)], &[]);
    world.sent();
    assert_eq!(begin(&mut world, &net, 2), None);
    assert_eq!(world.out.dropped.pop(), Some((DropReason::NoFlow, WAN)));
    assert_eq!(world.out.dropped.pop(), Some((DropReason::NoServer, WAN)));
    world.sent();
    world.receive(WAN, &[net.segment(1, ACK)]);
    assert_eq!(world.only_sent().0, crate::world::LAN);
}

#[test]
fn workers_count_their_connections_together() {
    for net in Net::both() {
        let services = [Described {
            servers: vec![(1, 80, 1), (2, 80, 2), (3, 80, 3)],
            ..web(&net, SchedulerName::Wlc)
        }];
        let mut worlds = workers(Steering::by_client(3), &services);
        let mut taken = Vec::new();
        let mut owners = [0; 3];
        for port in 1001..=1024 {
            let at = usize::from(port) % 3;
            worlds[at].receive(WAN, &[net.syn(port)]);
            deliver(&mut worlds);
            for (owner, world) in worlds.iter().enumerate() {
                taken.extend(world.server_of(&net.tuple(port)));
                owners[owner] += u32::from(world.server_of(&net.tuple(port)).is_some());
            }
        }
        assert_eq!(taken, [3, 2, 1, 3, 2, 3].repeat(4));
        assert!(owners.iter().all(|count| *count > 0), "{owners:?}");
    }
}
