//! Headers to flow, and the flow's state: how a packet goes on that is not plain, or has no flow yet.

use weir_wire::{Addr, Headers, icmp, parse_embedded, protocol, tcp_flag};

use crate::counters::{DropReason, WorkerCounters};
use crate::director::Director;
use crate::flow::{Direction, Flow, FlowId, NewFlow, Tuple};
use crate::io::{Frame, WorkerId};
use crate::note::{FromServer, PuntClass, ToServer, Verdict};
use crate::plain::count_activity;
use crate::schedule::Scheduler;
use crate::service::{Method, Protocol, Server, ServerId, Service};
use crate::time::Tick;

/// A source port that never begins a flow: data connections of active FTP come from it.
const FTP_DATA: u16 = 20;

impl<F: Frame> Director<F> {
    /// What becomes of a packet of TCP or UDP: it moves its flow on, or begins one.
    pub(crate) fn track(&mut self, now: Tick, headers: &Headers, is_handed_off: bool) -> Verdict {
        let Some(tuple) = tuple_of(headers) else {
            return Verdict::Punt(PuntClass::Ordinary);
        };
        let Some((id, direction)) = self.flows.find(&tuple, self.flows.hash(&tuple)) else {
            return self.begin(now, headers, &tuple, is_handed_off);
        };
        if direction == Direction::Request {
            let flow = self.flows.get(id);
            let server = self.snapshot.services.server(flow.server());
            if !server.is_some_and(|server| server.is_available) {
                return Verdict::Drop(DropReason::ServerRemoved);
            }
            if flow.may_be_reused() && starts_flow(headers) {
                let ended = self.flows.remove(id);
                uncount(&self.counters, &ended);
                return self.begin(now, headers, &tuple, true);
            }
        }
        self.take(now, headers, id, direction)
    }

    /// Counts a packet of the flow at `id` and moves its state on.
    fn take(&mut self, now: Tick, headers: &Headers, id: FlowId, direction: Direction) -> Verdict {
        let timeouts = &self.snapshot.settings.timeouts;
        let moved = self
            .flows
            .advance(id, direction, headers.tcp_flags, timeouts, now);
        let flow = self.flows.get(id);
        count_activity(
            &self.counters,
            flow.server(),
            moved.was_active,
            moved.is_active,
        );
        let bytes = headers.packet_len() as u64;
        if let Some(counters) = self.counters.servers.get(flow.server().0 as usize) {
            match direction {
                Direction::Request => {
                    counters.packets_in.add(1);
                    counters.bytes_in.add(bytes);
                }
                Direction::Reply => {
                    counters.packets_out.add(1);
                    counters.bytes_out.add(bytes);
                }
            }
        }
        match direction {
            Direction::Request => self.request_of(&flow),
            Direction::Reply => Verdict::Reply(from_server(&flow)),
        }
    }

    /// A packet that no flow of this worker knows.
    fn begin(
        &mut self,
        now: Tick,
        headers: &Headers,
        tuple: &Tuple,
        is_handed_off: bool,
    ) -> Verdict {
        let services = &self.snapshot.services;
        let Some((_, service)) = services.find(tuple.service_key()) else {
            let is_reply = services.is_nat_source(tuple.protocol, tuple.src, tuple.src_port);
            let owner = self.owner_of_reply(tuple);
            return if is_reply && owner != self.id && !is_handed_off {
                Verdict::HandOff(owner)
            } else {
                Verdict::Punt(crate::classify::punt_class(headers))
            };
        };
        let owner = self.steering.owner_of_request(tuple, service.by_client);
        if owner != self.id && !is_handed_off {
            return Verdict::HandOff(owner);
        }
        if !starts_flow(headers) {
            return Verdict::Refuse(DropReason::NoFlow);
        }
        // Linux takes no packet from its own address off a wire either (RFC 1812 §5.3.8). From a
        // local end it could take the way of a reply to that end.
        if self.snapshot.network.is_local(tuple.src) || services.is_local(tuple.src) {
            return Verdict::Drop(DropReason::Martian);
        }
        let picked = Scheduler::pick(service, services);
        let picked = picked.and_then(|id| Some((id, *services.server(id)?)));
        let Some((id, server)) = picked else {
            return Verdict::Refuse(DropReason::NoServer);
        };
        let client = (tuple.src, tuple.src_port);
        let reply_to = match server.method {
            Method::FullNat => self.take_local(id, &server),
            _ => Some(client),
        };
        match reply_to {
            Some(reply_to) => self.start(now, headers, tuple, id, &server, reply_to),
            None => Verdict::Drop(DropReason::LocalPortsExhausted),
        }
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

    /// The worker that owns the flow of a reply with this tuple. An address of the director's own
    /// is no client's: it may have left a pool, and flows remember it.
    fn owner_of_reply(&self, reply: &Tuple) -> WorkerId {
        let snapshot = &self.snapshot;
        if snapshot.services.is_local(reply.dst) || snapshot.network.is_local(reply.dst) {
            self.steering.owner_of_reply_to_local(reply)
        } else {
            self.steering.owner_of_client(reply.dst, reply.dst_port)
        }
    }

    /// Begins a flow to a server that replies, if replies pass, to `reply_to`.
    fn start(
        &mut self,
        now: Tick,
        headers: &Headers,
        tuple: &Tuple,
        id: ServerId,
        server: &Server,
        reply_to: (Addr, u16),
    ) -> Verdict {
        let expires = now.after(self.snapshot.settings.timeouts.new);
        let sees_replies = server.method.sees_replies();
        let flow = NewFlow {
            request: *tuple,
            reply: sees_replies.then(|| reply_of(server, reply_to)),
            server: id,
            method: server.method,
            expires,
        };
        let Ok(flow_id) = self.flows.insert(&flow) else {
            return Verdict::Drop(DropReason::FlowTableFull);
        };
        self.counters.flows_created.add(1);
        if let Some(counters) = self.counters.servers.get(id.0 as usize) {
            counters.connections.add(1);
            counters.inactive.add(1);
        }
        self.take(now, headers, flow_id, Direction::Request)
    }

    /// An ICMP error: the flow that the quoted packet belongs to, if any.
    pub(crate) fn relate(&self, headers: &Headers, frame: &F, is_handed_off: bool) -> Verdict {
        let unrelated = if self.snapshot.services.is_virtual(headers.dst) {
            Verdict::Drop(DropReason::IcmpUnrelated)
        } else {
            Verdict::Punt(crate::classify::punt_class(headers))
        };
        let bytes = frame.bytes();
        let at = icmp::quoted_at(headers);
        let Some(quoted) = parse_embedded(bytes, at, usize::from(headers.end)) else {
            return unrelated;
        };
        let quoted_tuple = |e: &weir_wire::Embedded| {
            Some(Tuple {
                src: e.src,
                dst: e.dst,
                src_port: e.src_port,
                dst_port: e.dst_port,
                protocol: Protocol::from_number(e.protocol)?,
            })
        };
        if matches!(quoted.protocol, protocol::IPIP | protocol::IPV6) {
            let inner = parse_embedded(bytes, usize::from(quoted.l4), usize::from(quoted.end));
            return match inner.as_ref().and_then(quoted_tuple) {
                Some(tuple) => self.relate_tunnel(&tuple, &quoted, is_handed_off, unrelated),
                None => unrelated,
            };
        }
        let Some(sent) = quoted_tuple(&quoted) else {
            return unrelated;
        };
        // The quoted packet went the other way than the error.
        let tuple = sent.reversed();
        match self.flows.find(&tuple, self.flows.hash(&tuple)) {
            Some((id, Direction::Request)) => match self.to_server(&self.flows.get(id)) {
                Some(to) => Verdict::ErrorToServer(to),
                None => unrelated,
            },
            Some((id, Direction::Reply)) => {
                Verdict::ErrorToClient(from_server(&self.flows.get(id)))
            }
            None => self
                .owner_of_error(&sent, is_handed_off)
                .unwrap_or(unrelated),
        }
    }

    /// An error about a packet that a tunnel carried: `inner` went from client to service.
    fn relate_tunnel(
        &self,
        inner: &Tuple,
        outer: &weir_wire::Embedded,
        is_handed_off: bool,
        unrelated: Verdict,
    ) -> Verdict {
        match self.flows.find(inner, self.flows.hash(inner)) {
            Some((id, Direction::Request)) => {
                let flow = self.flows.get(id);
                let server = self.snapshot.services.server(flow.server());
                let is_ours = server.is_some_and(|server| server.addr == outer.dst);
                if flow.method() == Method::Tun && is_ours {
                    Verdict::ErrorInTunnel(flow.server())
                } else {
                    unrelated
                }
            }
            _ if is_handed_off => unrelated,
            _ => self.foreign_owner(inner).unwrap_or(unrelated),
        }
    }

    /// The worker that owns the flow of a packet that was `sent`, when it is another.
    fn owner_of_error(&self, sent: &Tuple, is_handed_off: bool) -> Option<Verdict> {
        if is_handed_off {
            return None;
        }
        let services = &self.snapshot.services;
        let request = sent.reversed();
        if services.find(request.service_key()).is_some() {
            return self.foreign_owner(&request);
        }
        let to_nat_server = services.is_nat_source(sent.protocol, sent.dst, sent.dst_port);
        let owner = self.owner_of_reply(&sent.reversed());
        (to_nat_server && owner != self.id).then_some(Verdict::HandOff(owner))
    }

    fn request_of(&self, flow: &Flow) -> Verdict {
        match self.to_server(flow) {
            Some(to) => Verdict::Request(to),
            None => Verdict::Drop(DropReason::ServerRemoved),
        }
    }

    /// How a request of `flow` goes on; none when its server's slot is empty, which control sees to
    /// that it is not while a flow remembers it.
    fn to_server(&self, flow: &Flow) -> Option<ToServer> {
        let server = self.snapshot.services.server(flow.server())?;
        Some(ToServer {
            server: flow.server(),
            method: flow.method(),
            addr: server.addr,
            port: server.port,
            local: flow.local(),
        })
    }

    /// The worker that owns the flow of a client's packet, when it is another.
    fn foreign_owner(&self, request: &Tuple) -> Option<Verdict> {
        let (_, service) = self.snapshot.services.find(request.service_key())?;
        let owner = self.steering.owner_of_request(request, service.by_client);
        (owner != self.id).then_some(Verdict::HandOff(owner))
    }
}

/// Takes a flow that ended out of its server's connection counts.
pub(crate) fn uncount(counters: &WorkerCounters, flow: &Flow) {
    if let Some(server) = counters.servers.get(flow.server().0 as usize) {
        if flow.is_active() {
            server.active.sub(1);
        } else {
            server.inactive.sub(1);
        }
    }
}

/// The addresses and ports of TCP or UDP.
pub(crate) fn tuple_of(headers: &Headers) -> Option<Tuple> {
    Some(Tuple {
        src: headers.src,
        dst: headers.dst,
        src_port: headers.src_port,
        dst_port: headers.dst_port,
        protocol: Protocol::from_number(headers.protocol)?,
    })
}

/// The tuple of a server's packets to `to`.
fn reply_of(server: &Server, to: (Addr, u16)) -> Tuple {
    Tuple {
        src: server.addr,
        dst: to.0,
        src_port: server.port,
        dst_port: to.1,
        protocol: server.protocol,
    }
}

/// True for what may begin a flow: a SYN without RST, or any datagram.
fn starts_flow(headers: &Headers) -> bool {
    let opens =
        !headers.is_tcp() || headers.tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN;
    opens && headers.src_port != FTP_DATA
}

fn from_server(flow: &Flow) -> FromServer {
    let request = flow.request();
    FromServer {
        virt: request.dst,
        virt_port: request.dst_port,
        client: flow.local().map(|_| (request.src, request.src_port)),
    }
}
