//! Linux as the control plane of the network: a twin interface for each port, and what Linux knows
//! of addresses, routes and neighbours.

pub mod assemble;
pub mod follow;
pub mod house;
pub mod pump;
pub mod twin;

pub use assemble::{Interfaces, PortFacts, assemble};
pub use follow::{LinuxNetwork, Netlink};
pub use house::Host;
pub use pump::{Pump, TwinCounters, doorbell};
pub use twin::{Twin, TwinError};
