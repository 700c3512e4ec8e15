//! Keeps programs from the host's own IPVS: they were started to drive the director.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::next::{Next, at_load, fail};
use crate::nl;

/// `IP_VS_BASE_CTL` to `IP_VS_SO_SET_MAX` and `IP_VS_SO_GET_MAX`.
const IPVS_OPTIONS: std::ops::RangeInclusive<c_int> = 1152..=1167;

static GETSOCKOPT: Next = Next::of(c"getsockopt");
static SETSOCKOPT: Next = Next::of(c"setsockopt");
static EXECV: Next = Next::of(c"execv");
at_load!(GETSOCKOPT SETSOCKOPT EXECV);

fn is_ipvs(level: c_int, option: c_int) -> bool {
    level == libc::SOL_IP && IPVS_OPTIONS.contains(&option)
}

/// The C library's function, for which there is no IPVS.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    socket: c_int,
    level: c_int,
    option: c_int,
    value: *mut c_void,
    length: *mut libc::socklen_t,
) -> c_int {
    type Get =
        unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void, *mut libc::socklen_t) -> c_int;
    if is_ipvs(level, option) {
        return fail(libc::ENOPROTOOPT);
    }
    // SAFETY: that is its type in sys/socket.h, and what we were given goes on as it is.
    unsafe {
        match GETSOCKOPT.get::<Get>() {
            Some(get) => get(socket, level, option, value, length),
            None => fail(libc::ENOSYS),
        }
    }
}

/// The C library's function, for which there is no IPVS.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    socket: c_int,
    level: c_int,
    option: c_int,
    value: *const c_void,
    length: libc::socklen_t,
) -> c_int {
    type Set = unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, libc::socklen_t) -> c_int;
    if is_ipvs(level, option) {
        return fail(libc::ENOPROTOOPT);
    }
    // SAFETY: that is its type in sys/socket.h, and what we were given goes on as it is.
    unsafe {
        match SETSOCKOPT.get::<Set>() {
            Some(set) => set(socket, level, option, value, length),
            None => fail(libc::ENOSYS),
        }
    }
}

/// The C library's function, which does not load `ip_vs`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int {
    type Execute = unsafe extern "C" fn(*const c_char, *const *const c_char) -> c_int;
    // SAFETY: the path ends with a NUL, the arguments with a null, each of them with a NUL.
    if unsafe { loads_ipvs(path, arguments) } {
        return fail(libc::ENOENT);
    }
    // SAFETY: that is its type in unistd.h, and what we were given goes on as it is.
    unsafe {
        match EXECV.get::<Execute>() {
            Some(execute) => execute(path, arguments),
            None => fail(libc::ENOSYS),
        }
    }
}

/// # Safety
/// `path` is null or ends with a NUL; `arguments` is null or ends with a null, and each of them with a
/// NUL.
unsafe fn loads_ipvs(path: *const c_char, arguments: *const *const c_char) -> bool {
    if path.is_null() || arguments.is_null() {
        return false;
    }
    // Nothing here allocates: the caller may be the child of a process with threads.
    // SAFETY: it ends with a NUL.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if !path.ends_with(b"modprobe") {
        return false;
    }
    let mut at = arguments;
    // SAFETY: up to the null all of them are there, and end with a NUL.
    unsafe {
        while !(*at).is_null() {
            if nl::is(*at, c"ip_vs") {
                return true;
            }
            at = at.add(1);
        }
    }
    false
}
