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
use crate::flow::family::Peek;
use crate::flow::tcp::Seen;
use crate::flow::{Direction, TcpState, Timeouts};
use crate::io::{Frame, Outlet, PortId, RxChecksum};
use crate::next_hop::{Hop, PlainHop};
use crate::service::{Method, Protocol, ServerId};
use crate::time::Tick;

/// What is known of a packet between the stages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    /// It is not plain: its note says what it is.
    General,
    /// It is plain; its flow's entry may be here, or nowhere.
    Plain {
        key: Key4,
        hash: u64,
        /// [`NOWHERE`] when its home line does not have it.
        place: u32,
        /// Bytes of the IP packet.
        len: u16,
        tcp_flags: u8,
    },
}

const NOWHERE: u32 = u32::MAX;

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

/// A packet and its flow, ready to go.
struct Ready {
    place: u32,
    was: TcpState,
    is: TcpState,
    expires: Tick,
}

impl<F: Frame> Director<F> {
    /// Stage 1: reads a frame that was received at the station `mac`, and asks for its flow's line.
    #[inline(always)]
    pub(crate) fn read_plain(&self, frame: &F, mac: u64) -> Found {
        if !frame.is_linear() {
            return Found::General;
        }
        let verify = match frame.rx_checksum() {
            RxChecksum::Good => false,
            RxChecksum::Unknown => true,
            RxChecksum::Bad => return Found::General,
        };
        let Some(Plain {
            addrs,
            ports,
            len,
            protocol,
            tcp_flags,
        }) = plain::read(frame.bytes(), mac, verify)
        else {
            return Found::General;
        };
        let protocol = match protocol {
            protocol::TCP => Protocol::Tcp,
            _ => Protocol::Udp,
        };
        let key = Key4 {
            addrs,
            ports,
            protocol,
        };
        let hash = self.flows.v4.hash(&key);
        self.flows.v4.prefetch(hash);
        Found::Plain {
            key,
            hash,
            place: NOWHERE,
            len,
            tcp_flags,
        }
    }

    /// Stage 2: looks into the line, and asks for what the flow leads to.
    #[inline(always)]
    pub(crate) fn find_plain(&self, found: &mut Found) {
        let Found::Plain {
            key, hash, place, ..
        } = found
        else {
            return;
        };
        match self.flows.v4.peek(key, *hash) {
            Peek::At(at) => {
                *place = at;
                let head = &self.flows.v4.get(at).head;
                if head.is_reply() {
                    self.flows.v4.prefetch_place(head.link);
                }
                if let Some(target) = self.targets.get(head.server as usize) {
                    prefetch(target);
                }
                if let Some(counters) = self.counters.servers.get(head.server as usize) {
                    prefetch(counters);
                }
            }
            Peek::Absent | Peek::Away => {}
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
        let &Found::Plain {
            ref key,
            hash,
            place,
            len,
            tcp_flags,
        } = found
        else {
            return Err(frame);
        };
        let place = match place {
            NOWHERE => match self.flows.v4.find(key, hash) {
                Some(place) => place,
                None => return Err(frame),
            },
            place => place,
        };
        let entry = *self.flows.v4.get(place);
        // An earlier packet of this burst may have put another flow in this place.
        if !entry.is_under(key) {
            return Err(frame);
        }
        if entry.head.is_reply() {
            self.pass_reply(now, &entry, len, tcp_flags, frame, outlet)
        } else {
            self.pass_request(now, place, &entry, len, tcp_flags, frame, outlet)
        }
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what the stages before found")]
    fn pass_request<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        place: u32,
        entry: &Entry4,
        len: u16,
        tcp_flags: u8,
        mut frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        let method = entry.head.method();
        let server = entry.head.server;
        let timeouts = &self.snapshot.settings.timeouts;
        let ready = ready(
            place,
            &entry.head,
            Direction::Request,
            tcp_flags,
            timeouts,
            now,
        );
        let (Some(ready), Some(target)) = (ready, self.target(now, server)) else {
            return Err(frame);
        };
        let Some(head) = frame.bytes_mut().first_chunk_mut() else {
            return Err(frame);
        };
        let Target {
            hop, addr, port, ..
        } = target;
        let needs_more = len > hop.mtu || (method == Method::Nat && plain::lacks_checksum(head));
        if needs_more {
            return Err(frame);
        }
        match method {
            Method::Dr => plain::pass_on(head, &hop.link),
            Method::Nat => plain::pass_to(head, &hop.link, *addr, *port),
            Method::Tun => return Err(frame),
        }
        let out = hop.port;
        self.keep(&ready, server);
        if let Some(counters) = self.counters.servers.get(server as usize) {
            counters.packets_in.add(1);
            counters.bytes_in.add(u64::from(len));
        }
        self.send_plain(frame, len, out, outlet);
        Ok(())
    }

    #[inline(always)]
    fn pass_reply<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        reply: &Entry4,
        len: u16,
        tcp_flags: u8,
        mut frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        let place = reply.head.link;
        let request = *self.flows.v4.get(place);
        let server = request.head.server;
        let timeouts = &self.snapshot.settings.timeouts;
        let ready = ready(
            place,
            &request.head,
            Direction::Reply,
            tcp_flags,
            timeouts,
            now,
        );
        // The client comes first in both of the request's words.
        let [client, virt] = halves(request.addrs);
        let hop = self.snapshot.network.plain_way(u32::from_be(client));
        let (Some(ready), Some(hop)) = (ready, hop) else {
            return Err(frame);
        };
        let Some(head) = frame.bytes_mut().first_chunk_mut() else {
            return Err(frame);
        };
        if len > hop.mtu || plain::lacks_checksum(head) || request.head.method() != Method::Nat {
            return Err(frame);
        }
        plain::pass_from(head, &hop.link, virt, second_half(request.ports));
        let out = hop.port;
        self.keep(&ready, server);
        if let Some(counters) = self.counters.servers.get(server as usize) {
            counters.packets_out.add(1);
            counters.bytes_out.add(u64::from(len));
        }
        self.send_plain(frame, len, out, outlet);
        Ok(())
    }

    #[inline(always)]
    fn keep(&mut self, ready: &Ready, server: u32) {
        self.flows.v4.keep_until(ready.place, ready.expires);
        if ready.was != ready.is {
            self.flows.change_state(ready.place, ready.was, ready.is);
            count_activity(
                &self.counters,
                ServerId(server),
                ready.was.is_active(),
                ready.is.is_active(),
            );
        }
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

/// What the packet makes of its flow; none when it may begin another one in its place.
#[inline(always)]
fn ready(
    place: u32,
    head: &Head,
    direction: Direction,
    tcp_flags: u8,
    timeouts: &Timeouts,
    now: Tick,
) -> Option<Ready> {
    let was = head.tcp_state();
    if head.protocol() == Protocol::Udp {
        return Some(Ready {
            place,
            was,
            is: was,
            expires: now.after(timeouts.udp),
        });
    }
    let opens = tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN;
    if opens && direction == Direction::Request && was.may_be_reused() {
        return None;
    }
    let is = was.next(Seen::of(direction, head.method()), tcp_flags);
    let lifetime = timeouts.tcp[is as usize];
    Some(Ready {
        place,
        was,
        is,
        expires: now.after(lifetime),
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

/// The destination port.
#[inline(always)]
fn second_half(ports: u32) -> u16 {
    let [_, _, c, d] = ports.to_ne_bytes();
    u16::from_ne_bytes([c, d])
}
