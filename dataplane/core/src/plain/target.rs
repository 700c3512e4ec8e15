//! What plain packets need of their real server, made ready once for each publication.

use weir_wire::Family;
use weir_wire::tunnel::Tunnel;

use crate::director::Director;
use crate::forward::least_mtu;
use crate::io::Frame;
use crate::next_hop::{Hop, PlainHop};
use crate::service::ServerId;
use crate::time::Tick;

/// What a plain packet needs of its real server, in one cache line; made anew, when it is needed,
/// after each publication.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Target {
    /// The publication it is of, when plain packets may take it as it is.
    pub(super) ready: u64,
    /// The publication it was made of.
    made: u64,
    pub(super) hop: PlainHop,
    /// Address and port, as they stand in packets; port 0: the packet keeps its own. NAT's is the
    /// flow's to know.
    pub(super) addr: u32,
    pub(super) port: u16,
    /// The director's address before it, for tunnels; 0 when there is none of the family, or the way
    /// is too narrow for any.
    pub(super) tunnel_source: u32,
    pub(super) tunnel: Tunnel,
}

const _: () = assert!(size_of::<Target>() == 64);

impl Target {
    /// Of no publication.
    pub(crate) const UNSET: Self = Self {
        ready: u64::MAX,
        made: u64::MAX,
        hop: PlainHop::NONE,
        addr: 0,
        port: 0,
        tunnel_source: 0,
        tunnel: Tunnel::Ipip,
    };

    /// Has it made anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::UNSET;
    }
}

impl<F: Frame> Director<F> {
    /// Makes ready what later plain packets need of `server`, once for each publication.
    pub(crate) fn make_target(&mut self, now: Tick, id: ServerId) {
        let epoch = self.snapshot.epoch;
        let at = id.0 as usize;
        if self.targets.get(at).is_none_or(|made| made.made == epoch) {
            return;
        }
        let mut target = Target {
            made: epoch,
            ..Target::UNSET
        };
        let server = self.snapshot.services.server(id).copied();
        let is_reset = self.has_resets && self.snapshot.services.resets(id);
        if let Some(server) = server.filter(|s| s.is_available && s.addr.is_v4() && !is_reset)
            && !self.has_path_mtu(now, id)
            && let Hop::Ready(next) = self.hop_to_server(now, id, server.addr)
            && let Some(hop) = next.plain()
        {
            target.hop = hop;
            target.addr = u32::from_ne_bytes(server.addr.v4_bytes());
            target.port = server.port.to_be();
            let overhead = server.tunnel.overhead(Family::V4) as u16;
            let carries = next.mtu >= least_mtu(Family::V4) + overhead;
            target.tunnel = server.tunnel;
            let source = next.source.filter(|source| carries && source.is_v4());
            target.tunnel_source = source.map_or(0, |source| u32::from_ne_bytes(source.v4_bytes()));
            target.ready = epoch;
        }
        self.targets[at] = target;
    }
}
