//! The director's configuration for the lab, written as the TOML an operator would write.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::lab::Server;
use crate::plan::{self, Family, Method, with_prefix};

/// Where the director serves `/metrics`, in its own namespace.
pub const METRICS: &str = "127.0.0.1:9109";

/// Services on the lab's two ports.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What is balanced.
    pub services: Vec<Service>,
    /// A worker on every core instead of one on the last.
    pub uses_every_core: bool,
    /// Addresses (`address/prefix`) of the ports `wan` and `lan` besides those of the lab.
    pub more_addresses: [Vec<String>; 2],
    /// What follows the services, as it stands in the file.
    pub more: String,
}

/// A service on a VIP.
#[derive(Clone, Debug)]
pub struct Service {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The VIP.
    pub address: IpAddr,
    /// Its port, and the port of all servers.
    pub port: u16,
    /// `rr` or `wrr`.
    pub scheduler: &'static str,
    /// How packets reach the servers.
    pub method: Method,
    /// What packets go inside of (TUN), and its port for `gue`; none: `ipip`.
    pub tunnel: Option<(&'static str, Option<u16>)>,
    /// What stands for clients with FullNAT.
    pub local: Vec<IpAddr>,
    /// In the order in which they are added.
    pub servers: Vec<(Server, u16)>,
}

impl Service {
    /// HTTP on the method's VIP over the given servers, each of weight 1.
    pub fn http(method: Method, family: Family, servers: &[Server]) -> Self {
        Self {
            protocol: "tcp",
            address: method.vip(family),
            port: 80,
            scheduler: "rr",
            method,
            tunnel: None,
            local: match method {
                Method::FullNat => plan::LOCAL.map(|host| plan::lan(family, host)).into(),
                _ => Vec::new(),
            },
            servers: servers.iter().map(|server| (server.clone(), 1)).collect(),
        }
    }

    /// DNS on the method's VIP over the given servers, each of weight 1.
    pub fn dns(method: Method, family: Family, servers: &[Server]) -> Self {
        Self {
            protocol: "udp",
            port: 53,
            ..Self::http(method, family, servers)
        }
    }

    /// The same with these local addresses for FullNAT.
    #[must_use]
    pub fn with_local(mut self, local: impl IntoIterator<Item = IpAddr>) -> Self {
        self.local = local.into_iter().collect();
        self
    }

    /// The same on another port, over UDP.
    #[must_use]
    pub fn udp_on(mut self, port: u16) -> Self {
        (self.protocol, self.port) = ("udp", port);
        self
    }

    /// The same inside of GRE, or inside of GUE to a port.
    #[must_use]
    pub fn inside(mut self, tunnel: &'static str, port: Option<u16>) -> Self {
        self.tunnel = Some((tunnel, port));
        self
    }

    /// The same with `wrr` and these weights, in the order of the servers.
    #[must_use]
    pub fn weighted(mut self, weights: &[u16]) -> Self {
        assert_eq!(weights.len(), self.servers.len());
        self.scheduler = "wrr";
        for ((_, weight), given) in self.servers.iter_mut().zip(weights) {
            *weight = *given;
        }
        self
    }

    /// The same with another weight for one server.
    #[must_use]
    pub fn with_weight(mut self, name: &str, weight: u16) -> Self {
        let entry = self.servers.iter_mut().find(|entry| entry.0.name == name);
        entry.expect("the service has this server").1 = weight;
        self
    }

    /// The same without one server.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.servers.retain(|(server, _)| server.name != name);
        self
    }

    fn write(&self, out: &mut String) {
        let family = if self.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let _ = write!(
            out,
            "\n[[service]]\nprotocol = \"{}\"\naddress = \"{}\"\nport = {}\nscheduler = \"{}\"\n",
            self.protocol, self.address, self.port, self.scheduler
        );
        if !self.local.is_empty() {
            let local: Vec<String> = self.local.iter().map(ToString::to_string).collect();
            let _ = writeln!(out, "local_addresses = {local:?}");
        }
        for (server, weight) in &self.servers {
            let _ = write!(
                out,
                "[[service.server]]\nname = \"{}\"\naddress = \"{}\"\nweight = {weight}\nmethod = \"{}\"\n",
                server.name,
                server.address(family),
                self.method
            );
            if let Some((tunnel, port)) = self.tunnel {
                let _ = writeln!(out, "tunnel = \"{tunnel}\"");
                if let Some(port) = port {
                    let _ = writeln!(out, "tunnel_port = {port}\ntunnel_checksum = \"full\"");
                }
            }
        }
    }
}

impl Config {
    /// A configuration with one service.
    pub fn of(service: Service) -> Self {
        Self {
            services: vec![service],
            ..Self::default()
        }
    }

    /// A configuration with these services.
    pub fn with(services: impl IntoIterator<Item = Service>) -> Self {
        Self {
            services: services.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same with a worker on every core.
    #[must_use]
    pub fn on_every_core(mut self) -> Self {
        self.uses_every_core = true;
        self
    }

    /// The text of the file, for a lab of this name whose sockets are in `dir`.
    pub(crate) fn to_toml(&self, lab: &str, dir: &Path) -> String {
        let last = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        let first = if self.uses_every_core { 0 } else { last };
        let cores: Vec<usize> = (first..=last).collect();
        let mut out = format!(
            "[eal]
huge_pages = false
pci = false
memory_mb = 256
file_prefix = \"{lab}\"

[workers]
cores = {cores:?}
idle = \"adaptive\"

[limits]
flows_per_worker = 65536

[metrics]
listen = \"{METRICS}\"

[control]
socket = \"{}\"
state_directory = \"{}\"
",
            socket(dir),
            state(dir).display()
        );
        let families = || Family::ALL.into_iter();
        let vips = families().flat_map(|family| Method::ALL.map(|method| method.vip(family)));
        let locals = |net: fn(Family, u8) -> IpAddr| {
            families().flat_map(move |family| plan::LOCAL.map(|host| net(family, host)))
        };
        let [more_wan, more_lan] = &self.more_addresses;
        let on_wan = vips
            .chain(locals(plan::wan))
            .map(single)
            .chain(more_wan.iter().cloned());
        write_port(&mut out, PORTS[0], plan::wan, plan::DIRECTOR_WAN, on_wan);
        let on_lan = locals(plan::lan)
            .map(single)
            .chain(more_lan.iter().cloned());
        write_port(&mut out, PORTS[1], plan::lan, plan::DIRECTOR_LAN, on_lan);
        for family in Family::ALL {
            let _ = write!(
                out,
                "\n[[route]]\nto = \"{}\"\nvia = \"{}\"\nport = \"lan\"\n",
                with_prefix(plan::far(family, 0)),
                plan::lan(family, plan::ROUTER_LAN)
            );
        }
        for service in &self.services {
            service.write(&mut out);
        }
        out += &self.more;
        out
    }
}

/// Names of the director's ports; each has the kernel interface `tap-<name>`, the bridge
/// `br-<name>` and the twin `weir-<name>`.
pub(crate) const PORTS: [&str; 2] = ["wan", "lan"];

/// MAC address of a port. It stays the same over a restart, or neighbours would send to the old
/// one until they ask again.
pub(crate) fn mac(port: &str) -> &'static str {
    match port {
        "wan" => "02:00:00:00:01:01",
        _ => "02:00:00:00:02:01",
    }
}

/// The control socket of the director.
pub(crate) fn socket(dir: &Path) -> String {
    dir.join("weir.sock").display().to_string()
}

/// A network of one address.
fn single(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// Where the director keeps what is changed at run time.
pub(crate) fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

fn write_port(
    out: &mut String,
    name: &str,
    net: fn(Family, u8) -> IpAddr,
    host: u8,
    more: impl IntoIterator<Item = String>,
) {
    let addresses: Vec<String> = Family::ALL
        .map(|family| with_prefix(net(family, host)))
        .into_iter()
        .chain(more)
        .collect();
    let mac = mac(name);
    let _ = write!(
        out,
        "\n[[port]]\nname = \"{name}\"\ndevice = \"net_tap_{name},iface=tap-{name},mac={mac}\"\naddresses = {addresses:?}\n",
    );
}
