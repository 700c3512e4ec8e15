//! Reads `[[service]]` and `[[service.server]]`.

use super::check::{self, Wrong, label};
use super::{
    Family, Method, PERSISTENCE_TIMEOUT_MAX, PersistenceMask, PortRange, Protocol, SchedulerFlag,
    SchedulerFlags, SchedulerName, Server, Service, ServiceKey, THRESHOLD_MAX, TunnelChecksum,
    TunnelKind, WEIGHT_MAX, port_range,
};
use crate::fault::Problem;
use crate::network::{server_address, unicast};
use crate::reader::{Path, Placed, Section};

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
        let mut note_at = |place: String, problem| s.fault_at(place, problem);
        let placed = servers.iter().map(|(path, server)| (path.clone(), server));
        check::duplicates(placed, &mut note_at);
        let local: Vec<_> = local.into_iter().map(|l| (l.path, l.value)).collect();
        let is_given = s.is_given("local_addresses");
        let values = servers.iter().map(|(_, server)| server);
        let list = s.key("local_addresses");
        check::local(family, &list, is_given, &local, values, &mut note_at);
        let path = s.path().clone();
        if let Some(key) = key {
            note(&s, check::one_packet(key, one_packet));
            note(&s, check::any_port(key, persistence_timeout.is_some()));
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
            local_addresses: local.into_iter().map(|(_, address)| address).collect(),
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

impl Server {
    /// Reads a server of the service `key`, as far as that is known.
    fn read(s: Section<'_>, key: Option<ServiceKey>) -> Option<(Path, Server)> {
        let address = s.required("address", "the real server's address", server_address);
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
            note(&s, check::address(key, address, method));
        }
        if let (Some(key), Some(port), Some(method)) = (key, port, method) {
            note(&s, check::port(key.port(), port, method));
        }
        if let (Some(key), Some(method)) = (key, method) {
            note(&s, check::fullnat_port(key, method));
        }
        note(&s, check::thresholds(upper, lower));
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

fn check_tunnel(
    s: &Section<'_>,
    method: Method,
    tunnel: TunnelKind,
    port: u16,
    checksum: TunnelChecksum,
) {
    if method == Method::Tun {
        return note(s, check::tunnel(tunnel, port, checksum));
    }
    for key in ["tunnel", "tunnel_port", "tunnel_checksum"] {
        if s.is_given(key) {
            s.fault(key, check::not_a_tunnel(method));
        }
    }
}

fn note(s: &Section<'_>, wrong: impl IntoIterator<Item = Wrong>) {
    for (key, problem) in wrong {
        s.fault(key, problem);
    }
}
