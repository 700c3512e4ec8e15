//! One request, read as far as that needs no look at the configuration.

use serde_json::{Map, Value};
use weir_model::api::{self, BodyFault, OperationMethod, Problem};
use weir_model::body::{self, FieldFaults};
use weir_model::{Service, ServiceKey};

use super::{Target, read_all};

/// One request.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) target: Target,
    pub(super) method: OperationMethod,
    body: Option<Value>,
    /// Where its body stands in what was sent.
    pub(super) base: String,
    /// The services that it tells whole.
    pub(super) services: Vec<Service>,
}

impl Prepared {
    /// Reads `operation`, whose body stands at `base`, a JSON pointer, in what was sent.
    ///
    /// # Errors
    /// What is wrong with it already.
    pub fn read(operation: api::Operation, base: String) -> Result<Self, Problem> {
        let api::Operation { method, path, body } = operation;
        let mut request = Self {
            target: Target::of(&path)?,
            method,
            body,
            base,
            services: Vec::new(),
        };
        match (&request.target, method) {
            (Target::Services, OperationMethod::Post) => {
                request.services.push(request.service(request.body()?)?);
            }
            (Target::Service(word), OperationMethod::Put) => {
                if let Ok(key) = word.parse() {
                    let body = with_key(request.body()?, key);
                    request.services.push(request.service(&body)?);
                }
            }
            (Target::Config, OperationMethod::Put | OperationMethod::Patch) => {
                let base = format!("{}/services", request.base);
                if let Some(list) = request.body()?.get("services").filter(|l| !l.is_null()) {
                    request.services = read_all(list, &base, body::service)?;
                }
            }
            _ => {}
        }
        Ok(request)
    }

    pub(super) fn body(&self) -> Result<&Value, Problem> {
        let missing = || Problem::new(400, "There is no body", "give one, as JSON");
        self.body.as_ref().ok_or_else(missing)
    }

    /// The body, which has no other keys than these.
    pub(super) fn object(&self, known: &[&str]) -> Result<&Map<String, Value>, Problem> {
        let cure = format!("known here: {}", known.join(", "));
        let Value::Object(object) = self.body()? else {
            return Err(self.fault("", "is not an object".to_owned(), &cure));
        };
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => {
                let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                Err(self.fault(&pointer, format!("{key:?} is not a known key"), &cure))
            }
            None => Ok(object),
        }
    }

    pub(super) fn service(&self, value: &Value) -> Result<Service, Problem> {
        body::service(value).map_err(|faults| self.faulty(faults))
    }

    pub(super) fn faulty(&self, faults: FieldFaults) -> Problem {
        let faults = faults.into_iter();
        Problem::invalid_body(faults.map(|f| BodyFault::at(&self.base, f)).collect())
    }

    pub(super) fn fault(&self, key: &str, detail: String, cure: &str) -> Problem {
        Problem::invalid_body(vec![BodyFault {
            pointer: format!("{}{key}", self.base),
            detail,
            cure: cure.to_owned(),
        }])
    }

    pub(super) fn not_this(&self, target: &str) -> Problem {
        let method = format!("{:?}", self.method).to_uppercase();
        let detail = format!("{target} does not take {method}");
        Problem::new(405, "Method not allowed", detail)
    }
}

/// The body of a service, with what the path says already.
pub(super) fn with_key(body: &Value, key: ServiceKey) -> Value {
    let mut body = body.clone();
    let names = ["protocol", "address", "port", "mark", "family"];
    if let Value::Object(object) = &mut body
        && names
            .iter()
            .all(|name| object.get(*name).is_none_or(Value::is_null))
        && let Ok(Value::Object(key)) = serde_json::to_value(key)
    {
        object.extend(key);
    }
    body
}
