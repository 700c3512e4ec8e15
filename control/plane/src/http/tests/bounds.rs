//! What a client cannot do to the API.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use weir_model::api::Problem;

use super::{ask, body};
use crate::door::door;
use crate::http::{api, serve};
use crate::testing::{service, state, worker};

const BOUNDS: serve::Bounds = serve::Bounds {
    connections: 3,
    head: Duration::from_millis(200),
    connection: Duration::from_millis(600),
};

/// Serves with tight bounds while `client` connects to it.
fn bounded<A>(client: impl AsyncFnOnce(&std::path::Path) -> A) -> A {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (door, mut questions) = door();
        let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
        let listener = UnixListener::bind(&path).expect("a fresh path");
        let served = serve::local(listener, api(door), BOUNDS);
        let answered = async {
            while let Some(question) = questions.next().await {
                question(&mut state)();
            }
        };
        tokio::select! {
            () = served => panic!("it never ends"),
            () = answered => panic!("its door stays open"),
            answer = client(&path) => answer,
        }
    })
}

async fn connect(path: &std::path::Path) -> UnixStream {
    UnixStream::connect(path).await.expect("it listens")
}

async fn rest(mut stream: UnixStream) -> String {
    let mut text = String::new();
    // A reset is an end, too.
    let _ = stream.read_to_string(&mut text).await;
    text
}

const ASK: &[u8] = b"GET /v1/status HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n";

#[test]
fn a_slow_head_is_not_waited_for() {
    let (text, took) = bounded(async |path| {
        let mut stream = connect(path).await;
        stream
            .write_all(b"GET /v1/status HT")
            .await
            .expect("it is read");
        let begun = Instant::now();
        (rest(stream).await, begun.elapsed())
    });
    assert!(!text.contains("200"), "{text}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_connection_ends_though_its_body_never_comes() {
    let took = bounded(async |path| {
        let mut stream = connect(path).await;
        let head = b"POST /v1/services HTTP/1.1\r\nHost: weir\r\nContent-Length: 100\r\n\r\n{";
        stream.write_all(head).await.expect("it is read");
        let begun = Instant::now();
        let _ = rest(stream).await;
        begun.elapsed()
    });
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn one_connection_too_many_is_told_so_and_later_ones_are_served() {
    bounded(async |path| {
        let mut held = Vec::new();
        for _ in 0..BOUNDS.connections {
            held.push(connect(path).await);
        }
        let text = rest(connect(path).await).await;
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
        let (_, problem) = text.split_once("\r\n\r\n").expect("a body");
        let problem: Problem = serde_json::from_str(problem).expect("a problem");
        assert!(problem.detail.contains("too many connections"));
        drop(held);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = connect(path).await;
        stream.write_all(ASK).await.expect("it is read");
        assert!(rest(stream).await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_body_too_large_is_refused() {
    let long = format!("POST /v1/services\n\n\"{}\"", "x".repeat(1 << 20));
    let answers = ask(&[&long]);
    assert_eq!(body::<Problem>(&answers[0]).status, 413);
}

#[test]
fn a_hundred_thousand_services_are_refused_whole() {
    let service = |number: u32| {
        json!({
            "protocol": "tcp", "address": format!("198.18.{}.{}", number >> 8 & 255, number & 255),
            "port": 80 + (number >> 16),
            "servers": [{"address": "10.0.0.1", "method": "nat", "port": 80}],
        })
    };
    let all: Vec<Value> = (1..=100_000).map(service).collect();
    let put = format!("PATCH /v1/config\n\n{}", json!({"services": all}));
    let make = |service| json!({"method": "POST", "path": "/v1/services", "body": service});
    let operations: Vec<Value> = all.into_iter().map(make).collect();
    let batch = format!("POST /v1/batch\n\n{}", json!({"operations": operations}));
    let answers = ask(&[&put, &batch, "GET /v1/services"]);
    for answer in &answers[..2] {
        let problem: Problem = body(answer);
        assert_eq!(problem.status, 422);
        let told = &problem.errors[0].detail;
        assert!(told.starts_with("there would be 10000"), "{told}");
    }
    let services: weir_model::api::Services = body(&answers[2]);
    assert_eq!(services.services.len(), 1);
}
