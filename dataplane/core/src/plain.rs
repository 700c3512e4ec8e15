//! The short way of a plain packet ([`weir_wire::plain`]) whose flow is known: no [`Note`], no
//! [`weir_wire::Headers`], no hash of addresses other than its flow's.
//!
//! It does what `track.rs` and `forward/` do for such a packet, byte for byte and count for count.
//! Whatever it does not know it gives back untouched, and those decide.
//!
//! [`Note`]: crate::note::Note

use weir_memory::prefetch;
use weir_wire::plain::{self, Plain};
use weir_wire::{protocol, tcp_flag};

use crate::counters::WorkerCounters;
use crate::director::Director;
use crate::flow::entry::{Entry, Entry4, Head, Key4};
use crate::flow::tcp::Seen;
use crate::flow::{Direction, FlowTable, TcpState, Timeouts};
use crate::io::{Frame, Outlet, PortId, RxChecksum};
use crate::next_hop::{Hop, PlainHop};
use crate::service::{Method, Protocol, ServerId};
use crate::time::Tick;

/// What is known of a packet between the stages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    key: Key4,
    /// First the home line of its flow, then the place of the entry; or one of the constants.
    place: u32,
    /// Bytes of the IP packet.
    len: u16,
    tcp_flags: u8,
}

/// Its home line does not have it.
const NOWHERE: u32 = u32::MAX;
/// It is not plain: its note says what it is.
const GENERAL: u32 = u32::MAX - 1;

impl Found {
    /// A packet that is not plain.
    pub(crate) const GENERAL: Self = Self {
        key: Key4 {
            addrs: 0,
            ports: 0,
            protocol: Protocol::Tcp,
        },
        place: GENERAL,
        len: 0,
        tcp_flags: 0,
    };

    #[inline(always)]
    pub(crate) const fn is_general(&self) -> bool {
        self.place == GENERAL
    }
}

/// What a plain packet needs of its real server, in one cache line; made anew, when it is needed,
/// after each publication.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Target {
    /// The publication it is of.
    epoch: u64,
    hop: PlainHop,
    /// Address and port, as they stand in packets.
    addr: u32,
    port: u16,
    /// What is not ready goes the general way.
    is_ready: bool,
}

const _: () = assert!(size_of::<Target>() == 64);

impl Target {
    /// Of no publication.
    pub(crate) const UNSET: Self = Self {
        epoch: u64::MAX,
        hop: PlainHop::NONE,
        addr: 0,
        port: 0,
        is_ready: false,
    };

    /// Has it made anew.
    pub(crate) fn forget(&mut self) {
        self.epoch = u64::MAX;
    }
}

impl<F: Frame> Director<F> {
    /// Stage 1: reads a frame that was received at the station `mac`, and asks for its flow's line.
    #[inline(always)]
    pub(crate) fn read_plain(&self, frame: &F, mac: u64) -> Found {
        let verify = match frame.rx_checksum() {
            RxChecksum::Good => false,
            RxChecksum::Unknown => true,
            RxChecksum::Bad => return Found::GENERAL,
        };
        let read = plain::read(frame.bytes(), mac, verify);
        let Some(plain) = read.filter(|_| frame.is_linear()) else {
            return Found::GENERAL;
        };
        let Plain {
            addrs,
            ports,
            len,
            protocol,
            tcp_flags,
        } = plain;
        let key = Key4 {
            addrs,
            ports,
            protocol: match protocol {
                protocol::TCP => Protocol::Tcp,
                _ => Protocol::Udp,
            },
        };
        Found {
            key,
            place: self.flows.v4.prefetch_home(self.flows.v4.hash(&key)),
            len,
            tcp_flags,
        }
    }

    /// Stage 2: looks into the line, and asks for what the flow leads to.
    #[inline(always)]
    pub(crate) fn find_plain(&self, found: &mut Found) {
        if found.is_general() {
            return;
        }
        let Some((place, entry)) = self.flows.v4.at_home(found.place, &found.key) else {
            self.flows.v4.prefetch_others(&found.key);
            found.place = NOWHERE;
            return;
        };
        found.place = place;
        if entry.head.is_reply() {
            self.flows.v4.prefetch_place(entry.head.link);
        }
        if self.has_many_servers {
            let server = entry.head.server as usize;
            if let (Some(target), Some(counters)) =
                (self.targets.get(server), self.counters.servers.get(server))
            {
                prefetch(target);
                prefetch(counters);
            }
        }
    }

    /// Stage 3: sends a plain packet of a known flow on. Gives it back, and has changed nothing,
    /// when the general way has to see to it.
    #[inline(always)]
    pub(crate) fn pass_plain<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        found: &Found,
        frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        let again;
        let found = match found.place {
            GENERAL => return Err(frame),
            NOWHERE => {
                let Some(found) = self.find_again(found) else {
                    return Err(frame);
                };
                again = found;
                &again
            }
            _ => found,
        };
        let Some(entry) = self.flows.v4.at(found.place) else {
            return Err(frame);
        };
        // An earlier packet of this burst may have put another flow in this place.
        if !entry.is_under(&found.key) {
            return Err(frame);
        }
        if entry.head.is_reply() {
            self.pass_reply(now, entry.head.link, found, frame, outlet)
        } else {
            self.pass_request(now, found, frame, outlet)
        }
    }

    /// The place of a plain packet's flow that was not at home when the burst was looked up.
    #[inline(never)]
    fn find_again(&self, found: &Found) -> Option<Found> {
        let hash = self.flows.v4.hash(&found.key);
        let place = self.flows.v4.find(&found.key, hash)?;
        Some(Found { place, ..*found })
    }

    #[inline(always)]
    fn pass_request<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        found: &Found,
        mut frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        let Some(&Entry4 {
            head: flow, local, ..
        }) = self.flows.v4.at(found.place)
        else {
            return Err(frame);
        };
        let timeouts = &self.snapshot.settings.timeouts;
        let moved = Moved::by(&flow, Direction::Request, found.tcp_flags, timeouts);
        let Some(target) = self.target(now, flow.server) else {
            return Err(frame);
        };
        let Some(head) = frame.bytes_mut().first_chunk_mut() else {
            return Err(frame);
        };
        if moved.begins_anew || found.len > target.hop.mtu {
            return Err(frame);
        }
        match flow.method() {
            Method::Dr => plain::pass_on(head, &target.hop.link),
            Method::Nat | Method::FullNat if plain::lacks_checksum(head) => return Err(frame),
            Method::Nat => plain::pass_to(head, &target.hop.link, target.addr, target.port),
            Method::FullNat => {
                let addrs = both_addrs(local, target.addr);
                let ports = both_ports(flow.local_port, target.port);
                plain::pass_between(head, &target.hop.link, addrs, ports);
            }
            Method::Tun => return Err(frame),
        }
        let out = target.hop.port;
        moved.keep(&mut self.flows, &self.counters, found.place, now);
        if let Some(counters) = self.counters.servers.get(flow.server as usize) {
            counters.packets_in.add(1);
            counters.bytes_in.add(u64::from(found.len));
        }
        self.send_plain(frame, found.len, out, outlet);
        Ok(())
    }

    /// `request` is the place of the flow's own entry.
    #[inline(always)]
    fn pass_reply<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        request: u32,
        found: &Found,
        mut frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        let Some(&Entry4 {
            addrs,
            ports,
            head: flow,
            ..
        }) = self.flows.v4.at(request)
        else {
            return Err(frame);
        };
        let timeouts = &self.snapshot.settings.timeouts;
        let moved = Moved::by(&flow, Direction::Reply, found.tcp_flags, timeouts);
        // The client comes first in both of the request's words.
        let [client, virt] = halves(addrs);
        let Some(hop) = self.snapshot.network.plain_way(u32::from_be(client)) else {
            return Err(frame);
        };
        let Some(head) = frame.bytes_mut().first_chunk_mut() else {
            return Err(frame);
        };
        if found.len > hop.mtu || plain::lacks_checksum(head) {
            return Err(frame);
        }
        let [client_port, virt_port] = port_halves(ports);
        match flow.method() {
            Method::Nat => plain::pass_from(head, &hop.link, virt, virt_port),
            Method::FullNat => {
                let (addrs, ports) = (both_addrs(virt, client), both_ports(virt_port, client_port));
                plain::pass_between(head, &hop.link, addrs, ports);
            }
            Method::Dr | Method::Tun => return Err(frame),
        }
        let out = hop.port;
        moved.keep(&mut self.flows, &self.counters, request, now);
        if let Some(counters) = self.counters.servers.get(flow.server as usize) {
            counters.packets_out.add(1);
            counters.bytes_out.add(u64::from(found.len));
        }
        self.send_plain(frame, found.len, out, outlet);
        Ok(())
    }

    #[inline(always)]
    fn send_plain<O: Outlet<Frame = F>>(
        &mut self,
        mut frame: F,
        len: u16,
        out: PortId,
        outlet: &mut O,
    ) {
        frame.truncate(plain::ETHERNET_LEN + usize::from(len));
        self.passed += 1;
        outlet.transmit(out, frame);
    }

    /// What a plain packet needs of `server`; none when the general way has to look.
    #[inline(always)]
    fn target(&mut self, now: Tick, server: u32) -> Option<&Target> {
        let at = server as usize;
        let target = self.targets.get(at)?;
        if target.epoch != self.snapshot.epoch {
            self.make_target(now, server);
        }
        self.targets.get(at).filter(|target| target.is_ready)
    }

    #[inline(never)]
    fn make_target(&mut self, now: Tick, server: u32) {
        let mut made = Target {
            epoch: self.snapshot.epoch,
            ..Target::UNSET
        };
        let id = ServerId(server);
        let held = self.snapshot.services.server(id).copied();
        if let Some(held) = held.filter(|s| s.is_available && s.addr.is_v4())
            && !self.has_path_mtu(now, id)
            && let Hop::Ready(next) = self.hop_to_server(now, id, held.addr)
            && let Some(hop) = next.plain()
        {
            made.hop = hop;
            made.addr = u32::from_ne_bytes(held.addr.v4_bytes());
            made.port = held.port.to_be();
            made.is_ready = true;
        }
        if let Some(target) = self.targets.get_mut(server as usize) {
            *target = made;
        }
    }
}

/// What a packet makes of its flow.
#[derive(Clone, Copy)]
struct Moved {
    server: u32,
    was: TcpState,
    is: TcpState,
    lifetime: u32,
    /// It may begin another flow in the place of this one, which has ended.
    begins_anew: bool,
}

impl Moved {
    #[inline(always)]
    fn by(flow: &Head, direction: Direction, tcp_flags: u8, timeouts: &Timeouts) -> Self {
        const ENDS_OR_BEGINS: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        let is_plain_ack = tcp_flags & (ENDS_OR_BEGINS | tcp_flag::ACK) == tcp_flag::ACK;
        if is_plain_ack && flow.is_established() {
            // Nearly all packets: the state stays, in each direction.
            return Self {
                server: flow.server,
                was: TcpState::Established,
                is: TcpState::Established,
                lifetime: timeouts.tcp[TcpState::Established as usize],
                begins_anew: false,
            };
        }
        Self::in_general(flow, direction, tcp_flags, timeouts)
    }

    #[inline(never)]
    fn in_general(flow: &Head, direction: Direction, tcp_flags: u8, timeouts: &Timeouts) -> Self {
        let was = flow.tcp_state();
        if flow.protocol() == Protocol::Udp {
            return Self {
                server: flow.server,
                was,
                is: was,
                lifetime: timeouts.udp,
                begins_anew: false,
            };
        }
        let is = was.next(Seen::of(direction, flow.method()), tcp_flags);
        let opens = tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN;
        Self {
            server: flow.server,
            was,
            is,
            lifetime: timeouts.tcp[is as usize],
            begins_anew: opens && direction == Direction::Request && was.may_be_reused(),
        }
    }

    /// Writes it to the flow at `place` and to its server's counts.
    #[inline(always)]
    fn keep(&self, flows: &mut FlowTable, counters: &WorkerCounters, place: u32, now: Tick) {
        flows.v4.keep_until(place, now.after(self.lifetime));
        if self.was != self.is {
            flows.change_state(place, self.was, self.is);
            let (was, is) = (self.was.is_active(), self.is.is_active());
            count_activity(counters, ServerId(self.server), was, is);
        }
    }
}

/// A flow of `server` changed from active to inactive or back, or neither.
#[inline]
pub(crate) fn count_activity(
    counters: &WorkerCounters,
    server: ServerId,
    was_active: bool,
    is_active: bool,
) {
    let Some(counters) = counters.servers.get(server.0 as usize) else {
        return;
    };
    if was_active != is_active {
        let (from, to) = match was_active {
            true => (&counters.active, &counters.inactive),
            false => (&counters.inactive, &counters.active),
        };
        from.sub(1);
        to.add(1);
    }
}

/// Both addresses of a packet, the source first.
#[inline(always)]
fn halves(addrs: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = addrs.to_ne_bytes();
    [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes)
}

/// Both ports of a packet, the source's first.
#[inline(always)]
fn port_halves(ports: u32) -> [u16; 2] {
    let [a, b, c, d] = ports.to_ne_bytes();
    [[a, b], [c, d]].map(u16::from_ne_bytes)
}

/// The reverse of [`halves`].
#[inline(always)]
fn both_addrs(src: u32, dst: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (src.to_ne_bytes(), dst.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The reverse of [`port_halves`].
#[inline(always)]
fn both_ports(src: u16, dst: u16) -> u32 {
    let ([a, b], [c, d]) = (src.to_ne_bytes(), dst.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}
