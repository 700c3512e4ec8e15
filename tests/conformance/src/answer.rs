//! Answers to what left the director, made from the frame itself: nobody knows beforehand which
//! server is chosen.

use weir_wire::builder::PacketBuilder;
use weir_wire::{Addr, Mac, Parsed, protocol};

use crate::bytes::Bytes;
use crate::place::{self, Leg};

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A segment the other way, with these flags and so many bytes of data.
    Tcp {
        /// As in the header.
        flags: u8,
        /// Bytes.
        data: u16,
    },
    /// A datagram the other way with so many bytes of data.
    Udp {
        /// Bytes.
        data: u16,
        /// Its checksum is filled in.
        has_checksum: bool,
    },
    /// An SCTP packet the other way with one chunk of this type.
    Sctp {
        /// The chunk's type.
        chunk: u8,
    },
    /// An ICMP error about the frame.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
        /// The word after the checksum.
        word: u32,
        /// Most bytes of the packet that are quoted.
        quoted: u16,
        /// From the leg's router, not from the frame's destination.
        is_from_router: bool,
    },
}

/// Data of answers and requests: recognisable, and different at every place.
#[must_use]
pub fn data(len: u16) -> Vec<u8> {
    (0..len).map(|at| b'a' + (at % 26) as u8).collect()
}

/// The frame that answers `frame`, which left the director by `leg`. None when it cannot be answered
/// so, and for a server that was reached by DR or TUN over IPv6: it answers the client itself. (Over
/// IPv4 it is made to answer by the director all the same, which drops that.)
#[must_use]
pub fn answer(frame: &[u8], leg: Leg, what: &Answer) -> Option<Bytes> {
    let outer = ip(frame)?;
    if let Answer::Icmp {
        icmp_type,
        code,
        word,
        quoted,
        is_from_router,
    } = *what
    {
        let packet = &frame[usize::from(outer.l3)..usize::from(outer.end)];
        let [router_v4, router_v6] = leg.routers();
        let from = match (is_from_router, outer.dst.is_v4()) {
            (false, _) => outer.dst,
            (true, true) => Addr::from(router_v4),
            (true, false) => Addr::from(router_v6),
        };
        let quote = &packet[..packet.len().min(usize::from(quoted))];
        let mac = if is_from_router {
            leg.router()
        } else {
            from_mac(frame)
        };
        let eth = PacketBuilder::eth(mac, leg.director());
        let error = eth
            .ip(from, outer.src)
            .icmp_error(icmp_type, code, word, quote);
        return Some(Bytes(error.build()));
    }
    let inner = innermost(frame)?;
    if leg == Leg::Server && place::vips_v6().map(Addr::from_v6).contains(&inner.dst) {
        return None;
    }
    let eth = PacketBuilder::eth(from_mac(frame), leg.director()).ip(inner.dst, inner.src);
    let (src, dst) = (inner.dst_port, inner.src_port);
    let l4 = usize::from(inner.l4);
    let built = match (what, inner.protocol) {
        (Answer::Tcp { flags, data: len }, protocol::TCP) => {
            let seq = frame.get(l4 + 4..l4 + 8)?;
            let seq = u32::from_be_bytes(seq.try_into().ok()?);
            let tcp = eth.tcp(src, dst).flags(*flags).seq(5000);
            tcp.ack(seq.wrapping_add(1)).payload(&data(*len))
        }
        (
            Answer::Udp {
                data: len,
                has_checksum,
            },
            protocol::UDP,
        ) => {
            let udp = match has_checksum {
                true => eth.udp(src, dst),
                false => eth.udp_without_checksum(src, dst),
            };
            udp.payload(&data(*len))
        }
        (Answer::Sctp { chunk }, protocol::SCTP) => eth.sctp(src, dst).payload(&[*chunk, 0, 0, 4]),
        _ => return None,
    };
    Some(Bytes(built.build()))
}

/// Whoever the frame is for.
fn from_mac(frame: &[u8]) -> Mac {
    frame.first_chunk().copied().map_or(Mac::ZERO, Mac)
}

fn ip(frame: &[u8]) -> Option<weir_wire::Headers> {
    match weir_wire::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => Some(headers),
        _ => None,
    }
}

/// The headers of the packet in the last tunnel.
fn innermost(frame: &[u8]) -> Option<weir_wire::Headers> {
    let outer = ip(frame)?;
    let l4 = usize::from(outer.l4);
    let inside = match outer.protocol {
        protocol::IPIP | protocol::IPV6 => l4,
        protocol::GRE => l4 + if frame.get(l4)? & 0x80 != 0 { 8 } else { 4 },
        protocol::UDP if matches!(frame.get(l4 + 8..l4 + 10)?, [0, 4 | 41]) => l4 + 12,
        _ => return Some(outer),
    };
    weir_wire::parse_ip(frame, inside, true).ok()
}
