//! Names of services and hosts, from the text of `/etc/services` and `/etc/hosts`.

use std::collections::HashMap;
use std::net::IpAddr;

use weir_ipvs::types::{SCTP, TCP, UDP};

/// What has a name.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By name and number of the protocol.
    ports: HashMap<(String, u16), u16>,
    services: HashMap<(u16, u16), String>,
    addresses: HashMap<String, IpAddr>,
    hosts: HashMap<IpAddr, String>,
}

impl Names {
    /// From the texts of the two files; what is not understood is skipped, as the C library does.
    #[must_use]
    pub fn new(services: &str, hosts: &str) -> Self {
        let mut names = Names::default();
        for line in services.lines() {
            names.add_service(without_comment(line));
        }
        for line in hosts.lines() {
            names.add_host(without_comment(line));
        }
        names
    }

    fn add_service(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(at)) = (words.next(), words.next()) else {
            return;
        };
        let Some((port, protocol)) = at.split_once('/') else {
            return;
        };
        let (Ok(port), Some(protocol)) = (port.parse(), protocol_of(protocol)) else {
            return;
        };
        // The first of several is the one that counts.
        self.services
            .entry((port, protocol))
            .or_insert_with(|| name.to_owned());
        for alias in std::iter::once(name).chain(words) {
            let key = (alias.to_owned(), protocol);
            self.ports.entry(key).or_insert(port);
        }
    }

    fn add_host(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            return;
        };
        for (index, name) in words.enumerate() {
            if index == 0 {
                self.hosts.entry(address).or_insert_with(|| name.to_owned());
            }
            // Only IPv4 addresses are looked up by name.
            if address.is_ipv4() {
                self.addresses.entry(name.to_owned()).or_insert(address);
            }
        }
    }

    /// The port of a service's name.
    #[must_use]
    pub fn port(&self, name: &str, protocol: u16) -> Option<u16> {
        self.ports.get(&(name.to_owned(), protocol)).copied()
    }

    /// The name of a port.
    #[must_use]
    pub fn service(&self, port: u16, protocol: u16) -> Option<&str> {
        self.services.get(&(port, protocol)).map(String::as_str)
    }

    /// The IPv4 address of a host's name.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        self.addresses.get(name).copied()
    }

    /// The name of an address.
    #[must_use]
    pub fn host(&self, address: IpAddr) -> Option<&str> {
        self.hosts.get(&address).map(String::as_str)
    }
}

/// The number of a protocol's name, in any case.
#[must_use]
pub fn protocol_of(name: &str) -> Option<u16> {
    let protocols = [("tcp", TCP), ("udp", UDP), ("sctp", SCTP)];
    let mut named = protocols.iter();
    named.find_map(|(own, number)| own.eq_ignore_ascii_case(name).then_some(*number))
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}
