//! Each kind of tunnel with each kind of checksum, in each mix of families.

use weir_conformance::answer::{Answer, data};
use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, server_at, vip_at};

/// Kinds with their checksums, and what the page calls them.
const KINDS: [(&str, &str); 6] = [
    ("ipip", "IP in IP"),
    ("gre", "GRE without checksum"),
    ("gre:full", "GRE with checksum"),
    ("gue:6080:none", "GUE without checksum"),
    ("gue:6080:full", "GUE with checksum"),
    ("gue:6081:remote", "GUE with remote checksum offload"),
];

pub(super) fn all(into: &mut Vec<Scenario>) {
    for (kind, name) in KINDS {
        for is_v6 in [false, true] {
            for is_outer_v6 in [false, true] {
                packets(kind, name, is_v6, is_outer_v6, into);
                errors(kind, name, is_v6, is_outer_v6, into);
            }
        }
    }
    several_kinds(into);
}

fn families(is_v6: bool, is_outer_v6: bool) -> String {
    let number = |is_v6| if is_v6 { 6 } else { 4 };
    format!("IPv{} in IPv{}", number(is_v6), number(is_outer_v6))
}

fn serve(s: &mut Script, kind: &str, is_v6: bool, is_outer_v6: bool) {
    for key in [
        format!("tcp {}", vip_at(80, is_v6)),
        format!("udp {}", vip_at(53, is_v6)),
    ] {
        s.say(&format!("service add {key} rr"));
        let port = if key.starts_with("tcp") { 80 } else { 53 };
        for n in 1..=2 {
            s.say(&format!(
                "server add {key} {} {kind}",
                server_at(n, port, is_outer_v6)
            ));
        }
    }
}

/// Header fields, sizes about the MTU, UDP with and without checksum.
fn packets(kind: &str, name: &str, is_v6: bool, is_outer_v6: bool, into: &mut Vec<Scenario>) {
    let feature = format!("TUN by {name}");
    for pmtu_disc in [1, 0] {
        let case = format!("{}, pmtu_disc={pmtu_disc}", families(is_v6, is_outer_v6));
        let mut s = Script::new(&feature, &case);
        s.say(&format!("sysctl pmtu_disc {pmtu_disc}"));
        serve(&mut s, kind, is_v6, is_outer_v6);
        let (tcp, udp) = (Ends::tcp(1, 1024, is_v6), Ends::udp(1, 1024, is_v6));
        s.send(tcp, SYN, 0);
        for (ttl, tos) in [(1, 0), (2, 1), (64, 2), (255, 3), (64, 0xb8), (64, 0xff)] {
            s.frame(Leg::Client, &tcp.over(tcp.ip().ttl(ttl).tos(tos), ACK));
            s.frame(Leg::Client, &tcp.over(tcp.ip().ttl(ttl).tos(tos).df(), ACK));
        }
        s.frame(Leg::Client, &udp.over(udp.ip(), 0));
        let bare = udp.ip().udp_without_checksum(1024, 53).payload(b"query");
        s.frame(Leg::Client, &bare);
        for len in [0, 1, 2, 3, 7] {
            s.send(tcp, ACK, len);
        }
        let header = if is_v6 { 60 } else { 40 };
        // A tunnel takes 20 to 60 bytes.
        for taken in [20, 24, 28, 32, 40, 44, 48, 52, 60] {
            for len in [1500 - taken, 1501 - taken] {
                let payload = data(len - header);
                for ip in [tcp.ip(), tcp.ip().df()] {
                    s.frame(Leg::Client, &tcp.over(ip, ACK).payload(&payload));
                }
            }
        }
        s.end(into);
    }
}

/// What routers say about the outer packet.
fn errors(kind: &str, name: &str, is_v6: bool, is_outer_v6: bool, into: &mut Vec<Scenario>) {
    let case = format!("{}, ICMP errors", families(is_v6, is_outer_v6));
    let mut s = Script::new(&format!("TUN by {name}"), &case);
    serve(&mut s, kind, is_v6, is_outer_v6);
    let ends = Ends::tcp(1, 1024, is_v6);
    let sent = s.send(ends, SYN, 0);
    let kinds: &[(u8, u8, u32)] = match is_outer_v6 {
        false => &[(3, 1, 0), (3, 3, 0), (11, 0, 0)],
        true => &[(1, 0, 0), (3, 0, 0)],
    };
    for &(icmp_type, code, word) in kinds {
        for (quoted, is_from_router) in [(1232, true), (100, false), (28, true)] {
            s.answer(
                sent,
                Leg::Server,
                Answer::Icmp {
                    icmp_type,
                    code,
                    word,
                    quoted,
                    is_from_router,
                },
            );
        }
    }
    s.end(into);
}

/// Servers of one service that are reached in different ways, and a server whose way changes.
fn several_kinds(into: &mut Vec<Scenario>) {
    let mut s = Script::new("TUN by several ways", "servers of one service");
    s.say("service add tcp 192.0.2.100:80 rr");
    for (n, (kind, _)) in (1..).zip(KINDS) {
        let server = server_at(n, 80, n % 2 == 0);
        s.say(&format!("server add tcp 192.0.2.100:80 {server} {kind}"));
    }
    for n in 1..=12 {
        s.send(Ends::tcp(n, 1024, false), SYN, 0);
        s.send(Ends::tcp(n, 1024, false), ACK, 9);
    }
    for (kind, _) in KINDS {
        let server = server_at(1, 80, false);
        s.say(&format!(
            "server edit tcp 192.0.2.100:80 {server} {kind} weight=2"
        ));
        for n in 1..=12 {
            s.send(Ends::tcp(n, 1024, false), ACK, 9);
        }
    }
    s.end(into);
}
