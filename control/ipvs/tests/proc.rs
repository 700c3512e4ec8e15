//! The texts of `/proc/net/ip_vs*` against a kernel's own.

use std::net::{IpAddr, Ipv4Addr};

use weir_ipvs::proc::{self, Connection};
use weir_ipvs::testing::Memory;
use weir_ipvs::types::{TCP, UDP, method, service_flags};
use weir_ipvs::{
    Changes as _, Counts, Family, Netmask, Server, ServerKey, Service, ServiceKey, Stats, Table,
    Tunnel,
};

fn read(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/ipvs");
    std::fs::read_to_string(path.join(name)).expect("the recordings are there")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn service(key: ServiceKey, scheduler: &str, flags: u32, timeout: u32) -> Service {
    Service {
        key,
        scheduler: scheduler.to_owned(),
        flags,
        timeout,
        netmask: Netmask::whole(key.family()),
        engine: None,
    }
}

fn address(protocol: u16, address: &str, port: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol,
        address: ip(address),
        port,
    }
}

fn server(address: &str, port: u16, weight: i32) -> Server {
    Server {
        key: ServerKey {
            address: ip(address),
            port,
        },
        method: method::MASQ,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: Tunnel::default(),
    }
}

fn add(table: &mut Memory, service: Service, servers: &[(Server, u32, u32)]) {
    let key = service.key;
    table.add_service(service).expect("memory holds all");
    for (server, active, inactive) in servers {
        table.add_server(&key, *server).expect("memory holds all");
        let counts = Counts {
            active: *active,
            inactive: *inactive,
            persistent: 0,
        };
        table.counts.push((server.key, counts));
    }
}

#[test]
fn services_and_servers_read_as_the_kernels() {
    let mut table = Memory::default();
    let persistent = service_flags::PERSISTENT;
    let https = address(TCP, "10.60.0.1", 443);
    add(
        &mut table,
        service(https, "rr", persistent, 300),
        &[(server("10.70.0.2", 8080, 1), 0, 1)],
    );
    let six = address(TCP, "fd60::1", 80);
    add(
        &mut table,
        service(six, "wlc", 0, 0),
        &[(server("fd70::2", 8080, 1), 0, 1)],
    );
    let mut text = proc::ip_vs(&table);

    let mut table = Memory::default();
    let http = address(TCP, "10.60.0.1", 80);
    let servers = [
        (server("10.70.0.2", 8080, 1), 0, 3),
        (server("10.70.0.3", 8080, 1), 1, 3),
        (server("10.70.0.4", 8080, 0), 0, 0),
    ];
    add(&mut table, service(http, "rr", 0, 0), &servers);
    let syslog = address(UDP, "10.60.0.1", 514);
    let one_packet = service_flags::ONE_PACKET;
    add(
        &mut table,
        service(syslog, "rr", one_packet, 0),
        &[(server("10.70.0.2", 514, 1), 0, 0)],
    );
    let dns = address(UDP, "10.60.0.1", 53);
    add(
        &mut table,
        service(dns, "rr", 0, 0),
        &[(server("10.70.0.2", 53, 1), 0, 1)],
    );
    let mark = ServiceKey::Mark {
        family: Family::Ipv4,
        mark: 0x4d,
    };
    let marked = Service {
        netmask: Netmask::Mask(Ipv4Addr::new(255, 255, 255, 0)),
        ..service(mark, "wlc", persistent, 60)
    };
    let route = Server {
        method: method::ROUTE,
        ..server("10.70.0.2", 0, 1)
    };
    add(&mut table, marked, &[(route, 0, 0)]);
    let head = proc::ip_vs_head(table.size());
    text += proc::ip_vs(&table).strip_prefix(&head).expect("the head");
    assert_eq!(text, read("ip_vs"));
}

#[test]
fn connections_read_as_the_kernels() {
    let one = |line: &str| line.to_owned() + "\n";
    let established = Connection {
        protocol: TCP,
        client: (ip("10.50.0.2"), 0xaef0),
        virtual_end: (ip("10.60.0.1"), 80),
        server: (ip("10.70.0.3"), 8080),
        state: "ESTABLISHED",
        expires: 894,
        is_synchronised: false,
        engine: None,
    };
    let template = Connection {
        client: (ip("10.50.0.2"), 0),
        virtual_end: (ip("10.60.0.1"), 443),
        server: (ip("10.70.0.2"), 8080),
        state: "ASSURED",
        expires: 294,
        ..established.clone()
    };
    let udp = Connection {
        protocol: UDP,
        client: (ip("10.50.0.2"), 0xc6bd),
        virtual_end: (ip("10.60.0.1"), 53),
        server: (ip("10.70.0.2"), 53),
        state: "UDP",
        expires: 296,
        ..established.clone()
    };
    let six = Connection {
        client: (ip("fd50::2"), 0xa374),
        virtual_end: (ip("fd60::1"), 80),
        server: (ip("fd70::2"), 8080),
        state: "TIME_WAIT",
        expires: 114,
        ..established.clone()
    };
    let (conn, sync) = (read("ip_vs_conn"), read("ip_vs_conn_sync"));
    assert_eq!(proc::CONN_HEAD, one(conn.lines().next().expect("a head")));
    assert_eq!(
        proc::CONN_SYNC_HEAD,
        one(sync.lines().next().expect("a head"))
    );
    for connection in [established, template, udp, six] {
        let (line, sync_line) = (connection.conn_line(), connection.conn_sync_line());
        assert!(conn.contains(&line), "{line}");
        assert!(sync.contains(&sync_line), "{sync_line}");
    }
}

#[test]
fn statistics_read_as_the_kernels() {
    let all = Stats {
        connections: 0xb,
        packets_in: 0x6c,
        packets_out: 0x74,
        bytes_in: 0x1808,
        bytes_out: 0x81ee6,
        connections_rate: 1,
        packets_in_rate: 8,
        packets_out_rate: 9,
        bytes_in_rate: 0x1de,
        bytes_out_rate: 0x9e63,
    };
    assert_eq!(proc::ip_vs_stats(&all), read("ip_vs_stats"));
    assert_eq!(
        proc::ip_vs_stats_percpu(&[all], &all),
        read("ip_vs_stats_percpu")
    );
}
