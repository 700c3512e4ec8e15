//! The two seams between the director and the world: one packet ([`Frame`]) and where decided
//! packets go ([`Outlet`]). DPDK implements them in `weir-dpdk`, tests in `crate::testing`.

use arrayvec::ArrayVec;
use weir_wire::Addr;

use crate::counters::DropReason;
use crate::next_hop::InterfaceId;

/// Most packets in one burst: what a worker receives, processes and transmits at once.
pub const BURST_MAX: usize = 32;

/// A burst of frames, in the order received.
pub type Burst<F> = ArrayVec<F, BURST_MAX>;

/// A port of the director, dense from 0 in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

/// A worker, dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// What the device says of the IPv4 header checksum of a received packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// The device did not look; software must.
    #[default]
    Unknown,
    /// The device found it right.
    Good,
    /// The device found it wrong.
    Bad,
}

/// One packet from its Ethernet header on, in one piece of memory that its holder owns.
///
/// Dropping a frame gives its memory back to where it came from.
pub trait Frame {
    /// The bytes from the first of the Ethernet header to the last received.
    fn bytes(&self) -> &[u8];

    /// The same bytes, to be rewritten in place.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Grows the frame by `n` bytes at its front (their contents are unspecified).
    /// Returns false, and changes nothing, when there is no room.
    #[must_use]
    fn push_front(&mut self, n: usize) -> bool;

    /// Takes `n` bytes off the front; `n` is at most the frame's length.
    fn pull_front(&mut self, n: usize);

    /// Grows the frame by `n` bytes at its end (their contents are unspecified).
    /// Returns false, and changes nothing, when there is no room.
    #[must_use]
    fn push_back(&mut self, n: usize) -> bool;

    /// Cuts the frame to `len` bytes; no effect when it is not longer.
    fn truncate(&mut self, len: usize);

    /// Asks for the first bytes to be brought near, without waiting for them.
    #[inline]
    fn prefetch(&self) {}

    /// Asks for what the frame itself keeps beside its bytes, before it is first used on this core.
    #[inline]
    fn prefetch_own(&self) {}

    /// What the device found about the IPv4 header checksum.
    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::Unknown
    }

    /// False when the device delivered the packet in several pieces; `bytes` is then the first
    /// piece only and the packet cannot be handled.
    fn is_linear(&self) -> bool {
        true
    }
}

/// The queue pairs of one worker: one receive and one transmit queue on every port.
pub trait PacketIo {
    /// The frames that this device hands out. They may travel to another worker.
    type Frame: Frame + Send + 'static;

    /// How many ports there are.
    fn port_count(&self) -> usize;

    /// Appends what waits in this worker's receive queue of `port` to `into`, at most until it is
    /// full. Returns how many were appended.
    fn receive(&mut self, port: PortId, into: &mut Burst<Self::Frame>) -> usize;

    /// Hands all of `frames` to this worker's transmit queue of `port`. Returns how many the
    /// device took; the rest are freed. `frames` is empty afterwards.
    fn transmit(&mut self, port: PortId, frames: &mut Burst<Self::Frame>) -> usize;

    /// An empty frame of length 0 with head- and tailroom, or none when the pool is exhausted.
    fn fresh(&mut self) -> Option<Self::Frame>;
}

/// Where the director puts what it has decided. A worker implements it over its queues and rings.
pub trait Outlet {
    /// The frames that go through.
    type Frame: Frame;

    /// Sends a whole frame out of `port`.
    fn transmit(&mut self, port: PortId, frame: Self::Frame);

    /// Gives a copy of `frame`, received at `port`, to Linux.
    ///
    /// # Errors
    /// Why it could not be given: there is no twin, or its ring is full.
    fn punt(&mut self, port: PortId, frame: &Self::Frame) -> Result<(), DropReason>;

    /// Hands `frame`, received at `port`, to the worker that owns its flow.
    ///
    /// # Errors
    /// The frame, when that worker does not keep up.
    fn hand_off(
        &mut self,
        owner: WorkerId,
        port: PortId,
        frame: Self::Frame,
    ) -> Result<(), Self::Frame>;

    /// An empty frame, or none when the pool is exhausted.
    fn fresh(&mut self) -> Option<Self::Frame>;

    /// Asks for `neighbour` to be resolved on `interface`.
    fn solicit(&mut self, interface: InterfaceId, neighbour: Addr);

    /// Tells of a packet, received at `port`, that ends here; it is counted already.
    fn dropped(&mut self, reason: DropReason, port: PortId, frame: &Self::Frame);
}
