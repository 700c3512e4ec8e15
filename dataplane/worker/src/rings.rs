//! The bounded rings between workers, and between workers and the twins' thread.
//!
//! Nothing here allocates after start: packets for Linux are copied into buffers that travel round
//! between a full ring and a free ring.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use weir_core::io::PortId;

use crate::sync::{ArrayQueue, AtomicBool, Ordering, fence};

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
    sleeper: Sleeper,
    eventfd: File,
}

impl Doorbell {
    /// Rings through `eventfd` (non-blocking).
    #[must_use]
    pub fn new(eventfd: File) -> Self {
        Self {
            sleeper: Sleeper::default(),
            eventfd,
        }
    }

    /// Called by the thread before it looks at the rings a last time and sleeps.
    pub fn fall_asleep(&self) {
        self.sleeper.fall_asleep();
    }

    /// Called by the thread when it is up again, before it reads the eventfd empty.
    pub fn wake_up(&self) {
        self.sleeper.wake_up();
    }

    /// Called by a worker after it sent packets.
    pub fn ring(&self) {
        if self.sleeper.must_be_woken() {
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

/// Whether the thread sleeps. Either it sees what was sent before
/// [`must_be_woken`](Self::must_be_woken), or that one sees it asleep: of the two fences one comes
/// first, whatever orders the ring itself keeps.
#[derive(Debug, Default)]
struct Sleeper {
    asleep: AtomicBool,
}

impl Sleeper {
    /// Before a last look at the rings.
    fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// After sending: true for one caller each time the thread has fallen asleep.
    fn must_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
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

/// Every order of a worker's and the twins' thread's steps, by loom (`tests/sanitize/run loom`).
#[cfg(all(test, weir_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// The thread's way to sleep, as in `control/plane/src/host/pump.rs`, over a ring that keeps no
    /// order of its own: `sent` counts packets, `woken` the writes to the eventfd.
    #[test]
    fn a_thread_that_falls_asleep_is_woken_or_has_seen_the_packet() {
        for workers in [1, 2] {
            loom::model(move || {
                let sleeper = Arc::new(Sleeper::default());
                let sent = Arc::new(AtomicUsize::new(0));
                let woken = Arc::new(AtomicUsize::new(0));
                let workers: Vec<_> = (0..workers)
                    .map(|_| {
                        let (sleeper, sent, woken) = (sleeper.clone(), sent.clone(), woken.clone());
                        thread::spawn(move || {
                            sent.fetch_add(1, Ordering::Relaxed);
                            if sleeper.must_be_woken() {
                                woken.fetch_add(1, Ordering::Relaxed);
                            }
                        })
                    })
                    .collect();
                sleeper.fall_asleep();
                let seen = sent.load(Ordering::Relaxed);
                let count = workers.len();
                for worker in workers {
                    worker.join().expect("no panic");
                }
                let woken = woken.load(Ordering::Relaxed);
                assert!(seen == count || woken > 0, "it sleeps over a packet");
                assert!(woken <= 1, "a write to the eventfd for nothing");
            });
        }
    }

    #[test]
    fn a_thread_that_woke_by_itself_looks_again_before_it_sleeps() {
        loom::model(|| {
            let sleeper = Arc::new(Sleeper::default());
            let sent = Arc::new(AtomicUsize::new(0));
            let woken = Arc::new(AtomicUsize::new(0));
            let worker = {
                let (sleeper, sent, woken) = (sleeper.clone(), sent.clone(), woken.clone());
                thread::spawn(move || {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if sleeper.must_be_woken() {
                        woken.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            // A tap woke it; it reads the eventfd empty and goes round once more.
            sleeper.fall_asleep();
            sleeper.wake_up();
            woken.swap(0, Ordering::Relaxed);
            sleeper.fall_asleep();
            let seen = sent.load(Ordering::Relaxed);
            worker.join().expect("no panic");
            assert!(
                seen == 1 || woken.load(Ordering::Relaxed) > 0,
                "it sleeps over a packet"
            );
        });
    }
}
