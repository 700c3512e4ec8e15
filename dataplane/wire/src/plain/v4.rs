//! Plain packets of IPv4.

use super::{Change, ETHERNET_LEN, Ip, L3, Outer, Plain, STATION};
use super::{double, field, fold, quad, read_transport, set, word};
use crate::addr::{Addr, Family};
use crate::headers::protocol;
use crate::parser::{V4_LEN, may_be_source_v4, refuse_martian_v4};
use crate::tunnel;

/// IPv4:
///
/// ```text
/// 0        6        12     14           20    22  23    24    26    30    34  36   38      46 47  50
/// +--------+--------+------+--+--+------+-----+---+-----+-----+-----+-----+---+---+-- - --+--+--+- -
/// | dst    | src    | 0800 |45|..| len..|frag |TTL|proto|check| src | dst | ports |       | flags |
/// +--------+--------+------+--+--+------+-----+---+-----+-----+-----+-----+---+---+-- - --+--+--+- -
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V4 {}

type Head = [u8; ETHERNET_LEN + V4_LEN + 20];

/// Where the header has its TTL and its checksum.
const TTL: usize = L3 + 8;
const CHECK: usize = L3 + 10;

impl Ip for V4 {
    const FAMILY: Family = Family::V4;
    const SOURCE: usize = L3 + 12;
    const DESTINATION: usize = L3 + 16;
    const PROTOCOL: usize = L3 + 9;
    const L4: usize = L3 + V4_LEN;
    const OUTER_LEN: usize = V4_LEN;
    const NOBODY: u32 = 0;
    const NOBODYS: u64 = 0;

    type Addr = u32;
    type Addrs = u64;
    type Head = Head;

    #[inline(always)]
    fn addr_of(addr: Addr) -> u32 {
        u32::from_ne_bytes(addr.v4_bytes())
    }

    #[inline(always)]
    fn addr(addr: u32) -> Addr {
        Addr::from_v4_bytes(addr.to_ne_bytes())
    }

    #[inline(always)]
    fn folded(addr: u32) -> u32 {
        addr
    }

    #[inline(always)]
    fn both([src, dst]: [u32; 2]) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) = (src.to_ne_bytes(), dst.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    #[inline(always)]
    fn ends(addrs: u64) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = addrs.to_ne_bytes();
        [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes)
    }

    #[inline]
    fn is_martian(src: Addr, dst: Addr) -> bool {
        refuse_martian_v4(src, dst).is_err()
    }

    #[inline(always)]
    fn is_martian_source(src: u32) -> bool {
        !may_be_source_v4(u32::from_be(src))
    }

    #[inline(always)]
    fn head(frame: &mut [u8]) -> Option<&mut Head> {
        frame.first_chunk_mut()
    }

    #[inline(always)]
    fn read(frame: &[u8], mac: u64, verify_ip_checksum: bool) -> Option<Plain<Self>> {
        const TYPE_AND_VERSION: u32 = u32::from_ne_bytes([8, 0, 0x45, 0]);
        const ALL_BUT_TOS: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
        // Of length, identification, fragment, TTL and protocol.
        const MORE_AND_OFFSET: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0x3f, 0xff, 0, 0]);
        let head: &Head = frame.first_chunk()?;
        let from_len = quad(head, L3 + 2);
        let [high, low, .., ttl, protocol] = from_len.to_ne_bytes();
        let is_plain = quad(head, 0) & STATION == mac
            && double(head, L3 - 2) & ALL_BUT_TOS == TYPE_AND_VERSION
            && from_len & MORE_AND_OFFSET == 0
            && ttl > 1;
        if !is_plain || (verify_ip_checksum && !is_checksum_right(head)) {
            return None;
        }
        let len = u16::from_be_bytes([high, low]);
        // What a frame of this length has room for, and what the IP header alone takes.
        let payload = u32::from(len).wrapping_sub(V4_LEN as u32);
        if payload > (frame.len() - Self::L4) as u32 {
            return None;
        }
        Some(Plain {
            addrs: quad(head, Self::SOURCE),
            ports: double(head, Self::L4),
            len,
            protocol,
            tcp_flags: read_transport(head, Self::L4, protocol, payload)?,
        })
    }

    #[inline(always)]
    fn replace(head: &mut Head, at: usize, addr: u32) -> Change {
        let change = Change::of_double(double(head, at), addr);
        set(head, at, addr.to_ne_bytes());
        change
    }

    #[inline(always)]
    fn rewrite_ip(head: &mut Head, change: Change) {
        // The TTL is the first byte of its word and not 0, so ~m + m' is always this.
        const ONE_LESS: Change = Change(u16::from_ne_bytes([0xfe, 0xff]) as u64);
        head[TTL] -= 1;
        let check = change.and(ONE_LESS).apply(word(head, CHECK));
        set(head, CHECK, check.to_ne_bytes());
    }

    /// RFC 2003.
    #[inline(always)]
    fn wrap(head: &mut Head, link: &[u8; L3], len: u16, outer: &Outer<Self>) {
        const INNER: usize = L3 + V4_LEN;
        let [tos, fragment, ttl] = [head[INNER + 1], head[INNER + 6], head[INNER + 8]];
        let total = (len + V4_LEN as u16).to_be_bytes();
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
        let addrs = Self::both(outer.ends);
        let sum = u64::from_ne_bytes(first);
        let (sum, carry) = sum.overflowing_add(addrs);
        let rest = u64::from(u32::from_ne_bytes(rest)) + u64::from(carry);
        let (sum, again) = sum.overflowing_add(rest);
        let check = (!fold(sum + u64::from(again))).to_ne_bytes();
        set(head, 0, *link);
        set(head, L3, first);
        set(head, TTL, [ttl, protocol::IPIP, check[0], check[1]]);
        set(head, Self::SOURCE, addrs.to_ne_bytes());
    }
}

#[inline(always)]
fn is_checksum_right(head: &Head) -> bool {
    let (sum, carry) = quad(head, L3).overflowing_add(quad(head, L3 + 8));
    let rest = u64::from(u32::from_ne_bytes(field(head, L3 + 16))) + u64::from(carry);
    let (sum, carry) = sum.overflowing_add(rest);
    // The second carry comes of a sum that has wrapped to less than 2³³.
    fold(sum + u64::from(carry)) == 0xffff
}
