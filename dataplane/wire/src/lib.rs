//! Wire formats: bytes to fields and back; no I/O, no policy.
//!
//! Everything here is a function of the bytes it is given. [`parse`] turns a received frame into
//! [`Headers`], which hold what the director decides by and where in the frame it stands; the other
//! modules change or write packets in place. All offsets count from the first byte of the Ethernet
//! header, all numbers are in host order: network order stays inside this crate.
//!
//! Functions that write take the [`Headers`] that [`parse`] gave for that very frame. Given a
//! shorter frame they leave it alone rather than panic.
//!
//! No allocation, no `unsafe`, no panic on any input.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod addr;
mod bytes;
pub mod checksum;
mod crc32c;
pub mod headers;
mod options;
mod parser;
pub mod plain;

pub mod fragment;
pub mod ftp;
pub mod icmp;
pub mod probe;
pub mod rewrite;
pub mod sctp;
pub mod segment;
pub mod tcp;
pub mod tunnel;

#[cfg(any(test, feature = "testing"))]
pub mod builder;
#[cfg(test)]
mod tests;

pub use addr::{Addr, Family, Mac};
pub use headers::{
    Embedded, HeaderBits, Headers, Other, ParseError, Parsed, ether_type, protocol, tcp_flag,
};
pub use parser::{is_cut_before_ports, parse, parse_embedded, parse_ip};
