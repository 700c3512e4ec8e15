//! Changes in place: addresses, ports, TTL, Ethernet header, and packets quoted in ICMP errors.
//!
//! Checksums are updated by what changed ([`Delta`]), so one that was wrong stays wrong. The field
//! before the change is read from the frame, not from the [`Headers`]: several changes may follow
//! each other on the headers of the packet as it was received.

use crate::addr::{Addr, Family, Mac};
use crate::bytes::{array, array_mut, get_u16, get_u32, put};
use crate::checksum::{self, Delta};
use crate::crc32c;
use crate::headers::{Embedded, Headers, ether_type, protocol};
use crate::icmp;

/// Which of the two ends of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

/// Gives the packet another destination.
///
/// `addr` is of the packet's family; otherwise nothing changes. Also updated are the IPv4 header
/// checksum and the checksum of TCP, UDP, SCTP or ICMPv6. A UDP checksum of 0 ("none") is filled
/// in unless the packet is a fragment. Later fragments have neither ports nor checksum.
#[inline]
pub fn set_destination(frame: &mut [u8], headers: &Headers, addr: Addr, port: u16) {
    set_end(frame, headers, End::Destination, addr, port);
}

/// Gives the packet another source; as [`set_destination`].
#[inline]
pub fn set_source(frame: &mut [u8], headers: &Headers, addr: Addr, port: u16) {
    set_end(frame, headers, End::Source, addr, port);
}

/// Gives the packet another source and another destination, each an address and a port, in one
/// pass over its checksums; otherwise as [`set_source`] and [`set_destination`] one after the other.
///
/// Both addresses are of the packet's family; otherwise nothing changes.
#[inline]
pub fn set_ends(frame: &mut [u8], headers: &Headers, src: (Addr, u16), dst: (Addr, u16)) {
    let h = headers;
    let Some(delta) = set_addrs(frame, usize::from(h.l3), src.0, dst.0) else {
        return;
    };
    if h.bits.later_fragment() {
        return;
    }
    let l4 = usize::from(h.l4);
    match h.protocol {
        protocol::TCP => {
            let delta = set_ports(frame, l4, src.1, dst.1, delta);
            update(frame, l4 + 16, delta);
        }
        protocol::UDP => {
            let delta = set_ports(frame, l4, src.1, dst.1, delta);
            update_udp(frame, h, delta);
        }
        protocol::SCTP => set_sctp_ports(frame, h, Some(src.1), Some(dst.1)),
        protocol::ICMPV6 if !h.is_v4() => update(frame, l4 + 2, delta),
        _ => {}
    }
}

#[inline]
fn set_end(frame: &mut [u8], h: &Headers, end: End, addr: Addr, port: u16) {
    let Some(delta) = set_addr(frame, usize::from(h.l3), end, addr) else {
        return;
    };
    if h.bits.later_fragment() {
        return;
    }
    let l4 = usize::from(h.l4);
    match h.protocol {
        protocol::TCP => {
            let delta = set_port(frame, l4, end, port, delta);
            update(frame, l4 + 16, delta);
        }
        protocol::UDP => {
            let delta = set_port(frame, l4, end, port, delta);
            update_udp(frame, h, delta);
        }
        protocol::SCTP => set_sctp_port(frame, h, end, port),
        protocol::ICMPV6 if !h.is_v4() => update(frame, l4 + 2, delta),
        _ => {}
    }
}

/// Writes an address and the IPv4 header checksum. Gives the difference for the pseudo header;
/// none when the family is not the packet's.
#[inline]
fn set_addr(frame: &mut [u8], l3: usize, end: End, addr: Addr) -> Option<Delta> {
    match (frame.get(l3)? >> 4, addr.family()) {
        (4, Family::V4) => {
            let at = l3 + if end == End::Source { 12 } else { 16 };
            let old = get_u32(frame, at)?;
            let delta = Delta::default().replace_u32(old, addr.v4_bits());
            put(frame, at, addr.v4_bytes());
            update(frame, l3 + 10, delta);
            Some(delta)
        }
        (6, Family::V6) => {
            let at = l3 + if end == End::Source { 8 } else { 24 };
            let field = array_mut(frame, at)?;
            let old = Addr::from_v6_bytes(*field);
            *field = addr.v6_bytes();
            Some(Delta::default().replace_addr(old, addr))
        }
        _ => None,
    }
}

/// As [`set_addr`], both ends at once.
#[inline]
fn set_addrs(frame: &mut [u8], l3: usize, src: Addr, dst: Addr) -> Option<Delta> {
    match (frame.get(l3)? >> 4, src.family(), dst.family()) {
        (4, Family::V4, Family::V4) => {
            let (old_src, old_dst) = (get_u32(frame, l3 + 12)?, get_u32(frame, l3 + 16)?);
            let delta = Delta::default()
                .replace_u32(old_src, src.v4_bits())
                .replace_u32(old_dst, dst.v4_bits());
            put(frame, l3 + 12, src.v4_bytes());
            put(frame, l3 + 16, dst.v4_bytes());
            update(frame, l3 + 10, delta);
            Some(delta)
        }
        (6, Family::V6, Family::V6) => {
            let (old_src, old_dst) = addrs(frame, l3)?;
            put(frame, l3 + 8, src.v6_bytes());
            put(frame, l3 + 24, dst.v6_bytes());
            let delta = Delta::default().replace_addr(old_src, src);
            Some(delta.replace_addr(old_dst, dst))
        }
        _ => None,
    }
}

/// Writes both ports.
#[inline]
fn set_ports(frame: &mut [u8], l4: usize, src: u16, dst: u16, delta: Delta) -> Delta {
    let delta = set_port(frame, l4, End::Source, src, delta);
    set_port(frame, l4, End::Destination, dst, delta)
}

/// Writes a port.
#[inline]
fn set_port(frame: &mut [u8], l4: usize, end: End, port: u16, delta: Delta) -> Delta {
    let at = l4 + if end == End::Source { 0 } else { 2 };
    match get_u16(frame, at) {
        Some(old) => {
            put(frame, at, port.to_be_bytes());
            delta.replace_u16(old, port)
        }
        None => delta,
    }
}

/// Applies a difference to the checksum at `at`.
#[inline]
fn update(frame: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = array_mut(frame, at) {
        *field = delta.apply(u16::from_be_bytes(*field)).to_be_bytes();
    }
}

/// UDP's 0 means that there is no checksum, and a computed 0 is sent as 0xffff (RFC 768).
#[inline]
fn update_udp(frame: &mut [u8], h: &Headers, delta: Delta) {
    let at = usize::from(h.l4) + 6;
    let check = match get_u16(frame, at) {
        Some(0) if h.bits.fragment() => return,
        Some(0) => fill_udp(frame, h),
        Some(check) => Some(delta.apply(check)),
        None => return,
    };
    if let Some(check) = check {
        put(
            frame,
            at,
            (if check == 0 { 0xffff } else { check }).to_be_bytes(),
        );
    }
}

/// The checksum of a datagram that came without one, as Linux fills it in.
#[cold]
fn fill_udp(frame: &[u8], h: &Headers) -> Option<u16> {
    let l4 = usize::from(h.l4);
    // The length of UDP itself: there may be bytes after it that it does not cover.
    let len = get_u16(frame, l4 + 4)?;
    let datagram = frame.get(l4..l4 + usize::from(len))?;
    let (src, dst) = addrs(frame, usize::from(h.l3))?;
    let pseudo = checksum::pseudo_header(src, dst, protocol::UDP, u32::from(len));
    Some(checksum::finish(checksum::sum(datagram, pseudo)))
}

/// The CRC of SCTP covers no address, so it changes only with the port (RFC 9260 §6.8).
///
/// In a fragment it cannot be updated and is left: what comes after it is not known.
fn set_sctp_port(frame: &mut [u8], h: &Headers, end: End, port: u16) {
    let (src, dst) = match end {
        End::Source => (Some(port), None),
        End::Destination => (None, Some(port)),
    };
    set_sctp_ports(frame, h, src, dst);
}

#[cold]
fn set_sctp_ports(frame: &mut [u8], h: &Headers, src: Option<u16>, dst: Option<u16>) {
    let l4 = usize::from(h.l4);
    let Some(old) = array::<4>(frame, l4).copied() else {
        return;
    };
    for (end, port) in [(End::Source, src), (End::Destination, dst)] {
        if let Some(port) = port {
            set_port(frame, l4, end, port, Delta::default());
        }
    }
    let Some(new) = array::<4>(frame, l4).copied() else {
        return;
    };
    if old == new || h.bits.fragment() {
        return;
    }
    if let Some(field) = array_mut(frame, l4 + 8) {
        // The one field of all that is sent with its lowest byte first.
        let crc = u32::from_le_bytes(*field);
        *field = crc32c::replace_first(crc, old, new, h.payload_len()).to_le_bytes();
    }
}

/// Source and destination as they stand in the frame.
pub(crate) fn addrs(frame: &[u8], l3: usize) -> Option<(Addr, Addr)> {
    if frame.get(l3)? >> 4 == 4 {
        let (src, dst) = (array(frame, l3 + 12)?, array(frame, l3 + 16)?);
        Some((Addr::from_v4_bytes(*src), Addr::from_v4_bytes(*dst)))
    } else {
        let (src, dst) = (array(frame, l3 + 8)?, array(frame, l3 + 24)?);
        Some((Addr::from_v6_bytes(*src), Addr::from_v6_bytes(*dst)))
    }
}

/// Takes one off the TTL or hop limit, and corrects the IPv4 header checksum. 0 stays 0.
///
/// The caller has answered packets whose TTL is 0 or 1 (RFC 1812 §5.3.1).
#[inline]
pub fn decrement_ttl(frame: &mut [u8], headers: &Headers) {
    let l3 = usize::from(headers.l3);
    if headers.is_v4() {
        let Some(field) = array_mut::<4>(frame, l3 + 8) else {
            return;
        };
        let [ttl, protocol, check @ ..] = *field;
        let less = ttl.saturating_sub(1);
        let (old, new) = ([ttl, protocol], [less, protocol]);
        let check = Delta::default()
            .replace_u16(u16::from_be_bytes(old), u16::from_be_bytes(new))
            .apply(u16::from_be_bytes(check));
        let [high, low] = check.to_be_bytes();
        *field = [less, protocol, high, low];
    } else if let Some(hops) = frame.get_mut(l3 + 7) {
        *hops = hops.saturating_sub(1);
    }
}

/// Adds one to the TTL or hop limit, and corrects the IPv4 header checksum. 255 stays 255.
pub fn increment_ttl(frame: &mut [u8], headers: &Headers) {
    let l3 = usize::from(headers.l3);
    if !headers.is_v4() {
        if let Some(hops) = frame.get_mut(l3 + 7) {
            *hops = hops.saturating_add(1);
        }
        return;
    }
    let Some([ttl, protocol]) = array(frame, l3 + 8).copied() else {
        return;
    };
    let more = ttl.saturating_add(1);
    let (old, new) = ([ttl, protocol], [more, protocol]);
    put(frame, l3 + 8, new);
    let delta = Delta::default().replace_u16(u16::from_be_bytes(old), u16::from_be_bytes(new));
    update(frame, l3 + 10, delta);
}

/// Lets the IPv4 packet at `l3` be cut, whatever it says itself; its header checksum is corrected.
pub fn clear_dont_fragment(frame: &mut [u8], l3: usize) {
    const DONT_FRAGMENT: u16 = 0x4000;
    let Some(old) = get_u16(frame, l3 + 6) else {
        return;
    };
    let new = old & !DONT_FRAGMENT;
    put(frame, l3 + 6, new.to_be_bytes());
    update(frame, l3 + 10, Delta::default().replace_u16(old, new));
}

/// Gives the frame another Ethernet destination and source.
#[inline]
pub fn set_macs(frame: &mut [u8], dst: Mac, src: Mac) {
    put(frame, 0, dst.0);
    put(frame, 6, src.0);
}

/// Bytes of the Ethernet header: 18 with a tag, 14 when `vlan` is 0.
#[inline]
#[must_use]
pub const fn ethernet_len(vlan: u16) -> usize {
    if vlan == 0 { 14 } else { 18 }
}

/// Writes an Ethernet header to the front of `buf`, tagged (802.1Q, priority 0) unless `vlan` is
/// 0. Gives its length, which is [`ethernet_len`]; what does not fit is left out.
#[inline]
pub fn write_ethernet(buf: &mut [u8], dst: Mac, src: Mac, vlan: u16, ether_type: u16) -> usize {
    set_macs(buf, dst, src);
    let len = ethernet_len(vlan);
    if vlan != 0 {
        put(buf, 12, ether_type::VLAN.to_be_bytes());
        put(buf, 14, (vlan & 0xfff).to_be_bytes());
    }
    put(buf, len - 2, ether_type.to_be_bytes());
    len
}

/// Gives the quoted packet another destination.
///
/// Updates the quoted transport checksum too, where it is quoted; a UDP checksum of 0 stays. The
/// quoted IPv4 header gets a right one whatever it had: there are routers that quote a packet with
/// its TTL lowered and the checksum from before. The checksum of the ICMP error that quotes is left
/// to [`refill_icmp_checksum`].
pub fn set_embedded_destination(frame: &mut [u8], quoted: &Embedded, addr: Addr, port: u16) {
    set_embedded_end(frame, quoted, End::Destination, addr, port);
}

/// Gives the quoted packet another source; as [`set_embedded_destination`].
pub fn set_embedded_source(frame: &mut [u8], quoted: &Embedded, addr: Addr, port: u16) {
    set_embedded_end(frame, quoted, End::Source, addr, port);
}

fn set_embedded_end(frame: &mut [u8], quoted: &Embedded, end: End, addr: Addr, port: u16) {
    // Nothing after the quote is touched, be it padding.
    let Some(frame) = frame.get_mut(..usize::from(quoted.end)) else {
        return;
    };
    let l3 = usize::from(quoted.l3);
    let Some(delta) = set_addr(frame, l3, end, addr) else {
        return;
    };
    let l4 = usize::from(quoted.l4);
    if quoted.family() == Family::V4 {
        put(frame, l3 + 10, [0, 0]);
        let header = frame.get(l3..l4).unwrap_or_default();
        let check = checksum::finish(checksum::sum(header, 0));
        put(frame, l3 + 10, check.to_be_bytes());
    }
    match quoted.protocol {
        protocol::TCP => {
            let delta = set_port(frame, l4, end, port, delta);
            update(frame, l4 + 16, delta);
        }
        protocol::UDP => {
            let delta = set_port(frame, l4, end, port, delta);
            if let Some(check) = get_u16(frame, l4 + 6).filter(|check| *check != 0) {
                let check = delta.apply(check);
                put(
                    frame,
                    l4 + 6,
                    (if check == 0 { 0xffff } else { check }).to_be_bytes(),
                );
            }
        }
        // Its CRC covers what is not quoted.
        protocol::SCTP => {
            set_port(frame, l4, end, port, delta);
        }
        protocol::ICMPV6 if quoted.family() == Family::V6 => update(frame, l4 + 2, delta),
        _ => {}
    }
}

/// Computes the checksum of an ICMP or ICMPv6 packet anew, with the addresses it has now.
///
/// Makes any damage look right: check with [`icmp::checksum_ok`] what comes from outside.
pub fn refill_icmp_checksum(frame: &mut [u8], headers: &Headers) {
    let at = usize::from(headers.l4) + 2;
    put(frame, at, [0, 0]);
    if let Some(sum) = icmp::sum(frame, headers) {
        put(frame, at, checksum::finish(sum).to_be_bytes());
    }
}
