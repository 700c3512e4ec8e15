//! The API on TCP: TLS, and a token in each request.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use weir_model::Remote;
use weir_model::api::Problem;

use super::Failure;
use super::listen::{self, ListenError};

/// Least characters of a token: fewer can be guessed.
const TOKEN_MIN: usize = 16;

/// No token and no PEM file is longer.
const FILE_MAX: u64 = 1 << 20;

/// A file of `[control]` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("control.{key} {}: {problem}; {cure}", path.display())]
pub struct SecretError {
    key: &'static str,
    path: PathBuf,
    problem: String,
    cure: &'static str,
}

/// What the API on TCP is served with, read from its files.
#[derive(Clone)]
pub struct Secured {
    pub(crate) acceptor: TlsAcceptor,
    chain: Arc<[CertificateDer<'static>]>,
    token: Arc<[u8]>,
    address: SocketAddr,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Secured");
        shown
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Secured {
    /// Reads the files.
    ///
    /// # Errors
    /// The first that cannot be used, with the cure.
    pub fn read(remote: &Remote) -> Result<Self, SecretError> {
        let certificate = &remote.tls_certificate;
        let fault = |key, path: &Path, problem: String, cure| SecretError {
            key,
            path: path.to_owned(),
            problem,
            cure,
        };
        let text = read("tls_certificate", certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| {
                let cure = "give a PEM file, -----BEGIN CERTIFICATE-----";
                let problem = "there is no certificate in it".to_owned();
                fault("tls_certificate", certificate, problem, cure)
            })?;
        let shown: Arc<[_]> = chain.as_slice().into();
        let text = read_secret("tls_key", &remote.tls_key)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            let cure = "give a PEM file, -----BEGIN PRIVATE KEY-----";
            let problem = "there is no private key in it".to_owned();
            fault("tls_key", &remote.tls_key, problem, cure)
        })?;
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = versions.with_safe_default_protocol_versions();
        let config = config.and_then(|versions| {
            let no_client_auth = versions.with_no_client_auth();
            no_client_auth.with_single_cert(chain, key)
        });
        let mut config = config.map_err(|error| {
            let cure = "give the key of the first certificate in control.tls_certificate";
            fault("tls_key", &remote.tls_key, error.to_string(), cure)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            chain: shown,
            token: token(&remote.token_file)?,
            address: remote.listen,
        })
    }
}

/// What is served with now. A reload puts what the files say then in its place, for the connections and
/// requests that come later.
#[derive(Clone, Debug)]
pub(crate) struct InForce(Arc<RwLock<Secured>>);

impl InForce {
    pub(crate) fn new(secured: Secured) -> Self {
        Self(Arc::new(RwLock::new(secured)))
    }

    /// What new connections are served with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.read().acceptor.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Secured> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `secured` in its place. What is another, in words.
    pub(crate) fn replace(&self, secured: Secured) -> impl Iterator<Item = &'static str> {
        let (is_other, has_other_token) = {
            let held = self.read();
            (held.chain != secured.chain, held.token != secured.token)
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secured;
        let certificate = is_other.then_some("control: the API has another TLS certificate");
        let token = has_other_token.then_some("control: the API has another token");
        certificate.into_iter().chain(token)
    }

    /// Lets only those to `router` who have the token.
    pub(crate) fn guard(&self, router: Router) -> Router {
        let in_force = self.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let token = Arc::clone(&in_force.read().token);
            async move {
                match has_token(request.headers(), &token) {
                    true => next.run(request).await,
                    false => refused(),
                }
            }
        }))
    }
}

fn has_token(headers: &HeaderMap, token: &[u8]) -> bool {
    let given = headers.get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()));
    let Some((scheme, given)) = given else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token))
}

fn refused() -> Response {
    let detail = "give the token of control.token_file: Authorization: Bearer …";
    let mut response = Failure(Problem::new(401, "Unauthorized", detail)).into_response();
    let scheme = header::HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    response
}

fn token(path: &Path) -> Result<Arc<[u8]>, SecretError> {
    let text = read_secret("token_file", path)?;
    let token = text.split(|byte| *byte == b'\n').next();
    let token = token.unwrap_or_default().trim_ascii();
    let is_visible = token.iter().all(u8::is_ascii_graphic);
    if token.len() < TOKEN_MIN || !is_visible {
        return Err(SecretError {
            key: "token_file",
            path: path.to_owned(),
            problem: "its first line is no token".to_owned(),
            cure: "give 16 or more visible ASCII characters, such as openssl rand -hex 32 makes",
        });
    }
    Ok(token.into())
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, SecretError> {
    read_by(key, path, false)
}

/// Reads a file that others must not read.
fn read_secret(key: &'static str, path: &Path) -> Result<Vec<u8>, SecretError> {
    read_by(key, path, true)
}

fn read_by(key: &'static str, path: &Path, is_secret: bool) -> Result<Vec<u8>, SecretError> {
    let fault = |problem: String, cure| SecretError {
        key,
        path: path.to_owned(),
        problem,
        cure,
    };
    let unreadable = |error: io::Error| {
        let cure = match error.kind() {
            io::ErrorKind::NotFound => "make it, or give another path or control.listen = false",
            _ => "let the user of weird read it",
        };
        fault(error.to_string(), cure)
    };
    let file = File::open(path).map_err(unreadable)?;
    // Of what was opened, not of what the path may be by now.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if is_secret && mode & 0o007 != 0 {
        let problem = format!("others may use it (mode {:04o})", mode & 0o7777);
        return Err(fault(problem, "take that from them: chmod o= FILE"));
    }
    let mut text = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

/// Where the API is served on TCP.
#[derive(Debug)]
pub struct RemoteListener {
    listener: std::net::TcpListener,
    secured: Secured,
}

impl RemoteListener {
    /// Listens.
    ///
    /// # Errors
    /// A sentence with the cure.
    pub fn bind(secured: Secured) -> Result<Self, ListenError> {
        let listener = listen::bind("control.listen", secured.address)?;
        Ok(Self { listener, secured })
    }

    /// Where it is, with the port that the system chose if none was given.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn into_parts(self) -> io::Result<(tokio::net::TcpListener, InForce)> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        Ok((listener, InForce::new(self.secured)))
    }
}
