//! Addresses: of Ethernet ([`Mac`]) and of both IP families ([`Addr`]).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations: `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station: `00:00:00:00:00:00`.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it names a group of stations; broadcast is one.
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six bytes in hexadecimal, joined by colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacSyntaxError;

impl fmt::Display for MacSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ethernet address like 02:00:5e:10:00:01")
    }
}

impl core::error::Error for MacSyntaxError {}

impl FromStr for Mac {
    type Err = MacSyntaxError;

    fn from_str(text: &str) -> Result<Self, MacSyntaxError> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().ok_or(MacSyntaxError)?;
            // `from_str_radix` would also take a sign.
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(MacSyntaxError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacSyntaxError)?;
        }
        match parts.next() {
            None => Ok(Self(mac)),
            Some(_) => Err(MacSyntaxError),
        }
    }
}

/// The two IP protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An IPv6 address as a number, or an IPv4 address as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
///
/// One type for both families keeps flow keys one size and comparisons one instruction pair.
/// A real IPv6 packet never carries a mapped address: the parser refuses it as a martian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(pub u128);

/// What stands above the low 32 bits of an IPv4 address.
const V4_MAPPED: u128 = 0xffff << 32;

impl Addr {
    /// The mapped form of an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn from_v4(ip: Ipv4Addr) -> Self {
        Self(V4_MAPPED | ip.to_bits() as u128)
    }

    /// An IPv6 address as it is; a mapped one becomes the IPv4 address.
    #[inline]
    #[must_use]
    pub const fn from_v6(ip: Ipv6Addr) -> Self {
        Self(ip.to_bits())
    }

    /// An IPv4 address in network order.
    #[inline]
    #[must_use]
    pub const fn from_v4_bytes(bytes: [u8; 4]) -> Self {
        Self(V4_MAPPED | u32::from_be_bytes(bytes) as u128)
    }

    /// An IPv6 address in network order.
    #[inline]
    #[must_use]
    pub const fn from_v6_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Whether it is an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The low 32 bits: the whole of an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn v4_bits(self) -> u32 {
        self.0 as u32
    }

    /// The IPv4 address, if it is one.
    #[inline]
    #[must_use]
    pub const fn v4(self) -> Option<Ipv4Addr> {
        if self.is_v4() {
            Some(Ipv4Addr::from_bits(self.v4_bits()))
        } else {
            None
        }
    }

    /// All 128 bits in network order.
    #[inline]
    #[must_use]
    pub const fn v6_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The low 32 bits in network order.
    #[inline]
    #[must_use]
    pub const fn v4_bytes(self) -> [u8; 4] {
        self.v4_bits().to_be_bytes()
    }

    /// The address in the standard library's type, of its own family.
    #[inline]
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        match self.v4() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(self.0)),
        }
    }

    /// The family it belongs to.
    #[inline]
    #[must_use]
    pub const fn family(self) -> Family {
        if self.is_v4() { Family::V4 } else { Family::V6 }
    }

    /// `224.0.0.0/4` or `ff00::/8`.
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        if self.is_v4() {
            self.v4_bits() >> 28 == 0xe
        } else {
            self.0 >> 120 == 0xff
        }
    }

    /// `127.0.0.0/8` or `::1`.
    #[inline]
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        if self.is_v4() {
            self.v4_bits() >> 24 == 127
        } else {
            self.0 == 1
        }
    }

    /// `0.0.0.0` or `::`.
    #[inline]
    #[must_use]
    pub const fn is_unspecified(self) -> bool {
        self.0 == V4_MAPPED || self.0 == 0
    }

    /// `fe80::/10`; no IPv4 address counts.
    #[inline]
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        self.0 >> 118 == 0xfe80 >> 6
    }

    /// `255.255.255.255`.
    #[inline]
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        self.0 == V4_MAPPED | 0xffff_ffff
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from_v4(v4),
            IpAddr::V6(v6) => Self::from_v6(v6),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        addr.ip()
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ip(), f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ip(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().map(Addr::from).expect("an address")
    }

    #[test]
    fn a_mac_reads_what_it_prints() {
        let mac = Mac([0x02, 0, 0x5e, 0x10, 0, 0xab]);
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ab");
        assert_eq!("02:00:5E:10:00:AB".parse(), Ok(mac));
    }

    #[test]
    fn what_is_no_mac_is_refused() {
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ab:cd",
            "2:0:5e:10:0:a",
            "+2:00:5e:10:00:01",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(MacSyntaxError), "{text}");
        }
    }

    #[test]
    fn both_families_round_trip() {
        for text in [
            "192.0.2.1",
            "0.0.0.0",
            "255.255.255.255",
            "2001:db8::1",
            "::",
            "::1",
        ] {
            assert_eq!(addr(text).to_string(), text);
            assert_eq!(
                IpAddr::from(addr(text)),
                text.parse::<IpAddr>().expect("an address")
            );
        }
        assert_eq!(addr("192.0.2.1").v4_bytes(), [192, 0, 2, 1]);
        assert_eq!(addr("::ffff:192.0.2.1"), addr("192.0.2.1"));
    }

    #[test]
    fn kinds_of_addresses_are_told_apart_by_family() {
        assert!(addr("224.0.0.1").is_multicast() && addr("ff02::1").is_multicast());
        assert!(!addr("223.255.255.255").is_multicast() && !addr("240.0.0.1").is_multicast());
        assert!(addr("127.9.9.9").is_loopback() && addr("::1").is_loopback());
        assert!(!addr("0.0.0.1").is_loopback());
        assert!(addr("0.0.0.0").is_unspecified() && addr("::").is_unspecified());
        assert!(addr("fe80::1").is_link_local() && addr("febf::1").is_link_local());
        assert!(!addr("fec0::1").is_link_local() && !addr("169.254.0.1").is_link_local());
        assert!(addr("255.255.255.255").is_broadcast() && !addr("ffff::").is_broadcast());
    }
}
