//! Where frames come from and go back to, a burst at a time: DPDK's pool, or plain memory.

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
