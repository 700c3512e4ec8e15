//! Both vocabularies, one into the other: the configuration's and the workers'.

use ipnet::IpNet;
use weir_core::flow::Timeouts;
use weir_core::io::PortId;
use weir_core::mark::{MarkRule, MarkRules};
use weir_core::persist::{Engine, Persistence, mask_of_len, mask_of_v4};
use weir_core::schedule::{HashFlags, Recipe, SchedulerName};
use weir_core::service::{Method, Protocol, ServiceKey, Tunnel};
use weir_core::settings::{Defence, FtpPorts, Ipvs, Settings};
use weir_core::time::seconds;
use weir_model::{PersistenceEngine, PersistenceMask, SchedulerFlag, TunnelChecksum, TunnelKind};
use weir_wire::{Addr, Family};

/// The workers' name of a service.
#[must_use]
pub fn service_key(key: weir_model::ServiceKey) -> ServiceKey {
    match key {
        weir_model::ServiceKey::Address {
            protocol: of,
            address,
            port,
        } => ServiceKey {
            protocol: protocol(of),
            addr: Addr::from(address),
            port,
            mark: 0,
        },
        weir_model::ServiceKey::Mark { mark, family: of } => ServiceKey::of_mark(mark, family(of)),
    }
}

/// The workers' word for a family.
#[must_use]
pub fn family(family: weir_model::Family) -> Family {
    match family {
        weir_model::Family::Ipv4 => Family::V4,
        weir_model::Family::Ipv6 => Family::V6,
    }
}

/// How the clients of a service are remembered.
pub(super) fn persistence(service: &weir_model::Service) -> Option<Persistence> {
    let timeout = service.persistence_timeout?;
    Some(Persistence {
        lifetime: seconds(timeout),
        mask: match service.persistence_mask {
            PersistenceMask::V4(mask) => mask_of_v4(mask.to_bits()),
            PersistenceMask::V6(len) => mask_of_len(Family::V6, len),
        },
        engine: service.persistence_engine.map(|engine| match engine {
            PersistenceEngine::Sip => Engine::Sip,
        }),
    })
}

/// Which packets have which mark.
#[must_use]
pub fn marks(config: &weir_model::Config) -> MarkRules {
    let prefix = |net: &IpNet| (Addr::from(net.addr()), net.prefix_len());
    let ranges = |ports: &[weir_model::PortRange]| {
        let ports = ports.iter();
        ports.map(|range| range.first..=range.last).collect()
    };
    let port_of = |name: &str| {
        let at = config.ports.iter().position(|port| port.name == name);
        // A valid configuration names its own ports; no packet comes in by another.
        PortId(at.map_or(u16::MAX, |at| at as u16))
    };
    let rule = |rule: &weir_model::MarkRule| MarkRule {
        mark: rule.mark,
        family: rule.family.map(family),
        protocol: rule.protocol.map(protocol),
        source: rule.source.as_ref().map(prefix),
        destination: rule.destination.as_ref().map(prefix),
        source_ports: ranges(&rule.source_ports),
        destination_ports: ranges(&rule.destination_ports),
        interface: rule.interface.as_deref().map(port_of),
        any_destination: rule.any_destination,
    };
    MarkRules::new(&config.marks.iter().map(rule).collect::<Vec<_>>())
}

/// The workers' word for a protocol.
#[must_use]
pub fn protocol(protocol: weir_model::Protocol) -> Protocol {
    match protocol {
        weir_model::Protocol::Tcp => Protocol::Tcp,
        weir_model::Protocol::Udp => Protocol::Udp,
        weir_model::Protocol::Sctp => Protocol::Sctp,
    }
}

/// The workers' word for a forwarding method.
#[must_use]
pub fn method(method: weir_model::Method) -> Method {
    match method {
        weir_model::Method::Nat => Method::Nat,
        weir_model::Method::Dr => Method::Dr,
        weir_model::Method::Tun => Method::Tun,
        weir_model::Method::FullNat => Method::FullNat,
    }
}

/// What packets to a server go inside of. A packet off a wire has its checksum already, so there is
/// none to leave to the far end: `remote` is `full` on the wire, as in the kernel.
#[must_use]
pub fn tunnel(server: &weir_model::Server) -> Tunnel {
    let checksum = server.tunnel_checksum != TunnelChecksum::None;
    match server.tunnel {
        TunnelKind::Ipip => Tunnel::Ipip,
        TunnelKind::Gre => Tunnel::Gre { checksum },
        TunnelKind::Gue => Tunnel::Gue {
            port: server.tunnel_port,
            checksum,
        },
    }
}

/// The configuration's word for a protocol.
#[must_use]
pub fn model_protocol(protocol: Protocol) -> weir_model::Protocol {
    match protocol {
        Protocol::Tcp => weir_model::Protocol::Tcp,
        Protocol::Udp => weir_model::Protocol::Udp,
        Protocol::Sctp => weir_model::Protocol::Sctp,
    }
}

/// The configuration's word for a forwarding method.
#[must_use]
pub fn model_method(method: Method) -> weir_model::Method {
    match method {
        Method::Nat => weir_model::Method::Nat,
        Method::Dr => weir_model::Method::Dr,
        Method::Tun => weir_model::Method::Tun,
        Method::FullNat => weir_model::Method::FullNat,
    }
}

/// What the scheduler of a service is made of.
pub(super) fn recipe(service: &weir_model::Service) -> Recipe {
    let flags = service.scheduler_flags;
    let (family, has_many_addrs) = match service.key {
        weir_model::ServiceKey::Address { address, .. } => (Addr::from(address).family(), false),
        weir_model::ServiceKey::Mark { family, .. } => match family {
            weir_model::Family::Ipv4 => (Family::V4, true),
            weir_model::Family::Ipv6 => (Family::V6, true),
        },
    };
    let is_for_any_port = matches!(service.key, weir_model::ServiceKey::Address { port: 0, .. });
    Recipe {
        name: match service.persistence_timeout {
            // The kernel takes such a service and has it begin nothing.
            None if is_for_any_port => SchedulerName::None,
            _ => scheduler_name(service.scheduler),
        },
        flags: HashFlags {
            port: flags.has(SchedulerFlag::Two),
            fallback: flags.has(SchedulerFlag::One),
        },
        family,
        has_many_addrs,
    }
}

/// The workers' name of a scheduler.
fn scheduler_name(name: weir_model::SchedulerName) -> SchedulerName {
    match name {
        weir_model::SchedulerName::Rr => SchedulerName::Rr,
        weir_model::SchedulerName::Wrr => SchedulerName::Wrr,
        weir_model::SchedulerName::Lc => SchedulerName::Lc,
        weir_model::SchedulerName::Wlc => SchedulerName::Wlc,
        weir_model::SchedulerName::Lblc => SchedulerName::Lblc,
        weir_model::SchedulerName::Lblcr => SchedulerName::Lblcr,
        weir_model::SchedulerName::Dh => SchedulerName::Dh,
        weir_model::SchedulerName::Sh => SchedulerName::Sh,
        weir_model::SchedulerName::Sed => SchedulerName::Sed,
        weir_model::SchedulerName::Nq => SchedulerName::Nq,
        weir_model::SchedulerName::Fo => SchedulerName::Fo,
        weir_model::SchedulerName::Ovf => SchedulerName::Ovf,
        weir_model::SchedulerName::Mh => SchedulerName::Mh,
        weir_model::SchedulerName::Twos => SchedulerName::Twos,
        weir_model::SchedulerName::Maglev => SchedulerName::Maglev,
        weir_model::SchedulerName::None => SchedulerName::None,
    }
}

/// Lifetimes and switches for the workers.
#[must_use]
pub fn settings(config: &weir_model::Config) -> Settings {
    let timeouts = &config.timeouts;
    Settings {
        timeouts: Timeouts::with(timeouts.tcp, timeouts.tcp_fin, timeouts.udp),
        pmtu_disc: config.settings.pmtu_disc,
        ipvs: ipvs(&config.ipvs),
    }
}

/// What becomes of connections. The kernel's other settings are taken and mean nothing to workers.
fn ipvs(config: &weir_model::Ipvs) -> Ipvs {
    Ipvs {
        conn_reuse_mode: config.conn_reuse_mode,
        expire_nodest_conn: config.expire_nodest_conn,
        expire_quiescent_template: config.expire_quiescent_template,
        sloppy_tcp: config.sloppy_tcp,
        sloppy_sctp: config.sloppy_sctp,
        nat_icmp_send: config.nat_icmp_send,
        schedule_icmp: config.schedule_icmp,
        cache_bypass: config.cache_bypass,
        secure_tcp: Defence::from_level(config.secure_tcp),
        drop_entry: Defence::from_level(config.drop_entry),
        drop_packet: Defence::from_level(config.drop_packet),
        am_droprate: config.am_droprate,
        amemthresh: config.amemthresh,
        ftp_ports: FtpPorts::new(&config.ftp_ports),
        lblc_expiration: seconds(config.lblc_expiration),
        lblcr_expiration: seconds(config.lblcr_expiration),
    }
}
