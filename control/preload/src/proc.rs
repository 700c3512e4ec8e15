//! The files of IPVS under `/proc/net`, which are read by `fopen`.

use std::ffi::{CStr, c_char};
use std::io::Write as _;
use std::os::fd::IntoRawFd as _;
use std::os::unix::net::UnixStream;

use crate::nl;
use crate::place::{PROC, patience};

type Open = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut libc::FILE;

/// The C library's function; `/proc/net/ip_vs` and its neighbours are the director's.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: what we were given goes on as it is.
    unsafe { open(c"fopen", path, mode) }
}

/// As [`fopen`].
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: what we were given goes on as it is.
    unsafe { open(c"fopen64", path, mode) }
}

/// # Safety
/// `function` is one of the two; path and mode end with a NUL.
unsafe fn open(function: &CStr, path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    if !path.is_null() {
        // SAFETY: it ends with a NUL.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        let name = path
            .strip_prefix(b"/proc/net/")
            .or(path.strip_prefix(b"/proc/self/net/"));
        if let Some(name) = name.filter(|name| name.starts_with(b"ip_vs")) {
            return read(name);
        }
    }
    // SAFETY: that is the type of both in stdio.h, and what we were given goes on as it is.
    unsafe {
        match nl::next::<Open>(function) {
            Some(open) => open(path, mode),
            None => std::ptr::null_mut(),
        }
    }
}

/// The director's text of this name, which is read as it comes.
fn read(name: &[u8]) -> *mut libc::FILE {
    let asked = PROC.connect_within(patience()).and_then(|socket| {
        let mut socket = UnixStream::from(socket);
        socket.write_all(name)?;
        socket.write_all(b"\n")?;
        Ok(socket)
    });
    match asked {
        // SAFETY: the descriptor is ours, and the file's from here on.
        Ok(socket) => unsafe { libc::fdopen(socket.into_raw_fd(), c"r".as_ptr()) },
        Err(error) => {
            PROC.tell(&error);
            // SAFETY: the place of errno is always there.
            unsafe { *libc::__errno_location() = libc::ENOENT };
            std::ptr::null_mut()
        }
    }
}
