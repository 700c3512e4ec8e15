//! Claims about whole packets, held against etherparse, which shares no code with this crate.

mod parsing;
mod pieces;
mod writing;

use alloc::vec::Vec;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::addr::{Addr, Mac};
use crate::builder::PacketBuilder;
use crate::headers::{Headers, Parsed, protocol};

const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const DIRECTOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn ethernet() -> PacketBuilder {
    PacketBuilder::eth(CLIENT_MAC, DIRECTOR_MAC)
}

fn from_client_v4() -> PacketBuilder {
    ethernet().ipv4([192, 0, 2, 1], [198, 51, 100, 1])
}

fn from_client_v6() -> PacketBuilder {
    ethernet().ipv6(
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
        [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1],
    )
}

/// The headers of a frame that carries IP and is right.
fn headers(frame: &[u8]) -> Headers {
    match crate::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("{other:?} of {frame:02x?}"),
    }
}

/// An ordinary IPv4 address of a host.
fn host_v4() -> impl Strategy<Value = Addr> {
    (0x0100_0000..0x7f00_0000u32).prop_map(|bits| Addr::from_v4(bits.into()))
}

/// An ordinary IPv6 address of a host.
fn host_v6() -> impl Strategy<Value = Addr> {
    (0..1u128 << 125).prop_map(|bits| Addr(1 << 125 | bits))
}

/// Two addresses of one family, twice: of a packet, and to rewrite them to.
fn hosts() -> impl Strategy<Value = [Addr; 4]> {
    prop_oneof![
        [host_v4(), host_v4(), host_v4(), host_v4()],
        [host_v6(), host_v6(), host_v6(), host_v6()]
    ]
}

/// A right frame of any transport, with its tags, options and extension headers.
fn frames() -> impl Strategy<Value = (Vec<u8>, [Addr; 4])> {
    let link = (vec(1u16..4095, 0..=2), 0usize..80);
    let ip = (hosts(), 1u8.., any::<u8>(), any::<u16>(), any::<bool>());
    let ip_options = vec(Just(1u8), 0..=40);
    let extensions = (option::of(0u8..3), option::of(0u8..3));
    let transport = (
        0u8..6,
        any::<u16>(),
        any::<u16>(),
        any::<u32>(),
        any::<u8>(),
    );
    (
        link,
        ip,
        ip_options,
        extensions,
        transport,
        vec(any::<u8>(), 0..200),
    )
        .prop_map(
            |((vlans, padding), ip, options, extensions, transport, payload)| {
                let (hosts, ttl, tos, id, df) = ip;
                let [src, dst, ..] = hosts;
                let (kind, sport, dport, number, flags) = transport;
                let mut packet = vlans.iter().fold(ethernet(), |packet, id| packet.vlan(*id));
                packet = packet.ip(src, dst).ttl(ttl).tos(tos).id(id.into());
                if df {
                    packet = packet.df();
                }
                if src.is_v4() {
                    packet = packet.ip_options(&options);
                } else {
                    let headers = [
                        (protocol::HOPOPTS, extensions.0),
                        (protocol::DSTOPTS, extensions.1),
                    ];
                    for (number, len) in headers.into_iter().filter_map(|(n, len)| Some((n, len?)))
                    {
                        let mut bytes = std::vec![0; 8 + usize::from(len) * 8];
                        bytes[1] = len;
                        packet = packet.extension(number, &bytes);
                    }
                }
                let packet = match kind {
                    0 | 1 => packet
                        .tcp(sport, dport)
                        .flags(flags)
                        .seq(number)
                        .ack(!number),
                    2 => packet.udp(sport, dport),
                    3 => packet.udp_without_checksum(sport, dport),
                    4 => packet.sctp(sport, dport),
                    _ => packet.icmp(if src.is_v4() { 8 } else { 128 }, 0, number),
                };
                (packet.payload(&payload).pad_to(padding).build(), hosts)
            },
        )
}

/// A frame like those of [`frames`], without UDP's "no checksum" and with ports.
fn packet_with_checksum(frame: &[u8]) -> bool {
    let h = headers(frame);
    !(h.is_udp() && frame[usize::from(h.l4) + 6..][..2] == [0, 0])
}

/// Computes every checksum of a packet, given from its IP header on, anew. `Ok` with the packet's
/// length when all are right.
fn check(packet: &[u8]) -> Result<usize, &'static str> {
    let sliced = SlicedPacket::from_ip(packet).map_err(|_| "etherparse refuses it")?;
    let wrong = |right: bool, what| if right { Ok(()) } else { Err(what) };
    let (len, src, dst, v4) = match sliced.net.as_ref().ok_or("no IP")? {
        NetSlice::Ipv4(ip) => {
            let h = ip.header();
            wrong(
                h.to_header().calc_header_checksum() == h.header_checksum(),
                "IPv4 checksum",
            )?;
            let (src, dst) = (h.source(), h.destination());
            let addrs = (Addr::from_v4_bytes(src), Addr::from_v4_bytes(dst));
            (usize::from(h.total_len()), addrs.0, addrs.1, true)
        }
        NetSlice::Ipv6(ip) => {
            let h = ip.header();
            let addrs = (
                Addr::from_v6_bytes(h.source()),
                Addr::from_v6_bytes(h.destination()),
            );
            (
                40 + usize::from(h.payload_length()),
                addrs.0,
                addrs.1,
                false,
            )
        }
        NetSlice::Arp(_) => return Err("ARP"),
    };
    let (s4, d4, s6, d6) = (
        src.v4_bytes(),
        dst.v4_bytes(),
        src.v6_bytes(),
        dst.v6_bytes(),
    );
    let (computed, stands) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let computed = if v4 {
                tcp.calc_checksum_ipv4(s4, d4)
            } else {
                tcp.calc_checksum_ipv6(s6, d6)
            };
            (computed.map_err(|_| "TCP length")?, tcp.checksum())
        }
        Some(TransportSlice::Udp(udp)) => {
            let (h, data) = (udp.to_header(), udp.payload());
            let computed = if v4 {
                h.calc_checksum_ipv4_raw(s4, d4, data)
            } else {
                h.calc_checksum_ipv6_raw(s6, d6, data)
            };
            (computed.map_err(|_| "UDP length")?, udp.checksum())
        }
        Some(TransportSlice::Icmpv4(icmp)) => (
            icmp.icmp_type().calc_checksum(icmp.payload()),
            icmp.checksum(),
        ),
        Some(TransportSlice::Icmpv6(icmp)) => {
            wrong(icmp.is_checksum_valid(s6, d6), "ICMPv6 checksum")?;
            (0, 0)
        }
        _ => (0, 0),
    };
    wrong(computed == stands, "transport checksum")?;
    Ok(len)
}

/// Whether the CRC of an SCTP packet, given from its SCTP header on, is right.
fn sctp_ok(sctp: &[u8]) -> bool {
    let mut zeroed = sctp.to_vec();
    zeroed[8..12].fill(0);
    crate::crc32c::crc32c(&zeroed).to_le_bytes() == sctp[8..12]
}
