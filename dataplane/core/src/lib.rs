//! The director without NIC, clock or thread: everything that decides.
//!
//! A packet's way, stage by stage over a burst ([`director::Director::process`]):
//!
//! 1. parse and 2. classify (`classify.rs`): bytes to headers; what is not for a flow is decided;
//! 3. look up (`track.rs`, [`flow::table`]): headers to flow, or a miss;
//! 4. schedule and track (`track.rs`, [`schedule`]): a miss becomes a flow, states move on;
//! 5. rewrite, next hop and out (`forward/`, [`next_hop`]), through [`io::Outlet`].
//!
//! Every packet ends in one of four ways: forwarded, given to Linux, handed to the worker that owns
//! its flow, or dropped under one [`counters::DropReason`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "testing"))]
extern crate std;

mod classify;
pub mod counters;
pub mod director;
pub mod flow;
mod forward;
pub mod io;
mod limiter;
pub mod next_hop;
mod note;
pub mod schedule;
pub mod service;
pub mod snapshot;
pub mod steer;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
mod track;
