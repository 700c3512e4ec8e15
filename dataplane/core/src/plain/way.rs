//! A plain packet of a known flow: the flow moves on, the packet is counted and rewritten.

use weir_wire::plain::{self, Ip};
use weir_wire::tcp_flag;
use weir_wire::tunnel::{self, Tunnel};

use super::Side;
use super::target::Target;
use crate::counters::WorkerCounters;
use crate::flow::entry::Head;
use crate::flow::tcp::Seen;
use crate::flow::{Direction, FlowTable, TcpState, Timeouts, Tuple};
use crate::io::{Frame, PortId};
use crate::persist::Templates;
use crate::service::{Method, Protocol, ServerId};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// A packet whose flow is known.
pub(super) struct Way<'a, E: Side> {
    pub(super) now: Tick,
    pub(super) len: u16,
    pub(super) tcp_flags: u8,
    pub(super) flows: &'a mut FlowTable,
    pub(super) counters: &'a WorkerCounters,
    pub(super) snapshot: &'a Snapshot,
    /// As the director's.
    pub(super) has_resets: bool,
    /// As the director's.
    pub(super) next_ip_id: &'a mut u16,
    /// By server.
    pub(super) targets: &'a [Target<E::Ip>],
}

impl<E: Side> Way<'_, E> {
    /// Rewrites the packet whose entry is at `place`, and returns the port to leave by and its new
    /// length; none, and nothing has changed, when the general way has to see to it.
    #[inline(always)]
    pub(super) fn pass<F: Frame>(&mut self, place: u32, frame: &mut F) -> Option<(PortId, u16)> {
        let head = E::half(self.flows).at(place)?.head();
        if head.is_reply() {
            let place = head.link;
            self.reply(place, frame)
        } else {
            self.request(place, frame)
        }
    }

    /// From a client; the flow is at `place`.
    #[inline(always)]
    fn request<F: Frame>(&mut self, place: u32, frame: &mut F) -> Option<(PortId, u16)> {
        let entry = E::half(self.flows).at(place)?;
        let flow = entry.head();
        let server = flow.slot();
        let target = self.targets.get(server as usize)?;
        let moved = self.move_on(flow, Direction::Request)?;
        let head = E::Ip::head(frame.bytes_mut())?;
        if target.ready != self.snapshot.epoch || self.len > target.hop.mtu {
            return None;
        }
        let mut len = self.len;
        match flow.method() {
            Method::Dr => plain::pass_on::<E::Ip>(head, &target.hop.link),
            Method::Nat | Method::FullNat if plain::lacks_checksum::<E::Ip>(head) => return None,
            Method::Nat => {
                let port = flow.other_port();
                plain::pass_to::<E::Ip>(head, &target.hop.link, target.addr, port);
            }
            Method::FullNat => {
                let ends = [entry.local(self.flows)?, target.addr];
                let [_, virt_port] = port_halves(flow.ports());
                let port = if target.port == 0 {
                    virt_port
                } else {
                    target.port
                };
                let ports = both_ports(flow.other_port(), port);
                plain::pass_between::<E::Ip>(head, &target.hop.link, ends, ports);
            }
            Method::Tun if target.tunnel != Tunnel::Ipip => {
                len = wrap_in_more(
                    target,
                    &entry.tuple(),
                    self.len,
                    self.snapshot.settings.pmtu_disc,
                    self.next_ip_id,
                    frame,
                )?;
            }
            Method::Tun => {
                let outer_len = E::Ip::OUTER_LEN;
                let fits = self.len <= target.hop.mtu.saturating_sub(outer_len as u16);
                let has_source = target.tunnel_source != E::Ip::NOBODY;
                if !fits || !has_source || !frame.push_front(outer_len) {
                    return None;
                }
                self.wrap(target, frame.bytes_mut());
                len += outer_len as u16;
            }
        }
        self.keep(place, server, moved, Direction::Request);
        if let Some(counters) = self.counters.servers.get(server as usize) {
            counters.packets_in.add(1);
            counters.bytes_in.add(u64::from(self.len));
        }
        Some((target.hop.port, len))
    }

    /// Puts the outer header before a packet, for which there is room.
    #[inline(always)]
    fn wrap(&mut self, target: &Target<E::Ip>, bytes: &mut [u8]) {
        let outer = plain::Outer {
            ends: [target.tunnel_source, target.addr],
            copy_df: self.snapshot.settings.pmtu_disc,
            id: *self.next_ip_id,
        };
        *self.next_ip_id = self.next_ip_id.wrapping_add(1);
        let inner = bytes.get_mut(E::Ip::OUTER_LEN..);
        if let Some(inner) = inner.and_then(E::Ip::head) {
            plain::pass_on::<E::Ip>(inner, &target.hop.link);
        }
        if let Some(head) = E::Ip::head(bytes) {
            E::Ip::wrap(head, &target.hop.link, self.len, &outer);
        }
    }

    /// From a real server; the flow is at `place`.
    #[inline(always)]
    fn reply<F: Frame>(&mut self, place: u32, frame: &mut F) -> Option<(PortId, u16)> {
        let entry = E::half(self.flows).at(place)?;
        let flow = entry.head();
        let server = flow.slot();
        // A request finds no target of such a server.
        if self.has_resets && self.snapshot.services.resets(ServerId(server)) {
            return None;
        }
        let moved = self.move_on(flow, Direction::Reply)?;
        // The client comes first in both of the request's words.
        let [client, virt] = entry.ends();
        let hop = self.snapshot.network.plain_way::<E::Ip>(client)?;
        let head = E::Ip::head(frame.bytes_mut())?;
        if self.len > hop.mtu || plain::lacks_checksum::<E::Ip>(head) {
            return None;
        }
        let [client_port, virt_port] = port_halves(flow.ports());
        match flow.method() {
            Method::Nat => plain::pass_from::<E::Ip>(head, &hop.link, virt, virt_port),
            Method::FullNat => {
                let ports = both_ports(virt_port, client_port);
                plain::pass_between::<E::Ip>(head, &hop.link, [virt, client], ports);
            }
            Method::Dr | Method::Tun => return None,
        }
        let out = hop.port;
        self.keep(place, server, moved, Direction::Reply);
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
                was: TcpState::Established,
                is: TcpState::Established,
            });
        }
        let is_secure = self.flows.is_secure();
        move_on_in_general(flow, direction, self.tcp_flags, timeouts, is_secure)
    }

    /// Writes it to the flow at `place`, and to the counts of its server when it changes state.
    #[inline(always)]
    fn keep(&mut self, place: u32, server: u32, moved: Moved, direction: Direction) {
        let expires = self.now.after(moved.lifetime);
        let is_clients = direction == Direction::Request;
        E::half_mut(self.flows).0.keep(place, expires, is_clients);
        let Moved { was, is, .. } = moved;
        if was != is {
            self.flows.change_state::<E>(place, was, is);
            if is == TcpState::Established {
                assure::<E>(self.flows, &self.snapshot.templates, place);
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

/// Puts the outer headers of GRE or GUE before a packet of `inner_len` bytes; gives the length of both.
#[inline(never)]
fn wrap_in_more<I: Ip, F: Frame>(
    target: &Target<I>,
    tuple: &Tuple,
    inner_len: u16,
    copy_df: bool,
    next_ip_id: &mut u16,
    frame: &mut F,
) -> Option<u16> {
    let overhead = target.tunnel.overhead(I::FAMILY);
    let fits = inner_len <= target.hop.mtu.saturating_sub(overhead as u16);
    if !fits || target.tunnel_source == I::NOBODY || !frame.push_front(overhead) {
        return None;
    }
    let inner = tunnel::Inner {
        src: tuple.src,
        dst: tuple.dst,
        ports: [tuple.src_port, tuple.dst_port],
        protocol: tuple.protocol.number(),
        len: usize::from(inner_len),
    };
    let outer = tunnel::Outer {
        tunnel: target.tunnel,
        src: I::addr(target.tunnel_source),
        dst: I::addr(target.addr),
        copy_df,
        id: *next_ip_id,
    };
    *next_ip_id = next_ip_id.wrapping_add(1);
    let len = inner_len + overhead as u16;
    let bytes = frame.bytes_mut();
    if let Some(inner) = bytes.get_mut(overhead..).and_then(I::head) {
        plain::pass_on::<I>(inner, &target.hop.link);
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

/// Vouches for the template of the flow at `place`, if it has one.
#[inline(never)]
fn assure<E: Side>(flows: &FlowTable, templates: &Templates, place: u32) {
    if let Some(template) = flows.template_of::<E>(place) {
        templates.assure(template);
    }
}

/// What a packet makes of its flow.
#[derive(Clone, Copy)]
struct Moved {
    /// Until it ends if no other comes, in ticks.
    lifetime: u32,
    /// The state it leaves and the one it goes to, in TCP.
    was: TcpState,
    is: TcpState,
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
            was: TcpState::None,
            is: TcpState::None,
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
        was,
        is,
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

/// Both ports of a packet, the source's first.
#[inline(always)]
fn port_halves(ports: u32) -> [u16; 2] {
    let [a, b, c, d] = ports.to_ne_bytes();
    [[a, b], [c, d]].map(u16::from_ne_bytes)
}

/// The reverse of [`port_halves`].
#[inline(always)]
fn both_ports(src: u16, dst: u16) -> u32 {
    let ([a, b], [c, d]) = (src.to_ne_bytes(), dst.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}
