//! Whole packets that are not what they say: lengths that lie, headers that end too soon, checksums that
//! are wrong, extension headers out of order.

use std::net::SocketAddr;

use weir_conformance::answer::data;
use weir_conformance::operation::{Protocol, Scenario};
use weir_conformance::place::Leg;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};
use weir_wire::{checksum, protocol};

use super::script::{Ends, Script, case, vip_at};

const METHODS: [&str; 4] = ["nat", "dr", "ipip", "gue:6080:full"];

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in METHODS {
            lying_lengths(method, is_v6, into);
            cut_short(method, is_v6, into);
            wrong_checksums(method, is_v6, into);
        }
    }
    for method in METHODS {
        extension_headers(method, into);
        options(method, into);
    }
}

/// Services of TCP, UDP and SCTP with a connection each.
fn begin(feature: &str, method: &str, is_v6: bool) -> Script {
    let mut s = Script::new(feature, &case(method, is_v6));
    for (protocol, port) in [("tcp", 80), ("udp", 53), ("sctp", 80)] {
        let key = format!("{protocol} {}", vip_at(port, is_v6));
        s.serve(&key, "rr", 1, method);
    }
    for ends in all_ends(is_v6) {
        s.frame(Leg::Client, &first(ends));
    }
    s
}

fn all_ends(is_v6: bool) -> [Ends; 3] {
    let tcp = Ends::tcp(1, 1024, is_v6);
    let sctp = Ends {
        protocol: Protocol::Sctp,
        ..tcp
    };
    [tcp, Ends::udp(1, 1024, is_v6), sctp]
}

fn first(ends: Ends) -> PacketBuilder {
    let mut init = vec![1, 0, 0, 20];
    init.resize(20, 0);
    let packet = ends.over(ends.ip(), SYN);
    match ends.protocol {
        Protocol::Sctp => packet.payload(&init),
        _ => packet,
    }
}

/// A packet of a known connection. Others begin none, for what the kernel lets begin one Weir drops.
fn known(ends: Ends) -> Vec<u8> {
    let packet = match ends.protocol {
        Protocol::Sctp => ends.over(ends.ip(), 0).payload(&[0, 0, 0, 4]),
        _ => ends.over(ends.ip(), ACK).payload(&data(40)),
    };
    packet.build()
}

/// All connections go on, so that what was dropped on one side only has no part in how long they live.
fn end(mut s: Script, is_v6: bool, into: &mut Vec<Scenario>) {
    for ends in all_ends(is_v6) {
        s.bytes(Leg::Client, known(ends));
    }
    s.end(into);
}

fn header_len(frame: &[u8]) -> usize {
    if frame[12..14] == [8, 0] { 20 } else { 40 }
}

/// Makes the IPv4 header's checksum right again.
fn mend(frame: &mut [u8]) {
    if header_len(frame) == 20 {
        let end = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let Some(header) = frame.get(ETHERNET..end) else {
            return;
        };
        let sum = checksum::finish(checksum::sum(header, 0));
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Lengths in the headers of IP, UDP and TCP that are more or less than there is.
fn lying_lengths(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = begin("lengths that lie", method, is_v6);
    for ends in all_ends(is_v6) {
        for by in [-60_i32, -41, -21, -9, -1, 1, 8, 600] {
            let mut frame = known(ends);
            // IPv4's length is that of all, IPv6's of what follows the header.
            let at = ETHERNET + if is_v6 { 4 } else { 2 };
            let len = u16::from_be_bytes([frame[at], frame[at + 1]]);
            let len = (i32::from(len) + by).max(0) as u16;
            frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
            mend(&mut frame);
            s.bytes(Leg::Client, frame);
        }
        if !is_v6 {
            for header_len in [0, 1, 4, 6, 15] {
                let mut frame = known(ends);
                frame[ETHERNET] = 0x40 | header_len;
                mend(&mut frame);
                s.bytes(Leg::Client, frame);
            }
        }
        let (at, values) = match ends.protocol {
            // Where the data begins, in the upper half.
            Protocol::Tcp => (12, [0, 0x40, 0x60, 0xf0]),
            // The lower half of the length.
            Protocol::Udp => (5, [0, 7, 9, 200]),
            Protocol::Sctp => continue,
        };
        for value in values {
            let mut frame = known(ends);
            let l4 = ETHERNET + header_len(&frame);
            frame[l4 + at] = value;
            s.bytes(Leg::Client, frame);
        }
    }
    end(s, is_v6, into);
}

/// Packets that end anywhere in their headers, and say so truly.
fn cut_short(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = begin("packets cut short", method, is_v6);
    for ends in all_ends(is_v6) {
        for len in [0, 1, 3, 4, 7, 8, 11, 12, 13, 16, 19, 20, 27] {
            let mut frame = known(ends);
            let header = header_len(&frame);
            frame.truncate(ETHERNET + header + len);
            let at = ETHERNET + if is_v6 { 4 } else { 2 };
            let len = (frame.len() - ETHERNET - if is_v6 { 40 } else { 0 }) as u16;
            frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
            mend(&mut frame);
            s.bytes(Leg::Client, frame);
        }
    }
    end(s, is_v6, into);
}

/// A wrong checksum stays a wrong one, from both sides.
fn wrong_checksums(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = begin("wrong checksums", method, is_v6);
    for ends in &all_ends(is_v6)[..2] {
        let at = if ends.protocol == Protocol::Tcp {
            16
        } else {
            6
        };
        let spoil = |mut frame: Vec<u8>, by: u16| {
            let at = ETHERNET + header_len(&frame) + at;
            let sum = u16::from_be_bytes([frame[at], frame[at + 1]]);
            frame[at..at + 2].copy_from_slice(&sum.wrapping_add(by).to_be_bytes());
            frame
        };
        for (port, by) in (2000..).zip([1, 0x100, 0x7fff, 0xfffe]) {
            let client = SocketAddr::new(ends.client.ip(), port);
            let other = first(Ends { client, ..*ends }).build();
            for frame in [known(*ends), other] {
                s.bytes(Leg::Client, spoil(frame, by));
            }
            if method == "nat" {
                let ip = ends.ip_of_server(1);
                let (from, to) = (ends.service.port(), 1024);
                let reply = match ends.protocol {
                    Protocol::Tcp => ip.tcp(from, to).flags(ACK),
                    _ => ip.udp(from, to),
                };
                s.bytes(Leg::Server, spoil(reply.payload(&data(9)).build(), by));
            }
        }
    }
    s.end(into);
}

/// Extension headers of IPv6: many, unknown, twice, out of order, of a wrong length, with nothing behind.
fn extension_headers(method: &str, into: &mut Vec<Scenario>) {
    const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
    // A routing header of type 0 with nothing left, and one of an unknown type.
    const ROUTING: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0];
    const ROUTING_LEFT: [u8; 8] = [0, 0, 253, 1, 0, 0, 0, 0];
    // Options that are to be skipped, and those of which the sender is told, by their highest bits.
    const UNKNOWN: [[u8; 8]; 4] = [
        [0, 0, 0x1e, 4, 0, 0, 0, 0],
        [0, 0, 0x5e, 4, 0, 0, 0, 0],
        [0, 0, 0x9e, 4, 0, 0, 0, 0],
        [0, 0, 0xde, 4, 0, 0, 0, 0],
    ];
    const HOP: u8 = protocol::HOPOPTS;
    const DST: u8 = protocol::DSTOPTS;
    const ROUTE: u8 = protocol::ROUTING;
    let mut chains: Vec<Vec<(u8, [u8; 8])>> = vec![
        vec![(HOP, PADDING)],
        vec![(DST, PADDING)],
        vec![(DST, PADDING); 3],
        vec![(DST, PADDING); 8],
        vec![(DST, PADDING); 40],
        vec![(ROUTE, ROUTING)],
        vec![(ROUTE, ROUTING_LEFT)],
        vec![(DST, PADDING), (ROUTE, ROUTING)],
        vec![(DST, PADDING), (HOP, PADDING)],
        vec![(HOP, PADDING), (HOP, PADDING)],
    ];
    for options in UNKNOWN {
        chains.push(vec![(HOP, options)]);
        chains.push(vec![(DST, options)]);
    }
    let mut s = begin("extension headers", method, true);
    for chain in &chains {
        let mut ip = Ends::udp(1, 1024, true).ip();
        for (number, bytes) in chain {
            ip = ip.extension(*number, bytes);
        }
        s.frame(Leg::Client, &ip.udp(1024, 53).payload(b"query"));
    }
    // The length of the header is more than there is.
    for number in [HOP, DST, ROUTE] {
        for len in [1, 2, 8, 255] {
            let ip = Ends::udp(1, 1024, true).ip();
            let mut bytes = PADDING;
            bytes[1] = len;
            let frame = ip.extension(number, &bytes).udp(1024, 53).payload(b"query");
            s.frame(Leg::Client, &frame);
        }
        // Nothing behind, of the header itself less than all, and no next header.
        for (next, len) in [(protocol::UDP, 8), (protocol::UDP, 1), (number, 8), (59, 8)] {
            let ip = Ends::udp(1, 1024, true).ip();
            let mut bytes = PADDING;
            bytes[0] = next;
            s.frame(Leg::Client, &ip.raw(number).payload(&bytes[..len]));
        }
    }
    end(s, true, into);
}

/// Options of IPv4: source routes, of a wrong length, without end.
fn options(method: &str, into: &mut Vec<Scenario>) {
    let mut s = begin("IPv4 options", method, false);
    let all: [&[u8]; 13] = [
        &[1, 1, 1, 0],
        &[0x94, 4, 0, 0],
        &[0x94, 0, 0, 0],
        &[0x94, 1, 0, 0],
        &[0x94, 40, 0, 0],
        &[0x1e, 4, 1, 1],
        &[0x83, 7, 4, 203, 0, 113, 9, 0],
        &[0x89, 7, 4, 203, 0, 113, 9, 0],
        &[0x83, 3, 4, 0],
        &[7, 3, 3, 0],
        &[68, 2, 5, 0],
        &[1, 1, 1, 0x94],
        &[7, 3, 4, 0],
    ];
    for options in all {
        for ends in all_ends(false) {
            let ip = ends.ip().ip_options(options);
            let packet = ends.over(ip, ACK);
            let packet = match ends.protocol {
                Protocol::Sctp => packet.payload(&[0, 0, 0, 4]),
                _ => packet,
            };
            s.frame(Leg::Client, &packet);
        }
    }
    end(s, false, into);
}
