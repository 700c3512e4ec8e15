//! What changes the configuration.

use serde_json::{Value, json};
use weir_model::api::{
    Changed, DrainState, DrainView, Problem, ServerState, ServerView, ServiceView, Services,
};

use super::{ask, body};

const WEB: &str = "/v1/services/tcp:192.0.2.100:80";

/// The answers as status and JSON.
fn answers(requests: &[String]) -> Vec<(u16, Value)> {
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    let answers = ask(&requests);
    let read = |(head, body): &(String, String)| {
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let json = serde_json::from_str(body).unwrap_or(Value::Null);
        (status.expect("a status"), json)
    };
    answers.iter().map(read).collect()
}

fn request(method: &str, path: &str, body: &Value) -> String {
    format!("{method} {path}\n\n{body}")
}

fn dns() -> Value {
    json!({
        "protocol": "udp", "address": "192.0.2.100", "port": 53, "name": "dns",
        "servers": [{"address": "10.0.0.1", "method": "nat", "name": "one"},
                    {"address": "10.0.0.2", "method": "nat"}],
    })
}

#[test]
fn a_service_is_made_changed_and_removed() {
    let answers = answers(&[
        request("POST", "/v1/services", &dns()),
        request("POST", "/v1/services", &dns()),
        request(
            "PATCH",
            "/v1/services/dns",
            &json!({"scheduler": "wlc", "name": null}),
        ),
        request(
            "PUT",
            "/v1/services/udp:192.0.2.100:53",
            &json!({"servers": []}),
        ),
        "GET /v1/services/udp:192.0.2.100:53".to_owned(),
        "DELETE /v1/services/udp:192.0.2.100:53".to_owned(),
        "DELETE /v1/services/udp:192.0.2.100:53".to_owned(),
        request(
            "PUT",
            "/v1/services/mark:7:ipv6",
            &json!({"scheduler": "rr"}),
        ),
    ]);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(
        statuses,
        [201, 409, 200, 200, 200, 200, 404, 201],
        "{answers:#?}"
    );
    let changes = |at: usize| answers[at].1["changes"].clone();
    assert_eq!(changes(0).as_array().map(Vec::len), Some(3));
    assert_eq!(
        changes(2),
        json!([
            "service udp 192.0.2.100:53: scheduler wrr → wlc",
            "service udp 192.0.2.100:53: name dns → (none)"
        ])
    );
    let view: ServiceView = serde_json::from_value(answers[4].1.clone()).expect("a service");
    let is_up = |server: &&ServerView| server.state == ServerState::Up;
    let up = view.servers.iter().filter(is_up).count();
    assert_eq!((view.scheduler.name(), up), ("wrr", 0));
    assert_eq!(changes(5), json!(["service udp 192.0.2.100:53: removed"]));
}

#[test]
fn what_was_made_is_told_with_its_path_and_the_revision() {
    let made = request(
        "POST",
        &format!("{WEB}/servers"),
        &json!({"address": "10.0.0.9", "method": "nat"}),
    );
    let look = format!("GET {WEB}/servers/10.0.0.9:80");
    let answers = ask(&[&made, &look, "GET /v1/services"]);
    let head = answers[0].0.to_lowercase();
    assert!(
        head.contains("location: /v1/services/tcp:192.0.2.100:80/servers/10.0.0.9:80\r\n"),
        "{head}"
    );
    let changed: Changed = body(&answers[0]);
    for (head, _) in &answers {
        let tag = format!("etag: \"{}\"", changed.revision);
        assert!(head.to_lowercase().contains(&tag), "{head}");
    }
    assert_eq!(body::<Value>(&answers[1])["weight"], 1);
}

#[test]
fn servers_are_made_changed_and_removed() {
    let servers = format!("{WEB}/servers");
    let answers = answers(&[
        request(
            "POST",
            &servers,
            &json!({"address": "10.0.0.2", "method": "nat", "name": "two"}),
        ),
        request(
            "PATCH",
            &format!("{servers}/two"),
            &json!({"weight": 7, "upper_threshold": 3}),
        ),
        request(
            "PATCH",
            &format!("{servers}/10.0.0.2"),
            &json!({"method": "dr", "weight": -1}),
        ),
        request(
            "PUT",
            &format!("{servers}/10.0.0.2:80"),
            &json!({"method": "dr"}),
        ),
        request(
            "PUT",
            &format!("{servers}/10.0.0.2:80"),
            &json!({"method": "dr", "port": 81}),
        ),
        format!("DELETE {servers}/10.0.0.1:80"),
        format!("GET {servers}"),
        format!("DELETE {servers}/nobody"),
    ]);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(
        statuses,
        [201, 200, 422, 200, 422, 200, 200, 404],
        "{answers:#?}"
    );
    assert_eq!(answers[2].1["errors"][0]["pointer"], "/weight");
    assert_eq!(
        answers[2].1["errors"][0]["cure"],
        "give a weight from 0 to 2147483647"
    );
    let left = &answers[6].1["servers"];
    assert_eq!(
        (left[0]["address"].as_str(), left[0]["method"].as_str()),
        (Some("10.0.0.2"), Some("dr"))
    );
    assert_eq!(
        left[0]["weight"], 1,
        "what PUT does not say has its default"
    );
}

#[test]
fn marks_and_settings_are_changed() {
    let answers = answers(&[
        request(
            "POST",
            "/v1/marks",
            &json!({"mark": 1, "destination": "192.0.2.100"}),
        ),
        request(
            "POST",
            "/v1/marks",
            &json!({"mark": 2, "interface": "nowhere"}),
        ),
        request(
            "PATCH",
            "/v1/marks/0",
            &json!({"protocol": "tcp", "destination_ports": ["80"]}),
        ),
        "GET /v1/marks/0".to_owned(),
        "GET /v1/marks/1".to_owned(),
        request(
            "PUT",
            "/v1/marks",
            &json!({"marks": [{"mark": 5}, {"mark": 0}]}),
        ),
        "DELETE /v1/marks/0".to_owned(),
        request(
            "PATCH",
            "/v1/settings",
            &json!({"timeouts": {"udp": 10}, "ipvs": {"sloppy_tcp": true}}),
        ),
        request(
            "PATCH",
            "/v1/settings",
            &json!({"timeouts": {"udp": 0}, "colour": 1}),
        ),
        "GET /v1/settings".to_owned(),
        request("PUT", "/v1/settings", &json!({"timeouts": {"tcp": 100}})),
    ]);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(
        statuses,
        [201, 422, 200, 200, 404, 422, 200, 200, 422, 200, 200],
        "{answers:#?}"
    );
    assert_eq!(answers[1].1["errors"][0]["pointer"], "/interface");
    assert_eq!(answers[3].1["family"], "ipv4");
    assert_eq!(answers[5].1["errors"][0]["pointer"], "/marks/1/mark");
    assert_eq!(
        answers[9].1["timeouts"],
        json!({"tcp": 900, "tcp_fin": 120, "udp": 10})
    );
    assert_eq!(
        answers[10].1["changes"],
        json!([
            "timeouts.tcp 900 → 100",
            "timeouts.udp 10 → 300",
            "ipvs.sloppy_tcp true → false"
        ])
    );
}

#[test]
fn a_batch_is_done_whole_or_not_at_all() {
    let batch =
        |operations: Value| request("POST", "/v1/batch", &json!({"operations": operations}));
    let weight = |weight: i32| json!({"method": "PATCH", "path": format!("{WEB}/servers/10.0.0.1:80"), "body": {"weight": weight}});
    let make = json!({"method": "POST", "path": "/v1/services", "body": dns()});
    let add = json!({"method": "POST", "path": "/v1/services/dns/servers",
                     "body": {"address": "10.0.0.3", "method": "nat"}});
    let namesake = json!({"method": "POST", "path": "/v1/services",
                          "body": {"mark": 3, "name": "web"}});
    let answers = answers(&[
        batch(json!([make, weight(-1)])),
        batch(json!([make, add, weight(3), namesake])),
        batch(json!([make, {"method": "GET", "path": "/v1/services"}])),
        "GET /v1/services".to_owned(),
        batch(json!([make, add, weight(3), {"method": "DELETE", "path": WEB}])),
        "GET /v1/config".to_owned(),
    ]);
    assert_eq!(answers[0].0, 422);
    assert_eq!(
        answers[0].1["errors"][0]["pointer"],
        "/operations/1/body/weight"
    );
    assert_eq!((answers[1].0, answers[2].0), (422, 400));
    assert_eq!(
        answers[1].1["errors"][0]["pointer"],
        "/operations/3/body/name"
    );
    let services: Services = serde_json::from_value(answers[3].1.clone()).expect("services");
    assert_eq!(services.services.len(), 1);
    assert_eq!(services.services[0].servers[0].weight, 1);
    assert_eq!(answers[4].0, 200);
    let services = answers[5].1["services"].as_array().expect("services");
    assert_eq!(services.len(), 1);
    assert_eq!(services[0]["servers"].as_array().map(Vec::len), Some(3));
}

#[test]
fn what_get_config_says_puts_the_same_back() {
    let made = request("POST", "/v1/services", &dns());
    let first = answers(&[made.clone(), "GET /v1/config".to_owned()]);
    let config = &first[1].1;
    let answers = answers(&[
        made,
        request("PUT", "/v1/config", config),
        request("PATCH", "/v1/config", &json!({"services": []})),
        request("PUT", "/v1/config", config),
        "GET /v1/config".to_owned(),
    ]);
    assert_eq!(answers[1].1["changes"], json!([]));
    assert_eq!(answers[2].1["changes"].as_array().map(Vec::len), Some(2));
    assert_eq!(&answers[4].1, config);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let answers = answers(&[
        format!("DELETE {WEB}?dry_run=true"),
        format!("GET {WEB}"),
        request("POST", "/v1/services?dry_run=true", &dns()),
        format!("DELETE {WEB}?dry_run=perhaps"),
        format!("DELETE {WEB}?force=true"),
    ]);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 400, 400]);
    assert_eq!(answers[0].1["dry_run"], true);
    assert_eq!(
        answers[0].1["changes"],
        json!(["service tcp 192.0.2.100:80: removed"])
    );
}

#[test]
fn two_administrators_do_not_overwrite_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("weir.sock");
    let client = async {
        let exchange = async |request: &str| {
            let stream = tokio::net::UnixStream::connect(&socket).await;
            super::exchange(stream.expect("it listens"), request).await
        };
        let (head, _) = exchange(&format!("GET {WEB}")).await;
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: "));
        let tag = tag.expect("a tag").to_owned();
        let edit = |tag: &str, weight: u8| {
            format!("PATCH {WEB}/servers/10.0.0.1\nIf-Match: {tag}\n\n{{\"weight\": {weight}}}")
        };
        let mut statuses = Vec::new();
        for request in [
            edit(&tag, 2),
            edit(&tag, 3),
            edit("*", 4),
            edit("W/\"x\"", 5),
            edit("x", 6),
        ] {
            let (head, _) = exchange(&request).await;
            statuses.push(head.split(' ').nth(1).map(str::to_owned));
        }
        statuses
    };
    let statuses = super::serving(client, &socket, None);
    let statuses: Vec<_> = statuses.into_iter().flatten().collect();
    assert_eq!(statuses, ["200", "412", "200", "412", "400"]);
}

#[test]
fn what_cannot_be_is_a_problem_document() {
    let answers = ask(&[
        "POST /v1/services\n\n{",
        "POST /v1/services\n\n[]",
        "POST /v1/services",
        "POST /v1/services\nContent-Type: text/plain\n\n{}",
        "PUT /v1/services/%ff\n\n{}",
        "DELETE /v1/services",
        "POST /v1/services\n\n{\"protocol\": \"tcp\", \"address\": \"127.0.0.1\", \"port\": 0}",
    ]);
    let problems: Vec<Problem> = answers.iter().map(body).collect();
    let statuses: Vec<u16> = problems.iter().map(|problem| problem.status).collect();
    assert_eq!(statuses, [400, 422, 400, 415, 404, 405, 422]);
    for (head, _) in &answers {
        assert!(head.contains("application/problem+json"), "{head}");
    }
    assert!(
        answers[5].0.to_lowercase().contains("allow: "),
        "{}",
        answers[5].0
    );
    let pointers: Vec<_> = problems[6]
        .errors
        .iter()
        .map(|e| e.pointer.as_str())
        .collect();
    assert!(pointers.contains(&"/address"), "{problems:#?}");
}

#[test]
fn a_drain_is_begun_looked_at_and_called_off() {
    let drain = format!("{WEB}/servers/10.0.0.1/drain");
    let answers = answers(&[
        format!("GET {drain}"),
        format!("POST {drain}"),
        request("POST", &drain, &json!({"deadline_seconds": 60})),
        request("POST", &drain, &json!({"deadline_seconds": 2_678_401})),
        format!("GET {drain}"),
        format!("DELETE {drain}"),
        format!("DELETE {drain}"),
        format!("GET {WEB}/servers/10.0.0.1"),
    ]);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(
        statuses,
        [404, 200, 200, 422, 200, 204, 404, 200],
        "{answers:#?}"
    );
    let view: DrainView = serde_json::from_value(answers[4].1.clone()).expect("a drain");
    assert_eq!((view.state, view.weight_before), (DrainState::Drained, 1));
    assert_eq!(answers[7].1["weight"], 1);
}

#[test]
fn counts_begin_anew() {
    let answers = ask(&[
        "POST /v1/zero",
        "POST /v1/zero?service=web",
        "POST /v1/zero?service=nobody",
    ]);
    let statuses: Vec<_> = answers
        .iter()
        .filter_map(|(head, _)| head.split(' ').nth(1))
        .collect();
    assert_eq!(statuses, ["204", "204", "404"]);
}
