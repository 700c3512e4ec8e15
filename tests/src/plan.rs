//! The lab's addresses: who sits where. The drawing is at the crate's head.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a packet reaches the real server (LVS: packet-forwarding method).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Addresses and ports rewritten, both ways through the director.
    Nat,
    /// Only the MAC address rewritten; the server answers the client itself.
    Dr,
    /// IP in IP; the server answers the client itself.
    Tun,
    /// Both ends rewritten; the server answers the director, whatever its routes.
    FullNat,
}

impl Method {
    /// All of them, in the order the demo shows them.
    pub const ALL: [Self; 4] = [Self::Nat, Self::Dr, Self::Tun, Self::FullNat];

    /// The word of the configuration file, and the first part of the servers' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dr => "dr",
            Self::Tun => "tun",
            Self::FullNat => "fullnat",
        }
    }

    /// The virtual address whose servers are reached this way.
    pub fn vip(self, family: Family) -> IpAddr {
        let last = match self {
            Self::Nat => 101,
            Self::Dr => 102,
            Self::Tun => 103,
            Self::FullNat => 104,
        };
        wan(family, last)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Prefix length of the lab's networks.
    pub fn prefix_len(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

/// Host number of the director on wan and of the client's first address.
pub const DIRECTOR_WAN: u8 = 1;
/// Host number of the director on lan, where it is the NAT servers' gateway.
pub const DIRECTOR_LAN: u8 = 254;
/// Host number of the router on wan and on far.
pub const ROUTER: u8 = 254;
/// Host number of the router on lan.
pub const ROUTER_LAN: u8 = 253;
/// Host numbers of the client.
pub const CLIENT: [u8; 2] = [10, 11];
/// Host numbers, on wan and on lan, of the director's local addresses for FullNAT.
pub const LOCAL: [u8; 2] = [200, 201];
/// How many servers there are for each method.
pub const SERVERS: u8 = 3;

/// Address of a host on the client's network. The number is read in decimal in both
/// families: host 101 is `192.0.2.101` and `2001:db8:1::101`.
pub fn wan(family: Family, host: u8) -> IpAddr {
    address(family, [192, 0, 2], 1, host)
}

/// Address of a host on the NAT servers' network.
pub fn lan(family: Family, host: u8) -> IpAddr {
    address(family, [10, 0, 0], 2, host)
}

/// Address of a host on the TUN servers' network, behind the router.
pub fn far(family: Family, host: u8) -> IpAddr {
    address(family, [10, 9, 0], 3, host)
}

/// Address of server `number` (from 1) of a method.
pub fn server(method: Method, family: Family, number: u8) -> IpAddr {
    match method {
        Method::Nat => lan(family, number),
        Method::Dr => wan(family, 20 + number),
        Method::Tun => far(family, number),
        Method::FullNat => lan(family, 30 + number),
    }
}

/// `address/prefix` of a host in its network.
pub fn with_prefix(address: IpAddr) -> String {
    let family = if address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    format!("{address}/{}", family.prefix_len())
}

/// An address as it stands in a URL.
pub fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

fn address(family: Family, v4: [u8; 3], v6: u16, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(v4[0], v4[1], v4[2], host).into(),
        Family::V6 => {
            let as_read =
                u16::from(host / 100) << 8 | u16::from(host / 10 % 10) << 4 | u16::from(host % 10);
            Ipv6Addr::new(0x2001, 0xdb8, v6, 0, 0, 0, 0, as_read).into()
        }
    }
}
