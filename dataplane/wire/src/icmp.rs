//! ICMP errors: those the director sends, and what it must know of those it relays
//! (RFC 792, RFC 1191, RFC 4443, RFC 8201).
//!
//! ```text
//!  0      1      2          4                    8
//! +------+------+----------+--------------------+----------------------------------
//! | type | code | checksum | 0, or the MTU      | the packet in question, its start
//! +------+------+----------+--------------------+----------------------------------
//!            IPv4: MTU in bytes 6..8; IPv6: in 4..8, checksum with pseudo header
//! ```

use crate::addr::{Addr, Family, Mac};
use crate::bytes::{array, get_u16, get_u32, put};
use crate::checksum::{self, Delta};
use crate::headers::{Headers, protocol};
use crate::parser::{V4_LEN, V6_LEN};
use crate::tunnel::{v4_header, v6_header};

/// Bytes before the quoted packet.
const ICMP_LEN: usize = 8;
/// Longest error of IPv4 (RFC 1812 §4.3.2.3).
const V4_ERROR_MAX: usize = 576;
/// Longest error of IPv6: what every link carries (RFC 4443 §2.4 c).
const V6_ERROR_MAX: usize = 1280;
/// TTL of what the director sends in its own name.
const TTL: u8 = 64;

/// What went wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Its TTL ended here: 11/0, v6 3/0.
    TimeExceeded,
    /// Nobody serves this port: 3/3, v6 1/4.
    PortUnreachable,
    /// The host does not answer: 3/1, v6 1/3 (address unreachable).
    HostUnreachable,
    /// There is no route: 3/0, v6 1/0.
    NetUnreachable,
    /// It does not fit the next link and may not be fragmented: 3/4, v6 2/0.
    TooBig {
        /// Bytes of the longest IP packet that would.
        mtu: u32,
    },
    /// What another has told, told on.
    Told {
        /// Its type.
        icmp_type: u8,
        /// Its code.
        code: u8,
        /// The four bytes after its checksum.
        word: u32,
    },
}

impl ErrorKind {
    /// Type, code, and the four bytes after the checksum.
    const fn fields(self, family: Family) -> (u8, u8, u32) {
        match (self, family) {
            (Self::TimeExceeded, Family::V4) => (11, 0, 0),
            (Self::TimeExceeded, Family::V6) => (3, 0, 0),
            (Self::PortUnreachable, Family::V4) => (3, 3, 0),
            (Self::PortUnreachable, Family::V6) => (1, 4, 0),
            (Self::HostUnreachable, Family::V4) => (3, 1, 0),
            (Self::HostUnreachable, Family::V6) => (1, 3, 0),
            (Self::NetUnreachable, Family::V4) => (3, 0, 0),
            (Self::NetUnreachable, Family::V6) => (1, 0, 0),
            (Self::TooBig { mtu }, Family::V4) => (3, 4, clip(mtu)),
            (Self::TooBig { mtu }, Family::V6) => (2, 0, mtu),
            (
                Self::Told {
                    icmp_type,
                    code,
                    word,
                },
                _,
            ) => (icmp_type, code, word),
        }
    }
}

/// IPv4 has 16 bits for the MTU.
const fn clip(mtu: u32) -> u32 {
    if mtu > 0xffff { 0xffff } else { mtu }
}

/// Bytes of the IP packet that [`write_error`] makes about one of `original_len` bytes.
#[inline]
#[must_use]
pub fn error_len(family: Family, original_len: usize) -> usize {
    let (header_len, longest) = match family {
        Family::V4 => (V4_LEN + ICMP_LEN, V4_ERROR_MAX),
        Family::V6 => (V6_LEN + ICMP_LEN, V6_ERROR_MAX),
    };
    (header_len + original_len).min(longest)
}

/// Writes an ICMP error, IP header onward, to the front of `buf`. Gives its length, which is
/// [`error_len`]; 0 and nothing written when it does not fit or the families differ.
///
/// `src` is the address in whose name the director speaks, `dst` the sender of `original`, which
/// is the packet in question from its IP header on, and `tos` its type of service. IPv4 errors
/// take precedence "internetwork control" and the original's low bits (RFC 1812 §4.3.2.5).
pub fn write_error(
    buf: &mut [u8],
    kind: ErrorKind,
    src: Addr,
    dst: Addr,
    original: &[u8],
    tos: u8,
) -> usize {
    let family = src.family();
    let len = error_len(family, original.len());
    if dst.family() != family {
        return 0;
    }
    let Some(buf) = buf.get_mut(..len) else {
        return 0;
    };
    let (icmp_type, code, word) = kind.fields(family);
    let (ip_len, pseudo) = match family {
        Family::V4 => {
            let tos = 0xc0 | (tos & 0x1e);
            let header = v4_header(tos, len as u16, 0, 0, TTL, protocol::ICMP, src, dst);
            put(buf, 0, header);
            (V4_LEN, 0)
        }
        Family::V6 => {
            let icmp_len = len - V6_LEN;
            put(
                buf,
                0,
                v6_header(0, icmp_len as u16, protocol::ICMPV6, TTL, src, dst),
            );
            (
                V6_LEN,
                checksum::pseudo_header(src, dst, protocol::ICMPV6, icmp_len as u32),
            )
        }
    };
    let Some(icmp) = buf.get_mut(ip_len..) else {
        return 0;
    };
    put(icmp, 0, [icmp_type, code, 0, 0]);
    put(icmp, 4, word.to_be_bytes());
    for (to, from) in icmp.iter_mut().skip(ICMP_LEN).zip(original) {
        *to = *from;
    }
    let check = checksum::finish(checksum::sum(icmp, pseudo));
    put(icmp, 2, check.to_be_bytes());
    len
}

/// Whether an ICMP error about this packet may be sent (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7,
/// RFC 4443 §2.4 e): not about an ICMP error, a later fragment, what was sent to many, or when
/// its sender is no single host.
///
/// Says nothing about the rate of errors, which the caller limits.
#[must_use]
pub fn may_answer(headers: &Headers, frame: &[u8]) -> bool {
    let h = headers;
    let to_many = h.dst.is_multicast()
        || h.dst.is_broadcast()
        || array(frame, 0).is_none_or(|dst| Mac(*dst).is_multicast());
    let from_none = h.src.is_unspecified()
        || h.src.is_multicast()
        || h.src.is_loopback()
        || (h.is_v4() && h.src.v4_bits() >> 28 == 0xf);
    // Types not known here may be errors, so of IPv4 only the queries count as none.
    let error = h.is_icmp()
        && match h.family() {
            Family::V4 => !matches!(h.icmp_type, 0 | 8..=10 | 13..=18),
            Family::V6 => is_error(Family::V6, h.icmp_type),
        };
    !(to_many || from_none || error || h.bits.later_fragment())
}

/// Whether this type is an error, which quotes a packet: 3, 4, 5, 11, 12; of IPv6, all below 128.
#[inline]
#[must_use]
pub const fn is_error(family: Family, icmp_type: u8) -> bool {
    match family {
        Family::V4 => matches!(icmp_type, 3 | 4 | 5 | 11 | 12),
        Family::V6 => icmp_type < 128,
    }
}

/// Whether this type concerns the flow of the packet that it quotes, as IPVS has it: 3, 4, 11; of
/// IPv6, all errors.
#[inline]
#[must_use]
pub const fn is_related_error(family: Family, icmp_type: u8) -> bool {
    match family {
        Family::V4 => matches!(icmp_type, 3 | 4 | 11),
        Family::V6 => is_error(family, icmp_type),
    }
}

/// Where the packet that an ICMP error quotes begins.
#[inline]
#[must_use]
pub const fn quoted_at(headers: &Headers) -> usize {
    headers.l4 as usize + ICMP_LEN
}

/// The MTU in a "too big"; none if it is not one. 0 comes from routers older than RFC 1191.
#[must_use]
pub fn too_big_mtu(frame: &[u8], headers: &Headers) -> Option<u32> {
    let l4 = usize::from(headers.l4);
    if !headers.is_icmp() || headers.bits.later_fragment() {
        return None;
    }
    match (headers.family(), headers.icmp_type, headers.icmp_code) {
        (Family::V4, 3, 4) => get_u16(frame, l4 + 6).map(u32::from),
        (Family::V6, 2, _) => get_u32(frame, l4 + 4),
        _ => None,
    }
}

/// The four bytes after the checksum; 0 where there are none.
#[must_use]
pub fn word(frame: &[u8], headers: &Headers) -> u32 {
    get_u32(frame, usize::from(headers.l4) + 4).unwrap_or(0)
}

/// Puts another MTU into a "too big" and updates its checksum; no effect on anything else.
pub fn set_too_big_mtu(frame: &mut [u8], headers: &Headers, mtu: u32) {
    if too_big_mtu(frame, headers).is_none() {
        return;
    }
    let l4 = usize::from(headers.l4);
    let (Some(old), Some(check)) = (get_u32(frame, l4 + 4), get_u16(frame, l4 + 2)) else {
        return;
    };
    let new = match headers.family() {
        Family::V4 => (old & 0xffff_0000) | clip(mtu),
        Family::V6 => mtu,
    };
    put(frame, l4 + 4, new.to_be_bytes());
    put(
        frame,
        l4 + 2,
        Delta::default()
            .replace_u32(old, new)
            .apply(check)
            .to_be_bytes(),
    );
}

/// Whether the checksum of an ICMP or ICMPv6 packet is right.
#[must_use]
pub fn checksum_ok(frame: &[u8], headers: &Headers) -> bool {
    sum(frame, headers).is_some_and(|sum| checksum::finish(sum) == 0)
}

/// The sum over an ICMP packet, for IPv6 with the pseudo header, as it stands in the frame.
pub(crate) fn sum(frame: &[u8], h: &Headers) -> Option<u32> {
    let icmp = h.payload(frame)?;
    let pseudo = match h.family() {
        Family::V4 => 0,
        Family::V6 => {
            let (src, dst) = crate::rewrite::addrs(frame, usize::from(h.l3))?;
            checksum::pseudo_header(src, dst, protocol::ICMPV6, icmp.len() as u32)
        }
    };
    Some(checksum::sum(icmp, pseudo))
}
