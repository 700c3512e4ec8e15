//! The short way of a plain packet ([`weir_wire::plain`]) whose flow is known: no [`Note`], no
//! [`weir_wire::Headers`], no hash of addresses other than its flow's.
//!
//! It does what `track.rs` and `forward/` do for such a packet, byte for byte and count for count.
//! Whatever it does not know it gives back untouched, and those decide.
//!
//! [`Note`]: crate::note::Note

use weir_memory::prefetch;
use weir_wire::plain::{self, Plain};
use weir_wire::tunnel::{self, Tunnel};
use weir_wire::{Addr, Family, protocol, tcp_flag};

use crate::counters::WorkerCounters;
use crate::director::Director;
use crate::flow::entry::{Entry, Entry4, Head, Key4, key_tag};
use crate::flow::tcp::Seen;
use crate::flow::{Direction, FlowTable, Signal, TcpState, Timeouts};
use crate::forward::least_mtu;
use crate::io::{Frame, Outlet, PortId, RxChecksum};
use crate::next_hop::{Hop, PlainHop};
use crate::note::Verdict;
use crate::service::{Method, Protocol, ServerId};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// What is known of a packet between the stages.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Found {
    key: Key4,
    /// The home line of its flow.
    home: u32,
    /// The place of the flow's entry, or one of the constants.
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
        key: Key4 { addrs: 0, tag: 0 },
        home: 0,
        place: GENERAL,
        len: 0,
        tcp_flags: 0,
    };

    #[inline(always)]
    pub(crate) const fn is_general(&self) -> bool {
        self.place == GENERAL
    }

    /// True for a plain packet whose flow is not in its home line.
    #[inline(always)]
    pub(crate) const fn is_nowhere(&self) -> bool {
        self.place == NOWHERE
    }
}

/// What a plain packet needs of its real server, in one cache line; made anew, when it is needed,
/// after each publication.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Target {
    /// The publication it is of, when plain packets may take it as it is.
    ready: u64,
    /// The publication it was made of.
    made: u64,
    hop: PlainHop,
    /// Address and port, as they stand in packets; port 0: the packet keeps its own. NAT's is the
    /// flow's to know.
    addr: u32,
    port: u16,
    /// The director's address before it, for tunnels; 0 when there is none of the family, or the way
    /// is too narrow for any.
    tunnel_source: u32,
    tunnel: Tunnel,
}

const _: () = assert!(size_of::<Target>() == 64);

impl Target {
    /// Of no publication.
    pub(crate) const UNSET: Self = Self {
        ready: u64::MAX,
        made: u64::MAX,
        hop: PlainHop::NONE,
        addr: 0,
        port: 0,
        tunnel_source: 0,
        tunnel: Tunnel::Ipip,
    };

    /// Has it made anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::UNSET;
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
        let protocol = match protocol {
            protocol::TCP => Protocol::Tcp,
            _ => Protocol::Udp,
        };
        let key = Key4 {
            addrs,
            tag: key_tag(ports, protocol),
        };
        Found {
            key,
            home: self.flows.v4.prefetch_home(self.flows.v4.hash(&key)),
            place: NOWHERE,
            len,
            tcp_flags,
        }
    }

    /// Stage 2: looks into the line, and asks for what the flow leads to. False when the flow may
    /// be away from home: its other lines are asked for.
    #[inline(always)]
    pub(crate) fn find_plain(&self, found: &mut Found) -> bool {
        if found.is_general() {
            return true;
        }
        let Some((place, entry)) = self.flows.v4.in_line(found.home, &found.key) else {
            let is_absent = self.flows.v4.is_absent(found.home);
            if is_absent {
                self.flows.v4.prefetch_due(found.home);
            } else {
                self.flows.v4.prefetch_others(&found.key);
            }
            return is_absent;
        };
        found.place = place;
        self.prefetch_of(&entry.head);
        true
    }

    /// What the flow of an entry leads to.
    #[inline(always)]
    fn prefetch_of(&self, entry: &Head) {
        if entry.is_reply() {
            self.flows.v4.prefetch_place(entry.link);
        }
        if self.has_many_servers {
            let server = entry.server as usize;
            if let (Some(target), Some(counters)) =
                (self.targets.get(server), self.counters.servers.get(server))
            {
                prefetch(target);
                prefetch(counters);
            }
        }
    }

    /// Stage 2 once more for those that may be away from home.
    #[inline(never)]
    pub(crate) fn find_away(&self, found: &mut [Found]) {
        for found in found.iter_mut().filter(|found| found.is_nowhere()) {
            if let Some(again) = self.find_again(found) {
                *found = again;
                if let Some(entry) = self.flows.v4.at(again.place) {
                    self.prefetch_of(&entry.head);
                }
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
        mut frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        if found.place >= GENERAL {
            return Err(frame);
        }
        // An earlier packet of this burst may have put another flow in this place.
        if self.flows.v4.version() != self.looked_up && !self.is_still_there(found) {
            return Err(frame);
        }
        let mut way = Way {
            now,
            len: found.len,
            tcp_flags: found.tcp_flags,
            flows: &mut self.flows,
            counters: &self.counters,
            snapshot: &self.snapshot,
            has_resets: self.has_resets,
            next_ip_id: &mut self.next_ip_id,
        };
        let Some((out, len)) = way.pass(found.place, &self.targets, &mut frame) else {
            return Err(frame);
        };
        frame.truncate(plain::ETHERNET_LEN + usize::from(len));
        self.passed += 1;
        outlet.transmit(out, frame);
        Ok(())
    }

    #[inline(never)]
    fn is_still_there(&self, found: &Found) -> bool {
        let entry = self.flows.v4.at(found.place);
        entry.is_some_and(|entry| entry.is_under(&found.key))
    }

    /// The place of a plain packet's flow that was not at home when the burst was looked up.
    pub(crate) fn find_again(&self, found: &Found) -> Option<Found> {
        let place = self.flows.v4.find_from(found.home, &found.key)?;
        Some(Found { place, ..*found })
    }

    /// Begins a flow for a plain packet that has none, as `track.rs` does; none when the general way
    /// has to see to it, and then the packet may have found what becomes of it.
    #[inline(never)]
    pub(crate) fn open_plain(
        &mut self,
        now: Tick,
        found: &Found,
        is_handed_off: bool,
    ) -> Result<Found, Option<Verdict>> {
        let tuple = found.key.tuple();
        let to_many = tuple.dst.is_multicast() || tuple.dst.is_broadcast();
        if to_many || plain::is_martian(found.key.addrs) {
            return Err(None);
        }
        let signal = Signal::tcp(found.tcp_flags);
        let opened = self.open(now, &tuple, signal, is_handed_off, None);
        let id = opened.map_err(|verdict| match verdict {
            Verdict::LookUp => None,
            decided => Some(decided),
        })?;
        let place = id.place();
        if let Some(entry) = self.flows.v4.at(place) {
            self.make_target(now, ServerId(entry.head.server));
        }
        Ok(Found { place, ..*found })
    }

    /// Makes ready what later plain packets need of `server`, once for each publication.
    pub(crate) fn make_target(&mut self, now: Tick, id: ServerId) {
        let epoch = self.snapshot.epoch;
        let at = id.0 as usize;
        if self.targets.get(at).is_none_or(|made| made.made == epoch) {
            return;
        }
        let mut target = Target {
            made: epoch,
            ..Target::UNSET
        };
        let server = self.snapshot.services.server(id).copied();
        let is_reset = self.has_resets && self.snapshot.services.resets(id);
        if let Some(server) = server.filter(|s| s.is_available && s.addr.is_v4() && !is_reset)
            && !self.has_path_mtu(now, id)
            && let Hop::Ready(next) = self.hop_to_server(now, id, server.addr)
            && let Some(hop) = next.plain()
        {
            target.hop = hop;
            target.addr = u32::from_ne_bytes(server.addr.v4_bytes());
            target.port = server.port.to_be();
            let overhead = server.tunnel.overhead(Family::V4) as u16;
            let carries = next.mtu >= least_mtu(Family::V4) + overhead;
            target.tunnel = server.tunnel;
            let source = next.source.filter(|source| carries && source.is_v4());
            target.tunnel_source = source.map_or(0, |source| u32::from_ne_bytes(source.v4_bytes()));
            target.ready = epoch;
        }
        self.targets[at] = target;
    }
}

/// A packet whose flow is known.
struct Way<'a> {
    now: Tick,
    len: u16,
    tcp_flags: u8,
    flows: &'a mut FlowTable,
    counters: &'a WorkerCounters,
    snapshot: &'a Snapshot,
    /// As the director's.
    has_resets: bool,
    /// As the director's.
    next_ip_id: &'a mut u16,
}

impl Way<'_> {
    /// Rewrites the packet whose entry is at `place`, and returns the port to leave by and its new
    /// length; none, and nothing has changed, when the general way has to see to it.
    #[inline(always)]
    fn pass<F: Frame>(
        &mut self,
        place: u32,
        targets: &[Target],
        frame: &mut F,
    ) -> Option<(PortId, u16)> {
        let head = &self.flows.v4.at(place)?.head;
        if head.is_reply() {
            let place = head.link;
            self.reply(place, frame)
        } else {
            self.request(place, targets, frame)
        }
    }

    /// From a client; the flow is at `place`.
    #[inline(always)]
    fn request<F: Frame>(
        &mut self,
        place: u32,
        targets: &[Target],
        frame: &mut F,
    ) -> Option<(PortId, u16)> {
        let flow = &self.flows.v4.at(place)?.head;
        let server = flow.server;
        let target = targets.get(server as usize)?;
        let moved = self.move_on(flow, Direction::Request)?;
        let head = frame.bytes_mut().first_chunk_mut()?;
        if target.ready != self.snapshot.epoch || self.len > target.hop.mtu {
            return None;
        }
        let mut len = self.len;
        match flow.method() {
            Method::Dr => plain::pass_on(head, &target.hop.link),
            Method::Nat | Method::FullNat if plain::lacks_checksum(head) => return None,
            Method::Nat => plain::pass_to(head, &target.hop.link, target.addr, flow.other_port()),
            Method::FullNat => {
                let addrs = both_addrs(flow.local, target.addr);
                let [_, virt_port] = port_halves(flow.ports());
                let port = if target.port == 0 {
                    virt_port
                } else {
                    target.port
                };
                let ports = both_ports(flow.other_port(), port);
                plain::pass_between(head, &target.hop.link, addrs, ports);
            }
            Method::Tun if target.tunnel != Tunnel::Ipip => {
                len = self.wrap_in_more(target, flow.protocol(), frame)?;
            }
            Method::Tun => {
                let fits = self.len <= target.hop.mtu.saturating_sub(plain::OUTER_LEN as u16);
                if !fits || target.tunnel_source == 0 || !frame.push_front(plain::OUTER_LEN) {
                    return None;
                }
                self.wrap(target, frame.bytes_mut());
                len += plain::OUTER_LEN as u16;
            }
        }
        self.keep(place, server, moved);
        if let Some(counters) = self.counters.servers.get(server as usize) {
            counters.packets_in.add(1);
            counters.bytes_in.add(u64::from(self.len));
        }
        Some((target.hop.port, len))
    }

    /// Puts the outer header before a packet, for which there is room.
    #[inline(always)]
    fn wrap(&mut self, target: &Target, bytes: &mut [u8]) {
        let outer = plain::Outer {
            addrs: both_addrs(target.tunnel_source, target.addr),
            copy_df: self.snapshot.settings.pmtu_disc,
            id: *self.next_ip_id,
        };
        *self.next_ip_id = self.next_ip_id.wrapping_add(1);
        let inner = bytes.get_mut(plain::OUTER_LEN..);
        if let Some(inner) = inner.and_then(|inner| inner.first_chunk_mut()) {
            plain::pass_on(inner, &target.hop.link);
        }
        if let Some(head) = bytes.first_chunk_mut() {
            plain::wrap(head, &target.hop.link, self.len, &outer);
        }
    }

    /// Puts the outer headers of GRE or GUE before a packet; gives the length of both.
    #[inline(never)]
    fn wrap_in_more<F: Frame>(
        &mut self,
        target: &Target,
        protocol: Protocol,
        frame: &mut F,
    ) -> Option<u16> {
        let overhead = target.tunnel.overhead(Family::V4);
        let fits = self.len <= target.hop.mtu.saturating_sub(overhead as u16);
        let head: &plain::Head = frame.bytes().first_chunk()?;
        let (addrs, ports) = plain::ends(head);
        if !fits || target.tunnel_source == 0 || !frame.push_front(overhead) {
            return None;
        }
        let [src, dst] = addrs.map(Addr::from_v4_bytes);
        let inner = tunnel::Inner {
            src,
            dst,
            ports,
            protocol: protocol.number(),
            len: usize::from(self.len),
        };
        let outer = tunnel::Outer {
            tunnel: target.tunnel,
            src: Addr::from_v4_bytes(target.tunnel_source.to_ne_bytes()),
            dst: Addr::from_v4_bytes(target.addr.to_ne_bytes()),
            copy_df: self.snapshot.settings.pmtu_disc,
            id: *self.next_ip_id,
        };
        *self.next_ip_id = self.next_ip_id.wrapping_add(1);
        let len = self.len + overhead as u16;
        let bytes = frame.bytes_mut();
        if let Some(inner) = bytes.get_mut(overhead..).and_then(<[u8]>::first_chunk_mut) {
            plain::pass_on(inner, &target.hop.link);
        }
        // What follows the packet in its frame is none of it.
        let packet = plain::ETHERNET_LEN..plain::ETHERNET_LEN + usize::from(len);
        if let Some(packet) = bytes.get_mut(packet) {
            tunnel::write_outer(packet, inner, &outer);
        }
        if let Some(link) = bytes.first_chunk_mut() {
            *link = target.hop.link;
        }
        Some(len)
    }

    /// From a real server; the flow is at `place`.
    #[inline(always)]
    fn reply<F: Frame>(&mut self, place: u32, frame: &mut F) -> Option<(PortId, u16)> {
        let Entry4 { addrs, head: flow } = self.flows.v4.at(place)?;
        let server = flow.server;
        // A request finds no target of such a server.
        if self.has_resets && self.snapshot.services.resets(ServerId(server)) {
            return None;
        }
        let moved = self.move_on(flow, Direction::Reply)?;
        // The client comes first in both of the request's words.
        let [client, virt] = halves(*addrs);
        let hop = self.snapshot.network.plain_way(u32::from_be(client))?;
        let head = frame.bytes_mut().first_chunk_mut()?;
        if self.len > hop.mtu || plain::lacks_checksum(head) {
            return None;
        }
        let [client_port, virt_port] = port_halves(flow.ports());
        match flow.method() {
            Method::Nat => plain::pass_from(head, &hop.link, virt, virt_port),
            Method::FullNat => {
                let (addrs, ports) = (both_addrs(virt, client), both_ports(virt_port, client_port));
                plain::pass_between(head, &hop.link, addrs, ports);
            }
            Method::Dr | Method::Tun => return None,
        }
        let out = hop.port;
        self.keep(place, server, moved);
        if let Some(counters) = self.counters.servers.get(server as usize) {
            counters.packets_out.add(1);
            counters.bytes_out.add(u64::from(self.len));
        }
        Some((out, self.len))
    }

    /// What the packet makes of its flow; none when it may begin another one in its place.
    #[inline(always)]
    fn move_on(&self, flow: &Head, direction: Direction) -> Option<Moved> {
        const ENDS_OR_BEGINS: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        let timeouts = &self.snapshot.settings.timeouts;
        let is_plain_ack = self.tcp_flags & (ENDS_OR_BEGINS | tcp_flag::ACK) == tcp_flag::ACK;
        if is_plain_ack && flow.is_established() {
            // Nearly all packets: the state stays, in each direction.
            return Some(Moved {
                lifetime: timeouts.tcp[TcpState::Established as usize],
                state: None,
            });
        }
        let is_secure = self.flows.is_secure();
        move_on_in_general(flow, direction, self.tcp_flags, timeouts, is_secure)
    }

    /// Writes it to the flow at `place`, and to the counts of its server when it changes state.
    #[inline(always)]
    fn keep(&mut self, place: u32, server: u32, moved: Moved) {
        let expires = self.now.after(moved.lifetime);
        self.flows.v4.keep_until(place, expires);
        if let Some((was, is)) = moved.state {
            self.flows.change_state(place, was, is);
            if is == TcpState::Established {
                self.assure(place);
            }
            count_activity(
                self.counters,
                ServerId(server),
                was.is_active(),
                is.is_active(),
            );
        }
    }
}

impl Way<'_> {
    /// Vouches for the template of the flow at `place`, if it has one.
    #[inline(never)]
    fn assure(&self, place: u32) {
        let template = self.flows.template_of_v4(place);
        if let Some(template) = template {
            self.snapshot.templates.assure(template);
        }
    }
}

/// What a packet makes of its flow.
#[derive(Clone, Copy)]
struct Moved {
    /// Until it ends if no other comes, in ticks.
    lifetime: u32,
    /// The state it leaves and the one it goes to, when these differ.
    state: Option<(TcpState, TcpState)>,
}

#[inline(never)]
fn move_on_in_general(
    flow: &Head,
    direction: Direction,
    tcp_flags: u8,
    timeouts: &Timeouts,
    is_secure: bool,
) -> Option<Moved> {
    if flow.protocol() == Protocol::Udp {
        if direction == Direction::Reply && flow.awaits_reply() {
            return None;
        }
        return Some(Moved {
            lifetime: timeouts.udp,
            state: None,
        });
    }
    if flow.is_special() {
        return None;
    }
    let was = flow.tcp_state();
    let opens = tcp_flags & tcp_flag::SYN != 0 && direction == Direction::Request;
    if opens && was != TcpState::None {
        // It may take the flow's place: see `reuse.rs`.
        return None;
    }
    let is = was.next(Seen::of(direction, flow.method()), tcp_flags, is_secure);
    Some(Moved {
        lifetime: timeouts.tcp[is as usize],
        state: (was != is).then_some((was, is)),
    })
}

/// A flow of `server` changed from active to inactive or back, or neither.
#[inline]
pub(crate) fn count_activity(
    counters: &WorkerCounters,
    server: ServerId,
    was_active: bool,
    is_active: bool,
) {
    if was_active != is_active
        && let Some(load) = counters.loads.get(server.0 as usize)
    {
        load.turn(is_active);
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
