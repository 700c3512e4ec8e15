//! The directory EAL keeps its files in: `/var/run/dpdk/PREFIX`, elsewhere when not root.
//!
//! DPDK 22.11 leaves it behind, with `config` and the `fbarray_*` files inside, even after
//! `rte_eal_cleanup`; a director that made it removes it.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use dpdk_sys as ffi;

/// The directory of this process, once EAL has read its arguments.
pub(crate) fn find() -> Option<PathBuf> {
    // SAFETY: takes nothing; returns null or a string in static memory that EAL wrote while it
    // read its arguments and never writes again.
    let text = unsafe {
        let text = ffi::rte_eal_get_runtime_dir();
        if text.is_null() {
            None
        } else {
            Some(CStr::from_ptr(text))
        }
    };
    let path = PathBuf::from(text?.to_str().ok()?);
    // The last part is the file prefix; without a parent named `dpdk` it is not EAL's directory.
    (path.parent()?.file_name()? == "dpdk").then_some(path)
}

/// Whether another process has its EAL files there.
///
/// EAL's primary process holds an `fcntl` lock on `config`. Asking closes a descriptor of that
/// file, which gives up our own lock (fcntl(2)): only ask when EAL is gone or will not start.
pub(crate) fn is_in_use_by_another(dir: &Path) -> bool {
    let Ok(config) = File::options()
        .read(true)
        .write(true)
        .open(dir.join("config"))
    else {
        return false;
    };
    // SAFETY: `flock` is plain integers, for which all zeroes is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and F_GETLK takes a pointer to a flock, which is ours.
    let result = unsafe { libc::fcntl(config.as_raw_fd(), libc::F_GETLK, &mut lock) };
    result == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
}

/// Removes the directory and what EAL left in it, unless another process uses it.
pub(crate) fn remove(dir: &Path) {
    if is_in_use_by_another(dir) {
        return;
    }
    if let Err(error) = std::fs::remove_dir_all(dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!("{}: not removed: {error}", dir.display());
    }
}
