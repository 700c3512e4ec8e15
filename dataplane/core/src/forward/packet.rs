//! What is on its way out: a frame as it was received, or a packet put together from fragments.

use core::ops::Range;

use crate::io::Frame;

/// A packet whose bytes can be rewritten, of frames `F`.
pub(crate) trait Packet<F>: Frame {
    /// Bytes of the longest fragment that it came in, IP header onward; 0 when it came whole. What
    /// came in fragments leaves in fragments that are no longer.
    fn came_in(&self) -> u16;

    /// Where in its bytes each fragment ends that it came in, in order; none when it came whole.
    fn seams(&self) -> impl Iterator<Item = usize>;

    /// Its first `len` bytes become one piece, for what is rewritten lies in them: no seam is left there.
    fn join_front(&mut self, len: usize);

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
    fn seams(&self) -> impl Iterator<Item = usize> {
        core::iter::empty()
    }

    #[inline]
    fn join_front(&mut self, _: usize) {}

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
    came: Came<'a, F>,
    first: &'a F,
    /// Up to where it is one piece.
    joined: usize,
}

/// The fragments of a packet put together.
#[derive(Clone, Copy)]
pub(crate) struct Came<'a, F> {
    pub(crate) frames: &'a [F],
    /// Where their payload begins in the buffer, and where in that each ends.
    pub(crate) payload_at: usize,
    pub(crate) ends: &'a [u16],
    /// Bytes of the longest, IP header onward.
    pub(crate) longest: u16,
}

impl<'a, F: Frame> Whole<'a, F> {
    /// The packet in `buffer[range]`, of these fragments; none if there are none.
    pub(crate) fn new(
        buffer: &'a mut [u8],
        range: Range<usize>,
        came: Came<'a, F>,
    ) -> Option<Self> {
        let end = range.end.min(buffer.len());
        Some(Self {
            start: range.start.min(end),
            end,
            buffer,
            first: came.frames.first()?,
            came,
            joined: 0,
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
        self.came.longest
    }

    fn seams(&self) -> impl Iterator<Item = usize> {
        let Came {
            payload_at, ends, ..
        } = self.came;
        let ends = ends.iter().map(move |end| payload_at + usize::from(*end));
        let is_joined = ends.clone().next().is_some_and(|end| end < self.joined);
        let joined = is_joined.then_some(self.joined);
        let rest = ends.filter(move |end| joined.is_none_or(|joined| *end > joined));
        let all = joined.into_iter().chain(rest);
        all.map(|end| end.min(self.end).saturating_sub(self.start))
    }

    fn join_front(&mut self, len: usize) {
        self.joined = self
            .joined
            .max(self.start.saturating_add(len).min(self.end));
    }

    fn received(&self) -> &F {
        self.first
    }

    fn all_received(&self) -> &[F] {
        self.came.frames
    }

    fn into_frame(self) -> Option<F> {
        None
    }
}
