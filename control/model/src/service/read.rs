//! Reads `[[service]]` and `[[service.server]]`.

use std::net::IpAddr;

use super::{
    Family, Method, PERSISTENCE_TIMEOUT_MAX, PersistenceMask, PortRange, Protocol, SchedulerFlag,
    SchedulerFlags, SchedulerName, Server, Service, ServiceKey, THRESHOLD_MAX, TunnelChecksum,
    TunnelKind, WEIGHT_MAX, port_range,
};
use crate::fault::Problem;
use crate::network::unicast;
use crate::reader::{Path, Placed, Section};

/// Most local addresses of a service.
const LOCAL_ADDRESSES_MAX: usize = 64;

impl Service {
    /// Reads a service and all its servers. `None`: what was needed to build it is a noted fault.
    pub(crate) fn read(s: Section<'_>) -> Option<Placed<Service>> {
        let key = read_key(&s);
        let family = key.map(|key| key.family());
        let scheduler = s.choice("scheduler", SchedulerName::Wrr);
        let scheduler_flags = read_flags(&s, scheduler);
        let one_packet = s.bool("one_packet", false);
        let timeouts = 1..=PERSISTENCE_TIMEOUT_MAX;
        let persistence_timeout = s.optional_number("persistence_timeout", "seconds", timeouts);
        let mask = s.optional("persistence_mask", |text| mask(text, family));
        let persistence_engine = s.optional_choice("persistence_engine");
        let name = s.optional("name", label);
        let local = s.placed_texts("local_addresses", |text| unicast(text, "a local end"));
        let local_ports = s.text("local_ports", PortRange::LOCAL_DEFAULT, port_range);
        let new_flows = s.number(
            "new_flows_per_second_max",
            "new flows a second",
            0,
            0..=100_000_000,
        );
        let servers: Vec<_> = s
            .sections("server")
            .into_iter()
            .filter_map(|server| Server::read(server, key))
            .collect();
        check_duplicates(&s, &servers);
        check_local(&s, family, &local, &servers);
        let path = s.path().clone();
        if let Some(key) = key {
            check_one_packet(&s, key, one_packet);
            check_any_port(&s, key, persistence_timeout.is_some());
        }
        s.finish();
        let key = key?;
        let value = Service {
            key,
            scheduler,
            scheduler_flags,
            one_packet,
            persistence_timeout,
            persistence_mask: mask.unwrap_or(PersistenceMask::whole(key.family())),
            persistence_engine,
            name,
            local_addresses: local.into_iter().map(|placed| placed.value).collect(),
            local_ports,
            new_flows_per_second_max: new_flows,
            servers: servers.into_iter().map(|(_, server)| server).collect(),
        };
        Some(Placed { path, value })
    }
}

/// By mark, or by address.
fn read_key(s: &Section<'_>) -> Option<ServiceKey> {
    if !s.is_given("mark") {
        let protocol = s.required_choice("protocol");
        let address = s.required("address", "the virtual address", |text| {
            unicast(text, "a service")
        });
        let port = s.required_number("port", "a port", 0..=u16::MAX);
        let family = s.optional_choice::<Family>("family");
        if let (Some(family), Some(address)) = (family, address)
            && family != Family::of(address)
        {
            let problem = format!("{family} is not the family of {address}");
            s.fault("family", Problem::new(problem, "leave it out"));
        }
        // Asked for, so that it is a known key.
        let _ = s.optional_number("mark", "a mark", 1..=u32::MAX);
        return Some(ServiceKey::Address {
            protocol: protocol?,
            address: address?,
            port: port?,
        });
    }
    let mark = s.optional_number("mark", "a mark", 1..=u32::MAX);
    let family = s.optional_choice("family").unwrap_or(Family::Ipv4);
    let is_by_address = [
        s.optional_choice::<Protocol>("protocol").is_some(),
        s.optional("address", |text| unicast(text, "a service"))
            .is_some(),
        s.optional_number("port", "a port", 0..=u16::MAX).is_some(),
    ];
    if mark.is_some() && is_by_address.contains(&true) {
        let problem = "a service goes by mark or by protocol, address and port";
        let cure = "leave one out; a [[mark]] tells which packets have the mark";
        s.fault("mark", Problem::new(problem, cure));
    }
    Some(ServiceKey::Mark {
        mark: mark?,
        family,
    })
}

fn read_flags(s: &Section<'_>, scheduler: SchedulerName) -> SchedulerFlags {
    let flags = s.texts("scheduler_flags", |word| {
        SchedulerFlag::of_word(word, scheduler).ok_or_else(|| {
            let all = [SchedulerFlag::One, SchedulerFlag::Two, SchedulerFlag::Three];
            Problem::new(
                format!("{word:?} is no flag of {scheduler}"),
                format!("give {}", all.map(|flag| flag.word(scheduler)).join(", ")),
            )
        })
    });
    flags
        .into_iter()
        .fold(SchedulerFlags::default(), SchedulerFlags::with)
}

fn mask(text: &str, family: Option<Family>) -> Result<PersistenceMask, Problem> {
    let wanted = family.unwrap_or(Family::Ipv4);
    let cure = match wanted {
        Family::Ipv4 => "give a mask such as \"255.255.255.0\"",
        Family::Ipv6 => "give the length of a prefix from 1 to 128, such as \"64\"",
    };
    let mask = text.parse::<PersistenceMask>();
    let mask = mask.map_err(|error| Problem::new(error.to_string(), cure))?;
    if family.is_some() && mask.family() != wanted {
        let problem = format!("{text:?} is no mask of {}", wanted.title());
        return Err(Problem::new(problem, cure));
    }
    Ok(mask)
}

fn check_one_packet(s: &Section<'_>, key: ServiceKey, one_packet: bool) {
    if one_packet && !matches!(key.protocol(), None | Some(Protocol::Udp)) {
        let problem = "one_packet is for UDP";
        let cure = "leave it out, or give protocol = \"udp\"";
        s.fault("one_packet", Problem::new(problem, cure));
    }
}

/// A service for every port would spread one client's connections over servers that know nothing of
/// each other (ipvsadm refuses it, too).
fn check_any_port(s: &Section<'_>, key: ServiceKey, is_persistent: bool) {
    if matches!(key, ServiceKey::Address { port: 0, .. }) && !is_persistent {
        let cure = "give persistence_timeout, or a port from 1 to 65535";
        s.fault(
            "port",
            Problem::new("port 0, every port, needs persistence", cure),
        );
    }
}

impl Server {
    /// Reads a server of the service `key`, as far as that is known.
    fn read(s: Section<'_>, key: Option<ServiceKey>) -> Option<(Path, Server)> {
        let address = s.required("address", "the real server's address", |text| {
            unicast(text, "a server")
        });
        let port = s.optional_number("port", "a port", 0..=u16::MAX);
        let weight = s.number("weight", "a weight", 1, 0..=WEIGHT_MAX);
        let method = s.required_choice("method");
        let upper = s.number("upper_threshold", "connections", 0, 0..=THRESHOLD_MAX);
        let lower = s.number("lower_threshold", "connections", 0, 0..=THRESHOLD_MAX);
        let tunnel = s.choice("tunnel", TunnelKind::Ipip);
        let tunnel_port = s.number("tunnel_port", "a port", 0, 0..=u16::MAX);
        let tunnel_checksum = s.choice("tunnel_checksum", TunnelChecksum::None);
        let name = s.optional("name", label);
        if let (Some(key), Some(address), Some(method)) = (key, address, method) {
            check_address(&s, key, address, method);
        }
        if let (Some(key), Some(port), Some(method)) = (key, port, method) {
            check_port(&s, key.port(), port, method);
        }
        if let (Some(key), Some(Method::FullNat)) = (key, method)
            && key.port() == 0
        {
            let cure = "give method = \"nat\", or a service for one port";
            s.fault(
                "method",
                Problem::new("fullnat needs a service for one port", cure),
            );
        }
        if lower > upper {
            let problem = format!("{lower} is more than the upper threshold {upper}");
            let cure = "give at most the upper threshold, or leave it out";
            s.fault("lower_threshold", Problem::new(problem, cure));
        }
        if let Some(method) = method {
            check_tunnel(&s, method, tunnel, tunnel_port, tunnel_checksum);
        }
        let path = s.path().clone();
        s.finish();
        let server = Server {
            address: address?,
            port: port.or(key.map(|key| key.port()))?,
            weight,
            method: method?,
            upper_threshold: upper,
            lower_threshold: lower,
            tunnel,
            tunnel_port,
            tunnel_checksum,
            name,
        };
        Some((path, server))
    }
}

fn check_address(s: &Section<'_>, key: ServiceKey, address: IpAddr, method: Method) {
    let (own, wanted) = (Family::of(address), key.family());
    if own != wanted && method != Method::Tun {
        let (own, wanted) = (own.title(), wanted.title());
        let of = match key.address() {
            Some(vip) => format!("the service's address {vip}"),
            None => format!("the service {key}"),
        };
        let problem = format!("{address} is {own} and {of} is {wanted}");
        let cure = format!("give an {wanted} address, or method = \"tun\"");
        s.fault("address", Problem::new(problem, cure));
    } else if key.address() == Some(address) {
        let cure =
            "give the server's own address; with dr and tun it carries the virtual one besides";
        s.fault(
            "address",
            Problem::new(format!("{address} is the service's own address"), cure),
        );
    }
}

fn check_port(s: &Section<'_>, vport: u16, port: u16, method: Method) {
    // DR and TUN leave the packet as it is, so the port cannot change (spec: LVS A2).
    if port != vport && !matches!(method, Method::Nat | Method::FullNat) {
        let problem =
            format!("{port} is not the service's port {vport}, and {method} cannot map ports");
        s.fault(
            "port",
            Problem::new(
                problem,
                format!("give {vport}, or method = \"nat\" or \"fullnat\""),
            ),
        );
    }
}

fn check_tunnel(
    s: &Section<'_>,
    method: Method,
    tunnel: TunnelKind,
    port: u16,
    checksum: TunnelChecksum,
) {
    if method != Method::Tun {
        for key in ["tunnel", "tunnel_port", "tunnel_checksum"] {
            if s.is_given(key) {
                let problem = format!("is for method tun, and this is {method}");
                s.fault(key, Problem::new(problem, "leave it out"));
            }
        }
        return;
    }
    let is_gue = tunnel == TunnelKind::Gue;
    if is_gue != (port != 0) {
        let (problem, cure) = match is_gue {
            true => (
                "gue needs the UDP port that the server takes it on",
                "give one from 1 to 65535",
            ),
            false => ("is for gue only", "leave it out"),
        };
        s.fault("tunnel_port", Problem::new(problem, cure));
    }
    let fits = match checksum {
        TunnelChecksum::None => true,
        TunnelChecksum::Full => tunnel != TunnelKind::Ipip,
        TunnelChecksum::Remote => is_gue,
    };
    if !fits {
        let problem = format!("{tunnel} has no checksum {:?}", checksum.name());
        let cure = "give \"none\"";
        s.fault("tunnel_checksum", Problem::new(problem, cure));
    }
}

fn check_duplicates(s: &Section<'_>, servers: &[(Path, Server)]) {
    let mut seen = std::collections::HashMap::new();
    let mut names = std::collections::HashMap::new();
    for (path, server) in servers {
        if let Some(first) = seen.insert(server.key(), path) {
            let problem = format!("{} is the same server as {first}", server.key());
            s.fault_at(path, Problem::new(problem, "give each server once"));
        }
        if let Some(name) = &server.name
            && let Some(first) = names.insert(name, path)
        {
            let problem = format!("{name:?} is also the name of {first}");
            s.fault_at(
                path.key("name"),
                Problem::new(problem, "give it another name"),
            );
        }
    }
}

/// The local addresses of a service are there when they are needed, and fit it. That they are
/// nobody else's is looked at over all services.
fn check_local(
    s: &Section<'_>,
    service: Option<Family>,
    local: &[Placed<IpAddr>],
    servers: &[(Path, Server)],
) {
    let by_fullnat = |server: &Server| server.method == Method::FullNat;
    if !s.is_given("local_addresses")
        && let Some((_, server)) = servers.iter().find(|(_, server)| by_fullnat(server))
    {
        let problem = format!("is missing, and server {} has method fullnat", server.key());
        let cure = "give addresses that stand for clients at the servers, which reply to them";
        s.fault("local_addresses", Problem::new(problem, cure));
    }
    if local.len() > LOCAL_ADDRESSES_MAX {
        let problem = format!("has {} addresses", local.len());
        let cure = format!("give at most {LOCAL_ADDRESSES_MAX}");
        s.fault("local_addresses", Problem::new(problem, cure));
    }
    let mut seen = std::collections::HashMap::new();
    for Placed { path, value } in local {
        if let Some(first) = seen.insert(value, path) {
            let problem = format!("{value} is also at {first}");
            s.fault_at(path, Problem::new(problem, "give each address once"));
        } else if let Some(service) = service
            && service != Family::of(*value)
        {
            let (own, wanted) = (Family::of(*value).title(), service.title());
            let problem = format!("{value} is {own} and the service is {wanted}");
            let cure = format!("give an {wanted} address");
            s.fault_at(path, Problem::new(problem, cure));
        }
    }
}

/// A name that people give: short, and printable as it is.
fn label(text: &str) -> Result<String, Problem> {
    let length = text.chars().count();
    if !(1..=64).contains(&length) || text.chars().any(char::is_control) {
        return Err(Problem::new(
            format!("{text:?} is not a name"),
            "give 1 to 64 printable characters",
        ));
    }
    Ok(text.to_owned())
}
