//! One change of a director, and how it is asked for.

use weir_ipvs::client::{Failure, Request};
use weir_ipvs::{Daemon, DaemonState, Server, ServerKey, Service, ServiceKey, Timeouts};

/// The number of an error, as the kernel would give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Errno(1);
    /// No such scheduler, persistence engine or server.
    pub const ENOENT: Self = Errno(2);
    /// No such service or daemon.
    pub const ESRCH: Self = Errno(3);
    /// It is there already.
    pub const EEXIST: Self = Errno(17);
    /// Broken pipe: who should answer is gone.
    const EPIPE: Self = Errno(32);
    /// Protocol error: the answer makes no sense.
    const EPROTO: Self = Errno(71);
}

impl From<Failure> for Errno {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(errno) => Errno(errno.number()),
            Failure::RefusedAs(number) => Errno(number),
            Failure::Io(error) => error.raw_os_error().map_or(Errno::EPIPE, Errno),
            Failure::Broken => Errno::EPROTO,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `-A`
    AddService(Service),
    /// `-E`
    EditService(Service),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-C`
    Flush,
    /// `-Z`
    Zero(Option<ServiceKey>),
    /// `-a`
    AddServer(ServiceKey, Server),
    /// `-e`
    EditServer(ServiceKey, Server),
    /// `-d`
    DeleteServer(ServiceKey, ServerKey),
    /// `--set`; 0 leaves one as it is.
    SetTimeouts(Timeouts),
    /// `--start-daemon`
    StartDaemon(Daemon),
    /// `--stop-daemon`
    StopDaemon(DaemonState),
}

impl Change {
    /// As the director is asked for it.
    #[must_use]
    pub fn request(&self) -> Request {
        match self {
            Change::AddService(service) => Request::add_service(service),
            Change::EditService(service) => Request::edit_service(service),
            Change::DeleteService(key) => Request::remove_service(key),
            Change::Flush => Request::flush(),
            Change::Zero(key) => Request::zero(key.as_ref()),
            Change::AddServer(key, server) => Request::add_server(key, server),
            Change::EditServer(key, server) => Request::edit_server(key, server),
            Change::DeleteServer(key, server) => Request::remove_server(key, server),
            Change::SetTimeouts(timeouts) => Request::set_timeouts(*timeouts),
            Change::StartDaemon(daemon) => Request::start_daemon(daemon),
            Change::StopDaemon(state) => Request::stop_daemon(*state),
        }
    }
}
