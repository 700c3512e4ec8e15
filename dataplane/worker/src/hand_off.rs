//! Frames on their way to the worker that owns their flow.
//!
//! From every worker to every other leads a ring with one producer and one consumer. What a turn
//! hands over is published at its end with one store, and taken out with one: the cache line of the
//! ring's positions then travels between the cores once a burst, not once a frame.

use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer, RingBuffer};
use weir_core::io::{BURST_MAX, Burst, Frame, PortId};

/// Frames that may wait from one worker to another.
pub const HAND_OFF_RING: usize = 1024;

/// A frame and the port at which it was received.
type Handed<F> = (PortId, F);

/// One worker's ends of the rings, by the worker at the other end.
#[derive(Debug)]
pub struct Peers<F> {
    pub(crate) to: Vec<ToPeer<F>>,
    pub(crate) from: Vec<FromPeer<F>>,
}

impl<F> Peers<F> {
    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.to.len() as u16
    }
}

/// A ring from every worker to every other.
#[must_use]
pub fn mesh<F>(workers: usize) -> Vec<Peers<F>> {
    let none = || Peers {
        to: Vec::new(),
        from: Vec::new(),
    };
    let mut peers: Vec<Peers<F>> = (0..workers).map(|_| none()).collect();
    // In this order each worker's ends come to stand by the number of the other.
    for from in 0..workers {
        for to in 0..workers {
            let (producer, consumer) = RingBuffer::new(HAND_OFF_RING);
            peers[from].to.push(ToPeer::new(producer));
            peers[to].from.push(FromPeer(consumer));
        }
    }
    peers
}

/// The way to one other worker.
#[derive(Debug)]
pub(crate) struct ToPeer<F> {
    ring: Producer<Handed<F>>,
    /// Handed over in this turn.
    waiting: ArrayVec<Handed<F>, BURST_MAX>,
    /// Places in the ring that are known to be free, those for `waiting` left out.
    room: usize,
}

impl<F> ToPeer<F> {
    fn new(ring: Producer<Handed<F>>) -> Self {
        Self {
            ring,
            waiting: ArrayVec::new(),
            room: 0,
        }
    }

    /// Takes a frame, or gives it back when the ring has no place for it.
    pub(crate) fn hand_off(&mut self, port: PortId, frame: F) -> Result<(), F> {
        if self.room == 0 {
            self.room = self.ring.slots() - self.waiting.len();
            if self.room == 0 {
                return Err(frame);
            }
        }
        self.room -= 1;
        self.waiting.push((port, frame));
        if self.waiting.is_full() {
            self.publish();
        }
        Ok(())
    }

    /// Lets the other worker have what it was handed.
    pub(crate) fn publish(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        // There is room for all of it: it was counted.
        if let Ok(chunk) = self.ring.write_chunk_uninit(self.waiting.len()) {
            chunk.fill_from_iter(self.waiting.drain(..));
        }
    }
}

/// The way from one other worker.
#[derive(Debug)]
pub(crate) struct FromPeer<F>(Consumer<Handed<F>>);

impl<F: Frame> FromPeer<F> {
    /// Appends what waits and was received at the same port as the first, until `into` is full.
    /// Returns that port; none when nothing waits.
    pub(crate) fn take(&mut self, into: &mut Burst<F>) -> Option<PortId> {
        let waiting = self.0.slots().min(into.remaining_capacity());
        let of_port = self.0.peek().ok()?.0;
        let chunk = self.0.read_chunk(waiting).ok()?;
        let (first, second) = chunk.as_slices();
        let all = first.iter().chain(second);
        // They come from another core's cache: ask for all before the first is used.
        all.clone().for_each(|(_, frame)| frame.prefetch_own());
        let of_same_port = all.take_while(|(port, _)| *port == of_port).count();
        into.extend(
            self.0
                .read_chunk(of_same_port)
                .ok()?
                .into_iter()
                .map(|(_, frame)| frame),
        );
        Some(of_port)
    }
}
