//! The header of a packet put together from fragments.

use super::{MORE, OFFSET};
use crate::addr::Family;
use crate::bytes::{get_u16, put};
use crate::checksum;
use crate::headers::Headers;
use crate::parser::{V6_LEN, fragment_header_at};

/// The marks of congestion that the fragments of a packet carry, one bit for each of the four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnSeen(u8);

impl EcnSeen {
    /// Those of none.
    pub const EMPTY: Self = Self(0);

    const NOT_CAPABLE: u8 = 1;
    const CONGESTED: u8 = 1 << 3;

    /// With that of one more fragment.
    #[must_use]
    pub const fn with(self, tos: u8) -> Self {
        Self(self.0 | 1 << (tos & 3))
    }

    /// The bits to set in the type of service of the whole: one congested fragment makes all of it
    /// congested. None when some tell of a capable transport and others do not: such a packet is
    /// dropped (RFC 3168 §5.3).
    #[must_use]
    pub const fn whole(self) -> Option<u8> {
        if self.0 & Self::NOT_CAPABLE != 0 && self.0 != Self::NOT_CAPABLE {
            None
        } else if self.0 & Self::CONGESTED != 0 {
            Some(3)
        } else {
            Some(0)
        }
    }
}

/// Writes the IP header of a whole packet with `payload_len` bytes behind it to the front of `buf`,
/// given its first fragment. Gives its length; 0 and nothing of use written when the whole would be
/// longer than an IP packet can be, or does not fit.
///
/// It is the first fragment's, without what says that it is one. `ecn` is added to the type of
/// service; `dont_fragment` says whether the whole of IPv4 is not to be cut smaller.
pub fn write_header(
    buf: &mut [u8],
    first: &[u8],
    headers: &Headers,
    payload_len: usize,
    ecn: u8,
    dont_fragment: bool,
) -> usize {
    let written = match headers.family() {
        Family::V4 => write_v4(buf, first, headers, payload_len, ecn, dont_fragment),
        Family::V6 => write_v6(buf, first, headers, payload_len, ecn),
    };
    written.unwrap_or(0)
}

fn write_v4(
    buf: &mut [u8],
    first: &[u8],
    h: &Headers,
    payload_len: usize,
    ecn: u8,
    dont_fragment: bool,
) -> Option<usize> {
    let header = first.get(usize::from(h.l3)..usize::from(h.l4))?;
    let len = u16::try_from(header.len() + payload_len).ok()?;
    let to = buf.get_mut(..header.len())?;
    to.copy_from_slice(header);
    let field = get_u16(to, 6)? & !(MORE | OFFSET | 0x4000);
    let field = field | if dont_fragment { 0x4000 } else { 0 };
    *to.get_mut(1)? |= ecn;
    put(to, 2, len.to_be_bytes());
    put(to, 6, field.to_be_bytes());
    put(to, 10, [0, 0]);
    let check = checksum::finish(checksum::sum(to, 0));
    put(to, 10, check.to_be_bytes());
    Some(header.len())
}

fn write_v6(
    buf: &mut [u8],
    first: &[u8],
    h: &Headers,
    payload_len: usize,
    ecn: u8,
) -> Option<usize> {
    let packet = h.packet(first)?;
    let (header_len, told_at) = fragment_header_at(packet)?;
    let (header, rest) = packet.split_at_checked(header_len)?;
    let next = *rest.first()?;
    let len = u16::try_from(header_len - V6_LEN + payload_len).ok()?;
    let to = buf.get_mut(..header_len)?;
    to.copy_from_slice(header);
    *to.get_mut(told_at)? = next;
    *to.get_mut(1)? |= ecn << 4;
    put(to, 4, len.to_be_bytes());
    Some(header_len)
}
