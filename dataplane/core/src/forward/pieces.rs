//! Where a packet is cut that leaves in fragments.

use weir_wire::Headers;
use weir_wire::fragment::{self, FragmentPlan, Piece};

use super::Packet;

/// The pieces of a packet, first to last.
pub(super) enum Pieces<S> {
    /// As they came.
    Came {
        seams: S,
        room: fragment::Room,
        at: u16,
    },
    /// Each as long as it may be.
    Anew(FragmentPlan),
}

/// The pieces that `packet` leaves in when none may be longer than `mtu`: those that it came in, unless one
/// is too long, or ends between two multiples of 8 because what was written before it or joined to it has
/// moved it. So does Linux, which keeps the fragments of a packet apart while it can.
pub(super) fn of<F, P: Packet<F>>(
    packet: &P,
    headers: &Headers,
    mtu: u16,
) -> Pieces<impl Iterator<Item = usize>> {
    let bytes = packet.bytes();
    let room = fragment::room(bytes, headers, mtu);
    let begin = usize::from(headers.l3 + room.payload_at);
    let (mut at, mut is_fitting) = (begin, true);
    for seam in packet.seams() {
        let is_last = seam == bytes.len();
        let len = seam.wrapping_sub(at);
        is_fitting &= (1..=usize::from(room.max)).contains(&len);
        is_fitting &= is_last || len.is_multiple_of(8);
        at = seam;
    }
    if is_fitting && at == bytes.len() && room.len > 0 {
        Pieces::Came {
            seams: packet.seams().map(move |seam| seam - begin),
            room,
            at: 0,
        }
    } else {
        Pieces::Anew(fragment::plan(bytes, headers, mtu))
    }
}

impl<S: Iterator<Item = usize>> Iterator for Pieces<S> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        match self {
            Self::Came { seams, room, at } => {
                let end = seams.next()? as u16;
                let offset = core::mem::replace(at, end);
                Some(Piece {
                    offset,
                    len: end.wrapping_sub(offset),
                    more: end < room.len,
                })
            }
            Self::Anew(plan) => plan.next(),
        }
    }
}
