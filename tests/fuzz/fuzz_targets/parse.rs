//! Any bytes: the parser and everything that rewrites by its headers neither panics nor reads past
//! the frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_wire::builder::addr;
use weir_wire::{Parsed, fragment, icmp, parse, parse_embedded, parse_ip, rewrite, tcp, tunnel};

fuzz_target!(|frame: &[u8]| {
    let Ok(Parsed::Ip(headers)) = parse(frame, frame.len() % 2 == 0) else {
        return;
    };
    assert!(usize::from(headers.end) <= frame.len());
    let to = if headers.is_v4() {
        addr("10.0.0.1")
    } else {
        addr("2001:db8::1")
    };
    let quoted = parse_embedded(frame, icmp::quoted_at(&headers), usize::from(headers.end));
    let mut copy = frame.to_vec();
    rewrite::set_destination(&mut copy, &headers, to, 8080);
    rewrite::set_source(&mut copy, &headers, to, 8080);
    rewrite::decrement_ttl(&mut copy, &headers);
    if let Some(quoted) = quoted {
        rewrite::set_embedded_destination(&mut copy, &quoted, to, 8080);
        rewrite::set_embedded_source(&mut copy, &quoted, to, 8080);
        rewrite::refill_icmp_checksum(&mut copy, &headers);
    }
    let mut room = vec![0; 2048 + frame.len()];
    let _ = tcp::write_reset(&mut room, frame, &headers);
    let original = &frame[usize::from(headers.l3)..usize::from(headers.end)];
    let kind = icmp::ErrorKind::TooBig { mtu: 1400 };
    icmp::write_error(
        &mut room,
        kind,
        headers.dst,
        headers.src,
        original,
        headers.tos,
    );
    for piece in fragment::plan(frame, &headers, 576) {
        fragment::write_fragment(&mut room, frame, &headers, &piece, 7);
    }
    let info = fragment::info(frame, &headers).or_else(|| fragment::atomic(frame, &headers));
    if let Some(info) = info {
        let payload = &frame[usize::from(info.at)..usize::from(headers.end)];
        let len = fragment::write_header(&mut room, frame, &headers, payload.len(), 3, true);
        assert!(len > 0);
        room.truncate(len);
        room.extend(payload);
        let whole = parse_ip(&room, 0, true);
        assert!(whole.is_ok_and(|whole| !whole.bits.fragment()) || info.offset > 0 || info.more);
    }
    for which in [
        tunnel::Tunnel::Ipip,
        tunnel::Tunnel::Gre { checksum: true },
        tunnel::Tunnel::Gue {
            port: 6080,
            checksum: true,
        },
    ] {
        let outer = tunnel::Outer {
            tunnel: which,
            src: to,
            dst: to,
            copy_df: true,
            id: 7,
        };
        let len = which.overhead(to.family());
        let mut wrapped = [vec![0; len], original.to_vec()].concat();
        tunnel::write_outer(&mut wrapped, &headers, &outer);
        let quoted = parse_embedded(&wrapped, 0, wrapped.len()).expect("an outer packet");
        assert_eq!(tunnel::in_quoted(&wrapped, &quoted), Some((which, len)));
    }
    if let Some(quoted) = quoted {
        let _ = tunnel::in_quoted(frame, &quoted);
    }
});
