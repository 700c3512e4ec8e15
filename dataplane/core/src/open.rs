//! A packet without flow: a flow begins with it, or what becomes of it instead.

use weir_wire::{Addr, tcp_flag};

use crate::counters::{DropReason, Overflow};
use crate::director::Director;
use crate::flow::table::Full;
use crate::flow::{FlowId, NewFlow, Tuple};
use crate::io::{Frame, WorkerId};
use crate::load::Connections;
use crate::note::{PuntClass, Verdict};
use crate::schedule::{Arrival, Scheduler};
use crate::service::{Method, Protocol, Server, ServerId, Service, ServiceId};
use crate::time::Tick;

/// A source port that never begins a flow: data connections of active FTP come from it.
const FTP_DATA: u16 = 20;

/// True for what may begin a flow: a SYN without RST, or any datagram.
pub(crate) fn starts_flow(tuple: &Tuple, tcp_flags: u8) -> bool {
    let opens = match tuple.protocol {
        Protocol::Tcp => tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN,
        Protocol::Udp => true,
    };
    opens && tuple.src_port != FTP_DATA
}

impl<F: Frame> Director<F> {
    /// Begins a flow for a packet of `tuple` that no flow of this worker knows; `starts` says
    /// whether it may. The flow has no state yet: the packet is still to be taken into account.
    ///
    /// # Errors
    /// What becomes of the packet when no flow begins.
    pub(crate) fn open(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        starts: bool,
        is_handed_off: bool,
    ) -> Result<FlowId, Verdict> {
        let services = &self.snapshot.services;
        let Some((service_id, service)) = services.find(tuple.service_key()) else {
            return Err(self.of_no_service(now, tuple, is_handed_off));
        };
        let owner = self.steering.owner_of_request(tuple, service.by_client);
        if owner != self.id && !is_handed_off {
            return Err(Verdict::HandOff(owner));
        }
        if !starts && !self.overflow.is_on(now) {
            return Err(Verdict::Refuse(DropReason::NoFlow));
        }
        // Linux takes no packet from its own address off a wire either (RFC 1812 §5.3.8). From a
        // local end it could take the way of a reply to that end.
        if self.snapshot.network.is_local(tuple.src) || services.is_local(tuple.src) {
            return Err(Verdict::Drop(DropReason::Martian));
        }
        if !starts {
            return self.adopt_flow(now, tuple, service_id);
        }
        let new_flows_max = service.new_flows_max;
        if let Some(cause) = self.has_no_room(now, tuple, service_id, new_flows_max) {
            return Err(self.not_kept(now, tuple, service_id, cause));
        }
        let Some((id, server)) = self.schedule(now, tuple, service_id) else {
            return Err(Verdict::Refuse(DropReason::NoServer));
        };
        let client = (tuple.src, tuple.src_port);
        let reply_to = match server.method {
            Method::FullNat => self
                .take_local(id, &server)
                .ok_or(Verdict::Drop(DropReason::LocalPortsExhausted))?,
            _ => client,
        };
        let kept = self.keep(now, tuple, id, &server, reply_to);
        kept.map_err(|Full| self.not_kept(now, tuple, service_id, Overflow::Table))
    }

    /// The server of a new flow, by the service's scheduler.
    fn schedule(
        &mut self,
        now: Tick,
        request: &Tuple,
        service: ServiceId,
    ) -> Option<(ServerId, Server)> {
        let snapshot = &self.snapshot;
        let services = &snapshot.services;
        let mut arrival = Arrival {
            request,
            now,
            loads: &snapshot.loads,
            settings: &snapshot.settings,
            random: &mut self.random,
        };
        let id = Scheduler::pick(services.service(service)?, services, &mut arrival)?;
        Some((id, *services.server(id)?))
    }

    /// What becomes of a packet that is for no service: a reply whose flow another worker has, one
    /// without a flow, or Linux's business.
    fn of_no_service(&self, now: Tick, tuple: &Tuple, is_handed_off: bool) -> Verdict {
        let services = &self.snapshot.services;
        if services.is_nat_source(tuple.protocol, tuple.src, tuple.src_port) {
            let owner = self.owner_of_reply(tuple);
            if owner != self.id && !is_handed_off {
                return Verdict::HandOff(owner);
            }
            if let Some(from) = self.stateless_reply(now, tuple) {
                return Verdict::StatelessReply(from);
            }
        }
        Verdict::Punt(punt_class(tuple))
    }

    /// A free local end for a new flow to a FullNAT server.
    fn take_local(&mut self, id: ServerId, server: &Server) -> Option<(Addr, u16)> {
        let service: &Service = self.snapshot.services.service(server.service)?;
        let pool = service.local.as_deref()?;
        let is_own = |addr, port| {
            let replies = self
                .steering
                .replies(server.protocol, server.addr, server.port, addr);
            replies.owner(port) == self.id
        };
        let is_taken = |addr, port| {
            let reply = reply_of(server, (addr, port));
            self.flows.find(&reply, self.flows.hash(&reply)).is_some()
        };
        self.locals.take(id, pool, is_own, is_taken)
    }

    /// Keeps a flow to a server that replies, if replies pass, to `reply_to`.
    pub(crate) fn keep(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        id: ServerId,
        server: &Server,
        reply_to: (Addr, u16),
    ) -> Result<FlowId, Full> {
        let sees_replies = server.method.sees_replies();
        let flow = NewFlow {
            request: *tuple,
            reply: sees_replies.then(|| reply_of(server, reply_to)),
            server: id,
            method: server.method,
            expires: now.after(self.snapshot.settings.timeouts.new),
        };
        let kept = match server.method {
            // The next new flow asks the table which local ends are taken.
            Method::FullNat => self.flows.insert(&flow)?,
            _ => self.flows.insert_unsettled(&flow)?,
        };
        self.counters.flows_created.add(1);
        if let Some(counters) = self.counters.servers.get(id.0 as usize) {
            counters.connections.add(1);
        }
        if let Some(load) = self.counters.loads.get(id.0 as usize) {
            load.add(Connections::INACTIVE);
            self.snapshot.loads.bound(id, server);
        }
        Ok(kept)
    }

    /// Gives the flows that began in this burst their replies' entries. A flow whose reply finds no
    /// place is forgotten: it goes on as one that was not kept.
    pub(crate) fn settle(&mut self, now: Tick) {
        let (counters, snapshot) = (&self.counters, &self.snapshot);
        let overflow = &mut self.overflow;
        let lifetime = self.snapshot.settings.timeouts.longest();
        self.flows.settle(|flow| {
            crate::track::uncount(counters, snapshot, flow);
            counters.count_not_kept(Overflow::Table);
            overflow.turn_on(now.after(lifetime));
        });
    }

    /// The worker that owns the flow of a reply with this tuple. An address of the director's own
    /// is no client's: it may have left a pool, and flows remember it.
    pub(crate) fn owner_of_reply(&self, reply: &Tuple) -> WorkerId {
        let snapshot = &self.snapshot;
        if snapshot.services.is_local(reply.dst) || snapshot.network.is_local(reply.dst) {
            self.steering.owner_of_reply_to_local(reply)
        } else {
            self.steering.owner_of_client(reply.dst, reply.dst_port)
        }
    }
}

/// What Linux gets although it concerns no flow.
fn punt_class(tuple: &Tuple) -> PuntClass {
    let is_bgp = |port| port == crate::classify::BGP;
    match tuple.protocol {
        Protocol::Tcp if is_bgp(tuple.src_port) || is_bgp(tuple.dst_port) => PuntClass::Vital,
        _ => PuntClass::Ordinary,
    }
}

/// The tuple of a server's packets to `to`.
fn reply_of(server: &Server, (addr, port): (Addr, u16)) -> Tuple {
    Tuple {
        src: server.addr,
        dst: addr,
        src_port: server.port,
        dst_port: port,
        protocol: server.protocol,
    }
}
