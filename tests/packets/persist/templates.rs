//! What is remembered of a client, and for how long.

use std::sync::Arc;

use weir_core::flow::Timeouts;
use weir_core::persist::{mask_of_len, mask_of_v4};
use weir_core::service::{Method, Protocol};
use weir_core::settings::Defence;
use weir_wire::Family;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, RST, SYN};

use super::scene::{Scene, Went, client, persistent, play, server_of, service, tcp, vip};
use crate::world::{Described, Net, WAN, World, limits};

#[test]
fn a_client_keeps_its_server_at_each_service() {
    let mut other = tcp(443, 300);
    other.servers = (17..=19).map(|n| (n, 443, 1)).collect();
    play(&[tcp(80, 300), other], |scene| {
        for sport in 1024..1029 {
            assert_eq!(scene.connect(client(1), sport, vip(), 80), 3);
        }
        for (n, server) in [(2, 2), (3, 1), (4, 3)] {
            assert_eq!(scene.connect(client(n), 1024, vip(), 80), server);
        }
        assert_eq!(scene.connect(client(1), 1030, vip(), 443), 3);
        assert_eq!(scene.connect(client(2), 1030, vip(), 443), 2);
        assert_eq!(
            scene.listed(),
            [
                "300 ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.3:80",
                "300 ASSURED 198.51.100.1 192.0.2.100:443 10.0.0.3:443",
                "300 ASSURED 198.51.100.2 192.0.2.100:80 10.0.0.2:80",
                "300 ASSURED 198.51.100.2 192.0.2.100:443 10.0.0.2:443",
                "300 ASSURED 198.51.100.3 192.0.2.100:80 10.0.0.1:80",
                "300 ASSURED 198.51.100.4 192.0.2.100:80 10.0.0.3:80",
            ]
        );
    });
}

#[test]
fn a_template_lives_its_time_then_a_minute_at_a_time_with_its_connections() {
    play(&[tcp(80, 3)], |scene| {
        let timeouts = Timeouts::with(8, 2, 2);
        scene
            .worlds
            .iter_mut()
            .for_each(|w| w.settings.timeouts = timeouts);
        scene.publish();
        let line = |seconds: u32| {
            [format!(
                "{seconds} ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.3:80"
            )]
        };
        assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
        assert_eq!(scene.listed(), line(3));
        scene.later(15);
        assert_eq!(scene.listed(), line(2));
        assert_eq!(scene.connect(client(1), 1025, vip(), 80), 3);
        assert_eq!(scene.listed(), line(3));
        scene.later(22);
        assert_eq!(scene.listed(), line(1));
        scene.later(12);
        assert_eq!(scene.listed(), line(60));
        assert_eq!(scene.connect(client(1), 1026, vip(), 80), 3);
        assert_eq!(scene.listed(), line(60));
        for sport in 1024..1027 {
            assert_eq!(server_of(scene.from(client(1), sport, vip(), 80, RST)), 3);
        }
        scene.later(105);
        assert_eq!(scene.listed(), line(50));
        scene.later(40);
        assert_eq!(scene.listed(), line(46));
        assert_eq!(scene.templates()[0].0.children, 0);
        assert_eq!(scene.connect(client(1), 1027, vip(), 80), 3);
        assert_eq!(scene.listed(), line(60));
    });
}

#[test]
fn a_template_without_connections_is_forgotten() {
    play(&[service(Protocol::Udp, 53, Some(3))], |scene| {
        let timeouts = Timeouts::with(900, 120, 1);
        scene
            .worlds
            .iter_mut()
            .for_each(|w| w.settings.timeouts = timeouts);
        scene.publish();
        let line = |seconds: u32, server: u8| {
            [format!(
                "{seconds} NONE 198.51.100.1 192.0.2.100:53 10.0.0.{server}:53"
            )]
        };
        let ask = |scene: &mut Scene, sport| {
            server_of(scene.datagram(client(1), sport, vip(), 53, "hello"))
        };
        assert_eq!(ask(scene, 1024), 3);
        assert_eq!(scene.listed(), line(3, 3));
        scene.later(13);
        assert_eq!(scene.listed(), line(2, 3));
        assert_eq!(scene.connections_of(), [0; 3]);
        scene.later(10);
        assert_eq!(ask(scene, 1025), 3);
        assert_eq!(scene.listed(), line(3, 3));
        scene.later(23);
        assert_eq!(scene.listed(), line(1, 3));
        scene.later(15);
        assert_eq!(scene.listed(), [""; 0]);
        assert_eq!(ask(scene, 1026), 2);
        assert_eq!(scene.listed(), line(3, 2));
        assert_eq!(scene.persistent_of(), [0, 1, 0]);
    });
}

#[test]
fn clients_of_a_network_are_one_client() {
    let mut four = tcp(80, 300);
    four.persistence.as_mut().expect("it is").mask = mask_of_v4(0xffff_ff00);
    let six = Net::v6();
    let mut of_six = Described::web(&six, Method::Dr);
    of_six.servers = (17..=19).map(|n| (n, 80, 1)).collect();
    of_six.persistence = persistent(300);
    of_six.persistence.as_mut().expect("it is").mask = mask_of_len(Family::V6, 64);
    play(&[four, of_six], |scene| {
        for (who, server) in [
            ("198.51.100.1", 3),
            ("198.51.100.200", 3),
            ("198.51.101.1", 2),
            ("198.51.100.3", 3),
            ("198.51.101.77", 2),
            ("203.0.113.1", 1),
        ] {
            assert_eq!(scene.connect(addr(who), 1024, vip(), 80), server, "{who}");
        }
        for (who, server) in [
            ("2001:db8:c:1::1", 3),
            ("2001:db8:c:1::2", 3),
            ("2001:db8:c:2::1", 2),
            ("2001:db8:c:3::1", 1),
            ("2001:db8:c:2::9", 2),
        ] {
            assert_eq!(scene.connect(addr(who), 1024, six.vip, 80), server, "{who}");
        }
        assert_eq!(
            scene.listed(),
            [
                "300 ASSURED 198.51.100.0 192.0.2.100:80 10.0.0.3:80",
                "300 ASSURED 198.51.101.0 192.0.2.100:80 10.0.0.2:80",
                "300 ASSURED 203.0.113.0 192.0.2.100:80 10.0.0.1:80",
                "300 ASSURED 2001:db8:c:1:: 2001:db8:1::100:80 2001:db8:2::3:80",
                "300 ASSURED 2001:db8:c:2:: 2001:db8:1::100:80 2001:db8:2::2:80",
                "300 ASSURED 2001:db8:c:3:: 2001:db8:1::100:80 2001:db8:2::1:80",
            ]
        );
    });
}

#[test]
fn templates_outlive_a_time_without_persistence_and_keep_their_own_time() {
    let mut nat = tcp(80, 120);
    nat.method = Method::Nat;
    nat.servers = (1..=3).map(|n| (n, 8080, 1)).collect();
    play(&[nat], |scene| {
        let there = |n| Went::To(n, Net::v4().server(n), 8080);
        for sport in 1024..1028 {
            assert_eq!(scene.from(client(1), sport, vip(), 80, SYN), there(3));
        }
        let answer = |frame: PacketBuilder| frame.tcp(8080, 1024).flags(SYN | ACK);
        assert_eq!(scene.reply(3, answer, client(1)), Went::Back(vip(), 80));
        assert_eq!(scene.from(client(1), 1024, vip(), 80, ACK), there(3));
        assert_eq!(scene.from(client(2), 1024, vip(), 80, SYN), there(2));
        let both = [
            "120 ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.3:8080",
            "120 NONE 198.51.100.2 192.0.2.100:80 10.0.0.2:8080",
        ];
        assert_eq!(scene.listed(), both);
        assert_eq!(
            (scene.persistent_of(), scene.connections_of()),
            ([0, 1, 1], [0, 1, 4])
        );

        scene.later(22);
        scene.service(0).persistence = None;
        scene.publish();
        assert_eq!(scene.from(client(1), 1100, vip(), 80, SYN), there(1));
        assert_eq!(scene.listed(), both.map(|line| line.replace("120", "118")));
        scene.service(0).persistence = persistent(60);
        scene.publish();
        assert_eq!(scene.from(client(1), 1101, vip(), 80, SYN), there(3));
        assert_eq!(
            scene.listed(),
            [both[0].to_owned(), both[1].replace("120", "118")]
        );
    });
}

#[test]
fn a_server_of_weight_0_keeps_its_clients_unless_templates_expire() {
    for expires in [false, true] {
        play(&[tcp(80, 300)], |scene| {
            scene.first().settings.ipvs.expire_quiescent_template = expires;
            scene.publish();
            assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
            scene.service(0).servers[2].2 = 0;
            scene.publish();
            let next = if expires { 2 } else { 3 };
            assert_eq!(scene.connect(client(1), 1025, vip(), 80), next);
            let data = scene.from(client(1), 1024, vip(), 80, ACK);
            assert_eq!(server_of(data), 3, "connections stay");
            assert_eq!(scene.connect(client(1), 1026, vip(), 80), next);
            let other = if expires { 1 } else { 2 };
            assert_eq!(scene.connect(client(2), 1024, vip(), 80), other);
            let (listed, persistent) = (scene.listed(), scene.persistent_of());
            if expires {
                assert_eq!(
                    listed,
                    [
                        "300 ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.2:80",
                        "300 ASSURED 198.51.100.1 192.0.2.100:65535 10.0.0.3:65535",
                        "300 ASSURED 198.51.100.2 192.0.2.100:80 10.0.0.1:80",
                    ]
                );
                assert_eq!((persistent, scene.connections_of()), ([1, 1, 1], [1, 2, 1]));
            } else {
                assert_eq!(
                    listed,
                    [
                        "300 ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.3:80",
                        "300 ASSURED 198.51.100.2 192.0.2.100:80 10.0.0.2:80",
                    ]
                );
                assert_eq!((persistent, scene.connections_of()), ([0, 1, 1], [0, 1, 3]));
            }
        });
    }
}

#[test]
fn a_removed_servers_clients_get_another_unless_it_comes_back_first() {
    for comes_back in [false, true] {
        play(&[tcp(80, 300)], |scene| {
            assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
            scene.removed = vec![3];
            scene.publish();
            assert_eq!(scene.from(client(1), 1024, vip(), 80, ACK), Went::Nowhere);
            if comes_back {
                scene.removed.clear();
                scene.publish();
            }
            let next = if comes_back { 3 } else { 2 };
            assert_eq!(scene.connect(client(1), 1025, vip(), 80), next);
            assert_eq!(scene.connect(client(1), 1026, vip(), 80), next);
            let listed = scene.listed();
            if comes_back {
                assert_eq!(
                    listed,
                    ["300 ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.3:80"]
                );
                assert_eq!(scene.persistent_of(), [0, 0, 1]);
            } else {
                assert_eq!(
                    listed,
                    [
                        "300 ASSURED 198.51.100.1 192.0.2.100:80 10.0.0.2:80",
                        "300 ASSURED 198.51.100.1 192.0.2.100:65535 10.0.0.3:65535",
                    ]
                );
                assert_eq!(scene.persistent_of(), [0, 1, 1]);
            }
        });
    }
}

#[test]
fn templates_of_a_removed_server_end_with_its_flows_where_these_end_at_once() {
    play(&[service(Protocol::Udp, 53, Some(300))], |scene| {
        let timeouts = Timeouts::with(900, 120, 1);
        scene.worlds.iter_mut().for_each(|w| {
            w.settings.timeouts = timeouts;
            w.settings.ipvs.expire_nodest_conn = true;
        });
        scene.publish();
        scene.datagram(client(1), 1024, vip(), 53, "x");
        scene.removed = vec![3];
        scene.publish();
        assert_eq!(scene.listed().len(), 1);
        scene.later(21);
        assert_eq!(scene.listed(), [""; 0]);
        assert_eq!(scene.persistent_of(), [0; 3]);
    });
}

#[test]
fn a_connection_under_a_template_begins_anew_where_it_was() {
    play(&[tcp(80, 300)], |scene| {
        assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
        assert_eq!(server_of(scene.from(client(1), 1024, vip(), 80, RST)), 3);
        let made = |scene: &mut Scene| {
            let made = scene
                .worlds
                .iter()
                .map(|w| w.counters().flows_created.get());
            made.sum::<u64>()
        };
        assert_eq!(made(scene), 1);
        assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
        assert_eq!(made(scene), 1, "it is the same one");
        assert_eq!(scene.templates()[0].0.children, 1);
    });
}

#[test]
fn an_answer_to_a_datagram_vouches_for_its_template() {
    let mut dns = service(Protocol::Udp, 53, Some(300));
    dns.method = Method::Nat;
    play(&[dns], |scene| {
        scene.datagram(client(1), 1024, vip(), 53, "x");
        scene.datagram(client(1), 1024, vip(), 53, "x");
        assert_eq!(scene.templates()[0].0.state(), "NONE");
        for _ in 0..2 {
            let back = scene.reply(3, |frame| frame.udp(53, 1024), client(1));
            assert_eq!(back, Went::Back(vip(), 53));
            assert_eq!(scene.templates()[0].0.state(), "ASSURED");
        }
    });
}

#[test]
fn a_fullnat_flow_counts_for_its_template_until_it_ends() {
    let mut web = tcp(80, 3);
    web.method = Method::FullNat;
    play(&[web], |scene| {
        for sport in 1024..1027 {
            assert_eq!(scene.connect(client(1), sport, vip(), 80), 3);
        }
        assert_eq!(scene.templates()[0].0.children, 3);
        assert_eq!(scene.templates()[0].0.state(), "ASSURED");
        for sport in 1024..1027 {
            scene.from(client(1), sport, vip(), 80, RST);
        }
        scene.later(120);
        assert_eq!(scene.templates()[0].0.children, 0);
        scene.later(600);
        assert_eq!(scene.listed(), [""; 0]);
    });
}

#[test]
fn who_finds_no_place_is_served_and_not_remembered() {
    let net = Net::v4();
    let mut world = World::new(&[tcp(80, 300)]);
    world.templates = Arc::new(weir_core::persist::Templates::new(1, 32, [1, 2]));
    world.publish(&[tcp(80, 300)], &[]);
    for n in 1..=4 {
        let net = Net {
            client: client(n),
            ..net
        };
        world.receive(WAN, &[net.syn(4000)]);
    }
    assert_eq!(world.sent().len(), 4);
    let refused = world
        .counters()
        .no_template(weir_core::persist::Refusal::Full);
    assert_eq!((refused, world.templates.len()), (3, 1));
}

#[test]
fn a_client_without_a_flow_is_sent_to_the_server_it_had() {
    let net = Net::v4();
    let few = weir_core::director::Limits {
        flows: 1,
        ..limits()
    };
    let mut world = World::worker(0, 1, few, &[tcp(80, 300)]);
    world.receive(WAN, &[net.syn(4000)]);
    let first = world.only_sent();
    for port in 4001..4020 {
        world.receive(WAN, &[net.syn(port)]);
        assert_eq!(world.only_sent().1[..6], first.1[..6], "port {port}");
    }
    assert_eq!(world.counters().stateless.get(), 19);
}

/// A connection that a template has led to a server of weight 0 is not taken for one that has to
/// leave it, whatever way its first packet takes.
#[test]
fn a_connection_that_begins_under_a_template_begins_once() {
    play(&[tcp(80, 300)], |scene| {
        for world in &mut scene.worlds {
            world.settings.ipvs.expire_nodest_conn = true;
        }
        scene.publish();
        assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
        scene.service(0).servers[2].2 = 0;
        for world in &mut scene.worlds {
            world.unknown_neighbours = vec![Net::v4().server(3)];
        }
        scene.publish();
        assert_eq!(scene.from(client(1), 1025, vip(), 80, SYN), Went::Nowhere);
        let made = scene
            .worlds
            .iter()
            .map(|w| w.counters().flows_created.get());
        assert_eq!(made.sum::<u64>(), 2);
        assert_eq!(scene.templates()[0].0.children, 2);
    });
}

#[test]
fn drop_entry_ends_templates_that_no_answer_has_vouched_for() {
    play(&[tcp(80, 10_000)], |scene| {
        for n in 1..=60 {
            let syn = scene.from(client(n), 1024, vip(), 80, SYN);
            if n % 2 == 0 {
                assert_eq!(scene.from(client(n), 1024, vip(), 80, ACK), syn);
                scene.from(client(n), 1024, vip(), 80, RST);
            }
        }
        // All connections have ended.
        scene.later(700);
        for _ in 0..5 {
            scene.later(2);
        }
        assert_eq!(scene.connections_of().iter().sum::<u64>(), 0);
        assert_eq!(scene.templates().len(), 60);
        for world in &mut scene.worlds {
            world.settings.ipvs.drop_entry = Defence::Always;
        }
        scene.publish();
        // One of 32 buckets a second.
        for _ in 0..10 {
            scene.later(10);
        }
        let left = scene.templates().len();
        assert!((35..60).contains(&left), "{left} of 60 are left");
        for _ in 0..500 {
            scene.later(10);
        }
        let left = scene.templates();
        assert_eq!(left.len(), 30);
        assert!(left.iter().all(|(view, _)| view.is_assured));
    });
}
