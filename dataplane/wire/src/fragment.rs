//! Fragments: what identifies them, cutting packets into them, and putting them together again
//! (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! ```text
//!               0     4     8                    hlen   hlen+n
//! packet        | IP header | options | payload ...............................|
//! first         | copied    | copied  | n bytes |  more fragments, offset 0
//! later ones    | copied    | copied if the option says so, else no-operations | n bytes |
//! n is a multiple of 8, but for the last
//!
//! IPv6 packet   | header, hop-by-hop, routing | what may be cut ...............|
//! each piece    | copied                      | fragment header | n bytes |
//! ```

mod join;

use crate::addr::Family;
use crate::bytes::{array, get_u16, put};
use crate::checksum;
use crate::headers::{Headers, protocol};
use crate::parser::{V4_LEN, V6_LEN, fragment_header_at};

pub use join::{EcnSeen, write_header};

/// More fragments follow.
const MORE: u16 = 0x2000;
/// The bits of the offset, which counts in 8 bytes.
const OFFSET: u16 = 0x1fff;
/// Bytes of IPv6's fragment header.
const V6_FRAGMENT_LEN: usize = 8;

/// What identifies a fragment among those of its packet, besides addresses and protocol, and where
/// its piece stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Identification; 16 bits of it in IPv4.
    pub id: u32,
    /// Where its payload begins in that of the whole packet, in bytes.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// Where in the frame its payload begins. It ends with the packet.
    pub at: u16,
}

/// What the header of a fragment says; none for a whole packet.
#[must_use]
pub fn info(frame: &[u8], headers: &Headers) -> Option<FragmentInfo> {
    headers.bits.fragment().then(|| read(frame, headers))?
}

/// The fragment header of an IPv6 packet that is whole all the same (RFC 6946); none for any other.
#[must_use]
pub fn atomic(frame: &[u8], headers: &Headers) -> Option<FragmentInfo> {
    let may_be = !headers.is_v4() && headers.bits.ip_options() && !headers.bits.fragment();
    may_be.then(|| read(frame, headers))?
}

fn read(frame: &[u8], headers: &Headers) -> Option<FragmentInfo> {
    let packet = headers.packet(frame)?;
    match headers.family() {
        Family::V4 => {
            let field = get_u16(packet, 6)?;
            Some(FragmentInfo {
                id: u32::from(get_u16(packet, 4)?),
                offset: (field & OFFSET) << 3,
                more: field & MORE != 0,
                at: headers.l4,
            })
        }
        Family::V6 => {
            let (at, _) = fragment_header_at(packet)?;
            let [_, _, high, low, id @ ..] = array::<V6_FRAGMENT_LEN>(packet, at)?;
            let field = u16::from_be_bytes([*high, *low]);
            Some(FragmentInfo {
                id: u32::from_be_bytes(*id),
                offset: field & 0xfff8,
                more: field & 1 != 0,
                at: headers.l3 + (at + V6_FRAGMENT_LEN) as u16,
            })
        }
    }
}

/// A piece of a packet's payload, to be sent as a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the payload of the packet that is cut, in bytes; a multiple of 8.
    pub offset: u16,
    /// Bytes of payload.
    pub len: u16,
    /// Whether more pieces of this packet follow.
    pub more: bool,
}

/// The pieces of a packet, first to last.
#[derive(Clone, Copy, Debug)]
pub struct FragmentPlan {
    /// Payload to be cut.
    len: u16,
    /// Most bytes of payload in one fragment, a multiple of 8.
    piece_max: u16,
    /// Most bytes of payload in the last fragment.
    last_max: u16,
    next: u16,
}

/// What the fragments of a packet have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where in the packet begins what is cut.
    pub payload_at: u16,
    /// Bytes of it, 0 when less than 8 would fit behind the headers of a fragment.
    pub len: u16,
    /// Most bytes of it in a fragment. All but the last hold a multiple of 8.
    pub max: u16,
}

/// What the fragments of a packet have room for when each has to fit `mtu`. One of IPv6 is taken to be
/// whole; its fragments get a fragment header.
#[must_use]
pub fn room(frame: &[u8], headers: &Headers, mtu: u16) -> Room {
    let (header_len, payload_at) = match headers.family() {
        Family::V4 => {
            let len = headers.l4.saturating_sub(headers.l3);
            (len, len)
        }
        Family::V6 => {
            let len = unfragmentable(frame, headers).map_or(V6_LEN, |(len, _)| len) as u16;
            (len + V6_FRAGMENT_LEN as u16, len)
        }
    };
    let max = mtu.saturating_sub(header_len);
    let len = match max {
        0..8 => 0,
        _ => (headers.packet_len() as u16).saturating_sub(payload_at),
    };
    Room {
        payload_at,
        len,
        max,
    }
}

/// Plans how to cut a packet so that every fragment fits `mtu`.
///
/// A packet of IPv4 that fits gives one piece. One of IPv6 is taken to be the director's own, since
/// nobody but its source fragments it (RFC 8200 §5), and whole; it gets a fragment header even if it
/// is one piece. No piece when less than 8 bytes would fit behind the headers. Whether the packet
/// may be fragmented is for the caller to ask.
#[must_use]
pub fn plan(frame: &[u8], headers: &Headers, mtu: u16) -> FragmentPlan {
    let Room { len, max, .. } = room(frame, headers, mtu);
    FragmentPlan {
        len,
        piece_max: max & !7,
        // What follows a fragment header is counted in 8 bytes but for the last piece.
        last_max: max,
        next: 0,
    }
}

impl Iterator for FragmentPlan {
    type Item = Piece;

    #[inline]
    fn next(&mut self) -> Option<Piece> {
        let rest = self.len.checked_sub(self.next).filter(|rest| *rest > 0)?;
        let more = rest > self.last_max;
        let piece = Piece {
            offset: self.next,
            len: if more { self.piece_max } else { rest },
            more,
        };
        self.next += piece.len;
        Some(piece)
    }
}

/// Writes one fragment, IP header onward, to the front of `buf`. Gives its length; 0 and nothing
/// written when it does not fit.
///
/// The packet of IPv4 may itself be a fragment: its offset is added, and it stays the last only if
/// it was. `id` identifies the pieces of a packet of IPv6; IPv4 has its own.
pub fn write_fragment(
    buf: &mut [u8],
    frame: &[u8],
    headers: &Headers,
    piece: &Piece,
    id: u32,
) -> usize {
    let written = match headers.family() {
        Family::V4 => write_v4(buf, frame, headers, piece),
        Family::V6 => write_v6(buf, frame, headers, piece, id),
    };
    written.unwrap_or(0)
}

fn write_v4(buf: &mut [u8], frame: &[u8], h: &Headers, piece: &Piece) -> Option<usize> {
    let header = frame.get(usize::from(h.l3)..usize::from(h.l4))?;
    let from = usize::from(piece.offset);
    let payload = h.payload(frame)?.get(from..from + usize::from(piece.len))?;
    let len = header.len() + payload.len();
    let (to_header, to_payload) = buf.get_mut(..len)?.split_at_mut_checked(header.len())?;
    let old = get_u16(header, 6)?;
    to_header.copy_from_slice(header);
    to_payload.copy_from_slice(payload);

    let offset = (old & OFFSET) + piece.offset / 8;
    if piece.offset > 0 {
        drop_first_only_options(to_header.get_mut(V4_LEN..)?);
    }
    let more = if piece.more { MORE } else { old & MORE };
    let flags = old & !(MORE | OFFSET);
    put(to_header, 2, (len as u16).to_be_bytes());
    put(
        to_header,
        6,
        (flags | more | (offset & OFFSET)).to_be_bytes(),
    );
    put(to_header, 10, [0, 0]);
    let check = checksum::finish(checksum::sum(to_header, 0));
    put(to_header, 10, check.to_be_bytes());
    Some(len)
}

fn write_v6(buf: &mut [u8], frame: &[u8], h: &Headers, piece: &Piece, id: u32) -> Option<usize> {
    let packet = h.packet(frame)?;
    let (header_len, next_at) = unfragmentable(frame, h)?;
    let (header, payload) = packet.split_at_checked(header_len)?;
    let from = usize::from(piece.offset);
    let payload = payload.get(from..from + usize::from(piece.len))?;
    let len = header_len + V6_FRAGMENT_LEN + payload.len();
    let buf = buf.get_mut(..len)?;
    let (to_header, rest) = buf.split_at_mut_checked(header_len)?;
    let (to_fragment, to_payload) = rest.split_at_mut_checked(V6_FRAGMENT_LEN)?;
    to_header.copy_from_slice(header);
    to_payload.copy_from_slice(payload);
    let next = core::mem::replace(to_header.get_mut(next_at)?, protocol::FRAGMENT);
    put(to_header, 4, ((len - V6_LEN) as u16).to_be_bytes());
    let field = (piece.offset & 0xfff8) | u16::from(piece.more);
    put(to_fragment, 0, [next, 0]);
    put(to_fragment, 2, field.to_be_bytes());
    put(to_fragment, 4, id.to_be_bytes());
    Some(len)
}

/// Bytes of the part of an IPv6 packet that every fragment has, and where in it the next header is
/// told that follows it: up to the last hop-by-hop, routing or destination options header before
/// anything else, of destination options only those before a routing header or without one, as in
/// Linux.
fn unfragmentable(frame: &[u8], h: &Headers) -> Option<(usize, usize)> {
    let packet = h.packet(frame)?;
    let (mut len, mut next_at, mut is_routed) = (V6_LEN, 6, false);
    loop {
        match *packet.get(next_at)? {
            protocol::HOPOPTS => {}
            protocol::ROUTING => is_routed = true,
            protocol::DSTOPTS if !is_routed => {}
            _ => return Some((len, next_at)),
        }
        next_at = len;
        len += usize::from(*packet.get(len + 1)?) * 8 + 8;
    }
}

/// Overwrites by no-operations the options that only the first fragment carries: those without
/// the copied flag (RFC 791 §3.1).
fn drop_first_only_options(mut options: &mut [u8]) {
    const COPIED: u8 = 0x80;
    const NO_OPERATION: u8 = 1;
    while let Some(&kind) = options.first() {
        let len = match (kind, options.get(1)) {
            (0, _) => return,
            (1, _) => 1,
            // What follows a length that makes no sense cannot be told apart.
            (_, Some(len)) if *len >= 2 => usize::from(*len).min(options.len()),
            _ => options.len(),
        };
        let Some((option, rest)) = options.split_at_mut_checked(len) else {
            return;
        };
        if kind & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}
