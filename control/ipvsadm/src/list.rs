//! Listings of services and servers.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::net::IpAddr;

use weir_ipvs::client::ServiceRows;
use weir_ipvs::table::ServerRow;
use weir_ipvs::types::{SCTP, UDP, method, service_flags as flag, tunnel};
use weir_ipvs::{Daemon, Family, Info, Netmask, Service, ServiceKey, Stats, Timeouts, Tunnel};

use crate::command::Format;
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
pub fn service(service: &Service, stats: &Stats, format: Format, names: &Names) -> String {
    let mut name = match service.key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let at = address_and_port(address, port, protocol, format.numeric, names);
            format!("{:<4} {at}", protocol_name(protocol))
        }
        ServiceKey::Mark {
            mark,
            family: Family::Ipv6,
        } => format!("FWM  {mark} IPv6"),
        ServiceKey::Mark { mark, .. } => format!("FWM  {mark}"),
    };
    if service.key.family() == Family::Ipv4 {
        name = cut(&name, SERVICE_WIDTH);
    }
    if format.stats || format.rate {
        return format!("{name:<33}{}\n", counted(stats, format));
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
        // Without persistence an engine is saved and not listed.
        if let Some(engine) = &service.engine {
            let _ = write!(out, " pe {engine}");
        }
    }
    if service.flags & flag::ONE_PACKET != 0 {
        out.push_str(" ops");
    }
    out
}

/// The mask of persistence, where it is not the whole address.
pub(crate) fn mask_of(service: &Service) -> Option<String> {
    match service.netmask {
        Netmask::Prefix(128) => None,
        Netmask::Prefix(length) => Some(length.to_string()),
        Netmask::Mask(mask) if mask.is_broadcast() => None,
        Netmask::Mask(mask) => Some(mask.to_string()),
    }
}

/// `sh-fallback,sh-port`
pub(crate) fn scheduler_flags(service: &Service) -> String {
    let names = match service.scheduler.as_str() {
        "sh" => &["sh-fallback", "sh-port"][..],
        "mh" => &["mh-fallback", "mh-port"],
        _ => &["flag-1", "flag-2", "flag-3"],
    };
    let bits = [flag::SCHEDULER_1, flag::SCHEDULER_2, flag::SCHEDULER_3];
    let all = bits.iter().zip(names);
    let set = all.filter(|(bit, _)| service.flags & **bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// The line of a server.
#[must_use]
pub fn server(row: &ServerRow, of: &Service, format: Format, names: &Names) -> String {
    let (server, counts, stats) = row;
    let (address, port) = (server.key.address, server.key.port);
    let mut name = address_and_port(address, port, protocol_of(of), format.numeric, names);
    if address.is_ipv4() {
        name = cut(&name, SERVER_WIDTH);
    }
    let (active, inactive) = (counts.active, counts.inactive);
    let numbers = if format.stats || format.rate {
        return format!("  -> {name:<28}{}\n", counted(stats, format));
    } else if format.thresholds {
        let (upper, lower) = (server.upper_threshold, server.lower_threshold);
        format!("{upper:<10} {lower:<10} {active:<10} {inactive:<10}")
    } else if format.persistent {
        let (weight, persistent) = (server.weight, counts.persistent);
        format!("{weight:<9} {persistent:<11} {active:<10} {inactive:<10}")
    } else {
        let method = match server.method & method::MASK {
            method::MASQ => "Masq",
            method::LOCAL => "Local",
            method::TUNNEL => "Tunnel",
            method::ROUTE => "Route",
            _ => "",
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
fn tunnel_of(method: u32, tunnel: Tunnel) -> String {
    if method & method::MASK != method::TUNNEL {
        return "n/a".to_owned();
    }
    let checksum = match tunnel.flags {
        flags if flags & tunnel::CSUM != 0 => "+c",
        flags if flags & tunnel::REMCSUM != 0 => "r+c",
        _ => "-c",
    };
    match tunnel.kind {
        tunnel::GUE => format!("gue:{}:{checksum}", tunnel.port),
        tunnel::GRE => format!("gre:{checksum}"),
        _ => "ipip".to_owned(),
    }
}

fn counted(stats: &Stats, format: Format) -> String {
    if format.stats {
        let totals = [
            stats.connections,
            stats.packets_in,
            stats.packets_out,
            stats.bytes_in,
            stats.bytes_out,
        ];
        let numbers = totals.map(|number| scaled(number, format.exact));
        return numbers.concat();
    }
    let few = [
        stats.connections_rate,
        stats.packets_in_rate,
        stats.packets_out_rate,
    ];
    let few = few.map(|number| format!(" {number:>8}"));
    let many =
        [stats.bytes_in_rate, stats.bytes_out_rate].map(|number| scaled(number, format.exact));
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
    protocol: u16,
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

/// The protocol by which the ports of a service have names; those of a mark have none.
pub(crate) fn protocol_of(service: &Service) -> u16 {
    match service.key {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => 0,
    }
}

fn protocol_name(protocol: u16) -> &'static str {
    match protocol {
        UDP => "UDP",
        SCTP => "SCTP",
        _ => "TCP",
    }
}

/// Sorts services as the original does: marks last, then by family, protocol, address, port.
pub fn sort_services(services: &mut Vec<ServiceRows>) {
    sort(services, |(a, ..), (b, ..)| {
        let rank = |service: &Service| match service.key {
            ServiceKey::Address { protocol, .. } => (0, service.key.family(), protocol),
            ServiceKey::Mark { mark, family } => (mark, family, 0),
        };
        rank(a).cmp(&rank(b)).then_with(|| match (a.key, b.key) {
            (
                ServiceKey::Address { address, port, .. },
                ServiceKey::Address {
                    address: other,
                    port: its_port,
                    ..
                },
            ) => addresses(address, other).then(port.cmp(&its_port)),
            _ => Ordering::Equal,
        })
    });
}

/// Sorts servers as the original does: by address and port, IPv4 first.
pub fn sort_servers(servers: &mut Vec<ServerRow>) {
    sort(servers, |(a, ..), (b, ..)| {
        addresses(a.key.address, b.key.address).then(a.key.port.cmp(&b.key.port))
    });
}

/// The original takes the sign of a difference of 32 bits, so that 192.0.2.1 comes before 10.0.0.1.
/// That is no order: of three addresses each may come before the next.
fn addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let word = |a: u32, b: u32| a.wrapping_sub(b).cast_signed().cmp(&0);
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => word(a.to_bits(), b.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let (a, b) = (a.to_bits(), b.to_bits());
            let words = [96, 64, 32, 0].map(|shift| word((a >> shift) as u32, (b >> shift) as u32));
            let mut words = words.into_iter();
            let first = words.find(|order| order.is_ne());
            first.unwrap_or(Ordering::Equal)
        }
        _ => a.cmp(&b),
    }
}

/// Merges halves, as the C library's `qsort` does where the original runs: with a comparison that is
/// no order the result depends on how it is sorted, and the standard library's sort may panic.
fn sort<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering + Copy) {
    if items.len() < 2 {
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    let mut left = std::mem::take(items);
    sort(&mut left, compare);
    sort(&mut right, compare);
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = match compare(a, b) {
            Ordering::Greater => right.next(),
            _ => left.next(),
        };
        items.extend(next);
    }
    items.extend(left);
    items.extend(right);
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
    if daemon.max_length != 0 {
        let _ = write!(out, ", maxlen={}", daemon.max_length);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(scale: u64) -> Stats {
        Stats {
            connections: scale,
            packets_in: 10 * scale,
            packets_out: 0,
            bytes_in: 99_999_999,
            bytes_out: 1000 * scale,
            connections_rate: scale,
            packets_in_rate: 123_456_789,
            packets_out_rate: 0,
            bytes_in_rate: 100_000_000,
            bytes_out_rate: 1000 * scale,
        }
    }

    #[test]
    fn numbers_of_more_than_eight_digits_are_scaled() {
        let by = |format: Format, scale: u64| counted(&stats(scale), format);
        let stats = Format {
            stats: true,
            ..Format::default()
        };
        let rate = Format {
            rate: true,
            ..Format::default()
        };
        assert_eq!(
            by(stats, 12_345_678),
            " 12345678  123456K        0 99999999   12345M"
        );
        assert_eq!(
            by(rate, 200_000_000_000),
            " 200000000000 123456789        0  100000K     200T"
        );
        let exact = Format {
            exact: true,
            ..stats
        };
        assert_eq!(
            by(exact, 12_345_678),
            " 12345678 123456780        0 99999999 12345678000"
        );
        assert_eq!(scaled(99_999_999_999, false), "   99999M");
        assert_eq!(scaled(100_000_000_000, false), "     100G");
        assert_eq!(scaled(u64::MAX, false), "18446744T");
    }
}
