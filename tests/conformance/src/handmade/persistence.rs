//! Persistence templates: whom they lead where, how long they live, and what ends them.

use weir_conformance::operation::Scenario;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use super::script::{Ends, Script, server_at, vip_at};

const KEY: &str = "tcp 192.0.2.100:80";

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        leads_back(is_v6, into);
        masks(is_v6, into);
    }
    ends(into);
    lives_on_with_connections(into);
    begins_anew_with_each_connection(into);
    of_datagrams(into);
    for expire in [0, 1] {
        quiescent(expire, into);
    }
    for method in ["nat", "dr"] {
        removed_server(method, into);
    }
    overloaded(into);
    edited_service(into);
    ports_of_servers(into);
    half_open(into);
}

fn family(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

/// A persistent service of TCP port 80 with servers 1 to 3.
fn service(s: &mut Script, options: &str, method: &str) {
    s.say(&format!("service add {KEY} rr {options}"));
    for n in 1..=3 {
        s.say(&format!("server add {KEY} 10.0.0.{n}:80 {method}"));
    }
}

/// A whole connection of client `n`, answered and ended.
fn connection(s: &mut Script, n: u8, port: u16) {
    let ends = Ends::tcp(n, port, false);
    let first = s.send(ends, SYN, 0);
    s.reply(first, SYN | ACK, 0);
    s.send(ends, ACK, 0);
    s.send(ends, FIN | ACK, 0);
    s.reply(first, FIN | ACK, 0);
    s.reply(first, RST, 0);
}

/// One port, all ports, a mark: which connections of a client belong together.
fn leads_back(is_v6: bool, into: &mut Vec<Scenario>) {
    let mark = format!("mark 3 {}", if is_v6 { "ipv6" } else { "ipv4" });
    let vip = vip_at(0, is_v6).ip();
    let len = if is_v6 { 128 } else { 32 };
    for (case, keys) in [
        ("one port", vec![format!("tcp {}", vip_at(80, is_v6))]),
        (
            "one port, and all of them",
            vec![
                format!("tcp {}", vip_at(80, is_v6)),
                format!("tcp {}", vip_at(0, is_v6)),
            ],
        ),
        (
            "all ports",
            vec![
                format!("tcp {}", vip_at(0, is_v6)),
                format!("udp {}", vip_at(0, is_v6)),
            ],
        ),
        ("a mark", vec![mark]),
    ] {
        let mut s = Script::new("persistence", &format!("by {case}, {}", family(is_v6)));
        for key in &keys {
            let port = if key.ends_with(":80") { 80 } else { 0 };
            if key.starts_with("mark") {
                s.say(&format!("mark 3 destination={vip}/{len}"));
            }
            s.say(&format!("service add {key} rr persist=300"));
            for n in 1..=3 {
                s.say(&format!(
                    "server add {key} {} nat",
                    server_at(n, port, is_v6)
                ));
            }
        }
        for n in [1, 2, 1, 3, 2] {
            for (port, to) in [(1024, 80), (1025, 80), (1024, 443), (1024, 8080)] {
                let first = s.send(Ends::tcp(n, port, is_v6).to_port(to), SYN, 0);
                s.reply(first, SYN | ACK, 0);
                s.send(Ends::tcp(n, port, is_v6).to_port(to), ACK, 0);
            }
            s.send(Ends::udp(n, 1024, is_v6), 0, 0);
            s.send(Ends::udp(n, 1025, is_v6).to_port(123), 0, 0);
        }
        s.end(into);
    }
}

fn masks(is_v6: bool, into: &mut Vec<Scenario>) {
    let lengths: &[u8] = if is_v6 {
        &[1, 64, 120, 126, 128]
    } else {
        &[0, 8, 24, 29, 31, 32]
    };
    for len in lengths {
        let mut s = Script::new(
            "persistence by netmask",
            &format!("/{len}, {}", family(is_v6)),
        );
        let key = format!("tcp {}", vip_at(80, is_v6));
        s.say(&format!("service add {key} rr persist=300 mask={len}"));
        for n in 1..=3 {
            s.say(&format!("server add {key} {} dr", server_at(n, 80, is_v6)));
        }
        for n in [1, 2, 3, 4, 5, 7, 8, 9, 16, 64, 255] {
            s.send(Ends::tcp(n, 1024, is_v6), SYN, 0);
        }
        s.end(into);
    }
}

/// A template without connections ends when its time is up, not before, and the client is scheduled.
fn ends(into: &mut Vec<Scenario>) {
    for (seconds, steps) in [
        (30, [1000, 1500, 400, 300]),
        (300, [12_000, 12_000, 5000, 3000]),
    ] {
        let mut s = Script::new("persistence, how long", &format!("{seconds} s"));
        service(&mut s, &format!("persist={seconds}"), "nat");
        for n in 1..=2 {
            connection(&mut s, n, 1024);
        }
        s.say("entries");
        for step in steps {
            s.say(&format!("advance {step}\nentries"));
        }
        s.say("counters");
        connection(&mut s, 3, 1024);
        connection(&mut s, 1, 1025);
        s.end(into);
    }
}

/// With connections a template lives on when its time is up, a minute at a time and for good.
fn lives_on_with_connections(into: &mut Vec<Scenario>) {
    let mut s = Script::new("persistence, how long", "with a connection that stays");
    service(&mut s, "persist=20", "nat");
    let ends = Ends::tcp(1, 1024, false);
    let first = s.send(ends, SYN, 0);
    s.reply(first, SYN | ACK, 0);
    s.send(ends, ACK, 0);
    connection(&mut s, 2, 1024);
    s.say("entries\nadvance 2500\nentries\nadvance 3000\nentries\nadvance 4000\nentries");
    // Another connection has it begin again, with a minute.
    connection(&mut s, 1, 1025);
    s.say("entries\nadvance 3000\nentries");
    s.send(ends, FIN | ACK, 0);
    s.reply(first, RST, 0);
    s.say("advance 2000\nentries\nadvance 7000\nentries");
    connection(&mut s, 1, 1026);
    s.end(into);
}

fn begins_anew_with_each_connection(into: &mut Vec<Scenario>) {
    let mut s = Script::new(
        "persistence, how long",
        "it begins anew with each connection",
    );
    service(&mut s, "persist=100", "nat");
    for port in 1024..1028 {
        connection(&mut s, 1, port);
        s.say("entries\nadvance 6000\nentries");
    }
    s.say("advance 3000\nentries\nadvance 2500\nentries");
    s.end(into);
}

/// What makes a template assured, and what ends it before its time.
fn half_open(into: &mut Vec<Scenario>) {
    let mut s = Script::new("persistence, how long", "connections that never open");
    service(&mut s, "persist=200", "nat");
    s.send(Ends::tcp(1, 1024, false), SYN, 0);
    let refused = s.send(Ends::tcp(2, 1024, false), SYN, 0);
    s.reply(refused, RST | ACK, 0);
    let answered = s.send(Ends::tcp(3, 1024, false), SYN, 0);
    s.reply(answered, SYN | ACK, 0);
    s.say("entries\nadvance 1500\nentries\nadvance 6000\nentries\nadvance 12000\nentries\nadvance 3000");
    s.end(into);
}

fn of_datagrams(into: &mut Vec<Scenario>) {
    for options in ["", "ops"] {
        let with = if options.is_empty() {
            ""
        } else {
            ", one-packet scheduling"
        };
        let mut s = Script::new("persistence", &format!("of UDP{with}"));
        let key = "udp 192.0.2.100:53";
        s.say(&format!(
            "service add {key} rr persist=60 {options}\ntimeouts 0 0 10"
        ));
        for n in 1..=3 {
            s.say(&format!("server add {key} 10.0.0.{n}:53 dr"));
        }
        for port in 1024..1027 {
            for n in 1..=2 {
                s.send(Ends::udp(n, port, false), 0, 0);
            }
            s.say("entries\nadvance 1500\nentries");
        }
        s.say("counters\nadvance 7000\nentries");
        s.send(Ends::udp(1, 1024, false), 0, 0);
        s.end(into);
    }
}

/// A server of weight 0 goes on to get its clients' connections, unless `expire_quiescent_template`.
fn quiescent(expire: u8, into: &mut Vec<Scenario>) {
    let feature = "persistence, a server of weight 0";
    let mut s = Script::new(feature, &format!("expire_quiescent_template={expire}"));
    service(&mut s, "persist=60", "nat");
    s.say(&format!("sysctl expire_quiescent_template {expire}"));
    for n in 1..=3 {
        connection(&mut s, n, 1024);
    }
    let ends = Ends::tcp(1, 1025, false);
    s.send(ends, SYN, 0);
    s.send(ends, ACK, 0);
    s.say("entries");
    for n in 1..=3_u16 {
        s.say(&format!("server edit {KEY} 10.0.0.{n}:80 nat weight=0"));
        for client in 1..=4 {
            s.send(Ends::tcp(client, 1030 + n, false), SYN, 0);
        }
        s.say("entries");
    }
    s.send(ends, ACK, 5);
    s.say(&format!("server edit {KEY} 10.0.0.1:80 nat weight=1"));
    for client in 1..=4 {
        s.send(Ends::tcp(client, 1040, false), SYN, 0);
    }
    s.say("entries\ncounters\nadvance 4000\nentries");
    s.end(into);
}

/// A removed server's templates lead nowhere, also when it comes back after somebody has looked.
fn removed_server(method: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("persistence, a removed server", method);
    service(&mut s, "persist=100", method);
    for n in 1..=3 {
        connection(&mut s, n, 1024);
    }
    s.say("advance 1000\nentries\ncounters");
    for n in 1..=3 {
        s.say(&format!("server del {KEY} 10.0.0.{n}:80"));
    }
    s.send(Ends::tcp(1, 1025, false), SYN, 0);
    s.say("entries");
    for n in 1..=3 {
        s.say(&format!("server add {KEY} 10.0.0.{n}:80 {method}"));
    }
    for client in 1..=4 {
        s.send(Ends::tcp(client, 1026, false), SYN, 0);
    }
    s.say("entries\ncounters\nadvance 9000\nentries\nadvance 5000");
    s.end(into);
}

/// An overloaded server gets no new clients, and keeps those it has.
fn overloaded(into: &mut Vec<Scenario>) {
    let mut s = Script::new("persistence", "overloaded servers");
    s.say(&format!("service add {KEY} rr persist=100"));
    for n in 1..=2 {
        s.say(&format!(
            "server add {KEY} 10.0.0.{n}:80 dr upper=3 lower=1"
        ));
    }
    for port in 1024..1028 {
        for client in 1..=4 {
            s.send(Ends::tcp(client, port, false), SYN, 0);
        }
    }
    s.say("entries\ncounters\nadvance 6500\nentries");
    for client in 3..=6 {
        s.send(Ends::tcp(client, 1030, false), SYN, 0);
    }
    s.end(into);
}

/// Persistence that is taken from a service and given to it again, and other times.
fn edited_service(into: &mut Vec<Scenario>) {
    let mut s = Script::new("persistence", "a service that is edited");
    service(&mut s, "persist=100", "dr");
    let clients = |s: &mut Script, port| {
        for client in 1..=4 {
            s.send(Ends::tcp(client, port, false), SYN, 0);
        }
        s.say("entries");
    };
    clients(&mut s, 1024);
    for (port, options) in [
        (1025, "rr"),
        (1026, "rr persist=50"),
        (1027, "wrr persist=200 mask=24"),
        (1028, "rr persist=200"),
        (1029, "rr persist=200 pe=sip"),
    ] {
        s.say(&format!("service edit {KEY} {options}"));
        clients(&mut s, port);
    }
    s.end(into);
}

/// Which port a template leads to.
fn ports_of_servers(into: &mut Vec<Scenario>) {
    let mut s = Script::new("persistence", "servers at other ports");
    s.say("service add tcp 192.0.2.100:0 rr persist=100\nservice add tcp 192.0.2.100:80 rr persist=100");
    for n in 1..=2 {
        s.say(&format!("server add tcp 192.0.2.100:0 10.0.0.{n}:8080 nat"));
        s.say(&format!(
            "server add tcp 192.0.2.100:80 10.0.0.{n}:8081 nat"
        ));
    }
    for client in 1..=3 {
        for to in [80, 443, 8080] {
            let first = s.send(Ends::tcp(client, 1024, false).to_port(to), SYN, 0);
            s.reply(first, SYN | ACK, 0);
        }
    }
    s.end(into);

    // Port 21 stands for what FTP may use, too.
    for options in ["", "persist=100"] {
        let kind = if options.is_empty() {
            "not persistent"
        } else {
            "persistent"
        };
        let mut s = Script::new("persistence", &format!("a service at port 21, {kind}"));
        let key = "tcp 192.0.2.100:21";
        s.say(&format!("service add {key} rr {options}"));
        for n in 1..=2 {
            s.say(&format!("server add {key} 10.0.0.{n}:21 nat"));
        }
        for to in [21, 20, 1024, 1023, 40_000, 80] {
            for client in 1..=2 {
                let first = s.send(Ends::tcp(client, 5000 + to, false).to_port(to), SYN, 0);
                s.reply(first, SYN | ACK, 0);
                s.send(Ends::tcp(client, 5000 + to, false).to_port(to), ACK, 0);
            }
        }
        s.end(into);
    }
}
