//! A segment that has a host tell the numbers of a connection of its own, without harm to it.
//!
//! A host answers a SYN on a connection that is open, and a segment with a sequence number that it
//! cannot accept, with an ACK that carries the numbers which it expects (RFC 9293 §3.10.7.4, RFC 5961
//! §4.2). The segment carries a timestamp, because a host that has agreed on them may drop what has none
//! (RFC 7323 §3.2); others pass over it.
//!
//! ```text
//!  0                             20    21    22     23     24          28          32
//! +------------------------------+-----+-----+------+------+-----------+-----------+
//! | TCP header, see `tcp`        | NOP | NOP | kind | len  | TSval     | TSecr     |
//! +------------------------------+-----+-----+------+------+-----------+-----------+
//! ```

use crate::addr::{Addr, Family};
use crate::bytes::{get_u32, put};
use crate::checksum;
use crate::headers::{Headers, protocol, tcp_flag};
use crate::parser::{V4_LEN, V6_LEN};
use crate::tcp::TTL;
use crate::tunnel::{v4_header, v6_header};

/// Bytes of the TCP header with its option.
const TCP_LEN: usize = 32;
/// Less than most windows, so that a host which takes the segment for one of the connection, against
/// all odds, sends on.
const WINDOW: u16 = 1024;

/// Such a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The end in whose name it is sent: address and port.
    pub from: (Addr, u16),
    /// Who is asked: address and port.
    pub to: (Addr, u16),
    /// Its flags: ACK, SYN, or both.
    pub flags: u8,
    /// Its sequence number: any, and hard to guess.
    pub seq: u32,
    /// Its acknowledgment number: likewise.
    pub ack: u32,
}

impl Probe {
    /// Bytes from the IP header on.
    #[must_use]
    pub const fn packet_len(&self) -> usize {
        TCP_LEN
            + match self.to.0.family() {
                Family::V4 => V4_LEN,
                Family::V6 => V6_LEN,
            }
    }

    /// Writes it from the IP header on to the front of `buf`. Gives its length; none, and nothing written,
    /// when `buf` is too short.
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let len = self.packet_len();
        let buf = buf.get_mut(..len)?;
        let ((src, src_port), (dst, dst_port)) = (self.from, self.to);
        match dst.family() {
            Family::V4 => {
                let df = 0x4000;
                let total = len as u16;
                put(
                    buf,
                    0,
                    v4_header(0, total, 0, df, TTL, protocol::TCP, src, dst),
                );
            }
            Family::V6 => {
                put(
                    buf,
                    0,
                    v6_header(0, TCP_LEN as u16, protocol::TCP, TTL, src, dst),
                );
            }
        }
        let mut segment = [0; TCP_LEN];
        put(&mut segment, 0, src_port.to_be_bytes());
        put(&mut segment, 2, dst_port.to_be_bytes());
        put(&mut segment, 4, self.seq.to_be_bytes());
        if self.flags & tcp_flag::ACK != 0 {
            put(&mut segment, 8, self.ack.to_be_bytes());
        }
        segment[12] = (TCP_LEN as u8 / 4) << 4;
        segment[13] = self.flags;
        put(&mut segment, 14, WINDOW.to_be_bytes());
        put(&mut segment, 20, [1, 1, 8, 10]);
        put(&mut segment, 24, self.seq.to_be_bytes());
        let pseudo = checksum::pseudo_header(src, dst, protocol::TCP, TCP_LEN as u32);
        let check = checksum::finish(checksum::sum(&segment, pseudo));
        put(&mut segment, 16, check.to_be_bytes());
        put(buf, len - TCP_LEN, segment);
        Some(len)
    }
}

/// True for a reset that answers a probe with these numbers: who sent it knows no connection, or is
/// not the host that was asked but one on the way (RFC 9293 §3.10.7.1). `frame` has these `headers`.
#[must_use]
pub fn is_refusal(frame: &[u8], headers: &Headers, seq: u32, ack: u32) -> bool {
    if !headers.is_tcp() || headers.tcp_flags & tcp_flag::RST == 0 {
        return false;
    }
    let number = |at| get_u32(frame, usize::from(headers.l4) + at);
    match headers.tcp_flags & tcp_flag::ACK {
        0 => number(4) == Some(ack),
        // Of a SYN, which counts one.
        _ => number(8) == Some(seq.wrapping_add(1)),
    }
}
