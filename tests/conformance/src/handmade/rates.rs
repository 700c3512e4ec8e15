//! Estimated rates of services and servers over time, and counting from zero.

use weir_conformance::operation::Scenario;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, server_at, vip_at};

pub(super) fn all(into: &mut Vec<Scenario>) {
    for method in ["nat", "dr", "ipip"] {
        over_time(method, into);
    }
    steady(into);
    zero(into);
    off_and_on(into);
}

/// So many connections, each with data both ways.
fn connections(s: &mut Script, first: u16, count: u16, is_v6: bool) {
    for port in first..first + count {
        let ends = Ends::tcp(1, port, is_v6);
        let begun = s.send(ends, SYN, 0);
        s.reply(begun, SYN | ACK, 0);
        s.send(ends, ACK, 700);
        s.reply(begun, ACK, 1400);
    }
}

/// A burst, and how its rates fade.
fn over_time(method: &str, into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        let mut s = Script::new("rates", &format!("a burst, {method}, {family}"));
        s.serve(&format!("tcp {}", vip_at(80, is_v6)), "rr", 2, method);
        connections(&mut s, 1024, 25, is_v6);
        for _ in 0..8 {
            s.say("counters");
        }
        s.end(into);
    }
}

/// Traffic that goes on, now more and now less.
fn steady(into: &mut Vec<Scenario>) {
    let mut s = Script::new("rates", "traffic that goes on");
    s.say("service add tcp 192.0.2.100:80 wrr");
    for n in 1..=3 {
        let server = server_at(n, 80, false);
        s.say(&format!(
            "server add tcp 192.0.2.100:80 {server} nat weight={n}"
        ));
    }
    let mut port = 1024;
    for count in [1, 1, 5, 1, 9, 0, 2, 2, 0, 1] {
        for _ in 0..3 {
            connections(&mut s, port, count, false);
            port += count;
            s.say("advance 61");
        }
        s.say("counters");
    }
    s.end(into);
}

/// `ipvsadm -Z` of one service and of all.
fn zero(into: &mut Vec<Scenario>) {
    for what in [
        "",
        " tcp 192.0.2.100:80",
        " udp 192.0.2.100:53",
        " tcp 192.0.2.100:81",
    ] {
        let name = if what.is_empty() { "all" } else { what.trim() };
        let mut s = Script::new("zeroing", name);
        s.serve("tcp 192.0.2.100:80", "rr", 2, "nat");
        s.serve("udp 192.0.2.100:53", "rr", 2, "nat");
        connections(&mut s, 1024, 6, false);
        for port in 1024..1030 {
            s.send(Ends::udp(1, port, false), 0, 50);
        }
        s.say("counters");
        s.say(&format!(
            "zero{what}\nserver del tcp 192.0.2.100:80 10.0.0.2:80"
        ));
        s.say("counters\nserver add tcp 192.0.2.100:80 10.0.0.2:80 nat\ncounters");
        connections(&mut s, 2024, 3, false);
        s.say("counters");
        s.say(&format!("zero{what}\ncounters"));
        s.end(into);
    }
}

/// No rates while they are not estimated.
fn off_and_on(into: &mut Vec<Scenario>) {
    let mut s = Script::new("run_estimation", "off and on again");
    s.serve("tcp 192.0.2.100:80", "rr", 2, "nat");
    connections(&mut s, 1024, 6, false);
    s.say("counters\nsysctl run_estimation 0");
    connections(&mut s, 2024, 6, false);
    s.say("counters\ncounters\nsysctl run_estimation 1");
    connections(&mut s, 3024, 6, false);
    s.say("counters\ncounters");
    s.end(into);
}
