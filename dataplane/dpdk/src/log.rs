//! DPDK's log: kept for our error messages, else handed to `tracing` under the target `dpdk`.
//!
//! An operator who mistypes a device shall read one sentence of ours, with DPDK's reason in it,
//! and not ten lines of EAL. So while a call is [`record`]ed its lines are kept for that sentence
//! (and shown at level debug only); at all other times warnings and errors are shown as such.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use dpdk_sys as ffi;

/// Lines kept of one call; the last ones are those that say why it failed.
const LINES_MAX: usize = 16;

/// What the recorded call has logged as a warning or worse, or none when nothing is recorded.
static RECORD: Mutex<Option<VecDeque<String>>> = Mutex::new(None);

/// Where a panic of DPDK is written even while standard error is captured.
static STDERR: AtomicI32 = AtomicI32::new(libc::STDERR_FILENO);

/// Takes over DPDK's log; called once, before EAL starts.
pub(crate) fn take_over() -> std::io::Result<()> {
    // SAFETY: `receive` has the signature of a sink and may be called from any thread at any time.
    match unsafe { ffi::shim_log_to(Some(receive)) } {
        0 => Ok(()),
        code => Err(std::io::Error::from_raw_os_error(-code)),
    }
}

/// Runs `call` and returns with its result what DPDK logged meanwhile as a warning or worse.
pub(crate) fn record<R>(call: impl FnOnce() -> R) -> (R, Vec<String>) {
    *lock() = Some(VecDeque::new());
    let result = call();
    let lines = lock().take().unwrap_or_default();
    (result, lines.into())
}

/// Names the file that is the real standard error while descriptor 2 is something else.
pub(crate) fn set_stderr(file: c_int) {
    STDERR.store(file, Ordering::Relaxed);
}

fn lock() -> std::sync::MutexGuard<'static, Option<VecDeque<String>>> {
    // A line more or less is no reason to stop: a poisoned lock is used as it is.
    RECORD
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

unsafe extern "C" fn receive(level: u32, text: *const c_char, length: usize) {
    // SAFETY: the C side passes the bytes that stdio gives it: `length` readable bytes that do not
    // change before this function returns.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    if level <= ffi::RTE_LOG_CRIT {
        // rte_panic logs, then aborts the process: nobody would read a recorded line.
        // SAFETY: the buffer is valid for `length` bytes; a bad descriptor is an error, not harm.
        unsafe { libc::write(STDERR.load(Ordering::Relaxed), text.cast(), length) };
    }
    for line in String::from_utf8_lossy(bytes)
        .lines()
        .filter(|line| !line.is_empty())
    {
        keep_or_show(level, line);
    }
}

fn keep_or_show(level: u32, line: &str) {
    let mut record = lock();
    if let Some(lines) = record.as_mut() {
        if level <= ffi::RTE_LOG_WARNING {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line.to_string());
        }
        drop(record);
        tracing::debug!(target: "dpdk", "{line}");
        return;
    }
    drop(record);
    match level {
        0..=ffi::RTE_LOG_ERR => tracing::error!(target: "dpdk", "{line}"),
        ffi::RTE_LOG_WARNING => tracing::warn!(target: "dpdk", "{line}"),
        _ => tracing::debug!(target: "dpdk", "{line}"),
    }
}
