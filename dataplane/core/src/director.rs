//! The stages in order, and what one director of one worker remembers between bursts.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use weir_wire::Addr;

use crate::classify::classify;
use crate::counters::{DropReason, WorkerCounters};
use crate::flow::FlowTable;
use crate::io::{BURST_MAX, Burst, Frame, Outlet, PortId, WorkerId};
use crate::limiter::Limiter;
use crate::next_hop::park::Park;
use crate::next_hop::{Hop, NextHop};
use crate::note::{Note, PuntClass, Verdict};
use crate::service::ServerId;
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// Capacities and limits of one director. Fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows in the table.
    pub flows: usize,
    /// Real-server slots.
    pub servers: usize,
    /// Packets a second for Linux.
    pub punt_per_second: u32,
    /// Share of those that only ARP, neighbour discovery, VRRP, BGP and OSPF may use, in percent.
    pub punt_reserved_percent: u8,
    /// ICMP errors and resets a second.
    pub icmp_per_second: u32,
    /// Packets that may wait for neighbours.
    pub parked: usize,
    /// Packets that may wait for one neighbour.
    pub parked_per_neighbour: usize,
}

/// Clients whose way out is remembered.
const CLIENT_HOPS: usize = 4096;

/// How long a path MTU that a router told of is believed, in seconds (RFC 1191 §6.3).
const PATH_MTU_SECONDS: u32 = 600;

/// The director of one worker.
#[derive(Debug)]
pub struct Director<F> {
    pub(crate) id: WorkerId,
    pub(crate) workers: u16,
    pub(crate) flows: FlowTable,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) park: Park<F>,
    pub(crate) errors: Limiter,
    /// Identification of the next outer header that may be fragmented.
    pub(crate) next_ip_id: u16,
    punts: Limiter,
    server_hops: Vec<ServerHop>,
    client_hops: Box<[ClientHop]>,
    /// One for each packet of a burst; lent to the burst under way.
    notes: Vec<Note>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ServerHop {
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
struct ClientHop {
    epoch: u32,
    client: Addr,
    hop: Option<NextHop>,
}

impl<F: Frame> Director<F> {
    /// A director for worker `id` of `workers`. All its memory is taken here. `seed` is random.
    #[must_use]
    pub fn new(
        id: WorkerId,
        workers: u16,
        limits: &Limits,
        counters: Arc<WorkerCounters>,
        seed: [u64; 2],
    ) -> Self {
        let client = ClientHop {
            epoch: 0,
            client: Addr(0),
            hop: None,
        };
        Self {
            id,
            workers: workers.max(1),
            flows: FlowTable::new(limits.flows, seed),
            snapshot: Arc::new(Snapshot::empty()),
            counters,
            park: Park::new(limits.parked, limits.parked_per_neighbour),
            errors: Limiter::new(limits.icmp_per_second, 0),
            next_ip_id: seed[0] as u16,
            punts: Limiter::new(limits.punt_per_second, limits.punt_reserved_percent),
            server_hops: vec![ServerHop::default(); limits.servers],
            client_hops: vec![client; CLIENT_HOPS].into_boxed_slice(),
            notes: vec![Note::NONE; BURST_MAX],
        }
    }

    /// Takes a burst that was received at `port` from received to decided. `burst` is empty
    /// afterwards: each frame has gone to `outlet` or has been counted and freed. `is_handed_off`
    /// says that another worker found this one to be the owner.
    pub fn process<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        burst: &mut Burst<F>,
        outlet: &mut O,
    ) {
        let mut notes = core::mem::take(&mut self.notes);
        // 1, 2. Bytes to headers; what is not for a flow is decided.
        for (note, frame) in notes.iter_mut().zip(burst.iter()) {
            *note = classify(frame, port, &self.snapshot);
        }
        let decided = &mut notes[..burst.len()];
        // 3. Headers to flow, or a miss.
        self.look_up(decided);
        // 4. In order of arrival: a miss becomes a flow, states move on, packets are counted.
        self.track(now, is_handed_off, decided, burst);
        // 5. Rewrite, next hop, out.
        for (note, frame) in decided.iter().zip(burst.drain(..)) {
            self.finish(now, port, note, frame, outlet);
        }
        self.notes = notes;
    }

    fn finish<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        note: &Note,
        frame: F,
        outlet: &mut O,
    ) {
        let Some(headers) = note.headers else {
            match note.verdict {
                Verdict::Punt(class) => self.punt(now, port, class, frame, outlet),
                Verdict::Drop(reason) => self.end(reason, port, &frame, outlet),
                _ => debug_assert!(false, "a verdict without headers: {:?}", note.verdict),
            }
            return;
        };
        let mut way = crate::forward::Way {
            director: self,
            outlet,
            now,
            port,
            headers,
        };
        match note.verdict {
            Verdict::Request(to) => way.request(frame, to),
            Verdict::Reply(from) => way.reply(frame, from),
            Verdict::ErrorToServer(to) => way.error_to_server(frame, to),
            Verdict::ErrorToClient(from) => way.error_to_client(frame, from),
            Verdict::ErrorInTunnel(server) => way.error_in_tunnel(frame, server),
            Verdict::Refuse(reason) => way.refuse(frame, reason),
            Verdict::HandOff(owner) => match outlet.hand_off(owner, port, frame) {
                Ok(()) => self.counters.handed_off.add(1),
                Err(frame) => self.end(DropReason::HandOffRingFull, port, &frame, outlet),
            },
            Verdict::Punt(PuntClass::Ordinary) => way.punt_or_refuse(frame),
            Verdict::Punt(class) => self.punt(now, port, class, frame, outlet),
            Verdict::Drop(reason) => self.end(reason, port, &frame, outlet),
            Verdict::LookUp | Verdict::Related | Verdict::Hit(..) | Verdict::Miss => {
                debug_assert!(false, "undecided after the last stage: {:?}", note.verdict);
            }
        }
    }

    /// Counts a packet that ends here, and lets it be sampled.
    pub(crate) fn end<O: Outlet<Frame = F>>(
        &self,
        reason: DropReason,
        port: PortId,
        frame: &F,
        outlet: &mut O,
    ) {
        self.counters.count_drop(reason);
        outlet.dropped(reason, port, frame);
    }

    fn punt<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        class: PuntClass,
        frame: F,
        outlet: &mut O,
    ) {
        if let Err(reason) = self.try_punt(now, port, class, &frame, outlet) {
            self.end(reason, port, &frame, outlet);
        }
    }

    pub(crate) fn try_punt<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        class: PuntClass,
        frame: &F,
        outlet: &mut O,
    ) -> Result<(), DropReason> {
        if !self.punts.allow(now, class == PuntClass::Vital) {
            return Err(DropReason::PuntLimit);
        }
        outlet.punt(port, frame)?;
        self.counters.punted.add(1);
        Ok(())
    }

    /// Takes a newer snapshot over and returns the one before. Packets whose neighbour has become
    /// known leave.
    pub fn adopt<O: Outlet<Frame = F>>(
        &mut self,
        snapshot: Arc<Snapshot>,
        outlet: &mut O,
    ) -> Arc<Snapshot> {
        let before = core::mem::replace(&mut self.snapshot, snapshot);
        if before.network_epoch != self.snapshot.network_epoch {
            let network = &self.snapshot.network;
            let sent = self.park.release(network, |port, frame| {
                outlet.transmit(port, frame);
            });
            self.counters.unparked.add(sent);
        }
        before
    }

    /// Work that is not for a packet, bounded by `sweep_budget` places of the flow table: ends
    /// flows and gives parked packets up. Returns the size of a whole round of the sweep.
    pub fn housekeep<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        sweep_budget: usize,
        outlet: &mut O,
    ) -> usize {
        let counters = &self.counters;
        let round = self.flows.sweep(now, sweep_budget, |ended| {
            counters.flows_expired.add(1);
            crate::track::uncount(counters, &ended.0);
        });
        self.counters.flows.set(self.flows.len() as u64);
        self.park.expire(now, |port, frame| {
            counters.count_drop(DropReason::NeighbourTimeout);
            outlet.dropped(DropReason::NeighbourTimeout, port, &frame);
        });
        round
    }

    /// The flow table, to be listed.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// True while packets wait for a neighbour.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        !self.park.is_empty()
    }

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
        }
        limit_mtu(hop, memory.path_mtu)
    }

    /// Remembers what a router told of the path to a tunnel's end.
    pub(crate) fn learn_path_mtu(&mut self, now: Tick, id: ServerId, mtu: u16) {
        if let Some(memory) = self.server_hops.get_mut(id.0 as usize) {
            memory.path_mtu = mtu;
            memory.path_mtu_until = now.after(crate::time::seconds(PATH_MTU_SECONDS));
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
