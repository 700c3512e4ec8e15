//! The bodies of the API keep their shape, which other people's programs read.

use serde_json::json;
use weir_model::api::{FlowFilter, FlowState, Flows, Problem, Services};
use weir_model::{Protocol, parse};

#[test]
fn a_filter_survives_its_query() {
    let filter = FlowFilter {
        client: "2001:db8::7".parse().ok(),
        service: "[2001:db8::1]:80".parse().ok(),
        server: "[2001:db8::2]:8080".parse().ok(),
        state: Some(FlowState::SynRecv),
        protocol: Some(Protocol::Tcp),
        limit: Some(5),
    };
    let query = filter.to_query();
    assert!(!query.contains(['[', ']']), "{query}");
    assert_eq!(serde_urlencoded::from_str(&query), Ok(filter));
    assert_eq!(serde_urlencoded::from_str(""), Ok(FlowFilter::default()));
}

#[test]
fn an_unknown_filter_is_refused() {
    assert!(serde_urlencoded::from_str::<FlowFilter>("colour=red").is_err());
    assert!(serde_urlencoded::from_str::<FlowFilter>("state=HAPPY").is_err());
    assert!(serde_urlencoded::from_str::<FlowFilter>("service=192.0.2.1").is_err());
}

#[test]
fn every_state_is_known_by_its_name() {
    for state in FlowState::ALL {
        assert_eq!(state.name().parse(), Ok(*state));
    }
    assert_eq!("syn-recv".parse(), Ok(FlowState::SynRecv));
}

#[test]
fn a_flow_is_written_with_addresses_as_text() {
    let body = json!({"flows": [{
        "protocol": "tcp",
        "client": "198.51.100.7:40000",
        "virtual": "192.0.2.100:80",
        "server": "10.0.0.1:80",
        "state": "ESTABLISHED",
        "expires_seconds": 899,
        "method": "nat",
        "worker": 0
    }, {
        "protocol": "tcp",
        "client": "198.51.100.7:40000",
        "virtual": "192.0.2.100:80",
        "local": "10.0.0.200:1024",
        "server": "10.0.0.1:80",
        "state": "ESTABLISHED",
        "expires_seconds": 899,
        "method": "fullnat",
        "worker": 1
    }], "truncated": false});
    let flows: Flows = serde_json::from_value(body.clone()).expect("a flow");
    assert_eq!(serde_json::to_value(&flows).expect("JSON"), body);
}

#[test]
fn a_client_ignores_fields_it_does_not_know() {
    let body = json!({"services": [], "since": "later"});
    assert_eq!(
        serde_json::from_value::<Services>(body).ok(),
        Some(Services::default())
    );
}

#[test]
fn a_refused_reload_carries_every_fault() {
    let faults = parse("[eal]\npci = 1\nhuge = 2\n", "w.toml").expect_err("faults");
    let count = faults.0.len();
    let json = serde_json::to_string(&Problem::invalid_config(faults)).expect("JSON");
    let problem: Problem = serde_json::from_str(&json).expect("a problem");
    assert_eq!((problem.status, problem.faults.len()), (422, count));
    let text = problem.to_string();
    assert!(
        text.contains("\nw.toml:2:7: eal.pci: is the number 1"),
        "{text}"
    );
}

#[test]
fn a_problem_needs_only_title_and_status() {
    let problem: Problem =
        serde_json::from_value(json!({"title": "Not Found", "status": 404})).expect("a problem");
    assert_eq!(problem.kind, "about:blank");
    assert_eq!(problem.to_string(), "Not Found");
}
