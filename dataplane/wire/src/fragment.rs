//! Fragments: what identifies them, and cutting IPv4 packets into them (RFC 791 §3.2).
//!
//! ```text
//!               0     4     8                    hlen   hlen+n
//! packet        | IP header | options | payload ...............................|
//! first         | copied    | copied  | n bytes |  more fragments, offset 0
//! later ones    | copied    | copied if the option says so, else no-operations | n bytes |
//! n is a multiple of 8, but for the last
//! ```

use crate::addr::Family;
use crate::bytes::{array, get_u16, put};
use crate::checksum;
use crate::headers::Headers;
use crate::parser::{V4_LEN, fragment_header_at};

/// More fragments follow.
const MORE: u16 = 0x2000;
/// The bits of the offset, which counts in 8 bytes.
const OFFSET: u16 = 0x1fff;

/// What identifies a fragment among those of its packet, besides addresses and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Identification; 16 bits of it in IPv4.
    pub id: u32,
    /// Where its payload begins in that of the whole packet, in bytes.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

/// What the header of a fragment says; none for a whole packet.
#[must_use]
pub fn info(frame: &[u8], headers: &Headers) -> Option<FragmentInfo> {
    if !headers.bits.fragment() {
        return None;
    }
    let packet = headers.packet(frame)?;
    match headers.family() {
        Family::V4 => {
            let field = get_u16(packet, 6)?;
            let (offset, more) = ((field & OFFSET) << 3, field & MORE != 0);
            Some(FragmentInfo {
                id: u32::from(get_u16(packet, 4)?),
                offset,
                more,
            })
        }
        Family::V6 => {
            let [_, _, high, low, id @ ..] = array::<8>(packet, fragment_header_at(packet)?)?;
            let field = u16::from_be_bytes([*high, *low]);
            let (offset, more) = (field & 0xfff8, field & 1 != 0);
            Some(FragmentInfo {
                id: u32::from_be_bytes(*id),
                offset,
                more,
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

/// Plans how to cut an IPv4 packet so that every fragment fits `mtu`.
///
/// A packet that fits gives one piece. No piece for IPv6, which only the source fragments
/// (RFC 8200 §5), nor when less than 8 bytes would fit behind the header. Whether the packet may be
/// fragmented is for the caller to ask.
#[must_use]
pub fn plan(headers: &Headers, mtu: u16) -> FragmentPlan {
    let header_len = headers.l4.saturating_sub(headers.l3);
    let last_max = mtu.saturating_sub(header_len);
    let cannot = !headers.is_v4() || last_max < 8;
    let len = if cannot {
        0
    } else {
        headers.payload_len() as u16
    };
    FragmentPlan {
        len,
        piece_max: last_max & !7,
        last_max,
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
/// The packet may itself be a fragment: its offset is added, and it stays the last only if it was.
pub fn write_fragment(buf: &mut [u8], frame: &[u8], headers: &Headers, piece: &Piece) -> usize {
    try_write_fragment(buf, frame, headers, piece).unwrap_or(0)
}

fn try_write_fragment(buf: &mut [u8], frame: &[u8], h: &Headers, piece: &Piece) -> Option<usize> {
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
