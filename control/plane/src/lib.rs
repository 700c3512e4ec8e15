//! The control plane: wanted state, Linux's network, metrics, API.
#![forbid(unsafe_code)]

pub mod compile;
pub mod publish;
pub mod slots;
#[cfg(test)]
mod testing;
pub mod totals;
