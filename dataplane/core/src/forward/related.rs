//! ICMP errors about packets of a flow: passed on in the terms of whom they reach.

use weir_wire::tunnel::{self, Tunnel};
use weir_wire::{Addr, Embedded, Family, Headers, icmp, parse_embedded, rewrite};

use super::{Packet, Way, least_mtu, may_fragment, trim};
use crate::counters::DropReason;
use crate::io::{Frame, Outlet};
use crate::next_hop::Hop;
use crate::note::{FromServer, ToServer};
use crate::service::{Method, ServerId};

/// Linux takes no smaller path MTU from an IPv4 router than this (its `min_pmtu`), nor does Weir:
/// a forged error must not make it cut everything to bits.
const PATH_MTU_MIN_V4: u32 = 552;
/// RFC 8201 §4.
const PATH_MTU_MIN_V6: u32 = 1280;

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// About a packet that went to the client: the real server has to know.
    pub(crate) fn error_to_server<P: Packet<F>>(&mut self, mut frame: P, to: ToServer) {
        if !icmp::checksum_ok(frame.bytes(), &self.headers) {
            // The kernel does not look at ICMPv6's on this way: it counts the packet and passes on
            // what it need not change. By NAT it would get a right one.
            if !self.headers.is_v4() {
                self.count(to.server);
            }
            if self.headers.is_v4() || to.method.sees_replies() {
                return self.end(&frame, DropReason::IcmpUnrelated);
            }
            return self.request(frame, to);
        }
        if to.method.sees_replies() && self.headers.ttl > 1 {
            let quoted = self.quoted(&frame);
            let (h, bytes) = (&self.headers, frame.bytes_mut());
            rewrite::set_destination(bytes, h, to.addr, 0);
            if let Some((local, _)) = to.local {
                // Whoever spoke, a client or a router, is no more to the server than the client
                // is: the director's local address, to which its routes lead.
                rewrite::set_source(bytes, h, local, 0);
            }
            if let Some(quoted) = quoted {
                frame.join_front(quoted_ports_end(&quoted));
                let bytes = frame.bytes_mut();
                rewrite::set_embedded_source(bytes, &quoted, to.addr, to.port);
                if let Some((local, port)) = to.local {
                    rewrite::set_embedded_destination(bytes, &quoted, local, port);
                }
                rewrite::refill_icmp_checksum(bytes, h);
            }
        }
        let as_sent = ToServer {
            // The addresses are rewritten already; the port in an ICMP header is none.
            method: match to.method {
                Method::Nat | Method::FullNat => Method::Dr,
                other => other,
            },
            ..to
        };
        self.count(to.server);
        self.request(frame, as_sent);
    }

    /// About a packet that went to the real server, by it or a router on the way: the client has
    /// to know, in the name of the service.
    pub(crate) fn error_to_client<P: Packet<F>>(
        &mut self,
        mut frame: P,
        from: FromServer,
        server: ServerId,
    ) {
        let h = self.headers;
        if !icmp::checksum_ok(frame.bytes(), &h) {
            return self.end(&frame, DropReason::IcmpUnrelated);
        }
        let Some(quoted) = self.quoted(&frame).filter(|_| h.ttl > 1) else {
            return self.end(&frame, DropReason::IcmpUnrelated);
        };
        let client = from.client.map_or(h.dst, |(addr, _)| addr);
        let hop = self.director.hop_to_client(client);
        let (Hop::Ready(next) | Hop::Unresolved { hop: next, .. }) = hop else {
            if let Hop::Local = hop {
                // The kernel counts it before Linux finds that nothing of it is its own.
                self.director.count_out(server, h.packet_len() as u64);
            }
            return self.end(&frame, DropReason::Unreachable);
        };
        let longest = match frame.came_in() {
            0 => h.packet_len(),
            longest => usize::from(longest),
        };
        if longest > usize::from(next.mtu) && !may_fragment(&h) {
            return self.end(&frame, DropReason::TooBig);
        }
        trim(&mut frame, &h);
        frame.join_front(quoted_ports_end(&quoted));
        let bytes = frame.bytes_mut();
        rewrite::decrement_ttl(bytes, &h);
        rewrite::set_source(bytes, &h, from.virt, 0);
        rewrite::set_embedded_destination(bytes, &quoted, from.virt, from.virt_port);
        if let Some((client, port)) = from.client {
            rewrite::set_destination(bytes, &h, client, 0);
            rewrite::set_embedded_source(bytes, &quoted, client, port);
        }
        rewrite::refill_icmp_checksum(bytes, &h);
        self.director
            .count_out(server, self.headers.packet_len() as u64);
        self.director.counters.forwarded.add(1);
        self.send(frame, usize::from(h.l3), h.family(), hop, next);
    }

    /// About the outer packet of a tunnel: remembers a smaller path MTU and tells the client as if
    /// it were about the packet inside.
    pub(crate) fn error_in_tunnel<P: Packet<F>>(&mut self, frame: P, server: ServerId) {
        let h = self.headers;
        let outer = self.quoted(&frame);
        let inside = outer.and_then(|outer| {
            let (tunnel, at) = tunnel::in_quoted(frame.bytes(), &outer)?;
            let inner = parse_embedded(frame.bytes(), at, usize::from(outer.end))?;
            Some((outer, tunnel, inner))
        });
        let Some((outer, tunnel, inner)) = inside else {
            return self.end(&frame, DropReason::IcmpUnrelated);
        };
        if !icmp::checksum_ok(frame.bytes(), &h) {
            return self.end(&frame, DropReason::IcmpUnrelated);
        }
        let kind = match icmp::too_big_mtu(frame.bytes(), &h) {
            Some(told) => {
                let least = u32::from(least_mtu(inner.family()));
                let mtu = self.smaller_path(server, &outer, tunnel, told).max(least);
                if may_be_cut(frame.bytes(), &inner) {
                    // The director cuts the next one itself: nothing for the client to do.
                    return self.end(&frame, DropReason::IcmpUnrelated);
                }
                icmp::ErrorKind::TooBig { mtu }
            }
            // As it was told, where both families have the same words.
            None if h.family() == inner.family() && !is_parameter_problem(&h) => {
                icmp::ErrorKind::Told {
                    icmp_type: h.icmp_type,
                    code: h.icmp_code,
                    word: icmp::word(frame.bytes(), &h),
                }
            }
            None if is_time_exceeded(&h) => icmp::ErrorKind::TimeExceeded,
            None => icmp::ErrorKind::HostUnreachable,
        };
        self.tell_client(frame, &inner, kind, server);
    }

    /// Takes the MTU that a router told for the path to `server`; returns what is left inside.
    fn smaller_path(
        &mut self,
        server: ServerId,
        outer: &Embedded,
        tunnel: Tunnel,
        told: u32,
    ) -> u32 {
        let least = match outer.family() {
            Family::V4 => PATH_MTU_MIN_V4,
            Family::V6 => PATH_MTU_MIN_V6,
        };
        let mtu = told.clamp(least, u32::from(u16::MAX)) as u16;
        self.director.learn_path_mtu(self.now, server, mtu);
        // It may have been known to be narrower.
        let mtu = match self.director.hop_to_server(self.now, server, outer.dst) {
            Hop::Ready(next) | Hop::Unresolved { hop: next, .. } => next.mtu,
            Hop::Local | Hop::Unreachable => mtu,
        };
        u32::from(mtu).saturating_sub(tunnel.overhead(outer.family()) as u32)
    }

    fn tell_client<P: Packet<F>>(
        &mut self,
        frame: P,
        inner: &Embedded,
        kind: icmp::ErrorKind,
        server: ServerId,
    ) {
        let (virt, client): (Addr, Addr) = (inner.dst, inner.src);
        // With what a router may have put behind the packet (RFC 4884).
        let quote = usize::from(inner.l3)..usize::from(self.headers.end);
        let Some(original) = frame.bytes().get(quote) else {
            return self.end(&frame, DropReason::IcmpUnrelated);
        };
        if !self.may_speak() {
            return self.end(&frame, DropReason::IcmpUnrelated);
        }
        let tos = original.get(1).copied().unwrap_or(0);
        let len = icmp::error_len(inner.family(), original.len());
        self.headers.src = client;
        let sent = self.answer(frame.received(), client, len, |packet| {
            icmp::write_error(packet, kind, virt, client, original, tos)
        });
        if sent > 0 {
            self.director.counters.icmp_sent.add(1);
            // The kernel counts both what it was told and what it tells.
            self.director.count_out(server, original.len() as u64);
            self.director.count_out(server, len as u64);
        } else {
            self.end(&frame, DropReason::NoBuffer);
        }
    }

    fn quoted<P: Packet<F>>(&self, frame: &P) -> Option<Embedded> {
        let at = icmp::quoted_at(&self.headers);
        parse_embedded(frame.bytes(), at, usize::from(self.headers.end))
    }

    /// A packet that is forwarded without a flow.
    pub(crate) fn count_stateless(&mut self, server: ServerId) {
        self.director.counters.stateless.add(1);
        self.count(server);
    }

    /// A packet that is a connection of its own (one-packet scheduling).
    pub(crate) fn count_one_packet(&mut self, server: ServerId) {
        if let Some(counters) = self.director.counters.servers.get(server.0 as usize) {
            counters.connections.add(1);
        }
        self.count(server);
    }

    /// A relayed error counts as a packet of its server, as in the kernel.
    fn count(&self, server: ServerId) {
        if let Some(counters) = self.director.counters.servers.get(server.0 as usize) {
            counters.packets_in.add(1);
            counters.bytes_in.add(self.headers.packet_len() as u64);
        }
    }
}

/// Where the ports end of a quoted packet.
fn quoted_ports_end(quoted: &Embedded) -> usize {
    usize::from(quoted.l4) + 4
}

/// True for a quoted packet of IPv4 without DF.
fn may_be_cut(bytes: &[u8], quoted: &Embedded) -> bool {
    const DONT_FRAGMENT: u8 = 0x40;
    let flags = bytes.get(usize::from(quoted.l3) + 6).copied();
    quoted.family() == Family::V4 && flags.is_some_and(|flags| flags & DONT_FRAGMENT == 0)
}

/// An error of IPv6 that points into the outer header, of which the client knows nothing (RFC 2473 §8).
fn is_parameter_problem(headers: &Headers) -> bool {
    const PARAMETER_PROBLEM: u8 = 4;
    !headers.is_v4() && headers.icmp_type == PARAMETER_PROBLEM
}

fn is_time_exceeded(headers: &Headers) -> bool {
    match headers.family() {
        Family::V4 => headers.icmp_type == 11,
        Family::V6 => headers.icmp_type == 3,
    }
}
