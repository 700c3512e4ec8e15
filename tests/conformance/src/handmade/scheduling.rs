//! Which server a new connection gets.

use weir_conformance::operation::Scenario;
use weir_wire::tcp_flag::{ACK, FIN, SYN};

use super::script::{Ends, Script, server_at, vip_at};
use crate::generate::SCHEDULERS;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for (scheduler, flags) in SCHEDULERS {
        let plain = [Vec::new()].into_iter();
        let with_flags = flags.iter().map(|flag| vec![*flag]);
        for flags in plain.chain(with_flags) {
            connections(scheduler, &flags, into);
        }
        edited_midway(scheduler, into);
    }
    weights_of_wrr(into);
    no_server(into);
}

fn named(scheduler: &str, flags: &[&str]) -> String {
    if flags.is_empty() {
        scheduler.to_owned()
    } else {
        format!("{scheduler} flags={}", flags.join(","))
    }
}

/// Forty connections over servers of several weights, some of which go on, end or stay half-open.
fn connections(scheduler: &str, flags: &[&str], into: &mut Vec<Scenario>) {
    let with = named(scheduler, flags);
    for is_v6 in [false, true] {
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        let mut s = Script::new(
            &format!("scheduler {scheduler}"),
            &format!("{with}, {family}"),
        );
        let key = format!("tcp {}", vip_at(80, is_v6));
        s.say(&format!("service add {key} {with}"));
        for (n, weight) in [(1, 3), (2, 1), (3, 2), (4, 0)] {
            s.say(&format!(
                "server add {key} {} nat weight={weight}",
                server_at(n, 80, is_v6)
            ));
        }
        for n in 0..40_u8 {
            let ends = Ends::tcp(1 + n % 13, 1024 + u16::from(n), is_v6);
            let first = s.send(ends, SYN, 0);
            if n % 3 > 0 {
                s.reply(first, SYN | ACK, 0);
                s.send(ends, ACK, 0);
            }
            if n % 3 > 1 {
                s.send(ends, FIN | ACK, 0);
            }
            if n % 10 == 9 {
                s.say("entries");
            }
        }
        s.end(into);
    }
}

/// Servers come, go, change their weight, and the service its scheduler, while connections begin.
fn edited_midway(scheduler: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new(&format!("scheduler {scheduler}"), "edited midway");
    let key = "tcp 192.0.2.100:80";
    s.serve(key, scheduler, 3, "dr");
    let mut port = 2000;
    for change in [
        "",
        "server add tcp 192.0.2.100:80 10.0.0.4:80 dr weight=2",
        "server edit tcp 192.0.2.100:80 10.0.0.1:80 dr weight=4",
        "server del tcp 192.0.2.100:80 10.0.0.2:80",
        "server edit tcp 192.0.2.100:80 10.0.0.4:80 dr weight=0",
        "server add tcp 192.0.2.100:80 10.0.0.2:80 dr weight=1",
        "service edit tcp 192.0.2.100:80 rr",
        "server edit tcp 192.0.2.100:80 10.0.0.4:80 dr weight=3",
    ] {
        s.say(change);
        for n in 0..7 {
            port += 1;
            s.send(Ends::tcp(1 + n, port, false), SYN, 0);
        }
    }
    s.say(&format!("service edit {key} {scheduler}"));
    for n in 0..7 {
        s.send(Ends::tcp(30 + n, 3000, false), SYN, 0);
    }
    s.end(into);
}

fn weights_of_wrr(into: &mut Vec<Scenario>) {
    let sets: [&[u32]; 8] = [
        &[3, 2, 1],
        &[4, 2, 0],
        &[5, 3],
        &[1, 1, 1, 1],
        &[100, 50, 10],
        &[7, 5, 3, 2],
        &[0, 0, 1],
        &[65535, 1],
    ];
    for weights in sets {
        let mut s = Script::new("scheduler wrr", &format!("weights {weights:?}"));
        s.say("service add tcp 192.0.2.100:80 wrr");
        for (n, weight) in (1..).zip(weights) {
            s.say(&format!(
                "server add tcp 192.0.2.100:80 10.0.0.{n}:80 dr weight={weight}"
            ));
        }
        for n in 0..24 {
            s.send(Ends::tcp(1 + n, 1024, false), SYN, 0);
        }
        s.end(into);
    }
}

/// A service without servers, and one whose servers all have weight 0.
fn no_server(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        let mut s = Script::new("no service, no server", if is_v6 { "IPv6" } else { "IPv4" });
        let key = format!("tcp {}", vip_at(80, is_v6));
        s.say(&format!("service add {key} rr"));
        s.say(&format!("service add udp {} rr", vip_at(53, is_v6)));
        for (n, flags) in (1..).zip([SYN, SYN | ACK, ACK, FIN | ACK, 4, 0]) {
            s.send(Ends::tcp(n, 1024, is_v6), flags, 10);
            s.send(Ends::tcp(n, 1024, is_v6).to_port(81), flags, 10);
        }
        s.send(Ends::udp(1, 1024, is_v6), 0, 600);
        s.send(Ends::udp(1, 1024, is_v6).to_port(54), 0, 10);
        s.say(&format!(
            "server add {key} {} nat weight=0",
            server_at(1, 80, is_v6)
        ));
        s.send(Ends::tcp(9, 1024, is_v6), SYN, 0);
        s.say(&format!(
            "server edit {key} {} nat weight=1",
            server_at(1, 80, is_v6)
        ));
        s.send(Ends::tcp(9, 1025, is_v6), SYN, 0);
        s.say(&format!("service del {key}"));
        s.send(Ends::tcp(9, 1025, is_v6), ACK, 0);
        s.say(&format!("service del udp {}", vip_at(53, is_v6)));
        s.send(Ends::tcp(9, 1025, is_v6), ACK, 0);
        s.end(into);
    }
}
