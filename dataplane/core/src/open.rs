//! A packet without flow: a flow begins with it, or what becomes of it instead.

use weir_wire::Addr;

use crate::counters::{DropReason, Overflow};
use crate::director::Director;
use crate::flow::table::Full;
use crate::flow::{FlowId, NewFlow, Signal, Tuple};
use crate::io::{Frame, WorkerId};
use crate::load::Connections;
use crate::note::{PuntClass, ToServer, Verdict};
use crate::persist::{Chosen, End};
use crate::service::{FTP_DATA_PORT, Method, Protocol, Server, ServerId, Service};
use crate::time::Tick;

impl<F: Frame> Director<F> {
    /// True for what may begin a flow: a SYN without RST, an INIT, any datagram, and what the
    /// sloppy modes allow besides.
    pub(crate) fn may_start(&self, tuple: &Tuple, signal: Signal) -> bool {
        let rules = &self.snapshot.settings.ipvs;
        let opens = match tuple.protocol {
            Protocol::Tcp => rules.sloppy_tcp || signal.opens(Protocol::Tcp),
            Protocol::Udp => true,
            Protocol::Sctp if rules.sloppy_sctp => signal.sctp.is_some(),
            Protocol::Sctp => signal.opens(Protocol::Sctp),
        };
        opens && !signal.aborts(tuple.protocol)
    }

    /// Begins a flow for a packet of `tuple` that no flow of this worker knows, if it may. The flow
    /// has no state yet: the packet is still to be taken into account. `payload` is what a datagram
    /// carries, none when nobody has looked.
    ///
    /// # Errors
    /// What becomes of the packet when no flow begins; [`Verdict::LookUp`] when its payload has to be
    /// seen first.
    pub(crate) fn open(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        signal: Signal,
        is_handed_off: bool,
        payload: Option<&[u8]>,
    ) -> Result<FlowId, Verdict> {
        if let Some(id) = self.connect_data(tuple, signal) {
            return Ok(id);
        }
        if self.is_told(tuple, signal) {
            return Err(self.of_no_service(now, tuple, signal, is_handed_off, payload));
        }
        let starts = self.may_start(tuple, signal);
        self.open_if(now, tuple, starts, signal, is_handed_off, payload)
    }

    /// As [`open`](Self::open); `starts` says whether the packet may begin a flow.
    #[inline(always)]
    pub(crate) fn open_if(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        starts: bool,
        signal: Signal,
        is_handed_off: bool,
        payload: Option<&[u8]>,
    ) -> Result<FlowId, Verdict> {
        let starts = starts && tuple.src_port != FTP_DATA_PORT;
        let services = &self.snapshot.services;
        let mark = self.snapshot.mark_of(tuple, Some(self.received_at));
        let Some((service_id, service)) = services.find_for(tuple, mark) else {
            if services.has_formers()
                && !is_handed_off
                && let Some(owner) = self.owner_of_former(tuple, mark)
            {
                return Err(Verdict::HandOff(owner));
            }
            return Err(self.of_no_service(now, tuple, signal, is_handed_off, payload));
        };
        let owner = self.owner_of(tuple, service);
        if owner != self.id && !is_handed_off {
            return Err(Verdict::HandOff(owner));
        }
        if !starts && !self.overflow.is_on(now) {
            if services.has_formers()
                && !is_handed_off
                && let Some(owner) = self.owner_of_former(tuple, mark)
            {
                return Err(Verdict::HandOff(owner));
            }
            return Err(match tuple.protocol {
                // Linux may know SCTP, and Weir has no answer of its own.
                Protocol::Sctp => Verdict::Punt(PuntClass::Ordinary),
                Protocol::Tcp | Protocol::Udp => Verdict::Refuse(DropReason::NoFlow),
            });
        }
        if service.has_engine() && payload.is_none() {
            return Err(Verdict::LookUp);
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
        let is_one_packet = service.one_packet && tuple.protocol == Protocol::Udp;
        if self.defences.drops_packet() {
            return Err(Verdict::Drop(DropReason::DropPacket));
        }
        if !is_one_packet
            && let Some(cause) = self.has_no_room(now, tuple, service_id, new_flows_max)
        {
            return Err(self.not_kept(now, tuple, service_id, cause));
        }
        let chosen = match self.choose(now, tuple, service_id, payload.unwrap_or_default()) {
            Ok(chosen) => chosen,
            Err(refused) => return self.without_server(now, tuple, service_id, refused),
        };
        // FullNAT cannot do without a flow.
        if is_one_packet && chosen.server.method != Method::FullNat {
            self.unchoose(now, &chosen);
            self.pass_once(&chosen);
            return Err(Verdict::OnePacket(ToServer {
                has_flow: false,
                server: chosen.id,
                method: chosen.server.method,
                addr: chosen.server.addr,
                port: chosen.port,
                tunnel: chosen.server.tunnel,
                local: None,
            }));
        }
        let reply_to = match chosen.server.method {
            Method::FullNat => self.take_local(tuple, &chosen),
            _ => Some((tuple.src, tuple.src_port)),
        };
        let Some(reply_to) = reply_to else {
            self.unchoose(now, &chosen);
            return Err(Verdict::Drop(DropReason::LocalPortsExhausted));
        };
        let kept = self.keep(now, tuple, &chosen, reply_to);
        kept.map_err(|Full| self.not_kept(now, tuple, service_id, Overflow::Table))
    }

    /// What becomes of a packet that is for no service: a reply whose flow another worker has, one
    /// without a flow, or Linux's business.
    fn of_no_service(
        &self,
        now: Tick,
        tuple: &Tuple,
        signal: Signal,
        is_handed_off: bool,
        payload: Option<&[u8]>,
    ) -> Verdict {
        if let Some(owner) = self.other_owner(tuple, is_handed_off) {
            return Verdict::HandOff(owner);
        }
        let services = &self.snapshot.services;
        if services.is_nat_source(tuple.protocol, tuple.src, tuple.src_port) {
            if let Some(from) = self.stateless_reply(now, tuple) {
                return Verdict::StatelessReply(from);
            }
            if self.is_told(tuple, signal) {
                return Verdict::TellServer;
            }
            if services.has_engines() && payload.is_none() && tuple.protocol == Protocol::Udp {
                // The server may begin a call.
                return Verdict::LookUp;
            }
        }
        Verdict::Punt(punt_class(tuple))
    }

    /// True for the packet of a NAT server that is told when it belongs to no flow, whatever else
    /// its destination is. What it sends to the director itself, as to its health checks, is no
    /// reply that got lost: Linux answers that.
    fn is_told(&self, tuple: &Tuple, signal: Signal) -> bool {
        let (services, network) = (&self.snapshot.services, &self.snapshot.network);
        self.snapshot.settings.ipvs.nat_icmp_send
            && !signal.aborts(tuple.protocol)
            && services.has_nat_server(tuple.protocol, tuple.src, tuple.src_port)
            && !network.is_local(tuple.dst)
            && !services.is_local(tuple.dst)
    }

    /// A free local end for a new flow to a FullNAT server.
    fn take_local(&mut self, tuple: &Tuple, chosen: &Chosen) -> Option<(Addr, u16)> {
        let Chosen { id, server, .. } = *chosen;
        let service: &Service = self.snapshot.services.service(server.service)?;
        let pool = service.local.as_deref()?;
        let is_own = |addr, port| {
            let replies = self
                .steering
                .replies(tuple.protocol, server.addr, chosen.port, addr);
            replies.owner(port) == self.id
        };
        let is_taken = |addr, port| {
            let reply = reply_of(tuple, chosen, (addr, port));
            self.flows.find(&reply, self.flows.hash(&reply)).is_some()
        };
        self.locals.take(id, pool, is_own, is_taken)
    }

    /// A connection of one packet begins and ends: it may fill its server meanwhile.
    fn pass_once(&self, chosen: &Chosen) {
        let (id, server) = (chosen.id, &chosen.server);
        if server.thresholds.upper != 0
            && let Some(load) = self.counters.loads.get(id.0 as usize)
        {
            load.add(Connections::INACTIVE);
            self.snapshot.loads.bound(id, server);
            load.sub(Connections::INACTIVE);
            self.snapshot.loads.unbound(id, Some(server));
        }
    }

    /// Keeps a flow to a server that replies, if replies pass, to `reply_to`. One that finds no
    /// place is no child of its template.
    pub(crate) fn keep(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        chosen: &Chosen,
        reply_to: (Addr, u16),
    ) -> Result<FlowId, Full> {
        let (id, server) = (chosen.id, &chosen.server);
        let sees_replies = server.method.sees_replies();
        let flow = NewFlow {
            request: *tuple,
            reply: sees_replies.then(|| reply_of(tuple, chosen, reply_to)),
            server: id,
            method: server.method,
            expires: now.after(self.snapshot.settings.timeouts.new),
            is_controlled: chosen.template.is_some(),
            template: chosen.template,
        };
        let kept = match server.method {
            // The next new flow asks the table which local ends are taken.
            Method::FullNat => self.flows.insert(&flow),
            _ => self.flows.insert_unsettled(&flow),
        };
        let kept = kept.inspect_err(|Full| self.unchoose(now, chosen))?;
        self.watch_control(tuple, server.method, kept);
        self.count_flow(id, server);
        Ok(kept)
    }

    /// Counts a flow that was made: it is not active yet.
    #[inline]
    pub(crate) fn count_flow(&self, id: ServerId, server: &Server) {
        if let Some(counters) = self.counters.servers.get(id.0 as usize) {
            counters.connections.add(1);
        }
        self.count_bound(id, server);
    }

    /// The same of one that was announced, which counts for its server's load and is no connection
    /// that was scheduled.
    #[inline]
    pub(crate) fn count_bound(&self, id: ServerId, server: &Server) {
        self.counters.flows_created.add(1);
        if let Some(load) = self.counters.loads.get(id.0 as usize) {
            load.add(Connections::INACTIVE);
            self.snapshot.loads.bound(id, server);
        }
    }

    /// Gives the flows that began in this burst their replies' entries. A flow whose reply finds no
    /// place is forgotten: it goes on as one that was not kept.
    pub(crate) fn settle(&mut self, now: Tick) {
        let (counters, snapshot) = (&self.counters, &self.snapshot);
        let overflow = &mut self.overflow;
        let lifetime = self.snapshot.settings.timeouts.longest();
        self.flows.settle(|flow| {
            crate::track::uncount(counters, snapshot, now, flow, End::InTime);
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
fn reply_of(request: &Tuple, chosen: &Chosen, (addr, port): (Addr, u16)) -> Tuple {
    Tuple {
        src: chosen.server.addr,
        dst: addr,
        src_port: chosen.port,
        dst_port: port,
        protocol: request.protocol,
    }
}
