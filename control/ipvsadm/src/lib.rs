//! `ipvsadm` 1.31 for Weir: the same grammar, the same bytes, the same exit codes.
//!
//! Scripts, ldirectord and people's hands know this program, so what it prints and how it fails is
//! kept to the byte; the tests hold it against runs of the original beside a kernel. Nothing here
//! does I/O: [`run()`] is given the arguments and a [`World`] with the director in it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`popt`] | options as the original's library takes them: clusters, `=`, optional values |
//! | [`option`] | every option, and which command takes it |
//! | [`address`] | `HOST[:PORT]` and numbers |
//! | [`names`] | `/etc/services` and `/etc/hosts` |
//! | [`command`] | arguments to [`Command`] |
//! | [`change`] | one change of a director |
//! | [`list`], [`connections`], [`save`] | what is printed |
//! | [`restore`] | a saved table, all of it or nothing |
//! | [`mod@run`] | the program |
//!
//! # Where it differs from the original, on purpose
//!
//! - `-S` adds `-x` and `-y` to servers that have thresholds, and a line `--set` when the timeouts
//!   are not 900, 120 and 300. The original forgets both, and its `-R` reads both.
//! - `-R` and `ipvsadm-restore` change everything or nothing: the whole input is read first, and a
//!   line that fails leaves the table as it was, with the line's number on standard error and the
//!   exit code of that failure. The original goes on after a failed line, and its exit code is the
//!   last line's. `ipvsadm-restore` clears the table in the same step. The director does all of it at one
//!   moment, so that nobody sees a part of it, and does not touch what is the same before and after.
//! - `-R` skips lines that begin with `#`, as the original's `ipvsadm-restore` does.
//! - Marks from 2^31 on are listed and saved as they are; the original shows them as negative numbers,
//!   lists them first, and does not read them again.
//! - Counters of servers are 64 bits wide; the original reads those of servers modulo 2^32.
//! - Addresses are looked up in `/etc/hosts` and never by DNS, which would stall a listing.
//! - `-C` and `-L` do not load a kernel module.

#![forbid(unsafe_code)]

pub mod address;
pub mod change;
pub mod command;
pub mod connections;
pub mod list;
pub mod names;
pub mod option;
pub mod popt;
pub mod restore;
pub mod run;
pub mod save;

mod text;

pub use change::{Change, Errno};
pub use command::{Command, Stop, parse};
pub use names::Names;
pub use run::{Ended, World, run};
