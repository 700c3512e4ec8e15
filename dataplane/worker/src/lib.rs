//! The worker: from burst to burst, for ever.
//!
//! Generic over [`weir_core::io::PacketIo`], so that it runs on DPDK's queues and on memory alike.
//! [`worker`] has the loop, [`handle`] the door to control, [`publish`] what control does with it,
//! [`rings`] the ways to Linux; those to other workers are in `hand_off.rs`.
#![forbid(unsafe_code)]

mod clock;
mod hand_off;
pub mod handle;
mod idle;
mod outside;
pub mod publish;
pub mod rings;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod worker;

pub use clock::Clock;
#[cfg(any(test, feature = "testing"))]
pub use clock::Hand;
pub use hand_off::{HAND_OFF_RING, Peers, mesh};
pub use handle::Handle;
pub use idle::Idle;
pub use worker::{CannotPin, Config, Worker, pin};
