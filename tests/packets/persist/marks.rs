//! Services of marks.

use weir_core::persist::addr_of_mark;
use weir_core::service::{Method, Protocol};
use weir_wire::Family;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, SYN};

use super::scene::{Went, client, mark_all, of_mark, play, service, vip};
use crate::world::Net;

#[test]
fn a_mark_gathers_protocols_addresses_and_ports() {
    let second = addr("192.0.2.101");
    play(&[of_mark(7, None)], |scene| {
        scene.first().marks = vec![mark_all(7)];
        scene.publish();
        let connect = [(1024, 80), (1025, 443), (1026, 80)];
        let went = connect.map(|(sport, port)| scene.connect(client(1), sport, vip(), port));
        assert_eq!(went, [3, 2, 1]);
        let asked = scene.datagram(client(1), 1024, vip(), 53, "x");
        assert_eq!(asked, Went::To(3, vip(), 53));
        assert_eq!(scene.listed(), [""; 0]);

        scene.services = vec![of_mark(7, Some(600))];
        scene.publish();
        // The kernel's new service begins at its list's head.
        scene.worlds[0].publish(&scene.services, &[]);
        let first = scene.connect(client(1), 2024, vip(), 80);
        assert_eq!(scene.connect(client(1), 2025, vip(), 443), first);
        let asked = scene.datagram(client(1), 2026, vip(), 53, "x");
        assert_eq!(asked, Went::To(first, vip(), 53));
        assert_eq!(scene.connect(client(1), 2027, second, 8080), first);
        let other = scene.connect(client(2), 2024, vip(), 80);
        assert_ne!(other, first);
        assert_eq!(scene.connect(client(2), 2025, vip(), 443), other);
        assert_eq!(
            scene.listed(),
            [
                format!("600 ASSURED 198.51.100.1 0.0.0.7:0 10.0.0.{first}:0"),
                format!("600 ASSURED 198.51.100.2 0.0.0.7:0 10.0.0.{other}:0"),
            ]
        );
        let protocols: Vec<u8> = scene.templates().iter().map(|(v, _)| v.protocol).collect();
        assert_eq!(protocols, [0, 0]);
    });
}

#[test]
fn a_marks_nat_server_has_its_own_port_or_the_clients() {
    let mut mark = of_mark(8, None);
    mark.method = Method::Nat;
    mark.servers = vec![(6, 0, 1), (7, 8080, 1)];
    play(&[mark], |scene| {
        scene.first().marks = vec![mark_all(8)];
        scene.publish();
        for (sport, server, port) in [(3000, 7, 8080), (3001, 6, 1234), (3002, 7, 8080)] {
            let there = Went::To(server, Net::v4().server(server), port);
            assert_eq!(scene.from(client(3), sport, vip(), 1234, SYN), there);
            let from = |frame: PacketBuilder| frame.tcp(port, sport).flags(SYN | ACK);
            assert_eq!(
                scene.reply(server, from, client(3)),
                Went::Back(vip(), 1234)
            );
        }
        let asked = scene.datagram(client(3), 3003, vip(), 53, "x");
        assert_eq!(asked, Went::To(6, addr("10.0.0.6"), 53));
        let answer = scene.reply(6, |frame| frame.udp(53, 3003), client(3));
        assert_eq!(answer, Went::Back(vip(), 53));

        // It comes before a service of the address; an unknown mark does not.
        let mut web = service(Protocol::Tcp, 80, None);
        web.servers = vec![(9, 80, 1)];
        scene.services.push(web);
        scene.publish();
        let there = scene.from(client(4), 3000, vip(), 80, SYN);
        assert_eq!(there, Went::To(7, addr("10.0.0.7"), 8080));
        scene.first().marks = vec![mark_all(99)];
        scene.publish();
        assert_eq!(scene.connect(client(4), 3001, vip(), 80), 9);
    });
}

#[test]
fn only_what_is_for_the_director_is_marked() {
    play(&[of_mark(7, None)], |scene| {
        scene.first().marks = vec![mark_all(7)];
        scene.publish();
        let elsewhere = addr("203.0.113.9");
        assert_eq!(
            scene.from(client(1), 1024, elsewhere, 80, SYN),
            Went::Punted
        );
        assert_eq!(scene.connect(client(1), 1024, vip(), 80), 3);
    });
}

#[test]
fn marks_of_both_families_have_templates_of_their_own() {
    assert_eq!(addr_of_mark(0xc000_0264, Family::V4), vip());
    assert_eq!(addr_of_mark(7, Family::V6), addr("0:7::"));
}
