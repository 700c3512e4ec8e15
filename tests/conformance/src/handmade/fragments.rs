//! Packets in fragments: in any order, of any length, and what is wrong with some.

use weir_conformance::answer::data;
use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::Leg;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{Addr, protocol};

use super::script::{Ends, Script, client, server_at, vip, vip_at};
use crate::pieces::{payload_len, piece, pieces};

const METHODS: [&str; 5] = ["nat", "dr", "ipip", "gre", "gue:6080:none"];

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in METHODS {
            orders(method, is_v6, into);
            lengths(method, is_v6, into);
            faults(method, is_v6, into);
            late(method, is_v6, into);
            header_fields(method, is_v6, into);
            narrow(method, is_v6, into);
            without_ports(method, is_v6, into);
            errors(method, is_v6, into);
        }
        for method in ["ipip", "gre", "gue:6080:none"] {
            other_family(method, is_v6, into);
        }
        replies(is_v6, into);
    }
}

fn case(what: &str, method: &str, is_v6: bool) -> String {
    format!("{what}, {method}, {}", if is_v6 { "IPv6" } else { "IPv4" })
}

/// A scenario with a server for TCP port 80, UDP port 53 and SCTP port 80, and connections to them.
struct Scene {
    script: Script,
    is_v6: bool,
    /// Identifications that were used.
    ids: u32,
}

impl Scene {
    fn new(what: &str, method: &str, is_v6: bool) -> Self {
        let mut script = Script::new("fragments", &case(what, method, is_v6));
        for (protocol, port) in [("tcp", 80), ("udp", 53), ("sctp", 80)] {
            script.serve(
                &format!("{protocol} {}", vip_at(port, is_v6)),
                "rr",
                1,
                method,
            );
        }
        script.send(Ends::tcp(1, 1024, is_v6), SYN, 0);
        script.send(Ends::udp(1, 1024, is_v6), 0, 4);
        Self {
            script,
            is_v6,
            ids: 0x100,
        }
    }

    /// A number for the fragments of one more packet.
    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    fn ip(&mut self) -> (PacketBuilder, u32) {
        let id = self.id();
        (Ends::udp(1, 1024, self.is_v6).ip().id(id), id)
    }

    /// A datagram of a client's with so many bytes of data, and the number for its fragments.
    fn datagram(&mut self, len: u16) -> (Vec<u8>, u32) {
        let (ip, id) = self.ip();
        (ip.udp(1024, 53).payload(&data(len)).build(), id)
    }

    fn segment(&mut self, len: u16) -> (Vec<u8>, u32) {
        let (ip, id) = self.ip();
        let segment = ip.tcp(1024, 80).flags(ACK).seq(1001).ack(5001);
        (segment.payload(&data(len)).build(), id)
    }

    fn send(&mut self, fragments: impl IntoIterator<Item = Vec<u8>>) {
        for fragment in fragments {
            self.script.bytes(Leg::Client, fragment);
        }
    }

    fn end(self, into: &mut Vec<Scenario>) {
        self.script.end(into);
    }
}

/// All orders of three, and two packets at once.
fn orders(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let mut s = Scene::new("orders", method, is_v6);
    for order in ORDERS {
        for ends in [[400, 800], [200, 800], [800, 900]] {
            let (frame, id) = s.datagram(1000);
            let all = pieces(&frame, &ends, id);
            s.send(order.map(|at| all[at].clone()));
        }
        let (frame, id) = s.segment(1000);
        let all = pieces(&frame, &[496, 504], id);
        s.send(order.map(|at| all[at].clone()));
    }
    let (one, id) = s.datagram(1000);
    let one = pieces(&one, &[400, 800], id);
    let (other, id) = s.segment(2000);
    let other = pieces(&other, &[1000, 1504], id);
    s.send(one.into_iter().zip(other).flat_map(|(a, b)| [b, a]));
    s.end(into);
}

/// Fragments of equal and unequal lengths, down to the shortest, of packets up to the longest.
fn lengths(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("lengths", method, is_v6);
    let of = |step: usize, len: usize| -> Vec<usize> {
        (1..len.div_ceil(step)).map(|n| n * step).collect()
    };
    for is_tcp in [false, true] {
        for (data, ends) in [
            (40, of(8, 48)),
            (40, of(16, 48)),
            (40, vec![8]),
            (40, vec![16]),
            (40, vec![24]),
            (40, vec![40]),
            (40, vec![]),
            (100, vec![8, 104]),
            (100, vec![24, 32, 96]),
            (600, vec![8, 600]),
            (1000, of(64, 1008)),
            (1500, vec![8]),
            (1500, vec![16, 24, 1000]),
            (2000, vec![1400]),
            (2000, vec![1000]),
            (2000, vec![600, 1992]),
            (3000, of(1000, 3008)),
            (3000, of(1448, 3008)),
            (3000, vec![1480, 2960]),
            (3000, vec![1440, 2880]),
            (3000, vec![1432, 2864]),
            (3000, vec![200, 1600]),
            (3000, vec![1400, 1600]),
            (1232, vec![1184]),
            (1232, vec![1192]),
            (1232, vec![1200]),
            (1232, vec![1224]),
            (1232, vec![1232]),
            (9000, of(1200, 9008)),
        ] {
            let (frame, id) = match is_tcp {
                false => s.datagram(data),
                true => s.segment(data),
            };
            s.send(pieces(&frame, &ends, id));
        }
    }
    let (longest, id) = s.datagram(60_000);
    s.send(pieces(&longest, &of(1400, 60_008), id));
    s.end(into);
}

/// Fragments that overlap, come again, contradict each other, or do not come at all.
fn faults(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("faults", method, is_v6);
    // Where each begins and ends, and whether more follow.
    let cases: &[&[(usize, usize, bool)]] = &[
        // Again: the same, a part, what two carried.
        &[(0, 400, true), (0, 400, true), (400, 1008, false)],
        &[(0, 400, true), (0, 200, true), (400, 1008, false)],
        &[(0, 400, true), (200, 400, true), (400, 1008, false)],
        &[
            (0, 400, true),
            (400, 800, true),
            (0, 800, true),
            (800, 1008, false),
        ],
        &[
            (0, 400, true),
            (400, 800, true),
            (200, 600, true),
            (800, 1008, false),
        ],
        &[(400, 1008, false), (400, 1008, false), (0, 400, true)],
        &[
            (0, 400, true),
            (800, 1008, false),
            (800, 1008, false),
            (400, 800, true),
        ],
        // Overlapping, from before, behind, around.
        &[
            (0, 400, true),
            (200, 800, true),
            (800, 1008, false),
            (400, 800, true),
        ],
        &[
            (400, 800, true),
            (0, 480, true),
            (800, 1008, false),
            (0, 400, true),
        ],
        &[
            (400, 800, true),
            (200, 900 / 8 * 8, true),
            (0, 400, true),
            (800, 1008, false),
        ],
        &[(0, 400, true), (392, 1008, false)],
        // The end contradicts.
        &[
            (0, 400, true),
            (400, 800, false),
            (800, 1008, false),
            (0, 800, true),
        ],
        &[(800, 1008, false), (0, 1008, false), (0, 800, true)],
        &[(400, 800, false), (800, 1008, true), (0, 400, true)],
        &[
            (400, 800, true),
            (800, 1008, false),
            (800, 1000, false),
            (0, 400, true),
        ],
        &[(400, 800, true), (400, 800, false), (0, 400, true)],
        &[(400, 800, false), (400, 800, true), (0, 400, true)],
        // No multiple of 8, though more follow.
        &[(0, 404, true), (400, 1008, false)],
        &[(0, 400, true), (400, 804, true), (800, 1008, false)],
        &[(400, 403, true), (0, 400, true), (400, 1008, false)],
        &[(0, 4, true), (0, 1008, false)],
        // A gap that is never filled, or no beginning.
        &[(0, 400, true), (800, 1008, false)],
        &[(400, 800, true), (800, 1008, false)],
        &[(0, 400, true), (400, 800, true)],
        // Behind it another packet with the same number.
        &[
            (0, 400, true),
            (400, 1008, false),
            (0, 400, true),
            (400, 1008, false),
        ],
        &[
            (0, 400, true),
            (400, 1008, false),
            (400, 1008, false),
            (0, 400, true),
        ],
        // Whole by itself among them.
        &[(0, 400, true), (0, 1008, false), (400, 1008, false)],
    ];
    for case in cases {
        let (frame, id) = s.datagram(1000);
        let each = case
            .iter()
            .map(|&(from, to, more)| piece(&frame, from, to, more, id));
        s.send(each.collect::<Vec<_>>());
    }
    // Longer than a packet may be: by its end, and by all there is.
    let (long, id) = s.datagram(1000);
    let mut beyond = piece(&long, 800, 1008, false, id);
    let field = match is_v6 {
        true => ETHERNET + 40 + 2,
        false => ETHERNET + 6,
    };
    let most: u16 = if is_v6 { 0xffd8 } else { 0x1ffb };
    beyond[field..field + 2].copy_from_slice(&most.to_be_bytes());
    if !is_v6 {
        let sum = weir_wire::checksum::finish(weir_wire::checksum::sum(
            &{
                let mut header = beyond[ETHERNET..ETHERNET + 20].to_vec();
                header[10..12].fill(0);
                header
            },
            0,
        ));
        beyond[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    }
    s.send([
        beyond,
        piece(&long, 0, 800, true, id),
        piece(&long, 800, 1008, false, id),
    ]);
    // The protocol of a later one does not matter to IPv6; in IPv4 it makes it another packet's.
    let (frame, id) = s.datagram(1000);
    let (ip, _) = s.ip();
    let other = ip.id(id).raw(protocol::TCP).payload(&[0x77; 1008]).build();
    s.send([
        piece(&frame, 0, 400, true, id),
        piece(&other, 400, 1008, false, id),
        piece(&frame, 400, 1008, false, id),
    ]);
    s.end(into);
}

/// Fragments are waited for, for half a minute or a minute, from the first to come.
fn late(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("late", method, is_v6);
    for (ticks, first_comes_first) in [
        (2900, true),
        (3200, true),
        (3200, false),
        (5800, true),
        (6200, true),
        (6200, false),
    ] {
        let (frame, id) = s.datagram(1000);
        let mut all = pieces(&frame, &[400], id);
        if !first_comes_first {
            all.reverse();
        }
        s.send([all[0].clone()]);
        s.script.say(&format!("advance {ticks}"));
        s.send([all[1].clone()]);
        s.script.say("advance 7000");
        s.send(all);
    }
    s.end(into);
}

/// TTL, type of service, DF, options, and extension headers.
fn header_fields(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("header fields", method, is_v6);
    for ttl in [0, 1, 2, 255] {
        let (ip, id) = s.ip();
        let frame = ip.ttl(ttl).udp(1024, 53).payload(&data(1000)).build();
        s.send(pieces(&frame, &[400, 800], id));
    }
    // Of fragments that do not agree the first counts, but for congestion.
    for (first, second, third) in [
        (0x10, 0x10, 0x10),
        (0x10, 0x20, 0x30),
        (0, 1, 1),
        (1, 1, 2),
        (2, 2, 3),
        (3, 2, 2),
        (3, 3, 0),
        (2, 0, 2),
    ] {
        let id = s.id();
        let of = |tos: u8, ttl: u8| {
            let ip = Ends::udp(1, 1024, is_v6).ip().id(id).tos(tos).ttl(ttl);
            ip.udp(1024, 53).payload(&data(1000)).build()
        };
        s.send([
            piece(&of(first, 64), 0, 400, true, id),
            piece(&of(second, 3), 400, 800, true, id),
            piece(&of(third, 1), 800, 1008, false, id),
        ]);
    }
    if is_v6 {
        extensions(&mut s);
    } else {
        dont_fragment_and_options(&mut s);
    }
    s.end(into);
}

/// Extension headers before the fragment header, in all fragments or in one, and behind it.
fn extensions(s: &mut Scene) {
    const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
    const LONGER: [u8; 16] = [0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for headers in [
        &[protocol::HOPOPTS][..],
        &[protocol::DSTOPTS],
        &[protocol::HOPOPTS, protocol::DSTOPTS],
    ] {
        for (len, ends) in [
            (1000, vec![400, 800]),
            (1000, vec![200]),
            (2600, vec![1200, 2400]),
            (40, vec![8]),
        ] {
            for is_tcp in [false, true] {
                let (mut ip, id) = s.ip();
                for header in headers {
                    ip = ip.extension(*header, &PADDING);
                }
                let frame = match is_tcp {
                    true => ip.tcp(1024, 80).flags(ACK).seq(1001).ack(5001),
                    false => ip.udp(1024, 53),
                };
                let frame = frame.payload(&data(len)).build();
                s.send(pieces(&frame, &ends, id));
            }
        }
    }
    // Only the first has it, and then only the second.
    for is_first in [true, false] {
        let id = s.id();
        let of = |has: bool| {
            let ip = Ends::udp(1, 1024, true).ip();
            let ip = match has {
                true => ip.extension(protocol::HOPOPTS, &LONGER),
                false => ip,
            };
            ip.udp(1024, 53).payload(&data(1000)).build()
        };
        s.send([
            piece(&of(is_first), 0, 400, true, id),
            piece(&of(!is_first), 400, 1008, false, id),
        ]);
    }
    // Behind the fragment header, whole and cut in its middle.
    for (first, second) in [(24, 400), (8, 400), (400, 800)] {
        let id = s.id();
        let whole = Ends::udp(1, 1024, true).ip().id(id);
        let whole = whole
            .extension(protocol::DSTOPTS, &LONGER)
            .udp(1024, 53)
            .payload(&data(1000))
            .build();
        let body = &whole[ETHERNET + 40..];
        let ip = Ends::udp(1, 1024, true).ip();
        let base = ip.raw(protocol::DSTOPTS).payload(body);
        // What is cut begins with the options, so they are no part of what all fragments have.
        let part = |from: usize, to: usize, more: bool| {
            let header = [
                &[0, 0][..],
                &(from as u16 | u16::from(more)).to_be_bytes(),
                &id.to_be_bytes(),
            ]
            .concat();
            base.clone()
                .extension(protocol::FRAGMENT, &header)
                .payload(&body[from..to])
                .build()
        };
        s.send([
            part(0, first, true),
            part(first, second, true),
            part(second, body.len(), false),
        ]);
    }
}

/// Fragments of IPv4 that may not be cut, and options that only the first has.
fn dont_fragment_and_options(s: &mut Scene) {
    for ends in [vec![400, 800], vec![200], vec![800], vec![1440]] {
        for which in 1..8_u8 {
            let id = s.id();
            let of = |is_set: bool| {
                let ip = Ends::udp(1, 1024, false).ip().id(id);
                let ip = if is_set { ip.df() } else { ip };
                ip.udp(1024, 53).payload(&data(1450)).build()
            };
            let len = payload_len(&of(false));
            let mut from = 0;
            let each = ends
                .iter()
                .copied()
                .chain([len])
                .enumerate()
                .map(|(n, to)| {
                    let piece = piece(&of(which >> n & 1 == 1), from, to, to < len, id);
                    from = to;
                    piece
                });
            let each = each.collect::<Vec<_>>();
            s.send(each);
        }
    }
    // Router alert is copied, record route and no-operation are not.
    for options in [
        &[0x94, 4, 0, 0][..],
        &[7, 7, 4, 0, 0, 0, 0, 1],
        &[1, 1, 1, 0],
    ] {
        for ends in [vec![400, 800], vec![200], vec![800]] {
            let (ip, id) = s.ip();
            let frame = ip
                .ip_options(options)
                .udp(1024, 53)
                .payload(&data(1000))
                .build();
            s.send(pieces(&frame, &ends, id));
        }
    }
}

/// The way to the server carries less than the fragments that came.
fn narrow(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    for pmtu_disc in [1, 0] {
        let mut s = Scene::new(&format!("narrow, pmtu_disc={pmtu_disc}"), method, is_v6);
        s.script.say(&format!("sysctl pmtu_disc {pmtu_disc}"));
        for mtu in [1500, 1400, 1300, 1280] {
            s.script.say(&format!("mtu server {mtu}"));
            for ends in [
                vec![1440, 2880],
                vec![1200, 2400],
                vec![1232],
                vec![1240],
                vec![1352],
                vec![600, 1960],
            ] {
                for has_df in [false, true] {
                    if has_df && is_v6 {
                        continue;
                    }
                    let (ip, id) = s.ip();
                    let ip = if has_df { ip.df() } else { ip };
                    let len = if ends.len() == 1 { 2300 } else { 3300 };
                    let frame = ip.udp(1024, 53).payload(&data(len)).build();
                    s.send(pieces(&frame, &ends, id));
                }
            }
        }
        s.end(into);
    }
}

/// Pings, AH and ESP, protocols that nobody knows, and ports that have no service.
fn without_ports(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
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
fn errors(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
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
            let mac = weir_conformance::place::server_mac(1);
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
fn other_family(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
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
        let (frame, id) = s.segment(len);
        s.send(pieces(&frame, &ends, id));
    }
    s.end(into);
}

/// From a NAT server to its client.
fn replies(is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("replies", "nat", is_v6);
    s.script
        .serve(&format!("udp {}", vip_at(500, is_v6)), "rr", 1, "nat");
    let exchange = Ends::udp(1, 500, is_v6).to_port(500);
    s.script.send(exchange, 0, 4);
    let server = server_at(1, 0, is_v6).ip();
    let client = client(1, is_v6);
    let ip = move |id: u32| {
        let mac = weir_conformance::place::server_mac(1);
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
                    if has_df && (is_v6 || len < 1000) {
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
                    let turn = usize::from(id % 2 == 0);
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
