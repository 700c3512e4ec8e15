//! Listings of services and servers.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::command::Format;
use crate::director::{
    Daemon, Info, ListedServer, ListedService, Method, Protocol, Service, ServiceId, Stats,
    Timeouts, Tunnel, TunnelChecksum, TunnelKind, flag,
};
use crate::names::Names;

/// Widest name of an IPv4 server, and of an IPv4 service; what is longer is cut.
const SERVER_WIDTH: usize = 28;
const SERVICE_WIDTH: usize = 33;

/// The line that tells what the director is.
#[must_use]
pub fn info(info: Info) -> String {
    let Info {
        version,
        table_size,
    } = info;
    let (major, minor, patch) = (version >> 16 & 0xff, version >> 8 & 0xff, version & 0xff);
    format!("IP Virtual Server version {major}.{minor}.{patch} (size={table_size})\n")
}

/// The two lines of titles.
#[must_use]
pub fn titles(format: Format) -> String {
    let services = "Prot LocalAddress:Port";
    let servers = "  -> RemoteAddress:Port\n";
    let five = |titles: [&str; 5]| {
        let [a, b, c, d, e] = titles;
        format!("{services:<33} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}\n{servers}")
    };
    match format {
        Format { stats: true, .. } => five(["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]),
        Format { rate: true, .. } => five(["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
        Format {
            thresholds: true, ..
        } => format!(
            "{services:<33} {:<10} {:<10} {:<10} {:<10}\n{servers}",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        ),
        Format {
            persistent: true, ..
        } => format!(
            "{services:<33} {:<9} {:<11} {:<10} {:<10}\n{servers}",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        ),
        Format { tunnel: true, .. } => "Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
            .to_owned(),
        _ => "Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            .to_owned(),
    }
}

/// The line of a service.
#[must_use]
pub fn service(listed: &ListedService, format: Format, names: &Names) -> String {
    let service = &listed.service;
    let mut name = match service.id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => {
            let at = address_and_port(address, port, protocol, format.numeric, names);
            format!("{:<4} {at}", protocol.name())
        }
        ServiceId::Mark {
            mark,
            is_ipv6: true,
        } => format!("FWM  {mark} IPv6"),
        ServiceId::Mark { mark, .. } => format!("FWM  {mark}"),
    };
    if !service.id.is_ipv6() {
        name = cut(&name, SERVICE_WIDTH);
    }
    if format.stats || format.rate {
        return format!("{name:<33}{}\n", counted(&listed.stats, format));
    }
    format!("{name} {}{}\n", service.scheduler, flags_of(service))
}

/// What follows the scheduler.
fn flags_of(service: &Service) -> String {
    let mut out = String::new();
    let flags = scheduler_flags(service);
    if !flags.is_empty() {
        let _ = write!(out, " ({flags})");
    }
    if service.flags & flag::PERSISTENT != 0 {
        let _ = write!(out, " persistent {}", service.timeout);
        if let Some(mask) = mask_of(service) {
            let _ = write!(out, " mask {mask}");
        }
    }
    if let Some(engine) = &service.engine {
        let _ = write!(out, " pe {engine}");
    }
    if service.flags & flag::ONE_PACKET != 0 {
        out.push_str(" ops");
    }
    out
}

/// The mask of persistence, where it is not the whole address.
pub(crate) fn mask_of(service: &Service) -> Option<String> {
    if service.id.is_ipv6() {
        return (service.netmask != 128).then(|| service.netmask.to_string());
    }
    let is_whole = service.netmask == u32::MAX;
    (!is_whole).then(|| Ipv4Addr::from_bits(service.netmask).to_string())
}

/// `sh-fallback,sh-port`
pub(crate) fn scheduler_flags(service: &Service) -> String {
    let [one, two] = match service.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port"],
        "mh" => ["mh-fallback", "mh-port"],
        _ => ["flag-1", "flag-2"],
    };
    let all = [
        (flag::SCHEDULER_1, one),
        (flag::SCHEDULER_2, two),
        (flag::SCHEDULER_3, "flag-3"),
    ];
    let set = all.iter().filter(|(bit, _)| service.flags & bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// The line of a server.
#[must_use]
pub fn server(listed: &ListedServer, of: &Service, format: Format, names: &Names) -> String {
    let server = &listed.server;
    let protocol = of.id.protocol();
    let mut name = address_and_port(server.address, server.port, protocol, format.numeric, names);
    if server.address.is_ipv4() {
        name = cut(&name, SERVER_WIDTH);
    }
    let (active, inactive) = (listed.active, listed.inactive);
    let numbers = if format.stats || format.rate {
        return format!("  -> {name:<28}{}\n", counted(&listed.stats, format));
    } else if format.thresholds {
        let (upper, lower) = (server.upper, server.lower);
        format!("{upper:<10} {lower:<10} {active:<10} {inactive:<10}")
    } else if format.persistent {
        let (weight, persistent) = (server.weight, listed.persistent);
        format!("{weight:<9} {persistent:<11} {active:<10} {inactive:<10}")
    } else {
        let method = match server.method {
            Method::Masq => "Masq",
            Method::Local => "Local",
            Method::Tunnel => "Tunnel",
            Method::Route => "Route",
        };
        let tunnel = match format.tunnel {
            true => format!("{:<13} ", tunnel_of(server.method, server.tunnel)),
            false => String::new(),
        };
        let weight = server.weight;
        format!("{method:<7} {tunnel}{weight:<6} {active:<10} {inactive:<10}")
    };
    format!("  -> {name:<28} {numbers}\n")
}

/// `gue:6080:+c`
fn tunnel_of(method: Method, tunnel: Tunnel) -> String {
    if method != Method::Tunnel {
        return "n/a".to_owned();
    }
    let checksum = match tunnel.checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Full => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match tunnel.kind {
        TunnelKind::Ipip => "ipip".to_owned(),
        TunnelKind::Gue => format!("gue:{}:{checksum}", tunnel.port),
        TunnelKind::Gre => format!("gre:{checksum}"),
    }
}

fn counted(stats: &Stats, format: Format) -> String {
    if format.stats {
        let numbers = stats.totals.map(|number| scaled(number, format.exact));
        return numbers.concat();
    }
    let [conns, in_packets, out_packets, in_bytes, out_bytes] = stats.rates;
    let few = [conns, in_packets, out_packets].map(|number| format!(" {number:>8}"));
    let many = [in_bytes, out_bytes].map(|number| scaled(number, format.exact));
    few.concat() + &many.concat()
}

/// A number in nine characters, in thousands, millions, ... where it has more than eight digits;
/// or exactly.
fn scaled(number: u64, exact: bool) -> String {
    const K: u64 = 1000;
    if exact {
        let digits = number.to_string().len();
        let width = if digits <= 8 { 9 } else { digits + 1 };
        return format!("{number:>width$}");
    }
    match number {
        0..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / K),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / (K * K)),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / (K * K * K)),
        _ => format!("{:>8}T", number / (K * K * K * K)),
    }
}

/// `192.0.2.1:80`, `[2001:db8::1]:http`.
pub(crate) fn address_and_port(
    address: IpAddr,
    port: u16,
    protocol: Protocol,
    numeric: bool,
    names: &Names,
) -> String {
    let (mut host, mut service) = (None, None);
    if !numeric {
        host = names.host(address);
        service = names.service(port, protocol);
    }
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    let service = service.map_or_else(|| port.to_string(), str::to_owned);
    match address {
        IpAddr::V4(_) => format!("{host}:{service}"),
        IpAddr::V6(_) => format!("[{host}]:{service}"),
    }
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// Sorts services: marks last, then by family, protocol, address, port.
pub fn sort_services(services: &mut [ListedService]) {
    services.sort_by_key(|listed| match listed.service.id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => (0, address.is_ipv6(), protocol as u8, Some(address), port),
        ServiceId::Mark { mark, is_ipv6 } => (mark, is_ipv6, 0, None, 0),
    });
}

/// Sorts servers by address and port, IPv4 first.
pub fn sort_servers(servers: &mut [ListedServer]) {
    servers.sort_by_key(|listed| (listed.server.address, listed.server.port));
}

/// The line of the timeouts.
#[must_use]
pub fn timeouts(timeouts: Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n")
}

/// The line of a daemon.
#[must_use]
pub fn daemon(daemon: &Daemon) -> String {
    let mut out = format!(
        "{} sync daemon (mcast={}, syncid={}",
        daemon.state, daemon.interface, daemon.sync_id
    );
    if daemon.maxlen != 0 {
        let _ = write!(out, ", maxlen={}", daemon.maxlen);
    }
    if let Some(group) = daemon.group {
        let _ = write!(out, ", group={group}");
    }
    if daemon.port != 0 {
        let _ = write!(out, ", port={}", daemon.port);
    }
    if daemon.ttl != 0 {
        let _ = write!(out, ", ttl={}", daemon.ttl);
    }
    out + ")\n"
}
