//! `[[service]]` and `[[service.server]]`: what is balanced, and over what.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fault::Problem;
use crate::network::unicast;
use crate::reader::{Choice, Path, Placed, Section};

/// Most local addresses of a service.
const LOCAL_ADDRESSES_MAX: usize = 64;

/// The transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How a packet travels from the director to the real server (LVS's forwarding method).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Addresses and ports are rewritten both ways; replies pass the director. `ipvsadm -m`.
    Nat,
    /// Only the link layer's address changes; replies go straight to the client. `ipvsadm -g`.
    Dr,
    /// Wrapped in IP-in-IP; replies go straight to the client. `ipvsadm -i`.
    Tun,
    /// As `nat`, and the client's address and port are rewritten too, to local ones of the
    /// director; so the server may have any route. `ipvsadm -b` of DPVS.
    FullNat,
}

/// How a server is chosen for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerName {
    /// Each in turn.
    Rr,
    /// Each in turn, as often as its weight says.
    Wrr,
}

/// What tells services apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The virtual address (VIP).
    pub address: IpAddr,
    /// The virtual port.
    pub port: u16,
}

/// What tells the servers of one service apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey {
    /// The real server's address.
    pub address: IpAddr,
    /// The real server's port.
    pub port: u16,
}

/// `[[service]]`: a virtual address and port whose flows are spread over servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Transport protocol; must be given.
    pub protocol: Protocol,
    /// The virtual address (VIP); must be given.
    pub address: IpAddr,
    /// The virtual port, 1 to 65 535; must be given.
    pub port: u16,
    /// Default `wrr`, which with equal weights is `rr`.
    pub scheduler: SchedulerName,
    /// What people call it; a label in metrics. Default none.
    pub name: Option<String>,
    /// What stands for clients at its `fullnat` servers: 1 to 64 addresses of the service's
    /// family; must be given when it has such servers. Default none.
    pub local_addresses: Vec<IpAddr>,
    /// The ports of each of these addresses that are used; default 1024 to 65 535.
    pub local_ports: PortRange,
    /// New flows a second that each worker keeps, 0 to 100 000 000; default 0: as many as come. More
    /// of them are forwarded to a server chosen by consistent hash and not kept.
    pub new_flows_per_second_max: u32,
    /// Its servers in the order of the file, which is the order in which they are added: the
    /// schedulers of LVS begin with the newest, that is the last one.
    pub servers: Vec<Server>,
}

/// `[[service.server]]`: a real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The real server's address; must be given, of the service's family.
    pub address: IpAddr,
    /// The real server's port, 1 to 65 535; default the service's. Another than the service's
    /// needs `nat` or `fullnat`.
    pub port: u16,
    /// Its share of new flows, 0 to 65 535, default 1. 0 drains: it keeps its flows and gets no
    /// new ones.
    pub weight: u16,
    /// Must be given: a default would hide the one decision that the network has to fit.
    pub method: Method,
    /// What people call it; a label in metrics. Default none.
    pub name: Option<String>,
}

/// Ports from one to another, both included. Written `1024-65535`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PortRange {
    /// The first, at least 1.
    pub first: u16,
    /// The last, no less than the first.
    pub last: u16,
}

/// The text is no range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPortRange(String);

impl PortRange {
    /// Above the ports that only the superuser opens.
    const LOCAL_DEFAULT: Self = Self {
        first: 1024,
        last: 65535,
    };

    /// How many ports there are.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = NotAPortRange;

    fn from_str(text: &str) -> Result<Self, NotAPortRange> {
        let ends = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (1 <= first && first <= last).then_some(Self { first, last })
        });
        ends.ok_or_else(|| NotAPortRange(text.to_owned()))
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        range.to_string()
    }
}

impl TryFrom<String> for PortRange {
    type Error = NotAPortRange;

    fn try_from(text: String) -> Result<Self, NotAPortRange> {
        text.parse()
    }
}

impl fmt::Display for NotAPortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a range of ports", self.0)
    }
}

impl std::error::Error for NotAPortRange {}

impl Choice for Protocol {
    const NOUN: &'static str = "protocol";
    const WORDS: &'static [(&'static str, Self)] =
        &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
}

impl Choice for Method {
    const NOUN: &'static str = "forwarding method";
    // Besides our own: the words of ipvsadm's listing, of ldirectord.cf and of keepalived.conf,
    // which DPVS has too.
    const WORDS: &'static [(&'static str, Self)] = &[
        ("nat", Method::Nat),
        ("dr", Method::Dr),
        ("tun", Method::Tun),
        ("fullnat", Method::FullNat),
        ("fnat", Method::FullNat),
        ("masq", Method::Nat),
        ("gate", Method::Dr),
        ("route", Method::Dr),
        ("ipip", Method::Tun),
        ("tunnel", Method::Tun),
    ];
}

impl Choice for SchedulerName {
    const NOUN: &'static str = "scheduler";
    const WORDS: &'static [(&'static str, Self)] =
        &[("rr", SchedulerName::Rr), ("wrr", SchedulerName::Wrr)];
}

macro_rules! display_as_word {
    ($($name:ident),*) => {$(
        impl $name {
            /// The word in the configuration and in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                self.word()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    )*};
}
display_as_word!(Protocol, Method, SchedulerName);

impl fmt::Display for ServiceKey {
    /// `tcp 192.0.2.100:80`, `udp [2001:db8::1]:53`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = std::net::SocketAddr::new(self.address, self.port);
        write!(f, "{} {at}", self.protocol)
    }
}

impl fmt::Display for ServerKey {
    /// `10.0.0.1:80`, `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

impl Service {
    /// What tells it apart from the other services.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        ServiceKey {
            protocol: self.protocol,
            address: self.address,
            port: self.port,
        }
    }

    /// The server with this key.
    #[must_use]
    pub fn server(&self, key: ServerKey) -> Option<&Server> {
        self.servers.iter().find(|server| server.key() == key)
    }

    /// True when it has servers that are reached by `fullnat`.
    #[must_use]
    pub fn has_fullnat(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.method == Method::FullNat)
    }

    /// Reads a service and all its servers. `None`: what was needed to build it is a noted fault.
    pub(crate) fn read(s: Section<'_>) -> Option<Placed<Service>> {
        let protocol = s.required_choice("protocol");
        let address = s.required("address", "the virtual address", |text| {
            unicast(text, "a service")
        });
        let port = s.required_number("port", "a port", 1..=u16::MAX);
        let scheduler = s.choice("scheduler", SchedulerName::Wrr);
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
            .filter_map(|server| Server::read(server, address, port))
            .collect();
        check_duplicates(&s, &servers);
        check_local(&s, address, &local, &servers);
        let path = s.path().clone();
        s.finish();
        let value = Service {
            protocol: protocol?,
            address: address?,
            port: port?,
            scheduler,
            name,
            local_addresses: local.into_iter().map(|placed| placed.value).collect(),
            local_ports,
            new_flows_per_second_max: new_flows,
            servers: servers.into_iter().map(|(_, server)| server).collect(),
        };
        Some(Placed { path, value })
    }
}

impl Server {
    /// What tells it apart from the other servers of its service.
    #[must_use]
    pub fn key(&self) -> ServerKey {
        ServerKey {
            address: self.address,
            port: self.port,
        }
    }

    /// Reads a server of the service at `vip` and `vport`, as far as these are known.
    fn read(s: Section<'_>, vip: Option<IpAddr>, vport: Option<u16>) -> Option<(Path, Server)> {
        let address = s.required("address", "the real server's address", |text| {
            unicast(text, "a server")
        });
        let port = s.optional_number("port", "a port", 1..=u16::MAX);
        let weight = s.number("weight", "a weight", 1, 0..=u16::MAX);
        let method = s.required_choice("method");
        let name = s.optional("name", label);
        if let (Some(vip), Some(address)) = (vip, address) {
            check_address(&s, vip, address);
        }
        if let (Some(vport), Some(port), Some(method)) = (vport, port, method) {
            check_port(&s, vport, port, method);
        }
        let path = s.path().clone();
        s.finish();
        let server = Server {
            address: address?,
            port: port.or(vport)?,
            weight,
            method: method?,
            name,
        };
        Some((path, server))
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn check_address(s: &Section<'_>, vip: IpAddr, address: IpAddr) {
    if family(vip) != family(address) {
        let problem = format!(
            "{address} is {} and the service's address {vip} is {}",
            family(address),
            family(vip)
        );
        let cure = format!("give an {} address", family(vip));
        s.fault("address", Problem::new(problem, cure));
    } else if vip == address {
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
    vip: Option<IpAddr>,
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
        } else if let Some(vip) = vip
            && family(vip) != family(*value)
        {
            let problem = format!(
                "{value} is {} and the service's address {vip} is {}",
                family(*value),
                family(vip)
            );
            let cure = format!("give an {} address", family(vip));
            s.fault_at(path, Problem::new(problem, cure));
        }
    }
}

fn port_range(text: &str) -> Result<PortRange, Problem> {
    let cure = "give the first and the last from 1 to 65535, such as \"1024-65535\"";
    let range = text.parse::<PortRange>();
    range.map_err(|error| Problem::new(error.to_string(), cure))
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
