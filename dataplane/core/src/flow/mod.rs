//! Flows: what is remembered of a connection, in which state it is and when it ends.

pub(crate) mod entry;
pub(crate) mod family;
pub mod table;
pub mod tcp;
mod timeout;

pub use table::{Direction, Expired, FlowId, FlowTable, NewFlow};
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

/// One flow, as it stands in the table at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    request: Tuple,
    server: ServerId,
    method: Method,
    state: TcpState,
    expires: Tick,
    local: Option<(Addr, u16)>,
}

impl Flow {
    /// The tuple of the client's packets.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> &Tuple {
        &self.request
    }

    /// The forwarding method the flow began with.
    #[inline]
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The real server's slot.
    #[inline]
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// FullNAT: the director's address and port that the real server sees as its client.
    #[must_use]
    pub const fn local(&self) -> Option<(Addr, u16)> {
        self.local
    }

    /// The TCP state; none for UDP.
    #[inline]
    #[must_use]
    pub const fn tcp_state(&self) -> Option<TcpState> {
        match self.request.protocol {
            Protocol::Tcp => Some(self.state),
            Protocol::Udp => None,
        }
    }

    /// True while the flow counts as active: opening or established TCP. UDP never does.
    #[inline]
    #[must_use]
    pub const fn is_active(&self) -> bool {
        match self.tcp_state() {
            Some(state) => state.is_active(),
            None => false,
        }
    }

    /// Ticks until it ends.
    #[must_use]
    pub const fn ticks_left(&self, now: Tick) -> u32 {
        self.expires.since(now)
    }

    /// Seconds until it ends, rounded up.
    #[must_use]
    pub const fn seconds_left(&self, now: Tick) -> u32 {
        self.expires
            .since(now)
            .div_ceil(crate::time::TICKS_PER_SECOND)
    }

    /// True when a new SYN may start the flow anew on another server: the connection it remembers
    /// has ended (IPVS: `conn_reuse_mode` 1).
    #[inline]
    #[must_use]
    pub const fn may_be_reused(&self) -> bool {
        match self.tcp_state() {
            Some(state) => state.may_be_reused(),
            None => false,
        }
    }
}
