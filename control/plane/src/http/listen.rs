//! Where the API and the metrics page are served.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why it cannot be served there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A live daemon answers.
    #[error(
        "control.socket {}: another weird answers there; stop it, or give this one its own \
         control.socket", path.display()
    )]
    SocketInUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path is something else.
    #[error("control.socket {}: there is a file that is no socket; remove it or give another path",
        path.display())]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("control.socket {}: {cause}; check its directory and this user's rights", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Another process listens there.
    #[error(
        "{key} {address}: another process listens there; stop it, or give another \
         address or false (who it is: ss -ltnp)"
    )]
    AddressInUse {
        /// The key that gave the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// No interface has the address.
    #[error("{key} {address}: no interface has this address; give one of this machine's")]
    NotOurAddress {
        /// The key that gave the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The system does not let us.
    #[error("{key} {address}: {cause}; give another address or false")]
    Address {
        /// The key that gave the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
}

/// The control socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ControlSocket {
    /// Listens at `path`, where the file gets this `mode`. The socket of a daemon that died is
    /// replaced.
    ///
    /// # Errors
    /// A sentence with the cure, such as when a live daemon has it.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let failed = |cause| ListenError::Socket {
            path: path.to_owned(),
            cause,
        };
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self {
            path: path.to_owned(),
            listener,
        };
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(failed)?;
        socket.listener.set_nonblocking(true).map_err(failed)?;
        Ok(socket)
    }

    /// To be served by tokio; the file stays this value's.
    pub(crate) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It may have been removed by hand; there is nobody to tell either way.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let path_of = || path.to_owned();
    let failed = |cause| ListenError::Socket {
        path: path_of(),
        cause,
    };
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::SocketInUse { path: path_of() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            use std::os::unix::fs::FileTypeExt as _;
            let file = std::fs::symlink_metadata(path).map_err(failed)?;
            if !file.file_type().is_socket() {
                return Err(ListenError::NotASocket { path: path_of() });
            }
            std::fs::remove_file(path).map_err(failed)
        }
        Err(cause) => Err(failed(cause)),
    }
}

/// Where the metrics page is served.
#[derive(Debug)]
pub struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Listens at `address`.
    ///
    /// # Errors
    /// A sentence with the cure.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        bind("metrics.listen", address).map(Self)
    }

    /// Where it is, with the port that the system chose if none was given.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn into_listener(self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.0)
    }
}

/// Listens at the address that `key` gave.
pub(super) fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => ListenError::AddressInUse { key, address },
        ErrorKind::AddrNotAvailable => ListenError::NotOurAddress { key, address },
        _ => ListenError::Address {
            key,
            address,
            cause,
        },
    })
}
