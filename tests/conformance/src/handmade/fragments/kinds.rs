//! Fragments of other packets than requests: without ports, errors, replies, and in tunnels of the other
//! family.

use weir_conformance::answer::data;
use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::{Leg, server_mac};
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{Addr, protocol};

use super::super::script::{Ends, Script, client, server_at, vip, vip_at};
use super::{Scene, case, is_headless};
use crate::pieces::pieces;

/// Pings, AH and ESP, protocols that nobody knows, and ports that have no service.
pub(super) fn without_ports(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("without ports", method, is_v6);
    let (ip, id) = s.ip();
    let echo = if is_v6 { 128 } else { 8 };
    let ping = ip.icmp(echo, 0, 0x0001_0002).payload(&data(1000)).build();
    s.send(pieces(&ping, &[400, 800], id));
    // Before there is a key exchange, and after.
    for has_exchange in [false, true] {
        if has_exchange {
            s.script
                .serve(&format!("udp {}", vip_at(500, is_v6)), "rr", 1, method);
            let exchange = Ends::udp(1, 500, is_v6).to_port(500);
            s.script.send(exchange, 0, 4);
        }
        for number in [protocol::ESP, protocol::AH, 99] {
            let (ip, id) = s.ip();
            // AH's own header: next header, length, and what is not looked at.
            let mut body = vec![59, 4];
            body.extend(data(1000));
            let frame = ip.raw(number).payload(&body).build();
            s.send(pieces(&frame, &[400, 800], id));
        }
    }
    let (ip, id) = s.ip();
    let frame = ip.udp(1024, 54).payload(&data(1000)).build();
    s.send(pieces(&frame, &[400, 800], id));
    let (ip, id) = s.ip();
    let frame = ip
        .sctp(1024, 80)
        .payload(&[1, 0, 0, 20, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
        .build();
    s.send(pieces(&frame, &[8, 16], id));
    s.end(into);
}

/// ICMP errors in fragments, about requests and about replies.
pub(super) fn errors(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("ICMP errors", method, is_v6);
    let (vip, client, server) = (vip(is_v6), client(1, is_v6), server_at(1, 0, is_v6).ip());
    let kinds: &[(u8, u8, u32)] = match is_v6 {
        false => &[(3, 3, 0), (11, 0, 0), (3, 4, 1300)],
        true => &[(1, 4, 0), (3, 0, 0), (2, 0, 1300)],
    };
    for &(icmp_type, code, word) in kinds {
        for ends in [vec![400], vec![8, 400], vec![48, 200], vec![16], vec![64]] {
            // A client's, or a router's, about what the client was sent in the name of the service.
            let eth = || PacketBuilder::eth(Leg::Client.router(), Leg::Client.director());
            let quoted = eth().ip(Addr::from(vip), Addr::from(client));
            let quoted = quoted.udp(53, 1024).payload(&data(500)).build_ip();
            for from in [client, Leg::Client.routers()[usize::from(is_v6)]] {
                let id = s.id();
                let error = eth().ip(Addr::from(from), Addr::from(vip)).id(id);
                let error = error.icmp_error(icmp_type, code, word, &quoted).build();
                s.send(pieces(&error, &ends, id));
            }
            // A server's, or a router's, about what the server was sent.
            let mac = server_mac(1);
            let eth = || PacketBuilder::eth(mac, Leg::Server.director());
            let to = if method == "nat" { server } else { vip };
            let quoted = eth().ip(Addr::from(client), Addr::from(to));
            let quoted = quoted.udp(1024, 53).payload(&data(500)).build_ip();
            for from in [server, Leg::Server.routers()[usize::from(is_v6)]] {
                let id = s.id();
                let error = eth().ip(Addr::from(from), Addr::from(client)).id(id);
                let error = error.icmp_error(icmp_type, code, word, &quoted).build();
                for piece in pieces(&error, &ends, id) {
                    s.script.bytes(Leg::Server, piece);
                }
            }
        }
    }
    s.end(into);
}

/// In a tunnel of the other family.
pub(super) fn other_family(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut script = Script::new("fragments", &case("to the other family", method, is_v6));
    for (protocol, port) in [("tcp", 80), ("udp", 53)] {
        let key = format!("{protocol} {}", vip_at(port, is_v6));
        script.say(&format!("service add {key} rr"));
        let server = server_at(1, port, !is_v6);
        script.say(&format!("server add {key} {server} {method}"));
    }
    script.send(Ends::tcp(1, 1024, is_v6), SYN, 0);
    script.send(Ends::udp(1, 1024, is_v6), 0, 4);
    let mut s = Scene {
        script,
        is_v6,
        ids: 0x100,
    };
    for (len, ends) in [
        (40, vec![16]),
        (40, vec![8, 24]),
        (1000, vec![400, 800]),
        (1000, vec![200]),
        (1000, vec![800]),
        (1400, vec![1200]),
        (2000, vec![1000]),
        (2000, vec![1400]),
        (3000, vec![1440, 2880]),
        (3000, vec![200, 1600]),
        (9000, (1..8).map(|n| n * 1200).collect()),
    ] {
        for has_df in [false, true] {
            if has_df && is_v6 {
                continue;
            }
            let (ip, id) = s.ip();
            let ip = if has_df { ip.df() } else { ip };
            let frame = ip.udp(1024, 53).payload(&data(len)).build();
            s.send(pieces(&frame, &ends, id));
        }
        if !is_headless(is_v6, &ends) {
            let (frame, id) = s.segment(len);
            s.send(pieces(&frame, &ends, id));
        }
    }
    s.end(into);
}

/// From a NAT server to its client.
pub(super) fn replies(is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("replies", "nat", is_v6);
    s.script
        .serve(&format!("udp {}", vip_at(500, is_v6)), "rr", 1, "nat");
    let exchange = Ends::udp(1, 500, is_v6).to_port(500);
    s.script.send(exchange, 0, 4);
    let server = server_at(1, 0, is_v6).ip();
    let client = client(1, is_v6);
    let ip = move |id: u32| {
        let mac = server_mac(1);
        let eth = PacketBuilder::eth(mac, Leg::Server.director());
        eth.ip(Addr::from(server), Addr::from(client)).id(id)
    };
    for mtu in [1500, 1400, 1280] {
        s.script.say(&format!("mtu client {mtu}"));
        for (len, ends) in [
            (40, vec![8]),
            (40, vec![16, 24]),
            (1000, vec![400, 800]),
            (1000, vec![200]),
            (1000, vec![800]),
            (1450, vec![1200]),
            (2000, vec![1400]),
            (2000, vec![600, 1992]),
            (3000, vec![1440, 2880]),
            (3000, vec![1200, 2400]),
        ] {
            for kind in [Some(Protocol::Udp), Some(Protocol::Tcp), None] {
                for has_df in [false, true] {
                    let is_refused = kind == Some(Protocol::Tcp) && is_headless(is_v6, &ends);
                    if is_refused || (has_df && (is_v6 || len < 1000)) {
                        continue;
                    }
                    let id = s.id();
                    let ip = if has_df { ip(id).df() } else { ip(id) };
                    let frame = match kind {
                        Some(Protocol::Udp) => ip.udp(53, 1024),
                        Some(_) => ip.tcp(80, 1024).flags(ACK).seq(5001).ack(1002),
                        None => ip.raw(protocol::ESP),
                    };
                    let frame = frame.payload(&data(len)).build();
                    let all = pieces(&frame, &ends, id);
                    // In order, and the last first.
                    let turn = usize::from(id.is_multiple_of(2));
                    for n in 0..all.len() {
                        let at = (n + turn * (all.len() - 1)) % all.len();
                        s.script.bytes(Leg::Server, all[at].clone());
                    }
                }
            }
        }
    }
    s.script.say("mtu client 1500");
    for ttl in [1, 2] {
        let id = s.id();
        let frame = ip(id).ttl(ttl).udp(53, 1024).payload(&data(1000)).build();
        for piece in pieces(&frame, &[400, 800], id) {
            s.script.bytes(Leg::Server, piece);
        }
    }
    // Of no connection.
    let id = s.id();
    let frame = ip(id).udp(53, 4444).payload(&data(1000)).build();
    for piece in pieces(&frame, &[400, 800], id) {
        s.script.bytes(Leg::Server, piece);
    }
    s.end(into);
}
