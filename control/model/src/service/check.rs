//! What is wrong with a service or server beyond each value by itself. The reader of the file asks
//! with what it has; a change at run time has all of it.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;

use super::{
    Family, Method, PERSISTENCE_TIMEOUT_MAX, Protocol, Server, Service, ServiceKey, THRESHOLD_MAX,
    TunnelChecksum, TunnelKind, WEIGHT_MAX,
};
use crate::fault::{FieldFault, Problem};
use crate::network::{is_servers, unicast_address};

/// Most local addresses of a service.
const LOCAL_ADDRESSES_MAX: usize = 64;

/// A key of the table in question, and what is wrong with its value.
pub(super) type Wrong = (&'static str, Problem);

impl Service {
    /// Everything that is wrong with it and its servers, as the reader of a file would say it. Whether
    /// it gets along with other services is not looked at.
    #[must_use]
    pub fn faults(&self) -> Vec<FieldFault> {
        let mut told = Vec::new();
        let mut note = |key: String, problem: Problem| told.push(FieldFault::new(key, problem));
        let key = self.key;
        if let Some(address) = key.address()
            && let Err(problem) = unicast_address(address, "a service")
        {
            note("address".to_owned(), problem);
        }
        if key.mark() == Some(0) {
            let cure = "give a mark from 1 to 4294967295";
            note("mark".to_owned(), Problem::new("0 is no mark", cure));
        }
        let timeout = self.persistence_timeout;
        if timeout.is_some_and(|seconds| !(1..=PERSISTENCE_TIMEOUT_MAX).contains(&seconds)) {
            let problem = format!("{} is out of range", timeout.unwrap_or_default());
            let cure = format!("give seconds from 1 to {PERSISTENCE_TIMEOUT_MAX}");
            note(
                "persistence_timeout".to_owned(),
                Problem::new(problem, cure),
            );
        }
        if self.persistence_mask.family() != key.family() {
            let problem = format!("is no mask of {}", key.family().title());
            let cure = match key.family() {
                Family::Ipv4 => "give a mask such as \"255.255.255.0\"",
                Family::Ipv6 => "give the length of a prefix from 1 to 128, such as \"64\"",
            };
            note("persistence_mask".to_owned(), Problem::new(problem, cure));
        }
        let own = [
            one_packet(key, self.one_packet),
            any_port(key, timeout.is_some()),
            self.name.as_deref().and_then(name),
        ];
        for (key, problem) in own.into_iter().flatten() {
            note(key.to_owned(), problem);
        }
        for (at, address) in self.local_addresses.iter().enumerate() {
            if let Err(problem) = unicast_address(*address, "a local end") {
                note(format!("local_addresses[{at}]"), problem);
            }
        }
        let place = |at: usize| format!("local_addresses[{at}]");
        let local = self.local_addresses.iter().enumerate();
        let local: Vec<_> = local.map(|(at, address)| (place(at), *address)).collect();
        let is_given = !local.is_empty();
        let (family, servers) = (Some(key.family()), self.servers.iter());
        self::local(
            family,
            "local_addresses",
            is_given,
            &local,
            servers,
            &mut note,
        );
        for (at, server) in self.servers.iter().enumerate() {
            for (field, problem) in server.faults(key) {
                note(format!("server[{at}].{field}"), problem);
            }
        }
        let servers = self.servers.iter().enumerate();
        duplicates(
            servers.map(|(at, server)| (format!("server[{at}]"), server)),
            &mut note,
        );
        told
    }
}

impl Server {
    /// Everything that is wrong with it as a server of the service `key`.
    fn faults(&self, key: ServiceKey) -> Vec<Wrong> {
        let mut told = Vec::new();
        if let Err(problem) = is_servers(self.address) {
            told.push(("address", problem));
        }
        let most = |field, number: u32, most: u32| {
            (number > most).then(|| {
                let problem = format!("{number} is more than {most}");
                (field, Problem::new(problem, format!("give at most {most}")))
            })
        };
        told.extend(most("weight", self.weight, WEIGHT_MAX));
        told.extend(most("upper_threshold", self.upper_threshold, THRESHOLD_MAX));
        told.extend(address(key, self.address, self.method));
        told.extend(port(key.port(), self.port, self.method));
        told.extend(fullnat_port(key, self.method));
        told.extend(thresholds(self.upper_threshold, self.lower_threshold));
        let (tunnel, checksum) = (self.tunnel, self.tunnel_checksum);
        match self.method {
            Method::Tun => told.extend(self::tunnel(tunnel, self.tunnel_port, checksum)),
            _ => {
                let given = [
                    ("tunnel", tunnel != TunnelKind::Ipip),
                    ("tunnel_port", self.tunnel_port != 0),
                    ("tunnel_checksum", checksum != TunnelChecksum::None),
                ];
                let given = given.into_iter().filter(|(_, is_given)| *is_given);
                told.extend(given.map(|(key, _)| (key, not_a_tunnel(self.method))));
            }
        }
        told.extend(self.name.as_deref().and_then(name));
        told
    }
}

pub(super) fn one_packet(key: ServiceKey, one_packet: bool) -> Option<Wrong> {
    (one_packet && !matches!(key.protocol(), None | Some(Protocol::Udp))).then(|| {
        let cure = "leave it out, or give protocol = \"udp\"";
        ("one_packet", Problem::new("one_packet is for UDP", cure))
    })
}

/// A service for every port would spread one client's connections over servers that know nothing of
/// each other (ipvsadm refuses it, too).
pub(super) fn any_port(key: ServiceKey, is_persistent: bool) -> Option<Wrong> {
    (matches!(key, ServiceKey::Address { port: 0, .. }) && !is_persistent).then(|| {
        let cure = "give persistence_timeout, or a port from 1 to 65535";
        (
            "port",
            Problem::new("port 0, every port, needs persistence", cure),
        )
    })
}

pub(super) fn address(key: ServiceKey, address: IpAddr, method: Method) -> Option<Wrong> {
    let (own, wanted) = (Family::of(address), key.family());
    if own != wanted && method != Method::Tun {
        let (own, wanted) = (own.title(), wanted.title());
        let of = match key.address() {
            Some(vip) => format!("the service's address {vip}"),
            None => format!("the service {key}"),
        };
        let problem = format!("{address} is {own} and {of} is {wanted}");
        let cure = format!("give an {wanted} address, or method = \"tun\"");
        return Some(("address", Problem::new(problem, cure)));
    }
    if address.is_loopback() && matches!(method, Method::Nat | Method::FullNat) {
        let problem =
            format!("{address} is the director itself, and {method} cannot rewrite to it");
        let cure = "give method = \"dr\", or another address of the director";
        return Some(("address", Problem::new(problem, cure)));
    }
    (key.address() == Some(address)).then(|| {
        let problem = format!("{address} is the service's own address");
        let cure =
            "give the server's own address; with dr and tun it carries the virtual one besides";
        ("address", Problem::new(problem, cure))
    })
}

pub(super) fn port(vport: u16, port: u16, method: Method) -> Option<Wrong> {
    // DR and TUN leave the packet as it is, so the port cannot change (spec: LVS A2).
    (port != vport && !matches!(method, Method::Nat | Method::FullNat)).then(|| {
        let problem =
            format!("{port} is not the service's port {vport}, and {method} cannot map ports");
        let cure = format!("give {vport}, or method = \"nat\" or \"fullnat\"");
        ("port", Problem::new(problem, cure))
    })
}

pub(super) fn fullnat_port(key: ServiceKey, method: Method) -> Option<Wrong> {
    (method == Method::FullNat && key.port() == 0).then(|| {
        let cure = "give method = \"nat\", or a service for one port";
        (
            "method",
            Problem::new("fullnat needs a service for one port", cure),
        )
    })
}

pub(super) fn thresholds(upper: u32, lower: u32) -> Option<Wrong> {
    (lower > upper).then(|| {
        let problem = format!("{lower} is more than the upper threshold {upper}");
        let cure = "give at most the upper threshold, or leave it out";
        ("lower_threshold", Problem::new(problem, cure))
    })
}

/// What is said of a tunnel's key where there is no tunnel.
pub(super) fn not_a_tunnel(method: Method) -> Problem {
    Problem::new(
        format!("is for method tun, and this is {method}"),
        "leave it out",
    )
}

/// Of a server with method `tun`.
pub(super) fn tunnel(
    tunnel: TunnelKind,
    port: u16,
    checksum: TunnelChecksum,
) -> impl Iterator<Item = Wrong> {
    let is_gue = tunnel == TunnelKind::Gue;
    let port = (is_gue != (port != 0)).then(|| {
        let (problem, cure) = match is_gue {
            true => (
                "gue needs the UDP port that the server takes it on",
                "give one from 1 to 65535",
            ),
            false => ("is for gue only", "leave it out"),
        };
        ("tunnel_port", Problem::new(problem, cure))
    });
    let fits = match checksum {
        TunnelChecksum::None => true,
        TunnelChecksum::Full => tunnel != TunnelKind::Ipip,
        TunnelChecksum::Remote => is_gue,
    };
    let checksum = (!fits).then(|| {
        let problem = format!("{tunnel} has no checksum {:?}", checksum.name());
        ("tunnel_checksum", Problem::new(problem, "give \"none\""))
    });
    [port, checksum].into_iter().flatten()
}

/// Servers with their places are each there once, and named once.
pub(super) fn duplicates<'s, P: Display + Clone>(
    servers: impl Iterator<Item = (P, &'s Server)>,
    note: &mut impl FnMut(String, Problem),
) {
    let mut seen = HashMap::new();
    let mut names = HashMap::new();
    for (place, server) in servers {
        if let Some(first) = seen.insert(server.key(), place.clone()) {
            let problem = format!("{} is the same server as {first}", server.key());
            note(
                place.to_string(),
                Problem::new(problem, "give each server once"),
            );
        }
        if let Some(name) = &server.name
            && let Some(first) = names.insert(name, place.clone())
        {
            let problem = format!("{name:?} is also the name of {first}");
            note(
                format!("{place}.name"),
                Problem::new(problem, "give it another name"),
            );
        }
    }
}

/// The local addresses of a service are there when they are needed, and fit it. That they are
/// nobody else's is looked at over all services.
pub(super) fn local<'s, P: Display>(
    service: Option<Family>,
    list: &str,
    is_given: bool,
    local: &[(P, IpAddr)],
    mut servers: impl Iterator<Item = &'s Server>,
    note: &mut impl FnMut(String, Problem),
) {
    if !is_given && let Some(server) = servers.find(|server| server.method == Method::FullNat) {
        let problem = format!("is missing, and server {} has method fullnat", server.key());
        let cure = "give addresses that stand for clients at the servers, which reply to them";
        note(list.to_owned(), Problem::new(problem, cure));
    }
    if local.len() > LOCAL_ADDRESSES_MAX {
        let problem = format!("has {} addresses", local.len());
        let cure = format!("give at most {LOCAL_ADDRESSES_MAX}");
        note(list.to_owned(), Problem::new(problem, cure));
    }
    let mut seen = HashMap::new();
    for (place, value) in local {
        if let Some(first) = seen.insert(value, place) {
            let problem = format!("{value} is also at {first}");
            note(
                place.to_string(),
                Problem::new(problem, "give each address once"),
            );
        } else if let Some(service) = service
            && service != Family::of(*value)
        {
            let (own, wanted) = (Family::of(*value).title(), service.title());
            let problem = format!("{value} is {own} and the service is {wanted}");
            let cure = format!("give an {wanted} address");
            note(place.to_string(), Problem::new(problem, cure));
        }
    }
}

/// A name that people give: short, and printable as it is.
fn name(text: &str) -> Option<Wrong> {
    label(text).err().map(|problem| ("name", problem))
}

pub(super) fn label(text: &str) -> Result<String, Problem> {
    let length = text.chars().count();
    if !(1..=64).contains(&length) || text.chars().any(char::is_control) {
        return Err(Problem::new(
            format!("{text:?} is not a name"),
            "give 1 to 64 printable characters",
        ));
    }
    Ok(text.to_owned())
}
