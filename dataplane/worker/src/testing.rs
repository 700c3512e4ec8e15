//! Ports in memory, for tests that run workers as a process does: each in its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;
use weir_core::io::{Burst, Frame, PacketIo, PortId, RxChecksum, WorkerId};
use weir_core::testing::MemFrame;

/// A frame in memory that its device counts until it is freed.
#[derive(Debug)]
pub struct CountedFrame {
    frame: MemFrame,
    alive: Arc<AtomicUsize>,
}

impl CountedFrame {
    fn new(bytes: &[u8], alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            frame: MemFrame::new(bytes),
            alive: Arc::clone(alive),
        }
    }
}

impl Drop for CountedFrame {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Frame for CountedFrame {
    fn bytes(&self) -> &[u8] {
        self.frame.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.frame.bytes_mut()
    }

    fn push_front(&mut self, n: usize) -> bool {
        self.frame.push_front(n)
    }

    fn pull_front(&mut self, n: usize) {
        self.frame.pull_front(n);
    }

    fn push_back(&mut self, n: usize) -> bool {
        self.frame.push_back(n)
    }

    fn truncate(&mut self, len: usize) {
        self.frame.truncate(len);
    }

    fn rx_checksum(&self) -> RxChecksum {
        self.frame.rx_checksum()
    }

    fn is_linear(&self) -> bool {
        self.frame.is_linear()
    }
}

#[derive(Debug)]
struct QueuePair {
    receive: ArrayQueue<CountedFrame>,
    transmit: ArrayQueue<CountedFrame>,
}

/// Ports with a queue pair for each worker. The test plays the wire, from as many threads as it
/// likes.
#[derive(Debug)]
pub struct MemDevice {
    /// By worker, by port.
    queues: Vec<Vec<Arc<QueuePair>>>,
    alive: Arc<AtomicUsize>,
}

impl MemDevice {
    /// A device whose queues hold `depth` frames each.
    #[must_use]
    pub fn new(workers: usize, ports: usize, depth: usize) -> Self {
        let pair = || {
            Arc::new(QueuePair {
                receive: ArrayQueue::new(depth),
                transmit: ArrayQueue::new(depth),
            })
        };
        Self {
            queues: (0..workers)
                .map(|_| (0..ports).map(|_| pair()).collect())
                .collect(),
            alive: Arc::default(),
        }
    }

    /// The queues of one worker.
    #[must_use]
    pub fn io(&self, worker: WorkerId) -> MemIo {
        MemIo {
            queues: self.queues[usize::from(worker.0)].clone(),
            alive: Arc::clone(&self.alive),
        }
    }

    /// A frame of these bytes arrives in the worker's receive queue of `port`; false when it is full.
    #[must_use]
    pub fn deliver(&self, worker: WorkerId, port: PortId, bytes: &[u8]) -> bool {
        let frame = CountedFrame::new(bytes, &self.alive);
        self.pair(worker, port).receive.push(frame).is_ok()
    }

    /// The next frame that the worker sent out of `port`.
    #[must_use]
    pub fn collect(&self, worker: WorkerId, port: PortId) -> Option<Vec<u8>> {
        let frame = self.pair(worker, port).transmit.pop()?;
        Some(frame.bytes().to_vec())
    }

    /// Frees what is in the queues.
    pub fn clear(&self) {
        for pair in self.queues.iter().flatten() {
            while pair.receive.pop().is_some() {}
            while pair.transmit.pop().is_some() {}
        }
    }

    /// Frames that are somewhere: in a queue, in a ring, with a worker.
    #[must_use]
    pub fn frames_alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    fn pair(&self, worker: WorkerId, port: PortId) -> &QueuePair {
        &self.queues[usize::from(worker.0)][usize::from(port.0)]
    }
}

/// One worker's queues of a [`MemDevice`].
#[derive(Debug)]
pub struct MemIo {
    queues: Vec<Arc<QueuePair>>,
    alive: Arc<AtomicUsize>,
}

impl PacketIo for MemIo {
    type Frame = CountedFrame;

    fn port_count(&self) -> usize {
        self.queues.len()
    }

    fn receive(&mut self, port: PortId, into: &mut Burst<CountedFrame>) -> usize {
        let before = into.len();
        let queue = &self.queues[usize::from(port.0)].receive;
        while !into.is_full()
            && let Some(frame) = queue.pop()
        {
            into.push(frame);
        }
        into.len() - before
    }

    fn transmit(&mut self, port: PortId, frames: &mut Burst<CountedFrame>) -> usize {
        let queue = &self.queues[usize::from(port.0)].transmit;
        let mut frames = frames.drain(..);
        let mut taken = 0;
        // What did not fit, and what follows it, is freed.
        while frames.next().is_some_and(|frame| queue.push(frame).is_ok()) {
            taken += 1;
        }
        taken
    }

    fn fresh(&mut self) -> Option<CountedFrame> {
        Some(CountedFrame::new(&[], &self.alive))
    }
}
