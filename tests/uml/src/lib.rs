//! A library that is preloaded into user-mode Linux (`linux.uml`), in the place of some of the C
//! library's functions.
//!
//! - [`clock`]: time that passes only while the guest is idle, once it asks for that.
//! - [`registers`]: Debian 12's kernel runs on processors with more registers than it knows, too.

pub mod clock;
pub mod registers;
