//! Resets for segments that belong to no connection (RFC 9293 §3.10.7.1).
//!
//! ```text
//!  0       2       4               8               12     13     14      16      18
//! +-------+-------+---------------+---------------+------+------+-------+-------+-------+
//! | sport | dport | seq           | ack           | 5<<4 | flags| win 0 | check | urg 0 |
//! +-------+-------+---------------+---------------+------+------+-------+-------+-------+
//! ```

use crate::addr::{Addr, Family};
use crate::bytes::{array, get_u16, get_u32, put};
use crate::checksum;
use crate::headers::{Headers, protocol, tcp_flag};
use crate::parser::{V4_LEN, V6_LEN};
use crate::rewrite::addrs;
use crate::tunnel::{v4_header, v6_header};

/// Bytes of the TCP header without options.
const TCP_LEN: usize = 20;
/// TTL of what the director sends in its own name.
pub(crate) const TTL: u8 = 64;
/// Bytes of the longest reset from its IP header on.
pub const RESET_LEN_MAX: usize = V6_LEN + TCP_LEN;

/// Whether the checksum of a segment is right; of a fragment it is not known, and taken to be wrong.
#[must_use]
pub fn checksum_ok(frame: &[u8], headers: &Headers) -> bool {
    let right = || {
        let segment = headers.payload(frame)?;
        let (src, dst) = addrs(frame, usize::from(headers.l3))?;
        let pseudo = checksum::pseudo_header(src, dst, protocol::TCP, segment.len() as u32);
        Some(checksum::finish(checksum::sum(segment, pseudo)) == 0)
    };
    headers.is_tcp() && !headers.bits.fragment() && right().unwrap_or(false)
}

/// Bytes of a reset from its IP header on.
#[inline]
#[must_use]
pub const fn reset_len(family: Family) -> usize {
    match family {
        Family::V4 => V4_LEN + TCP_LEN,
        Family::V6 => V6_LEN + TCP_LEN,
    }
}

/// Writes a reset that answers the segment in `original`, a frame with these headers, from the IP
/// header on to the front of `buf`. Gives its length, which is [`reset_len`].
///
/// None, and nothing written, for what is no TCP, is itself a reset, is a fragment (its length is
/// not known), or when `buf` is too short. Addresses and ports are those in the frame now.
pub fn write_reset(buf: &mut [u8], original: &[u8], headers: &Headers) -> Option<usize> {
    let h = headers;
    if !h.is_tcp() || h.tcp_flags & tcp_flag::RST != 0 || h.bits.fragment() {
        return None;
    }
    let len = reset_len(h.family());
    let buf = buf.get_mut(..len)?;
    let (dst, src) = addrs(original, usize::from(h.l3))?;
    // DSCP as it came; a reset is no data, so it offers no ECN (RFC 3168 §6.1.1).
    let tos = h.tos & !3;
    let ip_len = len - TCP_LEN;
    match h.family() {
        Family::V4 => {
            let df = 0x4000;
            put(
                buf,
                0,
                v4_header(tos, len as u16, 0, df, TTL, protocol::TCP, src, dst),
            );
        }
        Family::V6 => {
            put(
                buf,
                0,
                v6_header(tos, TCP_LEN as u16, protocol::TCP, TTL, src, dst),
            );
        }
    }
    put(buf, ip_len, reset(original, h, src, dst)?);
    Some(len)
}

/// Makes the segment in `frame`, which has these headers, a reset that goes on in its place. Its
/// receiver finds the sequence number that it expects next, as far as no segment was lost before
/// (RFC 9293 §3.10.7.4, RFC 5961 §3.2). Gives the headers of what the frame holds then.
///
/// None, and nothing changed, for what is no TCP, is itself a reset or is a fragment.
pub fn become_reset(frame: &mut [u8], headers: &Headers) -> Option<Headers> {
    let h = headers;
    if !h.is_tcp() || h.tcp_flags & tcp_flag::RST != 0 || h.bits.fragment() {
        return None;
    }
    let (l3, l4) = (usize::from(h.l3), usize::from(h.l4));
    let (src, dst) = addrs(frame, l3)?;
    let end = l4 + TCP_LEN;
    let segment: [u8; TCP_LEN] = *array(frame, l4)?;
    // A SYN that is sent again was seen before, and its number is used up.
    let syn = u32::from(h.tcp_flags & tcp_flag::SYN != 0);
    let seq = get_u32(&segment, 4)?.wrapping_add(syn);

    let mut reset = segment;
    put(&mut reset, 4, seq.to_be_bytes());
    reset[12] = (TCP_LEN as u8 / 4) << 4;
    reset[13] = tcp_flag::RST | h.tcp_flags & tcp_flag::ACK;
    if h.tcp_flags & tcp_flag::ACK == 0 {
        put(&mut reset, 8, [0; 4]);
    }
    // Window, checksum and urgent pointer.
    put(&mut reset, 14, [0; 6]);
    let pseudo = checksum::pseudo_header(src, dst, protocol::TCP, TCP_LEN as u32);
    let check = checksum::finish(checksum::sum(&reset, pseudo));
    put(&mut reset, 16, check.to_be_bytes());

    let packet = frame.get_mut(l3..end)?;
    let len = packet.len() as u16;
    match h.family() {
        Family::V4 => {
            put(packet, 2, len.to_be_bytes());
            put(packet, 10, [0; 2]);
            let check = checksum::finish(checksum::sum(packet.get(..l4 - l3)?, 0));
            put(packet, 10, check.to_be_bytes());
        }
        Family::V6 => put(packet, 4, (len - V6_LEN as u16).to_be_bytes()),
    }
    put(packet, l4 - l3, reset);
    Some(Headers {
        end: end as u16,
        tcp_flags: reset[13],
        ..*h
    })
}

/// The TCP header of the reset, to be sent from `src` to `dst`.
fn reset(original: &[u8], h: &Headers, src: Addr, dst: Addr) -> Option<[u8; TCP_LEN]> {
    let segment: &[u8; TCP_LEN] = array(original, usize::from(h.l4))?;
    let (seq, ack) = (get_u32(segment, 4)?, get_u32(segment, 8)?);

    let mut reset = [0; TCP_LEN];
    put(&mut reset, 0, get_u16(segment, 2)?.to_be_bytes());
    put(&mut reset, 2, get_u16(segment, 0)?.to_be_bytes());
    reset[12] = (TCP_LEN as u8 / 4) << 4;
    if h.tcp_flags & tcp_flag::ACK != 0 {
        // The peer finds the sequence number that it expects.
        put(&mut reset, 4, ack.to_be_bytes());
        reset[13] = tcp_flag::RST;
    } else {
        // Sequence number 0; everything received is acknowledged.
        put(
            &mut reset,
            8,
            seq.wrapping_add(segment_len(h, segment)).to_be_bytes(),
        );
        reset[13] = tcp_flag::RST | tcp_flag::ACK;
    }
    let pseudo = checksum::pseudo_header(src, dst, protocol::TCP, TCP_LEN as u32);
    let check = checksum::finish(checksum::sum(&reset, pseudo));
    put(&mut reset, 16, check.to_be_bytes());
    Some(reset)
}

/// SEG.LEN: sequence numbers that the segment takes, with SYN and FIN (RFC 9293 §3.3.1).
fn segment_len(h: &Headers, segment: &[u8; TCP_LEN]) -> u32 {
    let header_len = usize::from(segment[12] >> 4) * 4;
    let data = h.payload_len().saturating_sub(header_len) as u32;
    let bit = |flag| u32::from(h.tcp_flags & flag != 0);
    data + bit(tcp_flag::SYN) + bit(tcp_flag::FIN)
}
