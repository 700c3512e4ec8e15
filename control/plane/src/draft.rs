//! From requests of the API to operations: what they say is read by the rules of the file
//! ([`weir_model::body`]) and laid over the configuration in use, one after the other, so that each
//! sees what those before it did. The director knows nothing of it until all of it is done at once
//! ([`State::request`]).
//!
//! What needs no look at the configuration is read beforehand ([`Prepared`]), beside the control
//! thread: a list of 65 535 services takes a while.

mod marks;
mod places;
mod prepared;
mod servers;
mod settings;
mod target;

use std::collections::HashMap;

use serde_json::Value;
use tracing::info;
use weir_model::api::{BodyFault, Changed, OperationMethod, Problem, ServiceBody, path};
use weir_model::{Config, Operation, Rules, Service, ServiceKey, Wanted, body};

use crate::change::ChangeRefused;
use crate::state::State;

pub use prepared::Prepared;
pub(crate) use servers::{find as find_server, no_server};
pub use target::Target;

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What changed.
    pub changed: Changed,
    /// The path of what a single request made.
    pub created: Option<String>,
}

impl State {
    /// Does all of `requests`, or none; with `dry_run` it only tells what they would do.
    ///
    /// # Errors
    /// What speaks against them; nothing was changed then.
    pub fn request(&mut self, requests: Vec<Prepared>, dry_run: bool) -> Result<Answered, Problem> {
        let mut draft = Draft::of(&self.wanted);
        let mut created = None;
        for request in requests {
            created = draft.take(request)?;
        }
        let Draft {
            operations, places, ..
        } = draft;
        let done = match dry_run {
            true => self.preview(&operations, Rules::File),
            false => self.change(&operations, Rules::File),
        };
        let done = done.map_err(|refused| match refused {
            ChangeRefused::Fault(fault) => places.problem(fault),
            ChangeRefused::NoSlots(none) => {
                let title = "There is no room for the new servers yet";
                Problem::new(409, title, none.to_string())
            }
        })?;
        let changes = done.changes.into_vec();
        if !dry_run {
            changes.iter().for_each(|change| info!("change: {change}"));
        }
        Ok(Answered {
            changed: Changed {
                dry_run,
                revision: self.revision(),
                changes,
                flows_touched: done.flows_touched,
            },
            created: created.filter(|_| !dry_run),
        })
    }
}

/// The configuration in use, with what requests lay over it.
struct Draft<'w> {
    held: &'w Wanted,
    /// Services that are other ones now; none: they are removed.
    touched: HashMap<ServiceKey, Option<Service>>,
    /// Built for the first request that names a service by its name.
    by_name: Option<HashMap<String, ServiceKey>>,
    marks: Option<Vec<weir_model::MarkRule>>,
    sections: Option<weir_model::api::SettingsBody>,
    operations: Vec<Operation>,
    places: places::Places,
}

impl<'w> Draft<'w> {
    fn of(held: &'w Wanted) -> Self {
        Self {
            held,
            touched: HashMap::new(),
            by_name: None,
            marks: None,
            sections: None,
            operations: Vec::new(),
            places: places::Places::default(),
        }
    }

    fn config(&self) -> &'w Config {
        self.held.config()
    }

    /// Lays one request over; returns the path of what it made.
    fn take(&mut self, request: Prepared) -> Result<Option<String>, Problem> {
        match request.target.clone() {
            Target::Services => self.services(request),
            Target::Service(service) => self.whole_service(&service, request),
            Target::Servers(service) => self.servers(&service, &request),
            Target::Server(service, server) => self.server(&service, &server, &request),
            Target::Marks => self.all_marks(&request),
            Target::Mark(index) => self.mark(index, &request),
            Target::Settings => self.settings(&request).map(|()| None),
            Target::Config => self.all(request).map(|()| None),
        }
    }

    fn service(&self, key: &ServiceKey) -> Option<&Service> {
        match self.touched.get(key) {
            Some(touched) => touched.as_ref(),
            None => self.held.service(key),
        }
    }

    /// The service that `word` names: its key, or its name.
    fn find(&mut self, word: &str) -> Option<ServiceKey> {
        let key = match word.parse() {
            Ok(key) => key,
            Err(_) => *self.names().get(word)?,
        };
        self.service(&key).map(|service| service.key)
    }

    fn existing(&mut self, word: &str) -> Result<ServiceKey, Problem> {
        self.find(word).ok_or_else(|| no_service(word))
    }

    fn names(&mut self) -> &HashMap<String, ServiceKey> {
        self.by_name.get_or_insert_with(|| {
            let untouched = self.held.config().services.iter();
            let untouched = untouched.filter(|service| !self.touched.contains_key(&service.key));
            let all = untouched.chain(self.touched.values().flatten());
            all.filter_map(|service| Some((service.name.clone()?, service.key)))
                .collect()
        })
    }

    /// The service with this key is `service` from now on.
    fn touch(&mut self, key: ServiceKey, service: Option<Service>) {
        if let Some(names) = &mut self.by_name {
            let old = match self.touched.get(&key) {
                Some(touched) => touched.as_ref(),
                None => self.held.service(&key),
            };
            if let Some(name) = old.and_then(|service| service.name.as_ref()) {
                names.remove(name);
            }
            if let Some(name) = service.as_ref().and_then(|service| service.name.as_ref()) {
                names.insert(name.clone(), key);
            }
        }
        self.touched.insert(key, service);
    }

    fn services(&mut self, mut request: Prepared) -> Result<Option<String>, Problem> {
        let Some(service) = request.services.pop() else {
            return Err(request.not_this("/v1/services"));
        };
        let key = service.key;
        if self.service(&key).is_some() {
            return Err(exists(format!("there is a service {key}")));
        }
        self.places.note(key, request.base);
        self.operations.push(Operation::AddService(service.clone()));
        self.touch(key, Some(service));
        Ok(Some(path::service(&key.word())))
    }

    fn whole_service(
        &mut self,
        word: &str,
        mut request: Prepared,
    ) -> Result<Option<String>, Problem> {
        let found = self.find(word);
        let may_be_new = request.method == OperationMethod::Put;
        let key = found.or_else(|| word.parse().ok().filter(|_| may_be_new));
        let key = key.ok_or_else(|| no_service(word))?;
        let service = match request.method {
            OperationMethod::Post => return Err(request.not_this("a service")),
            OperationMethod::Delete => {
                self.operations.push(Operation::RemoveService(key));
                self.touch(key, None);
                return Ok(None);
            }
            OperationMethod::Put => match request.services.pop() {
                Some(service) => service,
                None => request.service(&prepared::with_key(request.body()?, key))?,
            },
            OperationMethod::Patch => {
                let mut held = self.service(&key).map(ServiceBody::from).map(to_value);
                let held = held.as_mut().ok_or_else(|| no_service(word))?;
                merge(held, request.body()?);
                request.service(held)?
            }
        };
        if service.key != key {
            let detail = format!("the path names {key}, and this is {}", service.key);
            let cure =
                "leave protocol, address, port, mark and family out, or add the other service";
            return Err(request.fault("", detail, cure));
        }
        self.places.note(key, request.base);
        self.operations.push(Operation::PutService(service.clone()));
        self.touch(key, Some(service));
        Ok(found.is_none().then(|| path::service(&key.word())))
    }
}

/// Reads every element of a list, or tells every fault of it.
fn read_all<T>(
    list: &Value,
    base: &str,
    read: impl Fn(&Value) -> Result<T, body::FieldFaults>,
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
        match read(value) {
            Ok(value) => values.push(value),
            Err(found) if faults.len() < FAULTS_TOLD => {
                let base = format!("{base}/{at}");
                faults.extend(found.into_iter().map(|fault| BodyFault::at(&base, fault)));
            }
            Err(_) => {}
        }
    }
    match faults.is_empty() {
        true => Ok(values),
        false => Err(Problem::invalid_body(faults)),
    }
}

/// So many faults of a list help; more make an answer that nobody reads.
const FAULTS_TOLD: usize = 100;

fn to_value<T: serde::Serialize>(body: T) -> Value {
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

pub(crate) fn no_service(word: &str) -> Problem {
    let detail = format!(
        "there is no service {word:?}; give its name or a key such as tcp:192.0.2.100:80 or mark:10"
    );
    Problem::new(404, "There is no such service", detail)
}

#[cfg(test)]
mod tests;
