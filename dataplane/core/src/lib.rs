//! The director without NIC, clock or thread: everything that decides.
//!
//! A packet's way, stage by stage over a burst ([`director::Director::process`]):
//!
//! 1. bytes to a flow's key (`plain.rs`; `classify.rs` for what is not plain), whose line is asked for;
//! 2. key to flow ([`flow::table`]); what the flow leads to is asked for;
//! 3. in the order of arrival: the flow's state moves on, the packet is rewritten and leaves
//!    (`plain.rs`). Without flow, or not plain: a miss becomes a flow (`track.rs`, [`schedule`]), and
//!    the packet leaves by `forward/`, [`next_hop`] and [`io::Outlet`].
//!
//! Every packet ends in one of four ways: forwarded, given to Linux, handed to the worker that owns
//! its flow, or dropped under one [`counters::DropReason`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "testing", weir_loom))]
extern crate std;

mod bypass;
mod classify;
pub mod counters;
mod defence;
pub mod director;
mod drain;
pub mod flow;
mod forward;
mod ftp;
mod gather;
pub mod io;
mod ipsec;
mod limiter;
pub mod load;
pub mod local;
pub mod mark;
pub mod next_hop;
mod note;
mod open;
mod overflow;
mod own;
pub mod persist;
mod plain;
mod reassemble;
mod reuse;
pub mod schedule;
pub mod service;
pub mod settings;
pub mod snapshot;
pub mod steer;
pub mod sync;
#[cfg(any(test, feature = "testing", weir_loom))]
pub mod testing;
pub mod time;
mod track;
