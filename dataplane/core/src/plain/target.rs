//! What plain packets need of their real server, made ready once for each publication.

use weir_wire::Family;
use weir_wire::plain::Ip;
use weir_wire::tunnel::Tunnel;

use super::Side;
use crate::director::Director;
use crate::forward::least_mtu;
use crate::io::Frame;
use crate::next_hop::{Hop, PlainHop};
use crate::service::ServerId;
use crate::time::Tick;

/// What a plain packet needs of its real server, in one cache line but for tunnels of IPv6; made anew,
/// when it is needed, after each publication.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Target<I: Ip> {
    /// The publication it is of, when plain packets may take it as it is.
    pub(super) ready: u64,
    /// The publication it was made of.
    made: u64,
    pub(super) hop: PlainHop,
    /// The port, as it stands in packets; 0: the packet keeps its own. NAT's is the flow's to know.
    pub(super) port: u16,
    pub(super) tunnel: Tunnel,
    /// The address, as it stands in packets.
    pub(super) addr: I::Addr,
    /// The director's address before it, for tunnels; none when there is none of the family, or the
    /// way is too narrow for any.
    pub(super) tunnel_source: I::Addr,
}

const _: () = assert!(size_of::<Target<weir_wire::plain::V4>>() == 64);
const _: () = assert!(core::mem::offset_of!(Target<weir_wire::plain::V6>, tunnel_source) == 64);

impl<I: Ip> Target<I> {
    /// Of no publication.
    pub(super) const UNSET: Self = Self {
        ready: u64::MAX,
        made: u64::MAX,
        hop: PlainHop::NONE,
        port: 0,
        tunnel: Tunnel::Ipip,
        addr: I::NOBODY,
        tunnel_source: I::NOBODY,
    };
}

impl<F: Frame> Director<F> {
    /// Makes ready what later plain packets of a family need of `server`, once for each publication.
    #[inline]
    pub(crate) fn make_target<E: Side>(&mut self, now: Tick, id: ServerId) {
        let made = E::short(&self.shorts).targets.get(id.0 as usize);
        if made.is_some_and(|made| made.made != self.snapshot.epoch) {
            self.make_target_anew::<E>(now, id);
        }
    }

    #[inline(never)]
    fn make_target_anew<E: Side>(&mut self, now: Tick, id: ServerId) {
        let epoch = self.snapshot.epoch;
        let family = E::Ip::FAMILY;
        let mut target = Target::<E::Ip> {
            made: epoch,
            ..Target::UNSET
        };
        let server = self.snapshot.services.server(id).copied();
        let is_reset = self.has_resets && self.snapshot.services.resets(id);
        if let Some(server) =
            server.filter(|s| s.is_available && s.addr.family() == family && !is_reset)
            && !self.has_path_mtu(now, id)
            && let Hop::Ready(next) = self.hop_to_server(now, id, server.addr)
            && let Some(hop) = next.plain(family)
        {
            target.hop = hop;
            target.addr = E::Ip::addr_of(server.addr);
            target.port = server.port.to_be();
            let overhead = server.tunnel.overhead(family) as u16;
            let carries = next.mtu >= least_mtu(Family::V4) + overhead;
            target.tunnel = server.tunnel;
            let source = next.source.filter(|s| carries && s.family() == family);
            target.tunnel_source = source.map_or(E::Ip::NOBODY, E::Ip::addr_of);
            target.ready = epoch;
        }
        E::short_mut(&mut self.shorts).targets[id.0 as usize] = target;
    }
}
