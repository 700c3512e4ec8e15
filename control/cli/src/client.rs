//! One request to the daemon: HTTP/1.1 over its Unix socket.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use weir_model::Faults;
use weir_model::api::Problem;

/// A reload or a long listing may take a while; a daemon that hangs should not hang us.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// Path and query.
    pub(crate) path: String,
    /// What is sent along, as JSON.
    pub(crate) body: Option<Value>,
}

impl Request {
    /// Looks at what is at `path`.
    pub(crate) fn get(path: &str) -> Self {
        Request {
            verb: Verb::Get,
            path: path.to_owned(),
            body: None,
        }
    }
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Changes nothing.
    Get,
    /// Adds or does something.
    Post,
    /// Changes some of something.
    Patch,
    /// Removes something.
    Delete,
}

/// The daemon at a socket.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// The socket cannot be opened.
    Unreachable(PathBuf, io::Error),
    /// The daemon hung up, or what it speaks is not HTTP.
    Broken(PathBuf, hyper::Error),
    /// Our own process lacks something.
    Own(io::Error),
    /// No answer in time.
    Slow(PathBuf),
    /// The daemon says no.
    Refused(Problem),
    /// The configuration file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The configuration file has faults.
    Faults(Faults),
    /// The answer lacks something.
    Empty,
    /// The answer is not what this version expects.
    NotUnderstood(serde_json::Error),
}

impl Client {
    /// The daemon that listens at `socket`.
    pub(crate) fn new(socket: &Path) -> Self {
        Client {
            socket: socket.to_owned(),
        }
    }

    /// Asks, and returns the body of the answer.
    ///
    /// # Errors
    ///
    /// The daemon cannot be reached, or its answer has a status of 400 or above.
    pub(crate) fn ask(&self, request: &Request) -> Result<Bytes, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Own)?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.exchange(request))
                .await
                .unwrap_or_else(|_| Err(Error::Slow(self.socket.clone())))
        })
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes, Error> {
        let broken = |error| Error::Broken(self.socket.clone(), error);
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| Error::Unreachable(self.socket.clone(), error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // It ends with the connection; what it fails with, the sender tells too.
        tokio::spawn(connection);

        let method = match request.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        let body = request.body.as_ref().map(Value::to_string);
        let request = hyper::Request::builder()
            .method(method)
            .uri(request.path.as_str())
            // RFC 9112 §3.2: a Host field is a must, and a socket has no name.
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(body.unwrap_or_default()))
            .expect("paths and queries are made of URI characters");
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(broken)?;
        let body = body.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(Error::Refused(
            serde_json::from_slice(&body).unwrap_or_else(|_| {
                let title = status
                    .canonical_reason()
                    .unwrap_or("the request was refused");
                Problem::new(status.as_u16(), title, "")
            }),
        ))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable(socket, error) => {
                let socket = socket.display();
                match error.kind() {
                    io::ErrorKind::NotFound => write!(
                        f,
                        "there is no socket {socket}; is weird running, and is this its \
                         control.socket? Another is given by --socket"
                    ),
                    io::ErrorKind::ConnectionRefused => {
                        write!(f, "nobody listens at {socket}; start weird")
                    }
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "no permission for {socket}; run weir as root or as a member of the \
                         socket's group"
                    ),
                    _ => write!(f, "cannot connect to {socket}: {error}"),
                }
            }
            Error::Broken(socket, error) => write!(
                f,
                "the daemon at {} did not answer as weird would ({error}); look at its log",
                socket.display()
            ),
            Error::Own(error) => write!(f, "cannot start: {error}"),
            Error::Slow(socket) => write!(
                f,
                "no answer from {} within {} s; look at weird's log",
                socket.display(),
                PATIENCE.as_secs()
            ),
            Error::Refused(problem) => write!(f, "{problem}"),
            Error::Unreadable(path, error) => {
                write!(f, "{} cannot be read: {error}", path.display())
            }
            Error::Faults(faults) => write!(f, "the file has faults\n{faults}"),
            Error::Empty => f.write_str("the answer is empty"),
            Error::NotUnderstood(error) => write!(
                f,
                "the answer is not understood ({error}); are weir and weird of one version?"
            ),
        }
    }
}
