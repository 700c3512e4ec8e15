//! Memory as the packet path wants it: tables in huge pages, and lines fetched before their use.
//!
//! Both need `unsafe`, and `weir-core` forbids it: so it is here, in two small files, and the rest
//! of the packet path stays free of it.
#![no_std]

#[cfg(test)]
extern crate std;

mod prefetch;
mod table;

pub use prefetch::prefetch;
pub use table::{Pages, TableMemory};
