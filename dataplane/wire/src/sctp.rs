//! SCTP: which chunk of a packet moves its association's state (RFC 9260 §3.2).
//!
//! ```text
//!  0            2            4                8                12     13     14        16
//! +------------+------------+----------------+----------------+------+------+---------+----
//! | source     | dest port  | verification   | CRC32c         | type | flags| length  | ...
//! +------------+------------+----------------+----------------+------+------+---------+----
//!                                                              the first chunk
//! ```

use crate::bytes::{array, get_u16};

/// Bytes before the first chunk.
const HEADER_LEN: usize = 12;
/// Bytes of a chunk's own header.
const CHUNK_LEN: usize = 4;

/// What a packet tells of its association, as IPVS has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SctpEvent {
    /// DATA, and every chunk that is none of the others.
    Data = 0,
    /// An association is asked for.
    Init,
    /// It is granted, with a cookie.
    InitAck,
    /// The cookie comes back.
    CookieEcho,
    /// The association stands.
    CookieAck,
    /// One side wants to end it.
    Shutdown,
    /// So does the other.
    ShutdownAck,
    /// It has ended.
    ShutdownComplete,
    /// One side found a fault.
    Error,
    /// It ends at once.
    Abort,
}

impl SctpEvent {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Data,
        Self::Init,
        Self::InitAck,
        Self::CookieEcho,
        Self::CookieAck,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::ShutdownComplete,
        Self::Error,
        Self::Abort,
    ];

    /// Of a chunk's type (RFC 9260 §3.2, table 1).
    const fn of_type(chunk: u8) -> Self {
        match chunk {
            1 => Self::Init,
            2 => Self::InitAck,
            6 => Self::Abort,
            7 => Self::Shutdown,
            8 => Self::ShutdownAck,
            9 => Self::Error,
            10 => Self::CookieEcho,
            11 => Self::CookieAck,
            14 => Self::ShutdownComplete,
            _ => Self::Data,
        }
    }

    /// Of a packet, given from its SCTP header on; none when there is no whole chunk header in it.
    ///
    /// The first chunk tells. Only a cookie may have an ABORT behind it that counts instead
    /// (RFC 9260 §6.10 has control chunks before an ABORT).
    #[must_use]
    pub fn of_packet(sctp: &[u8]) -> Option<Self> {
        let chunk: &[u8; CHUNK_LEN] = array(sctp, HEADER_LEN)?;
        let first = Self::of_type(chunk[0]);
        if matches!(first, Self::CookieEcho | Self::CookieAck) {
            let len = usize::from(get_u16(chunk, 2)?);
            let next = HEADER_LEN + len.next_multiple_of(4);
            let next: Option<&[u8; CHUNK_LEN]> = array(sctp, next).filter(|_| len >= CHUNK_LEN);
            if next.is_some_and(|next| Self::of_type(next[0]) == Self::Abort) {
                return Some(Self::Abort);
            }
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn packet(chunks: &[u8]) -> Vec<u8> {
        [&[0; HEADER_LEN][..], chunks].concat()
    }

    fn event(chunks: &[u8]) -> Option<SctpEvent> {
        SctpEvent::of_packet(&packet(chunks))
    }

    #[test]
    fn the_first_chunk_tells_and_what_is_unknown_counts_as_data() {
        use SctpEvent::*;
        let known = [
            (0, Data),
            (1, Init),
            (2, InitAck),
            (3, Data),
            (4, Data),
            (5, Data),
            (6, Abort),
            (7, Shutdown),
            (8, ShutdownAck),
            (9, Error),
            (10, CookieEcho),
            (11, CookieAck),
            (12, Data),
            (13, Data),
            (14, ShutdownComplete),
            (15, Data),
            (192, Data),
            (255, Data),
        ];
        for (chunk, expected) in known {
            assert_eq!(event(&[chunk, 0, 0, 4]), Some(expected), "chunk {chunk}");
            // A DATA chunk, then it.
            let second = [0, 3, 0, 4, chunk, 0, 0, 4];
            assert_eq!(event(&second), Some(Data), "then chunk {chunk}");
        }
    }

    #[test]
    fn an_abort_behind_a_cookie_counts() {
        for cookie in [10, 11] {
            let plain = SctpEvent::of_type(cookie);
            // The cookie's 6 bytes are padded to 8.
            let aborted = [cookie, 0, 0, 6, 1, 2, 0, 0, 6, 0, 0, 4];
            assert_eq!(event(&aborted), Some(SctpEvent::Abort));
            assert_eq!(event(&aborted[..11]), Some(plain), "cut off");
            let lying = [cookie, 0, 0, 3, 6, 0, 0, 4];
            assert_eq!(event(&lying), Some(plain), "shorter than its own header");
            let beyond = [cookie, 0, 0xff, 0xff, 6, 0, 0, 4];
            assert_eq!(event(&beyond), Some(plain), "longer than the packet");
            let third = [cookie, 0, 0, 4, 0, 3, 0, 4, 6, 0, 0, 4];
            assert_eq!(event(&third), Some(plain), "only the next one counts");
        }
    }

    #[test]
    fn a_packet_without_a_chunk_tells_nothing() {
        for len in 0..HEADER_LEN + CHUNK_LEN {
            assert_eq!(SctpEvent::of_packet(&packet(&[1, 0, 0, 4])[..len]), None);
        }
    }
}
