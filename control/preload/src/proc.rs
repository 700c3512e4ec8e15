//! The files of IPVS under `/proc/net`, and `fopen`, which reads one as it comes.

use std::ffi::{CStr, c_char, c_int};
use std::io::{self, Write as _};
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::next::{Next, at_load, set_errno};
use crate::place::{PROC, REPLY, patience};

type Fopen = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut libc::FILE;

/// Where the kernel has them: `/proc/net` is a link to the second, and the third is the same of the
/// calling thread.
const DIRECTORIES: [&str; 3] = ["/proc/net/", "/proc/self/net/", "/proc/thread-self/net/"];

/// Their names.
const NAMES: [&str; 5] = [
    "ip_vs",
    "ip_vs_conn",
    "ip_vs_conn_sync",
    "ip_vs_stats",
    "ip_vs_stats_percpu",
];

static FOPEN: Next = Next::of(c"fopen");
static FOPEN64: Next = Next::of(c"fopen64");
at_load!(FOPEN FOPEN64);

/// The name of the text that is at `path`; none of any other path.
///
/// # Safety
/// `path` is null or ends with a NUL.
pub(crate) unsafe fn name(path: *const c_char) -> Option<&'static str> {
    if path.is_null() {
        return None;
    }
    // SAFETY: it ends with a NUL.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let mut directories = DIRECTORIES.iter();
    let name = directories.find_map(|directory| path.strip_prefix(directory.as_bytes()))?;
    NAMES.into_iter().find(|known| known.as_bytes() == name)
}

/// A socket with the director's text of this name; else an errno, and a line that tells of it.
pub(crate) fn ask(name: &str) -> Result<OwnedFd, c_int> {
    let asked = PROC.connect_within(patience()).and_then(|socket| {
        let mut socket = UnixStream::from(socket);
        socket.set_read_timeout(Some(REPLY))?;
        socket.write_all(name.as_bytes())?;
        socket.write_all(b"\n")?;
        Ok(socket)
    });
    match asked {
        Ok(socket) => Ok(socket.into()),
        Err(error) => {
            PROC.tell(&error);
            Err(errno_of(&error))
        }
    }
}

/// As if the file were not there, unless the program has no room for one more.
fn errno_of(error: &io::Error) -> c_int {
    match error.raw_os_error() {
        Some(number @ (libc::EMFILE | libc::ENFILE)) => number,
        _ => libc::ENOENT,
    }
}

/// The C library's function; the texts of IPVS are the director's.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: what we were given goes on as it is.
    unsafe { open(&FOPEN, path, mode) }
}

/// As [`fopen`].
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: what we were given goes on as it is.
    unsafe { open(&FOPEN64, path, mode) }
}

/// True for a mode that asks for no more than reading.
///
/// # Safety
/// `mode` is null or ends with a NUL.
unsafe fn is_read(mode: *const c_char) -> bool {
    if mode.is_null() {
        return false;
    }
    // SAFETY: it ends with a NUL.
    let mode = unsafe { CStr::from_ptr(mode) }.to_bytes();
    mode.starts_with(b"r") && !mode.contains(&b'+')
}

/// # Safety
/// `function` is one of the two; path and mode end with a NUL.
unsafe fn open(function: &Next, path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: they end with a NUL.
    let name = unsafe { name(path).filter(|_| is_read(mode)) };
    if let Some(name) = name {
        return match ask(name) {
            // SAFETY: the descriptor is ours, and the file's from here on.
            Ok(socket) => unsafe { libc::fdopen(socket.into_raw_fd(), c"r".as_ptr()) },
            Err(errno) => {
                set_errno(errno);
                std::ptr::null_mut()
            }
        };
    }
    // SAFETY: that is the type of both in stdio.h, and what we were given goes on as it is.
    unsafe {
        match function.get::<Fopen>() {
            Some(open) => open(path, mode),
            None => std::ptr::null_mut(),
        }
    }
}
