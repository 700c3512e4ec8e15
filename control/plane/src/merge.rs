//! Who wins when both the file and the running director changed: what the file changed against its
//! former self is applied over the running state.
//!
//! A service, a server, the timeouts, the switches, the settings, the rules for marks: where the file says the same as before, the
//! running state stays; where it says something else, it is as the file says, and where the running
//! state said yet another thing, that is told.

use std::collections::{HashMap, HashSet};

use weir_model::{Changeable, Config, Server, ServerKey, Service, ServiceKey};

/// What comes of it.
#[derive(Debug)]
pub struct Merged {
    /// As it is to be.
    pub state: Changeable,
    /// Each change at run time that gave way to the file, in a sentence.
    pub overridden: Vec<String>,
}

/// Applies what is different in `new`, the file, against `base`, its former self, over `held`.
#[must_use]
pub fn merge(base: &Changeable, new: &Config, held: Changeable) -> Merged {
    let mut overridden = Vec::new();
    let Changeable {
        services,
        marks,
        timeouts,
        ipvs,
        settings,
    } = held;
    let mut pick = |what: &str, is_same_file: bool, is_held_by_file: bool| {
        if !is_same_file && !is_held_by_file {
            overridden.push(format!(
                "{what}: changed at run time and in the file; as in the file"
            ));
        }
        is_same_file
    };
    let is_same = base.timeouts == new.timeouts;
    let is_untouched = timeouts == base.timeouts || timeouts == new.timeouts;
    let timeouts = match pick("timeouts", is_same, is_untouched) {
        true => timeouts,
        false => new.timeouts.clone(),
    };
    let is_same = base.marks == new.marks;
    let is_untouched = marks == base.marks || marks == new.marks;
    let marks = match pick("marks", is_same, is_untouched) {
        true => marks,
        false => new.marks.clone(),
    };
    let is_same = base.ipvs == new.ipvs;
    let is_untouched = ipvs == base.ipvs || ipvs == new.ipvs;
    let ipvs = match pick("ipvs", is_same, is_untouched) {
        true => ipvs,
        false => new.ipvs.clone(),
    };
    let is_same = base.settings == new.settings;
    let is_untouched = settings == base.settings || settings == new.settings;
    let settings = match pick("settings", is_same, is_untouched) {
        true => settings,
        false => new.settings.clone(),
    };
    let services = merge_services(&base.services, &new.services, services, &mut overridden);
    Merged {
        state: Changeable {
            services,
            marks,
            timeouts,
            ipvs,
            settings,
        },
        overridden,
    }
}

fn merge_services(
    base: &[Service],
    new: &[Service],
    held: Vec<Service>,
    overridden: &mut Vec<String>,
) -> Vec<Service> {
    if base == new {
        return held;
    }
    let by_key = |services: &'_ [Service]| -> HashMap<ServiceKey, usize> {
        let services = services.iter().enumerate();
        services.map(|(at, service)| (service.key, at)).collect()
    };
    let (old_places, new_places) = (by_key(base), by_key(new));
    let held_keys: HashSet<_> = held.iter().map(|service| service.key).collect();
    let mut merged = Vec::with_capacity(held.len());
    for service in held {
        let key = service.key;
        let old = old_places.get(&key).map(|at| &base[*at]);
        let new = new_places.get(&key).map(|at| &new[*at]);
        let mut give_way = |what: &str| overridden.push(format!("service {key}: {what}"));
        match (old, new) {
            // The file says nothing of it, as before.
            (None, None) => merged.push(service),
            (Some(old), Some(new)) if old == new => merged.push(service),
            (Some(old), None) => {
                if *old != service {
                    give_way("changed at run time, removed from the file; removed");
                }
            }
            (None, Some(new)) => {
                if *new != service {
                    give_way("added at run time and in the file; as in the file");
                }
                merged.push(new.clone());
            }
            (Some(old), Some(new)) => {
                merged.push(merge_service(old, new, service, overridden));
            }
        }
    }
    for service in new
        .iter()
        .filter(|service| !held_keys.contains(&service.key))
    {
        let key = service.key;
        match old_places.get(&key).map(|at| &base[*at]) {
            // It was removed at run time, and the file says of it what it said.
            Some(old) if old == service => {}
            Some(_) => {
                let what = "removed at run time, changed in the file; as in the file";
                overridden.push(format!("service {key}: {what}"));
                merged.push(service.clone());
            }
            None => merged.push(service.clone()),
        }
    }
    merged
}

fn merge_service(
    old: &Service,
    new: &Service,
    held: Service,
    overridden: &mut Vec<String>,
) -> Service {
    let key = held.key;
    let mut give_way = |what: String| overridden.push(format!("service {key}: {what}"));
    let of = |service: &Service, key: ServerKey| service.server(key).cloned();
    let mut servers: Vec<Server> = Vec::with_capacity(held.servers.len());
    for server in &held.servers {
        let place = server.key();
        let (was, is) = (of(old, place), of(new, place));
        if was == is {
            servers.push(server.clone());
            continue;
        }
        let is_touched = was.as_ref() != Some(server) && is.as_ref() != Some(server);
        if is_touched {
            give_way(format!(
                "server {place} changed at run time and in the file; as in the file"
            ));
        }
        servers.extend(is);
    }
    for server in &new.servers {
        let place = server.key();
        if held.server(place).is_some() || of(old, place).as_ref() == Some(server) {
            continue;
        }
        if of(old, place).is_some() {
            give_way(format!(
                "server {place} removed at run time, changed in the file; as in the file"
            ));
        }
        servers.push(server.clone());
    }
    let settings = if old.is_same_but_servers(new) {
        held
    } else {
        if !held.is_same_but_servers(old) && !held.is_same_but_servers(new) {
            give_way("changed at run time and in the file; as in the file".to_owned());
        }
        new.clone()
    };
    Service {
        servers,
        ..settings
    }
}

#[cfg(test)]
mod tests;
