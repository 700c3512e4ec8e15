//! Packets that Linux sends: nearly all leave as they are. Those of a NAT server that is the director
//! itself are replies like any other server's.

use weir_wire::{Headers, Mac, Parsed};

use crate::classify::classify;
use crate::director::Director;
use crate::forward::{Packet, Way};
use crate::io::{Frame, Outlet, PortId};
use crate::next_hop::Hop;
use crate::service::Protocol;
use crate::time::Tick;

impl<F: Frame> Director<F> {
    /// Sends a frame that Linux put into the twin of `port`.
    pub fn send_from_linux<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        mut frame: F,
        outlet: &mut O,
    ) {
        let Some(mac) = self.station_of_own_reply(port, &frame) else {
            return outlet.transmit(port, frame);
        };
        // As if it came from another host: its owner may be another worker.
        if let Some(to) = frame.bytes_mut().first_chunk_mut() {
            *to = mac.0;
        }
        let note = classify(&frame, port, &self.snapshot);
        self.pass(now, port, false, note, frame, outlet);
    }

    /// The MAC address of the director where this frame leaves, when it may be a reply of a NAT
    /// server that is the director itself.
    fn station_of_own_reply(&self, port: PortId, frame: &F) -> Option<Mac> {
        let Ok(Parsed::Ip(h)) = weir_wire::parse(frame.bytes(), false) else {
            return None;
        };
        let (services, network) = (&self.snapshot.services, &self.snapshot.network);
        let protocol = Protocol::from_number(h.protocol)?;
        let may_be = network.is_local(h.src)
            && services.is_nat_source(protocol, h.src, h.src_port)
            && !h.bits.fragment();
        let interface = network.interface_of(port, h.vlan)?;
        may_be.then_some(interface.mac)
    }
}

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// True for a packet that Linux sent: no other station has the director's MAC address.
    pub(crate) fn is_from_linux<P: Packet<F>>(&self, packet: &P) -> bool {
        let h: &Headers = &self.headers;
        let network = &self.director.snapshot.network;
        let from = packet.received().bytes().get(6..12);
        let is_own = |mac: Mac| from == Some(&mac.0);
        network.is_local(h.src)
            && network
                .interface_of(self.port, h.vlan)
                .is_some_and(|interface| is_own(interface.mac))
    }

    /// Sends a packet of Linux's that is no reply of a flow to where it was to go.
    pub(crate) fn pass_on<P: Packet<F>>(&mut self, packet: P) {
        let h = self.headers;
        match self.director.hop_to_client(h.dst) {
            hop @ (Hop::Ready(next) | Hop::Unresolved { hop: next, .. }) => {
                self.send(packet, usize::from(h.l3), h.family(), hop, next);
            }
            Hop::Local | Hop::Unreachable => {
                self.end(&packet, crate::counters::DropReason::Unreachable);
            }
        }
    }
}
