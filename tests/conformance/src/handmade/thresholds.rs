//! Servers that are overloaded: when they get nothing new, and when again.

use weir_conformance::operation::Scenario;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use super::script::{Ends, Script};
use crate::generate::SCHEDULERS;

const KEY: &str = "tcp 192.0.2.100:80";

pub(super) fn all(into: &mut Vec<Scenario>) {
    for (scheduler, flags) in SCHEDULERS {
        let plain = [String::new()].into_iter();
        let all = (!flags.is_empty()).then(|| format!(" flags={}", flags.join(",")));
        for with in plain.chain(all) {
            filled(scheduler, &with, into);
        }
    }
    for (upper, lower) in [
        (4, 0),
        (4, 1),
        (4, 2),
        (4, 4),
        (1, 0),
        (1, 1),
        (8, 0),
        (5, 3),
    ] {
        hysteresis(upper, lower, into);
    }
    edited(into);
    refused(into);
}

/// Clients come until nobody has room, some go, and others come; a server is edited in between.
fn filled(scheduler: &str, with: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("thresholds", &format!("by {scheduler}{with}"));
    s.say(&format!("service add {KEY} {scheduler}{with}"));
    for (n, weight, upper) in [(1, 1, 3), (2, 3, 4), (3, 2, 2)] {
        s.say(&format!(
            "server add {KEY} 10.0.0.{n}:80 nat weight={weight} upper={upper} lower=1"
        ));
    }
    let mut begun = Vec::new();
    for n in 1..=12 {
        let ends = Ends::tcp(n, 1024, false);
        begun.push((ends, s.send(ends, SYN, 0)));
    }
    s.say("counters");
    for (ends, first) in begun.iter().take(6) {
        s.send(*ends, ACK, 0);
        s.reply(*first, RST, 0);
    }
    // Ended connections count until they are forgotten.
    s.send(Ends::tcp(20, 1024, false), SYN, 0);
    s.say("advance 1500\nentries");
    for n in 21..=30 {
        s.send(Ends::tcp(n, 1024, false), SYN, 0);
    }
    s.say(&format!(
        "server edit {KEY} 10.0.0.3:80 nat weight=2 upper=6 lower=1"
    ));
    for n in 31..=36 {
        s.send(Ends::tcp(n, 1024, false), SYN, 0);
    }
    s.end(into);
}

/// At which count a server is overloaded, and below which it is no longer.
fn hysteresis(upper: u32, lower: u32, into: &mut Vec<Scenario>) {
    let mut s = Script::new("thresholds", &format!("upper={upper} lower={lower}"));
    s.say(&format!(
        "service add {KEY} rr
         server add {KEY} 10.0.0.1:80 nat upper={upper} lower={lower}"
    ));
    let mut open = Vec::new();
    for port in 1024..1024 + upper as u16 + 2 {
        let ends = Ends::tcp(1, port, false);
        open.push((ends, s.send(ends, SYN, 0)));
        s.send(ends, ACK, 0);
    }
    for (n, (ends, first)) in (2_u8..).zip(open) {
        s.reply(first, RST, 0);
        s.send(ends, RST, 0);
        s.say("advance 1200");
        s.send(Ends::tcp(n, 2000, false), SYN, 0);
        s.send(Ends::tcp(n, 2000, false), ACK, 0);
        s.say("entries");
    }
    s.end(into);
}

/// Thresholds that are set, raised, lowered and taken away while connections live.
fn edited(into: &mut Vec<Scenario>) {
    let mut s = Script::new("thresholds", "edited while connections live");
    s.say(&format!(
        "service add {KEY} rr\nserver add {KEY} 10.0.0.1:80 dr"
    ));
    let mut port = 1024;
    let mut connect = |s: &mut Script| {
        for _ in 0..2 {
            port += 1;
            s.send(Ends::tcp(1, port, false), SYN, 0);
        }
    };
    connect(&mut s);
    for (upper, lower) in [
        (2, 1),
        (4, 1),
        (3, 2),
        (0, 0),
        (4, 4),
        (9, 8),
        (6, 1),
        (20, 1),
    ] {
        s.say(&format!(
            "server edit {KEY} 10.0.0.1:80 dr upper={upper} lower={lower}"
        ));
        connect(&mut s);
    }
    s.send(Ends::tcp(1, 1025, false), ACK, 0);
    s.send(Ends::tcp(1, 1025, false), FIN | ACK, 0);
    s.say("entries\nadvance 7000\nentries");
    connect(&mut s);
    s.end(into);
}

/// What the kernel does not take.
fn refused(into: &mut Vec<Scenario>) {
    let mut s = Script::new("thresholds", "a lower one above the upper one");
    s.say(&format!(
        "service add {KEY} rr
         server add {KEY} 10.0.0.1:80 dr upper=3 lower=4
         server add {KEY} 10.0.0.1:80 dr upper=0 lower=4
         server add {KEY} 10.0.0.1:80 dr upper=4 lower=4
         server edit {KEY} 10.0.0.1:80 dr upper=3 lower=4"
    ));
    s.send(Ends::tcp(1, 1024, false), SYN, 0);
    s.end(into);
}
