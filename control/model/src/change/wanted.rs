//! The configuration in use, which changes at run time.

use std::collections::HashMap;

use super::{ChangeFault, Changeable, Planned};
use crate::config::Config;
use crate::service::{Service, ServiceKey};

/// A configuration whose services are found by their key.
#[derive(Clone, Debug)]
pub struct Wanted {
    config: Config,
    pub(super) places: HashMap<ServiceKey, usize>,
    /// Servers of all services.
    pub(super) servers: usize,
    /// Services with local addresses.
    pub(super) with_local: usize,
}

impl Wanted {
    /// A configuration to begin with.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut wanted = Self {
            config,
            places: HashMap::new(),
            servers: 0,
            with_local: 0,
        };
        wanted.index();
        wanted
    }

    /// As it is now.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// As it is now, to be taken apart.
    #[must_use]
    pub fn into_config(self) -> Config {
        self.config
    }

    /// The service with this key.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        Some(&self.config.services[*self.places.get(key)?])
    }

    /// `config` with what can change at run time as in `state`.
    ///
    /// # Errors
    /// When that does not go together: there are too many, two have one name, and the like.
    pub fn with(config: Config, state: Changeable) -> Result<Self, ChangeFault> {
        let Changeable {
            services,
            marks,
            timeouts,
            ipvs,
            settings,
        } = state;
        let all = Planned {
            services: services
                .into_iter()
                .map(|service| (service.key, Some(service)))
                .collect(),
            timeouts: Some(timeouts),
            marks: Some(marks),
            ipvs: Some(ipvs),
            settings: Some(settings),
        };
        let without = Config {
            services: Vec::new(),
            ..config
        };
        let mut wanted = Self::new(without);
        wanted.check(&all)?;
        wanted.put(all);
        Ok(wanted)
    }

    /// Makes it what was planned. Returns the services that left.
    pub fn put(&mut self, planned: Planned) -> Vec<Service> {
        if let Some(timeouts) = planned.timeouts {
            self.config.timeouts = timeouts;
        }
        if let Some(marks) = planned.marks {
            self.config.marks = marks;
        }
        if let Some(ipvs) = planned.ipvs {
            self.config.ipvs = ipvs;
        }
        if let Some(settings) = planned.settings {
            self.config.settings = settings;
        }
        let mut removed = Vec::new();
        for (key, service) in planned.services {
            let place = self.places.get(&key).copied();
            if let Some(at) = place {
                self.servers -= self.config.services[at].servers.len();
                self.with_local -= has_local(&self.config.services[at]);
            }
            match (place, service) {
                (Some(at), Some(service)) => {
                    self.count(&service);
                    self.config.services[at] = service;
                }
                (None, Some(service)) => {
                    self.count(&service);
                    self.places.insert(key, self.config.services.len());
                    self.config.services.push(service);
                }
                (Some(at), None) => {
                    self.places.remove(&key);
                    removed.push(at);
                }
                (None, None) => {}
            }
        }
        match removed[..] {
            [] => return Vec::new(),
            [at] => {
                let later = self.places.values_mut().filter(|place| **place > at);
                later.for_each(|place| *place -= 1);
                return vec![self.config.services.remove(at)];
            }
            _ => {}
        }
        let places = &self.places;
        let is_gone = |service: &mut Service| !places.contains_key(&service.key);
        let gone = self.config.services.extract_if(.., is_gone);
        let gone = gone.collect();
        self.index();
        gone
    }

    fn count(&mut self, service: &Service) {
        self.servers += service.servers.len();
        self.with_local += has_local(service);
    }

    fn index(&mut self) {
        let services = &self.config.services;
        let places = services.iter().enumerate();
        self.places = places.map(|(at, service)| (service.key, at)).collect();
        self.servers = services.iter().map(|service| service.servers.len()).sum();
        self.with_local = services.iter().map(has_local).sum();
    }
}

/// 1 if it has local addresses.
fn has_local(service: &Service) -> usize {
    usize::from(!service.local_addresses.is_empty())
}
