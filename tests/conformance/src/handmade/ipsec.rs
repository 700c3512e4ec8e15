//! AH and ESP, which show no ports and follow the key exchange of their two hosts.

use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::protocol::{AH, ESP};

use super::script::{Ends, Script, server_at, vip, vip_at};

/// The port of the key exchange.
const IKE: u16 = 500;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in ["nat", "dr", "ipip"] {
            for by in ["port 500", "port 0", "mark"] {
                follows(method, by, is_v6, into);
            }
        }
    }
    goes_with_its_exchange(into);
}

fn family(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

fn serve(s: &mut Script, method: &str, by: &str, is_v6: bool) {
    let key = match by {
        "mark" => format!("mark 5 {}", if is_v6 { "ipv6" } else { "ipv4" }),
        "port 0" => format!("udp {}", vip_at(0, is_v6)),
        _ => format!("udp {}", vip_at(IKE, is_v6)),
    };
    if by == "mark" {
        let len = if is_v6 { 128 } else { 32 };
        s.say(&format!("mark 5 destination={}/{len}", vip(is_v6)));
    }
    s.say(&format!("service add {key} rr persist=300"));
    let port = if by == "port 500" { IKE } else { 0 };
    for n in 1..=2 {
        s.say(&format!(
            "server add {key} {} {method}",
            server_at(n, port, is_v6)
        ));
    }
}

/// Packets of both protocols from a client, and from server `n`.
fn packets(s: &mut Script, client: u8, n: u8, is_v6: bool) {
    let ends = Ends::udp(client, IKE, is_v6);
    // Next header, length, security parameters, number and check value of AH.
    let ah = [
        50, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for (number, payload) in [(ESP, &[7; 64][..]), (AH, &ah)] {
        s.frame(Leg::Client, &ends.ip().raw(number).payload(payload));
        s.frame(
            Leg::Server,
            &ends.ip_of_server(n).raw(number).payload(payload),
        );
    }
}

fn follows(method: &str, by: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let case = format!("by {by}, {method}, {}", family(is_v6));
    let mut s = Script::new("AH and ESP", &case);
    serve(&mut s, method, by, is_v6);
    // Before the exchange, after one from another port, and after that from port 500.
    packets(&mut s, 1, 2, is_v6);
    s.send(Ends::udp(1, 4500, is_v6).to_port(IKE), 0, 0);
    packets(&mut s, 1, 2, is_v6);
    s.send(Ends::udp(1, IKE, is_v6).to_port(IKE), 0, 0);
    packets(&mut s, 1, 2, is_v6);
    packets(&mut s, 1, 1, is_v6);
    s.send(Ends::udp(2, IKE, is_v6).to_port(IKE), 0, 0);
    packets(&mut s, 2, 1, is_v6);
    packets(&mut s, 3, 1, is_v6);
    for ttl in [1, 2] {
        let ends = Ends::udp(1, IKE, is_v6);
        s.frame(Leg::Client, &ends.ip().ttl(ttl).raw(ESP).payload(&[7; 64]));
    }
    s.end(into);
}

/// The flow of the exchange lives as long as there is traffic of either kind.
fn goes_with_its_exchange(into: &mut Vec<Scenario>) {
    let mut s = Script::new("AH and ESP", "they keep the flow of the exchange");
    serve(&mut s, "nat", "port 500", false);
    s.say("timeouts 0 0 30");
    s.send(Ends::udp(1, IKE, false).to_port(IKE), 0, 0);
    for _ in 0..3 {
        s.say("advance 2000");
        packets(&mut s, 1, 2, false);
        s.say("entries");
    }
    s.say("server edit udp 192.0.2.100:500 10.0.0.2:500 nat weight=0");
    packets(&mut s, 1, 2, false);
    s.say("server del udp 192.0.2.100:500 10.0.0.2:500");
    packets(&mut s, 1, 2, false);
    s.say("advance 4000\nentries");
    packets(&mut s, 1, 2, false);
    s.end(into);
}
