//! The ways to servers and clients that a director has found, so that it need not ask for them again.

use weir_wire::Addr;

use super::Director;
use crate::io::Frame;
use crate::next_hop::{Hop, NextHop};
use crate::service::ServerId;
use crate::time::Tick;

/// Clients whose way out is remembered.
pub(super) const CLIENT_HOPS: usize = 4096;

/// How long a path MTU that a router told of is believed, in seconds (RFC 1191 §6.3).
const PATH_MTU_SECONDS: u32 = 600;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServerHop {
    /// Whose way it is: a slot may get another server.
    addr: Addr,
    /// The network epoch under which `hop` was resolved.
    epoch: u32,
    hop: Option<NextHop>,
    /// What a router told of the path, 0 if nothing.
    path_mtu: u16,
    path_mtu_until: Tick,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ClientHop {
    epoch: u32,
    client: Addr,
    hop: Option<NextHop>,
}

impl ClientHop {
    /// Nobody's.
    pub(super) const NONE: Self = Self {
        epoch: 0,
        client: Addr(0),
        hop: None,
    };
}

impl<F: Frame> Director<F> {
    /// The way to a real server, remembered until the network changes. Its MTU is what routers
    /// told, where that is less.
    pub(crate) fn hop_to_server(&mut self, now: Tick, id: ServerId, addr: Addr) -> Hop {
        let epoch = self.snapshot.network_epoch;
        let Some(memory) = self.server_hops.get_mut(id.0 as usize) else {
            return self.snapshot.network.resolve(addr);
        };
        if memory.addr != addr {
            *memory = ServerHop {
                addr,
                ..ServerHop::default()
            };
        }
        let hop = match memory.hop {
            Some(hop) if memory.epoch == epoch => Hop::Ready(hop),
            _ => self.snapshot.network.resolve(addr),
        };
        if let Hop::Ready(ready) = hop {
            (memory.hop, memory.epoch) = (Some(ready), epoch);
        }
        if memory.path_mtu == 0 {
            return hop;
        }
        if now.has_reached(memory.path_mtu_until) {
            memory.path_mtu = 0;
            self.shorts.forget_target(id);
        }
        limit_mtu(hop, memory.path_mtu)
    }

    /// True while a router's word holds for the path to a server.
    pub(crate) fn has_path_mtu(&self, now: Tick, id: ServerId) -> bool {
        let memory = self.server_hops.get(id.0 as usize);
        memory.is_some_and(|m| m.path_mtu != 0 && !now.has_reached(m.path_mtu_until))
    }

    /// Remembers what a router told of the path to a tunnel's end: a path does not get wider by what
    /// is told of it (RFC 8201 §4), and is tried again when its time is over.
    pub(crate) fn learn_path_mtu(&mut self, now: Tick, id: ServerId, mtu: u16) {
        let is_known = self.has_path_mtu(now, id);
        if let Some(memory) = self.server_hops.get_mut(id.0 as usize)
            && !(is_known && memory.path_mtu < mtu)
        {
            memory.path_mtu = mtu;
            memory.path_mtu_until = now.after(crate::time::seconds(PATH_MTU_SECONDS));
            self.shorts.forget_target(id);
        }
    }

    /// The way to a client, remembered until the network changes or another client takes its place.
    pub(crate) fn hop_to_client(&mut self, client: Addr) -> Hop {
        let epoch = self.snapshot.network_epoch;
        let folded = (client.0 as u64) ^ (client.0 >> 64) as u64;
        let at = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        let memory = &mut self.client_hops[at as usize % CLIENT_HOPS];
        if let Some(hop) = memory.hop
            && memory.epoch == epoch
            && memory.client == client
        {
            return Hop::Ready(hop);
        }
        let hop = self.snapshot.network.resolve(client);
        if let Hop::Ready(ready) = hop {
            *memory = ClientHop {
                epoch,
                client,
                hop: Some(ready),
            };
        }
        hop
    }
}

fn limit_mtu(hop: Hop, path_mtu: u16) -> Hop {
    let limit = |mut hop: NextHop| {
        if path_mtu != 0 {
            hop.mtu = hop.mtu.min(path_mtu);
        }
        hop
    };
    match hop {
        Hop::Ready(hop) => Hop::Ready(limit(hop)),
        Hop::Unresolved {
            interface,
            neighbour,
            hop,
        } => Hop::Unresolved {
            interface,
            neighbour,
            hop: limit(hop),
        },
        other => other,
    }
}
