//! A plain packet of a known flow: the flow moves on, the packet is counted and rewritten.

use weir_wire::plain;
use weir_wire::tunnel::{self, Tunnel};
use weir_wire::{Addr, Family, tcp_flag};

use super::target::Target;
use crate::counters::WorkerCounters;
use crate::flow::entry::{Entry4, Head};
use crate::flow::tcp::Seen;
use crate::flow::{Direction, FlowTable, TcpState, Timeouts};
use crate::io::{Frame, PortId};
use crate::persist::Templates;
use crate::service::{Method, Protocol, ServerId};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// A packet whose flow is known.
pub(super) struct Way<'a> {
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
}

impl Way<'_> {
    /// Rewrites the packet whose entry is at `place`, and returns the port to leave by and its new
    /// length; none, and nothing has changed, when the general way has to see to it.
    #[inline(always)]
    pub(super) fn pass<F: Frame>(
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
        let server = flow.slot();
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
                len = wrap_in_more(
                    target,
                    flow.protocol(),
                    self.len,
                    self.snapshot.settings.pmtu_disc,
                    self.next_ip_id,
                    frame,
                )?;
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
        self.keep(place, server, moved, Direction::Request);
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

    /// From a real server; the flow is at `place`.
    #[inline(always)]
    fn reply<F: Frame>(&mut self, place: u32, frame: &mut F) -> Option<(PortId, u16)> {
        let Entry4 { addrs, head: flow } = self.flows.v4.at(place)?;
        let server = flow.slot();
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
        self.flows.v4.keep(place, expires, is_clients);
        let Moved { was, is, .. } = moved;
        if was != is {
            self.flows.change_state(place, was, is);
            if is == TcpState::Established {
                assure(self.flows, &self.snapshot.templates, place);
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
fn wrap_in_more<F: Frame>(
    target: &Target,
    protocol: Protocol,
    inner_len: u16,
    copy_df: bool,
    next_ip_id: &mut u16,
    frame: &mut F,
) -> Option<u16> {
    let overhead = target.tunnel.overhead(Family::V4);
    let fits = inner_len <= target.hop.mtu.saturating_sub(overhead as u16);
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
        len: usize::from(inner_len),
    };
    let outer = tunnel::Outer {
        tunnel: target.tunnel,
        src: Addr::from_v4_bytes(target.tunnel_source.to_ne_bytes()),
        dst: Addr::from_v4_bytes(target.addr.to_ne_bytes()),
        copy_df,
        id: *next_ip_id,
    };
    *next_ip_id = next_ip_id.wrapping_add(1);
    let len = inner_len + overhead as u16;
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

/// Vouches for the template of the flow at `place`, if it has one.
#[inline(never)]
fn assure(flows: &FlowTable, templates: &Templates, place: u32) {
    if let Some(template) = flows.template_of_v4(place) {
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
