//! Headers to flow, and the flow's state: how a packet goes on that is not plain, or has no flow yet.

use weir_wire::{Headers, icmp, parse_embedded, protocol, tcp_flag};

use crate::counters::{DropReason, WorkerCounters};
use crate::director::Director;
use crate::flow::{Direction, Flow, FlowId, Tuple};
use crate::io::Frame;
use crate::note::{FromServer, PuntClass, ToServer, Verdict};
use crate::open::starts_flow;
use crate::plain::count_activity;
use crate::service::{Method, Protocol};
use crate::time::Tick;

impl<F: Frame> Director<F> {
    /// What becomes of a packet of TCP or UDP: it moves its flow on, or begins one.
    pub(crate) fn track(&mut self, now: Tick, headers: &Headers, is_handed_off: bool) -> Verdict {
        let Some(tuple) = tuple_of(headers) else {
            return Verdict::Punt(PuntClass::Ordinary);
        };
        let Some((id, direction)) = self.flows.find(&tuple, self.flows.hash(&tuple)) else {
            return self.begin(now, headers, &tuple, is_handed_off);
        };
        if self.has_resets && self.snapshot.services.resets(self.flows.get(id).server()) {
            return self.cut(now, headers, &tuple, id, direction);
        }
        if direction == Direction::Request {
            let flow = self.flows.get(id);
            let server = self.snapshot.services.server(flow.server());
            if !server.is_some_and(|server| server.is_available) {
                return Verdict::Drop(DropReason::ServerRemoved);
            }
            if flow.may_be_reused() && starts_flow(&tuple, headers.tcp_flags) {
                self.forget(now, &tuple);
                return self.begin(now, headers, &tuple, true);
            }
        }
        self.take(now, headers, id, direction)
    }

    /// What becomes of a packet of a flow whose server had its time to drain. TCP is told by a reset
    /// to both ends, by this packet's own numbers, and the flow is closed. A client's datagram and
    /// its next connection begin a flow with another server.
    fn cut(
        &mut self,
        now: Tick,
        headers: &Headers,
        tuple: &Tuple,
        id: FlowId,
        direction: Direction,
    ) -> Verdict {
        let may_begin = starts_flow(tuple, headers.tcp_flags) && self.flows.get(id).may_be_reused();
        if !headers.is_tcp() || may_begin {
            self.forget(now, tuple);
            return match direction {
                Direction::Request => self.begin(now, headers, tuple, true),
                Direction::Reply => Verdict::Drop(DropReason::ServerDrained),
            };
        }
        if headers.tcp_flags & tcp_flag::RST != 0 {
            return self.take(now, headers, id, direction);
        }
        let reset = Headers {
            tcp_flags: tcp_flag::RST,
            ..*headers
        };
        match self.take(now, &reset, id, direction) {
            Verdict::Request(to) => Verdict::ResetRequest(to),
            Verdict::Reply(from) => Verdict::ResetReply(from),
            ended => ended,
        }
    }

    /// Ends the flow of `tuple`, in either direction.
    fn forget(&mut self, now: Tick, tuple: &Tuple) {
        self.settle(now);
        // That may have pushed the flow to another place.
        if let Some((id, _)) = self.flows.find(tuple, self.flows.hash(tuple)) {
            let ended = self.flows.remove(id);
            uncount(&self.counters, &ended);
        }
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
        let starts = starts_flow(tuple, headers.tcp_flags);
        match self.open(now, tuple, starts, is_handed_off) {
            Ok(id) => self.take(now, headers, id, Direction::Request),
            Err(verdict) => verdict,
        }
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
    /// that it is not while a flow remembers it, or when it has lost its local end, which only a
    /// client that took this end for its own address could do.
    fn to_server(&self, flow: &Flow) -> Option<ToServer> {
        let server = self.snapshot.services.server(flow.server())?;
        if flow.method() == Method::FullNat && flow.local().is_none() {
            return None;
        }
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

fn from_server(flow: &Flow) -> FromServer {
    let request = flow.request();
    FromServer {
        virt: request.dst,
        virt_port: request.dst_port,
        client: flow.local().map(|_| (request.src, request.src_port)),
    }
}
