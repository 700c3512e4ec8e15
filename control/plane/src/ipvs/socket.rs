//! The sockets that IPVS's clients come in by. A path tells them, so a client in another network
//! namespace finds them too.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::geteuid;

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IpvsListenError {
    /// A live daemon answers.
    #[error(
        "control.{key} {}: another weird answers there; stop it, or give this one its own, or false",
        path.display()
    )]
    InUse {
        /// The key in the configuration.
        key: &'static str,
        /// The socket's path.
        path: PathBuf,
    },
    /// The path is something else.
    #[error("control.{key} {}: there is a file that is no socket; remove it or give another path",
        path.display())]
    NotASocket {
        /// The key in the configuration.
        key: &'static str,
        /// The socket's path.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("control.{key} {}: {cause}; check its directory and this user's rights", path.display())]
    System {
        /// The key in the configuration.
        key: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Where netlink's messages come in, one datagram a packet.
#[derive(Debug)]
pub struct IpvsSocket(Listening);

/// Where the texts are read.
#[derive(Debug)]
pub struct ProcSocket(Listening);

impl IpvsSocket {
    /// Listens at `path`; only this user and root may connect.
    ///
    /// # Errors
    /// A sentence with the cure.
    pub fn bind(path: &Path) -> Result<Self, IpvsListenError> {
        Listening::bind("ipvs_socket", path, SocketType::SEQPACKET).map(Self)
    }

    pub(crate) fn into_inner(self) -> Listening {
        self.0
    }
}

impl ProcSocket {
    /// Listens at `path`; only this user and root may connect.
    ///
    /// # Errors
    /// A sentence with the cure.
    pub fn bind(path: &Path) -> Result<Self, IpvsListenError> {
        Listening::bind("ipvs_proc_socket", path, SocketType::STREAM).map(Self)
    }

    pub(crate) fn into_inner(self) -> Listening {
        self.0
    }
}

/// A socket that does not block. Its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    path: PathBuf,
    socket: OwnedFd,
}

impl Listening {
    fn bind(key: &'static str, path: &Path, kind: SocketType) -> Result<Self, IpvsListenError> {
        let failed = |cause: io::Error| IpvsListenError::System {
            key,
            path: path.to_owned(),
            cause,
        };
        let address = SocketAddrUnix::new(path).map_err(|error| failed(error.into()))?;
        remove_stale(key, path, &address, kind)?;
        let socket = new(kind).map_err(|error| failed(error.into()))?;
        // The file is made with the socket's own mode: it is never open to others, not for a moment.
        let private = Mode::RUSR | Mode::WUSR;
        rustix::fs::fchmod(&socket, private).map_err(|error| failed(error.into()))?;
        rustix::net::bind(&socket, &address).map_err(|error| failed(error.into()))?;
        let listening = Self {
            path: path.to_owned(),
            socket,
        };
        rustix::net::listen(&listening.socket, BACKLOG).map_err(|error| failed(error.into()))?;
        Ok(listening)
    }

    /// To be served by tokio, which treats packets as it treats bytes: it waits, and we receive.
    pub(crate) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let socket = self.socket.try_clone()?;
        tokio::net::UnixListener::from_std(socket.into())
    }
}

/// True when who is at the other end may control the director.
pub(crate) fn may_connect(connection: &tokio::net::UnixStream) -> io::Result<bool> {
    let peer = connection.peer_cred()?.uid();
    Ok(peer == 0 || peer == geteuid().as_raw())
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have been removed by hand; there is nobody to tell either way.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn new(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// Removes the socket of a daemon that died.
fn remove_stale(
    key: &'static str,
    path: &Path,
    address: &SocketAddrUnix,
    kind: SocketType,
) -> Result<(), IpvsListenError> {
    let failed = |cause: io::Error| IpvsListenError::System {
        key,
        path: path.to_owned(),
        cause,
    };
    let probe = new(kind).map_err(|error| failed(error.into()))?;
    match rustix::net::connect(&probe, address) {
        // Its queue is full, or it is of the other kind; it lives.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(IpvsListenError::InUse {
            key,
            path: path.to_owned(),
        }),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::CONNREFUSED) => {
            use std::os::unix::fs::FileTypeExt as _;
            let file = std::fs::symlink_metadata(path).map_err(failed)?;
            if !file.file_type().is_socket() {
                return Err(IpvsListenError::NotASocket {
                    key,
                    path: path.to_owned(),
                });
            }
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error.into())),
    }
}
