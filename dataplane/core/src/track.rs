//! Headers to flow, and the flow's state: how a packet goes on that is not plain, or has no flow yet.

use weir_wire::tunnel::{self, Tunnel};
use weir_wire::{Headers, icmp, is_cut_before_ports, parse_embedded};

use crate::counters::{DropReason, WorkerCounters};
use crate::director::Director;
use crate::flow::{Direction, Flow, FlowId, Signal, Tuple};
use crate::io::Frame;
use crate::ipsec::is_ipsec;
use crate::load::Connections;
use crate::next_hop::Hop;
use crate::note::{FromServer, PuntClass, ToServer, Verdict};
use crate::persist::{Begun, End};
use crate::plain::count_activity;
use crate::reuse::Known;
use crate::service::{Method, Protocol, ServerId};
use crate::snapshot::Snapshot;
use crate::time::Tick;

impl<F: Frame> Director<F> {
    /// What becomes of a packet of TCP, UDP, SCTP, AH or ESP, which is in `bytes`: it moves its flow on, or
    /// begins one. It came in `longest` bytes at most.
    pub(crate) fn track(
        &mut self,
        now: Tick,
        headers: &Headers,
        bytes: &[u8],
        longest: u16,
        is_handed_off: bool,
    ) -> Verdict {
        if is_ipsec(headers) {
            return self.follow(now, headers, longest, is_handed_off);
        }
        let Some(tuple) = tuple_of(headers) else {
            return Verdict::Punt(PuntClass::Ordinary);
        };
        let Some((id, direction)) = self.flows.find(&tuple, self.flows.hash(&tuple)) else {
            return self.begin(now, headers, bytes, &tuple, is_handed_off);
        };
        if self.has_resets && self.snapshot.services.resets(self.flows.get(id).server()) {
            return self.cut(now, headers, bytes, &tuple, (id, direction));
        }
        if direction == Direction::Request {
            match self.judge(&self.flows.get(id), Signal::of(headers)) {
                Known::GoesOn => {}
                Known::Anew => {
                    let ended = self.take_out(now, &tuple);
                    let is_past = |flow: &Flow| !flow.method().sees_replies();
                    self.just_ended = ended.filter(is_past).map(|flow| flow.server());
                    let verdict = self.begin(now, headers, bytes, &tuple, true);
                    // It weighs when the next is scheduled: the kernel ends it a moment later.
                    if let Some(ended) = ended {
                        uncount(&self.counters, &self.snapshot, now, &ended, End::InTime);
                    }
                    return verdict;
                }
                Known::Ends(reason) => return Verdict::Drop(reason),
            }
        } else if self.is_stuck(headers, longest) {
            // As the kernel, whose IPVS does not see it.
            return Verdict::Reply(from_server(&self.flows.get(id)));
        }
        self.take(now, headers, id, direction)
    }

    /// True for a packet to a client that goes no further than here: its time is over, or it is too
    /// big. Its sender is told; its flow does not move on.
    pub(crate) fn is_stuck(&mut self, headers: &Headers, longest: u16) -> bool {
        if headers.ttl <= 1 {
            return true;
        }
        if self.snapshot.network.always_carries(headers.packet_len()) {
            return false;
        }
        let may_be_cut = headers.is_v4() && !headers.bits.dont_fragment();
        match self.hop_to_client(headers.dst) {
            Hop::Ready(next) | Hop::Unresolved { hop: next, .. } => {
                !may_be_cut && longest > next.mtu
            }
            Hop::Local | Hop::Unreachable => false,
        }
    }

    /// Counts a packet of the flow at `id` and moves its state on.
    pub(crate) fn take(
        &mut self,
        now: Tick,
        headers: &Headers,
        id: FlowId,
        direction: Direction,
    ) -> Verdict {
        let timeouts = &self.snapshot.settings.timeouts;
        let signal = Signal::of(headers);
        // AH and ESP keep the flow of the key exchange, and answer nothing of it.
        let seen = match is_ipsec(headers) {
            true => Direction::Request,
            false => direction,
        };
        let moved = self.flows.advance(id, seen, signal, timeouts, now);
        let flow = self.flows.get(id);
        count_activity(
            &self.counters,
            flow.server(),
            moved.was_active,
            moved.is_active,
        );
        if let Some(template) = flow.template().filter(|_| moved.assures) {
            self.snapshot.templates.assure(template);
        }
        match direction {
            Direction::Request => {
                if let Some(counters) = self.counters.servers.get(flow.server().0 as usize) {
                    counters.packets_in.add(1);
                    counters.bytes_in.add(headers.packet_len() as u64);
                }
            }
            Direction::Reply => self.count_reply(flow.server(), headers),
        }
        let verdict = match direction {
            Direction::Request => self.request_of(&flow),
            Direction::Reply => Verdict::Reply(from_server(&flow)),
        };
        self.read_control(verdict, &flow)
    }

    fn count_reply(&self, server: ServerId, headers: &Headers) {
        if let Some(counters) = self.counters.servers.get(server.0 as usize) {
            counters.packets_out.add(1);
            counters.bytes_out.add(headers.packet_len() as u64);
        }
    }

    /// A packet that no flow of this worker knows.
    pub(crate) fn begin(
        &mut self,
        now: Tick,
        headers: &Headers,
        bytes: &[u8],
        tuple: &Tuple,
        is_handed_off: bool,
    ) -> Verdict {
        let payload = payload_of(bytes, headers);
        match self.open(
            now,
            tuple,
            Signal::of(headers),
            is_handed_off,
            Some(payload),
        ) {
            Ok(id) => self.take(now, headers, id, Direction::Request),
            Err(verdict @ Verdict::Punt(_)) => match self.open_from_server(now, tuple, payload) {
                Some(Begun::Flow(id)) => self.take(now, headers, id, Direction::Reply),
                Some(Begun::OnePacket(server, from)) => {
                    self.count_reply(server, headers);
                    Verdict::Reply(from)
                }
                None => verdict,
            },
            Err(verdict) => verdict,
        }
    }

    /// An ICMP error: the flow that the quoted packet belongs to, if any.
    pub(crate) fn relate(
        &mut self,
        now: Tick,
        headers: &Headers,
        bytes: &[u8],
        is_handed_off: bool,
    ) -> Verdict {
        if self.is_martian(headers, bytes) {
            return Verdict::Drop(DropReason::Martian);
        }
        let at = icmp::quoted_at(headers);
        let end = usize::from(headers.end);
        let Some(quoted) = parse_embedded(bytes, at, end) else {
            // As in the kernel, where it might begin a flow and cannot.
            let might_begin = self.snapshot.settings.ipvs.schedule_icmp;
            return if might_begin && is_cut_before_ports(bytes, at, end) {
                Verdict::Drop(DropReason::IcmpUnrelated)
            } else {
                self.unrelated(headers, None)
            };
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
        // A tunnel's packet is the director's own; others of it are Linux's.
        let network = &self.snapshot.network;
        if [headers.dst, quoted.src].map(|own| network.is_local(own)) == [true; 2]
            && let Some((tunnel, at)) = tunnel::in_quoted(bytes, &quoted)
            && let Some(inner) = parse_embedded(bytes, at, usize::from(quoted.end))
            && let Some(tuple) = quoted_tuple(&inner)
        {
            let unrelated = self.unrelated(headers, None);
            return self.relate_tunnel(&tuple, &quoted, tunnel, is_handed_off, unrelated);
        }
        let Some(sent) = quoted_tuple(&quoted) else {
            return self.unrelated(headers, None);
        };
        let unrelated = self.unrelated(headers, Some(&sent));
        // The quoted packet went the other way than the error.
        let tuple = sent.reversed();
        match self.flows.find(&tuple, self.flows.hash(&tuple)) {
            Some((id, Direction::Request)) => match self.to_server(&self.flows.get(id)) {
                Some(to) => Verdict::ErrorToServer(to),
                None => unrelated,
            },
            Some((id, Direction::Reply)) => {
                let flow = self.flows.get(id);
                Verdict::ErrorToClient(from_server(&flow), flow.server())
            }
            None if self.count_past_answer(&sent, headers) => unrelated,
            None => self
                .owner_of_error(&sent, is_handed_off)
                .or_else(|| self.begin_by_error(now, &tuple, is_handed_off))
                .or_else(|| self.foreign_owner(&sent).filter(|_| !is_handed_off))
                .unwrap_or(unrelated),
        }
    }

    /// True for what says to come from an IPv4 address of the director's and does not: Linux drops it.
    fn is_martian(&self, headers: &Headers, bytes: &[u8]) -> bool {
        let network = &self.snapshot.network;
        let interface = network.interface_of(self.received_at, headers.vlan);
        let from = bytes.get(6..12);
        headers.is_v4()
            && network.is_local(headers.src)
            && interface.is_none_or(|interface| from != Some(&interface.mac.0))
    }

    /// What becomes of an error that concerns no flow: it is Linux's, unless what was `sent` is a
    /// service's, of which Linux knows nothing.
    fn unrelated(&self, headers: &Headers, sent: Option<&Tuple>) -> Verdict {
        let snapshot = &self.snapshot;
        let is_services = sent.is_some_and(|sent| {
            let request = sent.reversed();
            let mark = snapshot.mark_of(&request, None);
            snapshot.services.find_for(&request, mark).is_some()
        });
        if is_services && snapshot.services.is_virtual(headers.dst) {
            Verdict::Drop(DropReason::IcmpUnrelated)
        } else {
            Verdict::Punt(crate::classify::punt_class(headers))
        }
    }

    /// An error about a client's packet that was `sent` to a server of DR or TUN, by that server or a
    /// router, goes on as it is; the kernel counts it as a packet of the server. True when the flow is
    /// known here.
    fn count_past_answer(&mut self, sent: &Tuple, headers: &Headers) -> bool {
        match self.flows.find(sent, self.flows.hash(sent)) {
            Some((id, Direction::Request)) => {
                let flow = self.flows.get(id);
                let is_past = !flow.method().sees_replies();
                let ends_here = self.snapshot.network.is_local(headers.dst);
                if is_past && (ends_here || !self.is_stuck(headers, headers.packet_len() as u16)) {
                    self.count_out(flow.server(), headers.packet_len() as u64);
                }
                is_past
            }
            _ => false,
        }
    }

    /// An error about a packet of no flow, which the client of `request` would have sent: with
    /// `schedule_icmp` a flow begins with it, for a few seconds unless more comes.
    fn begin_by_error(
        &mut self,
        now: Tick,
        request: &Tuple,
        is_handed_off: bool,
    ) -> Option<Verdict> {
        let snapshot = &self.snapshot;
        if !snapshot.settings.ipvs.schedule_icmp
            || snapshot
                .services
                .find_for(request, snapshot.mark_of(request, Some(self.received_at)))
                .is_none()
        {
            return None;
        }
        match self.open_if(
            now,
            request,
            true,
            Signal::default(),
            is_handed_off,
            Some(&[]),
        ) {
            Ok(id) => self
                .to_server(&self.flows.get(id))
                .map(Verdict::ErrorToServer),
            Err(Verdict::StatelessRequest(to) | Verdict::OnePacket(to)) => {
                Some(Verdict::ErrorToServer(to))
            }
            Err(_) => None,
        }
    }

    /// An error about a packet that a tunnel carried: `inner` went from client to service.
    fn relate_tunnel(
        &self,
        inner: &Tuple,
        outer: &weir_wire::Embedded,
        tunnel: Tunnel,
        is_handed_off: bool,
        unrelated: Verdict,
    ) -> Verdict {
        match self.flows.find(inner, self.flows.hash(inner)) {
            Some((id, Direction::Request)) => {
                let flow = self.flows.get(id);
                let server = self.snapshot.services.server(flow.server());
                let is_ours = server.is_some_and(|server| {
                    server.addr == outer.dst && server.tunnel.is_like(tunnel)
                });
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
        let services = &self.snapshot.services;
        let request = sent.reversed();
        let mark = self.snapshot.mark_of(&request, None);
        if services.find_for(&request, mark).is_some()
            || services.find_former(&request, mark).is_some()
        {
            return self.foreign_owner(&request).filter(|_| !is_handed_off);
        }
        self.other_owner(&request, is_handed_off)
            .map(Verdict::HandOff)
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
        if flow.server() == ServerId::NONE {
            return self.to_destination(flow.request(), true);
        }
        let server = self.snapshot.services.server(flow.server())?;
        if flow.method() == Method::FullNat && flow.local().is_none() {
            return None;
        }
        Some(ToServer {
            has_flow: true,
            server: flow.server(),
            method: flow.method(),
            addr: server.addr,
            port: flow.dest_port(server),
            tunnel: server.tunnel,
            local: flow.local(),
        })
    }

    /// The worker that owns the flow of a client's packet, when it is another.
    pub(crate) fn foreign_owner(&self, request: &Tuple) -> Option<Verdict> {
        let mark = self.snapshot.mark_of(request, None);
        let Some((_, service)) = self.snapshot.services.find_for(request, mark) else {
            return self.owner_of_former(request, mark).map(Verdict::HandOff);
        };
        let owner = self.owner_of(request, service);
        (owner != self.id).then_some(Verdict::HandOff(owner))
    }
}

/// Takes a flow that ended at `ended` out of its server's connection counts and its template's
/// children.
pub(crate) fn uncount(
    counters: &WorkerCounters,
    snapshot: &Snapshot,
    ended: Tick,
    flow: &Flow,
    how: End,
) {
    if let Some(template) = flow.template() {
        snapshot.templates.release(ended, template, how);
    }
    uncount_at_server(counters, snapshot, flow);
}

fn uncount_at_server(counters: &WorkerCounters, snapshot: &Snapshot, flow: &Flow) {
    let id = flow.server();
    if let Some(load) = counters.loads.get(id.0 as usize) {
        load.sub(Connections::one(flow.is_active()));
        if snapshot.loads.is_overloaded(id) {
            snapshot.loads.unbound(id, snapshot.services.server(id));
        }
    }
}

/// What a datagram carries; nothing where it carries no datagram.
fn payload_of<'f>(frame: &'f [u8], headers: &Headers) -> &'f [u8] {
    const UDP_LEN: usize = 8;
    let at = usize::from(headers.l4) + UDP_LEN;
    let payload = frame.get(at..usize::from(headers.end));
    payload.filter(|_| headers.is_udp()).unwrap_or_default()
}

/// The addresses and ports of TCP, UDP or SCTP.
pub(crate) fn tuple_of(headers: &Headers) -> Option<Tuple> {
    Some(Tuple {
        src: headers.src,
        dst: headers.dst,
        src_port: headers.src_port,
        dst_port: headers.dst_port,
        protocol: Protocol::from_number(headers.protocol)?,
    })
}

pub(crate) fn from_server(flow: &Flow) -> FromServer {
    let request = flow.request();
    FromServer {
        virt: request.dst,
        virt_port: request.dst_port,
        client: flow.local().map(|_| (request.src, request.src_port)),
    }
}
