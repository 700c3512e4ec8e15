//! What Weir is told, as a configuration file: scenarios change it as ipvsadm changes the kernel's
//! tables, and all of it goes through the daemon's own reader, difference and compiler.

use std::fmt::Write as _;

use weir_conformance::operation::{
    GueChecksum, Key, MarkRule, Method, Operation, Server, Service, Tunnel,
};
use weir_conformance::place::{self, Leg};

/// Why the kernel would refuse a command, as errno has it.
const EXISTS: i32 = 17;
const NO_SUCH_SERVICE: i32 = 3;
const NO_SUCH_SERVER: i32 = 2;

/// The configuration as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    services: Vec<(Service, Vec<Server>)>,
    timeouts: [u32; 3],
    sysctls: Vec<(String, i64)>,
    marks: Vec<MarkRule>,
    mtus: [u16; 2],
    workers: usize,
}

impl Wanted {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            services: Vec::new(),
            timeouts: [900, 120, 300],
            sysctls: Vec::new(),
            marks: Vec::new(),
            mtus: [1500; 2],
            workers,
        }
    }

    pub(crate) fn mtus(&self) -> [u16; 2] {
        self.mtus
    }

    /// Takes a command.
    ///
    /// # Errors
    /// What the kernel would say.
    pub(crate) fn take(&mut self, operation: &Operation) -> Result<(), i32> {
        match operation {
            Operation::AddService(service) => {
                if self.service(&service.key).is_ok() {
                    return Err(EXISTS);
                }
                self.services.push((service.clone(), Vec::new()));
            }
            Operation::EditService(service) => {
                self.service(&service.key)?.0 = service.clone();
            }
            Operation::DeleteService(key) => {
                self.service(key)?;
                self.services.retain(|(service, _)| service.key != *key);
            }
            Operation::AddServer(key, server) => {
                let (_, servers) = self.service(key)?;
                if servers.iter().any(|known| known.at == server.at) {
                    return Err(EXISTS);
                }
                servers.push(*server);
            }
            Operation::EditServer(key, server) => {
                let (_, servers) = self.service(key)?;
                let known = servers.iter_mut().find(|known| known.at == server.at);
                *known.ok_or(NO_SUCH_SERVER)? = *server;
            }
            Operation::DeleteServer(key, at) => {
                let (_, servers) = self.service(key)?;
                let before = servers.len();
                servers.retain(|server| server.at != *at);
                if servers.len() == before {
                    return Err(NO_SUCH_SERVER);
                }
            }
            Operation::Flush => self.services.clear(),
            Operation::Zero(Some(key)) => {
                self.service(key)?;
            }
            Operation::Timeouts(seconds) => {
                for (known, new) in self.timeouts.iter_mut().zip(seconds) {
                    *known = if *new == 0 { *known } else { *new };
                }
            }
            Operation::Sysctl(name, value) => {
                self.sysctls.retain(|(known, _)| known != name);
                self.sysctls.push((name.clone(), *value));
            }
            Operation::Mtu(leg, mtu) => self.mtus[leg.index()] = *mtu,
            Operation::Mark(rule) => self.marks.push(rule.clone()),
            _ => {}
        }
        Ok(())
    }

    fn service(&mut self, key: &Key) -> Result<&mut (Service, Vec<Server>), i32> {
        let found = self
            .services
            .iter_mut()
            .find(|(service, _)| service.key == *key);
        found.ok_or(NO_SUCH_SERVICE)
    }

    /// As a configuration file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes all text");
        text
    }

    /// The same without services.
    pub(crate) fn text_without_services(&self) -> String {
        let without = Self {
            services: Vec::new(),
            ..self.clone()
        };
        without.text()
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let cores: Vec<String> = (0..self.workers).map(|n| n.to_string()).collect();
        // What is changed at run time is nobody else's.
        writeln!(to, "[control]\nstate_directory = false")?;
        writeln!(to, "[workers]\ncores = [{}]", cores.join(", "))?;
        writeln!(
            to,
            "[limits]\nservers = 256\nflows_per_worker = 4096\nflows_v6_per_worker = 4096\n\
             persistence_templates = 1024"
        )?;
        writeln!(
            to,
            "punt_packets_per_second = 10000000\nicmp_per_second = 10000000"
        )?;
        let [tcp, fin, udp] = self.timeouts;
        writeln!(to, "[timeouts]\ntcp = {tcp}\ntcp_fin = {fin}\nudp = {udp}")?;
        self.write_sysctls(to)?;
        for leg in Leg::ALL {
            let addresses = leg.addresses();
            let addresses: Vec<String> = addresses
                .iter()
                .map(|(at, len)| format!("\"{at}/{len}\""))
                .collect();
            writeln!(
                to,
                "[[port]]\nname = \"{leg}\"\ndevice = \"net_null{}\"",
                leg.index()
            )?;
            writeln!(to, "twin = false\naddresses = [{}]", addresses.join(", "))?;
            for (address, len) in leg.addresses().into_iter().take(2) {
                let net = network(address, len);
                writeln!(to, "[[route]]\nto = \"{net}/{len}\"\nport = \"{leg}\"")?;
            }
        }
        for (prefix, len, leg) in place::routes() {
            let [via_v4, via_v6] = leg.routers();
            let via = if prefix.is_ipv4() { via_v4 } else { via_v6 };
            writeln!(
                to,
                "[[route]]\nto = \"{prefix}/{len}\"\nvia = \"{via}\"\nport = \"{leg}\""
            )?;
        }
        for (leg, address, mac) in place::neighbours() {
            writeln!(
                to,
                "[[neighbour]]\naddress = \"{address}\"\nmac = \"{mac}\"\nport = \"{leg}\""
            )?;
        }
        self.marks
            .iter()
            .try_for_each(|rule| write_mark(to, rule))?;
        for (service, servers) in &self.services {
            write_service(to, service)?;
            for server in servers {
                write_server(to, service, server)?;
            }
        }
        Ok(())
    }

    fn write_sysctls(&self, to: &mut String) -> std::fmt::Result {
        let (settings, ipvs): (Vec<_>, Vec<_>) = self
            .sysctls
            .iter()
            .filter(|(name, _)| !KERNELS_OWN.contains(&name.as_str()))
            .partition(|(name, _)| name == "pmtu_disc");
        for (section, values) in [("settings", settings), ("ipvs", ipvs)] {
            if section == "ipvs" || !values.is_empty() {
                writeln!(to, "[{section}]")?;
            }
            if section == "ipvs" {
                writeln!(to, "ftp_ports = {:?}", place::FTP_PORTS)?;
            }
            for (name, value) in values {
                match NUMBERS.contains(&name.as_str()) {
                    true => writeln!(to, "{name} = {value}")?,
                    false => writeln!(to, "{name} = {}", *value != 0)?,
                }
            }
        }
        Ok(())
    }
}

/// Settings that Weir does not have: what they are about does not exist there.
const KERNELS_OWN: &[&str] = &["conntrack", "backup_only"];

/// Settings whose values are numbers; the others are yes or no.
const NUMBERS: &[&str] = &[
    "conn_reuse_mode",
    "secure_tcp",
    "drop_entry",
    "drop_packet",
    "am_droprate",
    "amemthresh",
    "lblc_expiration",
    "lblcr_expiration",
];

fn network(address: std::net::IpAddr, len: u8) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(v4) => (v4.to_bits() & u32::MAX << (32 - len)).to_be_bytes().into(),
        std::net::IpAddr::V6(v6) => (v6.to_bits() & u128::MAX << (128 - len))
            .to_be_bytes()
            .into(),
    }
}

fn write_mark(to: &mut String, rule: &MarkRule) -> std::fmt::Result {
    writeln!(to, "[[mark]]\nmark = {}", rule.mark)?;
    if rule.mark & place::ANY_DESTINATION != 0 {
        writeln!(to, "any_destination = true")?;
    }
    if let Some(protocol) = rule.protocol {
        writeln!(to, "protocol = \"{protocol}\"")?;
    }
    if let Some((prefix, len)) = rule.source {
        writeln!(to, "source = \"{prefix}/{len}\"")?;
    }
    if let Some((prefix, len)) = rule.destination {
        writeln!(to, "destination = \"{prefix}/{len}\"")?;
    }
    if let Some((first, last)) = rule.source_ports {
        writeln!(to, "source_ports = \"{first}-{last}\"")?;
    }
    if let Some((first, last)) = rule.destination_ports {
        writeln!(to, "destination_ports = \"{first}-{last}\"")?;
    }
    if let Some(leg) = rule.leg {
        writeln!(to, "interface = \"{leg}\"")?;
    }
    Ok(())
}

fn write_service(to: &mut String, service: &Service) -> std::fmt::Result {
    writeln!(to, "[[service]]")?;
    match service.key {
        Key::Address(protocol, at) => {
            writeln!(
                to,
                "protocol = \"{protocol}\"\naddress = \"{}\"\nport = {}",
                at.ip(),
                at.port()
            )?;
        }
        Key::Mark(mark, is_v6) => {
            let family = if is_v6 { "ipv6" } else { "ipv4" };
            writeln!(to, "mark = {mark}\nfamily = \"{family}\"")?;
        }
    }
    writeln!(to, "scheduler = \"{}\"", service.scheduler)?;
    if !service.flags.is_empty() {
        writeln!(
            to,
            "scheduler_flags = [\"{}\"]",
            service.flags.join("\", \"")
        )?;
    }
    if service.one_packet {
        writeln!(to, "one_packet = true")?;
    }
    if let Some(seconds) = service.persistence {
        writeln!(to, "persistence_timeout = {seconds}")?;
    }
    if let Some(bits) = service.mask {
        let mask = match service.key.is_v6() {
            true => bits.to_string(),
            false => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                std::net::Ipv4Addr::from_bits(mask).to_string()
            }
        };
        writeln!(to, "persistence_mask = \"{mask}\"")?;
    }
    if let Some(engine) = &service.engine {
        writeln!(to, "persistence_engine = \"{engine}\"")?;
    }
    Ok(())
}

fn write_server(to: &mut String, service: &Service, server: &Server) -> std::fmt::Result {
    writeln!(
        to,
        "[[service.server]]\naddress = \"{}\"\nweight = {}",
        server.at.ip(),
        server.weight
    )?;
    // As ipvsadm writes them, a server that is not NAT has the service's port; of a mark none.
    if matches!(service.key, Key::Address(..)) || server.at.port() > 0 {
        writeln!(to, "port = {}", server.at.port())?;
    }
    let method = match server.method {
        Method::Nat => "nat",
        Method::Dr => "dr",
        Method::Tun(_) => "tun",
    };
    writeln!(to, "method = \"{method}\"")?;
    if server.upper > 0 {
        writeln!(to, "upper_threshold = {}", server.upper)?;
    }
    if server.lower > 0 {
        writeln!(to, "lower_threshold = {}", server.lower)?;
    }
    match server.method {
        Method::Tun(Tunnel::Gre(has_checksum)) => {
            let checksum = if has_checksum { "full" } else { "none" };
            writeln!(to, "tunnel = \"gre\"\ntunnel_checksum = \"{checksum}\"")
        }
        Method::Tun(Tunnel::Gue(port, checksum)) => {
            let checksum = match checksum {
                GueChecksum::None => "none",
                GueChecksum::Full => "full",
                GueChecksum::Remote => "remote",
            };
            writeln!(
                to,
                "tunnel = \"gue\"\ntunnel_port = {port}\ntunnel_checksum = \"{checksum}\""
            )
        }
        Method::Tun(Tunnel::Ipip) | Method::Nat | Method::Dr => Ok(()),
    }
}
