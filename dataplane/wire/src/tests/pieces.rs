//! Packets inside others, and packets in pieces.

use super::*;
use crate::addr::Family;
use crate::bytes::get_u16;
use crate::fragment::{self, EcnSeen};
use crate::parse_embedded;
use crate::tunnel::{self, Outer, Tunnel, write_outer};

pub(super) const TUNNELS: [Tunnel; 5] = [
    Tunnel::Ipip,
    Tunnel::Gre { checksum: false },
    Tunnel::Gre { checksum: true },
    Tunnel::Gue {
        port: 6080,
        checksum: false,
    },
    Tunnel::Gue {
        port: 6080,
        checksum: true,
    },
];

/// `frame`'s packet inside a tunnel from `src` to `dst`.
fn wrapped(frame: &[u8], tunnel: Tunnel, [src, dst]: [Addr; 2], id: u16, copy_df: bool) -> Vec<u8> {
    let h = headers(frame);
    let inner = h.packet(frame).expect("in the frame");
    let len = tunnel.overhead(dst.family());
    // What stood there before must not show.
    let mut buf = [&std::vec![0xa5; len][..], inner].concat();
    let outer = Outer {
        tunnel,
        src,
        dst,
        copy_df,
        id,
    };
    write_outer(&mut buf, &h, &outer);
    buf
}

proptest! {
    #[test]
    fn a_tunnel_packet_is_right_outside_and_untouched_inside(
        (frame, _) in frames(), outer_hosts in hosts(), id: u16, copy_df: bool, kind in 0usize..5,
    ) {
        let h = headers(&frame);
        let inner = h.packet(&frame).expect("in the frame");
        let [src, dst, ..] = outer_hosts;
        let tunnel = TUNNELS[kind];
        let buf = wrapped(&frame, tunnel, [src, dst], id, copy_df);
        let outer = crate::parse_ip(&buf, 0, true).expect("right");
        prop_assert_eq!((outer.src, outer.dst, outer.ttl), (src, dst, h.ttl));
        prop_assert_eq!(usize::from(outer.end), buf.len());
        let ecn = if h.tos & 3 == 3 { 2 } else { h.tos & 3 };
        prop_assert_eq!(outer.tos, h.tos & !3 | ecn);
        let inside = if h.is_v4() { protocol::IPIP } else { protocol::IPV6 };
        let between = outer.payload(&buf).expect("in the packet");
        match tunnel {
            Tunnel::Ipip => {
                prop_assert_eq!(outer.protocol, inside);
                prop_assert_eq!(between, inner);
            }
            Tunnel::Gre { checksum } => {
                prop_assert_eq!(outer.protocol, protocol::GRE);
                prop_assert_eq!(get_u16(between, 0), Some(if checksum { 0x8000 } else { 0 }));
                prop_assert_eq!(get_u16(between, 2), Some(if h.is_v4() { 0x800 } else { 0x86dd }));
                let right = crate::checksum::finish(crate::checksum::sum(between, 0)) == 0;
                prop_assert!(right || !checksum);
                prop_assert_eq!(&between[if checksum { 8 } else { 4 }..], inner);
            }
            Tunnel::Gue { port, checksum } => {
                prop_assert_eq!(outer.dst_port, port);
                prop_assert!((32768..60999).contains(&outer.src_port));
                prop_assert_eq!(get_u16(between, 6) == Some(0), !checksum);
                prop_assert_eq!(&between[8..12], &[0, inside, 0, 0]);
                prop_assert_eq!(&between[12..], inner);
                prop_assert!(!checksum || check(&buf) == Ok(buf.len()));
            }
        }
        if dst.is_v4() {
            let df = copy_df && h.bits.dont_fragment();
            prop_assert_eq!(outer.bits.dont_fragment(), df);
            prop_assert_eq!([buf[4], buf[5]], if df { [0; 2] } else { id.to_be_bytes() });
            let sliced = etherparse::Ipv4Header::from_slice(&buf).expect("IPv4").0;
            prop_assert_eq!(sliced.calc_header_checksum(), sliced.header_checksum);
        }
    }

    #[test]
    fn what_a_quoted_tunnel_carries_is_found(
        (frame, _) in frames(), outer_hosts in hosts(), kind in 0usize..5, quoted in 0usize..120,
    ) {
        let [src, dst, ..] = outer_hosts;
        let tunnel = TUNNELS[kind];
        let buf = wrapped(&frame, tunnel, [src, dst], 1, true);
        let len = tunnel.overhead(dst.family());
        let quote = &buf[..quoted.min(buf.len())];
        let outer = parse_embedded(quote, 0, quote.len());
        let found = outer.and_then(|outer| tunnel::in_quoted(quote, &outer));
        if let Some(found) = found {
            prop_assert_eq!(found, (tunnel, len));
        } else {
            prop_assert!(quote.len() < len);
        }
    }

    #[test]
    fn ipv4_fragments_fit_and_make_the_packet_again(
        options in vec(Just(1u8), 0..=40), len in 0usize..3000, mtu in 68u16..1500, df: bool,
        base in 0u16..1000, more: bool,
    ) {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut frame = from_client_v4().id(9).ip_options(&options).fragment(base * 8, more);
        if df {
            frame = frame.df();
        }
        let frame = frame.raw(protocol::ESP).payload(&payload).build();
        let h = headers(&frame);
        let pieces: Vec<_> = fragment::plan(&frame, &h, mtu).collect();
        let (mut whole, mut buf) = (Vec::<u8>::new(), [0; 1500]);
        for (i, piece) in pieces.iter().enumerate() {
            let written = fragment::write_fragment(&mut buf, &frame, &h, piece, 0);
            prop_assert!(written > 0 && written <= usize::from(mtu));
            prop_assert_eq!(check(&buf[..written]), Ok(written));
            let part = crate::parse_ip(&buf, 0, true).expect("right");
            let (at, last) = (usize::from(base) * 8 + whole.len(), i + 1 == pieces.len());
            let info = fragment::info(&buf, &part);
            prop_assert_eq!(info.map_or(0, |info| usize::from(info.offset)), at);
            prop_assert_eq!(info.is_some_and(|info| info.more), more || !last);
            prop_assert_eq!(part.bits.dont_fragment(), df);
            whole.extend(&buf[usize::from(part.l4)..written]);
            prop_assert!(last || whole.len() % 8 == 0);
        }
        prop_assert_eq!(whole, payload);
    }

    #[test]
    fn ipv6_fragments_fit_and_make_the_packet_again(
        extensions in option::of(0u8..3), len in 1usize..3000, mtu in 1280u16..1500, id: u32,
        tos: u8,
    ) {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut frame = from_client_v6().tos(tos);
        if let Some(n) = extensions {
            let mut options = std::vec![0; 8 + usize::from(n) * 8];
            options[1] = n;
            frame = frame.extension(protocol::HOPOPTS, &options);
        }
        let frame = frame.extension(protocol::ROUTING, &[0; 8]).udp(1, 2).payload(&payload).build();
        let h = headers(&frame);
        let packet = h.packet(&frame).expect("in the frame");
        let (mut whole, mut buf) = (Vec::<u8>::new(), [0; 1500]);
        let mut first = None;
        for piece in fragment::plan(&frame, &h, mtu) {
            let written = fragment::write_fragment(&mut buf, &frame, &h, &piece, id);
            prop_assert!(written > 0 && written <= usize::from(mtu));
            let part = crate::parse_ip(&buf, 0, true).expect("right");
            prop_assert_eq!(usize::from(part.end), written);
            let info = fragment::info(&buf, &part).or(fragment::atomic(&buf, &part));
            let info = info.expect("a fragment header");
            prop_assert_eq!((info.id, usize::from(info.offset)), (id, whole.len()));
            whole.extend(&buf[usize::from(info.at)..written]);
            prop_assert_eq!(info.more, whole.len() < 8 + len);
            prop_assert!(!info.more || whole.len() % 8 == 0);
            first.get_or_insert((buf, part));
        }
        let (first, part) = first.expect("a piece");
        let mut again = std::vec![0; 200];
        let header = fragment::write_header(&mut again, &first, &part, whole.len(), 0, false);
        again.truncate(header);
        again.extend(whole);
        prop_assert_eq!(&again[..], packet);
    }

    #[test]
    fn a_first_fragment_of_ipv4_gives_the_header_of_the_whole(
        options in vec(Just(1u8), 0..=40), len in 8usize..3000, df: bool,
    ) {
        let payload = std::vec![7; len];
        let whole = from_client_v4().id(9).ip_options(&options).raw(protocol::ESP);
        let whole = if df { whole.df() } else { whole };
        let frame = whole.payload(&payload).build();
        let h = headers(&frame);
        let mut buf = [0; 1500];
        let piece = fragment::plan(&frame, &h, 576).next().expect("a piece");
        fragment::write_fragment(&mut buf, &frame, &h, &piece, 0);
        let first = crate::parse_ip(&buf, 0, true).expect("right");
        let mut header = [0; 60];
        let written = fragment::write_header(&mut header, &buf, &first, len, 0, df);
        let packet = h.packet(&frame).expect("in the frame");
        prop_assert_eq!(&header[..written], &packet[..packet.len() - len]);
    }
}

#[test]
fn options_without_the_copied_flag_are_in_the_first_fragment_only() {
    let record_route = [7, 7, 4, 0, 0, 0, 0];
    let router_alert = [148, 4, 0, 0];
    let options = [&record_route[..], &router_alert, &[0]].concat();
    let frame = from_client_v4()
        .ip_options(&options)
        .raw(protocol::ESP)
        .payload(&[0; 100])
        .build();
    let (h, mut buf) = (headers(&frame), [0; 100]);
    let mut of = |n: usize| {
        let piece = fragment::plan(&frame, &h, 100).nth(n).expect("two pieces");
        fragment::write_fragment(&mut buf, &frame, &h, &piece, 0);
        buf[20..32].to_vec()
    };
    assert_eq!(of(0), options);
    assert_eq!(of(1), [&[1; 7][..], &router_alert, &[0]].concat());
}

#[test]
fn an_atomic_fragment_loses_its_header() {
    let plain = from_client_v6().tos(0).udp(1, 2).payload(b"abc");
    let frame = from_client_v6()
        .extension(protocol::FRAGMENT, &[0, 0, 0, 0, 0, 0, 0, 9])
        .udp(1, 2)
        .payload(b"abc")
        .build();
    let h = headers(&frame);
    let info = fragment::atomic(&frame, &h).expect("an atomic fragment");
    assert_eq!((info.id, info.offset, info.more), (9, 0, false));
    let mut whole = std::vec![0; 40];
    let payload = &frame[usize::from(info.at)..];
    let len = fragment::write_header(&mut whole, &frame, &h, payload.len(), 0, false);
    whole.truncate(len);
    whole.extend(payload);
    assert_eq!(whole, plain.build_ip());
}

#[test]
fn a_whole_longer_than_a_packet_can_be_has_no_header() {
    for (from_client, longest) in [(from_client_v4(), 65515), (from_client_v6(), 65535)] {
        let frame = from_client.fragment(0, true).raw(protocol::UDP);
        let frame = frame.payload(&[0; 8]).build();
        let h = headers(&frame);
        let mut buf = [0; 60];
        let mut of = |len| fragment::write_header(&mut buf, &frame, &h, len, 0, false);
        assert_eq!(of(longest), if h.family() == Family::V4 { 20 } else { 40 });
        assert_eq!(of(longest + 1), 0);
    }
}

/// RFC 3168 §5.3.
#[test]
fn one_congested_fragment_makes_the_whole_congested() {
    let seen = |marks: &[u8]| {
        let seen = marks
            .iter()
            .fold(EcnSeen::default(), |seen, tos| seen.with(*tos));
        seen.whole()
    };
    assert_eq!(seen(&[0xb8, 0xb8]), Some(0));
    assert_eq!(seen(&[2, 2, 1]), Some(0));
    assert_eq!(seen(&[2, 3]), Some(3));
    assert_eq!(seen(&[3]), Some(3));
    assert_eq!(seen(&[0, 2]), None);
    assert_eq!(seen(&[0, 3]), None);
}
