//! The wire at the ports of the workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use weir_core::io::{PortId, WorkerId};
use weir_worker::testing::MemDevice;

use crate::network::{LAN, Sent, WAN};

/// Nothing here takes longer, even under a sanitiser on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Packets under way at most, for what is to be free of loss: half of what one ring holds from one
/// worker to another, should that one not run for a while.
const WINDOW: u64 = 512;

/// Puts packets on the wire and takes them off, from any thread.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) device: MemDevice,
    workers: u16,
    delivered: AtomicU64,
    collected: AtomicU64,
}

impl Wire {
    pub(crate) fn new(workers: u16, depth: usize) -> Self {
        Self {
            device: MemDevice::new(workers.into(), 2, depth),
            workers,
            delivered: AtomicU64::new(0),
            collected: AtomicU64::new(0),
        }
    }

    /// Puts a frame into this worker's queue when the [`WINDOW`] allows: another thread must collect.
    pub(crate) fn deliver(&self, worker: WorkerId, port: PortId, frame: &[u8]) {
        wait_until(|| {
            let collected = self.collected.load(Ordering::Relaxed);
            self.delivered.load(Ordering::Relaxed) < collected + WINDOW
        });
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.flood(worker, port, frame);
    }

    /// Puts a frame into this worker's queue as soon as it has room.
    pub(crate) fn flood(&self, worker: WorkerId, port: PortId, frame: &[u8]) {
        wait_until(|| self.device.deliver(worker, port, frame));
    }

    /// Everything that has left since the last call; in order for each queue.
    pub(crate) fn collect(&self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for worker in 0..self.workers {
            for port in [WAN, LAN] {
                while let Some(bytes) = self.device.collect(WorkerId(worker), port) {
                    sent.push(Sent::parse(port, bytes));
                }
            }
        }
        self.collected
            .fetch_add(sent.len() as u64, Ordering::Relaxed);
        sent
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "the workers stand still");
        pause();
    }
}

/// Lets the workers have the cores.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_micros(50));
}

/// Waits for threads of a scope to end. The scope would, too, but not so that the thread sanitiser
/// sees it: it waits by a futex inside the standard library.
pub(crate) fn join<'scope>(threads: impl IntoIterator<Item = ScopedJoinHandle<'scope, ()>>) {
    for thread in threads {
        thread.join().expect("the wire's thread");
    }
}
