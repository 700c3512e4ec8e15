//! What one table alone cannot know: names that must be distinct, names that must exist.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::fault::Problem;
use crate::limits::Limits;
use crate::mark::MarkRule;
use crate::network::{Neighbour, Port, Route};
use crate::reader::{Placed, Report};
use crate::runtime::{Eal, Workers};
use crate::service::Service;

/// Names, twins, devices, MAC and IP addresses are distinct.
pub(crate) fn ports(report: &Report, eal: &Eal, ports: &[Placed<Port>]) {
    let mut names = Distinct::new(report, "port");
    let mut devices = Distinct::new(report, "device");
    let mut macs = Distinct::new(report, "MAC address");
    let mut interfaces = Distinct::new(report, "interface");
    let mut addresses = Distinct::new(report, "address");
    for placed in ports {
        let port = &placed.value;
        names.add(placed.key("name"), port.name.clone());
        devices.add(placed.key("device"), port.device_name().to_owned());
        if let Some(mac) = port.mac {
            macs.add(placed.key("mac"), mac);
        }
        // A net_tap device makes an interface in Linux too, beside the twin.
        if let Some(tap) = tap_interface(port) {
            interfaces.add(placed.key("device"), tap.to_owned());
        }
        if let Some(twin) = &port.twin {
            let vlans = port.vlans.iter().map(|vlan| format!("{twin}.{}", vlan.id));
            interfaces.add(placed.key("twin"), twin.clone());
            vlans.for_each(|vlan| interfaces.add(placed.key("twin"), vlan));
        }
        for (_, address) in port.all_addresses() {
            addresses.add(placed.key("addresses"), address.addr());
        }
        if port.is_pci() && !eal.pci {
            let problem = format!("{} is a PCI device, and eal.pci is false", port.device);
            report.add(
                placed.key("device"),
                Problem::new(problem, "set eal.pci = true"),
            );
        }
    }
}

/// The interface that a `net_tap` device makes.
fn tap_interface(port: &Port) -> Option<&str> {
    port.device
        .starts_with("net_tap")
        .then(|| port.device.split(','))?
        .find_map(|argument| argument.strip_prefix("iface="))
}

/// Routes leave by ports that exist, and there is one to each network.
pub(crate) fn routes(report: &Report, ports: &[Placed<Port>], routes: &[Placed<Route>]) {
    let mut destinations = Distinct::new(report, "route");
    for placed in routes {
        let route = &placed.value;
        check_link(report, ports, placed, &route.port, route.vlan);
        destinations.add(placed.key("to"), route.to);
    }
}

/// Neighbours are on ports that exist, and each is there once.
pub(crate) fn neighbours(
    report: &Report,
    ports: &[Placed<Port>],
    neighbours: &[Placed<Neighbour>],
) {
    let mut seen = HashMap::new();
    for placed in neighbours {
        let neighbour = &placed.value;
        check_link(report, ports, placed, &neighbour.port, neighbour.vlan);
        let key = (&neighbour.port, neighbour.vlan, neighbour.address);
        if let Some(first) = seen.insert(key, &placed.path) {
            let problem = format!("{} is the same neighbour as {first}", neighbour.address);
            report.add(placed.key("address"), Problem::new(problem, "give it once"));
        }
    }
}

fn check_link<T>(
    report: &Report,
    ports: &[Placed<Port>],
    placed: &Placed<T>,
    name: &str,
    vlan: Option<u16>,
) {
    let Some(port) = find(report, ports, placed.key("port"), name) else {
        return;
    };
    if let Some(id) = vlan
        && !port.vlans.iter().any(|vlan| vlan.id == id)
    {
        let problem = format!("port {name:?} has no VLAN {id}");
        let cure = format!("give the port a [[port.vlan]] with id = {id}");
        report.add(placed.key("vlan"), Problem::new(problem, cure));
    }
}

/// The port called `name`; that there is none is noted at `path`.
fn find<'p, P: Borrow<Port>>(
    report: &Report,
    ports: &'p [Placed<P>],
    path: String,
    name: &str,
) -> Option<&'p Port> {
    let mut all = ports.iter().map(|port| port.value.borrow());
    let port = all.find(|port| port.name == name);
    if port.is_none() {
        let names = ports.iter().map(|port| port.value.borrow().name.as_str());
        let names: Vec<&str> = names.collect();
        let cure = match names[..] {
            [] => "give a [[port]] with that name".to_owned(),
            _ => format!("give one of: {}", names.join(", ")),
        };
        report.add(
            path,
            Problem::new(format!("there is no port {name:?}"), cure),
        );
    }
    port
}

/// Rules for marks name ports that exist.
pub(crate) fn marks<M: Borrow<MarkRule>, P: Borrow<Port>>(
    report: &Report,
    ports: &[Placed<P>],
    marks: &[Placed<M>],
) {
    for placed in marks {
        if let Some(name) = &placed.value.borrow().interface {
            find(report, ports, placed.key("interface"), name);
        }
    }
}

/// Services are distinct, and fit the limits.
pub(crate) fn services<S: Borrow<Service>>(
    report: &Report,
    limits: &Limits,
    services: &[Placed<S>],
) {
    let mut keys = HashMap::new();
    let mut names = Distinct::new(report, "service");
    for placed in services {
        let service: &Service = placed.value.borrow();
        if let Some(first) = keys.insert(service.key, &placed.path) {
            let problem = format!("{} is the same service as {first}", service.key);
            let cure = "give each service once, with all its servers";
            report.add(&placed.path, Problem::new(problem, cure));
        }
        if let Some(name) = &service.name {
            names.add(placed.key("name"), name.clone());
        }
    }
    let servers = services
        .iter()
        .map(|placed| placed.value.borrow().servers.len())
        .sum();
    check_limit(report, "services", services.len(), limits.services);
    check_limit(report, "servers", servers, limits.servers);
}

/// Local addresses are no virtual and no real server's ones, and each worker has ports of its own.
pub(crate) fn local_ends<S: Borrow<Service>>(
    report: &Report,
    workers: &Workers,
    services: &[Placed<S>],
) {
    if services
        .iter()
        .all(|placed| placed.value.borrow().local_addresses.is_empty())
    {
        return;
    }
    let mut others = HashMap::new();
    for placed in services {
        let service: &Service = placed.value.borrow();
        for (at, server) in service.servers.iter().enumerate() {
            let path = format!("{}.server[{at}]", placed.path);
            others.insert(server.address, ("a real server's", path));
        }
    }
    for placed in services {
        let path = placed.path.to_string();
        if let Some(address) = placed.value.borrow().key.address() {
            others.insert(address, ("a service's", path));
        }
    }
    for placed in services {
        let service: &Service = placed.value.borrow();
        for (at, address) in service.local_addresses.iter().enumerate() {
            if let Some((whose, path)) = others.get(address) {
                let problem = format!("{address} is {whose} address, at {path}");
                let cure = "give an address that nobody else has";
                let key = placed.key(&format!("local_addresses[{at}]"));
                report.add(key, Problem::new(problem, cure));
            }
        }
        let (ports, workers) = (service.local_ports, workers.cores.len());
        if service.has_fullnat() && (ports.count() as usize) < workers {
            let problem = format!("{ports} is too few for {workers} workers");
            let cure = format!("give {workers} ports or more: no two workers use the same");
            report.add(placed.key("local_ports"), Problem::new(problem, cure));
        }
    }
}

fn check_limit(report: &Report, key: &str, count: usize, limit: u32) {
    if count > limit as usize {
        let problem = format!("the file has {count} {key}, and the limit is {limit}");
        report.add(
            format!("limits.{key}"),
            Problem::new(problem, format!("give {count} or more")),
        );
    }
}

/// Finds values that stand at two places.
struct Distinct<'r, K> {
    report: &'r Report,
    noun: &'static str,
    seen: HashMap<K, String>,
}

impl<'r, K: Hash + Eq + std::fmt::Display> Distinct<'r, K> {
    fn new(report: &'r Report, noun: &'static str) -> Self {
        Distinct {
            report,
            noun,
            seen: HashMap::new(),
        }
    }

    /// Notes a fault at `path` if `value` was seen before at another place.
    fn add(&mut self, path: String, value: K) {
        if let Some(first) = self.seen.get(&value) {
            let problem = format!("{} {value} is also at {first}", self.noun);
            self.report.add(path, Problem::new(problem, "give another"));
        } else {
            self.seen.insert(value, path);
        }
    }
}
