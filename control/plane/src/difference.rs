//! What a reload changes, in words: wanted − held = steps, a sentence each.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use weir_model::{Config, Neighbour, Route, Server, Service};

/// What is different in `wanted`.
#[must_use]
pub fn steps(held: &Config, wanted: &Config) -> Vec<String> {
    let mut steps = Vec::new();
    services(&mut steps, held, wanted);
    addresses(&mut steps, held, wanted);
    lists(&mut steps, &held.routes, &wanted.routes, route);
    lists(&mut steps, &held.neighbours, &wanted.neighbours, neighbour);
    let (old, new) = (&held.timeouts, &wanted.timeouts);
    value(&mut steps, "timeouts.tcp", old.tcp, new.tcp);
    value(&mut steps, "timeouts.tcp_fin", old.tcp_fin, new.tcp_fin);
    value(&mut steps, "timeouts.udp", old.udp, new.udp);
    let (old, new) = (held.settings.pmtu_disc, wanted.settings.pmtu_disc);
    value(&mut steps, "settings.pmtu_disc", old, new);
    let (old, new) = (held.log.level.name(), wanted.log.level.name());
    value(&mut steps, "log.level", old, new);
    steps
}

fn services(steps: &mut Vec<String>, held: &Config, wanted: &Config) {
    let (old, new) = (
        by_key(&held.services, Service::key),
        by_key(&wanted.services, Service::key),
    );
    for service in &held.services {
        if !new.contains_key(&service.key()) {
            steps.push(format!("service {}: removed", service.key()));
        }
    }
    for service in &wanted.services {
        match old.get(&service.key()) {
            Some(old) => changed_service(steps, old, service),
            None => {
                let (key, scheduler) = (service.key(), service.scheduler);
                steps.push(format!("service {key}: added, scheduler {scheduler}"));
                let nothing = Service {
                    servers: Vec::new(),
                    ..service.clone()
                };
                servers(steps, &nothing, service);
            }
        }
    }
}

fn changed_service(steps: &mut Vec<String>, old: &Service, new: &Service) {
    let what = format!("service {}", new.key());
    value(
        steps,
        &format!("{what}: scheduler"),
        old.scheduler,
        new.scheduler,
    );
    value(
        steps,
        &format!("{what}: name"),
        name(&old.name),
        name(&new.name),
    );
    let (old_local, new_local) = (&old.local_addresses, &new.local_addresses);
    lists(steps, old_local, new_local, |address| {
        format!("{what}: local address {address}")
    });
    value(
        steps,
        &format!("{what}: local_ports"),
        old.local_ports,
        new.local_ports,
    );
    servers(steps, old, new);
}

fn servers(steps: &mut Vec<String>, old: &Service, new: &Service) {
    let (held, wanted) = (
        by_key(&old.servers, Server::key),
        by_key(&new.servers, Server::key),
    );
    for server in &old.servers {
        if !wanted.contains_key(&server.key()) {
            steps.push(format!(
                "service {}: server {} removed",
                new.key(),
                server.key()
            ));
        }
    }
    for server in &new.servers {
        let what = format!("service {}: server {}", new.key(), server.key());
        match held.get(&server.key()) {
            Some(old) => {
                value(steps, &format!("{what} weight"), old.weight, server.weight);
                value(steps, &format!("{what} method"), old.method, server.method);
                value(
                    steps,
                    &format!("{what} name"),
                    name(&old.name),
                    name(&server.name),
                );
            }
            None => steps.push(format!(
                "{what} added, {}, weight {}",
                server.method, server.weight
            )),
        }
    }
}

/// There may be tens of thousands.
fn by_key<T, K: Eq + Hash>(items: &[T], key: fn(&T) -> K) -> HashMap<K, &T> {
    items.iter().map(|item| (key(item), item)).collect()
}

/// Ports are the same ones: anything else of them needs a restart.
fn addresses(steps: &mut Vec<String>, held: &Config, wanted: &Config) {
    for (old, new) in held.ports.iter().zip(&wanted.ports) {
        let all = |port: &weir_model::Port| port.all_addresses().collect::<Vec<_>>();
        lists(steps, &all(old), &all(new), |(vlan, address)| match vlan {
            Some(vlan) => format!("port {} vlan {vlan}: address {address}", new.name),
            None => format!("port {}: address {address}", new.name),
        });
    }
}

fn lists<T: PartialEq>(
    steps: &mut Vec<String>,
    old: &[T],
    new: &[T],
    words: impl Fn(&T) -> String,
) {
    let only_in = |some: &[T], others: &[T], what: &str| -> Vec<String> {
        let only = some.iter().filter(|item| !others.contains(item));
        only.map(|item| format!("{} {what}", words(item))).collect()
    };
    steps.extend(only_in(old, new, "removed"));
    steps.extend(only_in(new, old, "added"));
}

fn value<T: PartialEq + Display>(steps: &mut Vec<String>, what: &str, old: T, new: T) {
    if old != new {
        steps.push(format!("{what} {old} → {new}"));
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
