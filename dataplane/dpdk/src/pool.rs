//! The frame pool: where every packet of this process lives.
//!
//! There is one. Transmit queues are told that all their frames come from it (the offload "fast
//! free"), so a frame from another pool would be given back to the wrong one.

use std::ptr::NonNull;

use dpdk_sys as ffi;
use weir_core::io::BURST_MAX;

use crate::eal::Eal;
use crate::error::{PortError, detail};
use crate::log;
use crate::mbuf::Mbuf;

/// Frames that a registered thread keeps to itself at most, times 1.5 (DPDK's flush threshold).
const CACHE_FRAMES: u32 = 256;

/// What a frame holds besides its buffer: `rte_mbuf` and the pool's header and padding.
const FRAME_OVERHEAD: u32 = ffi::SHIM_MBUF_SIZE + 64;

/// Ethernet header, two VLAN tags, and the checksum that some devices deliver.
const LINK_BYTES: u32 = ffi::RTE_ETHER_HDR_LEN + 2 * 4 + ffi::RTE_ETHER_CRC_LEN;

/// How large a pool has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSize {
    frames: u32,
    /// Room for data in each, headroom included.
    buffer: u16,
}

impl PoolSize {
    /// For ports that hold `in_rings` frames in their queues, `workers` threads, and `spare`
    /// frames that are neither (parked, handed from worker to worker).
    pub(crate) fn of(in_rings: u32, workers: u16, spare: u32, mtu: u16) -> Self {
        // Per thread: its cache, what it is working on, and what it has received meanwhile.
        let per_thread = CACHE_FRAMES * 3 / 2 + 2 * BURST_MAX as u32;
        // Control's thread is one more.
        let threads = u32::from(workers) + 1;
        let frames = in_rings
            .saturating_add(threads * per_thread)
            .saturating_add(spare);
        // NICs count receive buffers in steps of 1 KiB and round down (82599 datasheet, SRRCTL).
        let data = (u32::from(mtu) + LINK_BYTES).next_multiple_of(1024);
        let buffer = u16::try_from(data + ffi::SHIM_MBUF_HEADROOM).unwrap_or(u16::MAX);
        Self { frames, buffer }
    }

    fn frame_bytes(self) -> u32 {
        u32::from(self.buffer) + FRAME_OVERHEAD
    }
}

/// Frames of the pool, and how many of them are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// All frames.
    pub frames: u32,
    /// Free frames, those in the threads' caches included. Exact only while no packet moves.
    pub free: u32,
}

/// The pool itself.
#[derive(Debug)]
pub(crate) struct Pool {
    raw: NonNull<ffi::rte_mempool>,
    frames: u32,
    eal: Eal,
}

// SAFETY: DPDK's default pool is a ring for many producers and many consumers.
unsafe impl Send for Pool {}
// SAFETY: as above; `&Pool` only allocates, counts, and hands the pointer to DPDK.
unsafe impl Sync for Pool {}

impl Pool {
    pub(crate) fn new(eal: &Eal, size: PoolSize) -> Result<Self, PortError> {
        if !eal.claim_pool() {
            return Err(PortError::UpAlready);
        }
        let ((raw, errno), lines) = log::record(|| {
            // SAFETY: EAL is initialised; the name is a C string that DPDK copies.
            let raw = unsafe {
                ffi::rte_pktmbuf_pool_create(
                    c"frames".as_ptr(),
                    size.frames,
                    CACHE_FRAMES,
                    0,
                    size.buffer,
                    ffi::SHIM_SOCKET_ID_ANY,
                )
            };
            // SAFETY: reads a number of the calling thread.
            (raw, unsafe { ffi::shim_errno() })
        });
        match NonNull::new(raw) {
            Some(raw) => Ok(Self {
                raw,
                frames: size.frames,
                eal: eal.clone(),
            }),
            None => {
                eal.release_pool();
                let bytes = u64::from(size.frames) * u64::from(size.frame_bytes());
                Err(PortError::PoolMemory {
                    frames: size.frames,
                    frame_bytes: size.frame_bytes(),
                    megabytes: bytes.div_ceil(1 << 20),
                    detail: detail(errno, &lines),
                })
            }
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::rte_mempool {
        self.raw.as_ptr()
    }

    pub(crate) fn eal(&self) -> &Eal {
        &self.eal
    }

    pub(crate) fn usage(&self) -> PoolUsage {
        // SAFETY: the pool is alive; the function only reads counters.
        let free = unsafe { ffi::rte_mempool_avail_count(self.raw.as_ptr()) };
        PoolUsage {
            frames: self.frames,
            free: free.min(self.frames),
        }
    }

    /// An empty frame, or none when all are in use.
    #[inline]
    pub(crate) fn fresh(&self) -> Option<Mbuf> {
        // SAFETY: the pool is alive.
        let raw = unsafe { ffi::shim_pktmbuf_alloc(self.raw.as_ptr()) };
        // SAFETY: a frame that the pool gives out has no other owner.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let PoolUsage { frames, free } = self.usage();
        if free < frames {
            // Somebody still owns an Mbuf. The pool stays, so does EAL's memory (`release_pool`).
            tracing::debug!(target: "dpdk", "{} frames outlive their ports", frames - free);
            return;
        }
        // SAFETY: all frames are back, and ports and queue sets, which keep the pool, are gone.
        unsafe { ffi::rte_mempool_free(self.raw.as_ptr()) };
        self.eal.release_pool();
    }
}
