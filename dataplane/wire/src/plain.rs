//! The plain packet: untagged Ethernet, IPv4 without options, TCP or UDP, whole. Nearly every packet
//! is one, so it is read and rewritten at fixed offsets, without [`Headers`](crate::Headers):
//!
//! ```text
//! 0        6        12     14           20    22  23    24    26    30    34  36   38      46 47  50
//! +--------+--------+------+--+--+------+-----+---+-----+-----+-----+-----+---+---+-- - --+--+--+- -
//! | dst    | src    | 0800 |45|..| len..|frag |TTL|proto|check| src | dst | ports |       | flags |
//! +--------+--------+------+--+--+------+-----+---+-----+-----+-----+-----+---+---+-- - --+--+--+- -
//! ```
//!
//! Whatever is not plain, or is wrong in any way, is left to [`parse`](crate::parse), which says what it is. Both
//! give the same packet the same bytes.
//!
//! Fields stay in the packet's byte order, as numbers of the machine's own. The Internet checksum
//! does not mind (RFC 1071 §2 B).

use crate::addr::Addr;
use crate::bytes::{array, get_u16};
use crate::headers::protocol;
use crate::parser::{may_be_source_v4, refuse_martian_v4};
use crate::tunnel;

/// Bytes of Ethernet, IPv4 and TCP header.
pub const LEN: usize = 54;

/// The beginning of a plain frame.
pub type Head = [u8; LEN];

/// Bytes of the Ethernet header.
pub const ETHERNET_LEN: usize = 14;

const L3: usize = ETHERNET_LEN;
const L4: usize = 34;
/// Where an IPv4 header has its checksum.
const IP_CHECK: usize = L3 + 10;

/// What is read of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Source and destination address.
    pub addrs: u64,
    /// Source and destination port.
    pub ports: u32,
    /// Bytes of the IP packet.
    pub len: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// TCP's flags; 0 for UDP.
    pub tcp_flags: u8,
}

/// The first `N` bytes from `AT` on; both are constants, so nothing is left to check at run time.
#[inline(always)]
fn field<const AT: usize, const N: usize>(head: &Head) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[AT..AT + N]);
    field
}

#[inline(always)]
fn set<const AT: usize, const N: usize>(head: &mut Head, value: [u8; N]) {
    head[AT..AT + N].copy_from_slice(&value);
}

#[inline(always)]
fn word<const AT: usize>(head: &Head) -> u16 {
    u16::from_ne_bytes(field::<AT, 2>(head))
}

#[inline(always)]
fn double<const AT: usize>(head: &Head) -> u32 {
    u32::from_ne_bytes(field::<AT, 4>(head))
}

#[inline(always)]
fn quad<const AT: usize>(head: &Head) -> u64 {
    u64::from_ne_bytes(field::<AT, 8>(head))
}

/// Reads a frame to the station `mac`; none when it is not plain, is for another station, has a TTL
/// of 0 or 1, or anything is wrong with it. Addresses are not judged.
///
/// `verify_ip_checksum` is false when the device has found the IPv4 header checksum right.
#[inline(always)]
#[must_use]
pub fn read(frame: &[u8], mac: u64, verify_ip_checksum: bool) -> Option<Plain> {
    const TYPE_AND_VERSION: u32 = u32::from_ne_bytes([8, 0, 0x45, 0]);
    const ALL_BUT_TOS: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
    // Of length, identification, fragment, TTL and protocol.
    const MORE_AND_OFFSET: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0x3f, 0xff, 0, 0]);
    let head: &Head = frame.first_chunk()?;
    let from_len = quad::<16>(head);
    let [high, low, .., ttl, protocol] = from_len.to_ne_bytes();
    let is_plain = quad::<0>(head) & STATION == mac
        && double::<12>(head) & ALL_BUT_TOS == TYPE_AND_VERSION
        && from_len & MORE_AND_OFFSET == 0
        && ttl > 1;
    if !is_plain || (verify_ip_checksum && !is_ip_checksum_right(head)) {
        return None;
    }
    let len = u16::from_be_bytes([high, low]);
    // What a frame of this length has room for, and what the IP header alone takes.
    let payload = u32::from(len).wrapping_sub((L4 - L3) as u32);
    if payload > (frame.len() - L4) as u32 {
        return None;
    }
    let tcp_flags = match protocol {
        protocol::TCP => {
            let header_len = u32::from(head[46] >> 4) * 4;
            if header_len < 20 || header_len > payload {
                return None;
            }
            head[47]
        }
        protocol::UDP => {
            let udp_len = u32::from(u16::from_be(word::<38>(head)));
            if udp_len < 8 || udp_len > payload {
                return None;
            }
            0
        }
        _ => return None,
    };
    Some(Plain {
        addrs: quad::<26>(head),
        ports: double::<34>(head),
        len,
        protocol,
        tcp_flags,
    })
}

/// The bytes of the destination among the first eight.
const STATION: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// A MAC address as [`read`] compares it.
#[inline]
#[must_use]
pub const fn mac(mac: crate::Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

#[inline(always)]
fn is_ip_checksum_right(head: &Head) -> bool {
    let (sum, carry) = quad::<14>(head).overflowing_add(quad::<22>(head));
    let rest = u64::from(double::<30>(head)) + u64::from(carry);
    let (sum, carry) = sum.overflowing_add(rest);
    // The second carry comes of a sum that has wrapped to less than 2³³.
    fold(sum + u64::from(carry)) == 0xffff
}

/// The sum in 16 bits, carries added in. Adding the other half turned round leaves it, with its
/// carry, in the upper half.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// What changes under a checksum (RFC 1624 §3), as [`crate::checksum::Delta`] in the packet's byte
/// order.
#[derive(Clone, Copy)]
struct Change(u64);

impl Change {
    #[inline(always)]
    const fn of_double(old: u32, new: u32) -> Self {
        Self(!old as u64 + new as u64)
    }

    #[inline(always)]
    const fn of_word(old: u16, new: u16) -> Self {
        Self(!old as u64 + new as u64)
    }

    #[inline(always)]
    const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    const fn apply(self, check: u16) -> u16 {
        !fold(!check as u64 + self.0)
    }
}

/// Takes one off the TTL and puts a new Ethernet header on.
#[inline(always)]
pub fn pass_on(head: &mut Head, link: &[u8; L3]) {
    rewrite_ip(head, Change(0));
    set::<0, L3>(head, *link);
}

/// Takes one off the TTL, and corrects the IPv4 checksum by that and `change`.
#[inline(always)]
fn rewrite_ip(head: &mut Head, change: Change) {
    // The TTL is the first byte of its word and not 0, so ~m + m' is always this.
    const ONE_LESS: Change = Change(u16::from_ne_bytes([0xfe, 0xff]) as u64);
    head[22] -= 1;
    let check = change.and(ONE_LESS).apply(word::<IP_CHECK>(head));
    set::<IP_CHECK, 2>(head, check.to_ne_bytes());
}

/// Gives the packet another destination, takes one off the TTL and puts a new Ethernet header on.
///
/// `addr` and `port` are in the packet's byte order. A datagram without checksum must not come here:
/// see [`lacks_checksum`].
#[inline(always)]
pub fn pass_to(head: &mut Head, link: &[u8; L3], addr: u32, port: u16) {
    let change = Change::of_double(double::<30>(head), addr);
    let ports = Change::of_word(word::<36>(head), port);
    set::<30, 4>(head, addr.to_ne_bytes());
    set::<36, 2>(head, port.to_ne_bytes());
    rewrite_ip(head, change);
    rewrite_transport(head, change.and(ports));
    set::<0, L3>(head, *link);
}

/// Gives the packet another source; as [`pass_to`].
#[inline(always)]
pub fn pass_from(head: &mut Head, link: &[u8; L3], addr: u32, port: u16) {
    let change = Change::of_double(double::<26>(head), addr);
    let ports = Change::of_word(word::<34>(head), port);
    set::<26, 4>(head, addr.to_ne_bytes());
    set::<34, 2>(head, port.to_ne_bytes());
    rewrite_ip(head, change);
    rewrite_transport(head, change.and(ports));
    set::<0, L3>(head, *link);
}

/// Gives the packet another source and destination; as [`pass_to`].
#[inline(always)]
pub fn pass_between(head: &mut Head, link: &[u8; L3], addrs: u64, ports: u32) {
    let old = quad::<26>(head);
    let change = Change::of_double(old as u32, addrs as u32)
        .and(Change::of_double((old >> 32) as u32, (addrs >> 32) as u32));
    let of_ports = Change::of_double(double::<34>(head), ports);
    set::<26, 8>(head, addrs.to_ne_bytes());
    set::<34, 4>(head, ports.to_ne_bytes());
    rewrite_ip(head, change);
    rewrite_transport(head, change.and(of_ports));
    set::<0, L3>(head, *link);
}

/// Bytes that [`wrap`] puts before the packet.
pub const OUTER_LEN: usize = 20;

/// The addresses and the ports of a plain packet, its source's first.
#[inline]
#[must_use]
pub fn ends(head: &Head) -> ([[u8; 4]; 2], [u16; 2]) {
    let addr = |at: usize| array::<4>(head, at).copied().unwrap_or_default();
    let port = |at: usize| get_u16(head, at).unwrap_or_default();
    (
        [addr(L3 + 12), addr(L3 + 16)],
        [port(L3 + 20), port(L3 + 22)],
    )
}

/// What the outer header of a tunnelled packet does not take from the inner one.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Source and destination address, as packets have them.
    pub addrs: u64,
    /// Whether the outer packet may not be fragmented when the inner may not.
    pub copy_df: bool,
    /// Identification of the outer packet, used when it may be fragmented (RFC 6864 §4).
    pub id: u16,
}

/// Writes Ethernet and outer IPv4 header (RFC 2003) before a packet of `len` bytes whose TTL is
/// decremented. `head` begins [`OUTER_LEN`] bytes before the old Ethernet header.
#[inline(always)]
pub fn wrap(head: &mut Head, link: &[u8; L3], len: u16, outer: &Outer) {
    let [tos, fragment, ttl] = [head[35], head[40], head[42]];
    let total = (len + OUTER_LEN as u16).to_be_bytes();
    let (id, flags) = match outer.copy_df && fragment & 0x40 != 0 {
        true => ([0, 0], 0x40),
        false => (outer.id.to_be_bytes(), 0),
    };
    let first = [
        0x45,
        tunnel::outer_tos(tos),
        total[0],
        total[1],
        id[0],
        id[1],
        flags,
        0,
    ];
    let rest = [ttl, protocol::IPIP, 0, 0];
    let sum = u64::from_ne_bytes(first);
    let (sum, carry) = sum.overflowing_add(outer.addrs);
    let (sum, again) = sum.overflowing_add(u64::from(u32::from_ne_bytes(rest)) + u64::from(carry));
    let check = (!fold(sum + u64::from(again))).to_ne_bytes();
    set::<0, L3>(head, *link);
    set::<14, 8>(head, first);
    set::<22, 4>(head, [ttl, protocol::IPIP, check[0], check[1]]);
    set::<26, 8>(head, outer.addrs.to_ne_bytes());
}

#[inline(always)]
fn rewrite_transport(head: &mut Head, change: Change) {
    if head[23] == protocol::TCP {
        let check = change.apply(word::<50>(head));
        set::<50, 2>(head, check.to_ne_bytes());
    } else {
        let check = change.apply(word::<40>(head));
        // A computed 0 is sent as 0xffff (RFC 768).
        let check = if check == 0 { 0xffff } else { check };
        set::<40, 2>(head, check.to_ne_bytes());
    }
}

/// True when no packet on a wire may have these addresses ([`Plain::addrs`]).
#[inline]
#[must_use]
pub fn is_martian(addrs: u64) -> bool {
    let [a, b, c, d, e, f, g, h] = addrs.to_ne_bytes();
    let (src, dst) = (
        Addr::from_v4_bytes([a, b, c, d]),
        Addr::from_v4_bytes([e, f, g, h]),
    );
    refuse_martian_v4(src, dst).is_err()
}

/// True when no packet to another host may come from this address, the first of [`Plain::addrs`].
#[inline(always)]
#[must_use]
pub const fn is_martian_source(src: u32) -> bool {
    !may_be_source_v4(u32::from_be(src))
}

/// True for a datagram without checksum, whose checksum has to be made from all its bytes when an
/// address changes.
#[inline]
#[must_use]
pub fn lacks_checksum(head: &Head) -> bool {
    head[23] == protocol::UDP && word::<40>(head) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::PacketBuilder;
    use crate::{Mac, Parsed, rewrite, tcp_flag};
    use proptest::prelude::*;
    use std::vec::Vec;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const LINK: [u8; 14] = [9, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 8, 0];

    fn v4(bits: u32) -> Addr {
        Addr::from_v4_bytes(bits.to_be_bytes())
    }

    fn packet(src: u32, dst: u32, ports: (u16, u16), udp: bool, payload: &[u8]) -> Vec<u8> {
        let ip = PacketBuilder::eth(PEER, OWN).ip(v4(src), v4(dst));
        let packet = match udp {
            false => ip.tcp(ports.0, ports.1).flags(tcp_flag::ACK),
            true => ip.udp(ports.0, ports.1),
        };
        packet.payload(payload).build()
    }

    /// The same by the general functions.
    fn generally(frame: &[u8], edit: impl FnOnce(&mut [u8], &crate::Headers)) -> Vec<u8> {
        let Ok(Parsed::Ip(headers)) = crate::parse(frame, true) else {
            panic!("not an IP packet");
        };
        let mut frame = frame.to_vec();
        edit(&mut frame, &headers);
        rewrite::decrement_ttl(&mut frame, &headers);
        frame[..14].copy_from_slice(&LINK);
        frame
    }

    fn plainly(frame: &[u8], edit: impl FnOnce(&mut Head)) -> Vec<u8> {
        let mut frame = frame.to_vec();
        edit(frame.first_chunk_mut().expect("a whole header"));
        frame
    }

    proptest! {
        #[test]
        fn the_plain_way_writes_what_the_general_way_writes(
            src in 0x0100_0000u32..0x7f00_0000, dst in 0x0100_0000u32..0x7f00_0000,
            ports: (u16, u16), udp: bool, payload in prop::collection::vec(any::<u8>(), 12..40),
            addr in 0x0100_0000u32..0x7f00_0000, local in 0x0100_0000u32..0x7f00_0000,
            port in 1u16.., local_port in 1u16..,
        ) {
            let frame = packet(src, dst, ports, udp, &payload);
            let read = read(&frame, mac(OWN), true);
            let Ok(Parsed::Ip(h)) = crate::parse(&frame, true) else { panic!("{frame:x?}") };
            let read = read.expect("it is plain");
            prop_assert_eq!((usize::from(read.len), read.protocol), (h.packet_len(), h.protocol));
            prop_assert_eq!(read.tcp_flags, h.tcp_flags);
            prop_assert_eq!(&read.addrs.to_ne_bytes(), &frame[26..34]);
            prop_assert_eq!(&read.ports.to_ne_bytes(), &frame[34..38]);
            let (be, port_be) = (addr.to_be(), port.to_be());
            prop_assert_eq!(
                plainly(&frame, |head| pass_on(head, &LINK)),
                generally(&frame, |_, _| ())
            );
            prop_assert_eq!(
                plainly(&frame, |head| pass_to(head, &LINK, be, port_be)),
                generally(&frame, |f, h| rewrite::set_destination(f, h, v4(addr), port))
            );
            prop_assert_eq!(
                plainly(&frame, |head| pass_from(head, &LINK, be, port_be)),
                generally(&frame, |f, h| rewrite::set_source(f, h, v4(addr), port))
            );
            let mut addrs = [0; 8];
            addrs[..4].copy_from_slice(&local.to_be_bytes());
            addrs[4..].copy_from_slice(&addr.to_be_bytes());
            let mut both = [0; 4];
            both[..2].copy_from_slice(&local_port.to_be_bytes());
            both[2..].copy_from_slice(&port.to_be_bytes());
            prop_assert_eq!(
                plainly(&frame, |head| pass_between(
                    head, &LINK, u64::from_ne_bytes(addrs), u32::from_ne_bytes(both)
                )),
                generally(&frame, |f, h| {
                    rewrite::set_source(f, h, v4(local), local_port);
                    rewrite::set_destination(f, h, v4(addr), port);
                })
            );
        }

        #[test]
        fn the_plain_outer_header_is_the_general_one(
            src in 0x0100_0000u32..0x7f00_0000, dst in 0x0100_0000u32..0x7f00_0000,
            from: u32, to: u32, id: u16, tos: u8, ttl in 2u8.., df: bool, copy_df: bool,
        ) {
            let ip = PacketBuilder::eth(PEER, OWN).ip(v4(src), v4(dst)).ttl(ttl).tos(tos);
            let ip = if df { ip.df() } else { ip };
            let frame = ip.tcp(1, 2).payload(&[7; 10]).build();
            let Ok(Parsed::Ip(h)) = crate::parse(&frame, true) else { panic!("{frame:x?}") };
            let mut general = std::vec![0; OUTER_LEN];
            general.extend_from_slice(&frame);
            let mut plain = general.clone();
            rewrite::decrement_ttl(&mut general[OUTER_LEN..], &h);
            let outer = tunnel::Outer {
                tunnel: tunnel::Tunnel::Ipip, src: v4(from), dst: v4(to), copy_df, id,
            };
            tunnel::write_outer(&mut general[14..], &h, &outer);
            general[..14].copy_from_slice(&LINK);
            pass_on(plain[OUTER_LEN..].first_chunk_mut().expect("a header"), &LINK);
            let mut addrs = [0; 8];
            addrs[..4].copy_from_slice(&from.to_be_bytes());
            addrs[4..].copy_from_slice(&to.to_be_bytes());
            let outer = Outer { addrs: u64::from_ne_bytes(addrs), copy_df, id };
            let len = h.packet_len() as u16;
            wrap(plain.first_chunk_mut().expect("a header"), &LINK, len, &outer);
            prop_assert_eq!(plain, general);
        }

        /// Anything that the parser refuses or sees more in is not plain.
        #[test]
        fn what_is_read_as_plain_is_so_for_the_parser(
            edits in prop::collection::vec((0usize..60, any::<u8>()), 0..3),
            cut in 0usize..70, udp: bool,
        ) {
            let mut frame = packet(0x0a00_0001, 0x0a00_0002, (1000, 80), udp, &[7; 14]);
            for (at, value) in edits {
                let at = at % frame.len();
                frame[at] = value;
            }
            frame.truncate(cut);
            if let Some(plain) = read(&frame, mac(OWN), true) {
                match crate::parse(&frame, true) {
                    Ok(Parsed::Ip(h)) => {
                        prop_assert_eq!((h.l3, h.l4, h.vlan), (14, 34, 0));
                        prop_assert_eq!(usize::from(plain.len), h.packet_len());
                        prop_assert!(!h.bits.fragment() && !h.bits.ip_options() && h.ttl > 1);
                        prop_assert_eq!(plain.tcp_flags, h.tcp_flags);
                        prop_assert!(!is_martian(plain.addrs));
                    }
                    Err(crate::ParseError::Martian) => prop_assert!(is_martian(plain.addrs)),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }

    /// One of them comes out as 0, which for UDP would mean "none".
    #[test]
    fn every_checksum_changes_as_in_the_general_way() {
        let addr = 0x0a00_0003_u32;
        for udp in [false, true] {
            let mut frame = packet(0x0a00_0001, 0x0a00_0002, (1000, 80), udp, &[7; 14]);
            let at = if udp { 40 } else { 50 };
            for check in u16::from(udp)..=u16::MAX {
                frame[at..at + 2].copy_from_slice(&check.to_be_bytes());
                assert_eq!(
                    plainly(&frame, |h| pass_to(h, &LINK, addr.to_be(), 53_u16.to_be())),
                    generally(&frame, |f, h| rewrite::set_destination(f, h, v4(addr), 53)),
                    "{check:#x}"
                );
            }
        }
    }

    #[test]
    fn a_frame_for_another_station_is_not_plain() {
        let frame = packet(0x0a00_0001, 0x0a00_0002, (1, 2), false, &[0; 10]);
        assert!(read(&frame, mac(OWN), true).is_some());
        assert!(read(&frame, mac(PEER), true).is_none());
    }

    #[test]
    fn a_wrong_ip_checksum_is_not_plain_unless_the_device_vouches() {
        let mut frame = packet(0x0a00_0001, 0x0a00_0002, (1, 2), false, &[0; 10]);
        frame[24] ^= 1;
        assert!(read(&frame, mac(OWN), true).is_none());
        assert!(read(&frame, mac(OWN), false).is_some());
    }
}
