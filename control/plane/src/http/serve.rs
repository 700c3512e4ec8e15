//! Connections to the API: how many there may be, and how long each may take.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::warn;

use weir_model::api::Problem;

use super::remote::InForce;

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at a time; one more is told so and closed.
    pub(crate) connections: usize,
    /// For the head of a request, from when the connection could carry one.
    pub(crate) head: Duration,
    /// For all of a connection.
    pub(crate) connection: Duration,
}

impl Bounds {
    pub(crate) const DEFAULT: Self = Self {
        connections: 64,
        head: Duration::from_secs(10),
        connection: Duration::from_secs(300),
    };
}

/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the local socket, for as long as the process lives.
pub(crate) async fn local(listener: tokio::net::UnixListener, router: Router, bounds: Bounds) {
    let gate = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let router = router.clone();
        match Arc::clone(&gate).try_acquire_owned() {
            Ok(permit) => {
                tokio::spawn(async move {
                    connection(stream, router, bounds).await;
                    drop(permit);
                });
            }
            Err(_) => drop(tokio::spawn(turn_away(stream))),
        }
    }
}

/// Serves TLS on TCP.
pub(crate) async fn remote(
    listener: tokio::net::TcpListener,
    secured: InForce,
    router: Router,
    bounds: Bounds,
) {
    let gate = Arc::new(Semaphore::new(bounds.connections));
    let router = secured.guard(router);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        // Before the handshake nothing can be said in a way that the other side believes.
        let Ok(permit) = Arc::clone(&gate).try_acquire_owned() else {
            continue;
        };
        let (acceptor, router) = (secured.acceptor(), router.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(bounds.head, acceptor.accept(stream)).await {
                connection(stream, router, bounds).await;
            }
            drop(permit);
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    bounds: Bounds,
) {
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head);
    let served = http.serve_connection(TokioIo::new(stream), service);
    // A client that breaks off, or takes too long, has nobody to be told of it.
    let _ = timeout(bounds.connection, served).await;
}

/// Tells a client that there are too many, if it takes that at once.
async fn turn_away(mut stream: tokio::net::UnixStream) {
    let detail = "too many connections are open; try again in a moment";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE.as_u16(), "Busy", detail);
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{body}",
        Problem::CONTENT_TYPE,
        body.len()
    );
    let written = timeout(PAUSE, stream.write_all(answer.as_bytes())).await;
    if let Ok(Ok(())) = written {
        let _ = stream.shutdown().await;
    }
}

async fn pause(error: &io::Error) -> Option<Infallible> {
    warn!("a connection to the API cannot be taken: {error}");
    sleep(PAUSE).await;
    None
}
