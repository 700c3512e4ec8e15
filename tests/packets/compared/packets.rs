//! The packets of a run: good ones of few clients and ports, answers to what was sent before, and
//! all of these damaged, cut or strange now and then.

use weir_core::io::PortId;
use weir_core::testing::MemFrame;
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, FIN, RST, SYN};
use weir_wire::{Addr, Headers, Mac, Parsed, fragment};

use super::Compared;
use super::input::Bytes;
use crate::world::{LAN, LAN_MAC, Net, ROUTER_MAC, WAN, WAN_MAC, server_mac};

impl Compared {
    /// A packet and the port it is received at.
    pub(super) fn packet(&self, input: &mut Bytes<'_>) -> (PortId, Vec<u8>) {
        let kind = input.next() % 32;
        let (port, packet) = match kind {
            0..=15 => (WAN, self.of_client(kind, input)),
            16..=24 => match self.answered(input) {
                Some(answer) => answer,
                None => (WAN, self.of_client(0, input)),
            },
            25..=27 => match self.told_of(input) {
                Some(error) => error,
                None => (WAN, self.of_client(5, input)),
            },
            28 => (LAN, self.stray(input)),
            29 => {
                let echo = Net::v4().client_frame().icmp(8, 0, 1);
                (WAN, echo)
            }
            _ => (WAN, self.of_nobody(input)),
        };
        let (packet, is_tagged) = vary(packet, input);
        let vlan = self.short[0].vlan_lan;
        let packet = if port == LAN && vlan != 0 && !is_tagged {
            packet.vlan(vlan)
        } else {
            packet
        };
        (port, damage(packet, input))
    }

    /// What the receiver of an earlier packet answers: a server to a request, a client to a reply.
    fn answered(&self, input: &mut Bytes<'_>) -> Option<(PortId, PacketBuilder)> {
        let (port, headers, _) = self.earlier(input)?;
        let answer = frame_at(port, input).ip(headers.dst, headers.src);
        let answer = match headers.is_tcp() {
            true => answer
                .tcp(headers.dst_port, headers.src_port)
                .flags(input.of(&[
                    SYN | ACK,
                    SYN | ACK,
                    ACK,
                    ACK,
                    ACK,
                    FIN | ACK,
                    RST,
                    RST | ACK,
                    FIN,
                    0,
                ]))
                .ack(u32::from(input.next())),
            false if headers.is_udp() && input.once_in(4) => {
                answer.udp_without_checksum(headers.dst_port, headers.src_port)
            }
            false if headers.is_udp() => answer.udp(headers.dst_port, headers.src_port),
            false => return None,
        };
        Some((port, payload(answer, input)))
    }

    /// An ICMP error about an earlier packet.
    fn told_of(&self, input: &mut Bytes<'_>) -> Option<(PortId, PacketBuilder)> {
        let (port, headers, bytes) = self.earlier(input)?;
        let is_v4 = headers.is_v4();
        let speaker = match (port, is_v4) {
            (WAN, true) => addr("203.0.113.9"),
            (WAN, false) => addr("2001:db8:7::9"),
            _ if input.once_in(2) => headers.dst,
            (_, true) => addr("10.0.0.9"),
            (_, false) => addr("2001:db8:2::9"),
        };
        let (kind, code, word) = input.of(match is_v4 {
            true => &[(3, 1, 0), (3, 4, 1300), (3, 4, 600), (3, 3, 0), (11, 0, 0)],
            false => &[(1, 0, 0), (2, 0, 1400), (2, 0, 1280), (1, 4, 0), (3, 0, 0)],
        });
        let quoted = &bytes[usize::from(headers.l3)..];
        let keep = input.of(&[28, 40, 60, usize::MAX]).min(quoted.len());
        let told = frame_at(port, input).ip(speaker, headers.src);
        Some((port, told.icmp_error(kind, code, word, &quoted[..keep])))
    }

    /// A packet that was sent, by which port.
    fn earlier(&self, input: &mut Bytes<'_>) -> Option<(PortId, Headers, &[u8])> {
        if self.sent.is_empty() {
            return None;
        }
        let (port, bytes) = &self.sent[input.below(self.sent.len())];
        match weir_wire::parse(bytes, true) {
            Ok(Parsed::Ip(headers)) => Some((*port, headers, bytes)),
            _ => None,
        }
    }
}

/// A frame as the neighbours of `port` send it.
fn frame_at(port: PortId, input: &mut Bytes<'_>) -> PacketBuilder {
    match port {
        WAN => PacketBuilder::eth(ROUTER_MAC, WAN_MAC),
        _ => PacketBuilder::eth(server_mac(input.next() % 9 + 1), LAN_MAC),
    }
}

impl Compared {
    /// One of few clients, ports and services.
    fn ends(&self, input: &mut Bytes<'_>) -> (Net, u16, u16) {
        let (who, what) = (input.next(), input.next());
        let mut net = match what >> 4 & 7 < self.share_of_v6 {
            true => Net::v6(),
            false => Net::v4(),
        };
        net.client = Addr(net.client.0 + u128::from(who & 3));
        let port = match who >> 2 {
            0x3f => 0,
            0x3e => 20,
            n => 4000 + u16::from(n & 15),
        };
        (net, port, 80 + u16::from(what & 15) % 10)
    }

    fn of_client(&self, kind: u8, input: &mut Bytes<'_>) -> PacketBuilder {
        let (net, port, service) = self.ends(input);
        let frame = net.client_frame();
        let packet = match kind {
            12 => frame.udp_without_checksum(port, service),
            13..=15 if service == 88 && !input.once_in(3) => {
                return frame.udp(port, service).payload(call(input).as_bytes());
            }
            13..=15 => frame.udp(port, service),
            _ => {
                let flags = match kind {
                    0..=4 => SYN,
                    5..=8 => ACK,
                    9 => FIN | ACK,
                    10 => RST,
                    _ => input.next() & 0x3f,
                };
                frame.tcp(port, service).flags(flags)
            }
        };
        payload(packet, input)
    }

    /// Of a server, to a client or local end that may have no flow.
    fn stray(&self, input: &mut Bytes<'_>) -> PacketBuilder {
        let (net, port, _) = self.ends(input);
        let server = net.server(input.next() % 9 + 1);
        let to = match input.below(3) {
            0 => (net.client, port),
            1 => (net.local(0), 5000 + u16::from(input.next() & 7)),
            _ => (net.vip, port),
        };
        let frame = frame_at(LAN, input).ip(server, to.0);
        if input.once_in(2) {
            let datagram = frame.udp(53, to.1);
            match input.once_in(2) {
                true => datagram.payload(call(input).as_bytes()),
                false => datagram,
            }
        } else {
            frame.tcp(80, to.1).flags(input.next() & 0x17)
        }
    }

    /// From or to an address that is no client's or service's.
    fn of_nobody(&self, input: &mut Bytes<'_>) -> PacketBuilder {
        let (net, port, service) = self.ends(input);
        let odd = addr(input.of(match net.is_v4 {
            true => &ODD,
            false => &ODD_V6,
        }));
        let frame = PacketBuilder::eth(ROUTER_MAC, WAN_MAC);
        let frame = if input.once_in(3) {
            frame.ip(net.client, odd)
        } else {
            frame.ip(odd, net.vip)
        };
        if input.once_in(3) {
            frame.udp(port, service)
        } else {
            frame.tcp(port, service).flags(input.of(&[SYN, SYN, ACK]))
        }
    }
}

/// A message of one of few calls.
fn call(input: &mut Bytes<'_>) -> String {
    format!("BYE sip:b SIP/2.0\r\ni: call-{}\r\n\r\n", input.below(3))
}

/// Addresses that are no client's, or no service's.
const ODD: [&str; 9] = [
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.5",
    "255.255.255.255",
    "192.0.2.1",
    "192.0.2.100",
    "10.0.0.200",
    "10.0.0.1",
    "240.0.0.1",
];

/// The same of IPv6.
const ODD_V6: [&str; 9] = [
    "::1",
    "::",
    "ff02::5",
    "fe80::1",
    "2001:db8:1::1",
    "2001:db8:1::100",
    "2001:db8:2::c8",
    "2001:db8:2::1",
    "2001:db8:2::fe",
];

/// What FTP says, of a client of [`ends`] and a server.
const FTP: [&[u8]; 5] = [
    b"PASV\r\n",
    b"227 Here (10,0,0,1,15,160)\r\n",
    b"PORT 198,51,100,7,15,161\r\n",
    b"PORT 198,51,100,99,15,161\r\n",
    b"227 10,0,0,1,0,80\r\n",
];

fn payload(packet: PacketBuilder, input: &mut Bytes<'_>) -> PacketBuilder {
    if input.once_in(6) {
        return packet.payload(input.of(&FTP));
    }
    let len = input.of(&[0, 0, 0, 1, 6, 100, 560, 1460, 1480, 1481]);
    packet.payload(&vec![input.next(); len])
}

/// What a good packet may be besides; true when it has a tag now.
fn vary(packet: PacketBuilder, input: &mut Bytes<'_>) -> (PacketBuilder, bool) {
    let with = input.next();
    let packet = match with {
        0..=0x7f => packet,
        0x80..=0x9f => packet.df(),
        0xa0..=0xaf => packet.tos(input.next()),
        0xb0..=0xb7 => packet.ttl(input.next() & 3),
        0xb8..=0xbf => packet.ttl(255),
        // Of IPv6 a header of options for the destination.
        0xc0..=0xc7 => packet
            .ip_options(match input.once_in(3) {
                false => &[1, 1, 1, 1],
                // A route by 10.0.0.1.
                true => &[131, 7, 4, 10, 0, 0, 1],
            })
            .extension(60, &[0, 0, 1, 4, 0, 0, 0, 0]),
        0xc8..=0xcb => packet.fragment(0, true),
        0xcc..=0xcf => packet.fragment(64, input.once_in(2)),
        0xd0..=0xd7 => packet.tcp_options(&[1, 1, 1, 1]),
        0xd8..=0xdb => return (packet.vlan(input.of(&[0, 7, 9])), true),
        0xdc => return (packet.vlan(7).vlan(8), true),
        0xdd => return (packet.service_vlan(7), true),
        0xe0..=0xef => packet.pad_to(60),
        0xf0..=0xf7 => packet.pad_to(120),
        _ => packet.df().id(u32::from(input.next())),
    };
    (packet, false)
}

/// The packet in fragments, some of them lost, twice or changed, in any order.
pub(super) fn pieces(bytes: &[u8], input: &mut Bytes<'_>) -> Vec<MemFrame> {
    let Ok(Parsed::Ip(headers)) = weir_wire::parse(bytes, true) else {
        return vec![MemFrame::new(bytes)];
    };
    let mtu = input.of(&[68, 76, 100, 200]);
    let link = usize::from(headers.l3);
    let mut frames = Vec::new();
    for piece in fragment::plan(bytes, &headers, mtu) {
        let mut frame = bytes[..link].to_vec();
        frame.resize(link + usize::from(mtu), 0);
        let id = u32::from(input.next() & 1);
        let len = fragment::write_fragment(&mut frame[link..], bytes, &headers, &piece, id);
        frame.truncate(link + len);
        match input.next() {
            0xff => continue,
            0xfe => frames.push(frame.clone()),
            0xfd => frame.truncate(link + len - input.below(len)),
            _ => {}
        }
        let at = input.below(frames.len() + 1);
        frames.insert(at, frame);
    }
    frames.iter().map(|frame| MemFrame::new(frame)).collect()
}

/// The packet's bytes, some of them changed now and then.
fn damage(packet: PacketBuilder, input: &mut Bytes<'_>) -> Vec<u8> {
    let mut bytes = packet.build();
    match input.next() {
        0xff => bytes.truncate(input.below(80)),
        // For another station, or for many.
        0xfe => bytes[..6].copy_from_slice(&input.of(&[
            Mac([2, 0, 0, 0, 9, 9]).0,
            Mac([0xff; 6]).0,
            Mac([1, 0, 0x5e, 0, 0, 1]).0,
            LAN_MAC.0,
        ])),
        // A wrong IP checksum.
        0xfd => bytes[24] ^= input.next(),
        // A wrong TCP or UDP checksum: it has to stay as wrong as it is.
        0xf4..=0xfc => {
            let at = match (bytes[12], bytes[20], bytes[23]) {
                (0x86, 6, _) => 70,
                (0x86, ..) => 60,
                (_, _, 6) => 50,
                _ => 40,
            };
            let wrong = input.of(&[[0, 0], [0xff, 0xff], [0x12, 0x34], [0, 1]]);
            if let Some(field) = bytes.get_mut(at..at + 2) {
                field.copy_from_slice(&wrong);
            }
        }
        // Anything in the headers, the IP checksum made right again.
        0xe4..=0xf3 => {
            let at = input.of(match bytes[12] {
                0x86 => &[14, 15, 16, 18, 19, 20, 21, 22, 38, 54, 56, 58, 59, 66, 67],
                _ => &[15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 34, 38, 39, 46, 47],
            });
            if let Some(byte) = bytes.get_mut(at) {
                *byte = input.next();
            }
            if bytes[12] != 0x86 {
                refill_ip_checksum(&mut bytes);
            }
        }
        // A source of IPv6 that is an address of IPv4.
        0xe0..=0xe3 if bytes[12] == 0x86 => {
            bytes[22..32].fill(0);
            bytes[32..34].fill(0xff);
        }
        _ => {}
    }
    bytes
}

fn refill_ip_checksum(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(14..34) else {
        return;
    };
    header[10..12].fill(0);
    let words = header
        .chunks_exact(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let check = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&check.to_be_bytes());
}
