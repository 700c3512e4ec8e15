//! IP inside IP: one IP header before the packet (RFC 2003, RFC 2473, RFC 4213).
//!
//! ```text
//! +-----------------+---------------------------------+
//! | outer IP header | inner IP packet, as it came but |
//! | proto 4 or 41   | for its TTL                     |
//! +-----------------+---------------------------------+
//! ```

use crate::addr::{Addr, Family};
use crate::bytes::put;
use crate::checksum;
use crate::headers::{Headers, protocol};
use crate::parser::{V4_LEN, V6_LEN};

/// What the outer header does not take from the inner one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The director's address towards the server.
    pub src: Addr,
    /// The server; of the family of `src`, which need not be that of the inner packet.
    pub dst: Addr,
    /// Whether the outer packet may not be fragmented when the inner IPv4 packet may not.
    pub copy_df: bool,
    /// Identification of the outer packet, used when it may be fragmented (RFC 6864 §4).
    pub id: u16,
}

/// Bytes that the outer header adds.
#[inline]
#[must_use]
pub const fn outer_len(dst_family: Family) -> usize {
    match dst_family {
        Family::V4 => V4_LEN,
        Family::V6 => V6_LEN,
    }
}

/// Writes the outer header to the front of `buf`, where the inner packet stands right behind it.
///
/// TTL and type of service are taken from the inner packet as it stands there, so its TTL has been
/// decremented before. `inner` gives its family and length. The caller has seen to it that the sum
/// of both fits the MTU.
#[inline]
pub fn write_outer(buf: &mut [u8], inner: &Headers, outer: &Outer) {
    let Some((header, packet)) = buf.split_at_mut_checked(outer_len(outer.dst.family())) else {
        return;
    };
    let Some(&[b0, b1, _, _, _, _, b6, b7, b8, ..]) = packet.first_chunk::<V4_LEN>() else {
        return;
    };
    let (tos, ttl, protocol, dont_fragment) = match inner.family() {
        Family::V4 => (b1, b8, protocol::IPIP, b6 & 0x40 != 0),
        // The outer packet may be fragmented though the inner may not: so does Linux.
        Family::V6 => (b0 << 4 | b1 >> 4, b7, protocol::IPV6, false),
    };
    let tos = outer_tos(tos);
    match outer.dst.family() {
        Family::V4 => {
            let dont_fragment = outer.copy_df && dont_fragment;
            let len = (V4_LEN + inner.packet_len()) as u16;
            let (id, flags) = if dont_fragment {
                (0, 0x4000)
            } else {
                (outer.id, 0)
            };
            put(
                header,
                0,
                v4_header(tos, len, id, flags, ttl, protocol, outer.src, outer.dst),
            );
        }
        Family::V6 => {
            let len = inner.packet_len() as u16;
            put(
                header,
                0,
                v6_header(tos, len, protocol, ttl, outer.src, outer.dst),
            );
        }
    }
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
