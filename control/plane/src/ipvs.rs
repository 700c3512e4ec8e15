//! The door by which `ipvsadm` and `keepalived` drive the director as if it were the kernel's: the
//! generic netlink family IPVS, one netlink datagram a packet on a local socket, and the texts of
//! `/proc/net/ip_vs` and its neighbours on another.
//!
//! | module | what it does |
//! |---|---|
//! | [`table`] | answers for the [`State`](crate::state::State), as [`weir_ipvs::Table`] |
//! | `batch` | many changes at one moment |
//! | [`words`] | both vocabularies, one into the other |
//! | [`socket`] | the sockets |
//! | `serve` | who comes in by them |
//! | `texts` | the texts |

mod batch;
pub(crate) mod serve;
pub mod socket;
pub mod table;
pub(crate) mod texts;
pub mod words;

pub use socket::{IpvsSocket, ProcSocket};
