//! `-S`: the table as commands that make it again.

use std::fmt::Write as _;

use crate::director::{
    ListedServer, Method, Server, Service, ServiceId, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
    flag,
};
use crate::list::{address_and_port, mask_of, scheduler_flags};
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
        name_of(&service.id, numeric, names),
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
pub fn server(of: &Service, listed: &ListedServer, numeric: bool, names: &Names) -> String {
    let server = &listed.server;
    let mut out = format!(
        "-a {} -r {} {} -w {}",
        name_of(&of.id, numeric, names),
        address_and_port(
            server.address,
            server.port,
            of.id.protocol(),
            numeric,
            names
        ),
        method_of(server),
        server.weight
    );
    if server.method == Method::Tunnel {
        write_tunnel(&mut out, server.tunnel);
    }
    if server.upper != 0 || server.lower != 0 {
        let _ = write!(out, " -x {} -y {}", server.upper, server.lower);
    }
    out + "\n"
}

fn method_of(server: &Server) -> &'static str {
    match server.method {
        Method::Masq => "-m",
        Method::Tunnel => "-i",
        // There is no word for a local server, which is found out when it is added.
        Method::Route | Method::Local => "-g",
    }
}

fn write_tunnel(out: &mut String, tunnel: Tunnel) {
    let checksum = match tunnel.checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Full => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    let _ = match tunnel.kind {
        TunnelKind::Ipip => write!(out, " --tun-type ipip"),
        TunnelKind::Gue => write!(out, " --tun-type gue --tun-port {} {checksum}", tunnel.port),
        TunnelKind::Gre => write!(out, " --tun-type gre {checksum}"),
    };
}

fn name_of(id: &ServiceId, numeric: bool, names: &Names) -> String {
    match *id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => {
            let option = match protocol {
                crate::director::Protocol::Tcp => "-t",
                crate::director::Protocol::Udp => "-u",
                crate::director::Protocol::Sctp => "--sctp-service",
            };
            let at = address_and_port(address, port, protocol, numeric, names);
            format!("{option} {at}")
        }
        ServiceId::Mark { mark, is_ipv6 } => {
            format!("-f {mark}{}", if is_ipv6 { " -6" } else { "" })
        }
    }
}
