//! Safe faces on `dpdk-sys`: all `unsafe` of the data plane is here.
//!
//! In the order of a start-up:
//!
//! 1. [`Eal::init`] starts DPDK's environment, once per process.
//! 2. [`Ports::bring_up`] finds the devices, makes the frame pool that fits them, starts them, and
//!    gives one [`QueueSet`] per worker.
//! 3. A worker registers its thread ([`Eal::register_thread`]) and moves [`Mbuf`]s through its
//!    `QueueSet`, which implements [`weir_core::io::PacketIo`].
//!
//! Who keeps what alive: a `QueueSet` keeps its ports open, a port keeps the pool, the pool keeps
//! EAL. A frame is one pointer and keeps nothing, so the pool counts: while a frame is out when
//! everything else is gone, its memory stays mapped for the rest of the process.

mod affinity;
mod capture;
mod device;
mod eal;
mod error;
mod frames;
mod log;
mod mbuf;
mod pool;
mod port;
mod ports;
mod queue;
mod rss;
mod runtime_dir;

pub use eal::{Eal, EalConfig, RegisteredThread, version};
pub use error::{EalError, PortError};
pub use frames::Frames;
pub use mbuf::Mbuf;
pub use pool::PoolUsage;
pub use port::{Link, Port, PortConfig, PortInfo, PortStats};
pub use ports::Ports;
pub use queue::QueueSet;
pub use rss::Rss;
