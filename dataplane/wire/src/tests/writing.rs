//! Writing: whatever was changed or made, etherparse finds every checksum right.

use super::*;
use crate::addr::Family;
use crate::builder::addr;
use crate::checksum::Delta;
use crate::headers::{Embedded, ether_type, tcp_flag};
use crate::icmp::{self, ErrorKind};
use crate::tunnel::{Outer, write_outer};
use crate::{fragment, parse_embedded, rewrite, tcp, tunnel};

/// Calls every function that writes.
pub(super) fn write_everything(frame: &mut [u8], h: &Headers, quoted: Option<&Embedded>) {
    let mut buf = [0; 1500];
    let [src, dst] = [h.dst, h.src];
    rewrite::set_destination(frame, h, dst, 1);
    rewrite::set_source(frame, h, src, 1);
    rewrite::set_ends(frame, h, (src, 2), (dst, 3));
    rewrite::decrement_ttl(frame, h);
    rewrite::increment_ttl(frame, h);
    rewrite::clear_dont_fragment(frame, usize::from(h.l3));
    rewrite::set_macs(frame, Mac::ZERO, Mac::BROADCAST);
    if let Some(quoted) = quoted {
        rewrite::set_embedded_destination(frame, quoted, dst, 1);
        rewrite::set_embedded_source(frame, quoted, src, 1);
    }
    rewrite::refill_icmp_checksum(frame, h);
    icmp::set_too_big_mtu(frame, h, 1280);
    let _ = icmp::may_answer(h, frame);
    let kind = ErrorKind::TooBig { mtu: 70_000 };
    icmp::write_error(&mut buf, kind, src, dst, frame, h.tos);
    let _ = tcp::write_reset(&mut buf, frame, h);
    for piece in fragment::plan(frame, h, 1280) {
        fragment::write_fragment(&mut buf, frame, h, &piece, 7);
    }
    fragment::write_header(&mut buf, frame, h, 9, 3, true);
    let _ = (fragment::info(frame, h), fragment::atomic(frame, h));
    for tunnel in super::pieces::TUNNELS {
        let outer = Outer {
            tunnel,
            src,
            dst,
            copy_df: true,
            id: 1,
        };
        write_outer(frame, h, &outer);
    }
    if let Some(quoted) = quoted {
        let _ = tunnel::in_quoted(frame, quoted);
    }
    rewrite::write_ethernet(frame, Mac::ZERO, Mac::ZERO, 5, ether_type::IPV4);
}

/// The packet of these headers from its IP header on.
fn packet<'f>(frame: &'f [u8], h: &Headers) -> &'f [u8] {
    h.packet(frame).expect("in the frame")
}

fn transport_check(frame: &[u8], h: &Headers) -> u16 {
    let at = usize::from(h.l4) + if h.is_tcp() { 16 } else { 6 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

proptest! {
    #[test]
    fn rewritten_packets_have_right_checksums(
        (mut frame, [_, _, src, dst]) in frames(), sport: u16, dport: u16,
    ) {
        let before = headers(&frame);
        rewrite::set_destination(&mut frame, &before, dst, dport);
        rewrite::set_source(&mut frame, &before, src, sport);
        rewrite::decrement_ttl(&mut frame, &before);
        let h = headers(&frame);
        prop_assert_eq!((h.src, h.dst, h.ttl), (src, dst, before.ttl - 1));
        if !h.is_icmp() {
            prop_assert_eq!((h.src_port, h.dst_port), (sport, dport));
        }
        prop_assert_eq!(check(packet(&frame, &h)), Ok(h.packet_len()));
        prop_assert!(!h.is_sctp() || sctp_ok(h.payload(&frame).expect("in the frame")));
        prop_assert!(!h.is_udp() || transport_check(&frame, &h) != 0);
    }

    #[test]
    fn both_ends_at_once_are_one_end_after_the_other(
        (mut frame, [_, _, src, dst]) in frames(), sport: u16, dport: u16, damage: u8,
    ) {
        let h = headers(&frame);
        let last = usize::from(h.end) - 1;
        frame[last] ^= damage;
        // Damage to what is read anew is another matter.
        if !headers_agree(&frame, &h) {
            return Ok(());
        }
        let mut one_by_one = frame.clone();
        rewrite::set_source(&mut one_by_one, &h, src, sport);
        rewrite::set_destination(&mut one_by_one, &h, dst, dport);
        rewrite::set_ends(&mut frame, &h, (src, sport), (dst, dport));
        prop_assert_eq!(frame, one_by_one);
    }

    #[test]
    fn what_was_wrong_stays_wrong(
        (mut frame, [_, _, src, dst]) in frames(), sport in 1u16.., damage in 1u8..,
    ) {
        if !packet_with_checksum(&frame) {
            return Ok(());
        }
        let h = headers(&frame);
        let last = usize::from(h.end) - 1;
        frame[last] ^= damage;
        // Damage to what is read anew, or to "no checksum", is another matter.
        if !headers_agree(&frame, &h) || !packet_with_checksum(&frame) {
            return Ok(());
        }
        rewrite::set_destination(&mut frame, &h, dst, 0);
        rewrite::set_source(&mut frame, &h, src, sport);
        if h.is_sctp() {
            prop_assert!(!sctp_ok(h.payload(&frame).expect("in the frame")));
        } else {
            prop_assert!(check(packet(&frame, &h)).is_err());
        }
    }

    #[test]
    fn an_icmp_error_is_right_and_quotes_what_it_is_about(
        (frame, _) in frames(), fill in 0usize..1600, mtu: u16,
        kind in 0usize..5,
    ) {
        let h = headers(&frame);
        let original = [packet(&frame, &h), &std::vec![0xa5; fill]].concat();
        let mtu = u32::from(mtu);
        let kind = [
            ErrorKind::TimeExceeded, ErrorKind::PortUnreachable, ErrorKind::HostUnreachable,
            ErrorKind::NetUnreachable, ErrorKind::TooBig { mtu },
        ][kind];
        let mut buf = [0; 2000];
        let len = icmp::write_error(&mut buf, kind, h.dst, h.src, &original, h.tos);
        prop_assert_eq!(len, icmp::error_len(h.family(), original.len()));
        let longest = if h.is_v4() { 576 } else { 1280 };
        prop_assert!(len <= longest);
        prop_assert_eq!(check(&buf[..len]), Ok(len));
        let error = crate::parse_ip(&buf, 0, true).expect("right");
        prop_assert!(icmp::is_related_error(error.family(), error.icmp_type));
        let at = icmp::quoted_at(&error);
        prop_assert!(original.starts_with(&buf[at..len]));
        let quoted = parse_embedded(&buf, at, len).expect("readable");
        prop_assert_eq!((quoted.src, quoted.dst, quoted.src_port), (h.src, h.dst, h.src_port));
        let stands = icmp::too_big_mtu(&buf, &error);
        prop_assert_eq!(stands, matches!(kind, ErrorKind::TooBig { .. }).then_some(mtu));
        icmp::set_too_big_mtu(&mut buf, &error, 1300);
        prop_assert_eq!(icmp::too_big_mtu(&buf, &error), stands.map(|_| 1300));
        prop_assert!(icmp::checksum_ok(&buf, &error));
    }

    #[test]
    fn a_relayed_error_is_right_outside_and_inside(
        (frame, [_, _, src, dst]) in frames(), port in 1u16.., keep in 0usize..300,
    ) {
        let about = headers(&frame);
        let quote = packet(&frame, &about);
        let quote = &quote[..quote.len().min(usize::from(about.l4 - about.l3) + 8 + keep)];
        let icmp_type = if about.is_v4() { 11 } else { 3 };
        let mut error = ethernet().ip(about.dst, about.src)
            .icmp_error(icmp_type, 0, 0, quote).build();
        let h = headers(&error);
        let quoted = parse_embedded(&error, icmp::quoted_at(&h), h.end.into()).expect("readable");
        let cut = usize::from(quoted.end - quoted.l3) < about.packet_len();
        rewrite::set_source(&mut error, &h, dst, 0);
        rewrite::set_embedded_destination(&mut error, &quoted, dst, port);
        rewrite::set_embedded_source(&mut error, &quoted, src, about.src_port);
        rewrite::refill_icmp_checksum(&mut error, &h);
        prop_assert_eq!(check(packet(&error, &h)), Ok(h.packet_len()));
        let inside = parse_embedded(&error, icmp::quoted_at(&h), h.end.into()).expect("readable");
        prop_assert_eq!((inside.src, inside.dst), (src, dst));
        if inside.dst_port != 0 {
            prop_assert_eq!((inside.src_port, inside.dst_port), (about.src_port, port));
        }
        let has_sum = packet_with_checksum(&frame) && !about.is_sctp();
        if !cut && has_sum {
            let inside = &error[usize::from(inside.l3)..usize::from(inside.end)];
            prop_assert_eq!(check(inside), Ok(inside.len()));
        }
    }

    #[test]
    fn a_reset_is_right_and_answers_the_segment((frame, _) in frames()) {
        let h = headers(&frame);
        let mut buf = [0; tcp::RESET_LEN_MAX];
        let made = tcp::write_reset(&mut buf, &frame, &h);
        prop_assert_eq!(made.is_some(), h.is_tcp() && h.tcp_flags & tcp_flag::RST == 0);
        if let Some(len) = made {
            prop_assert_eq!(check(&buf[..len]), Ok(tcp::reset_len(h.family())));
            let reset = crate::parse_ip(&buf, 0, true).expect("right");
            prop_assert_eq!((reset.src, reset.src_port), (h.dst, h.dst_port));
            prop_assert_eq!((reset.dst, reset.dst_port), (h.src, h.src_port));
        }
    }
}

/// Whether damage left the headers such that they still parse to the same places.
fn headers_agree(frame: &[u8], before: &Headers) -> bool {
    matches!(crate::parse(frame, true), Ok(Parsed::Ip(h))
        if (h.l4, h.end, h.protocol) == (before.l4, before.end, before.protocol))
}

#[test]
fn a_udp_checksum_of_zero_is_filled_in_and_never_sent() {
    for from_client in [from_client_v4(), from_client_v6()] {
        let mut frame = from_client
            .udp_without_checksum(1, 53)
            .payload(b"abc")
            .build();
        let h = headers(&frame);
        rewrite::set_destination(&mut frame, &h, h.src, 0);
        assert_ne!(transport_check(&frame, &h), 0);
        assert_eq!(check(packet(&frame, &h)), Ok(h.packet_len()));
    }
    // A port for which the sum comes out as 0: the checksum before is the port's difference.
    let frame = from_client_v4().udp(1, 53).build();
    let h = headers(&frame);
    let zero = (1..=u16::MAX).find(|port| {
        Delta::default()
            .replace_u16(53, *port)
            .apply(transport_check(&frame, &h))
            == 0
    });
    let mut frame = frame;
    rewrite::set_destination(&mut frame, &h, h.dst, zero.expect("one of all ports"));
    assert_eq!(transport_check(&frame, &h), 0xffff);
    assert_eq!(check(packet(&frame, &h)), Ok(h.packet_len()));
}

#[test]
fn a_later_fragment_changes_its_address_and_nothing_behind_the_header() {
    for from_client in [from_client_v4(), from_client_v6()] {
        let later = from_client
            .fragment(64, true)
            .raw(protocol::TCP)
            .payload(&[7; 40]);
        let mut frame = later.build();
        let h = headers(&frame);
        let payload = h.payload(&frame).expect("in the frame").to_vec();
        rewrite::set_destination(&mut frame, &h, h.src, 8080);
        assert_eq!(headers(&frame).dst, h.src);
        assert_eq!(h.payload(&frame), Some(&payload[..]));
    }
}

#[test]
fn an_address_of_the_other_family_changes_nothing() {
    let mut frame = from_client_v4().tcp(1, 2).build();
    let (before, h) = (frame.clone(), headers(&frame));
    rewrite::set_destination(&mut frame, &h, crate::builder::addr("2001:db8::1"), 3);
    assert_eq!(frame, before);
}

#[test]
fn an_error_of_ipv4_quotes_548_bytes_in_precedence_of_control() {
    let frame = from_client_v4()
        .tos(0x48)
        .tcp(1, 2)
        .payload(&[0; 1400])
        .build();
    let (h, mut buf) = (headers(&frame), [0; 600]);
    let quoted = packet(&frame, &h);
    let len = icmp::write_error(
        &mut buf,
        ErrorKind::TimeExceeded,
        h.dst,
        h.src,
        quoted,
        h.tos,
    );
    assert_eq!(
        (len, buf[1], buf[8], &buf[20..22]),
        (576, 0xc8, 64, &[11, 0][..])
    );
    assert_eq!(buf[28..len], quoted[..548]);
}

#[test]
fn types_and_codes_are_those_of_the_rfcs() {
    let mtu = 1400;
    let cases = [
        (ErrorKind::TimeExceeded, [11, 0], [3, 0]),
        (ErrorKind::PortUnreachable, [3, 3], [1, 4]),
        (ErrorKind::HostUnreachable, [3, 1], [1, 3]),
        (ErrorKind::NetUnreachable, [3, 0], [1, 0]),
        (ErrorKind::TooBig { mtu }, [3, 4], [2, 0]),
    ];
    for (kind, v4, v6) in cases {
        for (from_client, expected, at) in [(from_client_v4(), v4, 20), (from_client_v6(), v6, 40)]
        {
            let (h, mut buf) = (headers(&from_client.udp(1, 2).build()), [0; 1280]);
            icmp::write_error(&mut buf, kind, h.dst, h.src, &[0; 28], 0);
            assert_eq!(buf[at..at + 2], expected, "{kind:?}");
        }
    }
}

#[test]
fn errors_are_sent_only_to_one_host_about_no_error() {
    let may = |frame: Vec<u8>| icmp::may_answer(&headers(&frame), &frame);
    let v4 = |src: &str, dst: &str| {
        let [src, dst] = [src, dst].map(crate::builder::addr);
        may(ethernet().ip(src, dst).udp(1, 2).build())
    };
    assert!(v4("192.0.2.1", "192.0.2.2"));
    assert!(!v4("192.0.2.1", "224.0.0.1"));
    assert!(!v4("192.0.2.1", "255.255.255.255"));
    assert!(!v4("0.0.0.0", "255.255.255.255"));
    assert!(!v4("240.0.0.1", "192.0.2.2"));
    assert!(!v4("::", "ff02::1"));
    assert!(may(from_client_v4().icmp(8, 0, 0).build()));
    assert!(may(from_client_v6().icmp(128, 0, 0).build()));
    for icmp_type in [3, 4, 5, 11, 12, 40] {
        assert!(
            !may(from_client_v4().icmp(icmp_type, 0, 0).build()),
            "{icmp_type}"
        );
    }
    assert!(!may(from_client_v6().icmp(1, 0, 0).build()));
    assert!(may(from_client_v4().fragment(0, true).udp(1, 2).build()));
    assert!(!may(from_client_v4()
        .fragment(8, true)
        .raw(protocol::UDP)
        .build()));
    let broadcast = PacketBuilder::eth(CLIENT_MAC, Mac::BROADCAST);
    assert!(!may(broadcast
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2])
        .udp(1, 2)
        .build()));
}

#[test]
fn a_reset_takes_its_numbers_from_the_segment() {
    let reset = |flags| {
        let frame = from_client_v4()
            .tcp(1, 2)
            .flags(flags)
            .seq(u32::MAX)
            .ack(77)
            .payload(b"four")
            .build();
        let mut buf = [0; tcp::RESET_LEN_MAX];
        let len = tcp::write_reset(&mut buf, &frame, &headers(&frame))?;
        let tcp = etherparse::TcpHeader::from_slice(&buf[20..len])
            .expect("TCP")
            .0;
        Some((
            tcp.sequence_number,
            tcp.acknowledgment_number,
            tcp.rst,
            tcp.ack,
        ))
    };
    assert_eq!(reset(tcp_flag::ACK), Some((77, 0, true, false)));
    assert_eq!(
        reset(tcp_flag::SYN | tcp_flag::ACK),
        Some((77, 0, true, false))
    );
    assert_eq!(reset(tcp_flag::SYN), Some((0, 4, true, true)));
    assert_eq!(
        reset(tcp_flag::SYN | tcp_flag::FIN),
        Some((0, 5, true, true))
    );
    assert_eq!(reset(0), Some((0, 3, true, true)));
    assert_eq!(reset(tcp_flag::RST), None);
}

#[test]
fn an_ethernet_header_is_tagged_when_there_is_a_vlan() {
    let mut buf = [0; 18];
    let [dst, src] = [DIRECTOR_MAC, CLIENT_MAC];
    assert_eq!(
        rewrite::write_ethernet(&mut buf, dst, src, 0, ether_type::IPV6),
        14
    );
    assert_eq!(buf[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
    assert_eq!(
        rewrite::write_ethernet(&mut buf, dst, src, 0x123, ether_type::IPV4),
        18
    );
    assert_eq!(buf[12..], [0x81, 0, 1, 0x23, 8, 0]);
}

#[test]
fn the_longest_errors_are_announced() {
    assert_eq!(icmp::error_len(Family::V4, 20), 48);
    assert_eq!(icmp::error_len(Family::V4, 9000), 576);
    assert_eq!(icmp::error_len(Family::V6, 9000), 1280);
}

#[test]
fn a_hop_more_and_a_hop_less_leave_the_packet_as_it_was() {
    let (a, b) = (addr("192.0.2.1"), addr("192.0.2.2"));
    let (a6, b6) = (addr("2001:db8::1"), addr("2001:db8::2"));
    for (src, dst) in [(a, b), (a6, b6)] {
        for ttl in [0, 1, 63, 64, 254] {
            let ip = PacketBuilder::eth(Mac::ZERO, Mac::ZERO).ip(src, dst);
            let came = ip.ttl(ttl).tcp(1, 2).build();
            let h = headers(&came);
            let mut frame = came.clone();
            rewrite::increment_ttl(&mut frame, &h);
            assert_eq!(headers(&frame).ttl, ttl + 1);
            rewrite::decrement_ttl(&mut frame, &h);
            assert_eq!(frame, came);
        }
    }
}

#[test]
fn dont_fragment_is_taken_back_with_its_checksum() {
    let ip = PacketBuilder::eth(Mac::ZERO, Mac::ZERO).ip(addr("192.0.2.1"), addr("192.0.2.2"));
    let mut frame = ip.clone().df().id(7).tcp(1, 2).build();
    rewrite::clear_dont_fragment(&mut frame, 14);
    assert_eq!(frame, ip.id(7).tcp(1, 2).build());
}

/// Routers lower the TTL of what they quote, and not all of them see to its checksum.
#[test]
fn a_quoted_ipv4_header_gets_a_right_checksum_whatever_it_had() {
    let (client, vip, server) = (addr("192.0.2.1"), addr("192.0.2.2"), addr("10.0.0.1"));
    let eth = || PacketBuilder::eth(Mac::ZERO, Mac::ZERO);
    let quote = |dst| eth().ip(client, dst).ttl(9).tcp(1, 2).build_ip();
    let mut wrong = quote(server);
    wrong[10] ^= 0x55;
    let mut frame = eth().ip(server, client).icmp_error(3, 1, 0, &wrong).build();
    let h = headers(&frame);
    let at = icmp::quoted_at(&h);
    let quoted = parse_embedded(&frame, at, usize::from(h.end)).expect("a quote");
    rewrite::set_embedded_destination(&mut frame, &quoted, vip, 2);
    assert_eq!(frame[at..], quote(vip));
}
