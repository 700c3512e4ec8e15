//! Where a packet goes that is decided: out, to Linux, to another worker, or nowhere.

use weir_wire::Family;

use super::Director;
use crate::counters::DropReason;
use crate::flow::entry::{Entry4, Entry6};
use crate::io::{Frame, Outlet, PortId, WorkerId};
use crate::note::{Note, PuntClass, Verdict};
use crate::service::ServerId;
use crate::time::Tick;

impl<F: Frame> Director<F> {
    pub(super) fn finish<O: Outlet<Frame = F>>(
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
            Verdict::Request(to) => {
                way.request(frame, to);
                match headers.family() {
                    Family::V4 => self.make_target::<Entry4>(now, to.server),
                    Family::V6 => self.make_target::<Entry6>(now, to.server),
                }
            }
            Verdict::Reply(from) => way.reply(frame, from),
            Verdict::ResetRequest(to) => way.reset_request(frame, to),
            Verdict::ResetReply(from) => way.reset_reply(frame, from),
            Verdict::StatelessRequest(to) => {
                way.count_stateless(to.server);
                way.request(frame, to);
            }
            Verdict::ControlRequest(to, control) => way.control_request(frame, to, control),
            Verdict::ControlReply(from, control) => way.control_reply(frame, from, control),
            Verdict::OnePacket(to) => {
                way.count_one_packet(to.server);
                way.request(frame, to);
            }
            Verdict::StatelessReply(from) => {
                way.director.counters.stateless.add(1);
                way.reply(frame, from);
            }
            Verdict::ErrorToServer(to) => way.error_to_server(frame, to),
            Verdict::ErrorToClient(from, server) => way.error_to_client(frame, from, server),
            Verdict::ErrorInTunnel(server) => way.error_in_tunnel(frame, server),
            Verdict::TellServer => way.tell_server(frame),
            Verdict::Refuse(reason) => way.refuse(frame, reason),
            Verdict::HandOff(owner) => self.hand_off(owner, port, frame, outlet),
            Verdict::Punt(PuntClass::Ordinary) => way.punt_or_refuse(frame),
            Verdict::Punt(class) => self.punt(now, port, class, frame, outlet),
            Verdict::Drop(reason) => self.end(reason, port, &frame, outlet),
            Verdict::LookUp | Verdict::Related | Verdict::Fragment => {
                debug_assert!(false, "undecided after the last stage: {:?}", note.verdict);
            }
        }
    }

    pub(crate) fn hand_off<O: Outlet<Frame = F>>(
        &self,
        owner: WorkerId,
        port: PortId,
        frame: F,
        outlet: &mut O,
    ) {
        match outlet.hand_off(owner, port, frame) {
            Ok(()) => self.counters.handed_off.add(1),
            Err(frame) => self.end(DropReason::HandOffRingFull, port, &frame, outlet),
        }
    }

    /// Counts a packet of so many bytes that a server, or the director in its place, sent to a client.
    pub(crate) fn count_out(&self, server: ServerId, bytes: u64) {
        if let Some(counters) = self.counters.servers.get(server.0 as usize) {
            counters.packets_out.add(1);
            counters.bytes_out.add(bytes);
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
}
