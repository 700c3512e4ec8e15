//! Standard output and error into memory, while EAL starts: it prints its manual of 80 lines for
//! any option it does not know, and getopt(3) names that option nowhere else.

use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Result, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use dpdk_sys as ffi;

use crate::log;

/// The two streams while they are captured.
pub(crate) struct Capture {
    text: File,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Capture {
    pub(crate) fn start() -> Result<Self> {
        // SAFETY: a C string and a known flag; returns a descriptor of ours or -1.
        let text = owned(unsafe { libc::memfd_create(c"eal".as_ptr(), libc::MFD_CLOEXEC) })?;
        let capture = Self {
            text: File::from(text),
            stdout: duplicate(libc::STDOUT_FILENO)?,
            stderr: duplicate(libc::STDERR_FILENO)?,
        };
        flush_stdio();
        log::set_stderr(capture.stderr.as_raw_fd());
        redirect(libc::STDOUT_FILENO, capture.text.as_raw_fd());
        redirect(libc::STDERR_FILENO, capture.text.as_raw_fd());
        Ok(capture)
    }

    /// Gives the streams back, and what was written to them.
    pub(crate) fn finish(mut self) -> String {
        flush_stdio();
        redirect(libc::STDOUT_FILENO, self.stdout.as_raw_fd());
        redirect(libc::STDERR_FILENO, self.stderr.as_raw_fd());
        log::set_stderr(libc::STDERR_FILENO);
        let mut bytes = Vec::new();
        // What cannot be read back is only lost as detail of an error message.
        let _ = self
            .text
            .rewind()
            .and_then(|()| self.text.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn duplicate(descriptor: c_int) -> Result<OwnedFd> {
    // SAFETY: returns a new descriptor of ours or -1.
    owned(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) })
}

fn owned(descriptor: c_int) -> Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the callers pass a descriptor that the system has just made for them.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn redirect(stream: c_int, to: c_int) {
    // SAFETY: both are open. Should it fail, the stream stays what it was.
    unsafe { libc::dup2(to, stream) };
}

fn flush_stdio() {
    // SAFETY: takes nothing; stdio locks its streams itself.
    unsafe { ffi::shim_flush_stdio() };
}
