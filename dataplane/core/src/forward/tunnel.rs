//! TUN: the packet goes to its real server inside another: IP in IP, GRE or GUE.

use weir_wire::{Family, icmp, tunnel};

use super::{Packet, Way};
use crate::counters::DropReason;
use crate::io::{Frame, Outlet};
use crate::next_hop::{Hop, NextHop};
use crate::note::ToServer;

/// The least that a path must carry, by the family of the packet inside (RFC 791 §3.1, RFC 8200 §5).
pub(crate) const fn least_mtu(family: Family) -> u16 {
    match family {
        Family::V4 => 68,
        Family::V6 => 1280,
    }
}

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// Wraps a packet whose TTL is decremented and sends it to its real server.
    pub(super) fn wrap<P: Packet<F>>(
        &mut self,
        mut frame: P,
        to: ToServer,
        hop: Hop,
        next: NextHop,
    ) {
        let h = self.headers;
        let Some(source) = next.source.filter(|s| s.family() == to.addr.family()) else {
            let kind = icmp::ErrorKind::HostUnreachable;
            return self.error_of_request(frame, &to, DropReason::Unreachable, kind);
        };
        let outer_len = to.tunnel.overhead(to.addr.family());
        let inner_mtu = next.mtu.saturating_sub(outer_len as u16);
        if inner_mtu < least_mtu(Family::V4) {
            // As in the kernel, nothing is said.
            return self.end(&frame, DropReason::Unreachable);
        }
        // What is told is never less than every path must carry: the outer packet is cut instead
        // (RFC 2473 §7.1, RFC 4213 §3.2.2).
        let inner_mtu = inner_mtu.max(least_mtu(h.family()));
        let path_mtu_discovery = self.director.snapshot.settings.pmtu_disc;
        let must_tell = !h.is_v4() || path_mtu_discovery;
        let is_too_long = h.packet_len() + outer_len > usize::from(u16::MAX);
        if (must_tell && self.is_too_big(&frame, inner_mtu)) || is_too_long {
            let kind = icmp::ErrorKind::TooBig {
                mtu: u32::from(inner_mtu),
            };
            return self.error_of_request(frame, &to, DropReason::TooBig, kind);
        }
        let l3 = usize::from(h.l3);
        // The new header takes the place of the old Ethernet header as far as that reaches.
        let (grow, outer_at) = if outer_len > l3 {
            (outer_len - l3, 0)
        } else {
            (0, l3 - outer_len)
        };
        if !frame.push_front(grow) {
            return self.end(&frame, DropReason::NoBuffer);
        }
        let outer = tunnel::Outer {
            tunnel: to.tunnel,
            src: source,
            dst: to.addr,
            copy_df: path_mtu_discovery,
            id: self.director.next_ip_id,
        };
        self.director.next_ip_id = self.director.next_ip_id.wrapping_add(1);
        if let Some(packet) = frame.bytes_mut().get_mut(outer_at..) {
            tunnel::write_outer(packet, &h, &outer);
        }
        self.director.counters.forwarded.add(1);
        self.send(frame, outer_at, to.addr.family(), hop, next);
    }
}
