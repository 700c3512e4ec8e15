//! The generic netlink family `IPVS`, by which `ipvsadm` and `keepalived` drive the kernel's director:
//! its messages both ways, and what answers them. Nothing here does I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`types`] | services, servers, timeouts, daemons, statistics |
//! | [`table`] | [`table::Table`]: what the requests are about, wherever it is kept |
//! | [`answer`](mod@answer) | a datagram of requests in, the datagrams of their replies out |
//! | [`batch`] | many changes at one moment, which is Weir's own |
//! | [`client`] | the other side: requests, and what replies tell |
//! | [`proc`] | the texts of `/proc/net/ip_vs` and its neighbours |
//! | [`tables`] | commands and attributes, by number, name and type |
//! | [`attribute`] | how such a table reads and writes |
//! | [`netlink`] | headers |
//! | [`errno`] | errors |
//!
//! What is told of the kernel was seen at a Debian kernel 6.1 with the stock programs; the recordings
//! are in `tests/data`.

#![forbid(unsafe_code)]

pub mod answer;
pub mod attribute;
pub mod batch;
pub mod client;
pub mod errno;
pub mod netlink;
pub mod proc;
pub mod table;
pub mod tables;
#[cfg(feature = "testing")]
pub mod testing;
pub mod types;

pub use answer::answer;
pub use errno::Errno;
pub use table::{Changes, ServerRow, Table};
pub use types::{
    Counts, Daemon, DaemonState, Family, Info, Netmask, Server, ServerKey, Service, ServiceKey,
    Stats, Timeouts, Tunnel,
};
