//! The nouns as the operator knows them: the configuration file, what is wrong with it, and the
//! bodies of the local API.
//!
//! Nothing here does I/O. [`parse`] turns the text of a file into a [`ConfigFile`], or into every
//! [`Fault`] it has at once; a [`Config`] therefore exists only if it is valid. What only the
//! machine can tell is given as [`MachineFacts`].
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the file as a whole: [`parse`], [`Config`], [`ConfigFile`] |
//! | [`runtime`] | `[eal]` and `[workers]` |
//! | [`ipvs`] | `[ipvs]`: the kernel's switches |
//! | [`limits`] | `[limits]`, `[timeouts]` and `[settings]` |
//! | [`operation`] | `[metrics]`, `[control]` and `[log]` |
//! | [`network`] | `[[port]]`, `[[route]]` and `[[neighbour]]` |
//! | [`mark`] | `[[mark]]`: which packets carry which mark |
//! | [`service`] | `[[service]]` and `[[service.server]]` |
//! | [`change`] | changes at run time, without a file |
//! | [`machine`] | what a machine must have for a configuration |
//! | [`reload`] | what a reload cannot change |
//! | [`body`] | bodies of changes at run time: read from JSON by the rules of the file |
//! | [`fault`] | one thing that is wrong, with its place and its cure |
//! | [`api`] | JSON bodies of the local API |

#![forbid(unsafe_code)]

pub mod api;
pub mod body;
pub mod change;
pub mod config;
pub mod fault;
pub mod ipvs;
pub mod limits;
pub mod machine;
pub mod mark;
pub mod network;
pub mod operation;
pub mod reload;
pub mod runtime;
pub mod service;

mod pieces;
mod reader;
mod validate;

pub use change::{ChangeFault, Changeable, Operation, Planned, Rules, Wanted};
pub use config::{Config, ConfigFile, Part, parse, parse_part};
pub use fault::{Fault, Faults, FieldFault};
pub use ipvs::Ipvs;
pub use limits::{Limits, Settings, Timeouts};
pub use machine::MachineFacts;
pub use mark::MarkRule;
pub use network::{Mac, Neighbour, Port, Route, Vlan};
pub use operation::{Control, Log, LogLevel, Metrics, Remote};
pub use reload::restart_needed;
pub use runtime::{Eal, Idle, Workers};
pub use service::{
    Family, Method, PersistenceEngine, PersistenceMask, PortRange, Protocol, SchedulerFlag,
    SchedulerFlags, SchedulerName, Server, ServerKey, Service, ServiceKey, TunnelChecksum,
    TunnelKind,
};
