//! What is written into packets, and which packets are taken.

use weir_conformance::answer::{Answer, data};
use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, case, vip_at};

const METHODS: [&str; 3] = ["nat", "dr", "ipip"];

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in METHODS {
            header_fields(method, is_v6, into);
            sizes(method, is_v6, into);
        }
        udp_without_checksum(is_v6, into);
    }
    port_mapping(into);
    several_services(into);
    for is_v6 in [false, true] {
        own_server(is_v6, into);
    }
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

/// The director is a server itself: Linux on it says that nothing listens there. (By NAT Weir gives Linux
/// another packet than came, of which the host without IPVS knows nothing.)
fn own_server(is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Script::new("the director as server", &case("dr", is_v6));
    let own = if is_v6 {
        "[2001:db8:2::fe]"
    } else {
        "10.0.0.254"
    };
    for (protocol, port) in [("tcp", 80), ("udp", 53)] {
        let key = format!("{protocol} {}", vip_at(port, is_v6));
        s.say(&format!(
            "service add {key} rr\nserver add {key} {own}:{port} dr"
        ));
    }
    for ttl in [1, 2, 64] {
        let tcp = Ends::tcp(1, 1024 + u16::from(ttl), is_v6);
        s.frame(Leg::Client, &tcp.over(tcp.ip().ttl(ttl), SYN));
        let udp = Ends::udp(1, 1024 + u16::from(ttl), is_v6);
        s.frame(Leg::Client, &udp.over(udp.ip().ttl(ttl), 0));
    }
    // What Linux answers the kernel takes for a reply, and Weir does not see.
    s.done(into);
}
