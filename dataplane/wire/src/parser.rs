//! From a frame to its [`Headers`].
//!
//! ```text
//! Ethernet (IEEE 802.3), with up to two tags in between
//!  0                   6                   12        14
//! +-------------------+-------------------+---------+----
//! | destination       | source            | type    |
//! +-------------------+-------------------+---------+----
//! tag: type 0x8100 or 0x88a8, then priority (3 bits), DEI (1), VLAN ID (12)
//!
//! IPv4 (RFC 791 §3.1)
//!  0       1       2               4               6     7       8
//! +---+---+-------+---------------+---------------+-----+-------+
//! | 4 |IHL|  ToS  | total length  | identification|-DM|  offset |
//! +---+---+-------+---------------+---------------+-----+-------+
//! |  TTL  | proto | checksum      | source                      |
//! +-------+-------+---------------+-----------------------------+
//! | destination                   | options ...                 |
//! +-------------------------------+-----------------------------+
//!
//! IPv6 (RFC 8200 §3)
//! +---+-------+-------------------+---------------+------+------+
//! | 6 | class |    flow label     | payload len   | next | hops |
//! +---+-------+-------------------+---------------+------+------+
//! | source (16 bytes) ...         | destination (16 bytes) ...  |
//! +-------------------------------+-----------------------------+
//! ```

mod quoted;

use crate::addr::Addr;
use crate::bytes::array;
use crate::checksum;
use crate::headers::{HeaderBits, Headers, Other, ParseError, Parsed, ether_type, protocol};
use crate::options::{judge_hop_options, judge_options};
use crate::sctp::SctpEvent;

pub use quoted::{is_cut_before_ports, parse_embedded};

/// Most extension headers followed. More is an attack on the parser's time (RFC 8504 §5.3).
const EXTENSIONS_MAX: usize = 8;

/// Bytes of the IPv4 header without options.
pub(crate) const V4_LEN: usize = 20;
/// Bytes of the IPv6 header without extension headers.
pub(crate) const V6_LEN: usize = 40;

/// Reads a frame from its Ethernet header on.
///
/// `verify_ip_checksum` is false when the device has already found the IPv4 header checksum right.
/// Transport checksums are not looked at: rewriting keeps them as right or wrong as they were.
///
/// # Errors
///
/// The frame is not one that the director or Linux behind it should handle.
#[inline]
pub fn parse(frame: &[u8], verify_ip_checksum: bool) -> Result<Parsed, ParseError> {
    let ethernet: &[u8; 14] = frame.first_chunk().ok_or(ParseError::Truncated)?;
    let mut link = Link {
        ether_type: u16::from_be_bytes([ethernet[12], ethernet[13]]),
        vlan: 0,
        l3: 14,
        bits: HeaderBits::NONE,
    };
    if matches!(link.ether_type, ether_type::VLAN | ether_type::QINQ) {
        link.read_tags(frame)?;
    }
    match link.ether_type {
        ether_type::IPV4 => parse_v4(frame, &link, verify_ip_checksum).map(Parsed::Ip),
        ether_type::IPV6 => parse_v6(frame, &link).map(Parsed::Ip),
        ether_type => Ok(Parsed::Other(Other {
            ether_type,
            vlan: link.vlan,
            l3: link.l3 as u16,
        })),
    }
}

/// Reads the IP packet that begins at `l3` and may end before the frame does.
///
/// For packets inside of others; [`Headers::vlan`] is 0.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_ip(frame: &[u8], l3: usize, verify_ip_checksum: bool) -> Result<Headers, ParseError> {
    let link = Link {
        ether_type: 0,
        vlan: 0,
        l3,
        bits: HeaderBits::NONE,
    };
    match frame.get(l3).ok_or(ParseError::Truncated)? >> 4 {
        4 => parse_v4(frame, &link, verify_ip_checksum),
        6 => parse_v6(frame, &link),
        _ => Err(ParseError::BadIpVersion),
    }
}

/// What stands before the IP header.
struct Link {
    ether_type: u16,
    vlan: u16,
    l3: usize,
    bits: HeaderBits,
}

impl Link {
    /// Steps over one or two tags.
    #[cold]
    fn read_tags(&mut self, frame: &[u8]) -> Result<(), ParseError> {
        for _ in 0..2 {
            let tag: &[u8; 4] = array(frame, self.l3).ok_or(ParseError::Truncated)?;
            let vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0xfff;
            self.bits = self.bits.with(HeaderBits::TAGGED);
            if self.vlan == 0 {
                self.vlan = vlan;
            } else if vlan != 0 {
                self.bits = self.bits.with(HeaderBits::DOUBLE_TAGGED);
            }
            self.ether_type = u16::from_be_bytes([tag[2], tag[3]]);
            self.l3 += 4;
            if !matches!(self.ether_type, ether_type::VLAN | ether_type::QINQ) {
                return Ok(());
            }
        }
        Err(ParseError::TooManyTags)
    }

    /// `l3` and the end of a packet of `len` bytes, where the frame has that much.
    fn packet<'f>(&self, frame: &'f [u8], len: usize) -> Result<(&'f [u8], u16), ParseError> {
        let end = u16::try_from(self.l3 + len).map_err(|_| ParseError::BadTotalLength)?;
        let packet = frame
            .get(self.l3..usize::from(end))
            .ok_or(ParseError::Truncated)?;
        Ok((packet, end))
    }
}

#[inline]
fn parse_v4(frame: &[u8], link: &Link, verify_checksum: bool) -> Result<Headers, ParseError> {
    let ip: &[u8; V4_LEN] = array(frame, link.l3).ok_or(ParseError::Truncated)?;
    if ip[0] >> 4 != 4 {
        return Err(ParseError::BadIpVersion);
    }
    let header_len = usize::from(ip[0] & 0xf) * 4;
    if header_len < V4_LEN {
        return Err(ParseError::BadHeaderLength);
    }
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    if total_len < header_len {
        return Err(ParseError::BadTotalLength);
    }
    let (packet, end) = link.packet(frame, total_len)?;
    let (header, payload) = packet
        .split_at_checked(header_len)
        .ok_or(ParseError::Truncated)?;
    if verify_checksum && checksum::finish(checksum::sum(header, 0)) != 0 {
        return Err(ParseError::BadIpChecksum);
    }

    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let offset = usize::from(fragment & 0x1fff) * 8;
    let mut bits = link.bits;
    if fragment & 0x4000 != 0 {
        bits = bits.with(HeaderBits::DONT_FRAGMENT);
    }
    if fragment & 0x3fff != 0 {
        bits = bits.with(fragment_bits(offset, payload.len())?);
    }
    if header_len > V4_LEN {
        bits = bits.with(HeaderBits::IP_OPTIONS);
        bits = bits.with(judge_options(header.get(V4_LEN..).unwrap_or_default())?);
    }
    let src = Addr::from_v4_bytes([ip[12], ip[13], ip[14], ip[15]]);
    let dst = Addr::from_v4_bytes([ip[16], ip[17], ip[18], ip[19]]);
    refuse_martian_v4(src, dst)?;
    let transport = match bits.odd_options() {
        // What follows them is for who makes sense of them.
        true => Transport::default(),
        false => read_transport(ip[9], protocol::ICMP, bits, payload)?,
    };
    Ok(Headers {
        src,
        dst,
        src_port: transport.src_port,
        dst_port: transport.dst_port,
        l3: link.l3 as u16,
        l4: (link.l3 + header_len) as u16,
        end,
        vlan: link.vlan,
        protocol: ip[9],
        tcp_flags: transport.tcp_flags,
        sctp: transport.sctp,
        ttl: ip[8],
        tos: ip[1],
        icmp_type: transport.icmp_type,
        icmp_code: transport.icmp_code,
        bits,
    })
}

/// The bits of a fragment of `len` bytes at `offset`.
fn fragment_bits(offset: usize, len: usize) -> Result<HeaderBits, ParseError> {
    // No packet is that long; put together it would overrun its holder ("ping of death").
    if offset + len > 0xffff {
        return Err(ParseError::BadTotalLength);
    }
    Ok(if offset == 0 {
        HeaderBits::FRAGMENT
    } else {
        HeaderBits::FRAGMENT.with(HeaderBits::LATER_FRAGMENT)
    })
}

/// RFC 1122 §3.2.1.3, RFC 1812 §5.3.7.
#[inline]
pub(crate) fn refuse_martian_v4(src: Addr, dst: Addr) -> Result<(), ParseError> {
    let (s, d) = (src.v4_bits(), dst.v4_bits());
    let dst_is_plain = d != 0 && d >> 24 != 127;
    // A host without an address asks by broadcast (DHCP) or tells a group (IGMP, RFC 3376 §4.2.13).
    let asks = s == 0 && (dst.is_broadcast() || dst.is_multicast());
    if dst_is_plain && (may_be_source_v4(s) || asks) {
        Ok(())
    } else {
        Err(ParseError::Martian)
    }
}

/// True for an address that a host may have. 240/4 is reserved, yet some sites number hosts from it;
/// Linux lets it pass.
#[inline(always)]
pub(crate) const fn may_be_source_v4(bits: u32) -> bool {
    // Everything plain is decided by two comparisons.
    (bits.wrapping_sub(1) < 0xe000_0000 - 1 && bits >> 24 != 127)
        || (bits >= 0xf000_0000 && bits != 0xffff_ffff)
}

#[inline]
fn parse_v6(frame: &[u8], link: &Link) -> Result<Headers, ParseError> {
    let ip: &[u8; V6_LEN] = array(frame, link.l3).ok_or(ParseError::Truncated)?;
    if ip[0] >> 4 != 6 {
        return Err(ParseError::BadIpVersion);
    }
    let payload_len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let (packet, end) = link.packet(frame, V6_LEN + payload_len)?;
    let extensions = match ip[6] {
        // The usual ones, without a walk.
        next @ (protocol::TCP | protocol::UDP | protocol::ICMPV6) => Extensions::none(next),
        next => walk_extensions(packet, next)?,
    };
    let payload = packet.get(extensions.end..).ok_or(ParseError::Truncated)?;
    let bits = link.bits.with(extensions.bits);
    let (src, dst) = (addr_v6(ip, 8), addr_v6(ip, 24));
    refuse_martian_v6(src, dst)?;
    let transport = match bits.odd_options() {
        true => Transport::default(),
        false => read_transport(extensions.protocol, protocol::ICMPV6, bits, payload)?,
    };
    Ok(Headers {
        src,
        dst,
        src_port: transport.src_port,
        dst_port: transport.dst_port,
        l3: link.l3 as u16,
        l4: (link.l3 + extensions.end) as u16,
        end,
        vlan: link.vlan,
        protocol: extensions.protocol,
        tcp_flags: transport.tcp_flags,
        sctp: transport.sctp,
        ttl: ip[7],
        tos: ip[0] << 4 | ip[1] >> 4,
        icmp_type: transport.icmp_type,
        icmp_code: transport.icmp_code,
        bits,
    })
}

/// The address at `at` of an IPv6 header.
#[inline]
fn addr_v6(ip: &[u8; V6_LEN], at: usize) -> Addr {
    Addr::from_v6_bytes(array(ip, at).copied().unwrap_or_default())
}

/// RFC 4291 §2.5.2, §2.5.3, §2.7; mapped addresses must not appear on the wire (RFC 6890).
#[inline]
pub(crate) fn refuse_martian_v6(src: Addr, dst: Addr) -> Result<(), ParseError> {
    // Address detection and group membership are sent from `::` (RFC 4862 §5.4.2, RFC 3810 §5.2.13).
    let asks = src.is_unspecified() && dst.is_multicast();
    let bad_src = src.is_v4() || src.is_multicast() || src.is_loopback() || src.is_unspecified();
    let bad_dst = dst.is_v4() || dst.is_loopback() || dst.is_unspecified();
    if bad_dst || (bad_src && !asks) {
        Err(ParseError::Martian)
    } else {
        Ok(())
    }
}

/// The end of a chain of IPv6 extension headers.
#[derive(Clone, Copy)]
struct Extensions {
    /// What follows them.
    protocol: u8,
    /// Where it follows, from the first byte of the IPv6 header.
    end: usize,
    bits: HeaderBits,
    /// Where the fragment header stands, and where the one before tells of it, from the first byte
    /// of the IPv6 header.
    fragment_at: Option<(usize, usize)>,
}

impl Extensions {
    const fn none(protocol: u8) -> Self {
        Self {
            protocol,
            end: V6_LEN,
            bits: HeaderBits::NONE,
            fragment_at: None,
        }
    }
}

/// Follows the extension headers of an IPv6 packet (RFC 8200 §4).
///
/// ```text
/// +------+------+----------------     fragment header (§4.5):
/// | next | len  | ...                 +------+------+-------------+--+-+---------------+
/// +------+------+----------------     | next | 0    | offset (13) |  |M| identification|
/// len in 8 bytes, not counting        +------+------+-------------+--+-+---------------+
/// the first 8 (AH: in 4 bytes, minus 2)
/// ```
///
/// A packet that cannot be read behind an authentication header is one of AH, whose sender authenticated it so.
#[cold]
fn walk_extensions(packet: &[u8], first: u8) -> Result<Extensions, ParseError> {
    let mut authenticated = None;
    walk_to_transport(packet, first, &mut authenticated).or_else(|error| authenticated.ok_or(error))
}

/// Notes where the last authentication header stands.
fn walk_to_transport(
    packet: &[u8],
    first: u8,
    authenticated: &mut Option<Extensions>,
) -> Result<Extensions, ParseError> {
    let mut chain = Extensions::none(first);
    let mut told_at = 6;
    for count in 0.. {
        let is_extension = matches!(
            chain.protocol,
            protocol::HOPOPTS
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::AH
                | protocol::DSTOPTS
        );
        if !is_extension || chain.bits.later_fragment() {
            break;
        }
        if count == EXTENSIONS_MAX {
            return Err(ParseError::ExtensionChain);
        }
        let header: &[u8; 8] = array(packet, chain.end).ok_or(ParseError::Truncated)?;
        let mut len = usize::from(header[1]) * 8 + 8;
        match chain.protocol {
            protocol::HOPOPTS if count > 0 => return Err(ParseError::ExtensionChain),
            protocol::HOPOPTS => {
                let options = packet.get(chain.end + 2..chain.end + len);
                chain.bits = chain
                    .bits
                    .with(judge_hop_options(options.unwrap_or_default()));
            }
            // The director would have to swap the destination, which it does not (RFC 5095).
            protocol::ROUTING if header[3] > 0 => return Err(ParseError::SourceRoute),
            protocol::AH => {
                *authenticated = Some(chain);
                len = usize::from(header[1]) * 4 + 8;
            }
            protocol::FRAGMENT => {
                len = 8;
                if chain.fragment_at.replace((chain.end, told_at)).is_some() {
                    return Err(ParseError::ExtensionChain);
                }
                let field = u16::from_be_bytes([header[2], header[3]]);
                if field & 0xfff9 != 0 {
                    let payload_len = packet.len() - chain.end - len;
                    let offset = usize::from(field & 0xfff8);
                    chain.bits = chain.bits.with(fragment_bits(offset, payload_len)?);
                }
            }
            _ => {}
        }
        chain.bits = chain.bits.with(HeaderBits::IP_OPTIONS);
        chain.protocol = header[0];
        told_at = chain.end;
        chain.end += len;
    }
    Ok(chain)
}

/// Where the IPv6 fragment header of a parsed packet stands, and where the header before tells of it,
/// from the packet's first byte.
pub(crate) fn fragment_header_at(packet: &[u8]) -> Option<(usize, usize)> {
    walk_extensions(packet, *packet.get(6)?).ok()?.fragment_at
}

/// What [`Headers`] take from the transport header.
#[derive(Clone, Copy, Default)]
struct Transport {
    src_port: u16,
    dst_port: u16,
    tcp_flags: u8,
    sctp: Option<SctpEvent>,
    icmp_type: u8,
    icmp_code: u8,
}

/// Reads ports, flags, type and code, and holds the transport's lengths against the IP packet.
///
/// ```text
/// TCP (RFC 9293 §3.1)              UDP (RFC 768)           SCTP (RFC 9260 §3.1)
/// +--------------+--------------+  +----------+----------+ +----------+----------+
/// | source port  | dest port    |  | src port | dst port | | src port | dst port |
/// +--------------+--------------+  +----------+----------+ +----------+----------+
/// | sequence number             |  | length   | checksum | | verification tag    |
/// +-----------------------------+  +----------+----------+ +---------------------+
/// | acknowledgment number       |                          | CRC32c              |
/// +------+-------+--------------+  ICMP (RFC 792, 4443)    +---------------------+
/// |offset| flags | window       |  +------+------+----------+
/// +------+-------+--------------+  | type | code | checksum |
/// | checksum     | urgent       |  +------+------+----------+
/// +--------------+--------------+  | depends on type        |
///                                  +------------------------+
/// ```
///
/// `icmp` is the ICMP of the packet's family: that of the other means nothing in it.
#[inline(always)]
fn read_transport(
    protocol: u8,
    icmp: u8,
    bits: HeaderBits,
    payload: &[u8],
) -> Result<Transport, ParseError> {
    let mut transport = Transport::default();
    // Of a fragment it is not known how much of the header it brings: the whole will be judged.
    if bits.fragment() {
        return Ok(transport);
    }
    let ports = match protocol {
        protocol::TCP => {
            let tcp: &[u8; 20] = payload.first_chunk().ok_or(ParseError::Truncated)?;
            let header_len = usize::from(tcp[12] >> 4) * 4;
            if header_len < 20 || header_len > payload.len() {
                return Err(ParseError::BadTransport);
            }
            transport.tcp_flags = tcp[13];
            tcp.first_chunk::<4>()
        }
        protocol::UDP => {
            let udp: &[u8; 8] = payload.first_chunk().ok_or(ParseError::Truncated)?;
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            if len < 8 || len > payload.len() {
                return Err(ParseError::BadTransport);
            }
            udp.first_chunk::<4>()
        }
        protocol::SCTP => {
            let sctp: &[u8; 12] = payload.first_chunk().ok_or(ParseError::Truncated)?;
            transport.sctp = SctpEvent::of_packet(payload);
            sctp.first_chunk::<4>()
        }
        protocol if protocol == icmp => {
            let icmp: &[u8; 8] = payload.first_chunk().ok_or(ParseError::Truncated)?;
            (transport.icmp_type, transport.icmp_code) = (icmp[0], icmp[1]);
            None
        }
        _ => None,
    };
    if let Some([a, b, c, d]) = ports {
        transport.src_port = u16::from_be_bytes([*a, *b]);
        transport.dst_port = u16::from_be_bytes([*c, *d]);
    }
    Ok(transport)
}
