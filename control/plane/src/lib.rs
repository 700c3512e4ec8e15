//! The control plane: wanted state, Linux's network, metrics, API. It never makes a worker wait.
//!
//! Two threads. *Control* is a tokio runtime on the main thread: [`run::run`] owns the one
//! [`state::State`]; signals, timers and Linux's changes come to it, and the tasks that serve HTTP
//! ask it through a door. *Twins* ([`host::pump`]) moves packets between workers and Linux.
//!
//! From a file to the workers:
//!
//! 1. [`reload`] reads it and has `weir-model` check it whole;
//! 2. [`difference`] says in words what changes;
//! 3. [`compile`] makes the workers' services of it; [`slots`] keeps each server's place and counters;
//! 4. [`host`] adds what Linux knows of addresses, routes and neighbours;
//! 5. [`weir_worker::publish`] hands a snapshot to all workers, and frees the old when the last let go.
//!
//! A change at run time ([`change`], which the API makes of JSON by a [`draft`]) goes the same way from 2 on; [`kept`] has it there after a restart,
//! and [`merge`] says who wins when the file changed meanwhile.
//!
//! Back from the workers come counters ([`totals`], [`metrics`]), samples ([`drops`]) and flows.
#![deny(unsafe_code)]

pub mod change;
pub mod compile;
pub mod devices;
pub mod difference;
mod door;
pub mod draft;
pub mod drain;
pub mod drops;
pub mod host;
pub mod http;
pub mod ipvs;
pub mod kept;
mod local;
pub mod merge;
pub mod metrics;
pub mod pulse;
pub mod reload;
pub mod run;
pub mod slots;
pub mod state;
mod templates;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod totals;
mod touched;
mod views;
