//! What floods are met with: fewer new connections, and fewer old ones.

use weir_conformance::operation::Scenario;
use weir_wire::tcp_flag::{ACK, RST, SYN};

use super::script::{Ends, Script, case, vip_at};

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in ["nat", "dr"] {
            connections(method, is_v6, into);
        }
    }
    templates(into);
    packets(into);
    off(into);
}

/// Chance hits one of 32 places a second: after a quarter of an hour what may end has ended, but for one of
/// ten thousand.
const LONG: u32 = 30_000;

/// Idle connections whose clients have sent one packet or two end, others stay.
fn connections(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Script::new(
        "drop_entry",
        &format!("connections, {}", case(method, is_v6)),
    );
    s.serve(&format!("tcp {}", vip_at(80, is_v6)), "rr", 2, method);
    s.serve(&format!("udp {}", vip_at(53, is_v6)), "rr", 2, method);
    s.say("timeouts 3000 3000 3000");
    for n in 1..=3 {
        for (port, packets) in [(1024, 2), (1025, 9), (1026, 12)] {
            let ends = Ends::tcp(n, port, is_v6);
            let first = s.send(ends, SYN, 0);
            for _ in 1..packets {
                s.send(ends, ACK, 5);
                s.reply(first, ACK, 5);
            }
        }
        // What has ended is not looked at.
        let ends = Ends::tcp(n, 1027, is_v6);
        for flags in [SYN, ACK, RST] {
            s.send(ends, flags, 0);
        }
        for (port, packets) in [(1024, 1), (1025, 9)] {
            for _ in 0..packets {
                s.send(Ends::udp(n, port, is_v6), 0, 0);
            }
        }
    }
    s.say("entries\nsysctl drop_entry 3");
    for _ in 0..5 {
        s.say(&format!("advance {LONG}"));
    }
    // They are what is left, and what ends with them is counted.
    s.end(into);
}

/// Templates that no answer has vouched for end, others stay.
fn templates(into: &mut Vec<Scenario>) {
    let mut s = Script::new("drop_entry", "templates");
    let key = "tcp 192.0.2.100:80";
    s.say(&format!("service add {key} rr persist=6000"));
    for n in 1..=3 {
        s.say(&format!("server add {key} 10.0.0.{n}:80 dr"));
    }
    for n in 1..=6 {
        s.send(Ends::tcp(n, 1024, false), SYN, 0);
        if n % 2 == 0 {
            s.send(Ends::tcp(n, 1024, false), ACK, 0);
            s.send(Ends::tcp(n, 1024, false), RST, 0);
        }
    }
    s.say("advance 10000\nentries\nsysctl drop_entry 3");
    for _ in 0..3 {
        s.say(&format!("advance {LONG}"));
    }
    s.say("entries\nsysctl drop_entry 0");
    for n in 1..=6 {
        s.send(Ends::tcp(n, 1025, false), SYN, 0);
    }
    s.end(into);
}

/// Packets that would begin a connection are dropped, and no others.
fn packets(into: &mut Vec<Scenario>) {
    let mut s = Script::new("drop_packet", "every one");
    for method in ["nat", "dr"] {
        let at = if method == "nat" { 80 } else { 81 };
        s.serve(&format!("tcp 192.0.2.100:{at}"), "rr", 2, method);
        s.serve(&format!("udp 192.0.2.100:{at}"), "rr", 2, method);
    }
    s.say("service add tcp 192.0.2.100:82 rr");
    let known = Ends::tcp(1, 1024, false);
    s.send(known, SYN, 0);
    s.say("sysctl am_droprate 1\nsysctl drop_packet 3\nadvance 150");
    for n in 1..=3 {
        s.send(known, ACK, 5);
        for to in [80, 81, 82, 83] {
            let ends = Ends::tcp(n, 2000, false).to_port(to);
            s.send(ends, ACK, 0);
            s.send(ends, SYN, 0);
            s.send(Ends::udp(n, 2000, false).to_port(to), 0, 0);
        }
    }
    s.say("entries\ncounters\nsysctl drop_packet 0\nadvance 150");
    s.send(Ends::tcp(4, 2000, false), SYN, 0);
    s.end(into);
}

/// Defences that are off drop nothing, whatever comes.
fn off(into: &mut Vec<Scenario>) {
    let mut s = Script::new("drop_entry", "off");
    s.serve("tcp 192.0.2.100:80", "rr", 3, "dr");
    s.say("sysctl drop_entry 0\nsysctl drop_packet 0");
    for n in 0..60_u16 {
        s.send(Ends::tcp(n as u8 + 1, 1024 + n, false), SYN, 0);
    }
    s.say("entries\nadvance 500");
    s.end(into);
}
