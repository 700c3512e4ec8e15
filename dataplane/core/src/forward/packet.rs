//! What is on its way out: a frame as it was received, or a packet put together from fragments.

use core::ops::Range;

use crate::io::Frame;

/// A packet whose bytes can be rewritten, of frames `F`.
pub(crate) trait Packet<F>: Frame {
    /// Bytes of the longest fragment that it came in, IP header onward; 0 when it came whole. What
    /// came in fragments leaves in fragments that are no longer.
    fn came_in(&self) -> u16;

    /// The frame that it was received in, or the first of them.
    fn received(&self) -> &F;

    /// All frames that it was received in.
    fn all_received(&self) -> &[F];

    /// The frame that it is; none when it is none.
    fn into_frame(self) -> Option<F>;
}

impl<F: Frame> Packet<F> for F {
    #[inline]
    fn came_in(&self) -> u16 {
        0
    }

    #[inline]
    fn received(&self) -> &F {
        self
    }

    #[inline]
    fn all_received(&self) -> &[F] {
        core::slice::from_ref(self)
    }

    #[inline]
    fn into_frame(self) -> Option<F> {
        Some(self)
    }
}

/// A packet put together from fragments, IP header onward, with room before it. It is longer than
/// a frame may be, so it leaves in fragments, or by a copy if it is short enough.
pub(crate) struct Whole<'a, F> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
    first: &'a F,
    fragments: &'a [F],
    came_in: u16,
}

impl<'a, F: Frame> Whole<'a, F> {
    /// The packet in `buffer[range]`, of these fragments, of which the longest is as long as
    /// `came_in` says; none if there are none.
    pub(crate) fn new(
        buffer: &'a mut [u8],
        range: Range<usize>,
        fragments: &'a [F],
        came_in: u16,
    ) -> Option<Self> {
        let end = range.end.min(buffer.len());
        Some(Self {
            start: range.start.min(end),
            end,
            buffer,
            first: fragments.first()?,
            fragments,
            came_in,
        })
    }
}

impl<F: Frame> Frame for Whole<'_, F> {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.start..self.end;
        self.buffer.get_mut(range).unwrap_or_default()
    }

    fn push_front(&mut self, n: usize) -> bool {
        let room = self.start.checked_sub(n);
        self.start = room.unwrap_or(self.start);
        room.is_some()
    }

    fn pull_front(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    fn push_back(&mut self, n: usize) -> bool {
        let fits = n <= self.buffer.len() - self.end;
        self.end += if fits { n } else { 0 };
        fits
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}

impl<F: Frame> Packet<F> for Whole<'_, F> {
    fn came_in(&self) -> u16 {
        self.came_in
    }

    fn received(&self) -> &F {
        self.first
    }

    fn all_received(&self) -> &[F] {
        self.fragments
    }

    fn into_frame(self) -> Option<F> {
        None
    }
}
