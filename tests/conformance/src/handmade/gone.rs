//! Servers that are no more: how long they are remembered, what ends with them, and what becomes of
//! packets for which there is none.

use std::net::{IpAddr, SocketAddr};

use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};

use super::script::{Ends, Script, case, server_at};

const KEY: &str = "tcp 192.0.2.100:80";

pub(super) fn all(into: &mut Vec<Scenario>) {
    counters_are_kept(into);
    removed_servers_are_strangers(into);
    connections_end_at_once(into);
    the_switch_alone_ends_nothing(into);
    they_come_back_by_another_method(into);
    errors_about_what_has_just_ended(into);
    caches_are_passed_by(into);
}

/// A server that comes back after so many seconds, without connections meanwhile or with.
fn counters_are_kept(into: &mut Vec<Scenario>) {
    for (seconds, is_open) in [
        (1, false),
        (50, false),
        (100, false),
        (250, false),
        (250, true),
    ] {
        let case = if is_open { ", with a connection" } else { "" };
        let name = format!("come back after {seconds} s{case}");
        let mut s = Script::new("removed servers", &name);
        s.serve(KEY, "rr", 2, "nat");
        for port in 1024..1028 {
            let ends = Ends::tcp(1, port, false);
            let first = s.send(ends, SYN, 0);
            s.reply(first, SYN | ACK, 0);
            if !is_open {
                s.send(ends, RST, 0);
            }
        }
        s.say("advance 1500\ncounters");
        s.say(&format!("server del {KEY} 10.0.0.2:80"));
        s.say(&format!("advance {}", seconds * 100));
        s.say(&format!("server add {KEY} 10.0.0.2:80 nat\ncounters"));
        s.send(Ends::tcp(2, 1024, false), SYN, 0);
        s.send(Ends::tcp(3, 1024, false), SYN, 0);
        s.end(into);
    }
}

/// With `nat_icmp_send`, which is about servers: one that was removed is none.
fn removed_servers_are_strangers(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        let key = if is_v6 {
            "tcp [2001:db8:1::100]:80"
        } else {
            KEY
        };
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        let mut s = Script::new("removed servers", &format!("are strangers, {family}"));
        s.say("sysctl nat_icmp_send 1\nservice add udp 192.0.2.101:9 rr");
        s.say("service add udp [2001:db8:1::101]:9 rr");
        s.serve(key, "rr", 1, "nat");
        let ends = Ends::tcp(1, 1024, is_v6);
        let first = s.send(ends, SYN, 0);
        s.send(ends, RST, 0);
        s.say("advance 1500");
        s.reply(first, ACK, 5);
        s.say(&format!("service del {key}"));
        s.reply(first, ACK, 5);
        s.end(into);
    }
}

/// `expire_nodest_conn`: connections and templates end with their server.
fn connections_end_at_once(into: &mut Vec<Scenario>) {
    for (method, persistent) in [
        ("nat", ""),
        ("dr", ""),
        ("nat", " persist=300"),
        ("dr", " persist=300"),
    ] {
        let case = if persistent.is_empty() {
            ""
        } else {
            ", persistent"
        };
        let mut s = Script::new("expire_nodest_conn", &format!("{method}{case}"));
        s.say(&format!(
            "sysctl expire_nodest_conn 1\nservice add {KEY} rr{persistent}"
        ));
        for n in 1..=2 {
            s.say(&format!("server add {KEY} 10.0.0.{n}:80 {method}"));
        }
        let ends: Vec<Ends> = (1..=4).map(|n| Ends::tcp(n, 1024, false)).collect();
        let first: Vec<u32> = ends.iter().map(|ends| s.send(*ends, SYN, 0)).collect();
        for ends in &ends[..2] {
            s.send(*ends, ACK, 0);
        }
        s.say("entries");
        s.say(&format!("server del {KEY} 10.0.0.2:80\nentries\ncounters"));
        for (ends, flags) in ends.iter().zip([ACK, FIN | ACK, SYN, ACK]) {
            s.send(*ends, flags, 5);
        }
        for first in first {
            s.reply(first, ACK, 5);
        }
        s.say("entries");
        s.say(&format!("server add {KEY} 10.0.0.2:80 {method}"));
        for ends in &ends {
            s.send(*ends, SYN, 0);
        }
        s.say("entries\nflush\nadvance 10");
        s.say(&format!("service add {KEY} rr\nentries"));
        s.end(into);
    }
}

/// Connections whose server is gone already when the switch is thrown end with their next packet, or
/// with the next server.
fn the_switch_alone_ends_nothing(into: &mut Vec<Scenario>) {
    let mut s = Script::new("expire_nodest_conn", "thrown later");
    s.serve(KEY, "rr", 3, "nat");
    let ends: Vec<Ends> = (1..=6).map(|n| Ends::tcp(n, 1024, false)).collect();
    for ends in &ends {
        s.send(*ends, SYN, 0);
    }
    s.say(&format!(
        "server del {KEY} 10.0.0.2:80\nsysctl expire_nodest_conn 1\nadvance 300"
    ));
    s.say("entries");
    for (ends, flags) in ends.iter().zip([SYN, ACK, SYN, ACK]) {
        s.send(*ends, flags, 0);
    }
    s.say(&format!("entries\nserver del {KEY} 10.0.0.1:80\nentries"));
    s.end(into);
}

/// A server comes back, or is edited, with another method than that of its connections, which go on by
/// theirs.
fn they_come_back_by_another_method(into: &mut Vec<Scenario>) {
    for (before, after) in [
        ("nat", "dr"),
        ("nat", "ipip"),
        ("dr", "nat"),
        ("ipip", "nat"),
    ] {
        for is_edited in [false, true] {
            let how = if is_edited { "edited" } else { "back" };
            let name = format!("{how} by {after}, were by {before}");
            let mut s = Script::new("removed servers", &name);
            s.serve(KEY, "rr", 1, before);
            let old: Vec<Ends> = (1..=6).map(|n| Ends::tcp(n, 1024, false)).collect();
            let first: Vec<u32> = old.iter().map(|ends| s.send(*ends, SYN, 0)).collect();
            if is_edited {
                s.say(&format!("server edit {KEY} 10.0.0.1:80 {after}"));
            } else {
                s.say(&format!("server del {KEY} 10.0.0.1:80"));
                s.say(&format!("server add {KEY} 10.0.0.1:80 {after}"));
            }
            let new: Vec<Ends> = (1..=6).map(|n| Ends::tcp(n, 2000, false)).collect();
            let later: Vec<u32> = new.iter().map(|ends| s.send(*ends, SYN, 0)).collect();
            for first in first.into_iter().chain(later) {
                s.reply(first, SYN | ACK, 0);
            }
            for ends in old.into_iter().chain(new) {
                s.send(ends, ACK, 5);
            }
            s.end(into);
        }
    }
}

/// A SYN on a connection that has ended finds no server, or is at the end of its way: the kernel
/// takes its own error for a packet of the connection before, where that was past the director.
fn errors_about_what_has_just_ended(into: &mut Vec<Scenario>) {
    for (method, is_v6) in [("nat", false), ("dr", false), ("ipip", false), ("dr", true)] {
        let key = if is_v6 {
            "tcp [2001:db8:1::100]:80"
        } else {
            KEY
        };
        let at = server_at(1, 80, is_v6);
        let name = format!("errors, {}", case(method, is_v6));
        let mut s = Script::new("a port used again", &name);
        s.serve(key, "rr", 1, method);
        let ends: Vec<Ends> = (1..=3).map(|n| Ends::tcp(n, 1024, is_v6)).collect();
        for ends in &ends {
            s.send(*ends, SYN, 0);
            s.send(*ends, RST, 0);
        }
        let stuck = |ends: Ends| ends.over(ends.ip().ttl(1), SYN);
        s.frame(Leg::Client, &stuck(ends[0]));
        s.say("counters");
        s.say(&format!("server edit {key} {at} {method} weight=0"));
        s.send(ends[1], SYN, 0);
        s.say("counters");
        s.frame(Leg::Client, &stuck(ends[2]));
        s.end(into);
    }
}

/// `cache_bypass`: packets for other hosts that have a service by their mark, and no server.
fn caches_are_passed_by(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        let (family, server) = match is_v6 {
            false => ("ipv4", "10.0.0.1:0"),
            true => ("ipv6", "[2001:db8:2::1]:0"),
        };
        for (bypass, method) in [(1, "dr"), (1, "nat"), (0, "dr")] {
            if is_v6 && bypass == 0 {
                // The kernel says by another of the director's addresses that there is no server.
                continue;
            }
            let case = format!("{family}, {method}, {bypass}");
            let mut s = Script::new("transparent caches", &case);
            s.say(&format!("sysctl cache_bypass {bypass}\nmark 17 leg=client"));
            s.say(&format!("service add mark 17 {family} lblc"));
            let ends = |client: u8, protocol| {
                let host: IpAddr = match is_v6 {
                    false => [203, 0, 113, 9].into(),
                    true => [0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 9].into(),
                };
                Ends {
                    service: SocketAddr::new(host, 80),
                    protocol,
                    ..Ends::tcp(client, 1024, is_v6)
                }
            };
            let early = [ends(1, Protocol::Tcp), ends(2, Protocol::Tcp)];
            for ends in early {
                s.send(ends, SYN, 0);
            }
            s.send(early[0], ACK, 0);
            s.send(ends(3, Protocol::Udp), 0, 0);
            s.send(Ends::tcp(4, 1024, is_v6), SYN, 0);
            s.say("entries");
            s.say(&format!("server add mark 17 {family} {server} {method}"));
            s.send(early[0], ACK, 5);
            s.send(ends(3, Protocol::Udp), 0, 9);
            s.send(ends(5, Protocol::Tcp), SYN, 0);
            s.send(ends(6, Protocol::Udp), 0, 0);
            s.send(early[1], FIN | ACK, 0);
            s.send(early[0], RST, 0);
            s.say("entries");
            s.send(early[0], SYN, 0);
            s.say(&format!(
                "server edit mark 17 {family} {server} {method} weight=0"
            ));
            s.send(ends(7, Protocol::Tcp), SYN, 0);
            s.say("advance 200\nentries\nadvance 13000");
            s.end(into);
        }
    }
}
