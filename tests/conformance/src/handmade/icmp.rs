//! ICMP errors: about requests and replies, of every type, whole, cut and damaged.

use std::net::IpAddr;

use weir_conformance::answer::{Answer, data};
use weir_conformance::operation::Scenario;
use weir_conformance::place::{self, Leg};
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{Addr, protocol};

use super::script::{Ends, Script, case, client, server_at, vip, vip_at};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Forwarding methods, as scenarios write them.
const METHODS: [&str; 7] = [
    "nat",
    "dr",
    "ipip",
    "gre",
    "gre:full",
    "gue:6080:none",
    "gue:6081:full",
];

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in METHODS {
            for from in Leg::ALL {
                every_type(method, is_v6, from, into);
            }
        }
        for method in &METHODS[..3] {
            for from in Leg::ALL {
                odd_quotes(method, is_v6, from, into);
                odd_messages(method, is_v6, from, into);
                large(method, is_v6, from, into);
                begins(method, is_v6, from, into);
            }
        }
    }
}

/// Type, code and word of errors.
fn kinds(is_v6: bool) -> &'static [(u8, u8, u32)] {
    match is_v6 {
        false => &[
            (3, 0, 0),
            (3, 1, 0),
            (3, 3, 0),
            (3, 4, 1300),
            (3, 4, 400),
            (3, 4, 0),
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
    }
}

/// Every type of error about packets with DF and without, of TCP and UDP, whole and cut.
fn every_type(method: &str, is_v6: bool, from: Leg, into: &mut Vec<Scenario>) {
    let mut s = Script::new(
        "ICMP errors",
        &format!("{}, from the {from} side", case(method, is_v6)),
    );
    s.serve(&format!("tcp {}", vip_at(80, is_v6)), "rr", 2, method);
    s.serve(&format!("udp {}", vip_at(53, is_v6)), "rr", 2, method);
    let tcp = Ends::tcp(1, 1024, is_v6);
    let syn = s.frame(Leg::Client, &tcp.over(tcp.ip().df(), SYN));
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
        for &(icmp_type, code, word) in kinds(is_v6) {
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

/// A connection that errors are about, and who tells of it.
struct Place {
    method: String,
    is_v6: bool,
    from: Leg,
}

impl Place {
    fn new(method: &str, is_v6: bool, from: Leg) -> Self {
        let method = method.to_owned();
        Self {
            method,
            is_v6,
            from,
        }
    }

    fn case(&self) -> String {
        let case = case(&self.method, self.is_v6);
        format!("{case}, from the {} side", self.from)
    }

    fn ends(&self) -> Ends {
        Ends::tcp(1, 1024, self.is_v6)
    }

    fn serve(&self, s: &mut Script) {
        let key = format!("tcp {}", vip_at(80, self.is_v6));
        s.serve(&key, "rr", 1, &self.method);
    }

    fn own(&self) -> IpAddr {
        let own = self.from.addresses();
        own[usize::from(self.is_v6)].0
    }

    /// Whom the error reaches when all is as it should be.
    fn to(&self) -> IpAddr {
        match self.from {
            Leg::Client => vip(self.is_v6),
            Leg::Server if self.method == "ipip" => self.own(),
            Leg::Server => client(1, self.is_v6),
        }
    }

    fn router(&self) -> IpAddr {
        self.from.routers()[usize::from(self.is_v6)]
    }

    fn message(&self, to: IpAddr) -> PacketBuilder {
        let eth = PacketBuilder::eth(self.from.router(), self.from.director());
        eth.ip(Addr::from(self.router()), Addr::from(to)).id(77)
    }

    /// An error that says nothing of sizes.
    fn kind(&self) -> (u8, u8) {
        if self.is_v6 { (1, 0) } else { (3, 1) }
    }

    fn error(&self, message: PacketBuilder, quote: &[u8]) -> PacketBuilder {
        let (icmp_type, code) = self.kind();
        message.icmp_error(icmp_type, code, 0, quote)
    }

    /// The packet that went away by this leg, with its IP layer and what it carries made by others.
    fn quote(
        &self,
        ip: impl Fn(PacketBuilder) -> PacketBuilder,
        transport: impl Fn(PacketBuilder, [u16; 2]) -> PacketBuilder,
    ) -> Vec<u8> {
        let (client, vip) = (client(1, self.is_v6), vip(self.is_v6));
        let server = place::server(1, self.is_v6);
        let eth = || PacketBuilder::eth(self.from.director(), self.from.router());
        let between = |from: IpAddr, to: IpAddr| ip(eth().ip(Addr::from(from), Addr::from(to)));
        match (self.from, self.method.as_str()) {
            (Leg::Client, _) => transport(between(vip, client), [80, 1024]).build_ip(),
            (Leg::Server, "nat") => transport(between(client, server), [1024, 80]).build_ip(),
            (Leg::Server, "dr") => transport(between(client, vip), [1024, 80]).build_ip(),
            (Leg::Server, _) => {
                let inner = transport(between(client, vip), [1024, 80]).build_ip();
                let outer = eth().ip(Addr::from(self.own()), Addr::from(server));
                let number = if self.is_v6 {
                    protocol::IPV6
                } else {
                    protocol::IPIP
                };
                outer.raw(number).payload(&inner).build_ip()
            }
        }
    }

    fn plain_quote(&self) -> Vec<u8> {
        self.quote(|ip| ip.ttl(63).df(), segment)
    }
}

fn segment(ip: PacketBuilder, [from, to]: [u16; 2]) -> PacketBuilder {
    let tcp = ip.tcp(from, to).flags(SYN).seq(1000).ack(5000);
    tcp.payload(b"what was sent")
}

/// Quotes that are short, damaged, of fragments, with options, or of something else.
fn odd_quotes(method: &str, is_v6: bool, from: Leg, into: &mut Vec<Scenario>) {
    let place = Place::new(method, is_v6, from);
    let mut s = Script::new("ICMP errors with odd quotes", &place.case());
    place.serve(&mut s);
    s.send(place.ends(), SYN, 0);
    let quote = place.plain_quote();
    let header = if is_v6 { 40 } else { 20 };
    let tell = |s: &mut Script, quote: &[u8]| {
        let message = place.error(place.message(place.to()), quote);
        s.frame(from, &message);
    };
    let depth = quote.len() - (header + 33);
    let cuts = [0, 1, 7, 8, 12, 18, 19, 20, 33].map(|more| depth + header + more);
    for len in [0, 1, header - 1].into_iter().chain(cuts) {
        tell(&mut s, &quote[..len]);
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut quote = quote.clone();
        quote[at..at + bytes.len()].copy_from_slice(bytes);
        quote
    };
    // The length that the quoted packet tells of.
    let length_at = if is_v6 { 4 } else { 2 };
    for len in [[0, 0], [0, 20], [0, 39], [0, 41], [0xff, 0xff]] {
        tell(&mut s, &with(depth + length_at, &len));
    }
    // Checksums of IPv4 and TCP; the protocol; the version.
    if !is_v6 {
        tell(&mut s, &with(depth + 10, &[0xab, 0xcd]));
    }
    tell(&mut s, &with(depth + header + 16, &[0xab, 0xcd]));
    let protocol_at = if is_v6 { 6 } else { 9 };
    for number in [1, 17, 47, 50, 58, 132, 253] {
        tell(&mut s, &with(depth + protocol_at, &[number]));
    }
    // More than the packet is, as routers append what they know of labels (RFC 4884).
    let mut extended = quote.clone();
    extended.resize(128, 0);
    extended.extend([0x20, 0, 0x8f, 0x5e, 0, 8, 1, 1, 0, 1, 2, 3]);
    tell(&mut s, &extended);
    let ping = if is_v6 { 128 } else { 8 };
    tell(
        &mut s,
        &place.quote(
            |ip| ip,
            |ip, _| ip.icmp(ping, 0, 0x0001_0002).payload(b"ping"),
        ),
    );
    let datagram = |ip: PacketBuilder, [from, to]: [u16; 2]| ip.udp(from, to).payload(b"query");
    tell(&mut s, &place.quote(|ip| ip, datagram));
    tell(
        &mut s,
        &place.quote(|ip| ip.id(9).fragment(0, true), segment),
    );
    // What later fragments begin with the kernel takes for ports.
    let data = |ip: PacketBuilder, _| ip.raw(protocol::TCP).payload(b"the rest of something");
    for more in [true, false] {
        tell(
            &mut s,
            &place.quote(|ip| ip.id(9).fragment(1480, more), data),
        );
    }
    if is_v6 {
        let padding: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];
        for number in [protocol::HOPOPTS, protocol::DSTOPTS] {
            tell(
                &mut s,
                &place.quote(|ip| ip.extension(number, padding), segment),
            );
        }
    } else {
        for options in [&[0x94, 4, 0, 0][..], &[1, 1, 1, 0]] {
            tell(&mut s, &place.quote(|ip| ip.ip_options(options), segment));
        }
    }
    // Other connections, which are none; another address.
    let other = |ports: [u16; 2]| move |ip: PacketBuilder, _| segment(ip, ports);
    for ports in [[80, 1025], [1025, 80], [81, 1024], [1024, 81]] {
        tell(&mut s, &place.quote(|ip| ip, other(ports)));
    }
    s.end(into);
}

/// Messages that are damaged, at the end of their way, of any type, or for others.
fn odd_messages(method: &str, is_v6: bool, from: Leg, into: &mut Vec<Scenario>) {
    let place = Place::new(method, is_v6, from);
    let mut s = Script::new("odd ICMP errors", &place.case());
    place.serve(&mut s);
    s.send(place.ends(), SYN, 0);
    let quote = place.plain_quote();
    let header = if is_v6 { 40 } else { 20 };
    let whole = || place.message(place.to());
    for ttl in [0, 1, 2, 255] {
        s.frame(from, &place.error(whole().ttl(ttl), &quote));
    }
    for tos in [1, 3, 0x48, 0xc0] {
        s.frame(from, &place.error(whole().tos(tos).df(), &quote));
    }
    let mut damaged = place.error(whole(), &quote).build();
    damaged[ETHERNET + header + 2] ^= 0x55;
    s.bytes(from, damaged);
    s.frame(from, &place.error(whole(), &quote).pad_to(200));
    if !is_v6 {
        s.frame(
            from,
            &place.error(whole().ip_options(&[0x94, 4, 0, 0]), &quote),
        );
    }
    let types: &[u8] = match is_v6 {
        false => &[1, 2, 3, 4, 5, 6, 11, 12, 19, 30, 40, 255],
        true => &[0, 1, 2, 3, 4, 5, 100, 101, 127],
    };
    for &icmp_type in types {
        for (code, word) in [(0, 0), (1, 0x0012_0000), (5, 0x0102_0304)] {
            s.frame(from, &whole().icmp_error(icmp_type, code, word, &quote));
        }
    }
    for to in [vip(is_v6), place.own()] {
        s.frame(from, &place.error(place.message(to), &quote));
    }
    // In the name of others: a server, a client, the director itself.
    let mac = (from.router(), from.director());
    for source in [place::server(1, is_v6), client(1, is_v6), place.own()] {
        let eth = PacketBuilder::eth(mac.0, mac.1);
        let message = eth.ip(Addr::from(source), Addr::from(place.to()));
        s.frame(from, &place.error(message, &quote));
    }
    s.end(into);
}

/// Messages that are longer than the other side's link carries, with DF and without.
fn large(method: &str, is_v6: bool, from: Leg, into: &mut Vec<Scenario>) {
    let place = Place::new(method, is_v6, from);
    let mut s = Script::new("large ICMP errors", &place.case());
    place.serve(&mut s);
    s.send(place.ends(), SYN, 0);
    let other = match from {
        Leg::Client => Leg::Server,
        Leg::Server => Leg::Client,
    };
    s.say(&format!("mtu {other} 1300"));
    for len in [1100, 1200, 1300, 1400] {
        let payload = data(len);
        let long = |ip: PacketBuilder, [from, to]: [u16; 2]| ip.tcp(from, to).payload(&payload);
        let quote = place.quote(|ip| ip.df(), long);
        s.frame(from, &place.error(place.message(place.to()), &quote));
        s.frame(from, &place.error(place.message(place.to()).df(), &quote));
    }
    s.end(into);
}

/// Errors about connections that are none: one begins where `schedule_icmp` lets it; packets of a
/// service that schedules each of them; a service without servers.
fn begins(method: &str, is_v6: bool, from: Leg, into: &mut Vec<Scenario>) {
    let place = Place::new(method, is_v6, from);
    for may_begin in [0, 1] {
        let case = format!("{}, schedule_icmp={may_begin}", place.case());
        let mut s = Script::new("ICMP errors about no connection", &case);
        place.serve(&mut s);
        let one_packet = format!("udp {}", vip_at(53, is_v6));
        s.say(&format!("sysctl schedule_icmp {may_begin}"));
        s.say(&format!("service add {one_packet} rr ops"));
        s.say(&format!(
            "server add {one_packet} {} {method}",
            server_at(2, 53, is_v6)
        ));
        s.say(&format!("service add tcp {} rr", vip_at(81, is_v6)));
        let about = |ports: [u16; 2]| {
            let quote = place.quote(|ip| ip, move |ip, _| segment(ip, ports));
            place.error(place.message(place.to()), &quote)
        };
        let mine = |service: u16| match from {
            Leg::Client => [service, 1024],
            Leg::Server => [1024, service],
        };
        for service in [80, 81, 82] {
            s.frame(from, &about(mine(service)));
        }
        s.say("entries");
        s.frame(from, &about(mine(80)));
        // Cut before the ports.
        let quote = place.plain_quote();
        let kept = quote.len()
            - segment(place.message(place.to()), mine(80))
                .build_ip()
                .len()
            + if is_v6 { 40 } else { 20 };
        for more in [0, 3, 4] {
            let message = place.error(place.message(place.to()), &quote[..kept + more]);
            s.frame(from, &message);
        }
        let mut damaged = about(mine(80)).build();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        s.bytes(from, damaged);
        s.send(place.ends(), SYN, 0);
        let udp = s.send(Ends::udp(3, 1024, is_v6), 0, 20);
        let (icmp_type, code) = place.kind();
        for (quoted, is_from_router) in [(1232, false), (48, true)] {
            s.answer(
                udp,
                from,
                Answer::Icmp {
                    icmp_type,
                    code,
                    word: 0,
                    quoted,
                    is_from_router,
                },
            );
        }
        s.say("entries\nadvance 400");
        s.end(into);
    }
}
