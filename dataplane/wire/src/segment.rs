//! Changes within a TCP segment of a stream that the director edits: sequence numbers, selective
//! acknowledgments, payload.
//!
//! None of the functions that write touches the checksum of TCP: see [`refill_checksum`].

use core::ops::Range;

use crate::addr::Family;
use crate::bytes::{array_mut, get_u16, get_u32, put};
use crate::checksum::{self, Delta};
use crate::headers::{Headers, protocol};
use crate::rewrite::addrs;

/// Bytes of the TCP header without options.
const TCP_LEN: usize = 20;
/// The option "selective acknowledgment" (RFC 2018 §3).
const SACK: u8 = 5;

/// Where the segment's payload stands in the frame.
#[must_use]
pub fn payload(frame: &[u8], h: &Headers) -> Range<usize> {
    let (l4, end) = (usize::from(h.l4), usize::from(h.end));
    let offset = frame.get(l4 + 12).map_or(0, |byte| byte >> 4);
    (l4 + usize::from(offset) * 4).min(end)..end
}

/// Whether the checksum is right; false for what is no whole TCP segment.
#[must_use]
pub fn checksum_ok(frame: &[u8], h: &Headers) -> bool {
    h.is_tcp() && !h.bits.fragment() && sum(frame, h).is_some_and(|sum| checksum::finish(sum) == 0)
}

/// Computes the checksum anew. Makes any damage look right: check with [`checksum_ok`] before.
pub fn refill_checksum(frame: &mut [u8], h: &Headers) {
    let at = usize::from(h.l4) + 16;
    put(frame, at, [0, 0]);
    if let Some(sum) = sum(frame, h) {
        put(frame, at, checksum::finish(sum).to_be_bytes());
    }
}

fn sum(frame: &[u8], h: &Headers) -> Option<u32> {
    let segment = h.payload(frame)?;
    let (src, dst) = addrs(frame, usize::from(h.l3))?;
    let pseudo = checksum::pseudo_header(src, dst, protocol::TCP, segment.len() as u32);
    Some(checksum::sum(segment, pseudo))
}

/// The sequence number.
#[must_use]
pub fn seq(frame: &[u8], h: &Headers) -> Option<u32> {
    get_u32(frame, usize::from(h.l4) + 4)
}

/// Gives the segment another sequence number.
pub fn set_seq(frame: &mut [u8], h: &Headers, seq: u32) {
    put(frame, usize::from(h.l4) + 4, seq.to_be_bytes());
}

/// Changes the acknowledgment number and the edges of all selective acknowledgments.
pub fn change_acks(frame: &mut [u8], h: &Headers, change: impl Fn(u32) -> u32) {
    let l4 = usize::from(h.l4);
    change_u32(frame, l4 + 8, &change);
    let (mut at, end) = (l4 + TCP_LEN, payload(frame, h).start);
    while let Some(option) = frame.get(at..end).filter(|option| !option.is_empty()) {
        let len = match option {
            [0, ..] => return,
            [1, ..] => 1,
            [_, len, ..] if *len >= 2 && usize::from(*len) <= option.len() => usize::from(*len),
            _ => return,
        };
        if option[0] == SACK {
            for edge in (at + 2..at + len).step_by(4) {
                if edge + 4 <= at + len {
                    change_u32(frame, edge, &change);
                }
            }
        }
        at += len;
    }
}

fn change_u32(frame: &mut [u8], at: usize, change: impl Fn(u32) -> u32) {
    if let Some(field) = array_mut(frame, at) {
        *field = change(u32::from_be_bytes(*field)).to_be_bytes();
    }
}

/// Puts `text` in the place of the bytes at `at`, which belong to the payload, and corrects the
/// length and checksum of IP, and `h`. The frame is long enough for what follows to move.
///
/// False, and nothing changed, when it is not, or the packet would be longer than a packet may be.
pub fn replace(frame: &mut [u8], h: &mut Headers, at: Range<usize>, text: &[u8]) -> bool {
    let end = usize::from(h.end);
    let allowed = payload(frame, h);
    if at.start > at.end || at.start < allowed.start || at.end > allowed.end {
        return false;
    }
    let new_end = end - at.len() + text.len();
    let l3 = usize::from(h.l3);
    let (Ok(header_end), Ok(ip_len)) = (u16::try_from(new_end), u16::try_from(new_end - l3)) else {
        return false;
    };
    if new_end > frame.len() {
        return false;
    }
    frame.copy_within(at.end..end, at.start + text.len());
    if let Some(place) = frame.get_mut(at.start..at.start + text.len()) {
        place.copy_from_slice(text);
    }
    h.end = header_end;
    match h.family() {
        Family::V4 => {
            let (Some(old), Some(check)) = (get_u16(frame, l3 + 2), get_u16(frame, l3 + 10)) else {
                return false;
            };
            let delta = Delta::default().replace_u16(old, ip_len);
            put(frame, l3 + 2, ip_len.to_be_bytes());
            put(frame, l3 + 10, delta.apply(check).to_be_bytes());
        }
        Family::V6 => put(frame, l3 + 4, ip_len.saturating_sub(40).to_be_bytes()),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{PacketBuilder, addr};
    use crate::{Mac, Parsed, parse};
    use std::vec;
    use std::vec::Vec;

    fn frame(v4: bool) -> PacketBuilder {
        let (src, dst) = match v4 {
            true => (addr("192.0.2.1"), addr("198.51.100.1")),
            false => (addr("2001:db8::1"), addr("2001:db8::2")),
        };
        PacketBuilder::eth(Mac([2; 6]), Mac([4; 6])).ip(src, dst)
    }

    fn headers(frame: &[u8]) -> Headers {
        match parse(frame, true) {
            Ok(Parsed::Ip(headers)) => headers,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_replaced_text_of_any_length_gives_the_packet_that_would_have_been_built() {
        for v4 in [true, false] {
            for text in ["", "x", "same", "longer than before"] {
                let tcp = frame(v4).tcp(21, 4000).tcp_options(&[1, 1, 1, 1]).seq(7);
                let before = tcp.clone().payload(b"a same z").build();
                let mut bytes = before.clone();
                let mut h = headers(&bytes);
                let at = payload(&bytes, &h).start + 2;
                bytes.resize(bytes.len() + 32, 0xee);
                assert!(replace(&mut bytes, &mut h, at..at + 4, text.as_bytes()));
                refill_checksum(&mut bytes, &h);
                bytes.truncate(usize::from(h.end));
                let wanted = [b"a ", text.as_bytes(), b" z"].concat();
                assert_eq!(bytes, tcp.payload(&wanted).build(), "{text:?}");
                assert!(checksum_ok(&bytes, &headers(&bytes)));
            }
        }
    }

    #[test]
    fn what_is_no_payload_or_has_no_room_stays() {
        let whole = frame(true).tcp(21, 4000).payload(b"abcdef").build();
        let h = headers(&whole);
        let inside = payload(&whole, &h);
        let cases = [
            (inside.start..inside.start + 1, &b"xy"[..]),
            (inside.start - 1..inside.end, b""),
            (inside.start..inside.end + 1, b""),
        ];
        for (at, text) in cases {
            let (mut bytes, mut changed) = (whole.clone(), h);
            assert!(!replace(&mut bytes, &mut changed, at, text));
            assert_eq!(bytes, whole);
        }
    }

    #[test]
    fn numbers_and_selective_acknowledgments_change_together() {
        // Two blocks, and one that is cut off by its own length.
        let mut options: Vec<u8> = vec![1, 1, 5, 18];
        for edge in [1000u32, 2000, 3000, 4000] {
            options.extend(edge.to_be_bytes());
        }
        let build = |options: &[u8], ack| {
            let tcp = frame(true).tcp(4000, 21).tcp_options(options);
            tcp.seq(5).ack(ack).payload(b"data").build()
        };
        let mut bytes = build(&options, 900);
        let h = headers(&bytes);
        change_acks(&mut bytes, &h, |n| n.wrapping_sub(100));
        refill_checksum(&mut bytes, &h);
        let mut wanted: Vec<u8> = vec![1, 1, 5, 18];
        for edge in [900u32, 1900, 2900, 3900] {
            wanted.extend(edge.to_be_bytes());
        }
        assert_eq!(bytes, build(&wanted, 800));
        // Options that make no sense end the search.
        for options in [
            &[5u8, 0, 1, 1][..],
            &[5, 40, 0, 0],
            &[8, 1, 5, 2],
            &[0, 5, 2, 2],
        ] {
            let mut bytes = build(options, 900);
            let h = headers(&bytes);
            change_acks(&mut bytes, &h, |_| 0);
            refill_checksum(&mut bytes, &h);
            assert_eq!(bytes, build(options, 0));
        }
    }

    #[test]
    fn a_damaged_segment_is_told() {
        let mut bytes = frame(false).tcp(21, 4000).payload(b"abcdef").build();
        let h = headers(&bytes);
        assert!(checksum_ok(&bytes, &h));
        *bytes.last_mut().expect("a byte") ^= 1;
        assert!(!checksum_ok(&bytes, &h));
    }
}
