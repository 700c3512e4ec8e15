//! A clock of the guest's own.
//!
//! Until the guest makes a directory named `BEGIN` on the host's file system, time is the host's.
//! From then on it stands still while the guest works and leaps to the next timer when the guest
//! is idle. So an hour in the guest costs as much as the timers that end in it, and what the guest
//! does at a moment of its clock does not depend on how fast it was done: remaining lifetimes can be
//! compared to the tick. Linux has the like built in (`time-travel=inf-cpu`), which Debian's kernel
//! is built without.
//!
//! User-mode Linux asks the C library for time and timers, and has one timer; these are the functions
//! that stand here. It is one thread as far as they are concerned, so relaxed atomics do.

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use libc::{clockid_t, itimerspec, mode_t, sigset_t, timer_t, timespec};

/// The last part of the directory's name.
const BEGIN: &[u8] = b"/weir-the-clock-is-mine";

const NANOSECONDS: u64 = 1_000_000_000;

/// Bytes of a signal set as the host's kernel takes it.
const KERNEL_SIGSET: usize = 8;

static IS_OURS: AtomicBool = AtomicBool::new(false);
/// Nanoseconds, while the clock is ours.
static NOW: AtomicU64 = AtomicU64::new(0);
/// When the timer ends, 0 for never.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// In the place of the C library's.
///
/// # Safety
/// `path` is a string that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller promises a string.
    let name = unsafe { CStr::from_ptr(path) };
    if name.to_bytes().ends_with(BEGIN) && !IS_OURS.load(Relaxed) {
        NOW.store(host_now(libc::CLOCK_MONOTONIC), Relaxed);
        IS_OURS.store(true, Relaxed);
    }
    // SAFETY: mkdir(2) with the caller's arguments.
    unsafe { libc::syscall(libc::SYS_mkdir, path, mode) as c_int }
}

/// In the place of the C library's. Every clock is the monotonic one while the clock is ours.
///
/// # Safety
/// `time` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let now = if IS_OURS.load(Relaxed) {
        NOW.load(Relaxed)
    } else {
        host_now(clock)
    };
    // SAFETY: the caller promises room.
    unsafe { time.write(timespec_of(now)) };
    0
}

/// In the place of the C library's.
///
/// # Safety
/// `new` is valid, `old` is valid for a write or null, and the timer exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timer_settime(
    timer: timer_t,
    flags: c_int,
    new: *const itimerspec,
    old: *mut itimerspec,
) -> c_int {
    if !IS_OURS.load(Relaxed) {
        // SAFETY: timer_settime(2) with the caller's arguments.
        return unsafe {
            libc::syscall(libc::SYS_timer_settime, host_timer(timer), flags, new, old) as c_int
        };
    }
    // SAFETY: the caller promises that it is valid.
    let wanted = unsafe { (*new).it_value };
    let from_now = wanted.tv_sec as u64 * NANOSECONDS + wanted.tv_nsec as u64;
    let deadline = match from_now {
        0 => 0,
        _ => NOW.load(Relaxed) + from_now,
    };
    DEADLINE.store(deadline, Relaxed);
    0
}

/// In the place of the C library's.
///
/// # Safety
/// `left` is valid for a write, and the timer exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timer_gettime(timer: timer_t, left: *mut itimerspec) -> c_int {
    if !IS_OURS.load(Relaxed) {
        // SAFETY: timer_gettime(2) with the caller's arguments.
        return unsafe { libc::syscall(libc::SYS_timer_gettime, host_timer(timer), left) as c_int };
    }
    let remaining = match DEADLINE.load(Relaxed) {
        0 => 0,
        // At least one, because 0 says that the timer is not set.
        deadline => deadline.saturating_sub(NOW.load(Relaxed)).max(1),
    };
    // SAFETY: the caller promises room.
    unsafe {
        left.write(itimerspec {
            it_interval: timespec_of(0),
            it_value: timespec_of(remaining),
        });
    }
    0
}

/// In the place of the C library's: the kernel is idle and waits for a signal. While the clock is
/// ours the timer is the next one that comes.
///
/// # Safety
/// `mask` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigsuspend(mask: *const sigset_t) -> c_int {
    if IS_OURS.load(Relaxed) {
        let deadline = DEADLINE.swap(0, Relaxed);
        if deadline != 0 {
            NOW.fetch_max(deadline, Relaxed);
            // SAFETY: a signal to this process, which has it blocked until it waits, below.
            unsafe { libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGALRM) };
        }
    }
    // SAFETY: rt_sigsuspend(2) with the caller's mask, of which the host's kernel reads 8 bytes.
    unsafe { libc::syscall(libc::SYS_rt_sigsuspend, mask, KERNEL_SIGSET) as c_int }
}

fn host_now(clock: clockid_t) -> u64 {
    let mut time = timespec_of(0);
    // SAFETY: `time` is valid for a write.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    time.tv_sec as u64 * NANOSECONDS + time.tv_nsec as u64
}

fn timespec_of(nanoseconds: u64) -> timespec {
    timespec {
        tv_sec: (nanoseconds / NANOSECONDS) as i64,
        tv_nsec: (nanoseconds % NANOSECONDS) as i64,
    }
}

/// The host's number of a timer: the C library's `timer_t` is the number itself for timers that
/// send signals.
fn host_timer(timer: timer_t) -> usize {
    timer as usize
}
