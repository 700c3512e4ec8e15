//! The kernel's IPVS: commands by its generic netlink family, connection entries from /proc.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weir_conformance::operation::{
    GueChecksum, Key, Method, Operation, Protocol, Server, Service, Tunnel,
};
use weir_conformance::seen::{Counted, Entry};

use crate::netlink::{DUMP, Message, Netlink, attribute, attributes, u16_at, u32_at, u64_at};
use crate::network::octets;

/// Commands of the family (linux/ip_vs.h).
mod command {
    pub(super) const NEW_SERVICE: u8 = 1;
    pub(super) const SET_SERVICE: u8 = 2;
    pub(super) const DEL_SERVICE: u8 = 3;
    pub(super) const GET_SERVICE: u8 = 4;
    pub(super) const NEW_DEST: u8 = 5;
    pub(super) const SET_DEST: u8 = 6;
    pub(super) const DEL_DEST: u8 = 7;
    pub(super) const GET_DEST: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 12;
    pub(super) const ZERO: u8 = 16;
    pub(super) const FLUSH: u8 = 17;
}

/// Attributes of a command, and of the service and the server in it.
mod of_command {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DEST: u16 = 2;
    pub(super) const TIMEOUT_TCP: u16 = 4;
}

mod of_service {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDRESS: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const MARK: u16 = 5;
    pub(super) const SCHEDULER: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
    pub(super) const ENGINE: u16 = 11;
    pub(super) const STATS64: u16 = 12;
}

mod of_dest {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const METHOD: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const UPPER: u16 = 5;
    pub(super) const LOWER: u16 = 6;
    pub(super) const ACTIVE: u16 = 7;
    pub(super) const FAMILY: u16 = 11;
    pub(super) const STATS64: u16 = 12;
    pub(super) const TUNNEL: u16 = 13;
    pub(super) const TUNNEL_PORT: u16 = 14;
    pub(super) const TUNNEL_FLAGS: u16 = 15;
}

const PERSISTENT: u32 = 1;
const ONE_PACKET: u32 = 4;

/// The kernel's name for a scheduler's flag.
fn scheduler_flag(name: &str) -> u32 {
    match name {
        "sh-fallback" | "mh-fallback" | "flag-1" => 8,
        "sh-port" | "mh-port" | "flag-2" => 16,
        _ => 32,
    }
}

/// The family in one network.
pub(crate) struct Ipvs {
    netlink: Netlink,
    family: u16,
}

impl Ipvs {
    /// Of the network that this thread is in.
    pub(crate) fn new() -> io::Result<Self> {
        const CONTROLLER: u16 = 16;
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut netlink = Netlink::new(libc::NETLINK_GENERIC)?;
        let mut message = Message::default();
        message.begin(CONTROLLER, 0, &[GET_FAMILY, 1, 0, 0]);
        message.attribute(FAMILY_NAME, b"IPVS\0");
        let mut family = 0;
        netlink.ask(&message, |payload| {
            let id = attribute(payload.get(4..).unwrap_or_default(), FAMILY_ID);
            family = id.map_or(0, |id| u16_at(id, 0));
        })?;
        match family {
            0 => Err(io::Error::other("the kernel has no IPVS")),
            family => Ok(Self { netlink, family }),
        }
    }

    /// Does what a command asks for; returns the kernel's errno.
    pub(crate) fn command(&mut self, operation: &Operation) -> io::Result<i32> {
        let mut message = Message::default();
        match operation {
            Operation::AddService(service) => {
                self.begin(&mut message, command::NEW_SERVICE, 0);
                message.nested(of_command::SERVICE, |inside| whole_service(inside, service));
            }
            Operation::EditService(service) => {
                self.begin(&mut message, command::SET_SERVICE, 0);
                message.nested(of_command::SERVICE, |inside| whole_service(inside, service));
            }
            Operation::DeleteService(key) => {
                self.begin(&mut message, command::DEL_SERVICE, 0);
                message.nested(of_command::SERVICE, |inside| identity(inside, key));
            }
            Operation::AddServer(key, server) => {
                self.begin(&mut message, command::NEW_DEST, 0);
                message.nested(of_command::SERVICE, |inside| identity(inside, key));
                message.nested(of_command::DEST, |inside| whole_server(inside, server));
            }
            Operation::EditServer(key, server) => {
                self.begin(&mut message, command::SET_DEST, 0);
                message.nested(of_command::SERVICE, |inside| identity(inside, key));
                message.nested(of_command::DEST, |inside| whole_server(inside, server));
            }
            Operation::DeleteServer(key, at) => {
                self.begin(&mut message, command::DEL_DEST, 0);
                message.nested(of_command::SERVICE, |inside| identity(inside, key));
                message.nested(of_command::DEST, |inside| server_identity(inside, *at));
            }
            Operation::Flush => self.begin(&mut message, command::FLUSH, 0),
            Operation::Zero(key) => {
                self.begin(&mut message, command::ZERO, 0);
                if let Some(key) = key {
                    message.nested(of_command::SERVICE, |inside| identity(inside, key));
                }
            }
            Operation::Timeouts(seconds) => {
                self.begin(&mut message, command::SET_CONFIG, 0);
                for (kind, seconds) in (of_command::TIMEOUT_TCP..).zip(seconds) {
                    message.attribute(kind, &seconds.to_ne_bytes());
                }
            }
            other => return Err(io::Error::other(format!("no command of IPVS: {other}"))),
        }
        self.netlink.ask(&message, |_| ())
    }

    fn begin(&self, message: &mut Message, command: u8, flags: u16) {
        message.begin(self.family, flags, &[command, 1, 0, 0]);
    }

    /// The counters of all services and servers.
    pub(crate) fn counters(&mut self) -> io::Result<Vec<Counted>> {
        let mut message = Message::default();
        self.begin(&mut message, command::GET_SERVICE, DUMP);
        let mut services = Vec::new();
        self.netlink.ask(&message, |payload| {
            if let Some(found) = nested(payload, of_command::SERVICE) {
                services.push(found.to_vec());
            }
        })?;
        let mut all = Vec::new();
        for service in services {
            let Some(key) = key_of(&service) else {
                continue;
            };
            let stats = attribute(&service, of_service::STATS64).map(statistics);
            let [totals, rates] = stats.unwrap_or_default();
            all.push(Counted {
                service: key.to_string(),
                server: None,
                connections: [0; 3],
                totals,
                rates,
            });
            let mut message = Message::default();
            self.begin(&mut message, command::GET_DEST, DUMP);
            message.nested(of_command::SERVICE, |inside| identity(inside, &key));
            self.netlink.ask(&message, |payload| {
                let dest = nested(payload, of_command::DEST);
                all.extend(dest.and_then(|dest| counted_server(&key, dest)));
            })?;
        }
        all.sort();
        Ok(all)
    }
}

fn nested(payload: &[u8], kind: u16) -> Option<&[u8]> {
    attribute(payload.get(4..)?, kind)
}

fn family(is_v6: bool) -> u16 {
    (if is_v6 { libc::AF_INET6 } else { libc::AF_INET }) as u16
}

fn number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn address(message: &mut Message, kind: u16, address: IpAddr) {
    let mut bytes = octets(address);
    bytes.resize(16, 0);
    message.attribute(kind, &bytes);
}

fn identity(message: &mut Message, key: &Key) {
    message.attribute(of_service::FAMILY, &family(key.is_v6()).to_ne_bytes());
    match key {
        Key::Mark(mark, _) => message.attribute(of_service::MARK, &mark.to_ne_bytes()),
        Key::Address(protocol, at) => {
            message.attribute(of_service::PROTOCOL, &number(*protocol).to_ne_bytes());
            address(message, of_service::ADDRESS, at.ip());
            message.attribute(of_service::PORT, &at.port().to_be_bytes());
        }
    }
}

fn whole_service(message: &mut Message, service: &Service) {
    identity(message, &service.key);
    let scheduler = [service.scheduler.as_bytes(), &[0]].concat();
    message.attribute(of_service::SCHEDULER, &scheduler);
    let mut flags: u32 = service.flags.iter().map(|name| scheduler_flag(name)).sum();
    if service.persistence.is_some() {
        flags |= PERSISTENT;
    }
    if service.one_packet {
        flags |= ONE_PACKET;
    }
    let flags = [flags.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat();
    message.attribute(of_service::FLAGS, &flags);
    let timeout = service.persistence.unwrap_or(0);
    message.attribute(of_service::TIMEOUT, &timeout.to_ne_bytes());
    let whole = if service.key.is_v6() { 128 } else { 32 };
    let bits = service.mask.unwrap_or(whole);
    let mask = match service.key.is_v6() {
        true => u32::from(bits).to_ne_bytes(),
        false => u32::MAX
            .checked_shl(32 - u32::from(bits))
            .unwrap_or(0)
            .to_be_bytes(),
    };
    message.attribute(of_service::NETMASK, &mask);
    if let Some(engine) = &service.engine {
        let engine = [engine.as_bytes(), &[0]].concat();
        message.attribute(of_service::ENGINE, &engine);
    }
}

fn server_identity(message: &mut Message, at: SocketAddr) {
    message.attribute(of_dest::FAMILY, &family(at.is_ipv6()).to_ne_bytes());
    address(message, of_dest::ADDRESS, at.ip());
    message.attribute(of_dest::PORT, &at.port().to_be_bytes());
}

fn whole_server(message: &mut Message, server: &Server) {
    server_identity(message, server.at);
    let (method, tunnel) = match server.method {
        Method::Nat => (0_u32, None),
        Method::Tun(tunnel) => (2, Some(tunnel)),
        Method::Dr => (3, None),
    };
    message.attribute(of_dest::METHOD, &method.to_ne_bytes());
    message.attribute(of_dest::WEIGHT, &server.weight.to_ne_bytes());
    message.attribute(of_dest::UPPER, &server.upper.to_ne_bytes());
    message.attribute(of_dest::LOWER, &server.lower.to_ne_bytes());
    let (kind, port, flags) = match tunnel {
        None | Some(Tunnel::Ipip) => (0_u8, 0, 0),
        Some(Tunnel::Gue(port, GueChecksum::None)) => (1, port, 0),
        Some(Tunnel::Gue(port, GueChecksum::Full)) => (1, port, 1),
        Some(Tunnel::Gue(port, GueChecksum::Remote)) => (1, port, 2),
        Some(Tunnel::Gre(has_checksum)) => (2, 0, u16::from(has_checksum)),
    };
    message.attribute(of_dest::TUNNEL, &[kind]);
    message.attribute(of_dest::TUNNEL_PORT, &port.to_be_bytes());
    message.attribute(of_dest::TUNNEL_FLAGS, &flags.to_ne_bytes());
}

fn ip_of(bytes: &[u8], is_v6: bool) -> Option<IpAddr> {
    Some(match is_v6 {
        true => IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
        false => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
    })
}

fn port_of(bytes: &[u8]) -> u16 {
    u16::from_be(u16_at(bytes, 0))
}

fn key_of(service: &[u8]) -> Option<Key> {
    let is_v6 = i32::from(u16_at(attribute(service, of_service::FAMILY)?, 0)) == libc::AF_INET6;
    if let Some(mark) = attribute(service, of_service::MARK) {
        return Some(Key::Mark(u32_at(mark, 0), is_v6));
    }
    let protocol = match u16_at(attribute(service, of_service::PROTOCOL)?, 0) {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => Protocol::Sctp,
    };
    let address = ip_of(attribute(service, of_service::ADDRESS)?, is_v6)?;
    let port = port_of(attribute(service, of_service::PORT)?);
    Some(Key::Address(protocol, SocketAddr::new(address, port)))
}

fn counted_server(key: &Key, dest: &[u8]) -> Option<Counted> {
    let family = attribute(dest, of_dest::FAMILY).map(|family| u16_at(family, 0));
    let is_v6 = family.map_or(key.is_v6(), |family| i32::from(family) == libc::AF_INET6);
    let address = ip_of(attribute(dest, of_dest::ADDRESS)?, is_v6)?;
    let port = port_of(attribute(dest, of_dest::PORT)?);
    let count = |kind| attribute(dest, kind).map_or(0, |bytes| u64::from(u32_at(bytes, 0)));
    let [totals, rates] = statistics(attribute(dest, of_dest::STATS64)?);
    Some(Counted {
        service: key.to_string(),
        server: Some(SocketAddr::new(address, port)),
        connections: [0, 1, 2].map(|n| count(of_dest::ACTIVE + n)),
        totals,
        rates,
    })
}

/// Connections, packets in and out, bytes in and out are the first five of the statistics; the same
/// a second are the next five.
fn statistics(stats: &[u8]) -> [[u64; 5]; 2] {
    let mut all = [[0; 5]; 2];
    for (kind, value) in attributes(stats) {
        let at = usize::from(kind).checked_sub(1);
        if let Some(number) = at.and_then(|at| all.as_flattened_mut().get_mut(at)) {
            *number = u64_at(value, 0);
        }
    }
    all
}

/// The connection entries, sorted.
pub(crate) fn entries() -> io::Result<Vec<Entry>> {
    let text = std::fs::read_to_string("/proc/thread-self/net/ip_vs_conn")?;
    let mut entries: Vec<Entry> = text.lines().skip(1).filter_map(entry).collect();
    entries.sort();
    Ok(entries)
}

/// A line of /proc/net/ip_vs_conn: protocol, client, virtual address and server, each with its port
/// and all in hexadecimal digits, state, seconds, and of some templates what an engine found.
fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let protocol = words.next()?.to_owned();
    let mut at = || {
        let address = words.next()?;
        let address = match address.strip_prefix('[') {
            Some(v6) => IpAddr::V6(v6.strip_suffix(']')?.parse().ok()?),
            None if address.contains(':') => IpAddr::V6(address.parse().ok()?),
            None => IpAddr::V4(u32::from_str_radix(address, 16).ok()?.into()),
        };
        let port = u16::from_str_radix(words.next()?, 16).ok()?;
        Some(SocketAddr::new(address, port))
    };
    let (client, service, server) = (at()?, at()?, at()?);
    Some(Entry {
        protocol,
        client,
        service,
        server,
        state: words.next()?.to_owned(),
        seconds: words.next()?.parse().ok()?,
        engine: Some(words.collect::<Vec<_>>().join(" ")).filter(|engine| !engine.is_empty()),
    })
}
