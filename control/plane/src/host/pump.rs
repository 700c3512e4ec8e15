//! The twins' thread: moves frames between the workers' rings and the twins' taps.
//!
//! Work per turn is bounded and fair: a few frames from each ring and each tap, then the next. It
//! sleeps in poll(2) when nothing waits; workers wake it through the doorbell.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use weir_core::io::PortId;
use weir_worker::rings::{Doorbell, TwinLink};

use super::twin::Twin;

/// Frames taken from one ring or tap before the next has its turn.
const FAIR_SHARE: usize = 64;

/// What went through one twin.
#[derive(Debug, Default)]
pub struct TwinCounters {
    /// Frames given to Linux.
    pub packets_to_linux: AtomicU64,
    /// Bytes of those.
    pub bytes_to_linux: AtomicU64,
    /// Frames that Linux did not take.
    pub dropped_to_linux: AtomicU64,
    /// Frames from Linux.
    pub packets_from_linux: AtomicU64,
    /// Bytes of those.
    pub bytes_from_linux: AtomicU64,
    /// Frames from Linux that no worker had room for.
    pub dropped_from_linux: AtomicU64,
}

/// A twin of a port, as the pump drives it.
#[derive(Debug)]
struct Line {
    port: PortId,
    tap: File,
    counters: Arc<TwinCounters>,
    /// Somebody deleted the interface: poll would return at once for ever.
    is_gone: Cell<bool>,
}

/// The running thread. Dropping it ends the thread; the taps go with it.
#[derive(Debug)]
pub struct Pump {
    stop: Arc<AtomicBool>,
    doorbell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
    counters: Vec<(PortId, Arc<TwinCounters>)>,
}

/// A doorbell on a new eventfd.
///
/// # Errors
/// When the process may open no more files.
pub fn doorbell() -> std::io::Result<Arc<Doorbell>> {
    let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    Ok(Arc::new(Doorbell::new(File::from(fd))))
}

impl Pump {
    /// Starts the thread over these twins and the workers' links.
    ///
    /// # Errors
    /// When a descriptor or thread is not to be had.
    pub fn start(
        twins: &[(PortId, Twin)],
        links: Vec<TwinLink>,
        doorbell: Arc<Doorbell>,
    ) -> std::io::Result<Self> {
        let mut lines = Vec::new();
        for (port, twin) in twins {
            lines.push(Line {
                port: *port,
                tap: twin.tap.try_clone()?,
                counters: Arc::default(),
                is_gone: Cell::new(false),
            });
        }
        let counters = lines
            .iter()
            .map(|line| (line.port, Arc::clone(&line.counters)))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            lines,
            links,
            doorbell: Arc::clone(&doorbell),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("twins".to_owned())
            .spawn(move || work.run())?;
        Ok(Self {
            stop,
            doorbell,
            thread: Some(thread),
            counters,
        })
    }

    /// By port: what went through its twin.
    #[must_use]
    pub fn counters(&self) -> &[(PortId, Arc<TwinCounters>)] {
        &self.counters
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes it in any case; a full counter means that it is being woken.
        let _ = self.doorbell.eventfd().write(&1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    lines: Vec<Line>,
    links: Vec<TwinLink>,
    doorbell: Arc<Doorbell>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(self) {
        while !self.stop.load(Ordering::Acquire) {
            let mut moved = self.give_all();
            for line in self.present() {
                moved |= self.take_all(line);
            }
            if !moved {
                self.sleep();
            }
        }
    }

    fn present(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.is_gone.get())
    }

    fn give_all(&self) -> bool {
        let mut moved = false;
        for link in &self.links {
            for _ in 0..FAIR_SHARE {
                let Some(packet) = link.to_linux.receive() else {
                    break;
                };
                moved = true;
                if let Some(line) = self.lines.iter().find(|line| line.port == packet.port) {
                    line.give(packet.bytes());
                }
                link.to_linux.give_back(packet);
            }
        }
        moved
    }

    /// Frames of one port always go to the same worker, so that they keep their order.
    fn take_all(&self, line: &Line) -> bool {
        let Some(link) = self
            .links
            .get(usize::from(line.port.0) % self.links.len().max(1))
        else {
            return false;
        };
        let mut moved = false;
        for _ in 0..FAIR_SHARE {
            let Some(mut packet) = link.from_linux.take_free() else {
                return self.discard(line) || moved;
            };
            match (&line.tap).read(packet.buffer_mut()) {
                Ok(len) if len > 0 => {
                    packet.set_len(len);
                    packet.port = line.port;
                    count(
                        &line.counters.packets_from_linux,
                        &line.counters.bytes_from_linux,
                        len,
                    );
                    link.from_linux.send(packet);
                    moved = true;
                }
                other => {
                    link.from_linux.give_back(packet);
                    line.look_at(other);
                    break;
                }
            }
        }
        moved
    }

    /// No worker has room: the frame goes, or poll would return at once for ever.
    fn discard(&self, line: &Line) -> bool {
        let mut lost = [0; 64];
        match (&line.tap).read(&mut lost) {
            Ok(len) if len > 0 => {
                line.counters
                    .dropped_from_linux
                    .fetch_add(1, Ordering::Relaxed);
                true
            }
            other => {
                line.look_at(other);
                false
            }
        }
    }

    fn sleep(&self) {
        self.doorbell.fall_asleep();
        let waiting = self.links.iter().any(|link| !link.to_linux.is_empty());
        if !waiting && !self.stop.load(Ordering::Acquire) {
            let taps = self.present().map(|line| &line.tap);
            let mut fds: Vec<PollFd<'_>> = taps
                .chain([self.doorbell.eventfd()])
                .map(|file| PollFd::new(file, PollFlags::IN))
                .collect();
            if let Err(error) = poll(&mut fds, None)
                && error != rustix::io::Errno::INTR
            {
                tracing::error!("the twins' thread cannot poll: {error}");
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
        self.doorbell.wake_up();
        let mut rung = [0; 8];
        // Empty when a tap woke it.
        let _ = self.doorbell.eventfd().read(&mut rung);
    }
}

impl Line {
    /// Tells an empty tap from one that is no more.
    fn look_at(&self, read: std::io::Result<usize>) {
        let gone = read.is_err_and(|error| error.raw_os_error() == Some(libc::EBADFD));
        if gone {
            self.is_gone.set(true);
            let port = self.port.0;
            tracing::error!(
                "the twin of port {port} was deleted; its packets end here until weird is restarted"
            );
        }
    }

    fn give(&self, frame: &[u8]) {
        match (&self.tap).write(frame) {
            Ok(len) => count(
                &self.counters.packets_to_linux,
                &self.counters.bytes_to_linux,
                len,
            ),
            Err(error) => {
                self.counters
                    .dropped_to_linux
                    .fetch_add(1, Ordering::Relaxed);
                if error.kind() != ErrorKind::WouldBlock {
                    tracing::debug!("a twin does not take a frame: {error}");
                }
            }
        }
    }
}

fn count(packets: &AtomicU64, bytes: &AtomicU64, len: usize) {
    packets.fetch_add(1, Ordering::Relaxed);
    bytes.fetch_add(len as u64, Ordering::Relaxed);
}
