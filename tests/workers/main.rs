//! Workers as a process runs them: each in its thread, over ports in memory, sharing what they share.
//!
//! Packets arrive at any worker, as a NIC without a fitting hash delivers them, so most are handed to
//! the flow's owner. `tests/sanitize/run` runs the same under the thread sanitiser.

mod counts;
mod linux;
mod listing;
mod losses;
mod network;
mod publishing;
mod replies;
mod running;
mod sequences;
mod stopping;
mod templates;
mod wire;

/// How many workers are tried.
const WORKERS: [u16; 4] = [1, 2, 3, 8];

/// How much of something a test does: less where every access to memory is checked.
fn amount(full: u32) -> u32 {
    let divisor = std::env::var("WEIR_STRESS_DIVISOR").ok();
    let divisor = divisor.and_then(|text| text.parse().ok()).unwrap_or(1);
    full.div_ceil(divisor)
}
