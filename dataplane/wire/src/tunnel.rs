//! A packet inside another: IP in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784) and GUE
//! (draft-ietf-intarea-gue-09 §3.2), IPv4 and IPv6 outside and inside in every mix.
//!
//! ```text
//!           outer IP header | between                   | packet inside
//!          +----------------+---------------------------+-----------------------
//! IP in IP | proto 4 or 41  |                           | as it came but for its TTL
//! GRE      | proto 47       | flags, EtherType [, checksum, 0]
//! GUE      | proto 17       | UDP to the tunnel's port, 0, protocol 4 or 41, flags 0
//!          +----------------+---------------------------+
//! ```
//!
//! GUE's remote checksum offload stands for a checksum inside that is still to be computed. A
//! packet off a wire has its checksum, so of the two modes with a checksum one is enough here.

use crate::addr::{Addr, Family};
use crate::bytes::{array, put};
use crate::checksum;
use crate::headers::{Embedded, Headers, ether_type, protocol};
use crate::parser::{V4_LEN, V6_LEN};

const GRE_LEN: usize = 4;
/// The flag of GRE's checksum, the first bit of its header (RFC 2784 §2.1).
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_CHECKSUM_LEN: usize = 4;
const UDP_LEN: usize = 8;
const GUE_LEN: usize = 4;

/// How a packet is put inside another; IPVS's tunnel types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// Right behind the outer IP header.
    #[default]
    Ipip,
    /// Behind a GRE header without key.
    Gre {
        /// Whether the header carries a checksum of what it carries.
        checksum: bool,
    },
    /// In a UDP datagram, behind a GUE header without options.
    Gue {
        /// The datagram's destination port.
        port: u16,
        /// Whether the datagram's checksum is filled in.
        checksum: bool,
    },
}

impl Tunnel {
    /// Bytes between the outer IP header and the packet inside.
    #[inline]
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::Ipip => 0,
            Self::Gre { checksum: false } => GRE_LEN,
            Self::Gre { checksum: true } => GRE_LEN + GRE_CHECKSUM_LEN,
            Self::Gue { .. } => UDP_LEN + GUE_LEN,
        }
    }

    /// Bytes that the tunnel adds to a packet, `family` being that of its ends.
    #[inline]
    #[must_use]
    pub const fn overhead(self, family: Family) -> usize {
        self.header_len()
            + match family {
                Family::V4 => V4_LEN,
                Family::V6 => V6_LEN,
            }
    }

    /// Whether both are of one type and lead to one port, be it with or without checksum.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Gue { port, .. }, Self::Gue { port: other, .. }) => port == other,
            _ => core::mem::discriminant(&self) == core::mem::discriminant(&other),
        }
    }

    /// The protocol that the outer header tells of, given that of the packet inside.
    const fn protocol(self, inner: u8) -> u8 {
        match self {
            Self::Ipip => inner,
            Self::Gre { .. } => protocol::GRE,
            Self::Gue { .. } => protocol::UDP,
        }
    }
}

/// What the outer headers do not take from the inner one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The tunnel's type.
    pub tunnel: Tunnel,
    /// The director's address towards the server.
    pub src: Addr,
    /// The server; of the family of `src`, which need not be that of the inner packet.
    pub dst: Addr,
    /// Whether the outer packet may not be fragmented when the inner IPv4 packet may not.
    pub copy_df: bool,
    /// Identification of the outer packet, used when it may be fragmented (RFC 6864 §4).
    pub id: u16,
}

/// What the outer headers take from the packet inside, besides what stands in its first bytes.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    /// Its ends.
    pub src: Addr,
    /// Of the family of `src`.
    pub dst: Addr,
    /// Their ports, that of the source first; 0 where there are none.
    pub ports: [u16; 2],
    /// What it carries, after the extension headers of IPv6.
    pub protocol: u8,
    /// Bytes of it, IP header onward.
    pub len: usize,
}

impl From<&Headers> for Inner {
    #[inline]
    fn from(h: &Headers) -> Self {
        Self {
            src: h.src,
            dst: h.dst,
            ports: [h.src_port, h.dst_port],
            protocol: h.protocol,
            len: h.packet_len(),
        }
    }
}

/// Writes the outer headers to the front of `buf`, where the inner packet stands right behind them
/// and ends with `buf`.
///
/// TTL and type of service are taken from the inner packet as it stands there, so its TTL has been
/// decremented before. The caller has seen to it that
/// the sum of both is no longer than an IP packet can be.
#[inline]
pub fn write_outer(buf: &mut [u8], inner: impl Into<Inner>, outer: &Outer) {
    let inner: Inner = inner.into();
    let inner_family = inner.src.family();
    let family = outer.dst.family();
    let len = outer.tunnel.overhead(family);
    let Some((headers, packet)) = buf.split_at_mut_checked(len) else {
        return;
    };
    let Some(&[b0, b1, _, _, _, _, b6, b7, b8, ..]) = packet.first_chunk::<V4_LEN>() else {
        return;
    };
    let (tos, ttl, inside, dont_fragment) = match inner_family {
        Family::V4 => (b1, b8, protocol::IPIP, b6 & 0x40 != 0),
        // The outer packet may be fragmented though the inner may not: so does Linux.
        Family::V6 => (b0 << 4 | b1 >> 4, b7, protocol::IPV6, false),
    };
    let tos = outer_tos(tos);
    let protocol = outer.tunnel.protocol(inside);
    match family {
        Family::V4 => {
            let dont_fragment = outer.copy_df && dont_fragment;
            let len = (len + inner.len) as u16;
            let (id, flags) = if dont_fragment {
                (0, 0x4000)
            } else {
                (outer.id, 0)
            };
            put(
                headers,
                0,
                v4_header(tos, len, id, flags, ttl, protocol, outer.src, outer.dst),
            );
        }
        Family::V6 => {
            let len = (outer.tunnel.header_len() + inner.len) as u16;
            put(
                headers,
                0,
                v6_header(tos, len, protocol, ttl, outer.src, outer.dst),
            );
        }
    }
    let at = len - outer.tunnel.header_len();
    match outer.tunnel {
        Tunnel::Ipip => {}
        Tunnel::Gre { checksum } => write_gre(buf.get_mut(at..), inner_family, checksum),
        Tunnel::Gue { port, checksum } => {
            let ports = [source_port(&inner), port];
            let pseudo = checksum.then_some((outer.src, outer.dst));
            write_gue(buf.get_mut(at..), inside, ports, pseudo);
        }
    }
}

/// RFC 2784 §2: the checksum is over header and packet.
fn write_gre(buf: Option<&mut [u8]>, inner: Family, with_checksum: bool) {
    let Some(buf) = buf else { return };
    let kind = match inner {
        Family::V4 => ether_type::IPV4,
        Family::V6 => ether_type::IPV6,
    };
    put(buf, 2, kind.to_be_bytes());
    if with_checksum {
        put(buf, 0, GRE_CHECKSUM.to_be_bytes());
        put(buf, 4, [0; 4]);
        let check = checksum::finish(checksum::sum(buf, 0));
        put(buf, 4, check.to_be_bytes());
    } else {
        put(buf, 0, [0; 2]);
    }
}

/// GUE's data header: variant 0, no control message, no options. `pseudo` are the ends of the
/// datagram when its checksum is to be filled in.
fn write_gue(
    buf: Option<&mut [u8]>,
    inside: u8,
    [src, dst]: [u16; 2],
    pseudo: Option<(Addr, Addr)>,
) {
    let Some(buf) = buf else { return };
    let len = buf.len() as u16;
    put(buf, 0, src.to_be_bytes());
    put(buf, 2, dst.to_be_bytes());
    put(buf, 4, len.to_be_bytes());
    put(buf, 6, [0; 2]);
    put(buf, UDP_LEN, [0, inside, 0, 0]);
    if let Some((src, dst)) = pseudo {
        let pseudo = checksum::pseudo_header(src, dst, protocol::UDP, u32::from(len));
        let check = match checksum::finish(checksum::sum(buf, pseudo)) {
            // 0 means that there is none (RFC 768).
            0 => 0xffff,
            check => check,
        };
        put(buf, 6, check.to_be_bytes());
    }
}

/// The source port of a GUE datagram: the same for all packets of a flow, and many of them for many
/// flows, so that what is shared out by ports on the way is shared out evenly. As the kernel's from
/// the range of ephemeral ports, 32768 to 60998.
#[inline]
fn source_port(inner: &Inner) -> u16 {
    const FIRST: u64 = 32768;
    const COUNT: u64 = 60999 - FIRST;
    let [src, dst] = inner.ports.map(u64::from);
    let mut hash = src << 32 | dst << 16 | u64::from(inner.protocol);
    for addr in [inner.src, inner.dst] {
        for half in [(addr.0 >> 64) as u64, addr.0 as u64] {
            hash = (hash ^ half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
    }
    (FIRST + (((hash & 0xffff_ffff) * COUNT) >> 32)) as u16
}

/// The tunnel that an outer packet quoted in an ICMP error went through, and where in the frame the
/// packet inside begins; none when it is no tunnel's, or too little of it is quoted.
///
/// Any UDP datagram may be GUE as far as its bytes tell: the caller knows which ports are tunnels'.
#[must_use]
pub fn in_quoted(frame: &[u8], outer: &Embedded) -> Option<(Tunnel, usize)> {
    let quote = frame.get(..usize::from(outer.end))?;
    let at = usize::from(outer.l4);
    let tunnel = match outer.protocol {
        protocol::IPIP | protocol::IPV6 => Tunnel::Ipip,
        protocol::GRE => {
            let [f0, f1, k0, k1] = *array(quote, at)?;
            let kind = u16::from_be_bytes([k0, k1]);
            let is_ip = matches!(kind, ether_type::IPV4 | ether_type::IPV6);
            match u16::from_be_bytes([f0, f1]) {
                0 if is_ip => Tunnel::Gre { checksum: false },
                GRE_CHECKSUM if is_ip => Tunnel::Gre { checksum: true },
                _ => return None,
            }
        }
        protocol::UDP => {
            let [.., c0, c1] = *array::<UDP_LEN>(quote, at)?;
            let [0, protocol::IPIP | protocol::IPV6, 0, 0] = *array(quote, at + UDP_LEN)? else {
                return None;
            };
            Tunnel::Gue {
                port: outer.dst_port,
                checksum: [c0, c1] != [0, 0],
            }
        }
        _ => return None,
    };
    Some((tunnel, at + tunnel.header_len()))
}

/// The type of service to show outside: a mark of congestion (CE) is not shown again, since it has
/// been met before the tunnel and stays inside (RFC 3168 §9.1.1, "full functionality").
#[inline]
pub(crate) const fn outer_tos(tos: u8) -> u8 {
    const CE: u8 = 3;
    const ECT0: u8 = 2;
    if tos & 3 == CE {
        (tos & !3) | ECT0
    } else {
        tos
    }
}

/// An IPv4 header without options, checksum done.
#[inline]
#[expect(
    clippy::too_many_arguments,
    reason = "the fields of the header, in its order"
)]
pub(crate) fn v4_header(
    tos: u8,
    total_len: u16,
    id: u16,
    flags: u16,
    ttl: u8,
    protocol: u8,
    src: Addr,
    dst: Addr,
) -> [u8; V4_LEN] {
    let (len, id, flags) = (
        total_len.to_be_bytes(),
        id.to_be_bytes(),
        flags.to_be_bytes(),
    );
    let (s, d) = (src.v4_bytes(), dst.v4_bytes());
    let mut header = [
        0x45, tos, len[0], len[1], id[0], id[1], flags[0], flags[1], ttl, protocol, 0, 0, s[0],
        s[1], s[2], s[3], d[0], d[1], d[2], d[3],
    ];
    let check = checksum::finish(checksum::sum(&header, 0)).to_be_bytes();
    (header[10], header[11]) = (check[0], check[1]);
    header
}

/// An IPv6 header with flow label 0.
#[inline]
pub(crate) fn v6_header(
    class: u8,
    payload_len: u16,
    next: u8,
    hops: u8,
    src: Addr,
    dst: Addr,
) -> [u8; V6_LEN] {
    let mut header = [0; V6_LEN];
    let len = payload_len.to_be_bytes();
    put(
        &mut header,
        0,
        [
            0x60 | class >> 4,
            class << 4,
            0,
            0,
            len[0],
            len[1],
            next,
            hops,
        ],
    );
    put(&mut header, 8, src.v6_bytes());
    put(&mut header, 24, dst.v6_bytes());
    header
}
