//! Stage 5: a packet gets its new bytes and leaves.
//!
//! Rewriting happens while the Ethernet header still stands as received, so that the offsets in
//! [`Headers`] hold; [`Way::send`] puts the new Ethernet header on last.

mod answer;
mod packet;
mod pieces;
mod related;
mod send;
mod tunnel;
mod unresolved;

pub(crate) use packet::{Came, Packet, Whole};
pub(crate) use tunnel::least_mtu;

use weir_wire::{Addr, Family, Headers, icmp, rewrite};

use crate::counters::DropReason;
use crate::director::Director;
use crate::io::{Frame, Outlet, PortId};
use crate::next_hop::Hop;
use crate::note::{FromServer, ToServer};
use crate::service::{Method, Protocol};
use crate::time::Tick;

/// One packet on its way out.
pub(crate) struct Way<'a, F, O> {
    pub(crate) director: &'a mut Director<F>,
    pub(crate) outlet: &'a mut O,
    pub(crate) now: Tick,
    /// Where it was received.
    pub(crate) port: PortId,
    pub(crate) headers: Headers,
}

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// From a client to its real server.
    pub(crate) fn request<P: Packet<F>>(&mut self, mut packet: P, to: ToServer) {
        let h = self.headers;
        let hop = self.director.hop_to_server(self.now, to.server, to.addr);
        let next = match hop {
            Hop::Ready(next) | Hop::Unresolved { hop: next, .. } => next,
            Hop::Local => {
                trim(&mut packet, &h);
                rewrite_request(packet.bytes_mut(), &h, to);
                return self.deliver(packet);
            }
            Hop::Unreachable => {
                let kind = icmp::ErrorKind::HostUnreachable;
                return self.error_of_request(packet, &to, DropReason::Unreachable, kind);
            }
        };
        if h.ttl <= 1 {
            let kind = icmp::ErrorKind::TimeExceeded;
            return self.error_of_request(packet, &to, DropReason::TtlExceeded, kind);
        }
        trim(&mut packet, &h);
        rewrite::decrement_ttl(packet.bytes_mut(), &h);
        if to.method == Method::Tun {
            return self.wrap(packet, to, hop, next);
        }
        if self.is_too_big(&packet, next.mtu) {
            let kind = icmp::ErrorKind::TooBig {
                mtu: u32::from(next.mtu),
            };
            return self.error_of_request(packet, &to, DropReason::TooBig, kind);
        }
        if matches!(to.method, Method::Nat | Method::FullNat) {
            join_header(&mut packet, &h);
        }
        rewrite_request(packet.bytes_mut(), &h, to);
        self.director.counters.forwarded.add(1);
        self.send(packet, usize::from(h.l3), h.family(), hop, next);
    }

    /// From a real server to its client, in the name of the service.
    pub(crate) fn reply<P: Packet<F>>(&mut self, mut frame: P, from: FromServer) {
        let h = self.headers;
        let own = self.own_address();
        if h.ttl <= 1 {
            let kind = icmp::ErrorKind::TimeExceeded;
            return self.error(frame, DropReason::TtlExceeded, kind, own);
        }
        let client = from.client.map_or(h.dst, |(addr, _)| addr);
        let hop = self.director.hop_to_client(client);
        let next = match hop {
            Hop::Ready(next) | Hop::Unresolved { hop: next, .. } => next,
            Hop::Local | Hop::Unreachable => {
                let kind = icmp::ErrorKind::HostUnreachable;
                return self.error(frame, DropReason::Unreachable, kind, own);
            }
        };
        let longest = match frame.came_in() {
            0 => h.packet_len(),
            longest => usize::from(longest),
        };
        if longest > usize::from(next.mtu) && !may_fragment(&h) {
            let kind = icmp::ErrorKind::TooBig {
                mtu: u32::from(next.mtu),
            };
            return self.error(frame, DropReason::TooBig, kind, own);
        }
        trim(&mut frame, &h);
        rewrite::decrement_ttl(frame.bytes_mut(), &h);
        join_header(&mut frame, &h);
        let virt = (from.virt, from.virt_port);
        match from.client {
            None => rewrite::set_source(frame.bytes_mut(), &h, virt.0, virt.1),
            Some(client) => rewrite::set_ends(frame.bytes_mut(), &h, virt, client),
        }
        self.director.counters.forwarded.add(1);
        self.send(frame, usize::from(h.l3), h.family(), hop, next);
    }

    /// The director's address where the packet was received; the packet's own destination where
    /// there is none of the family.
    fn own_address(&self) -> Addr {
        let network = &self.director.snapshot.network;
        let interface = network.interface_of(self.port, self.headers.vlan);
        let own = interface.and_then(|i| match self.headers.family() {
            Family::V4 => i.source_v4,
            Family::V6 => i.source_v6,
        });
        own.unwrap_or(self.headers.dst)
    }

    /// True for a packet that does not fit `mtu` and may not be cut. Of one of IPv6 that came in
    /// fragments these count, since it leaves in such again. An ICMP error of IPv4, about which nobody
    /// may be told, is cut rather than lost.
    fn is_too_big<P: Packet<F>>(&self, packet: &P, mtu: u16) -> bool {
        let h = &self.headers;
        match packet.came_in() {
            0 if h.is_v4() && h.is_icmp() => false,
            0 => h.packet_len() > usize::from(mtu) && !may_fragment(h),
            longest if !h.is_v4() => longest > mtu,
            _ => h.packet_len() > usize::from(mtu) && h.bits.dont_fragment(),
        }
    }
}

/// A transport header that is rewritten leaves in one piece.
fn join_header<F, P: Packet<F>>(packet: &mut P, h: &Headers) {
    let len = match Protocol::from_number(h.protocol) {
        Some(Protocol::Tcp) => 20,
        Some(Protocol::Udp) => 8,
        Some(Protocol::Sctp) => 12,
        None => return,
    };
    packet.join_front(usize::from(h.l4) + len);
}

/// Puts the server in the place of the service, where the method does.
fn rewrite_request(bytes: &mut [u8], h: &Headers, to: ToServer) {
    match (to.method, to.local) {
        (Method::Nat, _) => rewrite::set_destination(bytes, h, to.addr, to.port),
        (Method::FullNat, Some(local)) => {
            rewrite::set_ends(bytes, h, local, (to.addr, to.port));
        }
        _ => {}
    }
}

/// Cuts off what follows the IP packet in its frame.
fn trim<P: Frame>(frame: &mut P, headers: &Headers) {
    frame.truncate(usize::from(headers.end));
}

fn may_fragment(headers: &Headers) -> bool {
    headers.is_v4() && !headers.bits.dont_fragment()
}
