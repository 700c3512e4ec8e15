//! FTP through NAT: its control connections are read, so that data connections reach the server
//! whose control connection announced them (the kernel's `ip_vs_ftp`).
//!
//! | asked for | by | what happens |
//! |---|---|---|
//! | PASV | client | the server's 227 gets the service's address in the place of the server's |
//! | EPSV | client | the server's 229 stays: it names a port only, and the port stays the same |
//! | PORT, EPRT | client | stay: the server sees the client's own address |
//!
//! In each case the data connection is taken into the flow table in state LISTEN, under the control
//! connection. A 227 may become longer or shorter; sequence numbers are shifted from then on
//! ([`crate::flow::ftp`]).
//!
//! A data connection shows nothing but the client and the service's address. So with several
//! workers all of a client's FTP belongs to one worker, that of the client's address and port 0,
//! and needs no message from worker to worker.

use core::ops::Range;

use weir_wire::ftp::{self, Command, SixNumbers};
use weir_wire::{Addr, segment, tcp_flag};

use crate::counters::DropReason;
use crate::director::Director;
use crate::flow::ftp::{Announced, Mode, Role};
use crate::flow::{Flow, FlowId, Signal, State, TcpState, Tuple};
use crate::forward::{Packet, Way};
use crate::io::{Frame, Outlet, WorkerId};
use crate::note::{FromServer, ToServer, Verdict};
use crate::service::{Method, Protocol, ServerId, Service};
use crate::settings::FtpPorts;
use crate::time::Tick;

impl<F: Frame> Director<F> {
    /// Takes over for which ports there is FTP to look at: without a service none, so that nobody
    /// else pays for it.
    pub(crate) fn look_for_ftp(&mut self) {
        let snapshot = &self.snapshot;
        let ports = snapshot.settings.ipvs.ftp_ports;
        let is_served = ports.iter().any(|port| snapshot.services.has_tcp_at(port));
        self.ftp_ports = if is_served { ports } else { FtpPorts::NONE };
    }

    fn is_control(&self, request: &Tuple) -> bool {
        request.protocol == Protocol::Tcp && self.ftp_ports.contains(request.dst_port)
    }

    /// Has a new flow to `server` watched if it is a control connection.
    #[inline]
    pub(crate) fn watch_control(&mut self, request: &Tuple, method: Method, id: FlowId) {
        let may_be = method == Method::Nat && !self.ftp_ports.is_empty();
        if may_be && self.is_control(request) && !self.flows.watch(id) {
            self.counters.ftp_unaided.add(1);
        }
    }

    /// The flow of an announced data connection whose first packet this is.
    #[inline]
    pub(crate) fn connect_data(&mut self, request: &Tuple, signal: Signal) -> Option<FlowId> {
        let may_be = self.flows.awaits_clients()
            && request.protocol == Protocol::Tcp
            && signal.opens(Protocol::Tcp)
            && !signal.aborts(Protocol::Tcp);
        if !may_be {
            return None;
        }
        let services = &self.snapshot.services;
        let addr_of = |id: ServerId| Some(services.server(id)?.addr);
        self.flows.connect(request, addr_of)
    }

    /// The owner of the flow of a client's packet to `service`.
    #[inline]
    pub(crate) fn owner_of(&self, request: &Tuple, service: &Service) -> WorkerId {
        self.owner_by(request, service.key.port, service.by_client)
    }

    /// The same of a service at `port`, there or removed.
    #[inline]
    fn owner_by(&self, request: &Tuple, port: u16, by_client: bool) -> WorkerId {
        if !self.ftp_ports.is_empty() && by_client && self.may_be_ftp(request, port) {
            return self.owner_of_ftp(request.src);
        }
        self.steering.owner_of_request(request, by_client)
    }

    /// The owner of the flow of a client's packet, when it is another worker and the flow may be of
    /// a service that was removed.
    pub(crate) fn owner_of_former(&self, request: &Tuple, mark: u32) -> Option<WorkerId> {
        let former = self.snapshot.services.find_former(request, mark)?;
        let owner = self.owner_by(request, former.key.port, former.by_client);
        (owner != self.id).then_some(owner)
    }

    /// A service at a port of FTP's may also get what is for data connections.
    #[inline(never)]
    fn may_be_ftp(&self, request: &Tuple, port: u16) -> bool {
        request.protocol == Protocol::Tcp
            && (self.is_control(request) || self.ftp_ports.contains(port))
    }

    fn owner_of_ftp(&self, client: Addr) -> WorkerId {
        self.steering.owner_of_client(client, 0)
    }

    /// Another worker that may have the flow of a packet that is for no service and belongs to no
    /// flow here: a data connection's, or a server's packet.
    ///
    /// Where a server's packet may be one of FTP there are two who may have it; each knows which of
    /// them is asked first, so that no packet goes round.
    pub(crate) fn other_owner(&self, tuple: &Tuple, is_handed_off: bool) -> Option<WorkerId> {
        let services = &self.snapshot.services;
        let is_ftp = !self.ftp_ports.is_empty() && tuple.protocol == Protocol::Tcp;
        let is_reply = services.is_nat_source(tuple.protocol, tuple.src, tuple.src_port);
        let candidates = if is_reply {
            let plain = self.owner_of_reply(tuple);
            let of_ftp = if is_ftp {
                self.owner_of_ftp(tuple.dst)
            } else {
                plain
            };
            match self.ftp_ports.contains(tuple.src_port) {
                true => [of_ftp, plain],
                false => [plain, of_ftp],
            }
        } else if is_ftp && services.is_nat_addr(tuple.src) {
            [self.owner_of_ftp(tuple.dst); 2]
        } else if is_ftp && services.is_virtual(tuple.dst) {
            [self.owner_of_ftp(tuple.src); 2]
        } else {
            return None;
        };
        let [first, second] = candidates;
        match (is_handed_off, first == self.id) {
            (false, false) => Some(first),
            (_, true) if second != self.id => Some(second),
            _ => None,
        }
    }

    /// What becomes of a packet of a control connection, which is `verdict` otherwise.
    pub(crate) fn read_control(&mut self, verdict: Verdict, flow: &Flow) -> Verdict {
        let Role::Control(at) = flow.role() else {
            return verdict;
        };
        if let Some(control) = self.flows.control_mut(at) {
            control.is_open = flow.state() == State::Tcp(TcpState::Established);
        }
        match verdict {
            Verdict::Request(to) => Verdict::ControlRequest(to, at),
            Verdict::Reply(from) => Verdict::ControlReply(from, at),
            other => other,
        }
    }

    /// Takes in a data connection; false when it gets no help.
    fn announce(&mut self, announced: &Announced) -> bool {
        let key = announced.request.service_key();
        let services = &self.snapshot.services;
        // Nobody is to lead a client away from a service to another's server.
        let is_service = services
            .find(key)
            .is_some_and(|(_, service)| service.key.port == key.port);
        let is_free = !is_service || announced.request.src_port != 0;
        let added = match is_free {
            true => self.flows.announce(announced).ok(),
            false => None,
        };
        let server = self.snapshot.services.server(announced.server);
        if let Some(server) = server.filter(|_| added == Some(true)) {
            self.count_bound(announced.server, server);
        }
        added.is_some()
    }

    fn listen_until(&self, now: Tick) -> Tick {
        let timeouts = &self.snapshot.settings.timeouts;
        now.after(timeouts.of(State::Tcp(TcpState::Listen)))
    }
}

impl<F: Frame, O: Outlet<Frame = F>> Way<'_, F, O> {
    /// A client's packet of the control connection at `at`.
    pub(crate) fn control_request<P: Packet<F>>(&mut self, mut frame: P, to: ToServer, at: u32) {
        let h = self.headers;
        if h.ttl <= 1 || !self.is_readable(&frame) {
            return self.refuse_or(frame, |way, frame| way.request(frame, to));
        }
        if let Some(control) = self.director.flows.control_mut(at) {
            let (shift, is_open) = (control.shift, control.is_open);
            if shift.is_any() {
                let bytes = frame.bytes_mut();
                segment::change_acks(bytes, &h, |ack| shift.of_ack(ack));
                segment::refill_checksum(bytes, &h);
            }
            if is_open {
                frame.join_front(usize::MAX);
                self.read_commands(&frame, to, at);
            }
        }
        self.request(frame, to);
    }

    fn read_commands<P: Packet<F>>(&mut self, frame: &P, to: ToServer, at: u32) {
        let h = self.headers;
        let payload = frame.bytes().get(segment::payload(frame.bytes(), &h));
        for command in ftp::commands(payload.unwrap_or_default()) {
            let mode = match command {
                Command::Pasv => Mode::Pasv,
                Command::Epsv => Mode::Epsv,
                Command::Port(..) => Mode::Active,
            };
            if let Some(control) = self.director.flows.control_mut(at) {
                control.mode = mode;
            }
            if let Command::Port(addr, port) = command {
                self.announce_active(to, at, addr, port);
            }
        }
    }

    /// The server is to connect to the client from the port below that of its service.
    fn announce_active(&mut self, to: ToServer, at: u32, addr: Addr, port: u16) {
        let h = self.headers;
        let request = Tuple {
            src: addr,
            dst: h.dst,
            src_port: port,
            dst_port: h.dst_port.wrapping_sub(1),
            protocol: Protocol::Tcp,
        };
        let server_port = to.port.wrapping_sub(1);
        let announced = Announced {
            request,
            reply: Some(Tuple {
                src: to.addr,
                src_port: server_port,
                ..request.reversed()
            }),
            server: to.server,
            server_port,
            control: at,
            expires: self.director.listen_until(self.now),
        };
        // A third host is asked for by an attacker only (RFC 2577 §3).
        if addr != h.src || !self.director.announce(&announced) {
            self.director.counters.ftp_unaided.add(1);
        }
    }

    /// A server's packet of the control connection at `at`.
    pub(crate) fn control_reply<P: Packet<F>>(&mut self, mut frame: P, from: FromServer, at: u32) {
        if self.headers.ttl <= 1 || !self.is_readable(&frame) {
            if self.headers.ttl > 1 {
                self.uncount_reply(at);
            }
            return self.refuse_or(frame, |way, frame| way.reply(frame, from));
        }
        let seq = segment::seq(frame.bytes(), &self.headers).unwrap_or(0);
        let payload = segment::payload(frame.bytes(), &self.headers);
        let used = payload.len() as u32
            + u32::from(self.headers.tcp_flags & tcp_flag::SYN != 0)
            + u32::from(self.headers.tcp_flags & tcp_flag::FIN != 0);
        let Some(control) = self.director.flows.control_mut(at) else {
            return self.reply(frame, from);
        };
        let is_new = control.is_new(seq, used) && control.is_open;
        let control = *control;
        if control.is_open {
            frame.join_front(usize::MAX);
        }
        let mut is_changed = control.shift.is_any();
        if is_changed {
            segment::set_seq(frame.bytes_mut(), &self.headers, control.shift.of_seq(seq));
        }
        let text = frame.bytes().get(payload.clone()).unwrap_or_default();
        let is_again = control.shift.is_of(seq);
        // Of IPv6 there is no such text.
        let is_pasv = is_again || (is_new && control.mode == Mode::Pasv);
        if is_pasv && from.virt.is_v4() {
            if let Some((numbers, port)) = ftp::pasv_reply(text) {
                let numbers = payload.start + numbers.start..payload.start + numbers.end;
                let is_known = self.announce_passive(&from, control.server, at, port);
                if is_known || is_again {
                    match self.write_numbers(&mut frame, &from, port, numbers) {
                        None => return self.end(&frame, DropReason::NoBuffer),
                        Some(by) => {
                            is_changed = true;
                            self.count_growth(control.server, by);
                            if let Some(control) = self.director.flows.control_mut(at) {
                                control.shift.grow(seq, by);
                            }
                        }
                    }
                }
            }
        } else if is_new
            && control.mode == Mode::Epsv
            && let Some(port) = ftp::epsv_reply(text)
        {
            self.announce_passive(&from, control.server, at, port);
        }
        if is_changed {
            segment::refill_checksum(frame.bytes_mut(), &self.headers);
        }
        self.reply(frame, from);
    }

    /// Puts the service's address and `port` in the place of a 227's `numbers`; by how much longer
    /// it has become, none when there is no room.
    fn write_numbers<P: Packet<F>>(
        &mut self,
        frame: &mut P,
        from: &FromServer,
        port: u16,
        numbers: Range<usize>,
    ) -> Option<i32> {
        let new = SixNumbers::new(from.virt, port)?;
        let text = new.as_bytes();
        let by = text.len() as i32 - numbers.len() as i32;
        // What follows the packet in its frame is padding.
        frame.truncate(usize::from(self.headers.end));
        let has_room = frame.push_back(usize::try_from(by).unwrap_or(0));
        let bytes = frame.bytes_mut();
        let is_done = has_room && segment::replace(bytes, &mut self.headers, numbers, text);
        is_done.then_some(by)
    }

    /// What a server's packet has on its way out is what counts, as in the kernel.
    fn count_growth(&mut self, server: ServerId, by: i32) {
        if let Some(counters) = self.director.counters.servers.get(server.0 as usize) {
            match by {
                0.. => counters.bytes_out.add(u64::from(by.unsigned_abs())),
                _ => counters.bytes_out.sub(u64::from(by.unsigned_abs())),
            }
        }
    }

    /// A server's packet that is not for the client counts for nobody, as in the kernel.
    fn uncount_reply(&mut self, at: u32) {
        let len = self.headers.packet_len() as u64;
        let Some(server) = self
            .director
            .flows
            .control_mut(at)
            .map(|control| control.server)
        else {
            return;
        };
        if let Some(counters) = self.director.counters.servers.get(server.0 as usize) {
            counters.packets_out.sub(1);
            counters.bytes_out.sub(len);
        }
    }

    /// The client is to connect to `port` of the service's address.
    fn announce_passive(
        &mut self,
        from: &FromServer,
        server: ServerId,
        at: u32,
        port: u16,
    ) -> bool {
        let announced = Announced {
            request: Tuple {
                src: self.headers.dst,
                dst: from.virt,
                src_port: 0,
                dst_port: port,
                protocol: Protocol::Tcp,
            },
            reply: None,
            server,
            server_port: port,
            control: at,
            expires: self.director.listen_until(self.now),
        };
        let is_known = self.director.announce(&announced);
        if !is_known {
            self.director.counters.ftp_unaided.add(1);
        }
        is_known
    }

    /// A segment whose content may be changed, since its checksum is right. The kernel drops the
    /// others, too.
    fn is_readable<P: Packet<F>>(&self, frame: &P) -> bool {
        segment::checksum_ok(frame.bytes(), &self.headers)
    }

    /// Ends a packet whose checksum is wrong; one whose TTL runs out goes on to be answered.
    fn refuse_or<P: Packet<F>>(&mut self, frame: P, on: impl FnOnce(&mut Self, P)) {
        if self.headers.ttl <= 1 {
            on(self, frame);
        } else {
            self.end(&frame, DropReason::TransportChecksum);
        }
    }
}
