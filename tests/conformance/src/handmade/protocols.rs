//! What is written into packets, and which packets are taken.

use weir_conformance::answer::{Answer, data};
use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, vip_at};

const METHODS: [&str; 3] = ["nat", "dr", "ipip"];

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in METHODS {
            header_fields(method, is_v6, into);
            sizes(method, is_v6, into);
            icmp_errors(method, is_v6, into);
        }
        udp_without_checksum(is_v6, into);
    }
    port_mapping(into);
    several_services(into);
}

fn case(method: &str, is_v6: bool) -> String {
    format!("{method}, {}", if is_v6 { "IPv6" } else { "IPv4" })
}

fn both(s: &mut Script, method: &str, is_v6: bool) {
    s.serve(&format!("tcp {}", vip_at(80, is_v6)), "rr", 2, method);
    s.serve(&format!("udp {}", vip_at(53, is_v6)), "rr", 2, method);
}

/// TTL, type of service, DF, identification.
fn header_fields(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Script::new("TTL, DF, ToS, ECN, IP ID", &case(method, is_v6));
    both(&mut s, method, is_v6);
    let ends = Ends::tcp(1, 1024, is_v6);
    s.send(ends, SYN, 0);
    for ttl in [0, 1, 2, 64, 255] {
        let last = s.frame(Leg::Client, &ends.over(ends.ip().ttl(ttl), ACK));
        s.reply(last, ACK, 3);
    }
    for tos in [0, 1, 2, 3, 0x10, 0x48, 0xb8, 0xff] {
        s.frame(Leg::Client, &ends.over(ends.ip().tos(tos), ACK));
        s.frame(Leg::Client, &ends.over(ends.ip().tos(tos).df(), ACK));
        let udp = Ends::udp(1, 1024, is_v6);
        s.frame(Leg::Client, &udp.over(udp.ip().tos(tos), 0));
    }
    for id in [0, 1, 0xffff] {
        s.frame(Leg::Client, &ends.over(ends.ip().id(id), ACK));
        s.frame(Leg::Client, &ends.over(ends.ip().id(id).df(), ACK));
    }
    s.frame(Leg::Client, &ends.over(ends.ip(), ACK).pad_to(100));
    s.end(into);
}

/// Packets about as big as the MTU, with and without DF, with path-MTU discovery and without.
fn sizes(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    for pmtu_disc in [1, 0] {
        let name = format!("{}, pmtu_disc={pmtu_disc}", case(method, is_v6));
        let mut s = Script::new("MTU and too big", &name);
        both(&mut s, method, is_v6);
        s.say(&format!("sysctl pmtu_disc {pmtu_disc}"));
        let header = if is_v6 { 60 } else { 40 };
        for mtu in [1500, 1400] {
            s.say(&format!("mtu server {mtu}"));
            for len in [
                mtu - 41,
                mtu - 40,
                mtu - 21,
                mtu - 20,
                mtu - 1,
                mtu,
                mtu + 1,
                1500,
            ] {
                let ends = Ends::tcp(1, 1024, is_v6);
                s.send(ends, SYN, 0);
                let payload = data(len - header);
                let whole = ends.over(ends.ip(), ACK).payload(&payload);
                s.frame(Leg::Client, &whole);
                let whole = ends.over(ends.ip().df(), ACK).payload(&payload);
                s.frame(Leg::Client, &whole);
            }
        }
        s.say("mtu server 1500\nmtu client 1400");
        let first = s.send(Ends::tcp(1, 1024, is_v6), ACK, 0);
        for len in [1399, 1400, 1401, 1500] {
            s.reply(first, ACK, len - header);
        }
        s.end(into);
    }
}

/// Every type of ICMP error, about requests and replies, whole and cut.
fn icmp_errors(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let kinds: &[(u8, u8, u32)] = match is_v6 {
        false => &[
            (3, 0, 0),
            (3, 1, 0),
            (3, 3, 0),
            (3, 4, 1300),
            (3, 4, 400),
            (3, 13, 0),
            (4, 0, 0),
            (11, 0, 0),
            (11, 1, 0),
            (5, 1, 0),
            (12, 0, 0),
        ],
        true => &[
            (1, 0, 0),
            (1, 1, 0),
            (1, 4, 0),
            (2, 0, 1300),
            (2, 0, 1000),
            (3, 0, 0),
            (4, 0, 0),
        ],
    };
    for from in Leg::ALL {
        let mut s = Script::new(
            "ICMP errors",
            &format!("{}, from the {from} side", case(method, is_v6)),
        );
        both(&mut s, method, is_v6);
        let tcp = Ends::tcp(1, 1024, is_v6);
        let syn = s.send(tcp, SYN, 0);
        let replied = s.reply(syn, SYN | ACK, 0);
        let udp = s.send(Ends::udp(2, 1024, is_v6), 0, 200);
        let answered = s.answer(
            udp,
            Leg::Server,
            Answer::Udp {
                data: 200,
                has_checksum: true,
            },
        );
        let about = match from {
            Leg::Server => [syn, udp],
            Leg::Client => [replied, answered],
        };
        for to in about {
            for &(icmp_type, code, word) in kinds {
                for (quoted, is_from_router) in [(1232, false), (28, true), (48, false)] {
                    s.answer(
                        to,
                        from,
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
        }
        // What was learnt of the path is heeded.
        let whole = tcp.over(tcp.ip().df(), ACK).payload(&data(1400));
        s.frame(Leg::Client, &whole);
        s.end(into);
    }
}

fn udp_without_checksum(is_v6: bool, into: &mut Vec<Scenario>) {
    for method in METHODS {
        let mut s = Script::new("UDP without checksum", &case(method, is_v6));
        both(&mut s, method, is_v6);
        let ends = Ends::udp(1, 1024, is_v6);
        let bare = ends.ip().udp_without_checksum(1024, 53).payload(b"query");
        let first = s.frame(Leg::Client, &bare);
        for has_checksum in [true, false] {
            s.answer(
                first,
                Leg::Server,
                Answer::Udp {
                    data: 7,
                    has_checksum,
                },
            );
        }
        s.end(into);
    }
}

/// NAT to other ports, and servers behind a router.
fn port_mapping(into: &mut Vec<Scenario>) {
    let mut s = Script::new("NAT", "other ports, servers behind a router");
    s.say(
        "service add tcp 192.0.2.100:80 rr
         server add tcp 192.0.2.100:80 10.0.0.1:8080 nat
         server add tcp 192.0.2.100:80 10.0.0.1:8081 nat
         server add tcp 192.0.2.100:80 172.16.0.1:80 nat
         server add tcp 192.0.2.100:80 172.16.0.2:80 dr
         server add tcp 192.0.2.100:80 172.16.0.3:80 ipip",
    );
    for n in 1..12 {
        let first = s.send(Ends::tcp(n, 1024, false), SYN, 0);
        s.reply(first, SYN | ACK, 0);
    }
    s.end(into);
}

/// Ports and protocols of one address are services of their own.
fn several_services(into: &mut Vec<Scenario>) {
    let mut s = Script::new("several services", "of one address");
    for key in [
        "tcp 192.0.2.100:80",
        "tcp 192.0.2.100:443",
        "udp 192.0.2.100:80",
    ] {
        s.serve(key, "rr", 3, "nat");
    }
    s.serve("tcp 192.0.2.101:80", "wrr", 3, "dr");
    for n in 1..7 {
        s.send(Ends::tcp(n, 1024, false), SYN, 0);
        s.send(Ends::tcp(n, 1024, false).to_port(443), SYN, 0);
        s.send(Ends::udp(n, 1024, false).to_port(80), SYN, 0);
        s.send(Ends::udp(n, 1024, false), SYN, 0);
    }
    s.end(into);
}
