//! Stage 5: a packet gets its new bytes and leaves.
//!
//! Rewriting happens while the Ethernet header still stands as received, so that the offsets in
//! [`Headers`] hold; [`Way::send`] puts the new Ethernet header on last.

mod answer;
mod related;
mod tunnel;

pub(crate) use tunnel::least_mtu;

use weir_wire::{Addr, Family, Headers, Mac, ether_type, fragment, icmp, rewrite};

use crate::counters::DropReason;
use crate::director::Director;
use crate::io::{Frame, Outlet, PortId};
use crate::next_hop::{Hop, NextHop};
use crate::note::{FromServer, PuntClass, ToServer};
use crate::service::Method;
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
    pub(crate) fn request(&mut self, mut frame: F, to: ToServer) {
        let h = self.headers;
        if h.ttl <= 1 {
            let kind = icmp::ErrorKind::TimeExceeded;
            return self.error(frame, DropReason::TtlExceeded, kind, h.dst);
        }
        let hop = self.director.hop_to_server(self.now, to.server, to.addr);
        let next = match hop {
            Hop::Ready(next) | Hop::Unresolved { hop: next, .. } => next,
            Hop::Local => return self.punt(frame, PuntClass::Ordinary),
            Hop::Unreachable => {
                let kind = icmp::ErrorKind::HostUnreachable;
                return self.error(frame, DropReason::Unreachable, kind, h.dst);
            }
        };
        trim(&mut frame, &h);
        rewrite::decrement_ttl(frame.bytes_mut(), &h);
        if to.method == Method::Tun {
            return self.wrap(frame, to, hop, next);
        }
        if h.packet_len() > usize::from(next.mtu) && !may_fragment(&h) {
            let kind = icmp::ErrorKind::TooBig {
                mtu: u32::from(next.mtu),
            };
            return self.error(frame, DropReason::TooBig, kind, h.dst);
        }
        match (to.method, to.local) {
            (Method::Nat, _) => {
                rewrite::set_destination(frame.bytes_mut(), &h, to.addr, to.port);
            }
            (Method::FullNat, Some(local)) => {
                rewrite::set_ends(frame.bytes_mut(), &h, local, (to.addr, to.port));
            }
            _ => {}
        }
        self.director.counters.forwarded.add(1);
        self.send(frame, usize::from(h.l3), h.family(), hop, next);
    }

    /// From a real server to its client, in the name of the service.
    pub(crate) fn reply(&mut self, mut frame: F, from: FromServer) {
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
        if h.packet_len() > usize::from(next.mtu) && !may_fragment(&h) {
            let kind = icmp::ErrorKind::TooBig {
                mtu: u32::from(next.mtu),
            };
            return self.error(frame, DropReason::TooBig, kind, own);
        }
        trim(&mut frame, &h);
        rewrite::decrement_ttl(frame.bytes_mut(), &h);
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

    /// Sends an IP packet that begins at `l3` of the frame, in fragments when it is too big; the
    /// caller has seen to it that it may be fragmented then.
    fn send(&mut self, mut frame: F, l3: usize, family: Family, hop: Hop, next: NextHop) {
        if frame.bytes().len() - l3 > usize::from(next.mtu) {
            return self.send_fragments(&frame, l3, hop, next);
        }
        let wanted = rewrite::ethernet_len(next.vlan);
        if wanted > l3 {
            if !frame.push_front(wanted - l3) {
                return self.end(&frame, DropReason::NoBuffer);
            }
        } else {
            frame.pull_front(l3 - wanted);
        }
        write_link(frame.bytes_mut(), &next, family);
        self.leave(frame, hop, next);
    }

    fn leave(&mut self, frame: F, hop: Hop, next: NextHop) {
        let Hop::Unresolved {
            interface,
            neighbour,
            ..
        } = hop
        else {
            return self.outlet.transmit(next.port, frame);
        };
        let park = &mut self.director.park;
        let added = park.add(self.now, interface, neighbour, next.port, frame);
        if added.should_ask {
            self.outlet.solicit(interface, neighbour);
        }
        if let Some((_, frame)) = added.displaced {
            self.end(&frame, DropReason::NeighbourQueueFull);
        }
    }

    fn send_fragments(&mut self, frame: &F, l3: usize, hop: Hop, next: NextHop) {
        let bytes = frame.bytes();
        let Ok(headers) = weir_wire::parse_ip(bytes, l3, false) else {
            return self.end(frame, DropReason::IpHeader);
        };
        let link = rewrite::ethernet_len(next.vlan);
        for piece in fragment::plan(&headers, next.mtu) {
            let room = link + usize::from(next.mtu);
            let Some(mut fresh) = self.outlet.fresh().filter(|f| f.bytes().is_empty()) else {
                return self.end(frame, DropReason::NoBuffer);
            };
            if !fresh.push_back(room) {
                return self.end(frame, DropReason::NoBuffer);
            }
            let Some(packet) = fresh.bytes_mut().get_mut(link..) else {
                return self.end(frame, DropReason::NoBuffer);
            };
            let len = fragment::write_fragment(packet, bytes, &headers, &piece);
            write_link(fresh.bytes_mut(), &next, Family::V4);
            fresh.truncate(link + len);
            self.director.counters.fragments_sent.add(1);
            self.leave(fresh, hop, next);
        }
    }

    /// Gives the packet to Linux.
    pub(crate) fn punt(&mut self, frame: F, class: PuntClass) {
        let given = self
            .director
            .try_punt(self.now, self.port, class, &frame, self.outlet);
        if let Err(reason) = given {
            self.end(&frame, reason);
        }
    }

    pub(crate) fn end(&mut self, frame: &F, reason: DropReason) {
        self.director.end(reason, self.port, frame, self.outlet);
    }
}

/// Cuts off what follows the IP packet in its frame.
fn trim<F: Frame>(frame: &mut F, headers: &Headers) {
    frame.truncate(usize::from(headers.end));
}

fn may_fragment(headers: &Headers) -> bool {
    headers.is_v4() && !headers.bits.dont_fragment()
}

fn write_link(bytes: &mut [u8], next: &NextHop, family: Family) {
    let kind = match family {
        Family::V4 => ether_type::IPV4,
        Family::V6 => ether_type::IPV6,
    };
    let (dst, src): (Mac, Mac) = (next.dst, next.src);
    rewrite::write_ethernet(bytes, dst, src, next.vlan, kind);
}
