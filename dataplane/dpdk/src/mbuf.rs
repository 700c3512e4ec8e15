//! A packet in DPDK's memory.
//!
//! Fields are read in Rust, by the offsets the headers gave `dpdk-sys`: a call per field and
//! packet would cost more than the field. All of them lie in the first cache line.

use std::ptr::NonNull;

use dpdk_sys as ffi;
use weir_core::io::{Frame, RxChecksum};

/// One packet, which this value owns: dropping it gives the memory back to its pool.
///
/// It is one pointer (an array of them is what DPDK's bursts read and write).
#[repr(transparent)]
#[derive(Debug)]
pub struct Mbuf(NonNull<ffi::rte_mbuf>);

// SAFETY: an mbuf has one owner (its reference count is 1: nothing here clones or chains), and
// DPDK's pools take frames back from any thread.
unsafe impl Send for Mbuf {}

/// How far its layout has been relied on: `Mbuf` must be as good as `*mut rte_mbuf`.
const _: () = assert!(size_of::<Mbuf>() == size_of::<*mut ffi::rte_mbuf>());

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    ///
    /// `mbuf` came from a pool of `pool.rs` and nobody else owns it.
    pub(crate) unsafe fn from_raw(mbuf: NonNull<ffi::rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// Reads the field at `offset`.
    ///
    /// # Safety
    ///
    /// There is a field of type `T` at `offset` (the `SHIM_MBUF_*` of dpdk-sys).
    #[inline]
    unsafe fn get<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: the mbuf is alive and ours; the caller vouches for offset and type, and DPDK
        // aligns each field by itself.
        unsafe {
            self.0
                .as_ptr()
                .cast::<u8>()
                .add(offset as usize)
                .cast::<T>()
                .read()
        }
    }

    /// Writes the field at `offset`.
    ///
    /// # Safety
    ///
    /// As for `get`; and the value keeps the data within the buffer.
    #[inline]
    unsafe fn set<T: Copy>(&mut self, offset: u32, value: T) {
        // SAFETY: as in `get`; `&mut self` is the only way to it.
        unsafe {
            self.0
                .as_ptr()
                .cast::<u8>()
                .add(offset as usize)
                .cast::<T>()
                .write(value)
        };
    }

    #[inline]
    fn data_off(&self) -> u16 {
        // SAFETY: `uint16_t data_off`.
        unsafe { self.get(ffi::SHIM_MBUF_DATA_OFF) }
    }

    #[inline]
    fn data_len(&self) -> u16 {
        // SAFETY: `uint16_t data_len`.
        unsafe { self.get(ffi::SHIM_MBUF_DATA_LEN) }
    }

    #[inline]
    fn buf_len(&self) -> u16 {
        // SAFETY: `uint16_t buf_len`.
        unsafe { self.get(ffi::SHIM_MBUF_BUF_LEN) }
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: `void *buf_addr`.
        let buffer: *mut u8 = unsafe { self.get(ffi::SHIM_MBUF_BUF_ADDR) };
        // SAFETY: DPDK and `set_extent` keep data_off within the buffer.
        unsafe { buffer.add(usize::from(self.data_off())) }
    }

    /// Sets where the data begin and how long they are; the packet's length follows.
    #[inline]
    fn set_extent(&mut self, data_off: u16, data_len: u16) {
        debug_assert!(u32::from(data_off) + u32::from(data_len) <= u32::from(self.buf_len()));
        // SAFETY: `uint32_t pkt_len`.
        let packet_len: u32 = unsafe { self.get(ffi::SHIM_MBUF_PKT_LEN) };
        let packet_len = packet_len
            .wrapping_sub(u32::from(self.data_len()))
            .wrapping_add(u32::from(data_len));
        // SAFETY: `uint16_t data_off`; the callers check that the data stay in the buffer.
        unsafe { self.set(ffi::SHIM_MBUF_DATA_OFF, data_off) };
        // SAFETY: `uint16_t data_len`; as above.
        unsafe { self.set(ffi::SHIM_MBUF_DATA_LEN, data_len) };
        // SAFETY: `uint32_t pkt_len`.
        unsafe { self.set(ffi::SHIM_MBUF_PKT_LEN, packet_len) };
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: the mbuf is ours and its pool exists: a pool with frames out is never freed.
        unsafe { ffi::shim_pktmbuf_free(self.0.as_ptr()) };
    }
}

impl Frame for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: data_len bytes from data on lie in the buffer, which is mapped and ours, and
        // nobody writes to it while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.data(), usize::from(self.data_len())) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only way to them.
        unsafe { std::slice::from_raw_parts_mut(self.data(), usize::from(self.data_len())) }
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> bool {
        let Some(data_off) = usize::from(self.data_off()).checked_sub(n) else {
            return false;
        };
        // Neither exceeds the buffer, whose length is a u16.
        self.set_extent(data_off as u16, self.data_len() + n as u16);
        true
    }

    #[inline]
    fn pull_front(&mut self, n: usize) {
        assert!(
            n <= usize::from(self.data_len()),
            "pull_front of more than the frame"
        );
        let n = n as u16; // At most data_len.
        self.set_extent(self.data_off() + n, self.data_len() - n);
    }

    #[inline]
    fn push_back(&mut self, n: usize) -> bool {
        let (data_off, data_len) = (self.data_off(), self.data_len());
        let room = usize::from(self.buf_len()) - usize::from(data_off) - usize::from(data_len);
        if n > room || !self.is_linear() {
            return false;
        }
        self.set_extent(data_off, data_len + n as u16); // At most the buffer's length, a u16.
        true
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        if len < usize::from(self.data_len()) {
            self.set_extent(self.data_off(), len as u16); // Less than data_len.
        }
    }

    #[inline]
    fn prefetch_own(&self) {
        // SAFETY: the mbuf is alive and ours.
        weir_memory::prefetch(unsafe { self.0.as_ref() });
    }

    #[inline]
    fn prefetch(&self) {
        // SAFETY: `data` points into the buffer, which is mapped and ours.
        weir_memory::prefetch(unsafe { &*self.data() });
    }

    #[inline]
    fn rx_checksum(&self) -> RxChecksum {
        // SAFETY: `uint64_t ol_flags`.
        let flags: u64 = unsafe { self.get(ffi::SHIM_MBUF_OL_FLAGS) };
        match flags & ffi::SHIM_RX_IP_CKSUM_MASK {
            ffi::SHIM_RX_IP_CKSUM_GOOD => RxChecksum::Good,
            ffi::SHIM_RX_IP_CKSUM_BAD => RxChecksum::Bad,
            // NONE (both bits) is DPDK's word for "not right, but the data are whole", which only
            // virtual devices say: software looks itself.
            _ => RxChecksum::Unknown,
        }
    }

    #[inline]
    fn is_linear(&self) -> bool {
        // SAFETY: `uint16_t nb_segs`.
        let segments: u16 = unsafe { self.get(ffi::SHIM_MBUF_NB_SEGS) };
        segments == 1
    }
}
