//! Services of firewall marks.

use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::Leg;
use weir_wire::Addr;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, client, server_at, vip_at};

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in ["nat", "dr", "ipip"] {
            mixed_ports(method, "", is_v6, into);
            mixed_ports(method, "persist=300", is_v6, into);
        }
        beside_addresses(is_v6, into);
    }
    same_mark_in_both_families(into);
    groups_of_ports(into);
    for is_v6 in [false, true] {
        rules(is_v6, into);
    }
}

fn words(is_v6: bool) -> (&'static str, &'static str, u8) {
    if is_v6 {
        ("IPv6", "ipv6", 128)
    } else {
        ("IPv4", "ipv4", 32)
    }
}

/// Ports and protocols under one mark, to servers that have them all or one of their own.
fn mixed_ports(method: &str, options: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let (name, family, len) = words(is_v6);
    let persistent = if options.is_empty() {
        ""
    } else {
        ", persistent"
    };
    let case = format!("mixed ports, {method}, {name}{persistent}");
    let mut s = Script::new("marks", &case);
    let vip = vip_at(0, is_v6).ip();
    s.say(&format!(
        "mark 7 protocol=tcp destination={vip}/{len} destination_ports=80-81
         mark 7 protocol=udp destination={vip}/{len}
         mark 8 protocol=tcp destination={vip}/{len} destination_ports=443-443
         service add mark 7 {family} rr {options}
         service add mark 8 {family} wlc"
    ));
    for n in 1..=3 {
        // A port is no matter: packets keep their own.
        let port = if n == 2 && method == "nat" { 8080 } else { 0 };
        s.say(&format!(
            "server add mark 7 {family} {} {method}",
            server_at(n, port, is_v6)
        ));
        s.say(&format!(
            "server add mark 8 {family} {} {method}",
            server_at(n, 0, is_v6)
        ));
    }
    for n in 1..=4 {
        for to in [80, 81, 82, 443] {
            let ends = Ends::tcp(n, 1024, is_v6).to_port(to);
            let first = s.send(ends, SYN, 0);
            if method == "nat" {
                s.reply(first, SYN | ACK, 0);
            }
            s.send(ends, ACK, 0);
        }
        s.send(Ends::udp(n, 1024, is_v6), 0, 0);
        s.send(Ends::udp(n, 1024, is_v6).to_port(443), 0, 0);
    }
    s.end(into);
}

/// Of a mark and an address that both have a service, the mark wins; without service of its mark a
/// packet goes by its address.
fn beside_addresses(is_v6: bool, into: &mut Vec<Scenario>) {
    let (name, family, len) = words(is_v6);
    let mut s = Script::new("marks", &format!("beside services of addresses, {name}"));
    let vip = vip_at(0, is_v6).ip();
    let key = format!("tcp {}", vip_at(80, is_v6));
    s.say(&format!(
        "mark 5 protocol=tcp destination={vip}/{len} leg=client"
    ));
    s.serve(&key, "rr", 2, "nat");
    let mut port = 1024;
    let mut connect = |s: &mut Script| {
        for to in [80, 443] {
            let ends = Ends::tcp(1, port, is_v6).to_port(to);
            port += 1;
            let first = s.send(ends, SYN, 0);
            s.reply(first, SYN | ACK, 0);
            s.send(ends, ACK, 0);
        }
    };
    connect(&mut s);
    s.say(&format!("service add mark 5 {family} rr"));
    connect(&mut s);
    s.say(&format!(
        "server add mark 5 {family} {} nat",
        server_at(3, 0, is_v6)
    ));
    connect(&mut s);
    s.say(&format!("service del {key}"));
    connect(&mut s);
    s.say(&format!("service del mark 5 {family}"));
    connect(&mut s);
    s.end(into);
}

fn same_mark_in_both_families(into: &mut Vec<Scenario>) {
    let mut s = Script::new("marks", "the same in both families");
    s.say("mark 9 protocol=tcp");
    for is_v6 in [false, true] {
        let (_, family, _) = words(is_v6);
        s.say(&format!("service add mark 9 {family} rr persist=300"));
        for n in 1..=2 {
            s.say(&format!(
                "server add mark 9 {family} {} dr",
                server_at(n, 0, is_v6)
            ));
        }
    }
    for n in 1..=3 {
        for is_v6 in [false, true] {
            s.send(Ends::tcp(n, 1024, is_v6), SYN, 0);
            s.send(Ends::tcp(n, 1025, is_v6).to_port(443), SYN, 0);
        }
    }
    s.say("service del mark 9 ipv4");
    for is_v6 in [false, true] {
        s.send(Ends::tcp(1, 1030, is_v6), SYN, 0);
    }
    s.end(into);
}

/// Web and FTP grouped by mark, as the documents of LVS do it.
fn groups_of_ports(into: &mut Vec<Scenario>) {
    let mut s = Script::new("marks", "web and FTP, each with its servers");
    s.say(
        "mark 10 protocol=tcp destination=192.0.2.100/32 destination_ports=80-80
         mark 10 protocol=tcp destination=192.0.2.100/32 destination_ports=443-443
         mark 20 protocol=tcp destination=192.0.2.100/32 destination_ports=20-21
         service add mark 10 ipv4 wrr persist=600
         service add mark 20 ipv4 wrr persist=600
         server add mark 10 ipv4 10.0.0.1:0 nat weight=2
         server add mark 10 ipv4 10.0.0.2:0 nat weight=3
         server add mark 20 ipv4 10.0.0.3:0 nat weight=2
         server add mark 20 ipv4 10.0.0.4:0 nat weight=4",
    );
    for n in 1..=8 {
        for to in [80, 443, 21, 20, 25] {
            let first = s.send(Ends::tcp(n, 1024, false).to_port(to), SYN, 0);
            s.reply(first, SYN | ACK, 0);
        }
    }
    s.end(into);
}

/// What a rule may ask of a packet: where it comes from, by which leg, which ports it has. The first that
/// is true of it wins.
fn rules(is_v6: bool, into: &mut Vec<Scenario>) {
    let (name, family, len) = words(is_v6);
    let mut s = Script::new("marks", &format!("what rules ask, {name}"));
    let vip = vip_at(0, is_v6).ip();
    let [one, few] = [(4, len), (8, len - 3)].map(|(n, len)| format!("{}/{len}", client(n, is_v6)));
    s.say(&format!(
        "mark 1 source={one} destination={vip}/{len}
         mark 2 protocol=tcp source={few} destination={vip}/{len} destination_ports=80-443
         mark 3 protocol=udp destination={vip}/{len} source_ports=1024-1025
         mark 4 protocol=sctp destination={vip}/{len} destination_ports=80-80
         mark 5 destination={vip}/{len} leg=server
         mark 6 protocol=tcp destination={vip}/{len} destination_ports=80-80 leg=client
         mark 2 source={one}"
    ));
    for mark in 1..=6 {
        s.say(&format!("service add mark {mark} {family} rr"));
        for n in [2 * mark - 1, 2 * mark] {
            let server = server_at(n, 0, is_v6);
            s.say(&format!("server add mark {mark} {family} {server} dr"));
        }
    }
    for n in [3, 4, 5, 7, 8, 15, 16] {
        for (port, to) in [(1024, 80), (1025, 443), (1026, 444), (1026, 80)] {
            let tcp = Ends::tcp(n, port, is_v6).to_port(to);
            let sctp = Ends {
                protocol: Protocol::Sctp,
                ..tcp
            };
            s.send(tcp, SYN, 0);
            s.send(tcp, ACK, 0);
            s.send(Ends::udp(n, port, is_v6).to_port(to), 0, 0);
            let init = sctp.over(sctp.ip(), 0);
            s.frame(
                Leg::Client,
                &init.payload(&[1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
            );
            // The same from the servers' side.
            let eth = PacketBuilder::eth(Leg::Server.router(), Leg::Server.director());
            let ip = eth.ip(Addr::from(tcp.client.ip()), Addr::from(vip));
            s.frame(Leg::Server, &ip.udp(port + 100, to).payload(b"query"));
        }
    }
    s.end(into);
}
