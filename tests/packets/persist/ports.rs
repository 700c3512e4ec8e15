//! Services of every port, and FTP's.

use weir_core::service::{Method, Protocol};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, SYN};

use super::scene::{Went, client, play, service, tcp, vip};

#[test]
fn a_client_keeps_its_server_at_every_port_of_an_address() {
    let mut all = tcp(0, 360);
    all.servers = [(1, 0, 1), (2, 0, 1), (3, 0, 1), (4, 8080, 1)].into();
    all.by_nat = vec![4];
    play(&[all], |scene| {
        // The port that the NAT server was given is not used: clients keep theirs.
        for (sport, port) in (1024..).zip([80, 443, 22, 9999]) {
            let there = Went::To(4, addr("10.0.0.4"), port);
            assert_eq!(scene.from(client(1), sport, vip(), port, SYN), there);
            assert_eq!(scene.from(client(1), sport, vip(), port, ACK), there);
        }
        for (n, server) in [(2, 3), (3, 2), (4, 1)] {
            assert_eq!(scene.connect(client(n), 1024, vip(), 80), server);
            let there = Went::To(server, vip(), 443);
            assert_eq!(scene.from(client(n), 1025, vip(), 443, SYN), there);
        }
        assert_eq!(
            scene.listed(),
            [
                "360 ASSURED 198.51.100.1 192.0.2.100:0 10.0.0.4:0",
                "360 ASSURED 198.51.100.2 192.0.2.100:0 10.0.0.3:0",
                "360 ASSURED 198.51.100.3 192.0.2.100:0 10.0.0.2:0",
                "360 ASSURED 198.51.100.4 192.0.2.100:0 10.0.0.1:0",
            ]
        );
        // Replies come from any port, and leave from the one that the client asked.
        for (sport, port) in (1024..).zip([80, 443, 22, 9999]) {
            let from = |frame: PacketBuilder| frame.tcp(port, sport).flags(SYN | ACK);
            let back = Went::Back(vip(), port);
            assert_eq!(scene.reply(4, from, client(1)), back, "port {port}");
        }
        let stray = |frame: PacketBuilder| frame.tcp(7, 1024).flags(ACK);
        assert_eq!(scene.reply(4, stray, client(1)), Went::Punted);
        // A service of its own comes first.
        let mut own = service(Protocol::Tcp, 443, None);
        own.servers = vec![(5, 443, 1)];
        scene.services.push(own);
        scene.publish();
        assert_eq!(scene.connect(client(1), 2000, vip(), 443), 5);
        assert_eq!(scene.connect(client(1), 2001, vip(), 25), 4);
        assert_eq!(
            scene.datagram(client(1), 3000, vip(), 53, "x"),
            Went::Punted
        );
    });
}

#[test]
fn a_persistent_service_of_ftp_takes_its_clients_data_connections() {
    play(&[tcp(21, 300)], |scene| {
        assert_eq!(scene.connect(client(1), 1024, vip(), 21), 3);
        assert_eq!(scene.connect(client(1), 1025, vip(), 5000), 3);
        assert_eq!(scene.from(client(1), 1026, vip(), 1023, SYN), Went::Punted);
        assert_eq!(scene.connect(client(2), 1025, vip(), 5000), 2);
        assert_eq!(scene.connect(client(1), 1027, vip(), 20), 3);
        assert_eq!(
            scene.listed(),
            [
                "300 ASSURED 198.51.100.1 192.0.2.100:0 10.0.0.3:0",
                "300 ASSURED 198.51.100.2 192.0.2.100:0 10.0.0.2:0",
            ]
        );
        assert_eq!(
            scene.datagram(client(1), 1025, vip(), 5000, "x"),
            Went::Punted
        );
    });
    // Without persistence nobody knows whose they are.
    play(&[service(Protocol::Tcp, 21, None)], |scene| {
        assert_eq!(scene.connect(client(1), 1024, vip(), 21), 3);
        for port in [5000, 1023, 20] {
            assert_eq!(scene.from(client(1), 1025, vip(), port, SYN), Went::Punted);
        }
    });
    // No server: nobody is told for another port's sake.
    let mut empty = tcp(21, 300);
    empty.servers.clear();
    play(&[empty], |scene| {
        assert_eq!(scene.from(client(1), 1025, vip(), 5000, SYN), Went::Punted);
        assert_eq!(scene.from(client(1), 1025, vip(), 21, SYN), Went::Refused);
    });
}

#[test]
fn ftps_control_port_is_mapped_and_its_data_ports_are_not() {
    let mut ftp = tcp(21, 300);
    ftp.method = Method::Nat;
    ftp.servers = vec![(1, 2121, 1)];
    play(&[ftp], |scene| {
        let server = addr("10.0.0.1");
        let control = scene.from(client(1), 1024, vip(), 21, SYN);
        assert_eq!(control, Went::To(1, server, 2121));
        let data = scene.from(client(1), 1025, vip(), 5000, SYN);
        assert_eq!(data, Went::To(1, server, 5000));
        for (port, sport, virt) in [(2121, 1024, 21), (5000, 1025, 5000)] {
            let from = |frame: PacketBuilder| frame.tcp(port, sport).flags(SYN | ACK);
            assert_eq!(scene.reply(1, from, client(1)), Went::Back(vip(), virt));
        }
    });
}

#[test]
fn a_server_of_every_port_by_fullnat_keeps_the_clients_port() {
    let mut all = tcp(0, 300);
    all.method = Method::FullNat;
    play(&[all], |scene| {
        for port in [80, 443, 5000] {
            let there = Went::To(3, addr("10.0.0.3"), port);
            assert_eq!(scene.from(client(1), 1024, vip(), port, SYN), there);
            assert_eq!(scene.from(client(1), 1024, vip(), port, ACK), there);
        }
    });
}
