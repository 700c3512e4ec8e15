//! What changes something: the requests it makes, and what is told of their answers.

use std::path::Path;

use super::*;

fn request(arguments: &str) -> client::Request {
    let args = Args::try_parse_from(arguments.split(' ')).expect(arguments);
    asked(&args).request().expect("it is one request")
}

fn check(arguments: &str, line: &str, body: &Value) {
    let request = request(arguments);
    assert_eq!(format!("{:?} {}", request.verb, request.path), line);
    assert_eq!(request.body.unwrap_or(Value::Null), *body, "{arguments}");
}

#[test]
fn a_service_is_told_as_the_api_has_it() {
    check(
        "weir service add tcp:[2001:db8::1]:80 --scheduler mh --scheduler-flags mh-port,flag-1 --name web",
        "Post /v1/services",
        &json!({"protocol": "tcp", "address": "2001:db8::1", "port": 80, "scheduler": "mh",
                "scheduler_flags": ["mh-port", "flag-1"], "name": "web"}),
    );
    check(
        "weir service set mark:7:ipv6 --persistence-timeout none --one-packet --dry-run",
        "Patch /v1/services/mark:7:ipv6?dry_run=true",
        &json!({"persistence_timeout": null, "one_packet": true}),
    );
    check(
        "weir service remove a/b",
        "Delete /v1/services/a%2Fb",
        &Value::Null,
    );
}

#[test]
fn marks_and_settings_are_told_as_the_api_has_them() {
    check(
        "weir mark add 10 --protocol tcp --destination 192.0.2.1 --destination-ports 80,8000-8080",
        "Post /v1/marks",
        &json!({"mark": 10, "protocol": "tcp", "destination": "192.0.2.1",
                "destination_ports": ["80", "8000-8080"]}),
    );
    check(
        "weir mark set 2 --source none",
        "Patch /v1/marks/2",
        &json!({"source": null}),
    );
    check(
        "weir settings set timeouts.udp=30 ipvs.sloppy_tcp=true ipvs.ftp_ports=[21,2121] timeouts.tcp=",
        "Patch /v1/settings",
        &json!({"timeouts": {"udp": 30, "tcp": null},
                "ipvs": {"sloppy_tcp": true, "ftp_ports": [21, 2121]}}),
    );
    check("weir zero web", "Post /v1/zero?service=web", &Value::Null);
}

#[test]
fn wrong_changes_are_wrong_usage() {
    for arguments in [
        "weir service add web",
        "weir service add tcp:192.0.2.1:80 --scheduler fastest",
        "weir server add web",
        "weir server drain one --deadline soon",
        "weir server drain one --stop --wait",
        "weir settings set udp=30",
        "weir settings set",
        "weir completions tcsh",
    ] {
        let error = Args::try_parse_from(arguments.split(' ')).expect_err(arguments);
        assert_eq!(error.exit_code(), 2, "{arguments}");
    }
}

#[test]
fn a_change_is_told_with_the_flows_it_touches() {
    let answer = |dry_run: bool, flows: u64| {
        json!({"dry_run": dry_run, "revision": "a-1", "flows_touched": flows,
               "changes": ["service tcp 192.0.2.100:80: removed"]})
    };
    assert_eq!(
        shown("weir service remove web --dry-run", &answer(true, 12)),
        "Would change:\n  service tcp 192.0.2.100:80: removed\nThat touches 12 live flows.\n"
    );
    assert_eq!(
        shown("weir service remove web", &answer(false, 0)),
        "Changed:\n  service tcp 192.0.2.100:80: removed\n"
    );
}

/// A daemon that answers one request after the other, each on its connection, and tells what it was
/// asked: line and body.
fn daemon(
    socket: &Path,
    answers: Vec<(&'static str, Value)>,
) -> thread::JoinHandle<Vec<(String, Value)>> {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        let answer = |(status, body): (&str, Value)| {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            let (head, body_sent) = loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("content-length: ")?
                            .parse()
                            .ok()
                    });
                    if rest.len() >= length.unwrap_or(0) {
                        break (head.to_owned(), rest.to_owned());
                    }
                }
                let read = stream.read(&mut chunk).expect("a request");
                assert!(read > 0, "the client hung up");
                request.extend_from_slice(&chunk[..read]);
            };
            let body = match body {
                Value::Null => String::new(),
                body => body.to_string(),
            };
            let _ = stream.write_all(http(status, &body).as_bytes());
            let line = head.lines().next().unwrap_or_default().to_owned();
            (
                line,
                serde_json::from_str(&body_sent).unwrap_or(Value::Null),
            )
        };
        answers.into_iter().map(answer).collect()
    })
}

fn outcome(socket: &Path, arguments: &str) -> Result<Outcome, String> {
    let mut args = Args::try_parse_from(arguments.split(' ')).expect("arguments");
    args.socket = socket.to_owned();
    run(&args, asked(&args)).map_err(|error| error.to_string())
}

fn drain(state: &str, active: u64) -> Value {
    let reset = if matches!(state, "ending" | "forced") {
        2
    } else {
        0
    };
    json!({"state": state, "weight_before": 3, "active": active, "inactive": 0,
           "flows_at_start": 5, "flows_reset": reset})
}

#[test]
fn a_drain_that_is_waited_for_tells_by_its_exit_status_how_it_ended() {
    for (end, code, words) in [
        (
            "drained",
            0,
            "10.0.0.1:8080 of tcp 192.0.2.100:80 is drained.\n",
        ),
        (
            "forced",
            3,
            "had its time: 2 flows were left and were ended",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        let mut answers = vec![("200 OK", two_services()), ("200 OK", drain("draining", 5))];
        // At the deadline it takes some seconds until none is left.
        if end == "forced" {
            answers.push(("200 OK", drain("ending", 2)));
        }
        answers.push(("200 OK", drain(end, 0)));
        let daemon = daemon(&socket, answers);
        let outcome = outcome(&socket, "weir server drain rs1 --deadline 10m --wait");
        let outcome = outcome.expect("it is answered");
        assert_eq!(outcome.code, code);
        assert!(outcome.text.contains(words), "{}", outcome.text);
        let asked = daemon.join().expect("it answered");
        let path = "/v1/services/tcp:192.0.2.100:80/servers/10.0.0.1:8080/drain";
        assert_eq!(asked[1].0, format!("POST {path} HTTP/1.1"));
        assert_eq!(asked[1].1, json!({"deadline_seconds": 600}));
        assert_eq!(asked[2].0, format!("GET {path} HTTP/1.1"));
    }
}

#[test]
fn a_server_in_several_services_has_to_be_told_from_itself() {
    let mut both = two_services();
    let mut twin = both["services"][0]["servers"][0].clone();
    twin["port"] = json!(53);
    both["services"][1]["servers"] = json!([twin]);
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let changed = json!({"dry_run": false, "revision": "a", "flows_touched": 0, "changes": []});
    let daemon = daemon(
        &socket,
        vec![
            ("200 OK", both.clone()),
            ("200 OK", both.clone()),
            ("200 OK", changed),
            ("200 OK", both),
        ],
    );
    let refused = outcome(&socket, "weir server set rs1 --weight 2").expect_err("which one?");
    assert!(
        refused.contains("--service: tcp:192.0.2.100:80, udp:[2001:db8::100]:53"),
        "{refused}"
    );
    let taken = outcome(&socket, "weir server set rs1 --service web --weight 2");
    assert_eq!(
        taken.map(|taken| taken.text),
        Ok("Nothing to change.\n".to_owned())
    );
    let nobody = outcome(&socket, "weir server remove 10.9.9.9:1").expect_err("nobody");
    assert!(
        nobody.contains("no service has a server \"10.9.9.9:1\""),
        "{nobody}"
    );
    let asked = daemon.join().expect("it answered");
    assert!(
        asked[2]
            .0
            .starts_with("PATCH /v1/services/tcp:192.0.2.100:80/servers/10.0.0.1:8080 ")
    );
    assert_eq!(asked[2].1, json!({"weight": 2}));
}

#[test]
fn a_file_is_applied_by_what_it_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let (socket, file) = (directory.path().join("s"), directory.path().join("f.toml"));
    let text = "[timeouts]\nudp = 30\n[[service]]\nmark = 10\n[log]\nlevel = \"debug\"\n";
    std::fs::write(&file, text).expect("written");
    let answer = |changes: Value| json!({"dry_run": true, "revision": "a", "flows_touched": 0, "changes": changes});
    let daemon = daemon(
        &socket,
        vec![
            (
                "200 OK",
                answer(json!(["service mark 10: added, scheduler wrr"])),
            ),
            ("200 OK", answer(json!([]))),
        ],
    );
    let arguments = format!("weir diff {}", file.display());
    let codes = [(); 2].map(|()| outcome(&socket, &arguments).expect("it is answered").code);
    assert_eq!(codes, [3, 0]);
    let asked = daemon.join().expect("it answered");
    assert_eq!(asked[0].0, "PATCH /v1/config?dry_run=true HTTP/1.1");
    assert_eq!(
        asked[0].1,
        json!({"services": [{"mark": 10, "scheduler": "wrr", "servers": []}],
               "timeouts": {"tcp": 900, "tcp_fin": 120, "udp": 30}})
    );
    std::fs::write(&file, "[[servce]]\n[[service]]\nport = 1\n").expect("written");
    let faults = outcome(&socket, &arguments).expect_err("it has faults");
    assert!(
        faults.contains("f.toml:1:3: servce: is not a known key; did you mean service?"),
        "{faults}"
    );
    assert!(
        faults.contains("service[0].protocol: is missing"),
        "{faults}"
    );
}
