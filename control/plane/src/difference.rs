//! What a reload changes: wanted − held = steps, for the workers and in words.
//!
//! Of tens of thousands of services mostly a few differ, so equal ones are passed over at the speed
//! of comparing them, and steps borrow from the two configurations.

use std::collections::HashMap;
use std::fmt::Display;

use weir_model::{
    Config, Ipvs, MarkRule, Neighbour, Planned, Route, Server, Service, ServiceKey, Settings,
    Timeouts,
};

/// What is different in the wanted services: first what leaves, then the others as wanted.
#[derive(Debug)]
pub enum ServiceStep<'c> {
    /// The service leaves with all its servers.
    Remove(&'c Service),
    /// A service comes.
    Add(&'c Service),
    /// A service stays and something of it is different.
    Edit(Edit<'c>),
}

/// What is different in one service.
#[derive(Debug)]
pub struct Edit<'c> {
    /// As it was.
    pub old: &'c Service,
    /// As it is to be.
    pub new: &'c Service,
    /// Servers that leave.
    pub removed: Vec<&'c Server>,
    /// Servers that stay and differ, as they were and as they are to be.
    pub edited: Vec<(&'c Server, &'c Server)>,
    /// Servers that come, in the order of the file.
    pub added: Vec<&'c Server>,
}

/// The steps from the services `held` to those `wanted`. Keys are distinct in both.
///
/// Another order of services or servers is no step: IPVS's order is that of their addition.
#[must_use]
pub fn services<'c>(held: &'c [Service], wanted: &'c [Service]) -> Vec<ServiceStep<'c>> {
    let (held, wanted) = without_common_ends(held, wanted);
    let old = by_key(held);
    let new = by_key(wanted);
    let leave = held.iter().filter(|old| !new.contains_key(&old.key));
    let leave = leave.map(ServiceStep::Remove);
    let others = wanted.iter().filter_map(|new| match old.get(&new.key) {
        None => Some(ServiceStep::Add(new)),
        Some(old) if *old == new => None,
        Some(old) => edit(old, new).map(ServiceStep::Edit),
    });
    leave.chain(others).collect()
}

/// What is left of both when equal beginnings and ends are taken off: nothing is hashed of a file
/// in which one service differs.
fn without_common_ends<'c, T: PartialEq>(mut old: &'c [T], mut new: &'c [T]) -> (&'c [T], &'c [T]) {
    while let ([a, old_rest @ ..], [b, new_rest @ ..]) = (old, new)
        && a == b
    {
        (old, new) = (old_rest, new_rest);
    }
    while let ([old_rest @ .., a], [new_rest @ .., b]) = (old, new)
        && a == b
    {
        (old, new) = (old_rest, new_rest);
    }
    (old, new)
}

fn by_key(services: &[Service]) -> HashMap<ServiceKey, &Service> {
    services.iter().map(|s| (s.key, s)).collect()
}

/// None when only the order is another.
fn edit<'c>(old: &'c Service, new: &'c Service) -> Option<Edit<'c>> {
    let (held, wanted) = without_common_ends(&old.servers, &new.servers);
    let keys =
        |servers: &'c [Server]| -> HashMap<_, _> { servers.iter().map(|s| (s.key(), s)).collect() };
    let (held_by_key, wanted_by_key) = (keys(held), keys(wanted));
    let removed = held.iter();
    let removed = removed.filter(|server| !wanted_by_key.contains_key(&server.key()));
    let mut edit = Edit {
        old,
        new,
        removed: removed.collect(),
        edited: Vec::new(),
        added: Vec::new(),
    };
    for server in wanted {
        match held_by_key.get(&server.key()) {
            None => edit.added.push(server),
            Some(held) if *held == server => {}
            Some(held) => edit.edited.push((held, server)),
        }
    }
    (!edit.is_empty()).then_some(edit)
}

impl Edit<'_> {
    /// The addresses or ports that stand for clients at FullNAT servers differ.
    #[must_use]
    pub fn is_other_pool(&self) -> bool {
        self.old.local_addresses != self.new.local_addresses
            || self.old.local_ports != self.new.local_ports
    }

    fn is_empty(&self) -> bool {
        self.removed.is_empty()
            && self.edited.is_empty()
            && self.added.is_empty()
            && self.old.is_same_but_servers(self.new)
    }
}

/// Changes in words, a sentence each. Of very many only the first are kept: nobody reads more.
#[derive(Debug, Default)]
pub struct Sentences {
    kept: Vec<String>,
    more: usize,
}

impl Sentences {
    /// Sentences that are kept.
    pub const KEPT: usize = 1000;

    pub(crate) fn push(&mut self, sentence: impl FnOnce() -> String) {
        if self.kept.len() < Self::KEPT {
            self.kept.push(sentence());
        } else {
            self.more += 1;
        }
    }

    /// How many changes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len() + self.more
    }

    /// The sentences; the last one tells how many more there are, if there are.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<String> {
        match self.more {
            0 => {}
            1 => self.kept.push("and 1 more change".to_owned()),
            more => self.kept.push(format!("and {more} more changes")),
        }
        self.kept
    }
}

/// All that is different in `wanted`, in words. `steps` are those of the services.
#[must_use]
pub fn sentences(steps: &[ServiceStep<'_>], held: &Config, wanted: &Config) -> Sentences {
    let mut told = services_told(steps);
    addresses(&mut told, held, wanted);
    lists(&mut told, &held.routes, &wanted.routes, route);
    lists(&mut told, &held.neighbours, &wanted.neighbours, neighbour);
    timeouts(&mut told, &held.timeouts, &wanted.timeouts);
    settings(&mut told, &held.settings, &wanted.settings);
    marks(&mut told, &held.marks, &wanted.marks);
    ipvs(&mut told, &held.ipvs, &wanted.ipvs);
    let (old, new) = (held.log.level.name(), wanted.log.level.name());
    value(&mut told, || "log.level", old, new);
    told
}

/// All that is different after a change at run time, in words. `steps` are those of the services.
#[must_use]
pub fn planned(steps: &[ServiceStep<'_>], held: &Config, wanted: &Planned) -> Sentences {
    let mut told = services_told(steps);
    if let Some(wanted) = &wanted.timeouts {
        timeouts(&mut told, &held.timeouts, wanted);
    }
    if let Some(wanted) = &wanted.marks {
        marks(&mut told, &held.marks, wanted);
    }
    if let Some(wanted) = &wanted.settings {
        settings(&mut told, &held.settings, wanted);
    }
    if let Some(wanted) = &wanted.ipvs {
        ipvs(&mut told, &held.ipvs, wanted);
    }
    told
}

/// The step from one state of a service to another, none: it is not there. None when there is no
/// difference.
#[must_use]
pub fn service<'c>(
    held: Option<&'c Service>,
    wanted: Option<&'c Service>,
) -> Option<ServiceStep<'c>> {
    match (held, wanted) {
        (None, None) => None,
        (Some(held), None) => Some(ServiceStep::Remove(held)),
        (None, Some(wanted)) => Some(ServiceStep::Add(wanted)),
        (Some(held), Some(wanted)) => edit(held, wanted).map(ServiceStep::Edit),
    }
}

fn services_told(steps: &[ServiceStep<'_>]) -> Sentences {
    let mut told = Sentences::default();
    for step in steps {
        match step {
            ServiceStep::Remove(service) => {
                told.push(|| format!("service {}: removed", service.key));
            }
            ServiceStep::Add(service) => {
                let (key, scheduler) = (service.key, service.scheduler);
                told.push(|| format!("service {key}: added, scheduler {scheduler}"));
                service
                    .servers
                    .iter()
                    .for_each(|server| added(&mut told, service, server));
            }
            ServiceStep::Edit(edit) => tell(&mut told, edit),
        }
    }
    told
}

fn timeouts(told: &mut Sentences, old: &Timeouts, new: &Timeouts) {
    value(told, || "timeouts.tcp", old.tcp, new.tcp);
    value(told, || "timeouts.tcp_fin", old.tcp_fin, new.tcp_fin);
    value(told, || "timeouts.udp", old.udp, new.udp);
}

fn settings(told: &mut Sentences, old: &Settings, new: &Settings) {
    value(told, || "settings.pmtu_disc", old.pmtu_disc, new.pmtu_disc);
}

fn ipvs(told: &mut Sentences, old: &Ipvs, new: &Ipvs) {
    for ((name, old), (_, new)) in old.settings().into_iter().zip(new.settings()) {
        value(told, || format!("ipvs.{name}"), old, new);
    }
}

fn marks(told: &mut Sentences, old: &[MarkRule], new: &[MarkRule]) {
    lists(told, old, new, ToString::to_string);
    if !is_in_order(old, new) {
        told.push(|| "the order of the marks' rules is another".to_owned());
    }
}

fn tell(told: &mut Sentences, edit: &Edit<'_>) {
    let (old, new) = (edit.old, edit.new);
    let what = || format!("service {}", new.key);
    let scheduler = || what() + ": scheduler";
    value(told, scheduler, old.scheduler, new.scheduler);
    let (was, is) = (old.scheduler_flags, new.scheduler_flags);
    value(told, || what() + ": scheduler_flags", was, is);
    let (was, is) = (old.one_packet, new.one_packet);
    value(told, || what() + ": one_packet", was, is);
    let persistence = |service: &Service| match service.persistence_timeout {
        None => "(none)".to_owned(),
        Some(timeout) => timeout.to_string(),
    };
    let (was, is) = (persistence(old), persistence(new));
    value(told, || what() + ": persistence_timeout", was, is);
    let (was, is) = (old.persistence_mask, new.persistence_mask);
    value(told, || what() + ": persistence_mask", was, is);
    let engine = |service: &Service| service.persistence_engine.map_or("(none)", |e| e.name());
    let (was, is) = (engine(old), engine(new));
    value(told, || what() + ": persistence_engine", was, is);
    value(told, || what() + ": name", name(&old.name), name(&new.name));
    let address = |address: &_| format!("{}: local address {address}", what());
    lists(told, &old.local_addresses, &new.local_addresses, address);
    let ports = || what() + ": local_ports";
    value(told, ports, old.local_ports, new.local_ports);
    let (was, is) = (old.new_flows_per_second_max, new.new_flows_per_second_max);
    value(told, || what() + ": new_flows_per_second_max", was, is);
    for server in &edit.removed {
        told.push(|| format!("{}: server {} removed", what(), server.key()));
    }
    // As they stand in the file, which comes and stays mixed.
    let mut edited = edit.edited.iter().peekable();
    let mut come = edit.added.iter().peekable();
    for server in &new.servers {
        if let Some((old, new)) = edited.next_if(|(_, new)| std::ptr::eq(*new, server)) {
            let what = || format!("{}: server {}", what(), new.key());
            value(told, || what() + " weight", old.weight, new.weight);
            value(told, || what() + " method", old.method, new.method);
            let (was, is) = (old.upper_threshold, new.upper_threshold);
            value(told, || what() + " upper_threshold", was, is);
            let (was, is) = (old.lower_threshold, new.lower_threshold);
            value(told, || what() + " lower_threshold", was, is);
            value(told, || what() + " tunnel", old.tunnel, new.tunnel);
            let (was, is) = (old.tunnel_port, new.tunnel_port);
            value(told, || what() + " tunnel_port", was, is);
            let (was, is) = (old.tunnel_checksum, new.tunnel_checksum);
            value(told, || what() + " tunnel_checksum", was, is);
            value(told, || what() + " name", name(&old.name), name(&new.name));
        } else if come.next_if(|new| std::ptr::eq(**new, server)).is_some() {
            added(told, new, server);
        }
    }
}

fn added(told: &mut Sentences, service: &Service, server: &Server) {
    told.push(|| {
        format!(
            "service {}: server {} added, {}, weight {}",
            service.key,
            server.key(),
            server.method,
            server.weight
        )
    });
}

/// Ports are the same ones: anything else of them needs a restart.
fn addresses(told: &mut Sentences, held: &Config, wanted: &Config) {
    for (old, new) in held.ports.iter().zip(&wanted.ports) {
        let all = |port: &weir_model::Port| port.all_addresses().collect::<Vec<_>>();
        lists(told, &all(old), &all(new), |(vlan, address)| match vlan {
            Some(vlan) => format!("port {} vlan {vlan}: address {address}", new.name),
            None => format!("port {}: address {address}", new.name),
        });
    }
}

fn lists<T: PartialEq>(told: &mut Sentences, old: &[T], new: &[T], words: impl Fn(&T) -> String) {
    let (old, new) = without_common_ends(old, new);
    for item in old.iter().filter(|item| !new.contains(item)) {
        told.push(|| format!("{} removed", words(item)));
    }
    for item in new.iter().filter(|item| !old.contains(item)) {
        told.push(|| format!("{} added", words(item)));
    }
}

/// True unless two lists have the same items in another order.
fn is_in_order<T: PartialEq>(old: &[T], new: &[T]) -> bool {
    let both = |list: &[T], other: &[T]| -> Vec<usize> {
        let at = |item: &T| other.iter().position(|o| o == item);
        list.iter().filter_map(at).collect()
    };
    both(old, new).is_sorted()
}

fn value<T: PartialEq + Display, W: Display>(
    told: &mut Sentences,
    what: impl Fn() -> W,
    old: T,
    new: T,
) {
    if old != new {
        told.push(|| format!("{} {old} → {new}", what()));
    }
}

fn name(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or("(none)")
}

fn route(route: &Route) -> String {
    let mut words = format!("route {}", route.to);
    if let Some(via) = route.via {
        words += &format!(" via {via}");
    }
    words + " by " + &place(&route.port, route.vlan)
}

fn neighbour(neighbour: &Neighbour) -> String {
    let place = place(&neighbour.port, neighbour.vlan);
    format!(
        "neighbour {} at {} on {place}",
        neighbour.address, neighbour.mac
    )
}

fn place(port: &str, vlan: Option<u16>) -> String {
    match vlan {
        Some(vlan) => format!("port {port} vlan {vlan}"),
        None => format!("port {port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, fullnat_service, service};

    fn steps(held: &Config, wanted: &Config) -> Vec<String> {
        let steps = services(&held.services, &wanted.services);
        sentences(&steps, held, wanted).into_vec()
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let held = config(&service("rr", &[(1, 1), (2, 1)]));
        assert_eq!(steps(&held, &held.clone()), Vec::<String>::new());
    }

    #[test]
    fn every_change_is_a_sentence() {
        let held = config(&service("rr", &[(1, 1), (2, 1)]));
        let rest = "[timeouts]\nudp = 30\n[log]\nlevel = \"debug\"\n\
             [[neighbour]]\naddress = \"192.0.2.9\"\nmac = \"02:00:00:00:00:09\"\nport = \"wan\"\n\
             [[route]]\nto = \"0.0.0.0/0\"\nvia = \"192.0.2.9\"\nport = \"wan\"\n";
        let wanted = config(&(service("wrr", &[(1, 3), (3, 1)]) + rest));
        assert_eq!(
            steps(&held, &wanted),
            [
                "service tcp 192.0.2.100:80: scheduler rr → wrr",
                "service tcp 192.0.2.100:80: server 10.0.0.2:80 removed",
                "service tcp 192.0.2.100:80: server 10.0.0.1:80 weight 1 → 3",
                "service tcp 192.0.2.100:80: server 10.0.0.3:80 added, nat, weight 1",
                "route 0.0.0.0/0 via 192.0.2.9 by port wan added",
                "neighbour 192.0.2.9 at 02:00:00:00:00:09 on port wan added",
                "timeouts.udp 300 → 30",
                "log.level info → debug",
            ]
        );
    }

    #[test]
    fn another_pool_of_local_ends_is_told() {
        let held = config(&fullnat_service(80, 10));
        let wanted = fullnat_service(80, 20).replace("10.0.0.200", "10.0.0.201");
        assert_eq!(
            steps(&held, &config(&wanted)),
            [
                "service tcp 192.0.2.100:80: local address 10.0.0.200 removed",
                "service tcp 192.0.2.100:80: local address 10.0.0.201 added",
                "service tcp 192.0.2.100:80: local_ports 1024-1033 → 1024-1043",
            ]
        );
    }

    #[test]
    fn a_new_service_tells_its_servers() {
        let wanted = config(&service("rr", &[(1, 1)]));
        assert_eq!(
            steps(&config(""), &wanted),
            [
                "service tcp 192.0.2.100:80: added, scheduler rr",
                "service tcp 192.0.2.100:80: server 10.0.0.1:80 added, nat, weight 1",
            ]
        );
        assert_eq!(
            steps(&wanted, &config("")),
            ["service tcp 192.0.2.100:80: removed"]
        );
    }
}
