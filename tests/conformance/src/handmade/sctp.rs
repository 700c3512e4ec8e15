//! SCTP's states: every chunk in every state, and chunks that come together.

use weir_conformance::answer::Answer;
use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::Leg;

use super::script::{Ends, Script, vip_at};

/// Chunks by their types.
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

/// The last one that has a name, and one more that has none.
const LAST: u8 = 15;

/// A packet with this chunk: of the server if true.
type Step = (bool, u8);

pub(super) fn all(into: &mut Vec<Scenario>) {
    for (state, path) in PATHS {
        state_table("nat", false, state, path, into);
    }
    for (state, path) in &PATHS[..PATHS_OF_CLIENT] {
        state_table("nat", true, state, path, into);
        state_table("dr", false, state, path, into);
    }
    bundles("nat", into);
    bundles("dr", into);
    lying_chunks(into);
}

/// Paths that take no packet of the server.
const PATHS_OF_CLIENT: usize = 5;

/// What leads to each state, after an INIT of the client.
const PATHS: &[(&str, &[Step])] = &[
    ("INIT1", &[]),
    ("INIT", &[(false, INIT)]),
    (
        "SHUTDOWN RECEIVED, or as it is",
        &[(false, COOKIE_ECHO), (false, COOKIE_ACK), (false, SHUTDOWN)],
    ),
    ("CLOSED", &[(false, ABORT)]),
    (
        "ESTABLISHED, or as it is",
        &[(false, COOKIE_ECHO), (false, COOKIE_ACK)],
    ),
    ("COOKIE SENT", &[(true, INIT_ACK)]),
    ("COOKIE REPLIED", &[(true, INIT_ACK), (false, COOKIE_ECHO)]),
    ("COOKIE WAIT", &[(true, INIT)]),
    ("COOKIE", &[(true, INIT), (false, INIT_ACK)]),
    ("COOKIE ECHOED", &[(true, COOKIE_ECHO)]),
    (
        "ESTABLISHED",
        &[(true, INIT_ACK), (false, COOKIE_ECHO), (true, COOKIE_ACK)],
    ),
    ("SHUTDOWN SENT", &[(true, COOKIE_ACK), (true, SHUTDOWN)]),
    (
        "SHUTDOWN RECEIVED",
        &[(true, COOKIE_ACK), (false, SHUTDOWN)],
    ),
    (
        "SHUTDOWN ACK SENT",
        &[(true, COOKIE_ACK), (false, SHUTDOWN), (true, SHUTDOWN_ACK)],
    ),
    ("REJECTED", &[(true, ABORT)]),
];

fn chunk(kind: u8) -> Vec<u8> {
    let len: u8 = if matches!(kind, INIT | INIT_ACK) {
        20
    } else {
        4
    };
    let mut chunk = vec![kind, 0, 0, len];
    chunk.resize(usize::from(len), 0);
    chunk
}

fn begin(feature: &str, case: &str, method: &str, is_v6: bool) -> Script {
    let mut s = Script::new(feature, case);
    s.serve(&format!("sctp {}", vip_at(80, is_v6)), "rr", 1, method);
    // Without another service the last one's end would be IPVS's.
    s.say(&format!("service add udp {} rr", vip_at(9, is_v6)));
    s
}

fn ends(port: u16, is_v6: bool) -> Ends {
    Ends {
        protocol: Protocol::Sctp,
        ..Ends::tcp(7, port, is_v6)
    }
}

/// A packet of the client.
fn say(s: &mut Script, ends: Ends, payload: &[u8]) -> u32 {
    s.frame(Leg::Client, &ends.over(ends.ip(), 0).payload(payload))
}

fn state_table(method: &str, is_v6: bool, state: &str, path: &[Step], into: &mut Vec<Scenario>) {
    let family = if is_v6 { ", IPv6" } else { "" };
    let feature = format!("state table of SCTP, {method}{family}");
    let mut s = begin(&feature, state, method, is_v6);
    let mut port = 1024;
    for kind in 0..=LAST {
        for is_servers in [false, true] {
            if is_servers && method != "nat" {
                continue;
            }
            let ends = ends(port, is_v6);
            port += 1;
            let first = say(&mut s, ends, &chunk(INIT));
            for &(is_servers, kind) in path.iter().chain(&[(is_servers, kind)]) {
                if is_servers {
                    s.answer(first, Leg::Server, Answer::Sctp { chunk: kind });
                } else {
                    say(&mut s, ends, &chunk(kind));
                }
            }
        }
    }
    s.end(into);
}

/// Two chunks in a packet: the first tells, but for an ABORT behind those that open an association.
fn bundles(method: &str, into: &mut Vec<Scenario>) {
    let mut s = begin("SCTP, several chunks", method, method, false);
    let mut port = 1024;
    for first in [DATA, INIT, INIT_ACK, SHUTDOWN, COOKIE_ECHO, COOKIE_ACK] {
        for second in [DATA, ABORT, SHUTDOWN, COOKIE_ACK] {
            for path in [&[INIT][..], &[INIT, COOKIE_ECHO]] {
                let ends = ends(port, false);
                port += 1;
                for kind in path {
                    say(&mut s, ends, &chunk(*kind));
                }
                say(&mut s, ends, &[chunk(first), chunk(second)].concat());
            }
        }
    }
    s.end(into);
}

/// Chunks whose length is not theirs.
fn lying_chunks(into: &mut Vec<Scenario>) {
    for method in ["nat", "dr", "ipip"] {
        let mut s = begin(
            "SCTP, several chunks",
            &format!("of a wrong length, {method}"),
            method,
            false,
        );
        let mut port = 1024;
        for kind in [DATA, INIT, COOKIE_ECHO] {
            for len in [0, 1, 3, 4, 5, 8, 20, 200, 0xffff_u16] {
                for more in [0, 1, 3, 8, 40] {
                    let ends = ends(port, false);
                    port += 1;
                    say(&mut s, ends, &chunk(INIT));
                    let [high, low] = len.to_be_bytes();
                    let mut packet = vec![kind, 0, high, low];
                    packet.extend([ABORT, 0, 0, 4].iter().cycle().take(more));
                    say(&mut s, ends, &packet);
                }
            }
        }
        // The short-lived ones end.
        s.say("entries\nadvance 1000");
        s.end(into);
    }
}
