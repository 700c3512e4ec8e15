//! What was read, in Weir's nouns and before anybody has looked whether Weir takes it.

use std::net::IpAddr;

use crate::line::{Line, Remarks};

/// Everything that one file (with what it includes) says of a director.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) services: Vec<Service>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) timeouts: Timeouts,
    pub(crate) settings: Vec<Setting>,
    /// Addresses that the other program puts on an interface itself, and the lines that say so.
    pub(crate) held: Vec<Held>,
    /// Groups of resources, one sentence each.
    pub(crate) groups: Vec<String>,
    pub(crate) remarks: Remarks,
}

/// `[timeouts]`, as far as they are given, each with its line.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    pub(crate) tcp: Option<(u32, Line)>,
    pub(crate) tcp_fin: Option<(u32, Line)>,
    pub(crate) udp: Option<(u32, Line)>,
}

/// A key of `[ipvs]`, or `pmtu_disc` of `[settings]`, with its value as TOML has it.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) line: Line,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// An address that is put on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) line: Line,
    /// With its prefix, `192.0.2.100/24`.
    pub(crate) address: String,
    /// By whom and where: `VRRP instance VI_1, eth0`.
    pub(crate) holder: String,
}

/// `[[service]]`
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) line: Line,
    pub(crate) front: Front,
    pub(crate) name: Option<String>,
    pub(crate) scheduler: Option<String>,
    pub(crate) flags: Vec<String>,
    pub(crate) one_packet: bool,
    pub(crate) persistence_timeout: Option<u32>,
    pub(crate) persistence_mask: Option<String>,
    pub(crate) persistence_engine: Option<String>,
    pub(crate) servers: Vec<Server>,
}

/// What is balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Address {
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    },
    Mark {
        mark: u32,
        is_ipv6: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// By name, in any case.
    pub(crate) fn of(text: &str) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(text))
    }
}

/// `[[service.server]]`
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) line: Line,
    pub(crate) address: IpAddr,
    /// Only where it is not the service's.
    pub(crate) port: Option<u16>,
    pub(crate) weight: Option<u32>,
    pub(crate) method: Method,
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) upper_threshold: u32,
    pub(crate) lower_threshold: u32,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Nat,
    Dr,
    Tun,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Nat => "nat",
            Method::Dr => "dr",
            Method::Tun => "tun",
        }
    }
}

/// Other than IP in IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) kind: &'static str,
    pub(crate) port: Option<u16>,
    pub(crate) checksum: Option<&'static str>,
}

/// `[[mark]]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: Option<Line>,
    pub(crate) mark: u32,
    pub(crate) is_ipv6: bool,
    pub(crate) protocol: Option<String>,
    pub(crate) source: Option<ipnet::IpNet>,
    pub(crate) destination: Option<ipnet::IpNet>,
    pub(crate) source_ports: Vec<String>,
    pub(crate) destination_ports: Vec<String>,
    pub(crate) interface: Option<String>,
}

impl Service {
    pub(crate) fn new(line: Line, front: Front) -> Self {
        Service {
            line,
            front,
            name: None,
            scheduler: None,
            flags: Vec::new(),
            one_packet: false,
            persistence_timeout: None,
            persistence_mask: None,
            persistence_engine: None,
            servers: Vec::new(),
        }
    }

    /// `None` for a firewall mark.
    pub(crate) fn port(&self) -> Option<u16> {
        match self.front {
            Front::Address { port, .. } => Some(port),
            Front::Mark { .. } => None,
        }
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        match self.front {
            Front::Address { address, .. } => address.is_ipv6(),
            Front::Mark { is_ipv6, .. } => is_ipv6,
        }
    }
}

impl Server {
    pub(crate) fn new(line: Line, address: IpAddr, method: Method) -> Self {
        Server {
            line,
            address,
            port: None,
            weight: None,
            method,
            tunnel: None,
            upper_threshold: 0,
            lower_threshold: 0,
            name: None,
        }
    }

    /// Gives it the port that a file says, where a port is of use: DR and TUN deliver a packet as it
    /// is, and IPVS ignores what is said.
    pub(crate) fn set_port(&mut self, port: u16, service: &Service, remarks: &mut Remarks) {
        let line = self.line.clone();
        match (self.method, service.port()) {
            (_, Some(own)) if own == port => {}
            (Method::Nat, None) if port == 0 => {}
            (Method::Nat, _) => self.port = Some(port),
            (_, Some(own)) => remarks.carried(
                &line,
                format!(
                    "{} cannot map ports: IPVS delivers to port {own} and not to {port}, and so does Weir",
                    self.method.name()
                ),
            ),
            (_, None) if port == 0 => {}
            (_, None) => remarks.carried(
                &line,
                format!(
                    "with {} a packet of a mark keeps its own port: {port} is of no effect",
                    self.method.name()
                ),
            ),
        }
    }
}
