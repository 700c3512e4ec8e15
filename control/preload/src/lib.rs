//! `libweir_ipvs_preload.so`: with it in `LD_PRELOAD`, unmodified `ipvsadm` and `keepalived` drive `weird`
//! and not the kernel.
//!
//! Both speak to the kernel by libnl. The library takes the place of two of libnl's functions: the
//! one that asks for the family `IPVS` ([`genl_ctrl_resolve`]) has that one socket's messages go to the
//! director's socket from then on, by libnl's own means; the one that frees a socket forgets it. In a
//! process that never asks for that family it does nothing. libnl is looked up when it is needed and
//! not linked, so that the library loads into programs without it, such as `keepalived`'s scripts.
//!
//! Rules that the two programs make necessary:
//!
//! - sending never fails: `keepalived` takes a failed send for success;
//! - every request gets its end, if need be an error made up here: `keepalived` waits for it forever.
//!   The error is `EAGAIN`, after which it tries again;
//! - nothing gets through to the host's kernel: the old interface of IPVS ([`getsockopt`],
//!   [`setsockopt`]) is not there, and `modprobe ip_vs` ([`execv`]) cannot be run;
//! - `/proc/net/ip_vs` and its neighbours ([`fopen`], [`open()`] and their kin) are the director's.
//!
//! The sockets are `/run/weir/ipvs.sock` and `/run/weir/ipvs-proc.sock`, or what `WEIR_IPVS_SOCKET` and
//! `WEIR_IPVS_PROC_SOCKET` say, which are not looked at in a process with more rights than its user.

mod carry;
mod guard;
mod next;
mod nl;
mod open;
mod place;
mod proc;

pub use carry::{genl_ctrl_resolve, nl_socket_free};
pub use guard::{execv, getsockopt, setsockopt};
pub use open::{__open_2, __open64_2, __openat_2, __openat64_2, open, open64, openat, openat64};
pub use proc::{fopen, fopen64};
