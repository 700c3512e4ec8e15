//! Packets of clients, and answers to what leaves the director.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use weir_conformance::answer::{Answer, data};
use weir_conformance::operation::Protocol;
use weir_conformance::place::Leg;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, FIN, PSH, RST, SYN, URG};
use weir_wire::{Addr, checksum};

use super::Theme;
use super::random::Random;
use crate::pieces::{payload_len, pieces};

/// Clients, each with few ports, so that tuples come again.
const CLIENTS: u32 = 9;
const PORTS: u32 = 6;

const ETHERNET: usize = 14;

/// A client's connection, alive or not.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) protocol: Protocol,
    pub(crate) client: SocketAddr,
    pub(crate) service: SocketAddr,
    /// The last frame of the client.
    pub(crate) last: Option<u32>,
    /// The last answer of the server.
    pub(crate) answered: Option<u32>,
}

impl Flow {
    /// Some client of a service.
    pub(crate) fn new(random: &mut Random, protocol: Protocol, service: SocketAddr) -> Self {
        let n = random.between(1, CLIENTS) as u8;
        let address = match service.is_ipv6() {
            true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, n.into())),
            false => IpAddr::V4([198, 51, 100, n].into()),
        };
        let port = 1024 + random.between(0, PORTS - 1) as u16;
        Self {
            protocol,
            client: SocketAddr::new(address, port),
            service,
            last: None,
            answered: None,
        }
    }

    fn ip(&self) -> PacketBuilder {
        let eth = PacketBuilder::eth(Leg::Client.router(), Leg::Client.director());
        eth.ip(Addr::from(self.client.ip()), Addr::from(self.service.ip()))
    }

    fn transport(&self, ip: PacketBuilder, flags: u8) -> PacketBuilder {
        let (from, to) = (self.client.port(), self.service.port());
        match self.protocol {
            Protocol::Tcp => ip.tcp(from, to).flags(flags).seq(1000).ack(5000),
            Protocol::Udp => ip.udp(from, to),
            Protocol::Sctp => ip.sctp(from, to),
        }
    }

    /// What begins it.
    pub(crate) fn first(&mut self, random: &mut Random) -> Vec<u8> {
        let ip = self.ip().id(random.between(1, 0xffff));
        let ip = if random.chance(50) { ip.df() } else { ip };
        let first = self.transport(ip, SYN);
        match self.protocol {
            Protocol::Tcp => first.build(),
            Protocol::Udp => first.payload(b"query").build(),
            Protocol::Sctp => first.payload(&sctp_chunk(1)).build(),
        }
    }

    /// Something more of it.
    pub(crate) fn next(&self, random: &mut Random, big: u32) -> Vec<u8> {
        let ip = self.ip().id(random.between(1, 0xffff));
        let ip = if random.chance(50) { ip.df() } else { ip };
        let ip = if random.chance(10) {
            ip.tos(random.between(0, 255) as u8)
        } else {
            ip
        };
        let flags = some_flags(random);
        match self.protocol {
            Protocol::Sctp => {
                let chunk = random.between(0, 14) as u8;
                self.transport(ip, 0).payload(&sctp_chunk(chunk)).build()
            }
            _ => self
                .transport(ip, flags)
                .payload(&data(some_length(random, big)))
                .build(),
        }
    }

    /// Something of it in fragments: in order or not, one twice. None is missing:
    /// what the kernel says of that, half a minute later, is nothing of the director's.
    pub(crate) fn in_pieces(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let ip = self.ip().id(random.between(1, 0xffff));
        let ip = if random.chance(20) { ip.df() } else { ip };
        let len = random.between(40, 3000) as u16;
        let frame = match self.protocol {
            Protocol::Sctp => self.transport(ip, 0).payload(&sctp_chunk(0)).build(),
            _ => self.transport(ip, ACK).payload(&data(len)).build(),
        };
        let len = payload_len(&frame);
        let size = random.one_of(&[16_usize, 64, 512, 1024, 1400]);
        let size = size.max(len / 8 / 8 * 8);
        // What has not all of its header in the first fragment is refused over IPv6.
        let least = match self.protocol {
            Protocol::Tcp if self.service.is_ipv6() => 24,
            _ => 8,
        };
        let size = size.max(least);
        let are_equal = random.chance(60);
        let mut ends = Vec::new();
        let mut at = 0;
        loop {
            at += match are_equal {
                true => size,
                false => random.between(least as u32 / 8, (size / 8) as u32) as usize * 8,
            };
            if at >= len {
                break;
            }
            ends.push(at);
        }
        let mut pieces = pieces(&frame, &ends, random.next() as u32);
        match random.between(1, 10) {
            1..=2 => pieces.reverse(),
            3..=4 => {
                let at = random.between(0, pieces.len() as u32 - 1) as usize;
                pieces.push(pieces[at].clone());
            }
            6..=7 => {
                let at = random.between(0, pieces.len() as u32 - 1) as usize;
                let first = pieces.remove(at);
                pieces.insert(0, first);
            }
            _ => {}
        }
        pieces
    }

    /// A packet that is not what it should be, or rarely is.
    pub(crate) fn odd(&self, random: &mut Random, theme: &Theme) -> Vec<u8> {
        let ip = self.ip().id(random.between(1, 0xffff));
        let flags = if random.chance(50) {
            SYN
        } else {
            some_flags(random)
        };
        // What is too short for a chunk the kernel drops wherever it goes.
        let payload = match self.protocol {
            Protocol::Sctp => sctp_chunk(1),
            _ => b"odd".to_vec(),
        };
        let whole = |ip| self.transport(ip, flags).payload(&payload);
        match random.one_of(theme.odd) {
            Odd::Ttl => whole(ip.ttl(random.between(0, 2) as u8)).build(),
            Odd::Tos => whole(ip.tos(random.between(0, 255) as u8)).build(),
            Odd::IpChecksum => spoiled(whole(ip).build(), ETHERNET + 10),
            Odd::Checksum => {
                let header = if self.client.is_ipv6() { 40 } else { 20 };
                let at = match self.protocol {
                    Protocol::Tcp => 16,
                    Protocol::Udp => 6,
                    Protocol::Sctp => 8,
                };
                spoiled(whole(ip).build(), ETHERNET + header + at)
            }
            Odd::NoChecksum => {
                let (from, to) = (self.client.port(), self.service.port());
                ip.udp_without_checksum(from, to).payload(b"odd").build()
            }
            Odd::NoService => {
                let elsewhere = Self {
                    service: SocketAddr::new(self.service.ip(), 4444),
                    ..self.clone()
                };
                elsewhere.transport(ip, flags).payload(&payload).build()
            }
            Odd::Padding => whole(ip).pad_to(80).build(),
            Odd::Echo => match self.client.is_ipv6() {
                false => ip.icmp(8, 0, 0x0001_0002).payload(b"echo").build(),
                true => ip.icmp(128, 0, 0x0001_0002).payload(b"echo").build(),
            },
            Odd::Protocol => ip
                .raw(random.one_of(&[47, 50, 51, 99, 132]))
                .payload(&[0; 24])
                .build(),
            Odd::Options => {
                // Router alert, record route, no-operation: routers leave the first and last alone.
                let options: [&[u8]; 2] = [&[0x94, 4, 0, 0], &[1, 1, 1, 0]];
                whole(ip.ip_options(options[usize::from(random.chance(50))])).build()
            }
            Odd::SourcePortZero => {
                let zero = Self {
                    client: SocketAddr::new(self.client.ip(), 0),
                    ..self.clone()
                };
                zero.transport(ip, flags).payload(&payload).build()
            }
            Odd::Truncated => {
                let frame = whole(ip).build();
                let header = if self.client.is_ipv6() { 40 } else { 20 };
                // The kernel passes on what has ports by DR and TUN.
                cut_packet(frame, header + random.between(0, 3) as usize)
            }
        }
    }
}

/// Kinds of odd packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// TTL or hop limit 0 to 2.
    Ttl,
    /// Any type of service.
    Tos,
    /// A wrong IPv4 header checksum.
    IpChecksum,
    /// A wrong checksum of the transport header.
    Checksum,
    /// UDP without checksum.
    NoChecksum,
    /// To a port without service.
    NoService,
    /// Ethernet padding.
    Padding,
    /// A ping.
    Echo,
    /// A protocol that is not balanced.
    Protocol,
    /// IPv4 options.
    Options,
    /// From port 0.
    SourcePortZero,
    /// A packet that ends in its transport header.
    Truncated,
}

/// The transport header ends after `len` bytes of the packet, which says so truly.
fn cut_packet(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(ETHERNET + len);
    if frame[12..14] == [8, 0] {
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&(len as u16).to_be_bytes());
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = checksum::finish(checksum::sum(&frame[ETHERNET..ETHERNET + 20], 0));
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        let payload = (len - 40) as u16;
        frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&payload.to_be_bytes());
    }
    frame
}

fn spoiled(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    if let Some(byte) = frame.get_mut(at) {
        *byte ^= 0x55;
    }
    frame
}

fn sctp_chunk(kind: u8) -> Vec<u8> {
    let len: u8 = if kind == 1 || kind == 2 { 20 } else { 4 };
    let mut chunk = vec![kind, 0, 0, len];
    chunk.resize(usize::from(len), 0);
    chunk
}

fn some_flags(random: &mut Random) -> u8 {
    match random.between(1, 100) {
        1..=45 => ACK,
        46..=60 => ACK | PSH,
        61..=75 => ACK | FIN,
        76..=82 => SYN,
        83..=88 => RST,
        89..=91 => RST | ACK,
        92..=94 => SYN | ACK,
        95 => 0,
        96 => FIN,
        97 => SYN | FIN,
        98 => URG | ACK,
        99 => SYN | RST,
        _ => 0xff,
    }
}

fn some_length(random: &mut Random, big: u32) -> u16 {
    match random.chance(big) {
        true => random.between(1200, 1460) as u16,
        false => random.one_of(&[0, 1, 5, 100]),
    }
}

/// A server's next packet to a client.
pub(crate) fn answer(random: &mut Random, protocol: Protocol, big: u32) -> Answer {
    match protocol {
        Protocol::Tcp => Answer::Tcp {
            flags: if random.chance(40) {
                SYN | ACK
            } else {
                some_flags(random)
            },
            data: some_length(random, big),
        },
        Protocol::Udp => Answer::Udp {
            data: some_length(random, big),
            has_checksum: random.chance(80),
        },
        Protocol::Sctp => Answer::Sctp {
            chunk: random.between(0, 14) as u8,
        },
    }
}

/// An ICMP error, sensible or not.
pub(crate) fn icmp(random: &mut Random, is_v6: bool) -> Answer {
    let (icmp_type, code, word) = match is_v6 {
        false => random.one_of(&[
            (3, 0, 0),
            (3, 1, 0),
            (3, 3, 0),
            (3, 4, 1300),
            (3, 4, 0),
            (4, 0, 0),
            (11, 0, 0),
            (11, 1, 0),
            (5, 1, 0),
            (12, 0, 0),
        ]),
        true => random.one_of(&[(1, 0, 0), (1, 4, 0), (2, 0, 1300), (3, 0, 0), (4, 0, 0)]),
    };
    Answer::Icmp {
        icmp_type,
        code,
        word,
        quoted: random.one_of(&[24, 28, 40, 68, 548, 1232]),
        is_from_router: random.chance(40),
    }
}
