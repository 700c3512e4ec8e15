//! End to end: real curl, nginx, dig and dnsmasq through `weird` on `net_tap`.
//!
//! All tests share one lab, whose lock runs them one after the other, and each has a director of
//! its own, so each begins with empty tables and schedulers at their start.

mod api;
mod clusters;
mod director;
mod drain;
mod forwarding;
mod fragments;
mod ftp;
mod fullnat;
mod ipvs;
mod keepalived;
mod ldirectord;
mod network;
mod persistence;
mod several_workers;
mod transcript;
mod tunnel;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use weir_tests::Lab;

/// SHA-256 of the large body, which is the same sequence of numbers in every run.
const BODY_SHA256: &str = "8e749afb9b1b011ff6d0173b3cae911008833d5e25bfccfa7d31560f122ded88";

/// The lab of this run, for one test at a time. It is built by the first one; the reaper takes
/// it away after the last.
fn lab() -> MutexGuard<'static, Lab> {
    static LAB: OnceLock<Mutex<Lab>> = OnceLock::new();
    let lab = LAB.get_or_init(|| {
        Mutex::new(Lab::new().expect("the lab needs root and ./x test's packages"))
    });
    // A test that failed left nothing behind that the next one minds.
    lab.lock().unwrap_or_else(PoisonError::into_inner)
}
