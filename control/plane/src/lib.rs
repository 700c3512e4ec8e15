//! The control plane: wanted state, Linux's network, metrics, API.
#![deny(unsafe_code)]

pub mod compile;
pub mod devices;
pub mod difference;
mod door;
pub mod drops;
pub mod host;
pub mod http;
pub mod metrics;
pub mod publish;
pub mod reload;
pub mod run;
pub mod slots;
pub mod state;
#[cfg(test)]
mod testing;
pub mod totals;
mod views;
