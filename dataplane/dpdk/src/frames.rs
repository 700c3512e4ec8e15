//! Frames without ports, for a program that makes its packets itself.

use std::sync::Arc;

use dpdk_sys as ffi;
use weir_core::io::Burst;

use crate::eal::{Eal, RegisteredThread};
use crate::error::{EalError, PortError};
use crate::mbuf::Mbuf;
use crate::pool::{Pool, PoolSize};

/// The process's frame pool by itself: benchmarks take real frames from it, a burst at a time as a
/// driver does. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct Frames {
    pool: Arc<Pool>,
}

impl Frames {
    /// A pool for so many threads, with `spare` frames beyond what they keep in their caches, for
    /// packets up to the usual MTU of 1500 bytes.
    ///
    /// # Errors
    ///
    /// When there is a pool already (that of `Ports` is one), or no memory for it.
    pub fn new(eal: &Eal, threads: u16, spare: u32) -> Result<Self, PortError> {
        let pool = Arc::new(Pool::new(eal, PoolSize::of(0, threads, spare, 1500))?);
        Ok(Self { pool })
    }

    /// Makes the calling thread known to DPDK: see [`Eal::register_thread`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn register_thread(&self) -> Result<RegisteredThread, EalError> {
        Eal::register_thread(self.pool.eal())
    }

    /// Appends `count` empty frames to `into`, or none (and says false) when there is no room for
    /// them or the pool has not so many.
    #[inline]
    pub fn take(&self, into: &mut Burst<Mbuf>, count: usize) -> bool {
        let len = into.len();
        if count > into.remaining_capacity() {
            return false;
        }
        // SAFETY: `len` is at most the capacity.
        let free = unsafe { into.as_mut_ptr().add(len) }.cast::<*mut ffi::rte_mbuf>();
        // SAFETY: the pool is alive; `free` has room for `count` pointers (an Mbuf is one).
        let code = unsafe { ffi::shim_pktmbuf_alloc_bulk(self.pool.as_ptr(), free, count as u32) };
        if code != 0 {
            return false;
        }
        // SAFETY: DPDK wrote `count` pointers to frames that are ours now.
        unsafe { into.set_len(len + count) };
        true
    }

    /// An empty frame, or none when all are in use.
    #[inline]
    #[must_use]
    pub fn fresh(&self) -> Option<Mbuf> {
        self.pool.fresh()
    }

    /// Frees all of `frames`, as a driver does that has sent them. `frames` is empty afterwards.
    #[inline]
    pub fn give_back(&self, frames: &mut Burst<Mbuf>) {
        let len = frames.len();
        let first = frames.as_mut_ptr().cast::<*mut ffi::rte_mbuf>();
        // SAFETY: shorter than before; from here on the frames are not the burst's.
        unsafe { frames.set_len(0) };
        // SAFETY: `first` are `len` frames that we own.
        unsafe { ffi::shim_pktmbuf_free_bulk(first, len as u32) };
    }
}
