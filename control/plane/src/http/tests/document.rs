//! The OpenAPI document.

use serde_json::Value;

use super::super::openapi;
use super::ask;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_committed_document_is_that_of_the_code() {
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(COMMITTED, openapi()).expect("written");
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == openapi(),
        "docs/openapi.json is out of date: WEIR_WRITE_DOCS=1 cargo test -p weir-control document"
    );
}

#[test]
fn it_is_served() {
    let (head, body) = &ask(&["GET /v1/openapi.json"])[0];
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(body, openapi());
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let document: Value = serde_json::from_str(openapi()).expect("JSON");
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let name = operation["operationId"].as_str().expect("a name");
            assert!(
                names.insert(name.to_owned()),
                "{method} {path}: {name} again"
            );
        }
    }
    assert!(names.len() > 35, "{names:?}");
    fn references(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(to)) = object.get("$ref") {
                    all.push(to.clone());
                }
                object.values().for_each(|value| references(value, all));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    references(&document, &mut all);
    assert!(!all.is_empty());
    for reference in all {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn bodies_have_the_keys_that_the_reader_of_the_file_knows() {
    let document: Value = serde_json::from_str(openapi()).expect("JSON");
    let unknown = serde_json::json!({"?": 1});
    let known = |faults: Vec<weir_model::FieldFault>| {
        let cure = faults
            .into_iter()
            .find(|fault| fault.key == "?")
            .expect("a fault")
            .cure;
        let keys = cure
            .trim_start_matches("known here: ")
            .split(", ")
            .map(str::to_owned);
        keys.collect::<std::collections::BTreeSet<_>>()
    };
    let described = |schema: &str| {
        let properties = &document["components"]["schemas"][schema]["properties"];
        let keys = properties.as_object().expect("an object").keys().cloned();
        keys.collect::<std::collections::BTreeSet<_>>()
    };
    let service = weir_model::body::service(&unknown).expect_err("it is wrong");
    assert_eq!(known(service), described("ServiceBody"));
    let mark = weir_model::body::mark(&unknown).expect_err("it is wrong");
    assert_eq!(known(mark), described("MarkRule"));
    let ipvs = weir_model::body::ipvs(&unknown).expect_err("it is wrong");
    assert_eq!(known(ipvs), described("Ipvs"));
    let timeouts = weir_model::body::timeouts(&unknown).expect_err("it is wrong");
    assert_eq!(known(timeouts), described("Timeouts"));
}
