//! The bounded rings between workers, and between workers and the twins' thread.
//!
//! Nothing here allocates after start: packets for Linux are copied into buffers that travel round
//! between a full ring and a free ring.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use weir_core::io::PortId;

/// Packets that may wait for one worker in one direction of the twins.
pub const TWIN_RING: usize = 512;

/// A packet on its way between a worker and Linux, in a buffer that is used again.
#[derive(Debug)]
pub struct Packet {
    /// The port it came by, or is to leave by.
    pub port: PortId,
    len: usize,
    buffer: Box<[u8]>,
}

impl Packet {
    fn with_room(bytes: usize) -> Self {
        Self {
            port: PortId(0),
            len: 0,
            buffer: vec![0; bytes].into_boxed_slice(),
        }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// All of the buffer, to be filled; then say how much with [`set_len`](Self::set_len).
    #[must_use]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Says that the first `len` bytes of the buffer are the frame; clamped to its size.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.buffer.len());
    }

    /// Copies `bytes` in; false (and unchanged) when they do not fit.
    #[must_use]
    pub fn fill(&mut self, port: PortId, bytes: &[u8]) -> bool {
        let Some(room) = self.buffer.get_mut(..bytes.len()) else {
            return false;
        };
        room.copy_from_slice(bytes);
        self.len = bytes.len();
        self.port = port;
        true
    }
}

/// One direction of packets between one worker and the twins' thread.
#[derive(Debug)]
pub struct PacketRing {
    full: ArrayQueue<Packet>,
    free: ArrayQueue<Packet>,
}

impl PacketRing {
    /// A ring of `packets` buffers of `bytes` each.
    #[must_use]
    pub fn new(packets: usize, bytes: usize) -> Self {
        let free = ArrayQueue::new(packets);
        while free.push(Packet::with_room(bytes)).is_ok() {}
        Self {
            full: ArrayQueue::new(packets),
            free,
        }
    }

    /// An empty buffer to fill, or none while all are under way.
    #[must_use]
    pub fn take_free(&self) -> Option<Packet> {
        self.free.pop()
    }

    /// Sends a filled buffer off.
    pub fn send(&self, packet: Packet) {
        // Both rings have room for every buffer there is.
        let _ = self.full.push(packet);
    }

    /// The next packet, to be given back with [`give_back`](Self::give_back).
    #[must_use]
    pub fn receive(&self) -> Option<Packet> {
        self.full.pop()
    }

    /// Gives a used or unused buffer back.
    pub fn give_back(&self, packet: Packet) {
        let _ = self.free.push(packet);
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }
}

/// Wakes the twins' thread when it sleeps and a worker has packets for it.
///
/// A worker pays one write to an eventfd for the first burst with punted packets after the thread
/// fell asleep, and nothing while it is awake.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
    eventfd: File,
}

impl Doorbell {
    /// Rings through `eventfd` (non-blocking).
    #[must_use]
    pub fn new(eventfd: File) -> Self {
        Self {
            asleep: AtomicBool::new(false),
            eventfd,
        }
    }

    /// Called by the thread before it looks at the rings a last time and sleeps.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// Called by the thread when it is up again, before it reads the eventfd empty.
    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Called by a worker after it sent packets.
    pub fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A full eventfd counter means that the thread is being woken already.
            let _ = (&self.eventfd).write(&1u64.to_ne_bytes());
        }
    }

    /// The descriptor that the thread polls and reads.
    #[must_use]
    pub fn eventfd(&self) -> &File {
        &self.eventfd
    }
}

/// What connects one worker with the twins' thread.
#[derive(Clone, Debug)]
pub struct TwinLink {
    /// Packets for Linux; `port` says whose twin.
    pub to_linux: Arc<PacketRing>,
    /// Packets from Linux; `port` says where they leave.
    pub from_linux: Arc<PacketRing>,
    /// Shared by all workers.
    pub doorbell: Arc<Doorbell>,
}

impl TwinLink {
    /// Rings for frames of up to `frame_max` bytes.
    #[must_use]
    pub fn new(frame_max: usize, doorbell: Arc<Doorbell>) -> Self {
        Self {
            to_linux: Arc::new(PacketRing::new(TWIN_RING, frame_max)),
            from_linux: Arc::new(PacketRing::new(TWIN_RING, frame_max)),
            doorbell,
        }
    }
}
