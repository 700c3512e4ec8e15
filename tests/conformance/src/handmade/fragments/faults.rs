//! Fragments that are wrong, missing or late.

use weir_conformance::operation::Scenario;
use weir_wire::{checksum, protocol};

use super::{ETHERNET, Scene};
use crate::pieces::{piece, pieces};

/// Fragments that overlap, come again, contradict each other, or do not come at all.
pub(super) fn faults(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("faults", method, is_v6);
    // Where each begins and ends, and whether more follow.
    let cases: &[&[(usize, usize, bool)]] = &[
        // Again: the same, a part, what two carried.
        &[(0, 400, true), (0, 400, true), (400, 1008, false)],
        &[(0, 400, true), (0, 200, true), (400, 1008, false)],
        &[(0, 400, true), (200, 400, true), (400, 1008, false)],
        &[
            (0, 400, true),
            (400, 800, true),
            (0, 800, true),
            (800, 1008, false),
        ],
        &[
            (0, 400, true),
            (400, 800, true),
            (200, 600, true),
            (800, 1008, false),
        ],
        &[(400, 1008, false), (400, 1008, false), (0, 400, true)],
        &[
            (0, 400, true),
            (800, 1008, false),
            (800, 1008, false),
            (400, 800, true),
        ],
        // Overlapping, from before, behind, around.
        &[
            (0, 400, true),
            (200, 800, true),
            (800, 1008, false),
            (400, 800, true),
        ],
        &[
            (400, 800, true),
            (0, 480, true),
            (800, 1008, false),
            (0, 400, true),
        ],
        &[
            (400, 800, true),
            (200, 900 / 8 * 8, true),
            (0, 400, true),
            (800, 1008, false),
        ],
        &[(0, 400, true), (392, 1008, false)],
        // The end contradicts.
        &[
            (0, 400, true),
            (400, 800, false),
            (800, 1008, false),
            (0, 800, true),
        ],
        &[(800, 1008, false), (0, 1008, false), (0, 800, true)],
        &[(400, 800, false), (800, 1008, true), (0, 400, true)],
        &[
            (400, 800, true),
            (800, 1008, false),
            (800, 1000, false),
            (0, 400, true),
        ],
        &[(400, 800, true), (400, 800, false), (0, 400, true)],
        &[(400, 800, false), (400, 800, true), (0, 400, true)],
        // No multiple of 8, though more follow.
        &[(0, 404, true), (400, 1008, false)],
        &[(0, 400, true), (400, 804, true), (800, 1008, false)],
        &[(400, 403, true), (0, 400, true), (400, 1008, false)],
        &[(0, 4, true), (0, 1008, false)],
        // A gap that is never filled, or no beginning.
        &[(0, 400, true), (800, 1008, false)],
        &[(400, 800, true), (800, 1008, false)],
        &[(0, 400, true), (400, 800, true)],
        // Behind it another packet with the same number.
        &[
            (0, 400, true),
            (400, 1008, false),
            (0, 400, true),
            (400, 1008, false),
        ],
        &[
            (0, 400, true),
            (400, 1008, false),
            (400, 1008, false),
            (0, 400, true),
        ],
        // Whole by itself among them.
        &[(0, 400, true), (0, 1008, false), (400, 1008, false)],
    ];
    for case in cases {
        if is_v6 && is_refused(case) {
            continue;
        }
        let (frame, id) = s.open_datagram(1000);
        let each = case
            .iter()
            .map(|&(from, to, more)| piece(&frame, from, to, more, id));
        s.send(each.collect::<Vec<_>>());
    }
    // Beyond the longest packet.
    let (long, id) = s.datagram(1000);
    let mut beyond = piece(&long, 800, 1008, false, id);
    let field = match is_v6 {
        true => ETHERNET + 40 + 2,
        false => ETHERNET + 6,
    };
    let most: u16 = if is_v6 { 0xffd8 } else { 0x1ffb };
    beyond[field..field + 2].copy_from_slice(&most.to_be_bytes());
    if !is_v6 {
        beyond[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = checksum::finish(checksum::sum(&beyond[ETHERNET..ETHERNET + 20], 0));
        beyond[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    }
    s.send([beyond]);
    // The protocol of a later one does not matter to IPv6; in IPv4 it makes it another packet's.
    let (frame, id) = s.datagram(1000);
    let (ip, _) = s.ip();
    let other = ip.id(id).raw(protocol::TCP).payload(&[0x77; 1008]).build();
    s.send([
        piece(&frame, 0, 400, true, id),
        piece(&other, 400, 1008, false, id),
        piece(&frame, 400, 1008, false, id),
    ]);
    s.end(into);
}

/// True where the first fragment is of a length that no other can follow.
fn is_refused(case: &[(usize, usize, bool)]) -> bool {
    let mut case = case.iter();
    case.any(|(from, to, more)| *from == 0 && *more && !to.is_multiple_of(8))
}

/// First fragments that Linux does not put together with others.
pub(super) fn refused(method: &str, into: &mut Vec<Scenario>) {
    for first in [8, 16, 404] {
        let mut s = Scene::new(&format!("the first of {first} bytes"), method, true);
        let (frame, id) = match first {
            404 => s.datagram(1000),
            _ => s.segment(1000),
        };
        s.send([
            piece(&frame, 0, first, true, id),
            piece(&frame, first.next_multiple_of(8), 1000, false, id),
        ]);
        s.end(into);
    }
}

/// Fragments are waited for, for half a minute or a minute, from the first to come.
pub(super) fn late(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("late", method, is_v6);
    for (ticks, first_comes_first) in [
        (2900, true),
        (3200, true),
        (3200, false),
        (5800, true),
        // The kernel's timer may be five seconds late.
        (6700, true),
        (6700, false),
    ] {
        let (frame, id) = s.datagram(1000);
        let mut all = pieces(&frame, &[400], id);
        if !first_comes_first {
            all.reverse();
        }
        s.send([all[0].clone()]);
        s.script.say(&format!("advance {ticks}"));
        s.send([all[1].clone()]);
        s.script.say("advance 7000");
        s.send(all);
    }
    s.end(into);
}
