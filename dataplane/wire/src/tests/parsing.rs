//! Reading: against etherparse, against constants, against damage.

use super::*;
use crate::headers::{Embedded, HeaderBits, Other, ParseError, ether_type};
use crate::icmp;
use crate::{parse, parse_embedded, parse_ip};

/// A SYN with the options that Linux sends: 192.168.122.1:41998 to 192.168.122.7:80.
const SYN: [u8; 74] = [
    0x52, 0x54, 0x00, 0x11, 0x22, 0x33, 0x52, 0x54, 0x00, 0x44, 0x55, 0x66, 0x08, 0x00, 0x45, 0x00,
    0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xa9, 0x1d, 0xc0, 0xa8, 0x7a, 0x01, 0xc0, 0xa8,
    0x7a, 0x07, 0xa4, 0x0e, 0x00, 0x50, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02,
    0xfa, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
];

fn refused(frame: &[u8]) -> ParseError {
    parse(frame, true).expect_err("the frame is to be refused")
}

/// With another byte in the IP header, whose checksum is not looked at.
fn refused_with(frame: &[u8], at: usize, byte: u8) -> ParseError {
    let mut frame = frame.to_vec();
    frame[14 + at] = byte;
    parse(&frame, false).expect_err("the frame is to be refused")
}

#[test]
fn a_syn_is_read_to_the_byte() {
    let mut frame = SYN;
    // The checksum is computed here by etherparse, and so is an oracle for ours.
    let ip = etherparse::Ipv4Header::from_slice(&frame[14..])
        .expect("IPv4")
        .0;
    frame[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
    let h = headers(&frame);
    assert_eq!(
        (h.src, h.src_port),
        (crate::builder::addr("192.168.122.1"), 41998)
    );
    assert_eq!(
        (h.dst, h.dst_port),
        (crate::builder::addr("192.168.122.7"), 80)
    );
    assert_eq!((h.l3, h.l4, h.end, h.vlan), (14, 34, 74, 0));
    assert_eq!(
        (h.protocol, h.tcp_flags, h.ttl, h.tos),
        (protocol::TCP, 0x02, 64, 0)
    );
    assert_eq!(h.bits, HeaderBits::DONT_FRAGMENT);
}

#[test]
fn an_arp_request_is_something_else() {
    let frame =
        ethernet()
            .vlan(7)
            .arp(1, (CLIENT_MAC, [192, 0, 2, 1]), (Mac::ZERO, [192, 0, 2, 2]));
    let Ok(Parsed::Other(other)) = parse(&frame.build(), true) else {
        panic!("ARP is not IP")
    };
    assert_eq!(
        other,
        Other {
            ether_type: ether_type::ARP,
            vlan: 7,
            l3: 18
        }
    );
}

#[test]
fn a_priority_tag_is_no_vlan() {
    let h = headers(&from_client_v4().vlan(0).udp(1, 2).build());
    assert_eq!((h.vlan, h.l3, h.bits), (0, 18, HeaderBits::TAGGED));
    let h = headers(&from_client_v4().vlan(0).vlan(5).udp(1, 2).build());
    assert_eq!((h.vlan, h.l3, h.bits), (5, 22, HeaderBits::TAGGED));
}

#[test]
fn the_outer_of_two_tags_counts_and_the_inner_is_not_lost() {
    let h = headers(&from_client_v4().service_vlan(100).vlan(5).udp(1, 2).build());
    assert_eq!((h.vlan, h.bits.double_tagged()), (100, true));
}

#[test]
fn three_tags_are_refused() {
    let frame = from_client_v4().vlan(1).vlan(2).vlan(3).udp(1, 2).build();
    assert_eq!(refused(&frame), ParseError::TooManyTags);
}

#[test]
fn ethernet_padding_does_not_belong_to_the_packet() {
    let frame = from_client_v4().udp(1, 2).pad_to(60).build();
    assert_eq!((headers(&frame).end, frame.len()), (42, 60));
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let tcp = from_client_v4().tcp(1, 2).build();
    assert_eq!(refused_with(&tcp, 0, 0x55), ParseError::BadIpVersion);
    assert_eq!(refused_with(&tcp, 0, 0x44), ParseError::BadHeaderLength);
    assert_eq!(refused_with(&tcp, 3, 19), ParseError::BadTotalLength);
    assert_eq!(refused_with(&tcp, 3, 41), ParseError::Truncated);
    assert_eq!(refused_with(&tcp, 3, 39), ParseError::Truncated);
    assert_eq!(refused_with(&tcp, 32, 0x40), ParseError::BadTransport);
    assert_eq!(refused_with(&tcp, 32, 0x60), ParseError::BadTransport);
    let udp = from_client_v6().udp(1, 2).payload(b"four").build();
    assert_eq!(refused_with(&udp, 45, 7), ParseError::BadTransport);
    assert_eq!(refused_with(&udp, 45, 13), ParseError::BadTransport);
    assert_eq!(refused_with(&udp, 5, 13), ParseError::Truncated);
}

#[test]
fn a_wrong_ip_checksum_is_refused_unless_the_device_has_checked() {
    let mut frame = from_client_v4().tcp(1, 2).build();
    frame[24] ^= 1;
    assert_eq!(refused(&frame), ParseError::BadIpChecksum);
    assert!(parse(&frame, false).is_ok());
}

#[test]
fn addresses_that_no_host_has_are_martian() {
    let judge = |src: &str, dst: &str| {
        let [src, dst] = [src, dst].map(crate::builder::addr);
        parse(&ethernet().ip(src, dst).raw(89).build(), true).err()
    };
    for src in ["224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.0"] {
        assert_eq!(judge(src, "192.0.2.1"), Some(ParseError::Martian), "{src}");
    }
    for dst in ["0.0.0.0", "127.0.0.1"] {
        assert_eq!(judge("192.0.2.1", dst), Some(ParseError::Martian), "{dst}");
    }
    for src in ["::", "::1", "ff02::1"] {
        assert_eq!(
            judge(src, "2001:db8::1"),
            Some(ParseError::Martian),
            "{src}"
        );
    }
    for (src, dst) in [
        ("0.0.0.0", "255.255.255.255"),
        ("0.0.0.0", "224.0.0.22"),
        ("0.0.0.1", "10.255.255.255"),
        ("223.255.255.255", "239.1.1.1"),
        ("240.0.0.1", "192.0.2.1"),
        ("::", "ff02::1:ff00:1"),
        ("fe80::1", "ff02::1"),
    ] {
        assert_eq!(judge(src, dst), None, "{src} to {dst}");
    }
}

#[test]
fn an_ipv4_address_in_an_ipv6_header_is_martian() {
    for at in [8, 24] {
        let mut frame = from_client_v6().udp(1, 2).build();
        frame[14 + at..14 + at + 16].copy_from_slice(&crate::builder::addr("192.0.2.1").v6_bytes());
        assert_eq!(refused(&frame), ParseError::Martian);
    }
}

#[test]
fn a_route_given_by_the_source_is_refused_and_a_travelled_one_is_not() {
    let with = |options: &[u8]| {
        parse(
            &from_client_v4().ip_options(options).udp(1, 2).build(),
            true,
        )
        .err()
    };
    let (lsrr, ssrr) = ([1, 131, 7, 4, 10, 0, 0, 1], [137, 7, 4, 10, 0, 0, 1, 0]);
    assert_eq!(with(&lsrr), Some(ParseError::SourceRoute));
    assert_eq!(with(&ssrr), Some(ParseError::SourceRoute));
    assert_eq!(with(&[131, 7, 8, 10, 0, 0, 1, 0]), None, "at its end");
    assert_eq!(with(&[7, 7, 4, 10, 0, 0, 1, 0]), None, "record route");
    let routing = |left| {
        let frame = from_client_v6().extension(protocol::ROUTING, &[0, 0, 2, left, 0, 0, 0, 0]);
        parse(&frame.udp(1, 2).build(), true).err()
    };
    assert_eq!(routing(1), Some(ParseError::SourceRoute));
    assert_eq!(routing(0), None);
}

#[test]
fn extension_headers_are_followed_to_the_eighth() {
    let chain = |n| {
        let frame = (0..n)
            .fold(from_client_v6(), |frame, _| {
                frame.extension(protocol::DSTOPTS, &[0; 8])
            })
            .udp(5, 6)
            .build();
        parse(&frame, true)
    };
    let Ok(Parsed::Ip(h)) = chain(8) else {
        panic!("eight are allowed")
    };
    assert_eq!(
        (h.protocol, h.dst_port, h.l4),
        (protocol::UDP, 6, 14 + 40 + 64)
    );
    assert!(h.bits.ip_options() && !h.bits.fragment());
    assert_eq!(chain(9).err(), Some(ParseError::ExtensionChain));
}

#[test]
fn what_cannot_be_read_behind_ah_is_ah() {
    let frame = from_client_v6()
        .extension(protocol::AH, &[0; 8])
        .extension(protocol::HOPOPTS, &[0; 8])
        .build();
    let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
        panic!("it is a packet of AH");
    };
    assert_eq!((h.protocol, h.l4, h.src_port), (protocol::AH, 14 + 40, 0));
}

#[test]
fn extension_headers_out_of_place_are_refused() {
    let late = from_client_v6()
        .extension(protocol::DSTOPTS, &[0; 8])
        .extension(protocol::HOPOPTS, &[0; 8])
        .udp(1, 2);
    assert_eq!(refused(&late.build()), ParseError::ExtensionChain);
    let twice = from_client_v6()
        .extension(protocol::FRAGMENT, &[0; 8])
        .fragment(0, true)
        .udp(1, 2);
    assert_eq!(refused(&twice.build()), ParseError::ExtensionChain);
    let past_the_end = from_client_v6().extension(protocol::DSTOPTS, &[0, 9, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        refused(&past_the_end.udp(1, 2).build()),
        ParseError::Truncated
    );
    // AH counts in 4 bytes.
    let ah = from_client_v6().extension(
        protocol::AH,
        &[[0, 4, 0, 0], [0; 4], [0; 4], [0; 4], [0; 4], [0; 4]].concat(),
    );
    assert_eq!(headers(&ah.udp(1, 9).build()).dst_port, 9);
}

#[test]
fn fragments_are_told_apart() {
    for from_client in [from_client_v4(), from_client_v6()] {
        let first = headers(&from_client.clone().fragment(0, true).tcp(1, 80).build());
        assert!(first.bits.fragment() && !first.bits.later_fragment());
        // How much of its header it brings is not known before the whole is there.
        assert_eq!(first.dst_port, 0);
        let later = from_client
            .id(77)
            .fragment(64, false)
            .raw(protocol::TCP)
            .payload(b"x")
            .build();
        let h = headers(&later);
        assert!(h.bits.fragment() && h.bits.later_fragment());
        assert_eq!((h.protocol, h.dst_port, h.tcp_flags), (protocol::TCP, 0, 0));
        let info = crate::fragment::info(&later, &h).expect("a fragment");
        assert_eq!((info.id, info.offset, info.more), (77, 64, false));
    }
}

#[test]
fn an_atomic_fragment_is_whole() {
    let frame = from_client_v6()
        .extension(protocol::FRAGMENT, &[0; 8])
        .udp(1, 2)
        .build();
    let h = headers(&frame);
    assert!(!h.bits.fragment() && h.bits.ip_options() && h.dst_port == 2);
}

#[test]
fn a_fragment_that_reaches_past_the_longest_packet_is_refused() {
    for from_client in [from_client_v4(), from_client_v6()] {
        let frame = from_client
            .fragment(65528, false)
            .raw(protocol::ICMP)
            .payload(&[0; 8])
            .build();
        assert_eq!(refused(&frame), ParseError::BadTotalLength);
    }
}

#[test]
fn a_first_fragment_may_have_less_than_a_tcp_header() {
    let frame = from_client_v4()
        .fragment(0, true)
        .raw(protocol::TCP)
        .payload(&[0; 16])
        .build();
    assert!(headers(&frame).bits.fragment());
}

#[test]
fn a_quote_of_four_bytes_of_tcp_still_has_ports() {
    for from_client in [from_client_v4(), from_client_v6()] {
        let quoted = from_client
            .clone()
            .tcp(40_000, 80)
            .payload(&[7; 100])
            .build_ip();
        let l4 = quoted.len() - 120;
        let frame = from_client.icmp_error(1, 0, 0, &quoted[..l4 + 4]).build();
        let h = headers(&frame);
        let at = icmp::quoted_at(&h);
        let Embedded {
            src_port,
            dst_port,
            end,
            ..
        } = parse_embedded(&frame, at, h.end.into()).expect("the ports are there");
        assert_eq!((src_port, dst_port, end), (40_000, 80, h.end));
        assert_eq!(parse_embedded(&frame, at, usize::from(h.end) - 1), None);
    }
}

#[test]
fn a_quoted_tunnel_packet_can_be_read_twice() {
    let inner = from_client_v4().tcp(40_000, 80).build_ip();
    let outer = ethernet()
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2])
        .raw(protocol::IPIP)
        .payload(&inner);
    let frame = from_client_v4()
        .icmp_error(3, 4, 1400, &outer.build_ip()[..20 + 28])
        .build();
    let h = headers(&frame);
    let outer = parse_embedded(&frame, icmp::quoted_at(&h), h.end.into()).expect("outer");
    assert_eq!((outer.protocol, outer.dst_port), (protocol::IPIP, 0));
    let inner = parse_embedded(&frame, outer.l4.into(), outer.end.into()).expect("inner");
    assert_eq!((inner.protocol, inner.src_port), (protocol::TCP, 40_000));
}

proptest! {
    #[test]
    fn etherparse_reads_the_same((frame, _) in frames()) {
        let h = headers(&frame);
        let sliced = SlicedPacket::from_ethernet(&frame).expect("etherparse reads it");
        prop_assert_eq!(h.vlan, sliced.vlan_ids().first().map_or(0, |id| id.value()));
        let payload = sliced.ip_payload().expect("IP");
        prop_assert_eq!(h.protocol, payload.ip_number.0);
        prop_assert_eq!(h.payload(&frame).expect("in the frame"), payload.payload);
        match sliced.net.as_ref().expect("IP") {
            NetSlice::Ipv4(ip) => {
                let ip = ip.header();
                prop_assert_eq!(h.src.v4(), Some(ip.source_addr()));
                prop_assert_eq!(h.dst.v4(), Some(ip.destination_addr()));
                prop_assert_eq!((h.ttl, h.tos), (ip.ttl(), ip.dcp().value() << 2 | ip.ecn().value()));
                prop_assert_eq!(h.bits.dont_fragment(), ip.dont_fragment());
                prop_assert_eq!(h.bits.ip_options(), ip.ihl() > 5);
            }
            NetSlice::Ipv6(ip) => {
                prop_assert_eq!(h.src.ip(), std::net::IpAddr::V6(ip.header().source_addr()));
                prop_assert_eq!(h.dst.ip(), std::net::IpAddr::V6(ip.header().destination_addr()));
                prop_assert_eq!((h.ttl, h.tos), (ip.header().hop_limit(), ip.header().traffic_class()));
                prop_assert_eq!(h.bits.ip_options(), !ip.extensions().is_empty());
            }
            NetSlice::Arp(_) => prop_assert!(false),
        }
        match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                prop_assert_eq!((h.src_port, h.dst_port), (tcp.source_port(), tcp.destination_port()));
                let bits = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg()];
                for (i, bit) in bits.into_iter().enumerate() {
                    prop_assert_eq!(h.tcp_flags >> i & 1 == 1, bit);
                }
            }
            Some(TransportSlice::Udp(udp)) => {
                prop_assert_eq!((h.src_port, h.dst_port), (udp.source_port(), udp.destination_port()));
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                prop_assert_eq!((h.icmp_type, h.icmp_code), (icmp.type_u8(), icmp.code_u8()));
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                prop_assert_eq!((h.icmp_type, h.icmp_code), (icmp.type_u8(), icmp.code_u8()));
            }
            _ => prop_assert!(h.is_sctp()),
        }
    }

    #[test]
    fn the_builder_makes_right_checksums((frame, _) in frames()) {
        let h = headers(&frame);
        let packet = h.packet(&frame).expect("in the frame");
        if packet_with_checksum(&frame) {
            prop_assert_eq!(check(packet), Ok(packet.len()));
        }
        prop_assert!(!h.is_sctp() || sctp_ok(h.payload(&frame).expect("in the frame")));
        prop_assert!(!h.is_icmp() || icmp::checksum_ok(&frame, &h));
    }

    #[test]
    fn a_packet_cut_anywhere_is_refused((frame, _) in frames()) {
        for len in 0..usize::from(headers(&frame).end) {
            prop_assert!(parse(&frame[..len], true).is_err(), "cut to {}", len);
        }
    }

    /// Also in what writes by those headers, and on frames shorter than they say.
    #[test]
    fn nothing_panics_on_arbitrary_bytes(
        (mut frame, _) in frames(), noise in vec((any::<usize>(), any::<u8>()), 0..6),
        bytes in vec(any::<u8>(), 0..200), cut: usize,
    ) {
        for (at, byte) in noise {
            let len = frame.len();
            frame[14 + at % (len - 14).min(70)] = byte;
        }
        for mut frame in [frame, bytes] {
            let _ = parse_embedded(&frame, 14, cut);
            let _ = parse_ip(&frame, cut % 200, true);
            if let Ok(Parsed::Ip(h)) = parse(&frame, false) {
                let quoted = parse_embedded(&frame, icmp::quoted_at(&h), h.end.into());
                super::writing::write_everything(&mut frame, &h, quoted.as_ref());
                frame.truncate(cut % frame.len());
                super::writing::write_everything(&mut frame, &h, quoted.as_ref());
            }
        }
    }
}

/// There are hosts that turn the length round in their memory, and quote it so.
#[test]
fn a_quote_whose_length_makes_no_sense_still_has_ports() {
    let ip = PacketBuilder::eth(Mac::ZERO, Mac::ZERO).ip(
        crate::builder::addr("192.0.2.1"),
        crate::builder::addr("192.0.2.2"),
    );
    let mut quote = ip.tcp(5, 6).build_ip();
    for len in [0, 19, 20, 23, 24, 0xffff_u16] {
        quote[2..4].copy_from_slice(&len.to_be_bytes());
        let read = crate::parse_embedded(&quote, 0, quote.len()).expect("a quote");
        assert_eq!((read.src_port, read.dst_port), (5, 6), "{len}");
        let end = if len == 24 { 24 } else { quote.len() };
        assert_eq!(usize::from(read.end), end, "{len}");
    }
    for (len, is_cut) in [(19, false), (20, true), (23, true), (24, false)] {
        assert_eq!(crate::is_cut_before_ports(&quote, 0, len), is_cut, "{len}");
    }
}
