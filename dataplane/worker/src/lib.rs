//! The worker: from burst to burst, for ever.
//!
//! Generic over [`weir_core::io::PacketIo`], so that it runs on DPDK's queues and on memory alike.
#![forbid(unsafe_code)]

pub mod handle;
pub mod rings;
