use serde_json::{Value, json};
use weir_model::api::{Operation, OperationMethod, Problem};

use super::*;
use crate::testing::{active, service, state, worker};

fn read(method: OperationMethod, path: &str, body: Value) -> Result<Prepared, Problem> {
    let body = (!body.is_null()).then_some(body);
    let path = path.to_owned();
    Prepared::read(Operation { method, path, body }, "/b".to_owned())
}

fn prepared(method: OperationMethod, path: &str, body: Value) -> Prepared {
    read(method, path, body).expect("it can be read")
}

use OperationMethod::{Delete, Patch, Post, Put};

const WEB: &str = "/v1/services/web";

#[test]
fn each_request_sees_what_those_before_it_did() {
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    let requests = vec![
        prepared(Patch, WEB, json!({"name": "old"})),
        prepared(Post, "/v1/services", json!({"mark": 5, "name": "web"})),
        prepared(
            Post,
            "/v1/services/web/servers",
            json!({"address": "10.0.0.9", "method": "dr", "name": "nine"}),
        ),
        prepared(Patch, "/v1/services/web/servers/nine", json!({"weight": 9})),
        prepared(Delete, "/v1/services/old", Value::Null),
        prepared(Post, "/v1/marks", json!({"mark": 1})),
        prepared(Patch, "/v1/marks/0", json!({"protocol": "udp"})),
        prepared(Patch, "/v1/settings", json!({"timeouts": {"udp": 7}})),
        prepared(Patch, "/v1/settings", json!({"timeouts": {"tcp": 8}})),
    ];
    let answered = state.request(requests, false).expect("all can be done");
    assert_eq!(answered.created, None);
    let config = state.config();
    assert_eq!(config.services.len(), 1);
    let only = &config.services[0];
    assert_eq!((only.key.mark(), only.servers[0].weight), (Some(5), 9));
    assert_eq!(config.marks[0].protocol, Some(weir_model::Protocol::Udp));
    assert_eq!((config.timeouts.udp, config.timeouts.tcp), (7, 8));
}

#[test]
fn a_whole_list_changes_only_what_differs() {
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    let same = to_value(ServiceBody::from(&state.config().services[0]));
    let list = json!({"services": [{"mark": 1}, same]});
    let request = prepared(Patch, "/v1/config", list);
    let answered = state.request(vec![request], false).expect("it is valid");
    assert_eq!(
        answered.changed.changes,
        ["service mark 1: added, scheduler wrr"]
    );
    let twice = json!({"services": [{"mark": 1}, {"mark": 1, "scheduler": "rr"}]});
    let refused = state.request(vec![prepared(Put, "/v1/config", twice)], false);
    assert_eq!(
        refused.expect_err("it is there twice").errors[0].pointer,
        "/b/services/1"
    );
    let list = json!({"services": [{"mark": 1, "weight": 3}, {"port": 5}, 7]});
    let refused = read(Patch, "/v1/config", list).expect_err("it has faults");
    let pointers: Vec<_> = refused.errors.iter().map(|e| e.pointer.as_str()).collect();
    assert!(pointers.contains(&"/b/services/0/weight"), "{pointers:?}");
    assert!(pointers.contains(&"/b/services/2"), "{pointers:?}");
}

#[test]
fn a_change_tells_the_live_flows_it_touches() {
    let worker = worker(0);
    let mut state = state(&service("rr", &[(1, 1), (2, 1)]), vec![worker.clone()]);
    worker.counters().loads[0].add(active(3));
    worker.counters().loads[1].add(active(4));
    let mut touched = |method, path: &str, body: Value| {
        let answered = state.request(vec![prepared(method, path, body)], true);
        answered.expect("it is valid").changed.flows_touched
    };
    let first = "/v1/services/web/servers/10.0.0.1:80";
    assert_eq!(touched(Delete, WEB, Value::Null), 7);
    assert_eq!(touched(Delete, first, Value::Null), 3);
    assert_eq!(touched(Patch, first, json!({"method": "dr"})), 3);
    assert_eq!(touched(Patch, first, json!({"weight": 0})), 0);
}

#[test]
fn what_is_wrong_with_the_outcome_is_told_where_it_was_asked_for() {
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    let namesake = prepared(Post, "/v1/services", json!({"mark": 2, "name": "web"}));
    let refused = state
        .request(vec![namesake], false)
        .expect_err("it is taken");
    assert_eq!(
        (refused.status, refused.errors[0].pointer.as_str()),
        (422, "/b/name")
    );
    let rules = json!({"marks": [{"mark": 1}, {"mark": 2, "interface": "lan"}]});
    let refused = state.request(vec![prepared(Put, "/v1/marks", rules)], false);
    let refused = refused.expect_err("there is no such port");
    assert_eq!(refused.errors[0].pointer, "/b/marks/1/interface");
    let servers: Vec<Value> = (1..20)
        .map(|n| json!({"address": format!("10.0.1.{n}"), "method": "nat"}))
        .collect();
    let many = prepared(
        Put,
        "/v1/services/tcp:192.0.2.9:80",
        json!({"servers": servers}),
    );
    let refused = state
        .request(vec![many], false)
        .expect_err("there are too many");
    assert!(
        refused.errors[0].cure.contains("raise limits.servers"),
        "{refused}"
    );
    assert_eq!(state.config().services.len(), 1);
}

#[test]
fn paths_are_read_as_they_are_written() {
    let service = |path: &str| match Target::of(path) {
        Ok(Target::Service(word)) => Some(word),
        _ => None,
    };
    for word in ["tcp:[2001:db8::1]:80", "a/b%?#", "web ü"] {
        assert_eq!(service(&path::service(word)).as_deref(), Some(word));
    }
    for path in [
        "/v1/services/",
        "/v1/services/%ff",
        "/v1/nothing",
        "/v1/marks/x",
        "",
        "services",
    ] {
        assert!(Target::of(path).is_err(), "{path}");
    }
}
