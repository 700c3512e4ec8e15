//! Tunnels whose path carries less than is sent: what is told of it, and when it is forgotten.

use weir_conformance::answer::{Answer, data};
use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, server_at, vip_at};

const TUNNELS: [&str; 5] = ["ipip", "gre", "gre:full", "gue:6080:none", "gue:6081:full"];

pub(super) fn all(into: &mut Vec<Scenario>) {
    for tunnel in TUNNELS {
        for inside in [false, true] {
            for outside in [false, true] {
                narrow_link(tunnel, inside, outside, into);
                for pmtu_disc in [1, 0] {
                    narrow_path(tunnel, inside, outside, pmtu_disc, into);
                }
            }
        }
    }
}

fn family(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

fn begin(feature: &str, tunnel: &str, inside: bool, outside: bool, more: &str) -> Script {
    let case = format!("{tunnel}, {} in {}{more}", family(inside), family(outside));
    let mut s = Script::new(feature, &case);
    let service = format!("tcp {}", vip_at(80, inside));
    s.say(&format!("service add {service} rr"));
    s.say(&format!(
        "server add {service} {} {tunnel}",
        server_at(1, 80, outside)
    ));
    s.send(Ends::tcp(1, 1024, inside), SYN, 0);
    s
}

/// Packets of these lengths, with DF and without.
fn packets(s: &mut Script, inside: bool, lengths: impl IntoIterator<Item = u16>) -> u32 {
    let ends = Ends::tcp(1, 1024, inside);
    let header = if inside { 60 } else { 40 };
    let mut last = 0;
    for len in lengths {
        let payload = data(len - header);
        s.frame(Leg::Client, &ends.over(ends.ip(), ACK).payload(&payload));
        let whole = ends.over(ends.ip().df(), ACK).payload(&payload);
        last = s.frame(Leg::Client, &whole);
    }
    last
}

/// The link to the server carries hardly more than the least, or less.
fn narrow_link(tunnel: &str, inside: bool, outside: bool, into: &mut Vec<Scenario>) {
    let mut s = begin("tunnels over narrow links", tunnel, inside, outside, "");
    for mtu in [1340, 1320, 1300, 1280] {
        s.say(&format!("mtu server {mtu}"));
        let lengths = [
            100,
            mtu - 52,
            mtu - 40,
            mtu - 32,
            mtu - 20,
            1280,
            1281,
            1400,
        ];
        packets(&mut s, inside, lengths);
    }
    s.end(into);
}

/// Routers on the way tell of less and less, and of more again.
fn narrow_path(
    tunnel: &str,
    inside: bool,
    outside: bool,
    pmtu_disc: u32,
    into: &mut Vec<Scenario>,
) {
    let more = format!(", pmtu_disc={pmtu_disc}");
    let mut s = begin("the path of tunnels", tunnel, inside, outside, &more);
    s.say(&format!("sysctl pmtu_disc {pmtu_disc}"));
    let sent = packets(&mut s, inside, [1400]);
    let kinds: &[(u8, u8, u32)] = match outside {
        false => &[
            (3, 4, 9000),
            (3, 4, 1450),
            (3, 4, 1400),
            (3, 4, 1430),
            (3, 4, 1300),
            (3, 4, 0),
            (3, 4, 1400),
        ],
        true => &[
            (2, 0, 9000),
            (2, 0, 1450),
            (2, 0, 1400),
            (2, 0, 1300),
            (2, 0, 100),
        ],
    };
    for &(icmp_type, code, word) in kinds {
        s.answer(
            sent,
            Leg::Server,
            Answer::Icmp {
                icmp_type,
                code,
                word,
                quoted: 548,
                is_from_router: true,
            },
        );
        let lengths = [
            500, 532, 533, 1240, 1268, 1280, 1281, 1360, 1380, 1381, 1400, 1431,
        ];
        packets(&mut s, inside, lengths);
    }
    // It is believed for ten minutes.
    for _ in 0..2 {
        s.say("advance 30500");
        packets(&mut s, inside, [1400]);
    }
    s.end(into);
}
