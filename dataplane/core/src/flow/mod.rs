//! Flows: what is remembered of a connection, in which state it is and when it ends.

pub(crate) mod entry;
pub(crate) mod family;
pub(crate) mod ftp;
pub mod sctp;
mod state;
pub mod table;
pub mod tcp;
mod timeout;

pub use sctp::SctpState;
pub use state::{Signal, State};
pub use table::{Direction, Expired, FlowId, FlowTable, NewFlow};
pub use tcp::TcpState;
pub use timeout::Timeouts;

use weir_wire::Addr;

use crate::persist::TemplateId;
use crate::service::{Method, Protocol, Server, ServerId, ServiceKey};
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
            mark: 0,
        }
    }
}

/// One flow, as it stands in the table at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    request: Tuple,
    server: ServerId,
    method: Method,
    state: State,
    is_controlled: bool,
    role: ftp::Role,
    /// FTP: data connections of it are in the table.
    has_data: bool,
    packets: u8,
    expires: Tick,
    has_local: bool,
    local_port: u16,
    local_addr: Addr,
    /// NAT: the real server's port.
    nat_port: u16,
    template: Option<TemplateId>,
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

    /// How many packets the client has sent; 9 of all that are more.
    #[must_use]
    pub const fn packets(&self) -> u8 {
        self.packets
    }

    /// True for a control connection of FTP that has data connections.
    pub(crate) const fn has_data(&self) -> bool {
        self.has_data
    }

    /// What FTP makes of it.
    pub(crate) const fn role(&self) -> ftp::Role {
        self.role
    }

    /// FullNAT: the director's address and port that the real server sees as its client.
    #[must_use]
    pub const fn local(&self) -> Option<(Addr, u16)> {
        // An option of both would take half as much again of the whole.
        if self.has_local {
            Some((self.local_addr, self.local_port))
        } else {
            None
        }
    }

    /// The real server's port that its packets go to, when `server` is its server. It is not always
    /// the one configured: a server of every port or of a mark is reached at the client's.
    #[inline]
    #[must_use]
    pub const fn dest_port(&self, server: &Server) -> u16 {
        match self.method {
            Method::Nat => self.nat_port,
            Method::FullNat if server.port != 0 => server.port,
            // These leave the packet's port as it is.
            Method::FullNat | Method::Dr | Method::Tun => self.request.dst_port,
        }
    }

    /// The persistence template that chose its server.
    #[inline]
    #[must_use]
    pub const fn template(&self) -> Option<TemplateId> {
        self.template
    }

    /// Where it stands.
    #[inline]
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// True when another connection brought it about, as FTP's control connection its data
    /// connections: what opens a connection does not start it anew on another server.
    #[inline]
    #[must_use]
    pub const fn is_controlled(&self) -> bool {
        self.is_controlled
    }

    /// True while the flow counts as active: see [`State::is_active`].
    #[inline]
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.state.is_active()
    }

    /// When it ends, or ended, if no packet comes.
    #[inline]
    #[must_use]
    pub const fn expires(&self) -> Tick {
        self.expires
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
}
