//! Control connections that say what nobody should believe.

use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, PSH};

use super::{Control, SERVER, pasv};

pub(super) fn all(into: &mut Vec<Scenario>) {
    for reply in REPLIES {
        let mut c = Control::open(&format!("a reply to PASV: {}", name(reply)), false);
        c.client("PASV\r\n");
        c.server_segment(PSH | ACK, reply);
        c.s.say("entries");
        c.s.end(into);
    }
    for reply in EXTENDED {
        let mut c = Control::open(&format!("a reply to EPSV: {}", name(reply)), false);
        c.client("EPSV\r\n");
        c.server_segment(PSH | ACK, reply);
        c.s.say("entries");
        c.s.end(into);
    }
    for command in COMMANDS {
        let mut c = Control::open(&format!("a command: {}", name(command)), false);
        c.client(command);
        c.s.say("entries");
        c.s.end(into);
    }
    for command in COMMANDS_V6 {
        let mut c = Control::open(&format!("a command, IPv6: {}", name(command)), true);
        c.client(command);
        c.s.say("entries");
        c.s.end(into);
    }
    not_asked(into);
    wrong_checksums(into);
    long_lines(into);
}

/// A text as a scenario's name may have it.
fn name(text: &str) -> String {
    format!("{text:?}")
}

const REPLIES: &[&str] = &[
    "227 (10,0,0,1,156,64)\r\n",
    "227 (10,0,0,1,156,64)\n",
    "227 (10,0,0,1,156,64\r\n",
    "227 =10,0,0,1,156,64\r\n",
    "227 10,0,0,1,156,64\r\n",
    "227 (10,0,0,1,156)\r\n",
    "227 (10,0,0,1,156,)\r\n",
    "227 (10,0,0,1,156,64,1)\r\n",
    "227 (10,0,0,1,,64)\r\n",
    "227 (10,0,0,256,156,64)\r\n",
    "227 (10,0,0,1,256,64)\r\n",
    "227 (10,0,0,1,1560,64)\r\n",
    "227 (10,0,0,1,0,0)\r\n",
    "227 (0,0,0,0,0,0)\r\n",
    "227 (-10,0,0,1,156,64)\r\n",
    "227 (10, 0, 0, 1, 156, 64)\r\n",
    "227 (99999999999999999999,0,0,1,156,64)\r\n",
    "227 (\r\n",
    "227 ()\r\n",
    "227\r\n",
    "227-(10,0,0,1,156,64)\r\n227 (10,0,0,1,156,65)\r\n",
    "227 no (10,0,0,1,156,64) (10,0,0,1,156,65)\r\n",
    "500 no\r\n",
    "2227 (10,0,0,1,156,64)\r\n",
    "229 (|||40000|)\r\n",
    "\u{0}227 (10,0,0,1,156,64)\r\n",
    "227 \u{0}(10,0,0,1,156,64)\r\n",
    // Another host's port, and those of services.
    "227 (10,0,0,2,156,64)\r\n",
    "227 (203,0,113,9,0,22)\r\n",
    "227 (10,0,0,1,0,21)\r\n",
    "227 (10,0,0,1,0,20)\r\n",
];

const EXTENDED: &[&str] = &[
    "229 (|||40000|)\r\n",
    "229 |||40000|\r\n",
    "229 (!!!40000!)\r\n",
    "229 (|||40000)\r\n",
    "229 (|||40000|\r\n",
    "229 (||40000|)\r\n",
    "229 (|1|10.0.0.1|40000|)\r\n",
    "229 (|||0|)\r\n",
    "229 (|||65536|)\r\n",
    "229 (|||999999999999|)\r\n",
    "229 (|||-1|)\r\n",
    "229 (|||40000|",
    "229 (1114000011)\r\n",
    "229 (|||21|)\r\n",
    "227 (10,0,0,1,156,64)\r\n",
];

const COMMANDS: &[&str] = &[
    "PORT 198,51,100,1,195,80\r\n",
    "port 198,51,100,1,195,80\r\n",
    "PORT 198,51,100,1,195,80\n",
    "PORT  198,51,100,1,195,80\r\n",
    "PORT 198,51,100,1,195,80 \r\n",
    "PORT 198,51,100,1,195\r\n",
    "PORT 198,51,100,1,195,80,1\r\n",
    "PORT 198,51,100,1,0,0\r\n",
    "PORT 198,51,100,1,256,80\r\n",
    "PORT 198,51,100,001,195,080\r\n",
    "PORT 999,51,100,1,195,80\r\n",
    "PORT -1,51,100,1,195,80\r\n",
    "PORT ,,,,,\r\n",
    "PORT\r\n",
    "PORTS 198,51,100,1,195,80\r\n",
    "XPORT 198,51,100,1,195,80\r\n",
    // A third host, which an attacker would have scanned (RFC 2577 §3).
    "PORT 203,0,113,9,0,22\r\n",
    "PORT 192,0,2,100,0,80\r\n",
    "PORT 0,0,0,0,195,80\r\n",
    "EPRT |1|198.51.100.1|50000|\r\n",
    "EPRT !1!198.51.100.1!50000!\r\n",
    "EPRT |1|198.51.100.1|50000\r\n",
    "EPRT |1|198.51.100.1|0|\r\n",
    "EPRT |1|198.51.100.1|65536|\r\n",
    "EPRT |1|198.51.100|50000|\r\n",
    "EPRT |2|2001:db8:9::1|50000|\r\n",
    "EPRT |3|198.51.100.1|50000|\r\n",
    "EPRT |1|203.0.113.9|50000|\r\n",
    "EPSV ALL\r\n",
    "EPSV 2\r\n",
    "PASV",
];

const COMMANDS_V6: &[&str] = &[
    "EPRT |2|2001:db8:9::1|50000|\r\n",
    "EPRT |2|2001:0db8:0009:0000:0000:0000:0000:0001|50000|\r\n",
    "EPRT |2|2001:db8:9::2|50000|\r\n",
    "EPRT |1|198.51.100.1|50000|\r\n",
    "EPRT |2|2001:db8:9::g|50000|\r\n",
    "PORT 198,51,100,1,195,80\r\n",
    "EPSV 1\r\n",
    "PASV\r\n",
];

/// Replies to what nobody asked for.
fn not_asked(into: &mut Vec<Scenario>) {
    let mut c = Control::open("a 227 that was not asked for", false);
    c.server(&pasv(40_000), 0);
    c.s.say("entries");
    c.client("EPSV\r\n");
    c.server(&pasv(40_001), 0);
    c.s.say("entries");
    c.client("PASV\r\n");
    c.client("PORT 198,51,100,1,195,80\r\n");
    c.server(&pasv(40_002), 0);
    c.s.end(into);
}

/// What was damaged on the way is nobody's word.
fn wrong_checksums(into: &mut Vec<Scenario>) {
    let mut c = Control::open("damaged segments", false);
    let damaged = |mut frame: Vec<u8>| {
        let last = frame.len() - 1;
        frame[last] ^= 0x55;
        frame
    };
    let tcp = c.ends.over(c.ends.ip(), PSH | ACK);
    let frame = tcp.payload(b"PORT 198,51,100,1,195,80\r\n").build();
    c.s.bytes(Leg::Client, damaged(frame));
    c.client("PASV\r\n");
    let tcp = c.ends.ip_of_server(SERVER).tcp(21, 5000).flags(PSH | ACK);
    let tcp = tcp.seq(c.server).ack(c.client);
    let frame = tcp.payload(pasv(40_000).as_bytes()).build();
    c.s.bytes(Leg::Server, damaged(frame));
    c.s.say("entries");
    c.server(&pasv(40_000), super::GROWTH);
    c.end(into);
}

fn long_lines(into: &mut Vec<Scenario>) {
    let commas = format!("PORT {}\r\n", "1,".repeat(600));
    let digits = format!("PORT {},51,100,1,195,80\r\n", "0".repeat(1000));
    for (case, command) in [("commas", commas), ("digits", digits)] {
        let mut c = Control::open(&format!("a long command of {case}"), false);
        c.client(&command);
        c.s.say("entries");
        c.end(into);
    }
    let mut c = Control::open("a long reply of brackets", false);
    c.client("PASV\r\n");
    let reply = format!("227 {}10,0,0,1,156,64)\r\n", "(".repeat(1000));
    c.server_segment(PSH | ACK, &reply);
    c.s.say("entries");
    c.s.end(into);
}
