//! A small place where packets wait until Linux knows their neighbour.

use alloc::vec::Vec;

use weir_wire::{Addr, Mac};

use super::{InterfaceId, Network};
use crate::io::{Frame, PortId};
use crate::time::{Tick, seconds};

/// How long a packet waits: as long as Linux asks for a neighbour by default (three times, a
/// second apart).
const PATIENCE_SECONDS: u32 = 3;

/// How long until the neighbour is asked for again.
const ASK_AGAIN_TICKS: u32 = 100;

/// Frames that are complete but for their destination MAC address, oldest first.
#[derive(Debug)]
pub struct Park<F> {
    waiting: Vec<Parked<F>>,
    most: usize,
    most_per_neighbour: usize,
}

#[derive(Debug)]
struct Parked<F> {
    interface: InterfaceId,
    neighbour: Addr,
    port: PortId,
    since: Tick,
    asked: Tick,
    frame: F,
}

/// What [`Park::add`] did.
#[derive(Debug)]
pub struct Added<F> {
    /// A frame that had to go for the new one.
    pub displaced: Option<(PortId, F)>,
    /// The neighbour was not asked for lately.
    pub should_ask: bool,
}

impl<F: Frame> Park<F> {
    /// Room for `most` frames (at least one), `most_per_neighbour` of them for one neighbour.
    #[must_use]
    pub fn new(most: usize, most_per_neighbour: usize) -> Self {
        let most = most.max(1);
        Self {
            waiting: Vec::with_capacity(most),
            most,
            most_per_neighbour: most_per_neighbour.clamp(1, most),
        }
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets `frame` wait for `neighbour`, to leave by `port`. When the neighbour or the place has
    /// too many, the oldest goes.
    pub fn add(
        &mut self,
        now: Tick,
        interface: InterfaceId,
        neighbour: Addr,
        port: PortId,
        frame: F,
    ) -> Added<F> {
        let same = |p: &Parked<F>| p.interface == interface && p.neighbour == neighbour;
        let count = self.waiting.iter().filter(|p| same(p)).count();
        let asked = self.waiting.iter().rfind(|p| same(p)).map(|p| p.asked);
        let should_ask = asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN_TICKS);
        let oldest = if count >= self.most_per_neighbour {
            self.waiting.iter().position(same)
        } else {
            (self.waiting.len() >= self.most).then_some(0)
        };
        let displaced = oldest.map(|at| {
            let gone = self.waiting.remove(at);
            (gone.port, gone.frame)
        });
        self.waiting.push(Parked {
            interface,
            neighbour,
            port,
            since: now,
            asked: if should_ask {
                now
            } else {
                asked.unwrap_or(now)
            },
            frame,
        });
        Added {
            displaced,
            should_ask,
        }
    }

    /// Sends what waited for a neighbour that `network` knows. Returns how many.
    pub fn release(&mut self, network: &Network, mut send: impl FnMut(PortId, F)) -> u64 {
        let known = |p: &mut Parked<F>| network.neighbour(p.interface, p.neighbour).is_some();
        let mut sent = 0;
        for mut parked in self.waiting.extract_if(.., known) {
            let mac = network.neighbour(parked.interface, parked.neighbour);
            let Mac(bytes) = mac.unwrap_or(Mac::ZERO);
            if let Some(to) = parked.frame.bytes_mut().first_chunk_mut() {
                *to = bytes;
            }
            send(parked.port, parked.frame);
            sent += 1;
        }
        sent
    }

    /// Takes out one that has waited too long.
    pub fn take_late(&mut self, now: Tick) -> Option<(PortId, F)> {
        let late = |p: &Parked<F>| now.since(p.since) >= seconds(PATIENCE_SECONDS);
        // The oldest come first.
        let is_due = self.waiting.first().is_some_and(late);
        is_due
            .then(|| self.waiting.remove(0))
            .map(|parked| (parked.port, parked.frame))
    }
}
