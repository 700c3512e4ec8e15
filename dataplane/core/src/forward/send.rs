//! The last step of a packet: its new Ethernet header, fragments where it is too big, Linux instead.

use weir_wire::{Family, Mac, ether_type, fragment, rewrite};

use super::packet::Packet;
use super::{Way, pieces};
use crate::counters::DropReason;
use crate::director::Director;
use crate::io::{Frame, Outlet, PortId};
use crate::next_hop::{Hop, NextHop};
use crate::note::PuntClass;
use crate::time::Tick;

/// The least MTU of IPv6 (RFC 8200 §5).
const V6_MTU_MIN: u16 = 1280;

/// Where the fragments of a packet go.
#[derive(Clone, Copy)]
enum To {
    Hop(Hop, NextHop),
    Linux,
}

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// Sends an IP packet that begins at `l3` of `packet`, in fragments when it is too big or came in
    /// fragments; the caller has seen to it that it may be fragmented then.
    pub(crate) fn send<P: Packet<F>>(
        &mut self,
        mut packet: P,
        l3: usize,
        family: Family,
        hop: Hop,
        next: NextHop,
    ) {
        let is_other_family = family != self.headers.family();
        if let Some(mtu) = cut_to(&packet, l3, family, is_other_family, next.mtu) {
            if family == Family::V4 && packet.came_in() == 0 {
                // An ICMP error may be cut though it says otherwise.
                rewrite::clear_dont_fragment(packet.bytes_mut(), l3);
            }
            return self.cut(&packet, l3, family, mtu, To::Hop(hop, next));
        }
        if packet.came_in() > 0 {
            return self.send_copy(&packet, l3, family, hop, next);
        }
        let wanted = rewrite::ethernet_len(next.vlan);
        if wanted > l3 {
            if !packet.push_front(wanted - l3) {
                return self.end(&packet, DropReason::NoBuffer);
            }
        } else {
            packet.pull_front(l3 - wanted);
        }
        write_link(packet.bytes_mut(), &next, family);
        if let Some(frame) = packet.into_frame() {
            self.leave(frame, hop, next);
        }
    }

    /// Sends what is no frame, and short enough for one.
    fn send_copy<P: Packet<F>>(
        &mut self,
        packet: &P,
        l3: usize,
        family: Family,
        hop: Hop,
        next: NextHop,
    ) {
        let link = rewrite::ethernet_len(next.vlan);
        let bytes = packet.bytes().get(l3..).unwrap_or_default();
        let Some(mut frame) = self.fresh(link + bytes.len()) else {
            return self.end(packet, DropReason::NoBuffer);
        };
        if let Some(to) = frame.bytes_mut().get_mut(link..) {
            to.copy_from_slice(bytes);
        }
        write_link(frame.bytes_mut(), &next, family);
        self.leave(frame, hop, next);
    }

    pub(super) fn leave(&mut self, frame: F, hop: Hop, next: NextHop) {
        let (now, port) = (self.now, self.port);
        self.director
            .leave(now, port, frame, hop, next, self.outlet);
    }

    /// Cuts a packet into fragments of up to `mtu` bytes, where it was cut when it came if that will do.
    fn cut<P: Packet<F>>(&mut self, packet: &P, l3: usize, family: Family, mtu: u16, to: To) {
        let bytes = packet.bytes();
        let Ok(headers) = weir_wire::parse_ip(bytes, l3, false) else {
            return self.end(packet, DropReason::IpHeader);
        };
        let id = match family {
            Family::V4 => 0,
            Family::V6 => self.director.take_fragment_id(),
        };
        let link = match to {
            To::Hop(_, next) => rewrite::ethernet_len(next.vlan),
            To::Linux => link_len(packet),
        };
        for piece in pieces::of(packet, &headers, mtu) {
            let Some(mut fresh) = self.fresh(link + usize::from(mtu)) else {
                return self.end(packet, DropReason::NoBuffer);
            };
            let Some(room) = fresh.bytes_mut().get_mut(link..) else {
                return self.end(packet, DropReason::NoBuffer);
            };
            let len = fragment::write_fragment(room, bytes, &headers, &piece, id);
            fresh.truncate(link + len);
            match to {
                To::Hop(hop, next) => {
                    write_link(fresh.bytes_mut(), &next, family);
                    self.director.counters.fragments_sent.add(1);
                    self.leave(fresh, hop, next);
                }
                To::Linux => {
                    let received = packet.received().bytes().get(..link);
                    let to = fresh.bytes_mut().get_mut(..link);
                    if let (Some(to), Some(received)) = (to, received) {
                        to.copy_from_slice(received);
                    }
                    let (now, port, class) = (self.now, self.port, PuntClass::Ordinary);
                    let director = &mut *self.director;
                    if let Err(reason) = director.try_punt(now, port, class, &fresh, self.outlet) {
                        return self.end(packet, reason);
                    }
                }
            }
        }
    }

    /// A frame of `len` bytes to be filled.
    fn fresh(&mut self, len: usize) -> Option<F> {
        let fresh = self.outlet.fresh().filter(|f| f.bytes().is_empty());
        let mut fresh = fresh?;
        fresh.push_back(len).then_some(fresh)
    }

    /// Gives the packet to Linux as it was received.
    pub(crate) fn punt<P: Packet<F>>(&mut self, packet: P, class: PuntClass) {
        if let Err(reason) = self.give(&packet, class) {
            self.end(&packet, reason);
        }
    }

    /// As [`punt`](Self::punt).
    ///
    /// # Errors
    /// Why it could not be given: the packet is still to be ended.
    pub(super) fn give<P: Packet<F>>(
        &mut self,
        packet: &P,
        class: PuntClass,
    ) -> Result<(), DropReason> {
        let (now, port) = (self.now, self.port);
        for frame in packet.all_received() {
            self.director
                .try_punt(now, port, class, frame, self.outlet)?;
        }
        Ok(())
    }

    /// Gives the packet to Linux as it has become: its server is the director itself.
    pub(super) fn deliver<P: Packet<F>>(&mut self, packet: P) {
        let (family, l3) = (self.headers.family(), usize::from(self.headers.l3));
        if packet.came_in() == 0 {
            return self.punt(packet, PuntClass::Ordinary);
        }
        self.cut(&packet, l3, family, packet.came_in(), To::Linux);
    }

    pub(crate) fn end<P: Packet<F>>(&mut self, packet: &P, reason: DropReason) {
        let received = packet.received();
        self.director.end(reason, self.port, received, self.outlet);
    }
}

impl<F: Frame> Director<F> {
    /// Lets a frame leave, or wait for its neighbour. It was received at `port`, or is the director's own.
    fn leave<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        frame: F,
        hop: Hop,
        next: NextHop,
        outlet: &mut O,
    ) {
        let Hop::Unresolved {
            interface,
            neighbour,
            ..
        } = hop
        else {
            return outlet.transmit(next.port, frame);
        };
        let added = self.park.add(now, interface, neighbour, next.port, frame);
        if added.should_ask {
            outlet.solicit(interface, neighbour);
        }
        if let Some((_, frame)) = added.displaced {
            self.end(DropReason::NeighbourQueueFull, port, &frame, outlet);
        }
    }

    /// Sends a packet of its own, of up to `len` bytes, by this way; returns its length, 0 when it could
    /// not be made. `write` returns its length, 0 for none.
    pub(crate) fn send_own<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        (hop, next): (Hop, NextHop),
        family: Family,
        len: usize,
        outlet: &mut O,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> usize {
        let link = rewrite::ethernet_len(next.vlan);
        let Some(mut fresh) = outlet.fresh() else {
            return 0;
        };
        if !fresh.push_back(link + len) {
            return 0;
        }
        let written = fresh.bytes_mut().get_mut(link..).map_or(0, write);
        if written == 0 {
            return 0;
        }
        fresh.truncate(link + written);
        write_link(fresh.bytes_mut(), &next, family);
        self.leave(now, next.port, fresh, hop, next, outlet);
        written
    }
}

/// The longest fragment that a packet is to be cut into, when it is to be cut. What came in
/// fragments leaves in fragments again: of IPv4 always, of IPv6 when it is longer than any of them
/// was, and then in some that every link of IPv6 carries; so does Linux. In a tunnel of the other family it
/// does not count how it came.
fn cut_to<F, P: Packet<F>>(
    packet: &P,
    l3: usize,
    family: Family,
    is_other_family: bool,
    mtu: u16,
) -> Option<u16> {
    let len = packet.bytes().len().saturating_sub(l3);
    let came_in = packet.came_in();
    match family {
        _ if came_in == 0 || is_other_family => (len > usize::from(mtu)).then_some(mtu),
        Family::V4 => Some(came_in.min(mtu)),
        Family::V6 => {
            (len > usize::from(came_in.min(mtu))).then_some(came_in.max(V6_MTU_MIN).min(mtu))
        }
    }
}

fn write_link(bytes: &mut [u8], next: &NextHop, family: Family) {
    let kind = match family {
        Family::V4 => ether_type::IPV4,
        Family::V6 => ether_type::IPV6,
    };
    let (dst, src): (Mac, Mac) = (next.dst, next.src);
    rewrite::write_ethernet(bytes, dst, src, next.vlan, kind);
}

/// Bytes of the Ethernet header that a packet was received with.
fn link_len<F: Frame, P: Packet<F>>(packet: &P) -> usize {
    const TAG: usize = 4;
    let is_tag = |at: usize| {
        let kind = packet.received().bytes().get(at..at + 2);
        matches!(kind, Some([0x81, 0x00] | [0x88, 0xa8]))
    };
    match (is_tag(12), is_tag(12 + TAG)) {
        (false, _) => 14,
        (true, false) => 14 + TAG,
        (true, true) => 14 + 2 * TAG,
    }
}
