//! States, timers, and what becomes of connections when servers and services change.

use weir_conformance::operation::Scenario;
use weir_wire::tcp_flag::{ACK, FIN, PSH, RST, SYN};

use super::script::{Ends, Script};

const KEY: &str = "tcp 192.0.2.100:80";

/// A segment: of the server if true, with these flags.
type Segment = (bool, u8);

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_secure in [false, true] {
        state_table("nat", PATHS, is_secure, into);
        state_table("dr", &PATHS[..5], is_secure, into);
    }
    lifetimes(into);
    set_timeouts(into);
    server_goes_and_comes(into);
    service_goes_and_comes(into);
    weight_zero(into);
    port_again(into);
}

/// What leads to each state that a connection may be in.
const PATHS: &[(&str, &[Segment])] = &[
    ("SYN_RECV", &[(false, SYN)]),
    ("ESTABLISHED", &[(false, SYN), (false, ACK)]),
    ("TIME_WAIT", &[(false, SYN), (false, FIN | ACK)]),
    ("CLOSE", &[(false, SYN), (false, ACK), (false, RST)]),
    (
        "FIN_WAIT",
        &[(false, SYN), (false, ACK), (false, FIN | ACK)],
    ),
    (
        "CLOSE_WAIT",
        &[(false, SYN), (false, ACK), (false, FIN | ACK)],
    ),
    (
        "FIN_WAIT of the server",
        &[(false, SYN), (false, ACK), (true, FIN | ACK)],
    ),
    (
        "SYN_SENT",
        &[(false, SYN), (false, ACK), (false, RST), (true, SYN)],
    ),
];

const FLAGS: &[u8] = &[
    SYN,
    ACK,
    FIN | ACK,
    RST,
    SYN | ACK,
    SYN | FIN,
    FIN | RST,
    0,
    PSH | ACK,
    RST | ACK,
    FIN,
    SYN | RST,
    0xff,
];

/// Every segment in every state, or where the same segments lead while `secure_tcp` is on.
fn state_table(
    method: &str,
    paths: &[(&str, &[Segment])],
    is_secure: bool,
    into: &mut Vec<Scenario>,
) {
    for (state, path) in paths {
        let secure = if is_secure { ", secure_tcp" } else { "" };
        let mut s = Script::new(&format!("state table of TCP, {method}{secure}"), state);
        if is_secure {
            s.say("sysctl secure_tcp 3\nadvance 150");
        }
        s.serve(KEY, "rr", 1, method);
        // Without another service the last one's end would be IPVS's.
        s.say("service add udp 192.0.2.101:9 rr");
        let mut port = 1024;
        for &flags in FLAGS {
            for is_servers in [false, true] {
                if is_servers && method != "nat" {
                    continue;
                }
                let ends = Ends::tcp(7, port, false);
                port += 1;
                let first = s.send(ends, SYN, 0);
                for &(is_servers, flags) in path.iter().skip(1).chain(&[(is_servers, flags)]) {
                    if is_servers {
                        s.reply(first, flags, 0);
                    } else {
                        s.send(ends, flags, 0);
                    }
                }
            }
        }
        s.say("entries");
        s.end(into);
    }
}

/// How long each state lasts.
fn lifetimes(into: &mut Vec<Scenario>) {
    let mut s = Script::new("lifetimes", "as the kernel has them");
    s.serve(KEY, "rr", 2, "nat");
    s.serve("udp 192.0.2.100:53", "rr", 2, "nat");
    for (n, (_, path)) in (1..).zip(PATHS) {
        let ends = Ends::tcp(n, 1024, false);
        let first = s.send(ends, SYN, 0);
        for &(is_servers, flags) in &path[1..] {
            if is_servers {
                s.reply(first, flags, 0);
            } else {
                s.send(ends, flags, 0);
            }
        }
    }
    s.send(Ends::udp(1, 1024, false), 0, 0);
    for ticks in [1, 99, 900, 4000, 3000, 5000, 10_000, 30_000, 50_000] {
        s.say(&format!("advance {ticks}\nentries"));
    }
    s.end(into);
}

fn set_timeouts(into: &mut Vec<Scenario>) {
    let mut s = Script::new("lifetimes", "set by --set");
    s.serve(KEY, "rr", 2, "nat");
    s.serve("udp 192.0.2.100:53", "rr", 2, "nat");
    for (n, set) in (1..).zip(["timeouts 30 20 10", "timeouts 0 40 0", "timeouts 3600 0 5"]) {
        s.say(set);
        let ends = Ends::tcp(n, 1024, false);
        s.send(ends, SYN, 0);
        s.send(ends, ACK, 0);
        s.send(Ends::udp(n, 1024, false), 0, 0);
        let closing = Ends::tcp(n, 1025, false);
        let first = s.send(closing, SYN, 0);
        s.send(closing, ACK, 0);
        s.reply(first, FIN | ACK, 0);
        s.say("entries\nadvance 500\nentries");
        // What is there keeps its time until its next packet.
        s.send(Ends::tcp(1, 1024, false), ACK, 0);
        s.say("entries");
    }
    s.say("advance 3000\nentries\nadvance 370000\nentries");
    s.end(into);
}

/// A removed server keeps its connections, silently, and has them again when it comes back.
fn server_goes_and_comes(into: &mut Vec<Scenario>) {
    for method in ["nat", "dr", "ipip"] {
        let mut s = Script::new("removed servers", method);
        s.serve(KEY, "rr", 2, method);
        let ends = [Ends::tcp(1, 1024, false), Ends::tcp(2, 1024, false)];
        let first = ends.map(|ends| s.send(ends, SYN, 0));
        for ends in ends {
            s.send(ends, ACK, 0);
        }
        s.say(&format!("server del {KEY} 10.0.0.2:80\nadvance 1000"));
        for ends in ends {
            s.send(ends, ACK, 5);
        }
        for ends in ends {
            s.send(ends, SYN, 0);
        }
        for first in first {
            s.reply(first, ACK, 5);
        }
        s.say("entries\ncounters");
        s.say(&format!("server add {KEY} 10.0.0.2:80 {method}"));
        for ends in ends {
            s.send(ends, ACK, 5);
        }
        s.send(Ends::tcp(3, 1024, false), SYN, 0);
        s.end(into);
    }
}

fn service_goes_and_comes(into: &mut Vec<Scenario>) {
    for other in ["", "service add udp 192.0.2.101:9 rr"] {
        let case = if other.is_empty() {
            "the only one"
        } else {
            "one of two"
        };
        let mut s = Script::new("removed services", case);
        s.say(other);
        s.serve(KEY, "rr", 2, "nat");
        let ends = Ends::tcp(1, 1024, false);
        let first = s.send(ends, SYN, 0);
        s.reply(first, SYN | ACK, 0);
        s.send(ends, ACK, 0);
        s.say(&format!("service del {KEY}"));
        s.send(ends, ACK, 5);
        s.reply(first, ACK, 5);
        s.send(Ends::tcp(2, 1024, false), SYN, 0);
        s.serve(KEY, "rr", 2, "nat");
        s.send(ends, ACK, 5);
        s.reply(first, ACK, 5);
        s.say("flush");
        s.send(ends, ACK, 5);
        s.end(into);
    }
}

fn weight_zero(into: &mut Vec<Scenario>) {
    let mut s = Script::new("weight 0", "connections go on");
    s.serve(KEY, "rr", 2, "nat");
    let ends = [Ends::tcp(1, 1024, false), Ends::tcp(2, 1024, false)];
    for ends in ends {
        s.send(ends, SYN, 0);
    }
    for ends in ends {
        s.send(ends, ACK, 0);
    }
    s.say(&format!("server edit {KEY} 10.0.0.2:80 nat weight=0"));
    for ends in ends {
        s.send(ends, ACK, 9);
    }
    for ends in ends {
        s.send(ends, SYN, 0);
    }
    for n in 3..7 {
        s.send(Ends::tcp(n, 1024, false), SYN, 0);
    }
    s.end(into);
}

/// A SYN on a tuple that is known, in every state.
fn port_again(into: &mut Vec<Scenario>) {
    for (state, path) in PATHS {
        let mut s = Script::new("a port used again", state);
        s.serve(KEY, "rr", 3, "nat");
        let ends = Ends::tcp(1, 1024, false);
        let first = s.send(ends, SYN, 0);
        for &(is_servers, flags) in &path[1..] {
            if is_servers {
                s.reply(first, flags, 0);
            } else {
                s.send(ends, flags, 0);
            }
        }
        let again = s.send(ends, SYN, 0);
        s.reply(again, SYN | ACK, 0);
        s.send(ends, ACK, 0);
        s.end(into);
    }
}
