//! The plain packet: untagged Ethernet, IPv4 without options or IPv6 without extension headers, TCP or
//! UDP, whole. Nearly every packet is one, so it is read and rewritten at fixed offsets, without
//! [`Headers`](crate::Headers): see [`V4`] and [`V6`].
//!
//! Whatever is not plain, or is wrong in any way, is left to [`parse`](crate::parse), which says what it is. Both
//! give the same packet the same bytes.
//!
//! Fields stay in the packet's byte order, as numbers of the machine's own. The Internet checksum
//! does not mind (RFC 1071 §2 B).

mod v4;
mod v6;

use core::fmt::Debug;
use core::ops::BitAnd;

use crate::addr::{Addr, Family};
use crate::headers::protocol;

pub use v4::V4;
pub use v6::V6;

/// Bytes of the Ethernet header.
pub const ETHERNET_LEN: usize = 14;

const L3: usize = ETHERNET_LEN;

/// What differs between plain packets of the two families. Heads are from the Ethernet header on.
pub trait Ip: Copy + Debug + Eq + 'static {
    /// Which it is.
    const FAMILY: Family;
    /// Where a head has the source address.
    const SOURCE: usize;
    /// Where it has the destination address.
    const DESTINATION: usize;
    /// Where it has the protocol.
    const PROTOCOL: usize;
    /// Where its transport header begins.
    const L4: usize;
    /// Bytes that [`wrap`](Self::wrap) puts before a packet.
    const OUTER_LEN: usize;
    /// The address that no station has.
    const NOBODY: Self::Addr;
    /// The same as source and destination.
    const NOBODYS: Self::Addrs;

    /// An address, as packets have it.
    type Addr: Copy + Debug + Eq + BitAnd<Output = Self::Addr>;
    /// Source and destination address.
    type Addrs: Copy + Debug + Eq;
    /// The beginning of a plain frame: Ethernet, IP and TCP header.
    type Head: AsRef<[u8]> + AsMut<[u8]>;

    /// An address of this family, or a mask of such, as packets have it.
    fn addr_of(addr: Addr) -> Self::Addr;

    /// The reverse of [`addr_of`](Self::addr_of).
    fn addr(addr: Self::Addr) -> Addr;

    /// Few bits of an address, in which nearly all addresses differ.
    fn folded(addr: Self::Addr) -> u32;

    /// Both addresses in one.
    fn both(ends: [Self::Addr; 2]) -> Self::Addrs;

    /// The reverse of [`both`](Self::both).
    fn ends(addrs: Self::Addrs) -> [Self::Addr; 2];

    /// True when no packet on a wire may have these addresses, both of this family.
    fn is_martian(src: Addr, dst: Addr) -> bool;

    /// True when no packet to another host may come from this address.
    fn is_martian_source(src: Self::Addr) -> bool;

    /// The head of a frame that was read or is as long.
    fn head(frame: &mut [u8]) -> Option<&mut Self::Head>;

    /// Reads a frame to the station `mac`; none when it is not plain, is for another station, has a TTL
    /// of 0 or 1, or anything is wrong with it. Addresses are not judged.
    ///
    /// `verify_ip_checksum` is false when the device has found the IPv4 header checksum right.
    fn read(frame: &[u8], mac: u64, verify_ip_checksum: bool) -> Option<Plain<Self>>;

    /// Puts another address in the place of the one at `at`.
    fn replace(head: &mut Self::Head, at: usize, addr: Self::Addr) -> Change;

    /// Takes one off the TTL, and corrects the IPv4 checksum by that and `change`.
    fn rewrite_ip(head: &mut Self::Head, change: Change);

    /// Writes Ethernet and outer IP header before a packet of `len` bytes whose TTL is decremented.
    /// `head` begins [`OUTER_LEN`](Self::OUTER_LEN) bytes before the old Ethernet header.
    fn wrap(head: &mut Self::Head, link: &[u8; L3], len: u16, outer: &Outer<Self>);
}

/// What is read of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<I: Ip> {
    /// Source and destination address.
    pub addrs: I::Addrs,
    /// Source and destination port.
    pub ports: u32,
    /// Bytes of the IP packet.
    pub len: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// TCP's flags; 0 for UDP.
    pub tcp_flags: u8,
}

/// What the outer header of a tunnelled packet does not take from the inner one.
#[derive(Clone, Copy, Debug)]
pub struct Outer<I: Ip> {
    /// Source and destination address, as packets have them.
    pub ends: [I::Addr; 2],
    /// Whether the outer packet may not be fragmented when the inner may not (IPv4).
    pub copy_df: bool,
    /// Identification of the outer packet, used when it may be fragmented (RFC 6864 §4).
    pub id: u16,
}

/// The first `N` bytes from `at` on. `at` is a constant within a head, so once this has become part
/// of its caller nothing is left to check at run time; the same goes for the others here.
#[inline(always)]
fn field<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}

#[inline(always)]
fn set<const N: usize>(head: &mut [u8], at: usize, value: [u8; N]) {
    head[at..at + N].copy_from_slice(&value);
}

#[inline(always)]
fn word(head: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(field(head, at))
}

#[inline(always)]
fn double(head: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(field(head, at))
}

#[inline(always)]
fn quad(head: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(field(head, at))
}

/// The bytes of the destination among the first eight.
const STATION: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// A MAC address as [`Ip::read`] compares it.
#[inline]
#[must_use]
pub const fn mac(mac: crate::Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// TCP's flags, 0 for UDP, of a transport header at `l4` that has `payload` bytes of the packet; none
/// when its lengths are wrong or it is of another protocol.
#[inline(always)]
fn read_transport(head: &[u8], l4: usize, protocol: u8, payload: u32) -> Option<u8> {
    match protocol {
        protocol::TCP => {
            let header_len = u32::from(head[l4 + 12] >> 4) * 4;
            if header_len < 20 || header_len > payload {
                return None;
            }
            Some(head[l4 + 13])
        }
        protocol::UDP => {
            let udp_len = u32::from(u16::from_be(word(head, l4 + 4)));
            if udp_len < 8 || udp_len > payload {
                return None;
            }
            Some(0)
        }
        _ => None,
    }
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
#[derive(Clone, Copy, Debug)]
pub struct Change(u64);

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
pub fn pass_on<I: Ip>(head: &mut I::Head, link: &[u8; L3]) {
    I::rewrite_ip(head, Change(0));
    set(head.as_mut(), 0, *link);
}

/// Gives the packet another destination, takes one off the TTL and puts a new Ethernet header on.
///
/// `addr` and `port` are in the packet's byte order. A datagram without checksum must not come here:
/// see [`lacks_checksum`].
#[inline(always)]
pub fn pass_to<I: Ip>(head: &mut I::Head, link: &[u8; L3], addr: I::Addr, port: u16) {
    pass_with::<I>(head, link, (I::DESTINATION, addr), (I::L4 + 2, port));
}

/// Gives the packet another source; as [`pass_to`].
#[inline(always)]
pub fn pass_from<I: Ip>(head: &mut I::Head, link: &[u8; L3], addr: I::Addr, port: u16) {
    pass_with::<I>(head, link, (I::SOURCE, addr), (I::L4, port));
}

/// Gives the packet an address and a port at these places.
#[inline(always)]
fn pass_with<I: Ip>(
    head: &mut I::Head,
    link: &[u8; L3],
    (at, addr): (usize, I::Addr),
    (port_at, port): (usize, u16),
) {
    let change = I::replace(head, at, addr);
    let of_port = Change::of_word(word(head.as_ref(), port_at), port);
    set(head.as_mut(), port_at, port.to_ne_bytes());
    I::rewrite_ip(head, change);
    rewrite_transport::<I>(head, change.and(of_port));
    set(head.as_mut(), 0, *link);
}

/// Gives the packet another source and destination; as [`pass_to`].
#[inline(always)]
pub fn pass_between<I: Ip>(head: &mut I::Head, link: &[u8; L3], ends: [I::Addr; 2], ports: u32) {
    let of_source = I::replace(head, I::SOURCE, ends[0]);
    let change = of_source.and(I::replace(head, I::DESTINATION, ends[1]));
    let of_ports = Change::of_double(double(head.as_ref(), I::L4), ports);
    set(head.as_mut(), I::L4, ports.to_ne_bytes());
    I::rewrite_ip(head, change);
    rewrite_transport::<I>(head, change.and(of_ports));
    set(head.as_mut(), 0, *link);
}

#[inline(always)]
fn rewrite_transport<I: Ip>(head: &mut I::Head, change: Change) {
    let head = head.as_mut();
    if head[I::PROTOCOL] == protocol::TCP {
        let check = change.apply(word(head, I::L4 + 16));
        set(head, I::L4 + 16, check.to_ne_bytes());
    } else {
        let check = change.apply(word(head, I::L4 + 6));
        // A computed 0 is sent as 0xffff (RFC 768).
        let check = if check == 0 { 0xffff } else { check };
        set(head, I::L4 + 6, check.to_ne_bytes());
    }
}

/// True for a datagram without checksum, whose checksum has to be made from all its bytes when an
/// address changes.
#[inline]
#[must_use]
pub fn lacks_checksum<I: Ip>(head: &I::Head) -> bool {
    let head = head.as_ref();
    head[I::PROTOCOL] == protocol::UDP && word(head, I::L4 + 6) == 0
}

#[cfg(test)]
mod tests;
