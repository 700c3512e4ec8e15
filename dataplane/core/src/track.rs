//! Stages 3 and 4: headers to flow, and the flow's state, in the order of arrival.

use weir_wire::{Headers, icmp, parse_embedded, protocol, tcp_flag};

use crate::counters::{DropReason, WorkerCounters};
use crate::director::Director;
use crate::flow::{Direction, Flow, FlowId, Tuple};
use crate::io::{Frame, WorkerId};
use crate::note::{FromServer, Note, PuntClass, ToServer, Verdict};
use crate::schedule::Scheduler;
use crate::service::{Method, Protocol, Server, ServerId};
use crate::steer::owner;
use crate::time::Tick;

/// A source port that never begins a flow: data connections of active FTP come from it.
const FTP_DATA: u16 = 20;

impl<F: Frame> Director<F> {
    /// Stage 3: finds the flow of each packet, if this worker has it.
    pub(crate) fn look_up(&self, notes: &mut [Note]) {
        for note in notes {
            if let (Verdict::LookUp, Some(tuple)) = (note.verdict, note.headers.and_then(tuple_of))
            {
                let found = self.flows.find(&tuple, self.flows.hash(&tuple));
                note.verdict = found.map_or(Verdict::Miss, |(id, way)| Verdict::Hit(id, way));
            }
        }
    }

    /// Stage 4: for each packet in order, moves its flow on or begins one.
    pub(crate) fn track(
        &mut self,
        now: Tick,
        is_handed_off: bool,
        notes: &mut [Note],
        frames: &[F],
    ) {
        for (note, frame) in notes.iter_mut().zip(frames) {
            let Some(headers) = &note.headers else {
                continue;
            };
            note.verdict = match note.verdict {
                Verdict::Hit(id, direction) => self.advance(now, headers, id, direction),
                Verdict::Miss => self.begin(now, headers, is_handed_off),
                Verdict::Related => self.relate(headers, frame, is_handed_off),
                decided => decided,
            };
        }
    }

    fn advance(
        &mut self,
        now: Tick,
        headers: &Headers,
        id: FlowId,
        direction: Direction,
    ) -> Verdict {
        // An earlier packet of this burst may have put another flow in this place.
        let flow = self.flows.get(id);
        let still = match direction {
            Direction::Request => flow.request(),
            Direction::Reply => flow.reply(),
        };
        if tuple_of(*headers) != Some(still) {
            return self.begin(now, headers, true);
        }
        if direction == Direction::Request {
            let server = self.snapshot.services.server(flow.server());
            if !server.is_some_and(|server| server.is_available) {
                return Verdict::Drop(DropReason::ServerRemoved);
            }
            if flow.may_be_reused() && starts_flow(headers) {
                let ended = self.flows.remove(id);
                uncount(&self.counters, &ended);
                return self.begin(now, headers, true);
            }
        }
        self.take(now, headers, id, direction)
    }

    /// Counts a packet of the flow at `id` and moves its state on.
    fn take(&mut self, now: Tick, headers: &Headers, id: FlowId, direction: Direction) -> Verdict {
        let timeouts = &self.snapshot.settings.timeouts;
        let flow = self.flows.get_mut(id);
        let was_active = flow.is_active();
        flow.advance(direction, headers.tcp_flags, timeouts, now);
        let flow = *flow;
        let bytes = headers.packet_len() as u64;
        if let Some(counters) = self.counters.servers.get(flow.server().0 as usize) {
            if was_active != flow.is_active() {
                let (from, to) = match was_active {
                    true => (&counters.active, &counters.inactive),
                    false => (&counters.inactive, &counters.active),
                };
                from.sub(1);
                to.add(1);
            }
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
            Direction::Request => Verdict::Request(to_server(&flow)),
            Direction::Reply => Verdict::Reply(from_server(&flow)),
        }
    }

    /// A packet that no flow of this worker knew when the burst was looked up.
    fn begin(&mut self, now: Tick, headers: &Headers, is_handed_off: bool) -> Verdict {
        let Some(tuple) = tuple_of(*headers) else {
            return Verdict::Punt(PuntClass::Ordinary);
        };
        // Look again: an earlier packet of this burst may have begun the flow.
        if let Some((id, direction)) = self.flows.find(&tuple, self.flows.hash(&tuple)) {
            let flow = self.flows.get(id);
            let removed = direction == Direction::Request
                && !self
                    .snapshot
                    .services
                    .server(flow.server())
                    .is_some_and(|server| server.is_available);
            if removed {
                return Verdict::Drop(DropReason::ServerRemoved);
            }
            return self.take(now, headers, id, direction);
        }
        let services = &self.snapshot.services;
        let Some((_, service)) = services.find(tuple.service_key()) else {
            let is_reply = services.is_nat_source(tuple.protocol, tuple.src, tuple.src_port);
            let owner = owner(tuple.dst, tuple.dst_port, self.workers);
            return if is_reply && owner != self.id && !is_handed_off {
                Verdict::HandOff(owner)
            } else {
                Verdict::Punt(crate::classify::punt_class(headers))
            };
        };
        let owner = owner(tuple.src, tuple.src_port, self.workers);
        if owner != self.id && !is_handed_off {
            return Verdict::HandOff(owner);
        }
        if !starts_flow(headers) {
            return Verdict::Refuse(DropReason::NoFlow);
        }
        let picked = Scheduler::pick(service, services);
        let picked = picked.and_then(|id| Some((id, *services.server(id)?)));
        self.start(now, headers, &tuple, picked)
    }

    /// Begins a flow to the server that was picked.
    fn start(
        &mut self,
        now: Tick,
        headers: &Headers,
        tuple: &Tuple,
        picked: Option<(ServerId, Server)>,
    ) -> Verdict {
        let Some((id, server)) = picked else {
            return Verdict::Refuse(DropReason::NoServer);
        };
        let expires = now.after(self.snapshot.settings.timeouts.new);
        let flow = Flow::new(tuple, id, server.addr, server.port, server.method, expires);
        let Ok(flow_id) = self.flows.insert(flow) else {
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
    fn relate(&self, headers: &Headers, frame: &F, is_handed_off: bool) -> Verdict {
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
            Some((id, Direction::Request)) => Verdict::ErrorToServer(to_server(self.flows.get(id))),
            Some((id, Direction::Reply)) => Verdict::ErrorToClient(from_server(self.flows.get(id))),
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
                if flow.method() == Method::Tun && flow.dest() == outer.dst {
                    Verdict::ErrorInTunnel(flow.server())
                } else {
                    unrelated
                }
            }
            _ if is_handed_off => unrelated,
            _ => self
                .foreign_owner(inner.service_key(), inner.src, inner.src_port)
                .unwrap_or(unrelated),
        }
    }

    /// The worker that owns the flow of a packet that was `sent`, when it is another.
    fn owner_of_error(&self, sent: &Tuple, is_handed_off: bool) -> Option<Verdict> {
        if is_handed_off {
            return None;
        }
        let services = &self.snapshot.services;
        let from_service = sent.reversed().service_key();
        if services.find(from_service).is_some() {
            return self.foreign_owner(from_service, sent.dst, sent.dst_port);
        }
        let to_nat_server = services.is_nat_source(sent.protocol, sent.dst, sent.dst_port);
        let owner = owner(sent.src, sent.src_port, self.workers);
        (to_nat_server && owner != self.id).then_some(Verdict::HandOff(owner))
    }

    fn foreign_owner(
        &self,
        service: crate::service::ServiceKey,
        client: weir_wire::Addr,
        port: u16,
    ) -> Option<Verdict> {
        self.snapshot.services.find(service)?;
        let owner: WorkerId = owner(client, port, self.workers);
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
fn tuple_of(headers: Headers) -> Option<Tuple> {
    Some(Tuple {
        src: headers.src,
        dst: headers.dst,
        src_port: headers.src_port,
        dst_port: headers.dst_port,
        protocol: Protocol::from_number(headers.protocol)?,
    })
}

/// True for what may begin a flow: a SYN without RST, or any datagram.
fn starts_flow(headers: &Headers) -> bool {
    let opens =
        !headers.is_tcp() || headers.tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN;
    opens && headers.src_port != FTP_DATA
}

fn to_server(flow: &Flow) -> ToServer {
    ToServer {
        server: flow.server(),
        method: flow.method(),
        addr: flow.dest(),
        port: flow.dest_port(),
    }
}

fn from_server(flow: &Flow) -> FromServer {
    let request = flow.request();
    FromServer {
        virt: request.dst,
        virt_port: request.dst_port,
    }
}
