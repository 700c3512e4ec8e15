use std::future::Future;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use weir_model::api::{Drops, Flows, Problem, Reloaded, Services, Status, Workers};
use weir_worker::Handle;

mod bounds;
mod changes;
mod document;
mod remote;

use super::{ControlSocket, ListenError, MetricsListener};
use crate::host::{Host, doorbell};
use crate::run::{Listeners, Signals, run};
use crate::state::State;
use crate::testing::{service, state, worker};

/// Serves a small director at `socket` while `client` asks it. Its worker never answers.
fn serving<A>(
    client: impl Future<Output = A>,
    socket: &Path,
    metrics: Option<MetricsListener>,
) -> A {
    let listeners = Listeners {
        control: ControlSocket::bind(socket, 0o600).expect("a fresh path"),
        remote: None,
        ipvs: None,
        ipvs_proc: None,
        metrics,
    };
    serving_all(client, listeners)
}

/// As [`serving`], at all these places.
fn serving_all<A>(client: impl Future<Output = A>, listeners: Listeners) -> A {
    let state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    serving_state(client, listeners, state)
}

/// As [`serving_all`], of this director.
fn serving_state<A>(client: impl Future<Output = A>, listeners: Listeners, state: State) -> A {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let signals = Signals::take().expect("signals");
        let bell = doorbell().expect("an eventfd");
        let host = Host::start(state.config(), &[([2; 6], 1500)], Vec::new(), bell).await;
        let host = host.expect("its port has no twin");
        tokio::select! {
            ended = run(state, host, listeners, signals) => panic!("it ended: {ended:?}"),
            answer = client => answer,
        }
    })
}

/// The answers to one request each, on a connection each: head and body. A request is its first
/// line, then header fields, then after an empty line its body.
fn ask(requests: &[&str]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("weir.sock");
    let client = async {
        let mut answers = Vec::new();
        for request in requests {
            let stream = UnixStream::connect(&socket).await.expect("it listens");
            answers.push(exchange(stream, request).await);
        }
        answers
    };
    serving(client, &socket, None)
}

async fn exchange(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: &str,
) -> (String, String) {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
    let fields: String = fields.lines().map(|field| format!("{field}\r\n")).collect();
    let length = match body.is_empty() {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let request =
        format!("{line} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n{fields}{length}\r\n{body}");
    // Who has heard enough answers before the end.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn body<T: serde::de::DeserializeOwned>((head, body): &(String, String)) -> T {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {head}\n{body}"))
}

#[test]
fn every_path_of_the_api_answers() {
    let paths = [
        "status",
        "services",
        "ports",
        "neighbours",
        "routes",
        "workers",
        "drops",
    ];
    let requests: Vec<String> = paths.iter().map(|path| format!("GET /v1/{path}")).collect();
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    let answers = ask(&requests);
    for (path, (head, _)) in paths.iter().zip(&answers) {
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    }
    assert_eq!(body::<Status>(&answers[0]).dpdk_version, "0");
    assert_eq!(body::<Services>(&answers[1]).services[0].servers.len(), 1);
    assert_eq!(body::<Workers>(&answers[5]).workers[0].flows_max, 1024);
    assert!(body::<Drops>(&answers[6]).drops.len() > 20);
}

#[test]
fn a_reload_without_its_file_is_a_problem_document() {
    let answers = ask(&["POST /v1/reload"]);
    assert!(
        answers[0].0.contains("application/problem+json"),
        "{}",
        answers[0].0
    );
    let problem: Problem = body(&answers[0]);
    assert_eq!(problem.status, 422);
    assert!(
        problem.detail.contains("test.toml cannot be read"),
        "{problem}"
    );
    assert!(serde_json::from_str::<Reloaded>(&answers[0].1).is_err());
}

#[test]
fn what_is_not_understood_is_a_problem_document() {
    let answers = ask(&[
        "GET /v1/nothing",
        "GET /v1/reload",
        "GET /v1/flows?colour=red",
        "GET /v1/flows?limit=99999999",
    ]);
    let statuses: Vec<u16> = answers
        .iter()
        .map(|answer| body::<Problem>(answer).status)
        .collect();
    assert_eq!(statuses, [404, 405, 400, 400]);
}

#[test]
fn a_listing_that_a_worker_does_not_end_says_that_it_is_cut() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let filter = weir_model::api::FlowFilter::default();
    let listed = runtime.block_on(async {
        let workers = [worker(0)];
        let patience = Duration::from_millis(20);
        let ask = |worker: &Handle, filter| worker.dump_flows(filter, 1);
        let listing = super::flows::gather(&workers, &filter, 0, patience, ask);
        listing.await.expect("the worker is not busy")
    });
    assert_eq!(
        listed,
        Flows {
            flows: Vec::new(),
            truncated: true
        }
    );
}

#[test]
fn the_metrics_page_is_served_as_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = MetricsListener::bind("127.0.0.1:0".parse().expect("an address"));
    let listener = listener.expect("any port");
    let address = listener.address().expect("it is bound");
    let client = async {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let page = exchange(stream, "GET /metrics").await;
        let stream = TcpStream::connect(address).await.expect("it listens");
        (page, exchange(stream, "GET /").await)
    };
    let ((head, page), home) = serving(client, &dir.path().join("s"), Some(listener));
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(page.contains("weir_build_info"), "{page}");
    assert!(home.1.contains("href=\"/metrics\""));
}

#[test]
fn a_port_in_use_is_told_in_a_sentence() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("any port");
    let address = held.local_addr().expect("it is bound");
    let error = MetricsListener::bind(address)
        .expect_err("it is taken")
        .to_string();
    assert!(
        error.contains("another process listens there; stop it"),
        "{error}"
    );
    let error = MetricsListener::bind("192.0.2.77:1".parse().expect("an address"));
    let error = error.expect_err("not ours").to_string();
    assert!(error.contains("no interface has this address"), "{error}");
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced_and_a_live_one_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weir.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a fresh path"));
    assert!(
        path.exists(),
        "dropping a listener leaves its file, as a kill does"
    );

    let socket = ControlSocket::bind(&path, 0o660).expect("nobody answers there");
    let mode = path.metadata().expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let refused = ControlSocket::bind(&path, 0o660);
    assert!(
        matches!(refused, Err(ListenError::SocketInUse { .. })),
        "{refused:?}"
    );
    drop(socket);
    assert!(!path.exists());

    std::fs::write(&path, "precious").expect("written");
    let refused = ControlSocket::bind(&path, 0o660);
    assert!(
        matches!(refused, Err(ListenError::NotASocket { .. })),
        "{refused:?}"
    );
    let refused = ControlSocket::bind(&dir.path().join("no/such/dir"), 0o660);
    assert!(
        matches!(refused, Err(ListenError::Socket { .. })),
        "{refused:?}"
    );
}
