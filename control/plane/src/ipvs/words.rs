//! From IPVS's words to the configuration's, and back. What IPVS cannot say stays as configured: names,
//! local addresses and ports of FullNAT, which it takes for NAT, limits of new flows.
//!
//! What the kernel takes and is refused here: protocols other than TCP, UDP and SCTP, the mark 0, the
//! methods *local* and *bypass*, tunnels that are none of its three, persistence of 0 seconds or more
//! than 31 days.

use weir_ipvs::types::{SCTP, TCP, UDP, method, service_flags, tunnel};
use weir_ipvs::{Errno, Netmask, Tunnel};
use weir_model::service::{PERSISTENCE_TIMEOUT_MAX, THRESHOLD_MAX};
use weir_model::{
    Family, Method, PersistenceEngine, PersistenceMask, Protocol, SchedulerFlag, SchedulerName,
    Server, ServerKey, Service, ServiceKey, TunnelChecksum, TunnelKind,
};

const FLAGS: [(SchedulerFlag, u32); 3] = [
    (SchedulerFlag::One, service_flags::SCHEDULER_1),
    (SchedulerFlag::Two, service_flags::SCHEDULER_2),
    (SchedulerFlag::Three, service_flags::SCHEDULER_3),
];

const TUNNELS: [(TunnelKind, u8); 3] = [
    (TunnelKind::Ipip, tunnel::IPIP),
    (TunnelKind::Gue, tunnel::GUE),
    (TunnelKind::Gre, tunnel::GRE),
];

const CHECKSUMS: [(TunnelChecksum, u16); 3] = [
    (TunnelChecksum::None, 0),
    (TunnelChecksum::Full, tunnel::CSUM),
    (TunnelChecksum::Remote, tunnel::REMCSUM),
];

/// IP's number of a protocol.
#[must_use]
pub fn protocol_number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
    }
}

/// A service's key in the configuration's words; none when there can be no such service.
#[must_use]
pub fn key(key: &weir_ipvs::ServiceKey) -> Option<ServiceKey> {
    match *key {
        weir_ipvs::ServiceKey::Mark { mark: 0, .. } => None,
        weir_ipvs::ServiceKey::Mark { family, mark } => Some(ServiceKey::Mark {
            mark,
            family: match family {
                weir_ipvs::Family::Ipv4 => Family::Ipv4,
                weir_ipvs::Family::Ipv6 => Family::Ipv6,
            },
        }),
        weir_ipvs::ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
            let known = all.into_iter().find(|p| protocol_number(*p) == protocol);
            Some(ServiceKey::Address {
                protocol: known?,
                address,
                port,
            })
        }
    }
}

/// A service's key in IPVS's words.
#[must_use]
pub fn told_key(key: &ServiceKey) -> weir_ipvs::ServiceKey {
    match *key {
        ServiceKey::Mark { mark, family } => weir_ipvs::ServiceKey::Mark {
            mark,
            family: match family {
                Family::Ipv4 => weir_ipvs::Family::Ipv4,
                Family::Ipv6 => weir_ipvs::Family::Ipv6,
            },
        },
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => weir_ipvs::ServiceKey::Address {
            protocol: protocol_number(protocol),
            address,
            port,
        },
    }
}

/// A service in the configuration's words: what is said, over what is `held`.
///
/// # Errors
/// What cannot be held.
pub fn service(wanted: &weir_ipvs::Service, held: Option<&Service>) -> Result<Service, Errno> {
    let key = key(&wanted.key).ok_or(match wanted.key {
        weir_ipvs::ServiceKey::Mark { .. } => Errno::Einval,
        weir_ipvs::ServiceKey::Address { .. } => Errno::Eprotonosupport,
    })?;
    let scheduler = match wanted.scheduler() {
        None => SchedulerName::None,
        Some(name) => SchedulerName::from_name(name).ok_or(Errno::Enoent)?,
    };
    let flags = FLAGS.into_iter().filter(|(_, bit)| wanted.flags & bit != 0);
    let timeout = match wanted.timeout {
        _ if !wanted.is_persistent() => None,
        seconds @ 1..=PERSISTENCE_TIMEOUT_MAX => Some(seconds),
        _ => return Err(Errno::Einval),
    };
    let mask = match wanted.netmask {
        Netmask::Mask(mask) => PersistenceMask::V4(mask),
        Netmask::Prefix(length) => {
            PersistenceMask::V6(u8::try_from(length).map_err(|_| Errno::Einval)?)
        }
    };
    let engine = match wanted.engine.as_deref() {
        None => None,
        Some(name) if name == PersistenceEngine::Sip.name() => Some(PersistenceEngine::Sip),
        Some(_) => return Err(Errno::Enoent),
    };
    let held = held.cloned().unwrap_or_else(|| Service::new(key));
    Ok(Service {
        scheduler,
        scheduler_flags: flags.fold(
            Default::default(),
            |all: weir_model::SchedulerFlags, (flag, _)| all.with(flag),
        ),
        one_packet: wanted.flags & service_flags::ONE_PACKET != 0,
        persistence_timeout: timeout,
        persistence_mask: mask,
        persistence_engine: engine,
        ..held
    })
}

/// A service in IPVS's words.
#[must_use]
pub fn told(service: &Service) -> weir_ipvs::Service {
    let scheduler_flags = FLAGS.into_iter();
    let on = scheduler_flags.filter(|(flag, _)| service.scheduler_flags.has(*flag));
    let mut flags = on.fold(0, |flags, (_, bit)| flags | bit);
    if service.persistence_timeout.is_some() {
        flags |= service_flags::PERSISTENT;
    }
    if service.one_packet {
        flags |= service_flags::ONE_PACKET;
    }
    weir_ipvs::Service {
        key: told_key(&service.key),
        scheduler: service.scheduler.name().to_owned(),
        flags,
        timeout: service.persistence_timeout.unwrap_or_default(),
        netmask: match service.persistence_mask {
            PersistenceMask::V4(mask) => Netmask::Mask(mask),
            PersistenceMask::V6(length) => Netmask::Prefix(u32::from(length)),
        },
        engine: service
            .persistence_engine
            .map(|engine| engine.name().to_owned()),
    }
}

/// The timeouts in the configuration's words: those of `wanted` that are not 0, over those `held`.
#[must_use]
pub fn timeouts(wanted: weir_ipvs::Timeouts, held: &weir_model::Timeouts) -> weir_model::Timeouts {
    let mut timeouts = held.clone();
    for (held, wanted) in [
        (&mut timeouts.tcp, wanted.tcp),
        (&mut timeouts.tcp_fin, wanted.tcp_fin),
        (&mut timeouts.udp, wanted.udp),
    ] {
        if wanted != 0 {
            *held = wanted;
        }
    }
    timeouts
}

/// A server's key in the configuration's words.
#[must_use]
pub fn server_key(key: &weir_ipvs::ServerKey) -> ServerKey {
    ServerKey {
        address: key.address,
        port: key.port,
    }
}

/// A server in the configuration's words: what is said, over what is `held`.
///
/// # Errors
/// What cannot be held.
pub fn server(wanted: &weir_ipvs::Server, held: Option<&Server>) -> Result<Server, Errno> {
    let method = match (wanted.method, held.map(|server| server.method)) {
        (method::MASQ, Some(Method::FullNat)) => Method::FullNat,
        (method::MASQ, _) => Method::Nat,
        (method::TUNNEL, _) => Method::Tun,
        (method::ROUTE, _) => Method::Dr,
        _ => return Err(Errno::Eopnotsupp),
    };
    if wanted.upper_threshold > THRESHOLD_MAX {
        return Err(Errno::Einval);
    }
    let Tunnel { kind, port, flags } = match method {
        Method::Tun => wanted.tunnel,
        _ => Tunnel::default(),
    };
    let tunnel = TUNNELS.into_iter().find(|(_, number)| *number == kind);
    let checksum = CHECKSUMS.into_iter().find(|(_, number)| *number == flags);
    let (tunnel, _) = tunnel.ok_or(Errno::Eopnotsupp)?;
    let (checksum, _) = checksum.ok_or(Errno::Eopnotsupp)?;
    Ok(Server {
        address: wanted.key.address,
        port: wanted.key.port,
        weight: u32::try_from(wanted.weight).map_err(|_| Errno::Erange)?,
        method,
        upper_threshold: wanted.upper_threshold,
        lower_threshold: wanted.lower_threshold,
        tunnel,
        tunnel_port: port,
        tunnel_checksum: checksum,
        name: held.and_then(|server| server.name.clone()),
    })
}

/// A server in IPVS's words.
#[must_use]
pub fn told_server(server: &Server) -> weir_ipvs::Server {
    let kind = TUNNELS.into_iter().find(|(kind, _)| *kind == server.tunnel);
    let checksum = CHECKSUMS.into_iter();
    let checksum = checksum
        .clone()
        .find(|(checksum, _)| *checksum == server.tunnel_checksum);
    weir_ipvs::Server {
        key: weir_ipvs::ServerKey {
            address: server.address,
            port: server.port,
        },
        method: match server.method {
            Method::Nat | Method::FullNat => method::MASQ,
            Method::Tun => method::TUNNEL,
            Method::Dr => method::ROUTE,
        },
        weight: i32::try_from(server.weight).unwrap_or(i32::MAX),
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        tunnel: Tunnel {
            kind: kind.map_or(tunnel::IPIP, |(_, number)| number),
            port: server.tunnel_port,
            flags: checksum.map_or(0, |(_, number)| number),
        },
    }
}
