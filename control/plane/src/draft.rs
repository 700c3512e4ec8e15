//! A configuration under change: operations are done on a copy, one after the other, and it is
//! checked whole at the end. The director knows nothing of it until then.
//!
//! What an operation says is read by the rules of the file ([`weir_model::change`]). A fault names
//! its place in the body of the request.

mod marks;
mod servers;
mod settings;
mod target;

use std::collections::HashMap;

use serde_json::Value;
use weir_model::api::{BodyFault, Operation, OperationMethod, Problem, ServiceBody};
use weir_model::change::{self, FieldFaults};
use weir_model::{Config, Service, ServiceKey};

pub use target::Target;

/// A configuration under change.
#[derive(Debug)]
pub struct Draft {
    config: Config,
    /// In their order; none: it was removed.
    services: Vec<Option<Service>>,
    by_key: HashMap<ServiceKey, usize>,
    by_name: HashMap<String, ServiceKey>,
    /// Where in the request the services stand that it touched.
    told: HashMap<ServiceKey, String>,
    told_marks: String,
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Something that was there is different or gone.
    Changed,
    /// Something is new, at this path.
    Created(String),
}

/// One operation with where its body stands in the request.
#[derive(Clone, Copy)]
struct Asked<'a> {
    method: OperationMethod,
    body: Option<&'a Value>,
    base: &'a str,
}

impl<'a> Asked<'a> {
    fn body(&self) -> Result<&'a Value, Problem> {
        let missing = || {
            let detail = format!("{:?} needs a body", self.method);
            Problem::new(400, "There is no body", detail)
        };
        self.body.ok_or_else(missing)
    }

    fn faulty(&self, faults: FieldFaults) -> Problem {
        let faults = faults.into_iter();
        Problem::invalid_body(faults.map(|f| BodyFault::at(self.base, f)).collect())
    }

    fn fault(&self, key: &str, detail: String, cure: &str) -> Problem {
        Problem::invalid_body(vec![BodyFault {
            pointer: format!("{}{key}", self.base),
            detail,
            cure: cure.to_owned(),
        }])
    }

    fn not_this(&self, target: &str) -> Problem {
        let method = format!("{:?}", self.method).to_uppercase();
        let detail = format!("{target} does not take {method}");
        Problem::new(405, "Method not allowed", detail)
    }
}

impl Draft {
    /// Begins with `config`.
    #[must_use]
    pub fn of(mut config: Config) -> Self {
        let services = std::mem::take(&mut config.services).into_iter();
        let mut draft = Self {
            config,
            services: Vec::new(),
            by_key: HashMap::new(),
            by_name: HashMap::new(),
            told: HashMap::new(),
            told_marks: String::new(),
        };
        services.for_each(|service| draft.push(service));
        draft
    }

    /// Does one operation; `base` is where its body stands in the request, as a JSON pointer.
    ///
    /// # Errors
    /// What speaks against it. The draft is of no use then.
    pub fn apply(&mut self, operation: &Operation, base: &str) -> Result<Done, Problem> {
        let asked = Asked {
            method: operation.method,
            body: operation.body.as_ref(),
            base,
        };
        match Target::of(&operation.path)? {
            Target::Services => self.services(&asked),
            Target::Service(service) => self.service(&service, &asked),
            Target::Servers(service) => self.servers(&service, &asked),
            Target::Server(service, server) => self.server(&service, &server, &asked),
            Target::Marks => self.marks(&asked),
            Target::Mark(index) => self.mark(index, &asked),
            Target::Settings => self.settings(&asked),
            Target::Config => self.config(&asked),
        }
    }

    /// The configuration that came of it.
    ///
    /// # Errors
    /// Everything that is wrong between its parts.
    pub fn finish(mut self) -> Result<Config, Problem> {
        self.config.services = self.services.into_iter().flatten().collect();
        let faults = self.config.faults();
        if faults.is_empty() {
            return Ok(self.config);
        }
        let services = &self.config.services;
        let place = |fault: weir_model::fault::FieldFault| {
            let problem = in_words(&fault.problem, services);
            let key = fault.key.clone();
            let fault = |base: &str, key: &str| {
                let fault = weir_model::fault::FieldFault {
                    key: key.to_owned(),
                    problem: problem.clone(),
                    cure: fault.cure.clone(),
                };
                BodyFault::at(base, fault)
            };
            if let Some((index, rest)) = element(&key, "service")
                && let Some(service) = services.get(index)
            {
                return match self.told.get(&service.key) {
                    Some(base) => fault(base, rest),
                    None => BodyFault {
                        pointer: String::new(),
                        detail: format!("service {}: {problem}", service.key),
                        cure: fault("", rest).cure,
                    },
                };
            }
            match element(&key, "mark") {
                Some(_) if !self.told_marks.is_empty() => fault(
                    &self.told_marks,
                    key.split_once('.').map_or("", |(_, key)| key),
                ),
                _ => fault("", ""),
            }
        };
        Err(Problem::invalid_body(
            faults.into_iter().map(place).collect(),
        ))
    }

    fn push(&mut self, service: Service) {
        self.by_key.insert(service.key, self.services.len());
        self.name(&service);
        self.services.push(Some(service));
    }

    /// The place of the service that `word` names: its key, or its name.
    fn find(&self, word: &str) -> Option<usize> {
        let key = word.parse::<ServiceKey>().ok();
        let key = key.or_else(|| self.by_name.get(word).copied())?;
        let at = *self.by_key.get(&key)?;
        self.services[at].is_some().then_some(at)
    }

    fn existing(&self, word: &str) -> Result<usize, Problem> {
        self.find(word).ok_or_else(|| no_service(word))
    }

    fn at(&mut self, at: usize) -> &mut Service {
        self.services[at]
            .as_mut()
            .expect("a place that was found is filled")
    }

    fn services(&mut self, asked: &Asked<'_>) -> Result<Done, Problem> {
        if asked.method != OperationMethod::Post {
            return Err(asked.not_this("/v1/services"));
        }
        let service = change::service(asked.body()?).map_err(|f| asked.faulty(f))?;
        if self.find(&service.key.word()).is_some() {
            return Err(exists(format!("there is a service {}", service.key)));
        }
        Ok(self.add(service, asked.base))
    }

    fn add(&mut self, service: Service, base: &str) -> Done {
        let path = target::service_path(service.key);
        self.told.insert(service.key, base.to_owned());
        self.push(service);
        Done::Created(path)
    }

    fn service(&mut self, word: &str, asked: &Asked<'_>) -> Result<Done, Problem> {
        let found = self.find(word);
        let key = match found {
            Some(at) => Some(self.at(at).key),
            None => word
                .parse()
                .ok()
                .filter(|_| asked.method == OperationMethod::Put),
        };
        let key = key.ok_or_else(|| no_service(word))?;
        let wanted = match asked.method {
            OperationMethod::Post => return Err(asked.not_this("a service")),
            OperationMethod::Delete => {
                let at = self.existing(word)?;
                self.forget(at);
                return Ok(Done::Changed);
            }
            OperationMethod::Put => with_key(asked.body()?, key),
            OperationMethod::Patch => {
                let at = self.existing(word)?;
                let mut held = to_value(&ServiceBody::from(&*self.at(at)));
                merge(&mut held, asked.body()?);
                held
            }
        };
        let service = change::service(&wanted).map_err(|f| asked.faulty(f))?;
        if service.key != key {
            let detail = format!("the path names {key}, and this is {}", service.key);
            let cure =
                "leave protocol, address, port, mark and family out, or add the other service";
            return Err(asked.fault("", detail, cure));
        }
        match found {
            None => Ok(self.add(service, asked.base)),
            Some(at) => {
                self.told.insert(key, asked.base.to_owned());
                self.put(at, service);
                Ok(Done::Changed)
            }
        }
    }

    fn put(&mut self, at: usize, service: Service) {
        self.unname(at);
        self.name(&service);
        self.services[at] = Some(service);
    }

    fn name(&mut self, service: &Service) {
        if let Some(name) = &service.name {
            self.by_name.insert(name.clone(), service.key);
        }
    }

    fn unname(&mut self, at: usize) {
        if let Some(service) = &self.services[at]
            && let Some(name) = &service.name
            && self.by_name.get(name) == Some(&service.key)
        {
            self.by_name.remove(name);
        }
    }

    fn forget(&mut self, at: usize) {
        self.unname(at);
        if let Some(service) = self.services[at].take() {
            self.by_key.remove(&service.key);
        }
    }
}

/// The body of a service, with what the path says already.
fn with_key(body: &Value, key: ServiceKey) -> Value {
    let mut body = body.clone();
    let Value::Object(object) = &mut body else {
        return body;
    };
    let names = ["protocol", "address", "port", "mark", "family"];
    if names
        .iter()
        .all(|name| object.get(*name).is_none_or(Value::is_null))
    {
        let key = serde_json::to_value(key).unwrap_or_default();
        if let Value::Object(key) = key {
            object.extend(key);
        }
    }
    body
}

/// Reads every element of a list, or tells every fault of it.
fn read_all<T>(
    list: &Value,
    base: &str,
    read: impl Fn(&Value, &str) -> Result<T, Vec<BodyFault>>,
) -> Result<Vec<T>, Problem> {
    let Value::Array(list) = list else {
        return Err(Problem::invalid_body(vec![BodyFault {
            pointer: base.to_owned(),
            detail: "is not a list".to_owned(),
            cure: "give one, […]".to_owned(),
        }]));
    };
    let (mut values, mut faults) = (Vec::with_capacity(list.len()), Vec::new());
    for (at, value) in list.iter().enumerate() {
        match read(value, &format!("{base}/{at}")) {
            Ok(value) => values.push(value),
            Err(found) => faults.extend(found),
        }
    }
    match faults.is_empty() {
        true => Ok(values),
        false => Err(Problem::invalid_body(faults)),
    }
}

fn to_value<T: serde::Serialize>(body: &T) -> Value {
    serde_json::to_value(body).expect("a body is JSON")
}

/// JSON Merge Patch (RFC 7396 §2).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn exists(what: String) -> Problem {
    let detail = format!("{what} already; PUT or PATCH changes it");
    Problem::new(409, "It exists", detail)
}

fn no_service(word: &str) -> Problem {
    let detail = format!(
        "there is no service {word:?}; give its name or a key such as tcp:192.0.2.100:80 or mark:10"
    );
    Problem::new(404, "There is no such service", detail)
}

/// `service[17].name` → 17 and `name`.
fn element<'k>(key: &'k str, list: &str) -> Option<(usize, &'k str)> {
    let (index, rest) = key.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest.trim_start_matches('.')))
}

/// Names services by their keys where the file's numbers mean nothing.
fn in_words(problem: &str, services: &[Service]) -> String {
    let mut words = problem.replace("the file has", "there would be");
    while let Some(from) = words.find("service[") {
        let Some((index, rest)) = element(&words[from..], "service") else {
            break;
        };
        let (from_end, known) = (words.len() - rest.len(), services.get(index));
        let Some(service) = known else { break };
        let name = format!("service {}", service.key);
        let rest = words[from_end..].to_owned();
        let joint = if rest.is_empty() { "" } else { " " };
        words.truncate(from);
        words = format!("{words}{name}{joint}{rest}");
    }
    words
}

#[cfg(test)]
mod tests;
