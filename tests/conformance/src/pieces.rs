//! Frames cut into fragments.

use weir_wire::fragment::{self, Piece};
use weir_wire::{Headers, Parsed};

const ETHERNET: usize = 14;

/// The fragment of a frame's packet that carries `from..to` of its payload, and says that more follow or
/// that none do.
pub(crate) fn piece(frame: &[u8], from: usize, to: usize, more: bool, id: u32) -> Vec<u8> {
    let piece = Piece {
        offset: from as u16,
        len: (to - from) as u16,
        more,
    };
    let mut cut = frame[..ETHERNET].to_vec();
    cut.resize(ETHERNET + frame.len(), 0);
    let len = fragment::write_fragment(&mut cut[ETHERNET..], frame, &headers(frame), &piece, id);
    assert!(len > 0, "the fragment lies in the packet");
    cut.truncate(ETHERNET + len);
    cut
}

/// A frame's packet in fragments that end at these places of its payload, and one with the rest.
pub(crate) fn pieces(frame: &[u8], ends: &[usize], id: u32) -> Vec<Vec<u8>> {
    let len = payload_len(frame);
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let ends = ends.iter().copied().chain([len]);
    let each = begins.zip(ends).filter(|(from, to)| from < to);
    each.map(|(from, to)| piece(frame, from, to, to < len, id))
        .collect()
}

/// Bytes of a packet's payload, which is what is cut.
pub(crate) fn payload_len(frame: &[u8]) -> usize {
    usize::from(fragment::room(frame, &headers(frame), u16::MAX).len)
}

fn headers(frame: &[u8]) -> Headers {
    match weir_wire::parse(frame, false) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("no IP packet: {other:?}"),
    }
}
