//! The queue pairs of one worker.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as ffi;
use weir_core::io::{Burst, PacketIo, PortId};

use crate::device::Device;
use crate::eal::{Eal, RegisteredThread};
use crate::error::EalError;
use crate::mbuf::Mbuf;
use crate::pool::Pool;

/// One receive and one transmit queue on every port, for one worker. It moves to its worker once
/// and is not shared: a queue of DPDK serves one thread at a time.
#[derive(Debug)]
pub struct QueueSet {
    queue: u16,
    /// DPDK's number of each port, by our [`PortId`].
    port_ids: Box<[u16]>,
    /// Keeps the ports open.
    _devices: Arc<[Device]>,
    pool: Arc<Pool>,
    /// Not `Sync`.
    _one_thread: PhantomData<Cell<()>>,
}

impl QueueSet {
    /// The queue pairs numbered `queue` of all `devices`, which are started.
    ///
    /// To be made once per number: `Ports::bring_up` does.
    pub(crate) fn new(queue: u16, devices: &Arc<[Device]>, pool: &Arc<Pool>) -> Self {
        Self {
            queue,
            port_ids: devices.iter().map(Device::id).collect(),
            _devices: Arc::clone(devices),
            pool: Arc::clone(pool),
            _one_thread: PhantomData,
        }
    }

    /// Makes the calling thread known to DPDK: see [`Eal::register_thread`].
    ///
    /// # Errors
    ///
    /// As there; the queue set works all the same.
    pub fn register_thread(&self) -> Result<RegisteredThread, EalError> {
        Eal::register_thread(self.pool.eal())
    }
}

impl PacketIo for QueueSet {
    type Frame = Mbuf;

    fn port_count(&self) -> usize {
        self.port_ids.len()
    }

    /// Appends what waits. Give an empty burst: drivers that receive with vector instructions
    /// return nothing when asked for fewer than four.
    #[inline]
    fn receive(&mut self, port: PortId, into: &mut Burst<Mbuf>) -> usize {
        let (len, room) = (into.len(), into.remaining_capacity());
        let port = self.port_ids[usize::from(port.0)];
        // SAFETY: `len` is at most the capacity.
        let free = unsafe { into.as_mut_ptr().add(len) }.cast::<*mut ffi::rte_mbuf>();
        // SAFETY: the port is started and has this queue, which only this value serves; `free` has
        // room for as many pointers (an Mbuf is one), at most BURST_MAX.
        let n = unsafe { ffi::shim_eth_rx_burst(port, self.queue, free, room as u16) };
        let n = usize::from(n);
        debug_assert!(n <= room);
        // SAFETY: DPDK wrote `n` pointers to frames that are ours now.
        unsafe { into.set_len(len + n) };
        n
    }

    #[inline]
    fn transmit(&mut self, port: PortId, frames: &mut Burst<Mbuf>) -> usize {
        let len = frames.len();
        if len == 0 {
            return 0;
        }
        let port = self.port_ids[usize::from(port.0)];
        let first = frames.as_mut_ptr().cast::<*mut ffi::rte_mbuf>();
        // SAFETY: shorter than before; from here on the frames are not the burst's.
        unsafe { frames.set_len(0) };
        // SAFETY: the port is started and has this queue, which only this value serves; `first`
        // are `len` frames that we own, at most BURST_MAX.
        let sent = unsafe { ffi::shim_eth_tx_burst(port, self.queue, first, len as u16) };
        let sent = usize::from(sent);
        if sent < len {
            // SAFETY: what the device did not take is still ours: `len - sent` frames.
            unsafe { ffi::shim_pktmbuf_free_bulk(first.add(sent), (len - sent) as u32) };
        }
        sent
    }

    #[inline]
    fn fresh(&mut self) -> Option<Mbuf> {
        self.pool.fresh()
    }
}
