//! Bodies of changes at run time: read from JSON by the rules of the file.
//!
//! JSON becomes TOML and goes through the reader of the file, so that there is one set of rules, of
//! defaults and of messages. Faults name a key as the file does (`server[0].weight`).

use serde_json::{Map, Value};
use toml::de::DeTable;

use crate::fault::{FieldFault, Problem};
use crate::ipvs::Ipvs;
use crate::limits::{Settings, Timeouts};
use crate::mark::MarkRule;
use crate::reader::{Placed, Report, Section};
use crate::service::Service;

/// Faults of what was read.
pub type FieldFaults = Vec<FieldFault>;

/// Reads a service with its servers, in JSON under `servers`.
///
/// # Errors
/// Every fault, by its key in the service.
pub fn service(value: &Value) -> Result<Service, FieldFaults> {
    element("service", value, Service::read)
}

/// Reads a rule for marks. That the port exists that it names is not looked at.
///
/// # Errors
/// Every fault, by its key in the rule.
pub fn mark(value: &Value) -> Result<MarkRule, FieldFaults> {
    element("mark", value, MarkRule::read)
}

/// Reads `[ipvs]`.
///
/// # Errors
/// Every fault, by its key.
pub fn ipvs(value: &Value) -> Result<Ipvs, FieldFaults> {
    table("ipvs", value, Ipvs::read)
}

/// Reads `[timeouts]`.
///
/// # Errors
/// Every fault, by its key.
pub fn timeouts(value: &Value) -> Result<Timeouts, FieldFaults> {
    table("timeouts", value, Timeouts::read)
}

/// Reads `[settings]`.
///
/// # Errors
/// Every fault, by its key.
pub fn settings(value: &Value) -> Result<Settings, FieldFaults> {
    table("settings", value, Settings::read)
}

fn element<T>(
    name: &'static str,
    value: &Value,
    read: impl Fn(Section<'_>) -> Option<Placed<T>>,
) -> Result<T, FieldFaults> {
    read_in(name, value, true, |root| {
        let mut sections = root.sections(name).into_iter();
        sections.next().and_then(read).map(|placed| placed.value)
    })
}

fn table<T>(
    name: &'static str,
    value: &Value,
    read: impl Fn(Section<'_>) -> T,
) -> Result<T, FieldFaults> {
    read_in(name, value, false, |root| Some(read(root.section(name))))
}

fn read_in<T>(
    name: &'static str,
    value: &Value,
    is_element: bool,
    read: impl FnOnce(&Section<'_>) -> Option<T>,
) -> Result<T, FieldFaults> {
    let whole = |problem: &str, cure: &str| {
        let problem = Problem::new(problem, cure);
        vec![FieldFault::new(String::new(), problem)]
    };
    let Value::Object(object) = value else {
        return Err(whole("is not an object", "give one, {…}"));
    };
    let mut text = format!("{name} = ");
    if is_element {
        text.push('[');
    }
    write_object(&mut text, object);
    if is_element {
        text.push(']');
    }
    let (root, errors) = DeTable::parse_recoverable(&text);
    if let Some(error) = errors.first() {
        return Err(whole(error.message(), ""));
    }
    let report = Report::default();
    let read = read(&Section::root(&report, root.get_ref()));
    let findings = report.into_findings();
    let prefix = match is_element {
        true => format!("{name}[0]"),
        false => name.to_owned(),
    };
    let own = |path: &str| {
        let key = path.strip_prefix(&prefix).unwrap_or(path);
        key.trim_start_matches('.').to_owned()
    };
    match read {
        Some(read) if findings.is_empty() => Ok(read),
        _ => {
            let fault = |finding: crate::fault::Finding| {
                let mut fault = FieldFault::new(own(&finding.path), finding.problem);
                // In JSON the list has its plural name.
                fault.cure = fault
                    .cure
                    .replace("known here: server, ", "known here: servers, ");
                fault.cure = match fault.cure.as_str() {
                    "did you mean server?" => "did you mean servers?".to_owned(),
                    cure => cure.replace(", server", ", servers"),
                };
                fault.problem = fault.problem.replace(&format!("{prefix}."), "");
                fault
            };
            Err(findings.into_iter().map(fault).collect())
        }
    }
}

/// As TOML's inline table. A null is what is not given.
fn write_object(text: &mut String, object: &Map<String, Value>) {
    text.push('{');
    let given = object.iter().filter(|(_, value)| !value.is_null());
    for (at, (key, value)) in given.enumerate() {
        if at > 0 {
            text.push(',');
        }
        let key = match key.as_str() {
            "servers" => "server",
            key => key,
        };
        write_text(text, key);
        text.push('=');
        write_value(text, value);
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        // Only within a list, where nothing takes it.
        Value::Null => text.push_str("{}"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => {
            let number = number.to_string();
            // TOML wants a digit on both sides of the point, and none but a point or an exponent.
            text.push_str(&number.replace("e+", "e"));
        }
        Value::String(value) => write_text(text, value),
        Value::Array(list) => {
            text.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_value(text, value);
            }
            text.push(']');
        }
        Value::Object(object) => write_object(text, object),
    }
}

/// JSON's strings are TOML's but for DEL, which TOML has escaped.
fn write_text(text: &mut String, value: &str) {
    let quoted = Value::String(value.to_owned()).to_string();
    text.push_str(&quoted.replace('\u{7f}', "\\u007f"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ServiceBody;

    fn told(value: Value) -> Vec<String> {
        let faults = service(&value).expect_err("it has faults");
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_body_is_read_by_the_rules_of_the_file() {
        let body = json!({
            "protocol": "tcp", "address": "192.0.2.100", "port": 80, "scheduler": "sh",
            "scheduler_flags": ["sh-port"], "name": "a \"b\" \\ ü", "persistence_timeout": null,
            "servers": [{"address": "10.0.0.1", "method": "nat", "port": 8080, "weight": 3},
                        {"address": "10.0.0.2", "method": "dr", "name": "two"}],
        });
        let service = service(&body).expect("it is valid");
        assert_eq!(service.servers[1].port, 80);
        assert_eq!(service.name.as_deref(), Some("a \"b\" \\ ü"));
        let again = serde_json::to_value(ServiceBody::from(&service)).expect("it has a form");
        assert_eq!(super::service(&again), Ok(service));
    }

    #[test]
    fn every_fault_is_told_by_its_key() {
        let body = json!({
            "protocol": "tcp", "address": "192.0.2.100", "port": 80.5, "nmae": "x",
            "servers": [{"address": "10.0.0.1", "method": "nat", "weight": -1}, null, 7],
        });
        let told = told(body);
        assert!(told[0].starts_with("port: is the number 80.5"), "{told:?}");
        assert!(
            told.iter()
                .any(|t| t == "nmae: is not a known key; did you mean name?"),
            "{told:?}"
        );
        assert!(
            told.iter()
                .any(|t| t.starts_with("server[0].weight: -1 is less than 0")),
            "{told:?}"
        );
        assert_eq!(
            service(&json!([])).expect_err("no object")[0].problem,
            "is not an object"
        );
    }

    #[test]
    fn what_no_toml_can_hold_is_a_fault_and_no_panic() {
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "server": [deep] });
        }
        let huge = json!({"port": 1e300, "mark": u64::MAX, "name": "\u{7f}\u{0}\r\n"});
        for body in [deep, huge, json!({"": {"": ""}})] {
            assert!(!told(body).is_empty());
        }
    }
}
