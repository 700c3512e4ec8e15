//! Operations on `[ipvs]`, `[timeouts]` and `[settings]`, and on all that can be changed.

use serde_json::{Map, Value, json};
use weir_model::api::{BodyFault, OperationMethod, Problem, SettingsBody};
use weir_model::change::{self, FieldFaults};

use super::{Asked, Done, Draft, marks, merge, to_value};

/// The sections, by their keys.
const SECTIONS: [&str; 3] = ["ipvs", "timeouts", "settings"];

impl Draft {
    pub(super) fn settings(&mut self, asked: &Asked<'_>) -> Result<Done, Problem> {
        let given = object(asked, &SECTIONS)?;
        match asked.method {
            OperationMethod::Put => {
                let wanted = SECTIONS.map(|name| (name, given.get(name).cloned()));
                let or_default =
                    |(name, value): (_, Option<Value>)| (name, value.unwrap_or_else(|| json!({})));
                self.read_sections(wanted.map(or_default), asked)
            }
            OperationMethod::Patch => self.merge_sections(given, asked),
            OperationMethod::Post | OperationMethod::Delete => Err(asked.not_this("/v1/settings")),
        }
    }

    /// Of the whole configuration, what is absent is empty or has its defaults with `PUT`, and stays
    /// with `PATCH`.
    pub(super) fn config(&mut self, asked: &Asked<'_>) -> Result<Done, Problem> {
        let is_put = asked.method == OperationMethod::Put;
        if !is_put && asked.method != OperationMethod::Patch {
            return Err(asked.not_this("/v1/config"));
        }
        let known = ["services", "marks", "ipvs", "timeouts", "settings"];
        let given = object(asked, &known)?;
        let empty = Value::Array(Vec::new());
        let list = |name| given.get(name).or(is_put.then_some(&empty));
        if let Some(list) = list("services") {
            let base = format!("{}/services", asked.base);
            let services = super::read_all(list, &base, |value, base| {
                change::service(value).map_err(|faults| at(base, faults))
            })?;
            self.services.clear();
            self.by_key.clear();
            self.by_name.clear();
            for (at, service) in services.into_iter().enumerate() {
                self.told.insert(service.key, format!("{base}/{at}"));
                self.push(service);
            }
        }
        if let Some(list) = list("marks") {
            self.config.marks = marks::read_list(list, &format!("{}/marks", asked.base))?;
        }
        if is_put {
            let wanted = SECTIONS.map(|name| {
                let value = given.get(name).cloned();
                (name, value.unwrap_or_else(|| json!({})))
            });
            self.read_sections(wanted, asked)
        } else {
            self.merge_sections(given, asked)
        }
    }

    fn merge_sections(
        &mut self,
        given: &Map<String, Value>,
        asked: &Asked<'_>,
    ) -> Result<Done, Problem> {
        let mut held = to_value(&SettingsBody::from(&self.config));
        let given = SECTIONS.map(|name| (name, given.get(name)));
        let merged = given.map(|(name, patch)| {
            let mut value = held[name].take();
            match patch {
                Some(Value::Null) => value = json!({}),
                Some(patch) => merge(&mut value, patch),
                None => {}
            }
            (name, value)
        });
        self.read_sections(merged, asked)
    }

    fn read_sections(
        &mut self,
        wanted: [(&str, Value); 3],
        asked: &Asked<'_>,
    ) -> Result<Done, Problem> {
        let [ipvs, timeouts, settings] = &wanted;
        let ipvs = change::ipvs(&ipvs.1).map_err(|faults| ("ipvs", faults));
        let timeouts = change::timeouts(&timeouts.1).map_err(|faults| ("timeouts", faults));
        let settings = change::settings(&settings.1).map_err(|faults| ("settings", faults));
        match (ipvs, timeouts, settings) {
            (Ok(ipvs), Ok(timeouts), Ok(settings)) => {
                self.config.ipvs = ipvs;
                self.config.timeouts = timeouts;
                self.config.settings = settings;
                Ok(Done::Changed)
            }
            (ipvs, timeouts, settings) => {
                let faults = [ipvs.err(), timeouts.err(), settings.err()];
                let faults = faults.into_iter().flatten();
                let placed =
                    faults.flat_map(|(name, faults)| at(&format!("{}/{name}", asked.base), faults));
                Err(Problem::invalid_body(placed.collect()))
            }
        }
    }
}

fn at(base: &str, faults: FieldFaults) -> Vec<BodyFault> {
    let faults = faults.into_iter();
    faults.map(|fault| BodyFault::at(base, fault)).collect()
}

/// The body, which has no other keys than these.
fn object<'a>(asked: &Asked<'a>, known: &[&str]) -> Result<&'a Map<String, Value>, Problem> {
    let is_fault = |detail: String, key: &str| {
        let cure = format!("known here: {}", known.join(", "));
        asked.fault(key, detail, &cure)
    };
    let body = asked.body()?;
    let Value::Object(object) = body else {
        return Err(is_fault("is not an object".to_owned(), ""));
    };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            Err(is_fault(format!("{key:?} is not a known key"), &pointer))
        }
        None => Ok(object),
    }
}
