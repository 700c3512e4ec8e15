//! Plain packets of IPv6.

use super::{Change, ETHERNET_LEN, Ip, L3, Outer, Plain, STATION};
use super::{double, field, quad, read_transport, set};
use crate::addr::{Addr, Family};
use crate::headers::protocol;
use crate::parser::{V6_LEN, refuse_martian_v6};
use crate::tunnel;

/// IPv6:
///
/// ```text
/// 0        6        12     14       18    20   21   22            38            54  56   58      66 67  70
/// +--------+--------+------+--------+-----+----+----+-------------+-------------+---+---+-- - --+--+--+- -
/// | dst    | src    | 86dd |6..     | len |next|hops| src         | dst         | ports |       | flags |
/// +--------+--------+------+--------+-----+----+----+-------------+-------------+---+---+-- - --+--+--+- -
/// ```
///
/// A datagram of less than 12 bytes is shorter than a head, and not plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V6 {}

type Head = [u8; ETHERNET_LEN + V6_LEN + 20];

/// Where the header has its hop limit.
const HOPS: usize = L3 + 7;

impl Ip for V6 {
    const FAMILY: Family = Family::V6;
    const SOURCE: usize = L3 + 8;
    const DESTINATION: usize = L3 + 24;
    const PROTOCOL: usize = L3 + 6;
    const L4: usize = L3 + V6_LEN;
    const OUTER_LEN: usize = V6_LEN;
    const NOBODY: u128 = 0;
    const NOBODYS: [u128; 2] = [0; 2];

    type Addr = u128;
    type Addrs = [u128; 2];
    type Head = Head;

    #[inline(always)]
    fn addr_of(addr: Addr) -> u128 {
        u128::from_ne_bytes(addr.v6_bytes())
    }

    #[inline(always)]
    fn addr(addr: u128) -> Addr {
        Addr::from_v6_bytes(addr.to_ne_bytes())
    }

    #[inline(always)]
    fn folded(addr: u128) -> u32 {
        let half = addr as u64 ^ (addr >> 64) as u64;
        half as u32 ^ (half >> 32) as u32
    }

    #[inline(always)]
    fn both(ends: [u128; 2]) -> [u128; 2] {
        ends
    }

    #[inline(always)]
    fn ends(addrs: [u128; 2]) -> [u128; 2] {
        addrs
    }

    #[inline]
    fn is_martian(src: Addr, dst: Addr) -> bool {
        refuse_martian_v6(src, dst).is_err()
    }

    #[inline(always)]
    fn is_martian_source(src: u128) -> bool {
        let src = Self::addr(src);
        src.is_v4() || src.is_multicast() || src.is_loopback() || src.is_unspecified()
    }

    #[inline(always)]
    fn head(frame: &mut [u8]) -> Option<&mut Head> {
        frame.first_chunk_mut()
    }

    #[inline(always)]
    fn read(frame: &[u8], mac: u64, _: bool) -> Option<Plain<Self>> {
        const TYPE_AND_VERSION: u32 = u32::from_ne_bytes([0x86, 0xdd, 0x60, 0]);
        const ALL_BUT_CLASS: u32 = u32::from_ne_bytes([0xff, 0xff, 0xf0, 0]);
        let head: &Head = frame.first_chunk()?;
        let [high, low, protocol, hops] = field(head, L3 + 4);
        let is_plain = quad(head, 0) & STATION == mac
            && double(head, L3 - 2) & ALL_BUT_CLASS == TYPE_AND_VERSION
            && hops > 1;
        let payload = u32::from(u16::from_be_bytes([high, low]));
        let end = payload + Self::L4 as u32;
        if !is_plain || end > frame.len() as u32 || end > u32::from(u16::MAX) {
            return None;
        }
        Some(Plain {
            addrs: [Self::SOURCE, Self::DESTINATION].map(|at| addr_at(head, at)),
            ports: double(head, Self::L4),
            len: end as u16 - L3 as u16,
            protocol,
            tcp_flags: read_transport(head, Self::L4, protocol, payload)?,
        })
    }

    #[inline(always)]
    fn replace(head: &mut Head, at: usize, addr: u128) -> Change {
        let old = addr_at(head, at);
        set(head, at, addr.to_ne_bytes());
        let quads = |of: u128| u128::from(of as u64) + (of >> 64);
        let sum = quads(!old) + quads(addr);
        // Less than 2³² and less than 2³⁴: room is left for what is added.
        Change((sum as u64 & 0xffff_ffff) + (sum >> 32) as u64)
    }

    #[inline(always)]
    fn rewrite_ip(head: &mut Head, _: Change) {
        head[HOPS] -= 1;
    }

    /// RFC 2473.
    #[inline(always)]
    fn wrap(head: &mut Head, link: &[u8; L3], len: u16, outer: &Outer<Self>) {
        const INNER: usize = L3 + V6_LEN;
        let [first, second] = field(head, INNER);
        let class = tunnel::outer_tos(first << 4 | second >> 4);
        let hops = head[INNER + 7];
        let [high, low] = len.to_be_bytes();
        let version = 0x60 | class >> 4;
        let start = [version, class << 4, 0, 0, high, low, protocol::IPV6, hops];
        set(head, 0, *link);
        set(head, L3, start);
        set(head, Self::SOURCE, outer.ends[0].to_ne_bytes());
        set(head, Self::DESTINATION, outer.ends[1].to_ne_bytes());
    }
}

#[inline(always)]
fn addr_at(head: &Head, at: usize) -> u128 {
    u128::from_ne_bytes(field(head, at))
}
