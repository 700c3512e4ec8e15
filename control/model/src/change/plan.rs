//! What changes would make of a configuration, before anything is done.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{ChangeFault, Operation, Rules, Wanted};
use crate::fault::{FieldFault, Problem};
use crate::ipvs::Ipvs;
use crate::limits::{Settings, Timeouts};
use crate::mark::MarkRule;
use crate::service::{Server, Service, ServiceKey};

/// What is to be different, valid as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// The services that change, in the order of their first change, as they are to be; none: they
    /// leave. Some may be as they are.
    pub services: Vec<(ServiceKey, Option<Service>)>,
    /// The timeouts, if they are told.
    pub timeouts: Option<Timeouts>,
    /// The rules for marks, if they are told.
    pub marks: Option<Vec<MarkRule>>,
    /// The switches, if they are told.
    pub ipvs: Option<Ipvs>,
    /// The settings, if they are told.
    pub settings: Option<Settings>,
}

impl Wanted {
    /// What `operations`, one after the other, would make of it. Takes time in proportion to the services
    /// that change, unless some have names or local addresses, which have to be nobody else's.
    ///
    /// # Errors
    /// The first operation that cannot be done, or what is wrong with the outcome.
    pub fn plan(&self, operations: &[Operation], rules: Rules) -> Result<Planned, ChangeFault> {
        let mut draft = Draft {
            held: self,
            touched: HashMap::new(),
            planned: Planned::default(),
        };
        for operation in operations {
            draft.take(operation)?;
        }
        let planned = draft.planned;
        for (key, service) in &planned.services {
            if let Some(service) = service
                && self.service(key) != Some(service)
            {
                let faults = match rules {
                    Rules::File => service.faults(),
                    Rules::Ipvs => Vec::new(),
                };
                if !faults.is_empty() {
                    return Err(ChangeFault::Invalid(*key, faults));
                }
            }
        }
        self.check(&planned)?;
        Ok(planned)
    }

    /// What has to be right of all services together, and of what is no service.
    pub(super) fn check(&self, planned: &Planned) -> Result<(), ChangeFault> {
        self.check_names(planned)?;
        self.check_local_ends(planned)?;
        self.check_limits(planned)?;
        self.check_settings(planned)
    }

    /// The services that stay as they are.
    fn others<'c>(&'c self, planned: &'c Planned) -> impl Iterator<Item = &'c Service> {
        let touched: HashSet<_> = planned.services.iter().map(|(key, _)| *key).collect();
        let services = self.config().services.iter();
        services.filter(move |service| !touched.contains(&service.key))
    }

    fn check_names(&self, planned: &Planned) -> Result<(), ChangeFault> {
        let wanted = || planned.services.iter().filter_map(|(_, s)| s.as_ref());
        let is_renamed = |service: &Service| {
            let held = self.service(&service.key);
            service.name.is_some() && held.is_none_or(|held| held.name != service.name)
        };
        if !wanted().any(is_renamed) {
            return Ok(());
        }
        let others = self.others(planned);
        let others = others.filter_map(|service| Some((service.name.as_deref()?, service.key)));
        let mut seen: HashMap<_, _> = others.collect();
        for service in wanted() {
            if let Some(name) = service.name.as_deref()
                && let Some(first) = seen.insert(name, service.key)
            {
                let problem = format!("{name:?} is also the name of service {first}");
                let problem = Problem::new(problem, "give another");
                let fault = FieldFault::new("name".to_owned(), problem);
                return Err(ChangeFault::Invalid(service.key, vec![fault]));
            }
        }
        Ok(())
    }

    /// As for a file: local addresses are nobody else's, and each worker has ports of its own.
    fn check_local_ends(&self, planned: &Planned) -> Result<(), ChangeFault> {
        let wanted = || planned.services.iter().filter_map(|(_, s)| s.as_ref());
        let has_local = |service: &Service| !service.local_addresses.is_empty();
        if self.with_local == 0 && !wanted().any(has_local) {
            return Ok(());
        }
        let all = || self.others(planned).chain(wanted());
        let local: HashMap<IpAddr, ServiceKey> = all()
            .flat_map(|service| service.local_addresses.iter().map(|a| (*a, service.key)))
            .collect();
        for service in all() {
            let own = service.key.address().into_iter();
            let servers = service.servers.iter().map(|server| server.address);
            if let Some(address) = own.chain(servers).find(|a| local.contains_key(a)) {
                let problem = format!("{address} stands for clients of {}", local[&address]);
                let problem = Problem::new(problem, "give an address that nobody else has");
                let fault = FieldFault::new("address".to_owned(), problem);
                return Err(ChangeFault::Invalid(service.key, vec![fault]));
            }
            let (ports, workers) = (service.local_ports, self.config().workers.cores.len());
            if service.has_fullnat() && (ports.count() as usize) < workers {
                let problem = format!("{ports} is too few for {workers} workers");
                let cure = format!("give {workers} ports or more: no two workers use the same");
                let fault = FieldFault::new("local_ports".to_owned(), Problem::new(problem, cure));
                return Err(ChangeFault::Invalid(service.key, vec![fault]));
            }
        }
        Ok(())
    }

    fn check_limits(&self, planned: &Planned) -> Result<(), ChangeFault> {
        let (mut services, mut servers) = (self.places.len(), self.servers);
        for (key, wanted) in &planned.services {
            if let Some(held) = self.service(key) {
                services -= 1;
                servers -= held.servers.len();
            }
            if let Some(wanted) = wanted {
                services += 1;
                servers += wanted.servers.len();
            }
        }
        let held = &self.config().limits;
        let limits = [
            ("services", services, held.services),
            ("servers", servers, held.servers),
        ];
        match limits
            .into_iter()
            .find(|(_, count, limit)| *count > *limit as usize)
        {
            Some((key, count, limit)) => Err(ChangeFault::Limit { key, count, limit }),
            None => Ok(()),
        }
    }

    fn check_settings(&self, planned: &Planned) -> Result<(), ChangeFault> {
        let timeouts = planned.timeouts.iter();
        let mut faults: Vec<_> = timeouts.flat_map(Timeouts::faults).collect();
        for (at, rule) in planned.marks.iter().flatten().enumerate() {
            let faults_of_rule = rule.faults().into_iter();
            faults.extend(
                faults_of_rule
                    .map(|(key, problem)| FieldFault::new(format!("mark[{at}].{key}"), problem)),
            );
            if let Some(name) = rule
                .interface
                .as_deref()
                .filter(|name| self.config().port(name).is_none())
            {
                let names: Vec<_> = self
                    .config()
                    .ports
                    .iter()
                    .map(|port| port.name.as_str())
                    .collect();
                let cure = format!("give one of: {}", names.join(", "));
                let problem = Problem::new(format!("there is no port {name:?}"), cure);
                faults.push(FieldFault::new(format!("mark[{at}].interface"), problem));
            }
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(ChangeFault::InvalidSettings(faults)),
        }
    }
}

/// Services as they become while operations are taken one by one.
struct Draft<'c> {
    held: &'c Wanted,
    /// Where in the plan a service is.
    touched: HashMap<ServiceKey, usize>,
    planned: Planned,
}

impl Draft<'_> {
    fn take(&mut self, operation: &Operation) -> Result<(), ChangeFault> {
        match operation {
            Operation::AddService(service) => {
                let place = self.touch(service.key);
                match place {
                    Some(_) => return Err(ChangeFault::ServiceExists(service.key)),
                    None => *place = Some(service.clone()),
                }
            }
            Operation::EditService(service) => {
                let held = self.service(service.key)?;
                let servers = std::mem::take(&mut held.servers);
                *held = Service {
                    servers,
                    ..service.clone()
                };
            }
            Operation::PutService(service) => *self.touch(service.key) = Some(service.clone()),
            Operation::RemoveService(key) => {
                let place = self.touch(*key);
                place.take().ok_or(ChangeFault::NoService(*key))?;
            }
            Operation::AddServer(key, server) => {
                let service = self.service(*key)?;
                if service.server(server.key()).is_some() {
                    return Err(ChangeFault::ServerExists(*key, server.key()));
                }
                service.servers.push(server.clone());
            }
            Operation::EditServer(key, server) => {
                let wanted = server.key();
                let mut servers = self.service(*key)?.servers.iter_mut();
                let held = servers.find(|held| held.key() == wanted);
                let held: &mut Server = held.ok_or(ChangeFault::NoServer(*key, wanted))?;
                *held = server.clone();
            }
            Operation::RemoveServer(key, wanted) => {
                let servers = &mut self.service(*key)?.servers;
                let at = servers.iter().position(|held| held.key() == *wanted);
                servers.remove(at.ok_or(ChangeFault::NoServer(*key, *wanted))?);
            }
            Operation::RemoveServices => {
                for service in &self.held.config().services {
                    self.touch(service.key);
                }
                for (_, service) in &mut self.planned.services {
                    *service = None;
                }
            }
            Operation::SetTimeouts(timeouts) => self.planned.timeouts = Some(timeouts.clone()),
            Operation::SetMarks(marks) => {
                let marks = marks.iter().cloned().map(MarkRule::with_family);
                self.planned.marks = Some(marks.collect());
            }
            Operation::SetIpvs(ipvs) => self.planned.ipvs = Some(ipvs.clone()),
            Operation::SetSettings(settings) => self.planned.settings = Some(settings.clone()),
        }
        Ok(())
    }

    /// The plan's own copy of a service, if it is there.
    fn touch(&mut self, key: ServiceKey) -> &mut Option<Service> {
        let services = &mut self.planned.services;
        let at = *self.touched.entry(key).or_insert_with(|| {
            services.push((key, self.held.service(&key).cloned()));
            services.len() - 1
        });
        &mut services[at].1
    }

    fn service(&mut self, key: ServiceKey) -> Result<&mut Service, ChangeFault> {
        self.touch(key).as_mut().ok_or(ChangeFault::NoService(key))
    }
}
