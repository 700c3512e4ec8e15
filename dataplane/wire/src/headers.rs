//! What the director needs to know of a packet, and the field's numbers.

use crate::addr::{Addr, Family};
use crate::sctp::SctpEvent;

/// EtherTypes.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag (IEEE 802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// A service tag (IEEE 802.1ad), outside of a VLAN tag.
    pub const QINQ: u16 = 0x88a8;
}

/// IP protocol and IPv6 next header numbers.
pub mod protocol {
    /// IPv6 hop-by-hop options (RFC 8200 §4.3).
    pub const HOPOPTS: u8 = 0;
    /// ICMP of IPv4 (RFC 792).
    pub const ICMP: u8 = 1;
    /// IPv4 inside IP (RFC 2003).
    pub const IPIP: u8 = 4;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// IPv6 inside IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// IPv6 routing header (RFC 8200 §4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: u8 = 44;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
    /// Encrypted payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMP of IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Nothing follows (RFC 8200 §4.7).
    pub const NONE: u8 = 59;
    /// IPv6 destination options (RFC 8200 §4.6).
    pub const DSTOPTS: u8 = 60;
    /// VRRP (RFC 9568).
    pub const VRRP: u8 = 112;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
}

/// The control bits of TCP (RFC 9293 §3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
}

/// The headers of an IP packet. One cache line.
///
/// ```text
/// 0          l3           l4                          end      frame.len()
/// | Ethernet | IP, options, | transport header, payload | Ethernet |
/// | and tags | extensions   |                           | padding  |
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// Source address.
    pub src: Addr,
    /// Destination address; of the same family.
    pub dst: Addr,
    /// Source port of TCP, UDP or SCTP; 0 where there is none.
    pub src_port: u16,
    /// Destination port of TCP, UDP or SCTP; 0 where there is none.
    pub dst_port: u16,
    /// Where the IP header begins.
    pub l3: u16,
    /// Where the transport header begins; in a later fragment, where its piece of payload does.
    pub l4: u16,
    /// One past the last byte of the IP packet.
    pub end: u16,
    /// VLAN ID, 0 when untagged or priority tagged; of two tags, the outer one that is not 0.
    pub vlan: u16,
    /// IP protocol, after the extension headers of IPv6.
    pub protocol: u8,
    /// Flags of TCP as in [`tcp_flag`]; 0 otherwise.
    pub tcp_flags: u8,
    /// What the chunks of SCTP tell; none otherwise, or when there is no chunk.
    pub sctp: Option<SctpEvent>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class: DSCP and ECN.
    pub tos: u8,
    /// ICMP or ICMPv6 type; 0 otherwise.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code; 0 otherwise.
    pub icmp_code: u8,
    /// What is yes or no.
    pub bits: HeaderBits,
}

const _: () = assert!(size_of::<Headers>() == 64);

impl Headers {
    /// The family of both addresses.
    #[inline]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.src.family()
    }

    /// Bytes of the IP packet with its header, without Ethernet and padding.
    #[inline]
    #[must_use]
    pub const fn packet_len(&self) -> usize {
        self.end.saturating_sub(self.l3) as usize
    }

    /// Bytes of the transport header and payload.
    #[inline]
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.end.saturating_sub(self.l4) as usize
    }

    /// Where the packet stands in its frame.
    #[inline]
    pub(crate) fn packet<'f>(&self, frame: &'f [u8]) -> Option<&'f [u8]> {
        frame.get(usize::from(self.l3)..usize::from(self.end))
    }

    /// Where the transport header and payload stand in the frame.
    #[inline]
    pub(crate) fn payload<'f>(&self, frame: &'f [u8]) -> Option<&'f [u8]> {
        frame.get(usize::from(self.l4)..usize::from(self.end))
    }

    /// Whether it is IPv4.
    #[inline]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.src.is_v4()
    }

    /// Whether it carries TCP.
    #[inline]
    #[must_use]
    pub const fn is_tcp(&self) -> bool {
        self.protocol == protocol::TCP
    }

    /// Whether it carries UDP.
    #[inline]
    #[must_use]
    pub const fn is_udp(&self) -> bool {
        self.protocol == protocol::UDP
    }

    /// Whether it carries SCTP.
    #[inline]
    #[must_use]
    pub const fn is_sctp(&self) -> bool {
        self.protocol == protocol::SCTP
    }

    /// Whether it carries the ICMP of its own family.
    #[inline]
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        match self.family() {
            Family::V4 => self.protocol == protocol::ICMP,
            Family::V6 => self.protocol == protocol::ICMPV6,
        }
    }
}

/// What is yes or no about a packet's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderBits(u8);

impl HeaderBits {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// IPv4's Don't Fragment. Never set for IPv6, which only its source fragments.
    pub const DONT_FRAGMENT: Self = Self(1);
    /// A fragment, first or not. An atomic fragment of IPv6 is whole and does not count (RFC 6946).
    pub const FRAGMENT: Self = Self(2);
    /// A fragment that is not the first: there is no transport header.
    pub const LATER_FRAGMENT: Self = Self(4);
    /// IPv4 options or IPv6 extension headers.
    pub const IP_OPTIONS: Self = Self(8);
    /// At least one VLAN tag is there, be it a priority tag.
    pub const TAGGED: Self = Self(16);
    /// Two VLAN tags, neither of them a priority tag.
    pub const DOUBLE_TAGGED: Self = Self(32);
    /// Options of IPv4 or hop-by-hop options of IPv6 that make no sense, or of which one has to be
    /// known by who passes the packet on.
    pub const ODD_OPTIONS: Self = Self(64);

    /// These and those.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of those are set.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// See [`Self::DONT_FRAGMENT`].
    #[inline]
    #[must_use]
    pub const fn dont_fragment(self) -> bool {
        self.has(Self::DONT_FRAGMENT)
    }

    /// See [`Self::FRAGMENT`].
    #[inline]
    #[must_use]
    pub const fn fragment(self) -> bool {
        self.has(Self::FRAGMENT)
    }

    /// See [`Self::LATER_FRAGMENT`].
    #[inline]
    #[must_use]
    pub const fn later_fragment(self) -> bool {
        self.has(Self::LATER_FRAGMENT)
    }

    /// See [`Self::IP_OPTIONS`].
    #[inline]
    #[must_use]
    pub const fn ip_options(self) -> bool {
        self.has(Self::IP_OPTIONS)
    }

    /// See [`Self::TAGGED`].
    #[inline]
    #[must_use]
    pub const fn tagged(self) -> bool {
        self.has(Self::TAGGED)
    }

    /// See [`Self::DOUBLE_TAGGED`].
    #[inline]
    #[must_use]
    pub const fn double_tagged(self) -> bool {
        self.has(Self::DOUBLE_TAGGED)
    }

    /// See [`Self::ODD_OPTIONS`].
    #[inline]
    #[must_use]
    pub const fn odd_options(self) -> bool {
        self.has(Self::ODD_OPTIONS)
    }
}

/// A frame without fault.
#[derive(Clone, Copy, Debug)]
pub enum Parsed {
    /// It carries IPv4 or IPv6.
    Ip(Headers),
    /// It carries something else: ARP, LLDP, spanning tree.
    Other(Other),
}

/// A frame that does not carry IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// EtherType after the tags; below 0x600 it is a length (IEEE 802.3).
    pub ether_type: u16,
    /// VLAN ID as in [`Headers::vlan`].
    pub vlan: u16,
    /// Where the payload begins.
    pub l3: u16,
}

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// Shorter than a header says or needs.
    Truncated,
    /// The IP version is not that of the EtherType.
    BadIpVersion,
    /// The IPv4 header is said to be shorter than 20 bytes.
    BadHeaderLength,
    /// The IP packet is said to be shorter than its header, or a fragment reaches past 65,535.
    BadTotalLength,
    /// The IPv4 header checksum is wrong.
    BadIpChecksum,
    /// IPv6 extension headers beyond eight, twice or out of place.
    ExtensionChain,
    /// A route given by the source that is not at its end. The director takes no orders where to
    /// forward to (RFC 6274 §3.13.2.3, RFC 5095).
    SourceRoute,
    /// TCP data offset below 5 or past the end, or UDP length below 8 or past the end.
    BadTransport,
    /// Addresses that no packet on a wire may have: a multicast, broadcast or loopback source, a
    /// source or destination of zero (except for a host without an address that asks a group),
    /// an IPv4 address in an IPv6 header.
    Martian,
    /// More than two VLAN tags.
    TooManyTags,
}

/// The packet quoted in an ICMP error, as far as it is there.
///
/// A router need not quote more than 8 bytes after the IP header (RFC 792), so only the addresses
/// and ports are certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port of TCP, UDP or SCTP; 0 where there is none.
    pub src_port: u16,
    /// Destination port of TCP, UDP or SCTP; 0 where there is none.
    pub dst_port: u16,
    /// Where the quoted IP header begins.
    pub l3: u16,
    /// Where the quoted transport header begins.
    pub l4: u16,
    /// One past the last byte that is there.
    pub end: u16,
    /// IP protocol, after extension headers.
    pub protocol: u8,
}

impl Embedded {
    /// The family of both addresses.
    #[inline]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.src.family()
    }
}
