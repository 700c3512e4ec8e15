//! The worker's outlet: transmit buffers, hand-off rings, the twins, reports to control.

use std::sync::Arc;

use weir_core::counters::{DropReason, WorkerCounters};
use weir_core::io::{Burst, Frame, Outlet, PacketIo, PortId, WorkerId};
use weir_core::next_hop::InterfaceId;
use weir_core::time::{TICKS_PER_SECOND, Tick};
use weir_wire::Addr;

use crate::hand_off::ToPeer;
use crate::handle::{Shared, Solicitation};
use crate::rings::TwinLink;
use crate::worker::{Config, sample_of};

pub(crate) struct Outside<IO: PacketIo> {
    pub(crate) io: IO,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) now: Tick,
    /// By port: what leaves at the end of the turn, or when it is full.
    leaving: Vec<Leaving<IO::Frame>>,
    to_peers: Vec<ToPeer<IO::Frame>>,
    twins: Option<TwinLink>,
    /// By port.
    has_twin: Vec<bool>,
    shared: Arc<Shared>,
    has_punted: bool,
    /// By reason: when the last sample was taken.
    sampled: [Option<Tick>; DropReason::ALL.len()],
}

/// Frames for one port, and their bytes.
struct Leaving<F> {
    frames: Burst<F>,
    bytes: usize,
}

impl<F> Leaving<F> {
    fn none() -> Self {
        Self {
            frames: Burst::new(),
            bytes: 0,
        }
    }
}

impl<IO: PacketIo> Outside<IO> {
    pub(crate) fn new(
        config: &Config,
        io: IO,
        to_peers: Vec<ToPeer<IO::Frame>>,
        counters: Arc<WorkerCounters>,
        shared: Arc<Shared>,
    ) -> Self {
        let ports = io.port_count();
        let mut has_twin = vec![false; ports];
        let (twins, twinned) = config.twins.clone().unzip();
        for port in twinned.unwrap_or_default() {
            if let Some(has) = has_twin.get_mut(usize::from(port.0)) {
                *has = true;
            }
        }
        Self {
            io,
            counters,
            now: Tick::default(),
            leaving: (0..ports).map(|_| Leaving::none()).collect(),
            to_peers,
            twins,
            has_twin,
            shared,
            has_punted: false,
            sampled: [None; DropReason::ALL.len()],
        }
    }

    pub(crate) fn port_count(&self) -> usize {
        self.leaving.len()
    }

    /// Takes a packet that Linux put in its ring, and the port that it leaves by; no frame when
    /// there was no buffer for it.
    pub(crate) fn next_from_linux(&mut self) -> Option<(PortId, Option<IO::Frame>)> {
        let ring = Arc::clone(&self.twins.as_ref()?.from_linux);
        let packet = ring.receive()?;
        let port = packet.port;
        let frame = self.copied(packet.bytes());
        match frame {
            Some(_) => self.counters.from_linux.add(1),
            None => self.counters.count_drop(DropReason::NoBuffer),
        }
        ring.give_back(packet);
        Some((port, frame))
    }

    fn copied(&mut self, bytes: &[u8]) -> Option<IO::Frame> {
        let mut frame = self.io.fresh()?;
        if !frame.push_back(bytes.len()) {
            return None;
        }
        frame.bytes_mut().copy_from_slice(bytes);
        Some(frame)
    }

    /// Ends a turn: everything that is to leave leaves.
    pub(crate) fn flush(&mut self) {
        for port in 0..self.leaving.len() {
            self.flush_port(port);
        }
        for peer in &mut self.to_peers {
            peer.publish();
        }
        if core::mem::take(&mut self.has_punted)
            && let Some(link) = &self.twins
        {
            link.doorbell.ring();
        }
    }

    #[inline(never)]
    fn flush_port(&mut self, port: usize) {
        let Leaving { frames, bytes } = &mut self.leaving[port];
        let wanted = frames.len();
        if wanted == 0 {
            return;
        }
        let bytes = core::mem::take(bytes);
        let taken = self.io.transmit(PortId(port as u16), frames);
        for _ in taken..wanted {
            self.counters.count_drop(DropReason::TransmitFull);
        }
        if let Some(counters) = self.counters.ports.get(port) {
            counters.packets_sent.add(taken as u64);
            // When the queue took only some, their share of the bytes is near enough.
            counters.bytes_sent.add((bytes * taken / wanted) as u64);
        }
    }
}

impl<IO: PacketIo> Outlet for Outside<IO> {
    type Frame = IO::Frame;

    #[inline]
    fn transmit(&mut self, port: PortId, frame: IO::Frame) {
        let at = usize::from(port.0);
        let Some(leaving) = self.leaving.get_mut(at) else {
            return self.counters.count_drop(DropReason::PortGone);
        };
        leaving.bytes += frame.bytes().len();
        leaving.frames.push(frame);
        if leaving.frames.is_full() {
            self.flush_port(at);
        }
    }

    fn punt(&mut self, port: PortId, frame: &IO::Frame) -> Result<(), DropReason> {
        let has_twin = self.has_twin.get(usize::from(port.0));
        let Some(link) = self.twins.as_ref().filter(|_| has_twin == Some(&true)) else {
            return Err(DropReason::NoTwin);
        };
        let ring = &link.to_linux;
        let mut packet = ring.take_free().ok_or(DropReason::PuntRingFull)?;
        if !packet.fill(port, frame.bytes()) {
            ring.give_back(packet);
            return Err(DropReason::NoBuffer);
        }
        ring.send(packet);
        self.has_punted = true;
        Ok(())
    }

    fn hand_off(
        &mut self,
        owner: WorkerId,
        port: PortId,
        frame: IO::Frame,
    ) -> Result<(), IO::Frame> {
        match self.to_peers.get_mut(usize::from(owner.0)) {
            Some(peer) => peer.hand_off(port, frame),
            None => Err(frame),
        }
    }

    fn fresh(&mut self) -> Option<IO::Frame> {
        self.io.fresh()
    }

    fn solicit(&mut self, interface: InterfaceId, neighbour: Addr) {
        // A full ring means that control is behind; the neighbour is asked for again in a second.
        let _ = self.shared.solicitations.push(Solicitation {
            interface,
            neighbour,
        });
    }

    /// Keeps one sample a second for each reason.
    fn dropped(&mut self, reason: DropReason, port: PortId, frame: &IO::Frame) {
        let last = &mut self.sampled[reason as usize];
        if last.is_some_and(|last| self.now.since(last) < TICKS_PER_SECOND) {
            return;
        }
        *last = Some(self.now);
        self.shared
            .samples
            .force_push(sample_of(reason, port, frame));
    }
}
