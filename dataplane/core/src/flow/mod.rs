//! Flows: what is remembered of a connection, in which state it is and when it ends.

pub mod table;
pub mod tcp;
mod timeout;

pub use table::{Direction, Expired, FlowId, FlowTable};
pub use tcp::TcpState;
pub use timeout::Timeouts;

use weir_wire::Addr;

use crate::service::{Method, Protocol, ServerId, ServiceKey};
use crate::time::Tick;

/// What a packet shows of its flow: addresses and ports as they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl Tuple {
    /// The tuple of the packets the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        }
    }

    /// The service that a packet from a client would belong to.
    #[must_use]
    pub const fn service_key(&self) -> ServiceKey {
        ServiceKey {
            protocol: self.protocol,
            addr: self.dst,
            port: self.dst_port,
        }
    }
}

/// One flow, in one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Flow {
    client: u128,
    virt: u128,
    dest: u128,
    /// When it ends if no packet comes.
    expires: Tick,
    server: ServerId,
    client_port: u16,
    virt_port: u16,
    dest_port: u16,
    /// The TCP state; 0 for UDP.
    state: u8,
    bits: u8,
}

const _: () = assert!(size_of::<Flow>() == 64);

const BIT_UDP: u8 = 1;
const METHOD_SHIFT: u8 = 1;
const METHOD_MASK: u8 = 0b110;
/// No packet from the server has been seen: the transition table is the one for one direction only.
const BIT_NO_OUTPUT: u8 = 1 << 3;
const BIT_LIVE: u8 = 1 << 4;

impl Flow {
    /// The content of a free place.
    const FREE: Self = Self {
        client: 0,
        virt: 0,
        dest: 0,
        expires: Tick(0),
        server: ServerId(u32::MAX),
        client_port: 0,
        virt_port: 0,
        dest_port: 0,
        state: 0,
        bits: 0,
    };

    /// A flow that begins with a packet of `tuple` and goes to `dest`:`dest_port`. It has no state
    /// yet and lives until `expires`.
    #[must_use]
    pub const fn new(
        tuple: &Tuple,
        server: ServerId,
        dest: Addr,
        dest_port: u16,
        method: Method,
        expires: Tick,
    ) -> Self {
        let udp = match tuple.protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => BIT_UDP,
        };
        let one_way = if method.sees_replies() {
            0
        } else {
            BIT_NO_OUTPUT
        };
        Self {
            client: tuple.src.0,
            virt: tuple.dst.0,
            dest: dest.0,
            expires,
            server,
            client_port: tuple.src_port,
            virt_port: tuple.dst_port,
            dest_port,
            state: 0,
            bits: BIT_LIVE | udp | one_way | (method as u8) << METHOD_SHIFT,
        }
    }

    /// The tuple of the client's packets.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Tuple {
        Tuple {
            src: Addr(self.client),
            dst: Addr(self.virt),
            src_port: self.client_port,
            dst_port: self.virt_port,
            protocol: self.protocol(),
        }
    }

    /// The tuple of the server's packets as they reach the director (NAT).
    #[inline]
    #[must_use]
    pub const fn reply(&self) -> Tuple {
        Tuple {
            src: Addr(self.dest),
            dst: Addr(self.client),
            src_port: self.dest_port,
            dst_port: self.client_port,
            protocol: self.protocol(),
        }
    }

    /// The transport protocol.
    #[inline]
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        if self.bits & BIT_UDP == 0 {
            Protocol::Tcp
        } else {
            Protocol::Udp
        }
    }

    /// The forwarding method the flow began with.
    #[inline]
    #[must_use]
    pub const fn method(&self) -> Method {
        match (self.bits & METHOD_MASK) >> METHOD_SHIFT {
            0 => Method::Nat,
            1 => Method::Dr,
            _ => Method::Tun,
        }
    }

    /// The real server's slot.
    #[inline]
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// The real server's address.
    #[inline]
    #[must_use]
    pub const fn dest(&self) -> Addr {
        Addr(self.dest)
    }

    /// The real server's port.
    #[inline]
    #[must_use]
    pub const fn dest_port(&self) -> u16 {
        self.dest_port
    }

    /// The virtual address.
    #[inline]
    #[must_use]
    pub const fn virt(&self) -> Addr {
        Addr(self.virt)
    }

    /// The TCP state; meaningless for UDP.
    #[inline]
    #[must_use]
    pub const fn tcp_state(&self) -> TcpState {
        TcpState::from_index(self.state)
    }

    /// True while the flow counts as active: opening or established TCP. UDP never does.
    #[inline]
    #[must_use]
    pub const fn is_active(&self) -> bool {
        match self.protocol() {
            Protocol::Tcp => self.tcp_state().is_active(),
            Protocol::Udp => false,
        }
    }

    /// Seconds until it ends, rounded up.
    #[must_use]
    pub const fn seconds_left(&self, now: Tick) -> u32 {
        self.expires
            .since(now)
            .div_ceil(crate::time::TICKS_PER_SECOND)
    }

    /// Takes a packet into account: the state moves on and the timer starts anew.
    #[inline]
    pub fn advance(&mut self, direction: Direction, tcp_flags: u8, timeouts: &Timeouts, now: Tick) {
        let lifetime = match self.protocol() {
            Protocol::Udp => timeouts.udp,
            Protocol::Tcp => {
                let seen = match direction {
                    Direction::Reply => {
                        self.bits &= !BIT_NO_OUTPUT;
                        tcp::Seen::Reply
                    }
                    Direction::Request if self.bits & BIT_NO_OUTPUT != 0 => tcp::Seen::RequestOnly,
                    Direction::Request => tcp::Seen::Request,
                };
                let next = self.tcp_state().next(seen, tcp_flags);
                self.state = next as u8;
                timeouts.tcp[next as usize]
            }
        };
        self.expires = now.after(lifetime);
    }

    /// True when a new SYN may start the flow anew on another server: the connection it remembers
    /// has ended (IPVS: `conn_reuse_mode` 1).
    #[inline]
    #[must_use]
    pub const fn may_be_reused(&self) -> bool {
        matches!(self.protocol(), Protocol::Tcp)
            && matches!(self.tcp_state(), TcpState::TimeWait | TcpState::Close)
    }

    const fn is_live(&self) -> bool {
        self.bits & BIT_LIVE != 0
    }
}
