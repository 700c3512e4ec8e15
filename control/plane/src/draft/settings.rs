//! Requests about `[ipvs]`, `[timeouts]` and `[settings]`, and about all that can be changed.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use weir_model::api::{BodyFault, OperationMethod, Problem, SettingsBody};
use weir_model::body::{self, FieldFaults};
use weir_model::{Operation, Service};

use super::{Draft, Prepared, merge, read_all, to_value};

/// The sections, by their keys.
const SECTIONS: [&str; 3] = ["ipvs", "timeouts", "settings"];

impl Draft<'_> {
    pub(super) fn settings(&mut self, request: &Prepared) -> Result<(), Problem> {
        let is_put = match request.method {
            OperationMethod::Put => true,
            OperationMethod::Patch => false,
            OperationMethod::Post | OperationMethod::Delete => {
                return Err(request.not_this("/v1/settings"));
            }
        };
        let given = request.object(&SECTIONS)?;
        self.set_sections(given, is_put, &request.base)
    }

    /// Of the whole configuration, what is absent is empty or has its defaults with `PUT`, and stays
    /// with `PATCH`.
    pub(super) fn all(&mut self, mut request: Prepared) -> Result<(), Problem> {
        let is_put = match request.method {
            OperationMethod::Put => true,
            OperationMethod::Patch => false,
            OperationMethod::Post | OperationMethod::Delete => {
                return Err(request.not_this("/v1/config"));
            }
        };
        let services = std::mem::take(&mut request.services);
        let given = request.object(&["services", "marks", "ipvs", "timeouts", "settings"])?;
        let is_told = |name: &str| is_put || given.contains_key(name);
        if is_told("services") {
            self.set_services(services, &format!("{}/services", request.base))?;
        }
        if is_told("marks") {
            let base = format!("{}/marks", request.base);
            let rules = match given.get("marks") {
                Some(list) if !list.is_null() => read_all(list, &base, body::mark)?,
                _ => Vec::new(),
            };
            self.set_marks(rules, base);
        }
        self.set_sections(given, is_put, &request.base)
    }

    /// These services in the place of all that are there.
    fn set_services(&mut self, services: Vec<Service>, base: &str) -> Result<(), Problem> {
        let mut wanted = HashSet::new();
        for (at, service) in services.iter().enumerate() {
            if !wanted.insert(service.key) {
                return Err(Problem::invalid_body(vec![BodyFault {
                    pointer: format!("{base}/{at}"),
                    detail: format!("service {} is there before", service.key),
                    cure: "give each service once, with all its servers".to_owned(),
                }]));
            }
        }
        let held = self.config().services.iter().map(|service| service.key);
        let all = held.chain(self.touched.keys().copied().collect::<Vec<_>>());
        let leaving: HashSet<_> = all.filter(|key| !wanted.contains(key)).collect();
        for key in leaving {
            if self.service(&key).is_some() {
                self.operations.push(Operation::RemoveService(key));
                self.touch(key, None);
            }
        }
        for (at, service) in services.into_iter().enumerate() {
            let key = service.key;
            if self.service(&key) != Some(&service) {
                self.places.note(key, format!("{base}/{at}"));
                self.operations.push(Operation::PutService(service.clone()));
                self.touch(key, Some(service));
            }
        }
        Ok(())
    }

    /// The sections as given: whole, or merged into what holds.
    fn set_sections(
        &mut self,
        given: &Map<String, Value>,
        is_put: bool,
        base: &str,
    ) -> Result<(), Problem> {
        let held = match &self.sections {
            Some(sections) => sections.clone(),
            None => SettingsBody::from(self.config()),
        };
        let mut values = to_value(&held);
        let wanted = SECTIONS.map(|name| {
            let mut value = values[name].take();
            match given.get(name) {
                Some(Value::Null) => json!({}),
                None if is_put => json!({}),
                None => value,
                Some(given) if is_put => given.clone(),
                Some(patch) => {
                    merge(&mut value, patch);
                    value
                }
            }
        });
        let [ipvs, timeouts, settings] = &wanted;
        let wanted = match (
            body::ipvs(ipvs),
            body::timeouts(timeouts),
            body::settings(settings),
        ) {
            (Ok(ipvs), Ok(timeouts), Ok(settings)) => SettingsBody {
                ipvs,
                timeouts,
                settings,
            },
            (ipvs, timeouts, settings) => {
                let faults = [ipvs.err(), timeouts.err(), settings.err()];
                let faults = SECTIONS.iter().zip(faults);
                let placed = faults.flat_map(|(name, faults)| {
                    at(&format!("{base}/{name}"), faults.unwrap_or_default())
                });
                return Err(Problem::invalid_body(placed.collect()));
            }
        };
        if wanted.ipvs != held.ipvs {
            let ipvs = wanted.ipvs.clone();
            self.operations.push(Operation::SetIpvs(ipvs));
        }
        if wanted.timeouts != held.timeouts {
            let timeouts = wanted.timeouts.clone();
            self.operations.push(Operation::SetTimeouts(timeouts));
        }
        if wanted.settings != held.settings {
            let settings = wanted.settings.clone();
            self.operations.push(Operation::SetSettings(settings));
        }
        self.sections = Some(wanted);
        Ok(())
    }
}

fn at(base: &str, faults: FieldFaults) -> Vec<BodyFault> {
    let faults = faults.into_iter();
    faults.map(|fault| BodyFault::at(base, fault)).collect()
}
