//! What the director says in its own name: ICMP errors and TCP resets.

use weir_wire::{Addr, Family, Mac, icmp, rewrite, tcp};

use super::{Packet, Way};
use crate::counters::DropReason;
use crate::io::{Frame, Outlet};
use crate::next_hop::{Hop, NextHop};
use crate::note::{FromServer, PuntClass, ToServer};
use crate::service::ServerId;

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// Ends a packet and tells its sender why, in the name of `src`, as far as RFC 1122 §3.2.2,
    /// RFC 4443 §2.4 and the limit allow.
    pub(super) fn error<P: Packet<F>>(
        &mut self,
        frame: P,
        reason: DropReason,
        kind: icmp::ErrorKind,
        src: Addr,
    ) {
        self.told(&frame, kind, src);
        self.end(&frame, reason);
    }

    /// Ends a client's packet that cannot go on to its server, and tells the client why in the name of
    /// the service. Where the server answers past the director, the kernel takes that for a packet of
    /// the server and counts it as one; so does Weir.
    pub(super) fn error_of_request<P: Packet<F>>(
        &mut self,
        frame: P,
        to: &ToServer,
        reason: DropReason,
        kind: icmp::ErrorKind,
    ) {
        let len = self.told(&frame, kind, self.headers.dst);
        let is_past = to.has_flow && !to.method.sees_replies();
        let server = is_past.then_some(to.server).or(self.director.just_ended);
        self.count_told(server, len);
        self.end(&frame, reason);
    }

    /// Counts an error of this length, 0 for none, as a packet of `server`.
    fn count_told(&self, server: Option<ServerId>, len: usize) {
        if let Some(server) = server.filter(|_| len > 0) {
            self.director.count_out(server, len as u64);
        }
    }

    /// Tells the sender of a first fragment that the others did not come in time; `server` is its
    /// flow's where that answers past the director.
    pub(crate) fn tell_of_time(&mut self, first: &F, server: Option<ServerId>) {
        let (icmp_type, code) = match self.headers.family() {
            Family::V4 => (11, 1),
            Family::V6 => (3, 1),
        };
        let kind = icmp::ErrorKind::Told {
            icmp_type,
            code,
            word: 0,
        };
        let len = self.told(first, kind, self.headers.dst);
        self.count_told(server, len);
    }

    /// Tells the sender of a packet what is wrong with it; returns the length of what was said, 0 when
    /// nothing may be.
    fn told<P: Packet<F>>(&mut self, frame: &P, kind: icmp::ErrorKind, src: Addr) -> usize {
        if icmp::may_answer(&self.headers, frame.received().bytes()) && self.may_speak() {
            self.send_error(frame, kind, src)
        } else {
            0
        }
    }

    /// Ends a packet that no flow may take: a TCP segment without flow gets a reset, everything
    /// else a port unreachable (RFC 9293 §3.10.7.1, RFC 1122 §4.1.3.1). The kernel too sends port
    /// unreachable, not a reset, when a service has no real server. In the name of another host, whose
    /// packet a mark has taken from its way, nothing is said, as by the kernel.
    pub(crate) fn refuse<P: Packet<F>>(&mut self, frame: P, reason: DropReason) {
        let h = self.headers;
        if !self.is_to_director() {
            return self.end(&frame, reason);
        }
        if h.is_tcp() && reason != DropReason::NoServer {
            // No stack answers a segment that is damaged.
            if tcp::checksum_ok(frame.bytes(), &h) {
                self.reset(&frame);
            }
            return self.end(&frame, reason);
        }
        let len = self.told(&frame, icmp::ErrorKind::PortUnreachable, h.dst);
        self.count_told(self.director.just_ended, len);
        self.end(&frame, reason);
    }

    /// Ends the packet of a real server that belongs to no flow, and tells the server so in the name
    /// of the director on its side (`nat_icmp_send`).
    pub(crate) fn tell_server<P: Packet<F>>(&mut self, mut frame: P) {
        // On its way it would have been here.
        rewrite::decrement_ttl(frame.bytes_mut(), &self.headers);
        let own = self.own_address();
        let kind = icmp::ErrorKind::PortUnreachable;
        self.error(frame, DropReason::ServerWithoutFlow, kind, own);
    }

    /// Gives the packet to Linux; where there is none behind the port, answers for the director's
    /// own addresses as Linux would.
    pub(crate) fn punt_or_refuse<P: Packet<F>>(&mut self, frame: P) {
        if self.is_from_linux(&frame) {
            return self.pass_on(frame);
        }
        let Err(reason) = self.give(&frame, PuntClass::Ordinary) else {
            return;
        };
        let has_port = self.headers.is_tcp() || self.headers.is_udp();
        if reason == DropReason::NoTwin && self.is_to_director() && has_port {
            self.refuse(frame, reason);
        } else {
            self.end(&frame, reason);
        }
    }

    /// True for a packet to one of the director's own addresses or of its services'.
    fn is_to_director(&self) -> bool {
        let snapshot = &self.director.snapshot;
        let dst = self.headers.dst;
        snapshot.network.is_local(dst)
            || snapshot.services.is_virtual(dst)
            || snapshot.services.is_local(dst)
    }

    pub(super) fn may_speak(&mut self) -> bool {
        let allowed = self.director.errors.allow(self.now, false);
        if !allowed {
            self.director.counters.answers_suppressed.add(1);
        }
        allowed
    }

    fn send_error<P: Packet<F>>(&mut self, frame: &P, kind: icmp::ErrorKind, src: Addr) -> usize {
        let h = self.headers;
        let end = usize::from(h.end).min(frame.bytes().len());
        let Some(original) = frame.bytes().get(usize::from(h.l3)..end) else {
            return 0;
        };
        let len = icmp::error_len(h.family(), original.len());
        let sent = self.answer(frame.received(), h.src, len, |packet| {
            icmp::write_error(packet, kind, src, h.src, original, h.tos)
        });
        if sent > 0 {
            self.director.counters.icmp_sent.add(1);
        }
        sent
    }

    /// Sends resets to both ends of a flow, each with the numbers of this packet from the client.
    pub(crate) fn reset_request<P: Packet<F>>(&mut self, mut frame: P, to: ToServer) {
        self.reset_sender(&mut frame);
        self.request(frame, to);
    }

    /// As [`reset_request`](Self::reset_request), of a packet from the server.
    pub(crate) fn reset_reply<P: Packet<F>>(&mut self, mut frame: P, from: FromServer) {
        self.reset_sender(&mut frame);
        self.reply(frame, from);
    }

    /// Answers the packet with a reset and makes it one itself.
    fn reset_sender<P: Packet<F>>(&mut self, frame: &mut P) {
        self.send_reset(frame);
        if let Some(headers) = tcp::become_reset(frame.bytes_mut(), &self.headers) {
            self.headers = headers;
        }
    }

    fn reset<P: Packet<F>>(&mut self, frame: &P) {
        let is_reset = self.headers.tcp_flags & weir_wire::tcp_flag::RST != 0;
        if !is_reset && self.may_speak() {
            self.send_reset(frame);
        }
    }

    fn send_reset<P: Packet<F>>(&mut self, frame: &P) {
        let h = self.headers;
        let len = tcp::reset_len(h.family());
        let sent = self.answer(frame.received(), h.src, len, |packet| {
            tcp::write_reset(packet, frame.bytes(), &h).unwrap_or(0)
        });
        if sent > 0 {
            self.director.counters.resets_sent.add(1);
        }
    }

    /// Sends a new packet of up to `len` bytes to `to`; returns its length, 0 when it could not be
    /// made. `write` returns its length, 0 for none.
    pub(super) fn answer(
        &mut self,
        about: &F,
        to: Addr,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> usize {
        let way = match self.director.hop_to_client(to) {
            hop @ (Hop::Ready(next) | Hop::Unresolved { hop: next, .. }) => (hop, next),
            Hop::Local | Hop::Unreachable => match self.way_back(about) {
                Some(next) => (Hop::Ready(next), next),
                None => return 0,
            },
        };
        let (now, family) = (self.now, self.headers.family());
        self.director
            .send_own(now, way, family, len, self.outlet, write)
    }

    /// Back to the station that sent the frame, when no route says better.
    fn way_back(&self, about: &F) -> Option<NextHop> {
        let mac = |at| about.bytes().get(at..)?.first_chunk().map(|mac| Mac(*mac));
        let (own, sender) = (mac(0)?, mac(6)?);
        (!own.is_multicast()).then_some(NextHop {
            port: self.port,
            vlan: self.headers.vlan,
            dst: sender,
            src: own,
            mtu: u16::MAX,
            source: None,
        })
    }
}
