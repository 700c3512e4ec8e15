//! What a director does between bursts.

use alloc::sync::Arc;

use weir_wire::Family;

use super::Director;
use crate::io::{Frame, Outlet};
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
        self.has_resets = self.snapshot.services.has_resets();
        self.defences.look_again();
        self.look_for_homeless();
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
            crate::track::uncount(counters, snapshot, now, &ended.0);
        });
        let (services, settings) = (&self.snapshot.services, &self.snapshot.settings);
        let is_gone = |id| {
            let server = services.server(id);
            settings.ipvs.expire_nodest_conn && !server.is_some_and(|s| s.is_available)
        };
        let part = (self.id.0, self.steering.workers());
        self.template_sweep
            .go_on(now, part, groups, templates, is_gone);
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
}
