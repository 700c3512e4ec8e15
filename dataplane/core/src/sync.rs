//! The atomics that several threads share: the processor's, or, in a build with `--cfg weir_loom`,
//! those of the model checker loom, which tries the orders in which their effects can be seen.

#[cfg(not(weir_loom))]
pub use core::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
};
#[cfg(weir_loom)]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
};
