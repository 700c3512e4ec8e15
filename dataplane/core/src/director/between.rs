//! What a director does between bursts.

use alloc::sync::Arc;

use weir_wire::Family;

use super::Director;
use crate::io::{Frame, Outlet};
use crate::persist::{Culling, End};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// With more servers than this, their two lines each are asked for ahead of their use.
const MANY_SERVERS: usize = 64;

impl<F: Frame> Director<F> {
    /// Takes a newer snapshot over and returns the one before. Packets whose neighbour has become
    /// known leave.
    pub fn adopt<O: Outlet<Frame = F>>(
        &mut self,
        snapshot: Arc<Snapshot>,
        outlet: &mut O,
    ) -> Arc<Snapshot> {
        let before = core::mem::replace(&mut self.snapshot, snapshot);
        self.has_many_servers = self.snapshot.services.server_count() > MANY_SERVERS;
        self.look_for_drained(&before);
        self.defences.look_again();
        self.look_for_homeless(&before.services);
        self.look_for_ftp();
        if before.network_epoch != self.snapshot.network_epoch {
            let network = &self.snapshot.network;
            let sent = self.park.release(network, |port, frame| {
                outlet.transmit(port, frame);
            });
            self.counters.unparked.add(sent);
        }
        before
    }

    /// Work that is not for a packet: ends flows, for which it looks at up to `groups` groups of the
    /// flow table, and gives parked packets up. Returns how many groups it has looked at: less when
    /// enough was found to be done.
    pub fn housekeep<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        groups: usize,
        outlet: &mut O,
    ) -> usize {
        self.end_homeless(now);
        self.defend(now);
        let (counters, snapshot) = (&self.counters, &self.snapshot);
        let templates = &snapshot.templates;
        let swept = self.flows.sweep(now, groups, |ended| {
            counters.flows_expired.add(1);
            let flow = &ended.0;
            crate::track::uncount(counters, snapshot, flow.expires(), flow, End::InTime);
        });
        let culling = Culling {
            services: &self.snapshot.services,
            thins: self.defences.are_thinning(),
            random: &self.random,
        };
        let part = (self.id.0, self.steering.workers());
        self.template_sweep
            .go_on(now, part, groups, templates, culling);
        self.overflow.keep_house(now);
        self.counters.flows.set(self.flows.len() as u64);
        self.counters
            .flows_v6
            .set(self.flows.len_of(Family::V6) as u64);
        self.counters.half_open.set(self.flows.half_open() as u64);
        self.give_up_fragments(now, outlet);
        self.give_up_parked(now, outlet);
        swept
    }
    /// True while flows are looked for that are to end before their time: housekeeping is due in
    /// every turn then.
    #[must_use]
    pub fn is_culling(&self) -> bool {
        self.homeless_at.is_some() || self.template_sweep.is_looking() || self.defences.are_at_it()
    }
}
