//! What fragments carry in their headers, where they agree and where they do not.

use weir_conformance::answer::data;
use weir_conformance::operation::Scenario;
use weir_wire::protocol;

use super::super::script::Ends;
use super::{ETHERNET, Scene};
use crate::pieces::{payload_len, piece, pieces};

/// TTL, type of service, DF, options, and extension headers.
pub(super) fn header_fields(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("header fields", method, is_v6);
    for ttl in [0, 1, 2, 255] {
        let (ip, id) = s.ip();
        let frame = ip.ttl(ttl).udp(1024, 53).payload(&data(1000)).build();
        s.send(pieces(&frame, &[400, 800], id));
    }
    // Of fragments that do not agree the first counts, but for congestion.
    for (first, second, third) in [
        (0x10, 0x10, 0x10),
        (0x10, 0x20, 0x30),
        (0, 1, 1),
        (1, 1, 2),
        (2, 2, 3),
        (3, 2, 2),
        (3, 3, 0),
        (2, 0, 2),
    ] {
        let id = s.id();
        let of = |tos: u8, ttl: u8| {
            let ip = Ends::udp(1, 1024, is_v6).ip().id(id).tos(tos).ttl(ttl);
            ip.udp(1024, 53).payload(&data(1000)).build()
        };
        s.send([
            piece(&of(first, 64), 0, 400, true, id),
            piece(&of(second, 3), 400, 800, true, id),
            piece(&of(third, 1), 800, 1008, false, id),
        ]);
    }
    if is_v6 {
        extensions(&mut s);
    } else {
        dont_fragment_and_options(&mut s);
    }
    s.end(into);
}

/// Extension headers before the fragment header, in all fragments or in one, and behind it.
fn extensions(s: &mut Scene) {
    const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
    // An option to be skipped by who does not know it.
    const LONGER: [u8; 16] = [0, 1, 0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for headers in [
        &[protocol::HOPOPTS][..],
        &[protocol::DSTOPTS],
        &[protocol::HOPOPTS, protocol::DSTOPTS],
    ] {
        for (len, ends) in [
            (1000, vec![400, 800]),
            (1000, vec![200]),
            (2600, vec![1200, 2400]),
            (40, vec![8]),
        ] {
            // Of TCP the kernel reads the flags from the first of these headers.
            let (mut ip, id) = s.ip();
            for header in headers {
                ip = ip.extension(*header, &PADDING);
            }
            let frame = ip.udp(1024, 53).payload(&data(len)).build();
            s.send(pieces(&frame, &ends, id));
        }
    }
    // Only the first has it, and then only the second.
    for is_first in [true, false] {
        let id = s.id();
        let of = |has: bool| {
            let ip = Ends::udp(1, 1024, true).ip();
            let ip = match has {
                true => ip.extension(protocol::HOPOPTS, &LONGER),
                false => ip,
            };
            ip.udp(1024, 53).payload(&data(1000)).build()
        };
        s.send([
            piece(&of(is_first), 0, 400, true, id),
            piece(&of(!is_first), 400, 1008, false, id),
        ]);
    }
    // Behind the fragment header.
    for (first, second) in [(24, 400), (400, 800)] {
        let id = s.id();
        let whole = Ends::udp(1, 1024, true).ip().id(id);
        let whole = whole
            .extension(protocol::DSTOPTS, &LONGER)
            .udp(1024, 53)
            .payload(&data(1000))
            .build();
        let body = &whole[ETHERNET + 40..];
        let ip = Ends::udp(1, 1024, true).ip();
        let base = ip.raw(protocol::DSTOPTS).payload(body);
        // What is cut begins with the options, so they are no part of what all fragments have.
        let part = |from: usize, to: usize, more: bool| {
            let header = [
                &[0, 0][..],
                &(from as u16 | u16::from(more)).to_be_bytes(),
                &id.to_be_bytes(),
            ]
            .concat();
            base.clone()
                .extension(protocol::FRAGMENT, &header)
                .payload(&body[from..to])
                .build()
        };
        s.send([
            part(0, first, true),
            part(first, second, true),
            part(second, body.len(), false),
        ]);
    }
}

/// Fragments of IPv4 that may not be cut, and options that only the first has.
fn dont_fragment_and_options(s: &mut Scene) {
    for ends in [vec![400, 800], vec![200], vec![800], vec![1440]] {
        for which in 1..8_u8 {
            let id = s.id();
            let of = |is_set: bool| {
                let ip = Ends::udp(1, 1024, false).ip().id(id);
                let ip = if is_set { ip.df() } else { ip };
                ip.udp(1024, 53).payload(&data(1450)).build()
            };
            let len = payload_len(&of(false));
            let mut from = 0;
            let each = ends
                .iter()
                .copied()
                .chain([len])
                .enumerate()
                .map(|(n, to)| {
                    let piece = piece(&of(which >> n & 1 == 1), from, to, to < len, id);
                    from = to;
                    piece
                });
            let each = each.collect::<Vec<_>>();
            s.send(each);
        }
    }
    // Router alert is copied, MTU probe and no-operation are not.
    for options in [
        &[0x94, 4, 0, 0][..],
        &[11, 4, 0, 0, 0x94, 4, 0, 0],
        &[1, 1, 1, 0],
    ] {
        for ends in [vec![400, 800], vec![200], vec![800]] {
            let (ip, id) = s.ip();
            let frame = ip
                .ip_options(options)
                .udp(1024, 53)
                .payload(&data(1000))
                .build();
            s.send(pieces(&frame, &ends, id));
        }
    }
}
