use super::*;
use crate::builder::PacketBuilder;
use crate::{Headers, Mac, Parsed, rewrite, tcp_flag, tunnel};
use proptest::prelude::*;
use std::vec::Vec;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);

const fn link<I: Ip>() -> [u8; 14] {
    let kind = match I::FAMILY {
        Family::V4 => [8, 0],
        Family::V6 => [0x86, 0xdd],
    };
    [9, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, kind[0], kind[1]]
}

/// An address of the family that is no martian.
fn addr<I: Ip>(bits: u64) -> Addr {
    match I::FAMILY {
        Family::V4 => Addr::from_v4_bytes((0x0100_0000 + bits as u32 % 0x7e00_0000).to_be_bytes()),
        Family::V6 => Addr(0x2001_0db8 << 96 | u128::from(bits) << 32 | u128::from(!bits)),
    }
}

fn start<I: Ip>(src: u64, dst: u64) -> PacketBuilder {
    PacketBuilder::eth(PEER, OWN).ip(addr::<I>(src), addr::<I>(dst))
}

fn packet<I: Ip>(src: u64, dst: u64, ports: (u16, u16), udp: bool, payload: &[u8]) -> Vec<u8> {
    let ip = start::<I>(src, dst);
    let packet = match udp {
        false => ip.tcp(ports.0, ports.1).flags(tcp_flag::ACK),
        true => ip.udp(ports.0, ports.1),
    };
    packet.payload(payload).build()
}

fn headers(frame: &[u8]) -> Headers {
    match crate::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("not an IP packet: {other:?}, {frame:x?}"),
    }
}

/// The same by the general functions.
fn generally<I: Ip>(frame: &[u8], edit: impl FnOnce(&mut [u8], &Headers)) -> Vec<u8> {
    let headers = headers(frame);
    let mut frame = frame.to_vec();
    edit(&mut frame, &headers);
    rewrite::decrement_ttl(&mut frame, &headers);
    frame[..14].copy_from_slice(&link::<I>());
    frame
}

fn plainly<I: Ip>(frame: &[u8], edit: impl FnOnce(&mut I::Head, &[u8; 14])) -> Vec<u8> {
    let mut frame = frame.to_vec();
    edit(I::head(&mut frame).expect("a whole header"), &link::<I>());
    frame
}

fn both_ports(src: u16, dst: u16) -> u32 {
    let ([a, b], [c, d]) = (src.to_be_bytes(), dst.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

type Ends = ((u64, u16), (u64, u16));

fn writes_the_same<I: Ip>(from: Ends, to: Ends, udp: bool, payload: &[u8]) {
    let ((src, src_port), (dst, dst_port)) = from;
    let frame = packet::<I>(src, dst, (src_port, dst_port), udp, payload);
    let (read, h) = (I::read(&frame, mac(OWN), true), headers(&frame));
    let read = read.expect("it is plain");
    assert_eq!(
        (usize::from(read.len), read.protocol),
        (h.packet_len(), h.protocol)
    );
    assert_eq!(read.tcp_flags, h.tcp_flags);
    assert_eq!(I::ends(read.addrs).map(I::addr), [h.src, h.dst]);
    assert_eq!(read.ports, both_ports(src_port, dst_port));
    assert_eq!(
        plainly::<I>(&frame, |head, link| pass_on::<I>(head, link)),
        generally::<I>(&frame, |_, _| ())
    );
    let ((local, local_port), (server, port)) = to;
    let (local, server) = (addr::<I>(local), addr::<I>(server));
    let [local_be, server_be] = [local, server].map(I::addr_of);
    let port_be = port.to_be();
    assert_eq!(
        plainly::<I>(&frame, |head, link| {
            pass_to::<I>(head, link, server_be, port_be);
        }),
        generally::<I>(&frame, |f, h| rewrite::set_destination(f, h, server, port))
    );
    assert_eq!(
        plainly::<I>(&frame, |head, link| {
            pass_from::<I>(head, link, server_be, port_be);
        }),
        generally::<I>(&frame, |f, h| rewrite::set_source(f, h, server, port))
    );
    let ports = both_ports(local_port, port);
    assert_eq!(
        plainly::<I>(&frame, |head, link| {
            pass_between::<I>(head, link, [local_be, server_be], ports);
        }),
        generally::<I>(&frame, |f, h| {
            rewrite::set_source(f, h, local, local_port);
            rewrite::set_destination(f, h, server, port);
        })
    );
}

struct Wrapped {
    ends: (u64, u64),
    tunnel: (u64, u64),
    tos: u8,
    ttl: u8,
    df: bool,
    copy_df: bool,
    id: u16,
}

fn wraps_the_same<I: Ip>(case: &Wrapped) {
    let ip = start::<I>(case.ends.0, case.ends.1)
        .ttl(case.ttl)
        .tos(case.tos);
    let ip = match (case.df, I::FAMILY) {
        (true, Family::V4) => ip.df(),
        _ => ip,
    };
    let frame = ip.tcp(1, 2).payload(&[7; 10]).build();
    let h = headers(&frame);
    let mut general = std::vec![0; I::OUTER_LEN];
    general.extend_from_slice(&frame);
    let mut plain = general.clone();
    rewrite::decrement_ttl(&mut general[I::OUTER_LEN..], &h);
    let (src, dst) = (addr::<I>(case.tunnel.0), addr::<I>(case.tunnel.1));
    let (copy_df, id) = (case.copy_df, case.id);
    let outer = tunnel::Outer {
        tunnel: tunnel::Tunnel::Ipip,
        src,
        dst,
        copy_df,
        id,
    };
    tunnel::write_outer(&mut general[14..], &h, &outer);
    general[..14].copy_from_slice(&link::<I>());
    let link = link::<I>();
    pass_on::<I>(
        I::head(&mut plain[I::OUTER_LEN..]).expect("a header"),
        &link,
    );
    let ends = [src, dst].map(I::addr_of);
    let outer = Outer { ends, copy_df, id };
    let len = h.packet_len() as u16;
    I::wrap(I::head(&mut plain).expect("a header"), &link, len, &outer);
    assert_eq!(plain, general);
}

/// Anything that the parser refuses or sees more in is not plain.
fn is_so_for_the_parser<I: Ip>(edits: &[(usize, u8)], cut: usize, udp: bool) {
    let mut frame = packet::<I>(1, 2, (1000, 80), udp, &[7; 14]);
    for (at, value) in edits {
        let at = at % frame.len();
        frame[at] = *value;
    }
    frame.truncate(cut);
    if let Some(plain) = I::read(&frame, mac(OWN), true) {
        let [src, dst] = I::ends(plain.addrs).map(I::addr);
        match crate::parse(&frame, true) {
            Ok(Parsed::Ip(h)) => {
                assert_eq!((h.l3, usize::from(h.l4), h.vlan), (14, I::L4, 0));
                assert_eq!(usize::from(plain.len), h.packet_len());
                assert!(!h.bits.fragment() && !h.bits.ip_options() && h.ttl > 1);
                assert_eq!(plain.tcp_flags, h.tcp_flags);
                assert!(!I::is_martian(src, dst));
            }
            Err(crate::ParseError::Martian) => assert!(I::is_martian(src, dst)),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn the_plain_way_writes_what_the_general_way_writes(
        from: Ends, to: Ends, udp: bool, payload in prop::collection::vec(any::<u8>(), 12..40),
    ) {
        writes_the_same::<V4>(from, to, udp, &payload);
        writes_the_same::<V6>(from, to, udp, &payload);
    }

    #[test]
    fn the_plain_outer_header_is_the_general_one(
        ends: (u64, u64), tunnel: (u64, u64), id: u16, tos: u8, ttl in 2u8.., df: bool, copy_df: bool,
    ) {
        let case = Wrapped { ends, tunnel, tos, ttl, df, copy_df, id };
        wraps_the_same::<V4>(&case);
        wraps_the_same::<V6>(&case);
    }

    #[test]
    fn what_is_read_as_plain_is_so_for_the_parser(
        edits in prop::collection::vec((0usize..90, any::<u8>()), 0..3),
        cut in 0usize..90, udp: bool,
    ) {
        is_so_for_the_parser::<V4>(&edits, cut, udp);
        is_so_for_the_parser::<V6>(&edits, cut, udp);
    }
}

fn every_checksum_changes<I: Ip>() {
    let server = addr::<I>(3);
    for udp in [false, true] {
        let mut frame = packet::<I>(1, 2, (1000, 80), udp, &[7; 14]);
        let at = I::L4 + if udp { 6 } else { 16 };
        for check in u16::from(udp)..=u16::MAX {
            frame[at..at + 2].copy_from_slice(&check.to_be_bytes());
            assert_eq!(
                plainly::<I>(&frame, |head, link| {
                    pass_to::<I>(head, link, I::addr_of(server), 53_u16.to_be());
                }),
                generally::<I>(&frame, |f, h| rewrite::set_destination(f, h, server, 53)),
                "{check:#x}"
            );
        }
    }
}

/// One of them comes out as 0, which for UDP would mean "none".
#[test]
fn every_checksum_changes_as_in_the_general_way() {
    every_checksum_changes::<V4>();
    every_checksum_changes::<V6>();
}

/// A packet of the one family is not read as one of the other.
#[test]
fn a_frame_for_another_station_or_of_another_family_is_not_plain() {
    let frame = packet::<V4>(1, 2, (1, 2), false, &[0; 40]);
    assert!(V4::read(&frame, mac(OWN), true).is_some());
    assert!(V4::read(&frame, mac(PEER), true).is_none());
    assert!(V6::read(&frame, mac(OWN), true).is_none());
    let frame = packet::<V6>(1, 2, (1, 2), false, &[0; 40]);
    assert!(V6::read(&frame, mac(OWN), true).is_some());
    assert!(V6::read(&frame, mac(PEER), true).is_none());
    assert!(V4::read(&frame, mac(OWN), true).is_none());
}

#[test]
fn a_wrong_ip_checksum_is_not_plain_unless_the_device_vouches() {
    let mut frame = packet::<V4>(1, 2, (1, 2), false, &[0; 10]);
    frame[24] ^= 1;
    assert!(V4::read(&frame, mac(OWN), true).is_none());
    assert!(V4::read(&frame, mac(OWN), false).is_some());
}

/// Of the addresses that the parser refuses as sources of IPv6, each by itself.
#[test]
fn a_martian_source_is_one_for_the_parser() {
    let others = [0, 1, 0xff02 << 112 | 1, 0xffff << 32 | 0x0a00_0001];
    for (src, is_martian) in others
        .map(|src| (src, true))
        .into_iter()
        .chain([(2, false)])
    {
        let (src, dst) = (Addr(src), addr::<V6>(9));
        assert_eq!(V6::is_martian(src, dst), is_martian, "{src:?}");
        let raw = u128::from_ne_bytes(src.v6_bytes());
        assert_eq!(V6::is_martian_source(raw), is_martian, "{src:?}");
    }
}
