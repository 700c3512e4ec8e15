//! The network that scenarios play in, the same for the kernel and for Weir.
//!
//! ```text
//!  clients ─── router .254/::fe ── client leg ── director ── server leg ── servers 10.0.0.1-12
//!  (anywhere)                       192.0.2.1                 10.0.0.254    router .253/::fd ── 172.16/12
//!                                   2001:db8:1::1             2001:db8:2::fe          2001:db8:ff::/48
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_wire::Mac;

/// A side of the director.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// Towards the clients.
    Client,
    /// Towards the servers.
    Server,
}

impl Leg {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Client, Self::Server];

    /// Its number, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The director's MAC address here.
    #[must_use]
    pub fn director(self) -> Mac {
        match self {
            Self::Client => Mac([2, 0, 0, 0, 1, 1]),
            Self::Server => Mac([2, 0, 0, 0, 2, 1]),
        }
    }

    /// The router's MAC address here.
    #[must_use]
    pub fn router(self) -> Mac {
        match self {
            Self::Client => Mac([2, 0, 0, 0, 1, 0xfe]),
            Self::Server => Mac([2, 0, 0, 0, 2, 0xfe]),
        }
    }

    /// The router's addresses here.
    #[must_use]
    pub fn routers(self) -> [IpAddr; 2] {
        match self {
            Self::Client => [v4([192, 0, 2, 254]), v6([1, 0xfe])],
            Self::Server => [v4([10, 0, 0, 253]), v6([2, 0xfd])],
        }
    }

    /// The director's addresses here with their prefix lengths, its own first, then virtual ones.
    #[must_use]
    pub fn addresses(self) -> Vec<(IpAddr, u8)> {
        match self {
            Self::Client => {
                let own = [(v4([192, 0, 2, 1]), 24), (v6([1, 1]), 64)];
                let virtual_v4 = VIPS_V4.map(|vip| (IpAddr::V4(vip), 32));
                let virtual_v6 = vips_v6().map(|vip| (IpAddr::V6(vip), 128));
                own.into_iter()
                    .chain(virtual_v4)
                    .chain(virtual_v6)
                    .collect()
            }
            Self::Server => vec![(v4([10, 0, 0, 254]), 24), (v6([2, 0xfe]), 64)],
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

impl FromStr for Leg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            _ => Err(format!("{text:?} is no side of the director")),
        }
    }
}

/// The ports at which FTP is looked for.
pub const FTP_PORTS: [u16; 2] = [21, 2121];

/// The virtual IPv4 addresses.
pub const VIPS_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::new(192, 0, 2, 101)];

/// The virtual IPv6 addresses.
#[must_use]
pub fn vips_v6() -> [Ipv6Addr; 2] {
    [[1, 0x100], [1, 0x101]].map(|[net, host]| net_v6(net, host))
}

/// Packets whose mark has this bit are for the director whatever their destination.
pub const ANY_DESTINATION: u32 = 16;

/// How many servers there are.
pub const SERVERS: u8 = 12;

/// The address of server `n`, from 1.
#[must_use]
pub fn server(n: u8, is_v6: bool) -> IpAddr {
    if is_v6 {
        v6([2, u16::from(n)])
    } else {
        v4([10, 0, 0, n])
    }
}

/// The MAC address of server `n`.
#[must_use]
pub fn server_mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 3, n])
}

/// Neighbours whose MAC address everybody knows.
#[must_use]
pub fn neighbours() -> Vec<(Leg, IpAddr, Mac)> {
    let routers = Leg::ALL
        .into_iter()
        .flat_map(|leg| leg.routers().map(|address| (leg, address, leg.router())));
    let servers = (1..=SERVERS)
        .flat_map(|n| [false, true].map(|is_v6| (Leg::Server, server(n, is_v6), server_mac(n))));
    routers.chain(servers).collect()
}

/// Routes by way of a router: prefix, its length, leg.
#[must_use]
pub fn routes() -> Vec<(IpAddr, u8, Leg)> {
    vec![
        (v4([0, 0, 0, 0]), 0, Leg::Client),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0, Leg::Client),
        (v4([172, 16, 0, 0]), 12, Leg::Server),
        (
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0)),
            48,
            Leg::Server,
        ),
    ]
}

fn v4(bytes: [u8; 4]) -> IpAddr {
    IpAddr::V4(bytes.into())
}

fn v6([net, host]: [u16; 2]) -> IpAddr {
    IpAddr::V6(net_v6(net, host))
}

fn net_v6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host)
}

/// Ticks from a scenario's beginning to the first look of the estimator.
pub const ESTIMATE_FIRST: u32 = 206;
/// Ticks from one look to the next. The kernel means to look every two seconds, and its timers of that
/// length end at the next tick but eight that 8 divides.
pub const ESTIMATE_TICKS: u32 = 208;
