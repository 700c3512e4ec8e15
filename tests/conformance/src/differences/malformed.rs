//! Wanted differences about packets whose headers make no sense.

use weir_conformance::bytes::Bytes;
use weir_wire::protocol;

use super::Case;
use super::icmp::is_silent;

const ETHERNET: usize = 14;
const HEADER_V6: usize = 40;
/// More extension headers of IPv6 nobody follows.
const EXTENSIONS_MAX: usize = 8;

/// Weir sends nothing on and says nothing of a packet whose headers after the first make no sense.
pub(super) fn is_malformed(case: &Case<'_>) -> bool {
    case.frames().is_some_and(|(kernel, weir)| {
        is_silent(weir) && !is_silent(kernel) && kernel.frame.as_ref().is_some_and(has_fault)
    })
}

/// Looked for without Weir's own parser, which would call faulty what it does not understand.
fn has_fault(frame: &Bytes) -> bool {
    let frame = &frame.0[..];
    let Some(packet) = frame.get(ETHERNET..) else {
        return false;
    };
    let found = match frame.get(12..14) {
        Some([8, 0]) => behind_v4(packet),
        Some([0x86, 0xdd]) => match behind_v6(packet) {
            Some(Behind::Fault) => return true,
            Some(Behind::Transport(protocol, payload)) => Some((protocol, payload)),
            None => None,
        },
        _ => None,
    };
    found.is_some_and(|(protocol, payload)| is_faulty_transport(protocol, payload))
}

/// The transport header of a whole packet whose IPv4 header is as it should be.
fn behind_v4(packet: &[u8]) -> Option<(u8, &[u8])> {
    let header = usize::from(packet.first()? & 15) * 4;
    let len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let is_fragment = packet.get(6)? & 0x3f != 0 || *packet.get(7)? != 0;
    let payload = packet.get(header..len)?;
    (header >= 20 && !is_fragment).then_some((packet[9], payload))
}

enum Behind<'p> {
    Fault,
    Transport(u8, &'p [u8]),
}

fn behind_v6(packet: &[u8]) -> Option<Behind<'_>> {
    let len = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
    let packet = packet.get(..HEADER_V6 + len)?;
    let (mut next, mut at) = (packet[6], HEADER_V6);
    let mut count = 0;
    while let protocol::HOPOPTS | protocol::ROUTING | protocol::DSTOPTS = next {
        let is_late = next == protocol::HOPOPTS && count > 0;
        count += 1;
        if is_late || count > EXTENSIONS_MAX {
            return Some(Behind::Fault);
        }
        let header = packet.get(at..at + 8)?;
        if next == protocol::ROUTING && header[3] > 0 {
            return Some(Behind::Fault);
        }
        next = header[0];
        at += 8 * (usize::from(header[1]) + 1);
    }
    Some(Behind::Transport(next, packet.get(at..)?))
}

fn is_faulty_transport(protocol: u8, payload: &[u8]) -> bool {
    let lies = |least: usize, at: usize, len: fn(&[u8]) -> usize| {
        payload.get(at..at + 2).is_none_or(|field| {
            payload.len() < least || !(least..=payload.len()).contains(&len(field))
        })
    };
    match protocol {
        protocol::TCP => lies(20, 12, |field| usize::from(field[0] >> 4) * 4),
        protocol::UDP => lies(8, 4, |field| {
            usize::from(u16::from_be_bytes([field[0], field[1]]))
        }),
        protocol::SCTP => payload.len() < 12,
        _ => false,
    }
}
