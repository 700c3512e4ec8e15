//! Where frames come from and go back to, a burst at a time: DPDK's pool, or plain memory for
//! counting instructions.

use weir_core::io::{Burst, Frame};
use weir_dpdk::{Frames, Mbuf};

/// Empty frames.
pub(crate) trait Supply {
    type Frame: Frame + Send + 'static;

    /// Appends `count` empty frames; false, and none, when there are not so many.
    fn take(&mut self, into: &mut Burst<Self::Frame>, count: usize) -> bool;

    /// Takes all of `frames` back.
    fn give_back(&mut self, frames: &mut Burst<Self::Frame>);

    fn fresh(&mut self) -> Option<Self::Frame> {
        let mut one = Burst::new();
        self.take(&mut one, 1).then(|| one.pop()).flatten()
    }
}

impl Supply for Frames {
    type Frame = Mbuf;

    #[inline]
    fn take(&mut self, into: &mut Burst<Mbuf>, count: usize) -> bool {
        Frames::take(self, into, count)
    }

    #[inline]
    fn give_back(&mut self, frames: &mut Burst<Mbuf>) {
        Frames::give_back(self, frames);
    }
}

/// Frames in plain memory. As with DPDK's pool, those given back last are taken first.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    free: Vec<Plain>,
}

const HEADROOM: usize = 128;

/// A frame in plain memory.
#[derive(Debug)]
pub(crate) struct Plain {
    buffer: Box<[u8; 512]>,
    start: usize,
    end: usize,
}

impl Supply for Memory {
    type Frame = Plain;

    fn take(&mut self, into: &mut Burst<Plain>, count: usize) -> bool {
        for _ in 0..count {
            let buffer = match self.free.pop() {
                Some(frame) => frame.buffer,
                None => Box::new([0; 512]),
            };
            into.push(Plain {
                buffer,
                start: HEADROOM,
                end: HEADROOM,
            });
        }
        true
    }

    fn give_back(&mut self, frames: &mut Burst<Plain>) {
        self.free.extend(frames.drain(..));
    }
}

impl Frame for Plain {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> bool {
        let has_room = n <= self.start;
        if has_room {
            self.start -= n;
        }
        has_room
    }

    #[inline]
    fn pull_front(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    #[inline]
    fn push_back(&mut self, n: usize) -> bool {
        let has_room = n <= self.buffer.len() - self.end;
        if has_room {
            self.end += n;
        }
        has_room
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}
