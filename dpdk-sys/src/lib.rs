//! Declarations of DPDK, made by bindgen from the installed headers.
//!
//! Nothing is wrapped or decided here; `weir-dpdk` does that and is the only user. What begins
//! with `shim_` is compiled from `shim.c`: DPDK's static inlines, which have no symbol of their
//! own. What begins with `SHIM_` are facts of the headers that bindgen cannot take from macros.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)] // made by a program
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)] // names are DPDK's
#![allow(unsafe_op_in_unsafe_fn, unnecessary_transmutes)] // in bindgen's bit-field accessors
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)] // the same

include!(concat!(env!("OUT_DIR"), "/dpdk.rs"));
