//! Where in a request the services and rules stand that it tells of, so that a fault that is found
//! later finds its way back.

use std::collections::HashMap;

use weir_model::api::{BodyFault, Problem};
use weir_model::{ChangeFault, FieldFault, ServiceKey};

/// Where they stand, as JSON pointers.
#[derive(Debug, Default)]
pub(super) struct Places {
    services: HashMap<ServiceKey, String>,
    /// The list of rules, or the only rule that is told.
    pub(super) marks: String,
}

impl Places {
    pub(super) fn note(&mut self, key: ServiceKey, base: String) {
        self.services.insert(key, base);
    }

    /// The fault as the API tells it.
    pub(super) fn problem(&self, fault: ChangeFault) -> Problem {
        let words = fault.to_string();
        match fault {
            ChangeFault::ServiceExists(_) | ChangeFault::ServerExists(..) => {
                Problem::new(409, "It exists", words)
            }
            ChangeFault::NoService(_) | ChangeFault::NoServer(..) => {
                Problem::new(404, "There is no such thing", words)
            }
            ChangeFault::Limit { key, .. } => {
                let cure =
                    format!("ask for fewer, or raise limits.{key} in the file and restart weird");
                Problem::invalid_body(vec![BodyFault {
                    pointer: String::new(),
                    detail: words,
                    cure,
                }])
            }
            ChangeFault::Invalid(key, faults) => {
                let faults = faults.into_iter();
                let place = |fault: FieldFault| match self.services.get(&key) {
                    Some(base) => BodyFault::at(base, fault),
                    // It is told of a server only, or of another service.
                    None => BodyFault {
                        pointer: String::new(),
                        detail: format!("service {key}: {}: {}", fault.key, fault.problem),
                        cure: fault.cure,
                    },
                };
                Problem::invalid_body(faults.map(place).collect())
            }
            ChangeFault::InvalidSettings(faults) => {
                let faults = faults.into_iter();
                let place = |fault: FieldFault| {
                    let mark = fault
                        .key
                        .strip_prefix("mark[")
                        .and_then(|k| k.split_once(']'));
                    let Some((index, rest)) = mark.map(|(i, r)| (i.to_owned(), r.to_owned()))
                    else {
                        return BodyFault::at("", fault);
                    };
                    let base = match self.marks.strip_suffix("/marks") {
                        Some(_) => format!("{}/{index}", self.marks),
                        None => self.marks.clone(),
                    };
                    let key = rest.trim_start_matches('.').to_owned();
                    BodyFault::at(&base, FieldFault { key, ..fault })
                };
                Problem::invalid_body(faults.map(place).collect())
            }
        }
    }
}
