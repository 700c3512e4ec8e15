//! `-S`: the table as commands that make it again.

use std::fmt::Write as _;

use weir_ipvs::types::{SCTP, UDP, method, service_flags as flag, tunnel};
use weir_ipvs::{Family, Server, Service, ServiceKey, Timeouts, Tunnel};

use crate::list::{address_and_port, mask_of, protocol_of, scheduler_flags};
use crate::names::Names;

/// What a director has when nothing is set.
const TIMEOUTS_DEFAULT: Timeouts = Timeouts {
    tcp: 900,
    tcp_fin: 120,
    udp: 300,
};

/// The line of the timeouts, unless they are those that a director begins with.
#[must_use]
pub fn timeouts(timeouts: Timeouts) -> String {
    if timeouts == TIMEOUTS_DEFAULT {
        return String::new();
    }
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("--set {tcp} {tcp_fin} {udp}\n")
}

/// The line of a service.
#[must_use]
pub fn service(service: &Service, numeric: bool, names: &Names) -> String {
    let mut out = format!(
        "-A {} -s {}",
        name_of(&service.key, numeric, names),
        service.scheduler
    );
    if service.flags & flag::PERSISTENT != 0 {
        let _ = write!(out, " -p {}", service.timeout);
        if let Some(mask) = mask_of(service) {
            let _ = write!(out, " -M {mask}");
        }
    }
    if let Some(engine) = &service.engine {
        let _ = write!(out, " --pe {engine}");
    }
    if service.flags & flag::ONE_PACKET != 0 {
        out.push_str(" -o");
    }
    let flags = scheduler_flags(service);
    if !flags.is_empty() {
        let _ = write!(out, " -b {flags}");
    }
    out + "\n"
}

/// The line of a server.
#[must_use]
pub fn server(of: &Service, server: &Server, numeric: bool, names: &Names) -> String {
    let mut out = format!(
        "-a {} -r {} {} -w {}",
        name_of(&of.key, numeric, names),
        address_and_port(
            server.key.address,
            server.key.port,
            protocol_of(of),
            numeric,
            names
        ),
        method_of(server),
        server.weight
    );
    if server.method == method::TUNNEL {
        write_tunnel(&mut out, server.tunnel);
    }
    if server.upper_threshold != 0 || server.lower_threshold != 0 {
        let _ = write!(
            out,
            " -x {} -y {}",
            server.upper_threshold, server.lower_threshold
        );
    }
    out + "\n"
}

fn method_of(server: &Server) -> &'static str {
    match server.method {
        method::MASQ => "-m",
        method::TUNNEL => "-i",
        // There is no word for a local server, which is found out when it is added.
        _ => "-g",
    }
}

fn write_tunnel(out: &mut String, tunnel: Tunnel) {
    let checksum = match tunnel.flags {
        flags if flags & tunnel::CSUM != 0 => "--tun-csum",
        flags if flags & tunnel::REMCSUM != 0 => "--tun-remcsum",
        _ => "--tun-nocsum",
    };
    let _ = match tunnel.kind {
        tunnel::GUE => write!(out, " --tun-type gue --tun-port {} {checksum}", tunnel.port),
        tunnel::GRE => write!(out, " --tun-type gre {checksum}"),
        _ => write!(out, " --tun-type ipip"),
    };
}

fn name_of(id: &ServiceKey, numeric: bool, names: &Names) -> String {
    match *id {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let option = match protocol {
                UDP => "-u",
                SCTP => "--sctp-service",
                _ => "-t",
            };
            let at = address_and_port(address, port, protocol, numeric, names);
            format!("{option} {at}")
        }
        ServiceKey::Mark {
            mark,
            family: Family::Ipv6,
        } => format!("-f {mark} -6"),
        ServiceKey::Mark { mark, .. } => format!("-f {mark}"),
    }
}
