//! The persistence engine of SIP (`ip_vs_pe_sip`): calls are told apart by their Call-ID.

use weir_conformance::operation::Scenario;
use weir_conformance::place::{Leg, server_mac};
use weir_wire::Addr;
use weir_wire::builder::PacketBuilder;

use super::script::{Ends, Script, client, server_at, vip_at};

/// The port of SIP.
const SIP: u16 = 5060;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in ["nat", "dr", "ipip"] {
            same_call(method, is_v6, into);
        }
        for_a_mark(is_v6, into);
    }
    for method in ["nat", "dr"] {
        one_packet(method, into);
    }
    texts(into);
    long_call_ids(into);
    from_servers(into);
    template_of_a_call(into);
}

fn family(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

fn service(s: &mut Script, is_v6: bool, method: &str, options: &str) {
    let key = format!("udp {}", vip_at(SIP, is_v6));
    s.say(&format!(
        "service add {key} rr persist=300 pe=sip {options}"
    ));
    for n in 1..=3 {
        let server = server_at(n, SIP, is_v6);
        s.say(&format!("server add {key} {server} {method}"));
    }
}

/// A request of SIP with these headers.
fn request(headers: &str) -> String {
    format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc.example.com\r\n{headers}\r\n\r\n"
    )
}

fn call(id: &str) -> String {
    request(&format!("Call-ID: {id}\r\nCSeq: 1 INVITE"))
}

/// Client `n` says something from `port`.
fn say(s: &mut Script, n: u8, port: u16, is_v6: bool, text: &str) -> u32 {
    let ends = Ends::udp(n, port, is_v6).to_port(SIP);
    let datagram = ends.ip().udp(port, SIP).payload(text.as_bytes());
    s.frame(Leg::Client, &datagram)
}

/// Server `n` says something to a client's port.
fn server_says(s: &mut Script, n: u8, from: u16, to: (u8, u16), is_v6: bool, text: &str) {
    let (client_n, port) = to;
    let ends = Ends::udp(client_n, port, is_v6);
    let datagram = ends
        .ip_of_server(n)
        .udp(from, port)
        .payload(text.as_bytes());
    s.frame(Leg::Server, &datagram);
}

/// A call stays where it is from whichever port it comes, and others go on.
fn same_call(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Script::new(
        "SIP",
        &format!("a call from other ports, {method}, {}", family(is_v6)),
    );
    service(&mut s, is_v6, method, "");
    for (n, port, id) in [
        (1, 5060, "one@example.com"),
        (1, 5061, "one@example.com"),
        (1, 5062, "two@example.com"),
        (1, 5063, "one@example.com"),
        (1, 5064, "two@example.com"),
        // Another client's call of the same name is another call.
        (2, 5060, "one@example.com"),
        (2, 5061, "one@example.com"),
        (1, 5060, "three@example.com"),
        (1, 5065, "three@example.com"),
        (1, 5066, "ONE@example.com"),
    ] {
        say(&mut s, n, port, is_v6, &call(id));
    }
    s.say("entries");
    if method == "nat" {
        for n in 1..=3 {
            for port in 5060..5067 {
                server_says(&mut s, n, SIP, (1, port), is_v6, "SIP/2.0 200 OK\r\n\r\n");
            }
        }
    }
    s.end(into);
}

fn for_a_mark(is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Script::new("SIP", &format!("a service of a mark, {}", family(is_v6)));
    let (net, len) = (vip_at(0, is_v6).ip(), if is_v6 { 128 } else { 32 });
    let family = if is_v6 { "ipv6" } else { "ipv4" };
    s.say(&format!(
        "mark 7 protocol=udp destination={net}/{len}
         service add mark 7 {family} rr persist=300 pe=sip"
    ));
    for n in 1..=2 {
        let server = server_at(n, 0, is_v6);
        s.say(&format!("server add mark 7 {family} {server} nat"));
    }
    for (port, id) in [
        (5060, "one@x"),
        (5061, "one@x"),
        (5062, "two@x"),
        (5063, "one@x"),
    ] {
        say(&mut s, 1, port, is_v6, &call(id));
    }
    s.end(into);
}

/// With one-packet scheduling each datagram is scheduled, and still by its call.
fn one_packet(method: &str, into: &mut Vec<Scenario>) {
    let mut s = Script::new("SIP", &format!("one-packet scheduling, {method}"));
    service(&mut s, false, method, "ops");
    for (port, id) in [
        (5060, "one@x"),
        (5060, "one@x"),
        (5061, "one@x"),
        (5060, "two@x"),
        (5060, "one@x"),
    ] {
        say(&mut s, 1, port, false, &call(id));
    }
    if method == "nat" {
        for n in 1..=3 {
            server_says(&mut s, n, SIP, (1, 5060), false, &call("one@x"));
            server_says(&mut s, n, SIP, (1, 5060), false, "SIP/2.0 200 OK\r\n\r\n");
        }
    }
    s.end(into);
}

/// Texts of all kinds, each from a port of its own.
fn texts(into: &mut Vec<Scenario>) {
    for text in TEXTS {
        let mut s = Script::new("SIP", &format!("headers {text:?}"));
        service(&mut s, false, "nat", "");
        say(&mut s, 1, 5060, false, &call("one@x"));
        say(&mut s, 1, 5061, false, &request(text));
        say(&mut s, 1, 5062, false, &request(text));
        s.end(into);
    }
    for text in [
        "",
        "\r\n\r\n",
        "x",
        "INVITE",
        "\u{0}\u{0}\u{0}\u{0}",
        "Call-ID: one@x\r\n\r\n",
    ] {
        let mut s = Script::new("SIP", &format!("a datagram {text:?}"));
        service(&mut s, false, "nat", "");
        say(&mut s, 1, 5060, false, &call("one@x"));
        say(&mut s, 1, 5061, false, text);
        // What is known already needs no Call-ID.
        say(&mut s, 1, 5060, false, text);
        s.end(into);
    }
}

const TEXTS: &[&str] = &[
    "Call-ID: one@x",
    "call-id: one@x",
    "CALL-ID:one@x",
    "Call-ID : one@x",
    "Call-ID:\t one@x ",
    "i: one@x",
    "I:one@x",
    "Call-ID: one",
    "Call-ID: one@x;tag=2",
    "Call-ID: one@x, two@x",
    "Call-ID: one two",
    "Call-ID: \"one\"@x",
    "Call-ID: <one>@[2001:db8::1]",
    "Call-ID: one@x@y",
    "Call-ID: @x",
    "Call-ID: one@",
    "Call-ID:",
    "Call-ID: ",
    "Call-ID one@x",
    "Call-IDs: one@x",
    "X-Call-ID: one@x",
    "Call-ID: one@x\r\nCall-ID: two@x",
    "Call-ID: two@x\r\nCall-ID: one@x",
    "Call-ID:\r\n one@x",
    "Call-ID:\r\n\tone@x",
    "Subject: about\r\n Call-ID: two@x\r\nCall-ID: one@x",
    "Call-ID: o\u{0}ne@x",
    "Call-ID: \u{e9}@x",
    "To: bob\nCall-ID: one@x\nFrom: al",
    "To: bob\r\n\r\nCall-ID: one@x",
    "To: bob",
    "Call-ID: %{}[]()<>'`~!*+._-:\\/?@x",
    "Call-ID: one,@x",
    "Call-ID: one=two@x",
];

fn long_call_ids(into: &mut Vec<Scenario>) {
    let mut s = Script::new("SIP", "long Call-IDs");
    service(&mut s, false, "nat", "");
    for (port, len) in (5060..).step_by(2).zip([1, 254, 255, 256, 1000]) {
        for port in [port, port + 1] {
            say(&mut s, 1, port, false, &call(&"a".repeat(len)));
        }
        let id = format!("{}@{}", "a".repeat(len / 2), "b".repeat(len - len / 2));
        say(&mut s, 2, port, false, &call(&id));
    }
    s.end(into);
}

/// Calls that servers begin, and what clients answer.
fn from_servers(into: &mut Vec<Scenario>) {
    for options in ["", "ops"] {
        let with = if options.is_empty() {
            ""
        } else {
            ", one-packet scheduling"
        };
        let mut s = Script::new("SIP", &format!("calls of servers{with}"));
        service(&mut s, false, "nat", options);
        server_says(&mut s, 2, SIP, (1, 5070), false, &call("out@x"));
        s.say("entries");
        say(&mut s, 1, 5070, false, &call("out@x"));
        say(&mut s, 1, 5071, false, &call("out@x"));
        server_says(&mut s, 1, SIP, (1, 5072), false, &call("out@x"));
        server_says(&mut s, 3, 5061, (1, 5073), false, &call("other@x"));
        server_says(&mut s, 3, SIP, (1, 5074), false, "no SIP");
        let stranger = client(9, false);
        let eth = PacketBuilder::eth(server_mac(4), Leg::Server.director());
        let ip = eth.ip(
            Addr::from(server_at(4, 0, false).ip()),
            Addr::from(stranger),
        );
        s.frame(
            Leg::Server,
            &ip.udp(SIP, 5060).payload(call("out@x").as_bytes()),
        );
        s.end(into);
    }
}

/// What becomes of a call's template.
fn template_of_a_call(into: &mut Vec<Scenario>) {
    let mut s = Script::new("SIP", "templates of calls end");
    service(&mut s, false, "nat", "");
    s.say("timeouts 0 0 20");
    say(&mut s, 1, 5060, false, &call("one@x"));
    say(&mut s, 1, 5061, false, &call("two@x"));
    s.say("entries\nadvance 3000\nentries");
    say(&mut s, 1, 5062, false, &call("one@x"));
    s.say("entries\nadvance 28000\nentries\nadvance 4000\nentries");
    say(&mut s, 1, 5063, false, &call("one@x"));
    say(&mut s, 1, 5064, false, &call("two@x"));
    s.end(into);
}
