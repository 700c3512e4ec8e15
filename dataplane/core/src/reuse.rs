//! A client's packet whose flow is known: the connection may have ended, and its server may be gone.

use crate::counters::DropReason;
use crate::director::Director;
use crate::flow::{Flow, Signal, State, TcpState, Tuple};
use crate::io::Frame;
use crate::persist::End;
use crate::service::{ServerId, Services};
use crate::time::Tick;
use crate::track::uncount;

/// Places of the flow table that one turn looks at for flows that have lost their server: one or two
/// microseconds.
const PLACES_A_TURN: usize = 512;

/// What becomes of a client's packet and its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It belongs to the flow.
    GoesOn,
    /// The flow ends, and the packet is as one without.
    Anew,
    /// It ends here, and the flow's life is not prolonged.
    Ends(DropReason),
}

impl<F: Frame> Director<F> {
    /// Judges in the kernel's order: a packet that opens a connection may take the place of one
    /// that has ended, or leave a server of weight 0; then the server has to be there.
    pub(crate) fn judge(&self, flow: &Flow, signal: Signal) -> Known {
        let rules = &self.snapshot.settings.ipvs;
        let server = self.snapshot.services.server(flow.server());
        // One that no packet has moved yet began with this very packet, perhaps on a server of
        // weight 0, where its template led.
        let is_new = flow.state() == State::Tcp(TcpState::None);
        if signal.opens(flow.request().protocol) && !is_new {
            let has_ended = flow
                .state()
                .may_be_reused(rules.conn_reuse_mode, flow.method());
            let is_quiet = server.is_some_and(|server| server.weight == 0);
            if (has_ended && !flow.is_controlled()) || (is_quiet && rules.expire_nodest_conn) {
                return Known::Anew;
            }
        }
        let is_there = server.is_some_and(|server| server.is_available);
        if is_there || flow.server() == ServerId::NONE {
            Known::GoesOn
        } else if rules.expire_nodest_conn {
            Known::Anew
        } else {
            Known::Ends(DropReason::ServerRemoved)
        }
    }

    /// Ends the flow of these requests, as if its time were over.
    pub fn end_flow(&mut self, now: Tick, request: &Tuple) {
        self.forget(now, request);
    }

    /// Takes the flow of these requests out.
    pub(crate) fn forget(&mut self, now: Tick, request: &Tuple) {
        if let Some(ended) = self.take_out(now, request) {
            uncount(&self.counters, &self.snapshot, now, &ended, End::InTime);
        }
    }

    /// The same; the flow still counts for its server.
    pub(crate) fn take_out(&mut self, now: Tick, request: &Tuple) -> Option<Flow> {
        // A reply's entry that is still to be made would be one of nothing.
        self.settle(now);
        // That may have pushed the flow to another place.
        let (id, _) = self.flows.find(request, self.flows.hash(request))?;
        Some(self.flows.remove(id))
    }

    /// Begins to end the flows and templates whose server was removed, if these are not to live on
    /// (`expire_nodest_conn`) and a server was removed since `before`. As in the kernel, what lost
    /// its server while the switch was off ends with the next that does.
    pub(crate) fn look_for_homeless(&mut self, before: &Services) {
        let services = &self.snapshot.services;
        let ends = self.snapshot.settings.ipvs.expire_nodest_conn;
        if ends && services.removals() != before.removals() {
            self.homeless_at = Some(0);
            self.template_sweep.look_for_homeless();
        }
    }

    /// Goes on with that, a bounded piece of the table at a time.
    pub(crate) fn end_homeless(&mut self, now: Tick) {
        let Some(from) = self.homeless_at else {
            return;
        };
        let (counters, snapshot) = (&self.counters, &self.snapshot);
        let services = &snapshot.services;
        self.homeless_at = self.flows.prune(from, PLACES_A_TURN, |flow| {
            let server = services.server(flow.server());
            let ends = !server.is_some_and(|server| server.is_available)
                && flow.server() != ServerId::NONE;
            if ends {
                counters.flows_expired.add(1);
                uncount(counters, snapshot, now, flow, End::Homeless);
            }
            ends
        });
    }
}
