//! Where the director's sockets are, and connecting to them.

use std::ffi::{CStr, OsStr};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a program waits for a director that is not there, but for `keepalived`.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// How long `keepalived` waits when it starts: without IPVS it ends, and VRRP with it.
const LONG: Duration = Duration::from_secs(10);

/// How long the director may take for a reply. `keepalived` waits with all that it does.
pub(crate) const REPLY: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(20);

/// One of the director's sockets.
pub(crate) struct Place {
    pub(crate) kind: libc::c_int,
    variable: &'static CStr,
    usual: &'static CStr,
}

/// For netlink's messages.
pub(crate) const NETLINK: Place = Place {
    kind: libc::SOCK_SEQPACKET,
    variable: c"WEIR_IPVS_SOCKET",
    usual: c"/run/weir/ipvs.sock",
};

/// For the texts of `/proc/net`.
pub(crate) const PROC: Place = Place {
    kind: libc::SOCK_STREAM,
    variable: c"WEIR_IPVS_PROC_SOCKET",
    usual: c"/run/weir/ipvs-proc.sock",
};

impl Place {
    fn path(&self) -> &CStr {
        unsafe extern "C" {
            fn secure_getenv(name: *const libc::c_char) -> *const libc::c_char;
        }
        // SAFETY: the name ends with a NUL, and nobody here changes the environment.
        let given = unsafe { secure_getenv(self.variable.as_ptr()) };
        if given.is_null() {
            return self.usual;
        }
        // SAFETY: the environment's values end with a NUL.
        unsafe { CStr::from_ptr(given) }
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let path = self.path().to_bytes_with_nul();
        // SAFETY: all zeros is an address of no family.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        if path.len() > address.sun_path.len() {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        for (to, from) in address.sun_path.iter_mut().zip(path) {
            *to = from.cast_signed();
        }
        // SAFETY: no pointer is given.
        let socket = unsafe { libc::socket(libc::AF_UNIX, self.kind | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just opened, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is there, and as long as is said.
        let connected =
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
        match connected {
            0 => Ok(socket),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Connects, and tries again for so long.
    pub(crate) fn connect_within(&self, patience: Duration) -> io::Result<OwnedFd> {
        let begun = Instant::now();
        loop {
            match self.connect() {
                Err(_) if begun.elapsed() < patience => sleep(PAUSE),
                result => return result,
            }
        }
    }

    /// Tells once, in a line, that the director does not answer.
    pub(crate) fn tell(&self, error: &io::Error) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::Relaxed) {
            let path = OsStr::from_bytes(self.path().to_bytes()).display();
            let line = format!("libweir-ipvs: weird does not answer at {path}: {error}\n");
            // Standard error may be closed.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// How long this program waits for the director when it first asks for it.
pub(crate) fn patience() -> Duration {
    unsafe extern "C" {
        static program_invocation_short_name: *const libc::c_char;
    }
    // SAFETY: the C library sets it before main, to text that ends with a NUL.
    let name = unsafe { program_invocation_short_name };
    // SAFETY: as above.
    match unsafe { crate::nl::is(name, c"keepalived") } {
        true => LONG,
        false => SHORT,
    }
}
