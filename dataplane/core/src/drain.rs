//! What is left of a server's flows when its time to drain is over.
//!
//! The numbers of a TCP connection are not remembered, so a reset needs a packet that tells them. Of a
//! flow that talks the next packet does. Of a silent one the table is searched for [`PROBES`] rounds,
//! a second each: an end of the connection is sent what it answers with its numbers
//! ([`weir_wire::probe`]), and the answer is a packet like any other. A last round takes out
//! what is still there. Flows of UDP and SCTP go in the first, because nothing can be said to their
//! ends.
//!
//! The server is asked where its answer passes the director (NAT, FullNAT): it is near, and there is no
//! router on the way that keeps connections itself and drops what does not fit them. With a SYN, since
//! that passes such filters, as a client's that begins anew. The client is asked where only it can be,
//! and in the second round, as the server may be gone; with SYN and ACK, which routers that
//! translate addresses let through to it, and once with a bare ACK, which fits a filter that knows SYNs
//! only at the beginning.

use alloc::boxed::Box;
use alloc::vec;

use arrayvec::ArrayVec;
use weir_wire::probe::{Probe, is_refusal};
use weir_wire::{Addr, Headers, tcp_flag};

use crate::counters::DropReason;
use crate::director::Director;
use crate::flow::{Direction, Flow, FlowId, Signal, State, TcpState, Tuple};
use crate::io::{Frame, Outlet};
use crate::next_hop::Hop;
use crate::note::Verdict;
use crate::plain::count_activity;
use crate::schedule::siphash::siphash13;
use crate::service::{Method, Protocol, ServerId};
use crate::snapshot::Snapshot;
use crate::time::{TICKS_PER_SECOND, Tick};

/// Rounds in which silent flows are asked.
const PROBES: u8 = 3;
/// The round in which what is left is taken out.
const LAST: u8 = PROBES + 1;
/// After that.
const OVER: u8 = LAST + 1;
/// Ticks from the beginning of a round to that of the next: Linux answers one such segment of a
/// connection in half a second.
const ROUND: u32 = TICKS_PER_SECOND;
/// Places of the flow table that are looked at at a time; as many flows may be there.
const PIECE: usize = 32;
/// Such pieces in a turn.
const PIECES_A_TURN: usize = 16;
/// Flows asked or taken out in a turn, after which no other piece is begun.
const FLOWS_A_TURN: usize = 32;
/// Flows asked in a tick, likewise: a million takes 40 seconds, at some 20 Mbit/s.
const PROBES_A_TICK: usize = 256;

const CLOSED: State = State::Tcp(TcpState::Close);

/// How far the search has come.
#[derive(Debug)]
pub(crate) struct Ending {
    /// By server: the round that it is in, 0 before the first and [`OVER`] after the last.
    rounds: Box<[u8]>,
    /// No server is in a round or waits for one.
    is_over: bool,
    /// Where the round under way goes on.
    at: Option<usize>,
    /// When the last round began.
    began: Option<Tick>,
    /// Probes sent in this tick.
    sent: (Tick, usize),
    /// What numbers of probes are made by: they cannot be guessed.
    key: [u64; 2],
}

impl Ending {
    pub(crate) fn new(servers: usize, key: [u64; 2]) -> Self {
        Self {
            rounds: vec![0; servers].into(),
            is_over: true,
            at: None,
            began: None,
            sent: (Tick(0), 0),
            key,
        }
    }

    fn round(&mut self, id: ServerId) -> Option<&mut u8> {
        self.rounds.get_mut(id.0 as usize)
    }

    /// Begins a round for these servers if it is time, and gives the place to go on from.
    fn go_on(&mut self, now: Tick, servers: &[ServerId]) -> Option<usize> {
        if self.at.is_some() {
            return self.at;
        }
        if self.began.is_some_and(|began| now.since(began) < ROUND) {
            return None;
        }
        self.is_over = true;
        for id in servers {
            if let Some(round) = self.round(*id) {
                *round = (*round + 1).min(OVER);
                self.is_over &= *round == OVER;
            }
        }
        self.began = (!self.is_over).then_some(now);
        (!self.is_over).then_some(0)
    }

    /// True when so many more probes than this tick has room for were sent.
    fn is_enough(&mut self, now: Tick) -> bool {
        if self.sent.0 != now {
            self.sent = (now, 0);
        }
        self.sent.1 >= PROBES_A_TICK
    }
}

impl<F: Frame> Director<F> {
    /// What becomes of a packet of a flow whose server had its time to drain. TCP is told by a reset
    /// to both ends, by this packet's own numbers, and the flow is closed. A client's datagram and
    /// its next connection begin a flow with another server.
    pub(crate) fn cut(
        &mut self,
        now: Tick,
        headers: &Headers,
        bytes: &[u8],
        tuple: &Tuple,
        (id, direction): (FlowId, Direction),
    ) -> Verdict {
        let is_request = direction == Direction::Request;
        let flow = self.flows.get(id);
        let opens = is_request && Signal::of(headers).opens(tuple.protocol);
        if !headers.is_tcp() || (opens && flow.state().may_be_reused(1, flow.method())) {
            self.forget(now, tuple);
            return match direction {
                Direction::Request => self.begin(now, headers, bytes, tuple, true),
                Direction::Reply => Verdict::Drop(DropReason::ServerDrained),
            };
        }
        if headers.tcp_flags & tcp_flag::RST != 0 {
            let (seq, ack) = self.numbers(flow.request());
            // It tells nothing of the connection: the other end is asked in the next round.
            if is_refusal(bytes, headers, seq, ack) {
                return Verdict::Drop(DropReason::ServerDrained);
            }
            return self.take(now, headers, id, direction);
        }
        let reset = Headers {
            tcp_flags: tcp_flag::RST,
            ..*headers
        };
        if flow.state() == CLOSED {
            // Once for each flow is bounded by itself.
            if !self.errors.allow(now, false) {
                self.counters.answers_suppressed.add(1);
                return Verdict::Drop(DropReason::ServerDrained);
            }
        } else {
            self.counters.drained_reset.add(1);
        }
        let verdict = self.take(now, &reset, id, direction);
        // A client's reset alone closes no connection that its server has not answered.
        let closed = self.flows.close(id, &self.snapshot.settings.timeouts, now);
        let (server, counters) = (flow.server(), &self.counters);
        count_activity(counters, server, closed.was_active, closed.is_active);
        match verdict {
            Verdict::Request(to) | Verdict::ControlRequest(to, _) => Verdict::ResetRequest(to),
            Verdict::Reply(from) | Verdict::ControlReply(from, _) => Verdict::ResetReply(from),
            ended => ended,
        }
    }

    /// Another snapshot came after `before`: servers may be in it that had their time.
    pub(crate) fn look_for_drained(&mut self, before: &Snapshot) {
        let resets = self.snapshot.services.all_resets();
        self.has_resets = !resets.is_empty();
        let before = before.services.all_resets();
        if before == resets {
            return;
        }
        for id in before {
            if resets.binary_search(id).is_err()
                && let Some(round) = self.ending.round(*id)
            {
                *round = 0;
            }
        }
        self.ending.is_over = resets.is_empty();
        if resets.is_empty() {
            self.ending.at = None;
        }
    }

    /// Asks and ends silent flows of such servers, a bounded piece of the table at a time; every turn.
    pub fn end_drained<O: Outlet<Frame = F>>(&mut self, now: Tick, outlet: &mut O) {
        if self.ending.is_over {
            return;
        }
        let mut at = {
            let servers = self.snapshot.services.all_resets();
            self.ending.go_on(now, servers)
        };
        let mut flows = 0;
        for _ in 0..PIECES_A_TURN {
            let Some(from) = at else { break };
            if flows >= FLOWS_A_TURN || self.ending.is_enough(now) {
                break;
            }
            let mut found = ArrayVec::<Flow, PIECE>::new();
            let services = &self.snapshot.services;
            at = self.flows.visit(from, PIECE, |flow| {
                if services.resets(flow.server()) {
                    // There is room: a piece has no more places.
                    let _ = found.try_push(*flow);
                }
            });
            flows += found.len();
            for flow in &found {
                self.end_silent(now, flow, outlet);
            }
        }
        self.ending.at = at;
    }

    fn end_silent<O: Outlet<Frame = F>>(&mut self, now: Tick, flow: &Flow, outlet: &mut O) {
        let round = self.ending.round(flow.server()).map_or(0, |round| *round);
        let is_tcp = flow.request().protocol == Protocol::Tcp;
        let is_closed = matches!(flow.state(), CLOSED | State::Tcp(TcpState::TimeWait));
        match round {
            // It came while the round was under way.
            0 => {}
            1..=PROBES if is_tcp => {
                if !is_closed {
                    self.ask(now, flow, round, outlet);
                }
            }
            _ => {
                self.forget(now, flow.request());
                self.counters.drained_removed.add(u64::from(!is_closed));
            }
        }
    }

    /// Sends an end of a flow what it answers with its numbers.
    fn ask<O: Outlet<Frame = F>>(&mut self, now: Tick, flow: &Flow, round: u8, outlet: &mut O) {
        let request = flow.request();
        let (seq, ack) = self.numbers(request);
        let client = (request.src, request.src_port);
        let of_server = (round != 2 && flow.method().sees_replies())
            .then(|| self.way_to_ask_server(now, flow))
            .flatten();
        let (hop, from, to, flags) = match of_server {
            Some((hop, to)) => (hop, flow.local().unwrap_or(client), to, tcp_flag::SYN),
            None => {
                let flags = match round == 2 && !flow.method().sees_replies() {
                    true => tcp_flag::ACK,
                    false => tcp_flag::SYN | tcp_flag::ACK,
                };
                let from = (request.dst, request.dst_port);
                (self.hop_to_client(client.0), from, client, flags)
            }
        };
        let probe = Probe {
            from,
            to,
            flags,
            seq,
            ack,
        };
        let (Hop::Ready(next) | Hop::Unresolved { hop: next, .. }) = hop else {
            return;
        };
        let (family, len) = (probe.to.0.family(), probe.packet_len());
        let write = |packet: &mut [u8]| probe.write(packet).unwrap_or(0);
        if self.send_own(now, (hop, next), family, len, outlet, write) > 0 {
            self.counters.drain_probes.add(1);
            self.ending.sent.1 += 1;
        }
    }

    /// The way to the server's end of a flow; none when the director itself is the server.
    fn way_to_ask_server(&mut self, now: Tick, flow: &Flow) -> Option<(Hop, (Addr, u16))> {
        let server = *self.snapshot.services.server(flow.server())?;
        let has_end = flow.method() != Method::FullNat || flow.local().is_some();
        let hop = self.hop_to_server(now, flow.server(), server.addr);
        let is_away = matches!(hop, Hop::Ready(_) | Hop::Unresolved { .. });
        (has_end && is_away).then_some((hop, (server.addr, flow.dest_port(&server))))
    }

    /// The sequence and acknowledgment number of the probes of a flow.
    fn numbers(&self, request: &Tuple) -> (u32, u32) {
        let word = self.flows.hash(request).folded();
        let [first, second] = self.ending.key;
        (
            siphash13(word, [first, second]),
            siphash13(word, [second, first]),
        )
    }
}
