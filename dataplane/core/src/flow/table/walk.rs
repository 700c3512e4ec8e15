//! Going through a flow table: to end what has had its time, to thin it out, to list it.

use weir_wire::Family as IpFamily;

use super::pair::{live_flow, remove_from};
use super::{Expired, FlowId, FlowTable};
use crate::flow::Flow;
use crate::flow::entry::Entry;
use crate::flow::family::Family;
use crate::flow::ftp::Controls;
use crate::time::Tick;

/// Groups of 32 lines that one sweep reads at most: some 20 microseconds when all of it ends.
pub const READS_A_SWEEP: usize = 8;

impl FlowTable {
    /// Looks at up to `groups` groups of places, and removes what has ended by `now`, telling each.
    /// It reads [`READS_A_SWEEP`] groups at most. Returns how many groups it has looked at.
    pub fn sweep(&mut self, now: Tick, groups: usize, mut ended: impl FnMut(Expired)) -> usize {
        let mut reads = 0;
        for looked in 0..groups.min(self.groups()) {
            let at = self.sweep_at;
            let of_v4 = self.v4.groups();
            let is_due = match at.checked_sub(of_v4) {
                None => self.v4.is_due(at, now),
                Some(at) => self.v6.is_due(at, now),
            };
            if is_due {
                if reads == READS_A_SWEEP {
                    return looked;
                }
                reads += 1;
                self.sweep_group(at, now, &mut ended);
            }
            self.sweep_at = if at + 1 < self.groups() { at + 1 } else { 0 };
        }
        groups.min(self.groups())
    }

    fn sweep_group(&mut self, at: usize, now: Tick, ended: &mut impl FnMut(Expired)) {
        let mut gone = Gone {
            flows: 0,
            half_open: 0,
            now,
            controls: &mut self.controls,
        };
        let of_v4 = self.v4.groups();
        let count = match at.checked_sub(of_v4) {
            None => {
                self.v4
                    .sweep(at, now, |v4, place| gone.take(v4, place, ended));
                &mut self.of_v4
            }
            Some(at) => {
                self.v6
                    .sweep(at, now, |v6, place| gone.take(v6, place, ended));
                &mut self.of_v6
            }
        };
        count.len -= gone.flows;
        self.half_open -= gone.half_open;
    }

    /// The groups of a whole round of the sweep.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.v4.groups() + self.v6.groups()
    }

    /// All places of both families.
    #[must_use]
    pub fn places(&self) -> usize {
        self.v4.places() + self.v6.places()
    }

    /// Takes out the flows in the places from `from` on, at most `count` places, of which `ends` is
    /// true; returns the place to go on from, none when the end was reached. All flows are settled.
    pub(crate) fn prune(
        &mut self,
        from: usize,
        count: usize,
        mut ends: impl FnMut(&Flow) -> bool,
    ) -> Option<usize> {
        let of_v4 = self.v4.places();
        let end = self.places();
        let to = from.saturating_add(count).min(end);
        for at in from..to {
            let (family, flow, place) = match at.checked_sub(of_v4) {
                None => (IpFamily::V4, live_flow(&self.v4, at as u32), at as u32),
                Some(at) => (IpFamily::V6, live_flow(&self.v6, at as u32), at as u32),
            };
            let flow = flow.map(|flow| self.controls.complete(flow));
            if flow.is_some_and(|flow| ends(&flow)) {
                self.remove(FlowId { place, family });
            }
        }
        (to < end).then_some(to)
    }

    /// The flows in the places from `from` on, at most `count` places, and the place to go on
    /// from; none when the end was reached.
    pub fn visit(&self, from: usize, count: usize, mut see: impl FnMut(&Flow)) -> Option<usize> {
        let of_v4 = self.v4.places();
        let end = self.places();
        let to = from.saturating_add(count).min(end);
        for at in from..to {
            let flow = match at.checked_sub(of_v4) {
                None => live_flow(&self.v4, at as u32),
                Some(at) => live_flow(&self.v6, at as u32),
            };
            if let Some(flow) = flow {
                see(&self.controls.complete(flow));
            }
        }
        (to < end).then_some(to)
    }
}

/// What a sweep has taken out.
struct Gone<'a> {
    flows: usize,
    half_open: usize,
    now: Tick,
    controls: &'a mut Controls,
}

impl Gone<'_> {
    fn take<E: Entry>(
        &mut self,
        entries: &mut Family<E>,
        place: u32,
        ended: &mut impl FnMut(Expired),
    ) {
        if self.controls.is_held(entries.get(place).head().role()) {
            return entries.keep_until(place, Controls::held_until(self.now));
        }
        let flow = self.controls.complete(remove_from(entries, place));
        self.controls.forget(&flow);
        self.flows += 1;
        self.half_open += usize::from(flow.state().is_half_open());
        ended(Expired(flow));
    }
}
