//! The texts of `/proc/net/ip_vs`, `ip_vs_conn`, `ip_vs_conn_sync`, `ip_vs_stats` and
//! `ip_vs_stats_percpu`, which monitoring programs read.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr};

use crate::table::{ServerRow, Table};
use crate::tables::IPVS_VERSION;
use crate::types::{
    Family, Netmask, SCTP, Service, ServiceKey, Stats, TCP, UDP, method, service_flags,
};

/// Ticks of the kernel in a second: `ip_vs` tells persistence timeouts in them.
const TICKS: u32 = 250;

/// A connection, or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Of IP; 0 for a template of a mark.
    pub protocol: u16,
    /// The client.
    pub client: (IpAddr, u16),
    /// What it addressed.
    pub virtual_end: (IpAddr, u16),
    /// The real server, which may be of another family.
    pub server: (IpAddr, u16),
    /// The state's name, such as `ESTABLISHED`; `ASSURED` or `NONE` of a template.
    pub state: &'static str,
    /// Seconds until it is forgotten.
    pub expires: u32,
    /// It was told of by another director.
    pub is_synchronised: bool,
    /// The persistence engine and what it knows the client by.
    pub engine: Option<(String, String)>,
}

/// The head of [`ip_vs`].
#[must_use]
pub fn ip_vs_head(size: u32) -> String {
    let [_, major, minor, patch] = IPVS_VERSION.to_be_bytes();
    format!(
        "IP Virtual Server version {major}.{minor}.{patch} (size={size})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    )
}

/// `/proc/net/ip_vs`
#[must_use]
pub fn ip_vs(table: &dyn Table) -> String {
    let mut text = ip_vs_head(table.size());
    for (service, _) in table.services() {
        text += &self::service(&service, &table.servers(&service.key));
    }
    text
}

/// The lines of a service and its servers in [`ip_vs`].
#[must_use]
pub fn service(service: &Service, servers: &[ServerRow]) -> String {
    let servers: String = servers.iter().map(server_line).collect();
    service_line(service) + &servers
}

fn service_line(service: &Service) -> String {
    let scheduler = service.scheduler().unwrap_or("none");
    let one_packet = match service.flags & service_flags::ONE_PACKET {
        0 => "",
        _ => "ops ",
    };
    let mut line = match service.key {
        ServiceKey::Mark { mark, .. } => format!("FWM  {mark:08X} {scheduler} {one_packet}"),
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let protocol = protocol_name(protocol);
            let end = End(address);
            match address {
                IpAddr::V4(_) => format!("{protocol}  {end}:{port:04X} {scheduler} {one_packet} "),
                IpAddr::V6(_) => format!("{protocol}  [{end}]:{port:04X} {scheduler} "),
            }
        }
    };
    if service.is_persistent() {
        let mask = match service.netmask {
            Netmask::Mask(mask) => u32::from(mask),
            // The kernel swaps this one, too.
            Netmask::Prefix(length) => length.swap_bytes(),
        };
        let ticks = service.timeout.wrapping_mul(TICKS);
        let _ = write!(line, "persistent {ticks} {mask:08X}");
    }
    line + "\n"
}

fn server_line((server, counts, _): &ServerRow) -> String {
    let end = End(server.key.address);
    let port = server.key.port;
    let end = match server.key.address {
        IpAddr::V4(_) => format!("{end}:{port:04X}"),
        IpAddr::V6(_) => format!("[{end}]:{port:04X}"),
    };
    let method = match server.method {
        method::MASQ => "Masq",
        method::LOCAL => "Local",
        method::TUNNEL => "Tunnel",
        method::ROUTE => "Route",
        method::BYPASS => "Bypass",
        _ => "unknown",
    };
    let (weight, active, inactive) = (server.weight, counts.active, counts.inactive);
    format!("  -> {end}      {method:<7} {weight:<6} {active:<10} {inactive:<10}\n")
}

/// The head of `/proc/net/ip_vs_conn`.
pub const CONN_HEAD: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
/// The head of `/proc/net/ip_vs_conn_sync`.
pub const CONN_SYNC_HEAD: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n";

impl Connection {
    fn ends(&self) -> String {
        let mut line = format!("{:<3}", protocol_name(self.protocol));
        for (address, port) in [self.client, self.virtual_end, self.server] {
            let _ = write!(line, " {} {port:04X}", End(address));
        }
        line
    }

    /// Its line in `/proc/net/ip_vs_conn`.
    #[must_use]
    pub fn conn_line(&self) -> String {
        let mut line = format!("{} {:<11} {:>7}", self.ends(), self.state, self.expires);
        if let Some((engine, data)) = &self.engine {
            let _ = write!(line, " {engine} {data}");
        }
        line + "\n"
    }

    /// Its line in `/proc/net/ip_vs_conn_sync`.
    #[must_use]
    pub fn conn_sync_line(&self) -> String {
        let origin = match self.is_synchronised {
            true => "SYNC",
            false => "LOCAL",
        };
        let (state, expires) = (self.state, self.expires);
        format!("{} {state:<11} {origin:<6} {expires:>7}\n", self.ends())
    }
}

/// `/proc/net/ip_vs_stats`
#[must_use]
pub fn ip_vs_stats(all: &Stats) -> String {
    let totals = totals(all);
    let rates = rates(all);
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n\
         {totals}\n\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n\
         {rates}\n"
    )
}

/// `/proc/net/ip_vs_stats_percpu`: a line for each worker, which are our processors.
#[must_use]
pub fn ip_vs_stats_percpu(workers: &[Stats], all: &Stats) -> String {
    let mut text = "       Total Incoming Outgoing         Incoming         Outgoing\n\
        CPU    Conns  Packets  Packets            Bytes            Bytes\n"
        .to_owned();
    for (worker, stats) in workers.iter().enumerate() {
        let _ = writeln!(text, "{worker:3X} {}", totals(stats));
    }
    let _ = writeln!(text, "  ~ {}", totals(all));
    text += "\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";
    let _ = writeln!(text, "    {}", rates(all));
    text
}

fn totals(stats: &Stats) -> String {
    let (connections, inward, outward) = (stats.connections, stats.packets_in, stats.packets_out);
    let (bytes_in, bytes_out) = (stats.bytes_in, stats.bytes_out);
    format!("{connections:8X} {inward:8X} {outward:8X} {bytes_in:16X} {bytes_out:16X}")
}

fn rates(stats: &Stats) -> String {
    totals(&Stats {
        connections: stats.connections_rate,
        packets_in: stats.packets_in_rate,
        packets_out: stats.packets_out_rate,
        bytes_in: stats.bytes_in_rate,
        bytes_out: stats.bytes_out_rate,
        ..Stats::default()
    })
}

/// The kernel's name of a protocol.
#[must_use]
pub fn protocol_name(protocol: u16) -> String {
    match protocol {
        0 => "IP".to_owned(),
        TCP => "TCP".to_owned(),
        UDP => "UDP".to_owned(),
        SCTP => "SCTP".to_owned(),
        1 => "ICMP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("IP_{other}"),
    }
}

/// An address as these files have it: IPv4 as one number, IPv6 in full.
struct End(IpAddr);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{:08X}", u32::from(address)),
            IpAddr::V6(address) => {
                let groups = address.segments().map(|group| format!("{group:04x}"));
                f.write_str(&groups.join(":"))
            }
        }
    }
}

/// A mark as the virtual address of a template: what stands there in the kernel.
#[must_use]
pub fn mark_address(family: Family, mark: u32) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(mark.into()),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from(u128::from(mark) << 96)),
    }
}
