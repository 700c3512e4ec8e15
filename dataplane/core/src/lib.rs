//! The director without NIC, clock or thread.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod io;
