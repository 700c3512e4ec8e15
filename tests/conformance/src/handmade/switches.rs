//! Settings of `net.ipv4.vs`, each with what it is about, on and off. A setting is a row of the page.

use weir_conformance::answer::Answer;
use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, FIN, PSH, RST, SYN};

use super::script::{Ends, Script, server_at, vip_at};

const KEY: &str = "tcp 192.0.2.100:80";

pub(super) fn all(into: &mut Vec<Scenario>) {
    for on in [0, 1] {
        for method in ["nat", "dr"] {
            sloppy_tcp(on, method, into);
            sloppy_sctp(on, method, into);
        }
        for is_v6 in [false, true] {
            nat_icmp_send(on, is_v6, into);
            for method in ["nat", "dr", "ipip"] {
                schedule_icmp(on, method, is_v6, into);
            }
        }
        conntrack(on, into);
        for name in [
            "snat_reroute",
            "ignore_tunneled",
            "backup_only",
            "run_estimation",
        ] {
            without_meaning(name, on, into);
        }
    }
    for mode in 0..=3 {
        for method in ["nat", "dr"] {
            conn_reuse_mode(mode, method, into);
        }
    }
    for value in 0..=3 {
        for method in ["nat", "dr"] {
            secure_tcp(value, method, into);
        }
    }
}

fn serve(s: &mut Script, key: &str, method: &str) {
    s.serve(key, "rr", 3, method);
    // Another service of the address, so that packets of no service are still IPVS's.
    s.say("service add udp 192.0.2.101:9 rr");
}

/// What may begin a connection.
fn sloppy_tcp(on: u8, method: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("sloppy_tcp", &format!("{on}, {method}"));
    serve(&mut s, KEY, method);
    s.say(&format!("sysctl sloppy_tcp {on}"));
    let flags = [
        SYN,
        ACK,
        PSH | ACK,
        FIN | ACK,
        FIN,
        RST,
        RST | ACK,
        SYN | ACK,
        SYN | RST,
        SYN | FIN,
        0,
        0xff,
    ];
    for (n, flags) in (1..).zip(flags) {
        let ends = Ends::tcp(n, 1024, false);
        s.send(ends, flags, 5);
        s.send(ends, ACK, 5);
        s.send(Ends::tcp(n, 20, false), flags, 0);
        s.send(ends.to_port(81), flags, 0);
    }
    s.end(into);
}

fn sctp_chunk(kind: u8) -> Vec<u8> {
    let len: u8 = if kind == 1 || kind == 2 { 20 } else { 4 };
    let mut chunk = vec![kind, 0, 0, len];
    chunk.resize(usize::from(len), 0);
    chunk
}

fn sloppy_sctp(on: u8, method: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("sloppy_sctp", &format!("{on}, {method}"));
    serve(&mut s, "sctp 192.0.2.100:80", method);
    s.say(&format!("sysctl sloppy_sctp {on}"));
    for chunk in 0..=15 {
        let ends = Ends {
            protocol: Protocol::Sctp,
            ..Ends::tcp(chunk, 1024, false)
        };
        let first = ends.over(ends.ip(), 0);
        s.frame(Leg::Client, &first.clone().payload(&sctp_chunk(chunk)));
        s.frame(Leg::Client, &first.payload(&sctp_chunk(0)));
    }
    s.end(into);
}

/// A server's packet that belongs to no connection.
fn nat_icmp_send(on: u8, is_v6: bool, into: &mut Vec<Scenario>) {
    let family = if is_v6 { "IPv6" } else { "IPv4" };
    let mut s = Script::new("nat_icmp_send", &format!("{on}, {family}"));
    for key in [
        format!("tcp {}", vip_at(80, is_v6)),
        format!("udp {}", vip_at(53, is_v6)),
        format!("sctp {}", vip_at(90, is_v6)),
    ] {
        s.serve(&key, "rr", 1, "nat");
    }
    s.say(&format!("sysctl nat_icmp_send {on}"));
    let ends = Ends::tcp(1, 1024, is_v6);
    for n in [1, 2] {
        for flags in [SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK] {
            for port in [80, 81] {
                let tcp = ends.ip_of_server(n).tcp(port, 1024).flags(flags);
                s.frame(Leg::Server, &tcp.payload(b"data"));
            }
        }
        for port in [53, 54] {
            s.frame(
                Leg::Server,
                &ends.ip_of_server(n).udp(port, 1024).payload(b"data"),
            );
        }
        for chunk in [0, 1, 6, 9] {
            let sctp = ends.ip_of_server(n).sctp(90, 1024);
            s.frame(Leg::Server, &sctp.payload(&sctp_chunk(chunk)));
        }
    }
    s.end(into);
}

/// An ICMP error about a connection that nobody knows.
fn schedule_icmp(on: u8, method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let family = if is_v6 { "IPv6" } else { "IPv4" };
    let mut s = Script::new("schedule_icmp", &format!("{on}, {method}, {family}"));
    for key in [
        format!("tcp {}", vip_at(80, is_v6)),
        format!("udp {}", vip_at(53, is_v6)),
    ] {
        s.serve(&key, "rr", 2, method);
    }
    s.say(&format!("sysctl schedule_icmp {on}"));
    let kinds: &[(u8, u8, u32)] = match is_v6 {
        false => &[(3, 4, 1300), (3, 3, 0), (11, 0, 0), (12, 0, 0)],
        true => &[(2, 0, 1300), (1, 4, 0), (3, 0, 0)],
    };
    for (n, &(icmp_type, code, word)) in (1..).zip(kinds) {
        for ends in [Ends::tcp(n, 1024, is_v6), Ends::udp(n, 1024, is_v6)] {
            // What the service had sent to the client.
            let (from, to) = (ends.service, ends.client);
            let sent = Ends {
                client: from,
                service: to,
                ..ends
            };
            let quoted = sent
                .over(sent.ip(), ACK)
                .payload(b"what was sent before")
                .build();
            let error = ends.ip().icmp_error(icmp_type, code, word, &quoted[14..]);
            s.frame(Leg::Client, &error);
            s.say("entries");
            s.send(ends, SYN, 0);
            s.frame(Leg::Client, &error);
        }
    }
    s.end(into);
}

/// A SYN on a connection that is known, in the states that modes tell apart.
fn conn_reuse_mode(mode: u8, method: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("conn_reuse_mode", &format!("{mode}, {method}"));
    serve(&mut s, KEY, method);
    s.say(&format!("sysctl conn_reuse_mode {mode}"));
    let paths: [&[(bool, u8)]; 6] = [
        &[],
        &[(false, ACK)],
        &[(false, ACK), (false, FIN | ACK)],
        &[(false, ACK), (true, FIN | ACK)],
        &[(false, ACK), (false, FIN | ACK), (true, FIN | ACK)],
        &[(false, ACK), (false, RST)],
    ];
    for (n, path) in (1..).zip(paths) {
        let ends = Ends::tcp(n, 1024, false);
        let first = s.send(ends, SYN, 0);
        for &(is_servers, flags) in path {
            match (is_servers, method) {
                (true, "nat") => {
                    s.reply(first, flags, 0);
                }
                (true, _) => {}
                (false, _) => {
                    s.send(ends, flags, 0);
                }
            }
        }
        s.send(ends, SYN, 0);
        s.say("entries");
        // And with a server that gets nothing new.
        s.say(&format!(
            "server edit {KEY} 10.0.0.{}:80 {method} weight=0",
            1 + n % 3
        ));
        s.send(ends, SYN, 0);
        s.say(&format!(
            "server edit {KEY} 10.0.0.{}:80 {method} weight=1",
            1 + n % 3
        ));
    }
    s.end(into);
}

/// Stricter states from 3 on; 1 and 2 depend on memory, which there is.
fn secure_tcp(value: u8, method: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("secure_tcp", &format!("{value}, {method}"));
    serve(&mut s, KEY, method);
    s.say(&format!("sysctl secure_tcp {value}"));
    // Defences are looked at once a second.
    s.say("advance 150");
    let segments = [
        (false, SYN),
        (false, ACK),
        (true, SYN | ACK),
        (true, ACK),
        (false, FIN | ACK),
        (false, RST),
        (true, FIN | ACK),
        (true, RST),
    ];
    for (n, last) in (1..).zip(segments) {
        let ends = Ends::tcp(n, 1024, false);
        let first = s.send(ends, SYN, 0);
        for (is_servers, flags) in segments.into_iter().skip(1).take(2).chain([last]) {
            match (is_servers, method) {
                (true, "nat") => {
                    s.reply(first, flags, 0);
                }
                (true, _) => {}
                (false, _) => {
                    s.send(ends, flags, 0);
                }
            }
        }
    }
    s.say("entries");
    // It holds for connections that there are, too.
    s.say("sysctl secure_tcp 0\nadvance 150");
    for n in 1..=8 {
        s.send(Ends::tcp(n, 1024, false), ACK, 0);
    }
    s.end(into);
}

/// With and without the kernel's connection tracking the same packets leave.
fn conntrack(on: u8, into: &mut Vec<Scenario>) {
    for method in ["nat", "dr", "ipip"] {
        let mut s = Script::new("conntrack", &format!("{on}, {method}"));
        s.say(&format!("sysctl conntrack {on}"));
        serve(&mut s, KEY, method);
        s.serve("udp 192.0.2.100:53", "rr", 2, method);
        for n in 1..=3 {
            let ends = Ends::tcp(n, 1024, false);
            let first = s.send(ends, SYN, 0);
            s.reply(first, SYN | ACK, 0);
            s.send(ends, ACK, 0);
            s.send(ends, PSH | ACK, 100);
            s.reply(first, PSH | ACK, 100);
            s.send(ends, FIN | ACK, 0);
            s.reply(first, FIN | ACK, 0);
            let datagram = s.send(Ends::udp(n, 1024, false), 0, 0);
            let data = Answer::Udp {
                data: 9,
                has_checksum: true,
            };
            s.answer(datagram, Leg::Server, data);
        }
        s.end(into);
    }
}

/// Settings that change nothing for what comes here: no routing by source, no tunnel that ends at the
/// director, no synchronisation daemon.
fn without_meaning(name: &str, on: u8, into: &mut Vec<Scenario>) {
    let mut s = Script::new(name, &on.to_string());
    s.say(&format!("sysctl {name} {on}"));
    serve(&mut s, KEY, "nat");
    s.say("service add tcp 192.0.2.101:80 rr");
    s.say(&format!(
        "server add tcp 192.0.2.101:80 {} ipip",
        server_at(3, 80, false)
    ));
    for n in 1..=4 {
        let ends = Ends::tcp(n, 1024, false);
        let first = s.send(ends, SYN, 0);
        s.reply(first, SYN | ACK, 0);
        s.send(ends, ACK, 100);
        // A packet in a tunnel whose end is the service's address.
        let inner = ends.over(ends.ip(), SYN).build();
        s.frame(Leg::Client, &ends.ip().raw(4).payload(&inner[14..]));
    }
    s.say("counters");
    s.end(into);
}
