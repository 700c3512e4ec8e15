//! Packets that Linux sends: nearly all leave as they are. Those of a NAT server that is the director
//! itself are replies like any other server's.

use weir_wire::{Headers, Mac, Parsed, icmp, parse_embedded, rewrite};

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
        let Some((mac, headers)) = self.station_of_own_reply(port, &frame) else {
            return outlet.transmit(port, frame);
        };
        // As if it came from another host, from which it were one hop: its owner may be another worker.
        if let Some(to) = frame.bytes_mut().first_chunk_mut() {
            *to = mac.0;
        }
        rewrite::increment_ttl(frame.bytes_mut(), &headers);
        self.received_at = port;
        let note = classify(&frame, port, &self.snapshot);
        self.pass(now, port, false, note, frame, outlet);
    }

    /// The MAC address of the director where this frame leaves, and its headers, when it may be a
    /// reply of a NAT server that is the director itself, or an ICMP error in its place.
    fn station_of_own_reply(&self, port: PortId, frame: &F) -> Option<(Mac, Headers)> {
        let Ok(Parsed::Ip(h)) = weir_wire::parse(frame.bytes(), false) else {
            return None;
        };
        let (services, network) = (&self.snapshot.services, &self.snapshot.network);
        if !network.is_local(h.src) || h.bits.fragment() {
            return None;
        }
        let (protocol, server, port_of_server) = if h.is_icmp() {
            let at = icmp::quoted_at(&h);
            let is_error = icmp::is_related_error(h.family(), h.icmp_type);
            let quoted =
                is_error.then(|| parse_embedded(frame.bytes(), at, usize::from(h.end)))??;
            (quoted.protocol, quoted.dst, quoted.dst_port)
        } else {
            (h.protocol, h.src, h.src_port)
        };
        let protocol = Protocol::from_number(protocol)?;
        let may_be =
            network.is_local(server) && services.is_nat_source(protocol, server, port_of_server);
        let interface = network.interface_of(port, h.vlan)?;
        may_be.then_some((interface.mac, h))
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
    pub(crate) fn pass_on<P: Packet<F>>(&mut self, mut packet: P) {
        let h = self.headers;
        // It has gone no hop.
        rewrite::decrement_ttl(packet.bytes_mut(), &h);
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
