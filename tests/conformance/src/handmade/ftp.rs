//! FTP through NAT with the helper (`ip_vs_ftp`): what control connections announce, and that what the
//! director changes in them adds up for both ends.

use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::tcp_flag::{ACK, FIN, PSH, RST, SYN};

use super::script::{Ends, Script, server_at, vip_at};

mod hostile;

/// The server of all control connections.
const SERVER: u8 = 1;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for conntrack in [0, 1] {
        passive(conntrack, into);
        active(conntrack, into);
    }
    several_passive(into);
    becomes_shorter(into);
    for is_v6 in [false, true] {
        extended_passive(is_v6, into);
        extended_active(is_v6, into);
    }
    at_port_21_of_ipv6(into);
    sent_again(into);
    split(into);
    several_commands(into);
    sequence_numbers_wrap(into);
    control_ports(into);
    lifetimes(into);
    no_helper(into);
    too_big(into);
    hostile::all(into);
}

/// A control connection, with the numbers that its two ends count.
struct Control {
    s: Script,
    ends: Ends,
    /// The port of the server.
    port: u16,
    /// What the client sends next, in the count of both.
    client: u32,
    /// What the server sends next, in its own count.
    server: u32,
    /// How much more the client has received than the server has sent.
    shift: i32,
    /// The port of the server's data connections, where it is not the service's.
    data_port: Option<u16>,
}

impl Control {
    /// An established connection to a service at TCP port 21; of IPv6 at 2121, because this kernel lets
    /// nothing through at 21.
    fn open(case: &str, is_v6: bool) -> Self {
        let port = if is_v6 { 2121 } else { 21 };
        let mut s = Script::new("FTP by NAT", case);
        let key = format!("tcp {}", vip_at(port, is_v6));
        s.serve(&key, "rr", SERVER, "nat");
        Self::begin(s, Ends::tcp(1, 5000, is_v6).to_port(port), port, 7000)
    }

    /// An established connection of a scenario that has the service.
    fn begin(s: Script, ends: Ends, port: u16, server: u32) -> Self {
        let mut control = Self {
            s,
            ends,
            port,
            client: 1000,
            server,
            shift: 0,
            data_port: None,
        };
        control.client_segment(SYN, "");
        control.client += 1;
        control.server_segment(SYN | ACK, "");
        control.server = control.server.wrapping_add(1);
        control.client_segment(ACK, "");
        control
    }

    fn client_segment(&mut self, flags: u8, text: &str) {
        let seen = self.server.wrapping_add_signed(self.shift);
        self.client_segment_at(self.client, seen, flags, text);
    }

    fn client_segment_at(&mut self, seq: u32, ack: u32, flags: u8, text: &str) {
        let (from, to) = (self.ends.client.port(), self.ends.service.port());
        let tcp = self.ends.ip().df().tcp(from, to).flags(flags);
        let tcp = tcp.seq(seq).ack(ack).payload(text.as_bytes());
        self.s.frame(Leg::Client, &tcp);
    }

    fn server_segment(&mut self, flags: u8, text: &str) {
        self.server_segment_at(self.server, flags, text);
    }

    fn server_segment_at(&mut self, seq: u32, flags: u8, text: &str) {
        let tcp = self.ends.ip_of_server(SERVER).df();
        let tcp = tcp.tcp(self.port, self.ends.client.port()).flags(flags);
        let tcp = tcp.seq(seq).ack(self.client).payload(text.as_bytes());
        self.s.frame(Leg::Server, &tcp);
    }

    /// The client says something, and the server acknowledges it.
    fn client(&mut self, text: &str) {
        self.client_segment(PSH | ACK, text);
        self.client += text.len() as u32;
        self.server_segment(ACK, "");
    }

    /// The server says something that is to arrive longer by `growth`, and the client acknowledges it.
    fn server(&mut self, text: &str, growth: i32) {
        self.server_segment(PSH | ACK, text);
        self.server = self.server.wrapping_add(text.len() as u32);
        self.shift += growth;
        self.client_segment(ACK, "");
    }

    /// A connection of the client from `from` to `to`, that both ends use and end.
    fn client_connects(&mut self, from: u16, to: u16) {
        let ends = Ends::tcp(1, from, self.ends.client.is_ipv6()).to_port(to);
        self.data(ends, false, SYN, [1000, 0], "");
        self.data(ends, true, SYN | ACK, [400, 1001], "");
        self.data(ends, false, ACK, [1001, 401], "");
        self.file(ends);
    }

    /// A connection of the server from its `port` to the client's `to`, that both ends use and end; for
    /// the client it comes from `as_service`.
    fn server_connects(&mut self, port: u16, as_service: u16, to: u16) {
        let ends = Ends::tcp(1, to, self.ends.client.is_ipv6()).to_port(as_service);
        self.data_port = Some(port);
        self.data(ends, true, SYN, [400, 0], "");
        self.data(ends, false, SYN | ACK, [1000, 401], "");
        self.data(ends, true, ACK, [401, 1001], "");
        self.file(ends);
        self.data_port = None;
    }

    /// The server sends a file, and both end the connection.
    fn file(&mut self, ends: Ends) {
        self.data(ends, true, PSH | ACK, [401, 1001], "a file");
        self.s.say("entries");
        self.data(ends, true, FIN | ACK, [407, 1001], "");
        self.data(ends, false, FIN | ACK, [1001, 408], "");
        self.data(ends, true, ACK, [408, 1002], "");
    }

    /// A segment of a data connection, with its numbers.
    fn data(&mut self, ends: Ends, is_servers: bool, flags: u8, [seq, ack]: [u32; 2], text: &str) {
        let (client, service) = (ends.client.port(), ends.service.port());
        let (leg, tcp) = match is_servers {
            false => (Leg::Client, ends.ip().tcp(client, service)),
            true => {
                let port = self.data_port.unwrap_or(service);
                (Leg::Server, ends.ip_of_server(SERVER).tcp(port, client))
            }
        };
        let tcp = tcp.flags(flags).seq(seq).ack(ack);
        self.s.frame(leg, &tcp.payload(text.as_bytes()));
    }

    /// Both say something more, so that it is seen whether numbers still fit; then both end.
    fn end(mut self, into: &mut Vec<Scenario>) {
        self.client("NOOP\r\n");
        self.server("200 ok\r\n", 0);
        self.s.say("entries");
        self.client_segment(FIN | ACK, "");
        self.client += 1;
        self.server_segment(FIN | ACK, "");
        self.s.say("entries");
        self.s.end(into);
    }
}

/// A server's word for its port in a 227, from its own address.
fn pasv(port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    format!("227 Entering Passive Mode (10,0,0,1,{high},{low}).\r\n")
}

/// How much longer 192,0,2,100 is than 10,0,0,1.
const GROWTH: i32 = 3;

fn passive(conntrack: u8, into: &mut Vec<Scenario>) {
    let mut c = Control::open(&format!("PASV, conntrack={conntrack}"), false);
    c.s.say(&format!("sysctl conntrack {conntrack}"));
    c.server("220 ready\r\n", 0);
    c.client("USER anonymous\r\n");
    c.server("331 more\r\n", 0);
    c.client("PASV\r\n");
    c.server(&pasv(40_000), GROWTH);
    c.s.say("entries");
    c.client_connects(5001, 40_000);
    c.client("QUIT\r\n");
    c.server("221 bye\r\n", 0);
    c.end(into);
}

fn several_passive(into: &mut Vec<Scenario>) {
    let mut c = Control::open("PASV three times", false);
    for (n, port) in (5001..).zip([40_000, 99, 65_535]) {
        c.client("PASV\r\n");
        c.server(&pasv(port), GROWTH);
        c.client_connects(n, port);
        c.client("LIST\r\n");
        c.server("226 done\r\n", 0);
    }
    c.end(into);
}

/// The service's address is shorter than the server's.
fn becomes_shorter(into: &mut Vec<Scenario>) {
    let mut c = Control::open(
        "PASV, an address that is written longer than it need be",
        false,
    );
    for (text, by) in [
        ("227 Passive (010,000,000,001,156,064)\r\n", -5),
        ("227 Passive (10,0,0,1,156,65)\r\n", GROWTH),
        ("227 Passive (010,000,000,001,156,066)\r\n", -5),
    ] {
        c.client("PASV\r\n");
        c.server(text, by);
        c.client("NOOP\r\n");
    }
    c.client_connects(5001, 40_000);
    c.end(into);
}

fn active(conntrack: u8, into: &mut Vec<Scenario>) {
    let mut c = Control::open(&format!("PORT, conntrack={conntrack}"), false);
    c.s.say(&format!("sysctl conntrack {conntrack}"));
    c.client("PORT 198,51,100,1,195,80\r\n");
    c.s.say("entries");
    c.server("200 ok\r\n", 0);
    c.server_connects(20, 20, 50_000);
    c.client("PORT 198,51,100,1,195,81\r\n");
    c.server("200 ok\r\n", 0);
    // Nothing waits for this one.
    c.server_connects(20, 20, 50_002);
    c.server_connects(20, 20, 50_001);
    c.end(into);
}

fn family(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

fn extended_passive(is_v6: bool, into: &mut Vec<Scenario>) {
    let mut c = Control::open(&format!("EPSV, {}", family(is_v6)), is_v6);
    let number = if is_v6 { "2" } else { "1" };
    for (n, command) in (0_u16..).zip(["EPSV\r\n".to_owned(), format!("EPSV {number}\r\n")]) {
        c.client(&command);
        let port = 40_000 + n;
        c.server(&format!("229 Extended (|||{port}|)\r\n"), 0);
        c.s.say("entries");
        c.client_connects(5001 + n, port);
    }
    c.end(into);
}

fn extended_active(is_v6: bool, into: &mut Vec<Scenario>) {
    let mut c = Control::open(&format!("EPRT, {}", family(is_v6)), is_v6);
    let address = c.ends.client.ip();
    let number = if is_v6 { "2" } else { "1" };
    c.client(&format!("EPRT |{number}|{address}|50000|\r\n"));
    c.s.say("entries");
    c.server("200 ok\r\n", 0);
    let below = c.port - 1;
    c.server_connects(below, below, 50_000);
    c.end(into);
}

/// Of IPv6 at port 21.
fn at_port_21_of_ipv6(into: &mut Vec<Scenario>) {
    let mut s = Script::new("FTP by NAT", "port 21 of IPv6");
    s.serve(&format!("tcp {}", vip_at(21, true)), "rr", SERVER, "nat");
    s.send(Ends::tcp(1, 5000, true).to_port(21), SYN, 0);
    s.end(into);
}

/// Segments that are lost on the way and come again.
fn sent_again(into: &mut Vec<Scenario>) {
    let mut c = Control::open("segments sent again", false);
    c.client("PASV\r\n");
    c.client_segment_at(c.client - 6, c.server, PSH | ACK, "PASV\r\n");
    let before = c.server;
    c.server(&pasv(40_000), GROWTH);
    // What came before the change, and after it.
    c.server("226 done\r\n", 0);
    let tcp = c.ends.ip_of_server(SERVER).tcp(21, 5000).flags(PSH | ACK);
    let tcp = tcp
        .seq(before - 20)
        .ack(c.client)
        .payload(b"220 an old reply ...");
    c.s.frame(Leg::Server, &tcp);
    c.server_segment_at(c.server - 10, PSH | ACK, "226 done\r\n");
    // Acknowledgments of less than all.
    let all = c.server.wrapping_add_signed(c.shift);
    for less in [10, 11, 60, 70] {
        c.client_segment_at(c.client, all - less, ACK, "");
    }
    c.client("PORT 198,51,100,1,195,80\r\n");
    c.client_segment_at(
        c.client - 26,
        all,
        PSH | ACK,
        "PORT 198,51,100,1,195,80\r\n",
    );
    c.s.say("entries");
    c.server_connects(20, 20, 50_000);
    c.end(into);
}

/// Commands and replies that are cut anywhere.
fn split(into: &mut Vec<Scenario>) {
    for at in [1, 4, 5] {
        let mut c = Control::open(&format!("PASV in two segments, cut at {at}"), false);
        let (first, second) = "PASV\r\n".split_at(at);
        c.client(first);
        c.client(second);
        c.server(&pasv(40_000), 0);
        c.s.say("entries");
        c.end(into);
    }
    for at in [2, 26, 27, 30, 40, 42, 43, 44, 45] {
        let mut c = Control::open(&format!("a 227 in two segments, cut at {at}"), false);
        c.client("PASV\r\n");
        let reply = pasv(40_000);
        let (first, second) = reply.split_at(at);
        // The numbers begin at 27 and end at 42.
        c.server(first, 0);
        c.server(second, 0);
        c.s.say("entries");
        c.end(into);
    }
    for at in [3, 5, 20, 24, 25] {
        let mut c = Control::open(&format!("PORT in two segments, cut at {at}"), false);
        let command = "PORT 198,51,100,1,195,80\r\n";
        let (first, second) = command.split_at(at);
        c.client(first);
        c.client(second);
        c.s.say("entries");
        c.end(into);
    }
}

/// More than one line in a segment.
fn several_commands(into: &mut Vec<Scenario>) {
    let reply = pasv(40_000);
    for commands in ["PASV\r\nLIST\r\n", "TYPE I\r\nPASV\r\n", "pasv\r\n"] {
        let name = commands.trim_end().replace("\r\n", ", ");
        let mut c = Control::open(&format!("commands in one segment: {name}"), false);
        c.client(commands);
        c.server(&reply, GROWTH);
        c.s.say("entries");
        c.client_connects(5001, 40_000);
        c.end(into);
    }
    // Here Weir helps, and the kernel does not.
    let mut c = Control::open("commands in one segment: NOOP, PORT", false);
    c.client("NOOP\r\nPORT 198,51,100,1,195,80\r\n");
    c.s.say("entries");
    c.s.end(into);
    let mut c = Control::open("replies in one segment", false);
    c.client("NOOP\r\nPASV\r\n");
    c.server_segment(PSH | ACK, &format!("200 ok\r\n{reply}"));
    c.s.say("entries");
    c.s.end(into);
}

fn sequence_numbers_wrap(into: &mut Vec<Scenario>) {
    for back in [1, 20, 49, 50, 60] {
        let mut c = Control::open(&format!("sequence numbers that begin again, {back}"), false);
        let ends = Ends::tcp(2, 5000, false).to_port(21);
        c = Control::begin(c.s, ends, 21, 0_u32.wrapping_sub(back));
        c.client("PASV\r\n");
        c.server(&pasv(40_000), GROWTH);
        c.client("NOOP\r\n");
        c.server("200 ok\r\n", 0);
        c.client("PASV\r\n");
        c.server(&pasv(40_001), GROWTH);
        c.end(into);
    }
}

/// The helper's ports are those it was told (`ports=`).
fn control_ports(into: &mut Vec<Scenario>) {
    for (port, growth) in [(2121, GROWTH), (2122, 0)] {
        for server_port in [port, 21] {
            let case = format!("the service at port {port}, the server at {server_port}");
            let mut s = Script::new("FTP by NAT", &case);
            let key = format!("tcp {}", vip_at(port, false));
            // The kernel's helper needs connection tracking, which services at port 21 bring along.
            s.say(
                "service add tcp 192.0.2.101:21 rr
                 server add tcp 192.0.2.101:21 10.0.0.9:21 nat",
            );
            let server = server_at(SERVER, server_port, false);
            s.say(&format!(
                "service add {key} rr\nserver add {key} {server} nat"
            ));
            let ends = Ends::tcp(1, 5000, false).to_port(port);
            let mut c = Control::begin(s, ends, server_port, 7000);
            c.client("PASV\r\n");
            c.server(&pasv(40_000), growth);
            c.client_connects(5001, 40_000);
            c.client("PORT 198,51,100,1,195,80\r\n");
            c.s.say("entries");
            c.server_connects(server_port - 1, port - 1, 50_000);
            c.end(into);
        }
    }
}

/// How long is waited for a data connection, and which of the two outlives the other.
fn lifetimes(into: &mut Vec<Scenario>) {
    let mut c = Control::open("a data connection that does not come", false);
    c.client("PASV\r\n");
    c.server(&pasv(40_000), GROWTH);
    c.s.say("entries\nadvance 6000\nentries");
    c.client("PASV\r\n");
    c.server(&pasv(40_000), GROWTH);
    c.s.say("entries\nadvance 8000\nentries\nadvance 6000\nentries");
    c.client_connects(5001, 40_000);
    c.end(into);

    let mut c = Control::open("a control connection that ends first", false);
    c.client("PASV\r\n");
    c.server(&pasv(40_000), GROWTH);
    let ends = Ends::tcp(1, 5001, false).to_port(40_000);
    c.data(ends, false, SYN, [1000, 0], "");
    c.data(ends, true, SYN | ACK, [400, 1001], "");
    c.data(ends, false, ACK, [1001, 401], "");
    c.server_segment(RST, "");
    c.s.say("entries\nadvance 500\nentries");
    c.data(ends, true, PSH | ACK, [401, 1001], "a file");
    c.s.say("entries\nadvance 1500\nentries");
    c.s.end(into);
}

/// Without NAT, and before a connection is established, nobody helps.
fn no_helper(into: &mut Vec<Scenario>) {
    for method in ["dr", "ipip"] {
        let mut s = Script::new("FTP by NAT", &format!("no help by {method}"));
        s.serve("tcp 192.0.2.100:21", "rr", SERVER, method);
        let ends = Ends::tcp(1, 5000, false).to_port(21);
        s.send(ends, SYN, 0);
        s.send(ends, ACK, 0);
        let port = ends.over(ends.ip(), PSH | ACK);
        s.frame(
            Leg::Client,
            &port.clone().payload(b"PORT 198,51,100,1,195,80\r\n"),
        );
        s.frame(Leg::Client, &port.payload(b"PASV\r\n"));
        s.end(into);
    }
    let mut s = Script::new(
        "FTP by NAT",
        "a command before the connection is established",
    );
    s.serve("tcp 192.0.2.100:21", "rr", SERVER, "nat");
    let ends = Ends::tcp(1, 5000, false).to_port(21);
    let syn = ends.over(ends.ip(), SYN);
    s.frame(Leg::Client, &syn.payload(b"PORT 198,51,100,1,195,80\r\n"));
    s.end(into);
}

/// A reply that no longer fits the MTU when it has become longer.
fn too_big(into: &mut Vec<Scenario>) {
    let mut c = Control::open("a 227 that becomes too big", false);
    c.s.say("mtu client 1400");
    c.client("PASV\r\n");
    let mut reply = pasv(40_000);
    reply.insert_str(4, &"so ".repeat((1360 - reply.len()) / 3));
    c.server_segment(PSH | ACK, &reply);
    // The kernel counts its own error for the server.
    c.s.end_uncounted(into);
}
