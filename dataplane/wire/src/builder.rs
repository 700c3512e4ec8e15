//! Packets for tests, built layer by layer.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use weir_wire::builder::PacketBuilder;
//! use weir_wire::{Mac, tcp_flag};
//!
//! let syn = PacketBuilder::eth(Mac([2; 6]), Mac([4; 6]))
//!     .vlan(100)
//!     .ipv4([192, 0, 2, 1], [198, 51, 100, 1])
//!     .ttl(63)
//!     .tcp(40_000, 80)
//!     .flags(tcp_flag::SYN)
//!     .build();
//! assert_eq!(syn.len(), 18 + 20 + 20);
//! # }
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::{Addr, Family, Mac};
use crate::bytes::put;
use crate::checksum;
use crate::crc32c::crc32c;
use crate::headers::{ether_type, protocol, tcp_flag};

/// A frame in the making. Later calls override earlier ones; lengths and checksums are filled in
/// by [`PacketBuilder::build`].
#[derive(Clone, Debug)]
pub struct PacketBuilder {
    dst_mac: Mac,
    src_mac: Mac,
    /// EtherType and VLAN ID, outermost first.
    tags: Vec<(u16, u16)>,
    ip: Option<Ip>,
    transport: Transport,
    payload: Vec<u8>,
    padding: usize,
}

#[derive(Clone, Debug)]
struct Ip {
    src: Addr,
    dst: Addr,
    ttl: u8,
    tos: u8,
    id: u32,
    dont_fragment: bool,
    more_fragments: bool,
    /// In bytes.
    offset: u16,
    options: Vec<u8>,
    /// Protocol and bytes of IPv6 extension headers, whose first byte is filled in.
    extensions: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Transport {
    Raw {
        protocol: u8,
    },
    Tcp {
        ports: [u16; 2],
        flags: u8,
        seq: u32,
        ack: u32,
        window: u16,
        options: Vec<u8>,
    },
    Udp {
        ports: [u16; 2],
        checksum: bool,
    },
    Sctp {
        ports: [u16; 2],
    },
    Icmp {
        icmp_type: u8,
        code: u8,
        word: u32,
    },
    /// Not IP at all.
    Other {
        ether_type: u16,
    },
}

impl PacketBuilder {
    /// A frame from `src` to `dst`.
    #[must_use]
    pub fn eth(src: Mac, dst: Mac) -> Self {
        Self {
            dst_mac: dst,
            src_mac: src,
            tags: Vec::new(),
            ip: None,
            transport: Transport::Raw {
                protocol: protocol::NONE,
            },
            payload: Vec::new(),
            padding: 0,
        }
    }

    /// One more 802.1Q tag, inside of those before.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((ether_type::VLAN, id));
        self
    }

    /// One more 802.1ad tag, inside of those before.
    #[must_use]
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push((ether_type::QINQ, id));
        self
    }

    /// IP of the family of both addresses, TTL 64.
    ///
    /// # Panics
    ///
    /// When the families differ.
    #[must_use]
    pub fn ip(mut self, src: Addr, dst: Addr) -> Self {
        assert_eq!(
            src.family(),
            dst.family(),
            "both addresses are of one family"
        );
        self.ip = Some(Ip {
            src,
            dst,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: false,
            more_fragments: false,
            offset: 0,
            options: Vec::new(),
            extensions: Vec::new(),
        });
        self
    }

    /// IPv4; takes `[192, 0, 2, 1]` and `Ipv4Addr` alike.
    #[must_use]
    pub fn ipv4(
        self,
        src: impl Into<core::net::Ipv4Addr>,
        dst: impl Into<core::net::Ipv4Addr>,
    ) -> Self {
        self.ip(Addr::from_v4(src.into()), Addr::from_v4(dst.into()))
    }

    /// IPv6.
    #[must_use]
    pub fn ipv6(
        self,
        src: impl Into<core::net::Ipv6Addr>,
        dst: impl Into<core::net::Ipv6Addr>,
    ) -> Self {
        self.ip(Addr::from_v6(src.into()), Addr::from_v6(dst.into()))
    }

    fn with_ip(mut self, change: impl FnOnce(&mut Ip)) -> Self {
        change(self.ip.as_mut().expect("IP is asked for before its fields"));
        self
    }

    /// TTL or hop limit. This and the next few panic before `ip`, `ipv4` or `ipv6`.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        self.with_ip(|ip| ip.ttl = ttl)
    }

    /// Type of service or traffic class.
    #[must_use]
    pub fn tos(self, tos: u8) -> Self {
        self.with_ip(|ip| ip.tos = tos)
    }

    /// Identification; 16 bits of it in IPv4, and in IPv6 only of a fragment.
    #[must_use]
    pub fn id(self, id: u32) -> Self {
        self.with_ip(|ip| ip.id = id)
    }

    /// Don't fragment.
    #[must_use]
    pub fn df(self) -> Self {
        self.with_ip(|ip| ip.dont_fragment = true)
    }

    /// A fragment whose payload begins at `offset` bytes, a multiple of 8. For later ones use
    /// [`PacketBuilder::raw`].
    #[must_use]
    pub fn fragment(self, offset: u16, more: bool) -> Self {
        self.with_ip(|ip| (ip.offset, ip.more_fragments) = (offset, more))
    }

    /// IPv4 options; filled with zeros to a multiple of 4.
    #[must_use]
    pub fn ip_options(self, options: &[u8]) -> Self {
        self.with_ip(|ip| {
            ip.options = options.to_vec();
            ip.options.resize(options.len().next_multiple_of(4), 0);
        })
    }

    /// One more IPv6 extension header of this protocol number; its first byte is filled in. They
    /// come before the fragment header, if there is one.
    #[must_use]
    pub fn extension(self, protocol: u8, bytes: &[u8]) -> Self {
        self.with_ip(|ip| ip.extensions.push((protocol, bytes.to_vec())))
    }

    /// TCP: ACK set, window 65,535, sequence numbers 0.
    #[must_use]
    pub fn tcp(mut self, src_port: u16, dst_port: u16) -> Self {
        self.transport = Transport::Tcp {
            ports: [src_port, dst_port],
            flags: tcp_flag::ACK,
            seq: 0,
            ack: 0,
            window: 0xffff,
            options: Vec::new(),
        };
        self
    }

    /// Flags of TCP. This and the next few do nothing to what is no TCP.
    #[must_use]
    pub fn flags(mut self, new: u8) -> Self {
        if let Transport::Tcp { flags, .. } = &mut self.transport {
            *flags = new;
        }
        self
    }

    /// Sequence number of TCP.
    #[must_use]
    pub fn seq(mut self, new: u32) -> Self {
        if let Transport::Tcp { seq, .. } = &mut self.transport {
            *seq = new;
        }
        self
    }

    /// Acknowledgment number of TCP.
    #[must_use]
    pub fn ack(mut self, new: u32) -> Self {
        if let Transport::Tcp { ack, .. } = &mut self.transport {
            *ack = new;
        }
        self
    }

    /// Window of TCP.
    #[must_use]
    pub fn window(mut self, new: u16) -> Self {
        if let Transport::Tcp { window, .. } = &mut self.transport {
            *window = new;
        }
        self
    }

    /// Options of TCP; filled with zeros to a multiple of 4.
    #[must_use]
    pub fn tcp_options(mut self, new: &[u8]) -> Self {
        if let Transport::Tcp { options, .. } = &mut self.transport {
            *options = new.to_vec();
            options.resize(new.len().next_multiple_of(4), 0);
        }
        self
    }

    /// UDP with a checksum.
    #[must_use]
    pub fn udp(mut self, src_port: u16, dst_port: u16) -> Self {
        self.transport = Transport::Udp {
            ports: [src_port, dst_port],
            checksum: true,
        };
        self
    }

    /// UDP with checksum 0.
    #[must_use]
    pub fn udp_without_checksum(mut self, src_port: u16, dst_port: u16) -> Self {
        self.transport = Transport::Udp {
            ports: [src_port, dst_port],
            checksum: false,
        };
        self
    }

    /// SCTP; the chunks are the payload.
    #[must_use]
    pub fn sctp(mut self, src_port: u16, dst_port: u16) -> Self {
        self.transport = Transport::Sctp {
            ports: [src_port, dst_port],
        };
        self
    }

    /// ICMP or ICMPv6, whichever fits the addresses. `word` is what follows the checksum: of an
    /// echo, identifier and sequence number; of a "too big", the MTU.
    #[must_use]
    pub fn icmp(mut self, icmp_type: u8, code: u8, word: u32) -> Self {
        self.transport = Transport::Icmp {
            icmp_type,
            code,
            word,
        };
        self
    }

    /// An ICMP error quoting a packet, given from its IP header on.
    #[must_use]
    pub fn icmp_error(self, icmp_type: u8, code: u8, word: u32, quoted: &[u8]) -> Self {
        self.icmp(icmp_type, code, word).payload(quoted)
    }

    /// Any other protocol, all of it in the payload.
    #[must_use]
    pub fn raw(mut self, protocol: u8) -> Self {
        self.transport = Transport::Raw { protocol };
        self
    }

    /// Any other EtherType, all of it in the payload.
    #[must_use]
    pub fn ether_type(mut self, ether_type: u16) -> Self {
        self.transport = Transport::Other { ether_type };
        self
    }

    /// ARP for IPv4 on Ethernet (RFC 826): operation 1 asks, 2 answers.
    #[must_use]
    pub fn arp(
        self,
        operation: u16,
        sender: (Mac, impl Into<core::net::Ipv4Addr>),
        target: (Mac, impl Into<core::net::Ipv4Addr>),
    ) -> Self {
        let mut arp = vec![0, 1, 8, 0, 6, 4];
        arp.extend(operation.to_be_bytes());
        arp.extend(sender.0.0);
        arp.extend(sender.1.into().octets());
        arp.extend(target.0.0);
        arp.extend(target.1.into().octets());
        self.ether_type(ether_type::ARP).payload(&arp)
    }

    /// What follows the last header.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Zeros after the IP packet, up to a frame of `len` bytes.
    #[must_use]
    pub fn pad_to(mut self, len: usize) -> Self {
        self.padding = len;
        self
    }

    /// The frame.
    ///
    /// # Panics
    ///
    /// When neither IP nor an EtherType was given, or a length exceeds its field.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.dst_mac.0);
        frame.extend(self.src_mac.0);
        for (tag, id) in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        if let Transport::Other { ether_type } = self.transport {
            frame.extend(ether_type.to_be_bytes());
            frame.extend(&self.payload);
        } else {
            let ether_type = match self.network().src.family() {
                Family::V4 => ether_type::IPV4,
                Family::V6 => ether_type::IPV6,
            };
            frame.extend(ether_type.to_be_bytes());
            frame.extend(self.build_ip());
        }
        if frame.len() < self.padding {
            frame.resize(self.padding, 0);
        }
        frame
    }

    /// The packet from its IP header on, as an ICMP error would quote it or a tunnel carry it.
    ///
    /// # Panics
    ///
    /// As [`PacketBuilder::build`].
    #[must_use]
    pub fn build_ip(&self) -> Vec<u8> {
        let ip = self.network();
        let (protocol, transport) = self.build_transport(ip);
        match ip.src.family() {
            Family::V4 => ip.build_v4(protocol, &transport),
            Family::V6 => ip.build_v6(protocol, &transport),
        }
    }

    fn network(&self) -> &Ip {
        self.ip.as_ref().expect("a packet has IP or an EtherType")
    }

    fn build_transport(&self, ip: &Ip) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let (protocol, check_at) = match &self.transport {
            Transport::Raw { protocol } => (*protocol, None),
            Transport::Tcp {
                ports,
                flags,
                seq,
                ack,
                window,
                options,
            } => {
                bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                bytes.extend(seq.to_be_bytes());
                bytes.extend(ack.to_be_bytes());
                bytes.extend([(5 + (options.len() / 4) as u8) << 4, *flags]);
                bytes.extend(window.to_be_bytes());
                bytes.extend([0; 4]);
                bytes.extend(options);
                (protocol::TCP, Some(16))
            }
            Transport::Udp { ports, checksum } => {
                let len = u16::try_from(8 + self.payload.len()).expect("UDP has 16 bits of length");
                bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                bytes.extend(len.to_be_bytes());
                bytes.extend([0; 2]);
                (protocol::UDP, checksum.then_some(6))
            }
            Transport::Sctp { ports } => {
                bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                bytes.extend([0; 8]);
                (protocol::SCTP, None)
            }
            Transport::Icmp {
                icmp_type,
                code,
                word,
            } => {
                bytes.extend([*icmp_type, *code, 0, 0]);
                bytes.extend(word.to_be_bytes());
                match ip.src.family() {
                    Family::V4 => (protocol::ICMP, Some(2)),
                    Family::V6 => (protocol::ICMPV6, Some(2)),
                }
            }
            Transport::Other { .. } => unreachable!("build has taken care of it"),
        };
        bytes.extend(&self.payload);
        if protocol == protocol::SCTP {
            let crc = crc32c(&bytes);
            put(&mut bytes, 8, crc.to_le_bytes());
        }
        if let Some(at) = check_at {
            let pseudo = match protocol {
                protocol::ICMP => 0,
                _ => checksum::pseudo_header(ip.src, ip.dst, protocol, bytes.len() as u32),
            };
            let check = checksum::finish(checksum::sum(&bytes, pseudo));
            let check = if protocol == protocol::UDP && check == 0 {
                0xffff
            } else {
                check
            };
            put(&mut bytes, at, check.to_be_bytes());
        }
        (protocol, bytes)
    }
}

impl Ip {
    fn build_v4(&self, protocol: u8, transport: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let len = u16::try_from(header_len + transport.len()).expect("IPv4 has 16 bits of length");
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut packet = vec![0x40 | (header_len / 4) as u8, self.tos];
        packet.extend(len.to_be_bytes());
        packet.extend((self.id as u16).to_be_bytes());
        packet.extend((flags | self.offset >> 3).to_be_bytes());
        packet.extend([self.ttl, protocol, 0, 0]);
        packet.extend(self.src.v4_bytes());
        packet.extend(self.dst.v4_bytes());
        packet.extend(&self.options);
        let check = checksum::finish(checksum::sum(&packet, 0));
        put(&mut packet, 10, check.to_be_bytes());
        packet.extend(transport);
        packet
    }

    fn build_v6(&self, protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        if self.offset > 0 || self.more_fragments {
            let mut header = vec![0, 0];
            header.extend((self.offset & 0xfff8 | u16::from(self.more_fragments)).to_be_bytes());
            header.extend(self.id.to_be_bytes());
            extensions.push((protocol::FRAGMENT, header));
        }
        let mut next = protocol;
        for (number, bytes) in extensions.iter_mut().rev() {
            bytes[0] = next;
            next = *number;
        }
        let body: Vec<u8> = extensions
            .into_iter()
            .flat_map(|(_, bytes)| bytes)
            .collect();
        let len = u16::try_from(body.len() + transport.len()).expect("IPv6 has 16 bits of length");
        let mut packet = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        packet.extend(len.to_be_bytes());
        packet.extend([next, self.ttl]);
        packet.extend(self.src.v6_bytes());
        packet.extend(self.dst.v6_bytes());
        packet.extend(body);
        packet.extend(transport);
        packet
    }
}

/// An address from its text.
///
/// # Panics
///
/// When it is none.
#[must_use]
pub fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<IpAddr>().expect("the text is an IP address"))
}
