//! A next hop that does not answer: who sent the packet is told, as by any router (RFC 1812 §5.2.7.1).

use core::ops::Range;

use weir_wire::{Addr, Parsed, icmp, parse_embedded, rewrite, tunnel};

use super::Way;
use crate::counters::DropReason;
use crate::director::Director;
use crate::flow::Direction;
use crate::io::{Frame, Outlet};
use crate::next_hop::Hop;
use crate::time::Tick;
use crate::track::tuple_of;

impl<F: Frame> Director<F> {
    /// Gives up packets that waited too long for their neighbour.
    pub(crate) fn give_up_parked<O: Outlet<Frame = F>>(&mut self, now: Tick, outlet: &mut O) {
        while let Some((port, frame)) = self.park.take_late(now) {
            if let Ok(Parsed::Ip(headers)) = weir_wire::parse(frame.bytes(), false) {
                let mut way = Way {
                    director: self,
                    outlet,
                    now,
                    port,
                    headers,
                };
                way.unanswered(frame);
            } else {
                self.end(DropReason::NeighbourTimeout, port, &frame, outlet);
            }
        }
    }
}

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// Ends a packet that was ready to leave, and tells the client of a request so, in the client's
    /// terms: what was rewritten is written back, and of a tunnel's packet it is the one inside.
    fn unanswered(&mut self, mut frame: F) {
        let original = self.inside(&frame).unwrap_or_else(|| {
            self.undo(&mut frame);
            usize::from(self.headers.l3)..usize::from(self.headers.end)
        });
        if let Ok(inner) = weir_wire::parse_ip(frame.bytes(), original.start, false) {
            let client = inner.src;
            self.headers.src = client;
            let snapshot = &self.director.snapshot;
            let is_own = snapshot.services.is_virtual(client) || snapshot.network.is_local(client);
            let from = self.own_address_towards(client);
            if let Some(from) = from.filter(|from| !is_own && from.family() == client.family())
                && let Some(original) = frame.bytes().get(original)
                && icmp::may_answer(&inner, frame.bytes())
                && self.may_speak()
            {
                let kind = icmp::ErrorKind::HostUnreachable;
                let len = icmp::error_len(client.family(), original.len());
                let sent = self.answer(&frame, client, len, |packet| {
                    icmp::write_error(packet, kind, from, client, original, inner.tos)
                });
                self.director.counters.icmp_sent.add(u64::from(sent > 0));
            }
        }
        self.end(&frame, DropReason::NeighbourTimeout);
    }

    /// Where the packet inside stands, of one that the director has put into a tunnel.
    fn inside(&self, frame: &F) -> Option<Range<usize>> {
        let (bytes, h) = (frame.bytes(), &self.headers);
        let network = &self.director.snapshot.network;
        if !network.is_local(h.src) {
            return None;
        }
        let outer = parse_embedded(bytes, usize::from(h.l3), usize::from(h.end))?;
        let (_, at) = tunnel::in_quoted(bytes, &outer)?;
        Some(at..usize::from(h.end))
    }

    /// Puts back what a request had before NAT or FullNAT.
    fn undo(&mut self, frame: &mut F) {
        let h = self.headers;
        let Some(tuple) = tuple_of(&h) else { return };
        let reply = tuple.reversed();
        let flows = &self.director.flows;
        if let Some((id, Direction::Reply)) = flows.find(&reply, flows.hash(&reply)) {
            let flow = flows.get(id);
            let request = flow.request();
            let (src, dst) = (
                (request.src, request.src_port),
                (request.dst, request.dst_port),
            );
            rewrite::set_ends(frame.bytes_mut(), &h, src, dst);
        }
    }

    /// The director's address where packets to `client` leave.
    fn own_address_towards(&mut self, client: Addr) -> Option<Addr> {
        match self.director.hop_to_client(client) {
            Hop::Ready(next) | Hop::Unresolved { hop: next, .. } => next.source,
            Hop::Local | Hop::Unreachable => None,
        }
    }
}
