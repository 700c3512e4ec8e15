//! What entries of both families have.

use super::NONE;
use crate::flow::ftp::Role;
use crate::flow::{State, TcpState};
use crate::persist::TemplateId;
use crate::service::{Method, Protocol, ServerId};
use crate::time::Tick;

/// The part that both families have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Head {
    /// Ports (as the packet has them), a port on the server's side (likewise), state, the count of
    /// entries away (see [`Head::away`]), and bits.
    tag: u64,
    /// When the flow ends if no packet comes; of requests only.
    pub(crate) expires: Tick,
    /// The real server's slot and a count: see [`Head::server`] and [`Head::packets`].
    server: u32,
    /// The place of the other direction's entry, [`NONE`] if there is none.
    pub(crate) link: u32,
    /// FullNAT: the local address of IPv4, as the packet has it. Otherwise the persistence template
    /// or what FTP makes of the flow: see [`Head::template`] and [`Head::role`].
    pub(crate) local: u32,
}

const PORTS: u64 = 0xffff_ffff;
const OTHER_PORT_SHIFT: u32 = 32;
const STATE_SHIFT: u32 = 48;
const STATE: u64 = 0xf << STATE_SHIFT;
const AWAY_SHIFT: u32 = 52;
const AWAY: u64 = 0xf << AWAY_SHIFT;
const LIVE: u64 = 1 << 56;
const REPLY: u64 = 1 << 57;
const PROTOCOL_SHIFT: u32 = 58;
const PROTOCOL: u64 = 0b11 << PROTOCOL_SHIFT;
const METHOD_SHIFT: u32 = 60;
const METHOD: u64 = 0b11 << METHOD_SHIFT;
const CONTROLLED: u64 = 1 << 62;
const SPECIAL: u64 = 1 << 63;

/// The part of a server's word that is its slot. `limits.servers` is far below it.
const SLOT: u32 = (1 << PACKETS_SHIFT) - 1;
const PACKETS_SHIFT: u32 = 28;

/// A client's packets are counted no further: see [`Head::packets`].
pub(crate) const PACKETS_MAX: u8 = 9;

/// Of a local address that is none but says that this is a data connection of FTP. There are fewer
/// templates.
const DATA: u32 = 1 << 31;

/// Counted no further: see [`Head::away`].
pub(in crate::flow) const AWAY_MAX: u8 = 15;

/// What of a tag belongs to the key.
const KEY: u64 = PORTS | LIVE | PROTOCOL;

/// The key's part of the tag: both ports, as the packet has them, and the protocol.
#[inline(always)]
pub(crate) const fn key_tag(ports: u32, protocol: Protocol) -> u64 {
    ports as u64 | LIVE | (protocol as u64) << PROTOCOL_SHIFT
}

#[inline(always)]
pub(super) const fn protocol_of(tag: u64) -> Protocol {
    match (tag & PROTOCOL) >> PROTOCOL_SHIFT {
        0 => Protocol::Tcp,
        1 => Protocol::Udp,
        _ => Protocol::Sctp,
    }
}

impl Head {
    pub(super) const FREE: Self = Self {
        tag: 0,
        expires: Tick(0),
        server: SLOT,
        link: NONE,
        local: 0,
    };

    pub(super) const fn new(key: u64, method: Method, is_reply: bool, server: u32) -> Self {
        let reply = if is_reply { REPLY } else { 0 };
        Self {
            tag: key | reply | (method as u64) << METHOD_SHIFT,
            server: server & SLOT,
            ..Self::FREE
        }
    }

    /// The real server's slot, for looking things up; of [`ServerId::NONE`] one that is nobody's.
    #[inline(always)]
    pub(crate) const fn slot(&self) -> u32 {
        self.server & SLOT
    }

    /// The real server.
    #[inline]
    pub(crate) const fn server(&self) -> ServerId {
        match self.slot() {
            SLOT => ServerId::NONE,
            slot => ServerId(slot),
        }
    }

    /// How many packets the client has sent; of requests only, and [`PACKETS_MAX`] of all that are
    /// more.
    pub(crate) const fn packets(&self) -> u8 {
        (self.server >> PACKETS_SHIFT) as u8
    }

    /// Counts a packet of the client.
    #[inline(always)]
    pub(crate) const fn count_packet(&mut self) {
        const MOST: u32 = (PACKETS_MAX as u32) << PACKETS_SHIFT;
        if self.server < MOST {
            self.server += 1 << PACKETS_SHIFT;
        }
    }

    #[inline(always)]
    pub(crate) const fn is_live(&self) -> bool {
        self.tag & LIVE != 0
    }

    #[inline(always)]
    pub(crate) const fn is_reply(&self) -> bool {
        self.tag & REPLY != 0
    }

    #[inline(always)]
    pub(crate) const fn is_request(&self) -> bool {
        self.tag & (LIVE | REPLY) == LIVE
    }

    #[inline(always)]
    pub(super) const fn key_tag(&self) -> u64 {
        self.tag & KEY
    }

    /// Both ports, as the packet has them.
    #[inline(always)]
    pub(crate) const fn ports(&self) -> u32 {
        self.tag as u32
    }

    /// As packets have it: with FullNAT the local port, with NAT the real server's.
    #[inline(always)]
    pub(crate) const fn other_port(&self) -> u16 {
        (self.tag >> OTHER_PORT_SHIFT) as u16
    }

    /// Notes it, as the packet has it.
    pub(in crate::flow) const fn set_other_port(&mut self, port: u16) {
        self.tag = self.tag & !(0xffff << OTHER_PORT_SHIFT) | (port as u64) << OTHER_PORT_SHIFT;
    }

    /// The persistence template that this entry notes: a request's unless the method is FullNAT, a
    /// reply's if it is.
    #[inline]
    pub(crate) const fn template(&self) -> Option<TemplateId> {
        let has_other = matches!(self.method(), Method::FullNat) != self.is_reply();
        match self.local {
            0 => None,
            _ if has_other || self.is_special() => None,
            at if at & DATA != 0 => None,
            at => Some(TemplateId(at - 1)),
        }
    }

    pub(in crate::flow) const fn set_template(&mut self, template: TemplateId) {
        self.local = template.0 + 1;
    }

    #[inline(always)]
    pub(crate) const fn protocol(&self) -> Protocol {
        protocol_of(self.tag)
    }

    #[inline(always)]
    pub(crate) const fn method(&self) -> Method {
        match (self.tag & METHOD) >> METHOD_SHIFT {
            0 => Method::Nat,
            1 => Method::Dr,
            2 => Method::Tun,
            _ => Method::FullNat,
        }
    }

    /// The number of the state among those of the protocol.
    #[inline(always)]
    const fn state_index(&self) -> u8 {
        (self.tag >> STATE_SHIFT) as u8 & 0xf
    }

    #[inline(always)]
    pub(crate) const fn state(&self) -> State {
        State::of(self.protocol(), self.state_index())
    }

    /// Of a TCP flow.
    #[inline(always)]
    pub(crate) const fn tcp_state(&self) -> TcpState {
        TcpState::from_index(self.state_index())
    }

    /// See [`Flow::is_controlled`](crate::flow::Flow::is_controlled).
    #[inline(always)]
    pub(crate) const fn is_controlled(&self) -> bool {
        self.tag & CONTROLLED != 0
    }

    pub(in crate::flow) const fn set_controlled(&mut self) {
        self.tag |= CONTROLLED;
    }

    /// True for FTP's control connections, whose packets need more than the short way gives.
    #[inline(always)]
    pub(crate) const fn is_special(&self) -> bool {
        self.tag & SPECIAL != 0
    }

    /// What FTP makes of a request's flow.
    pub(in crate::flow) const fn role(&self) -> Role {
        if self.is_special() {
            Role::Control(self.local)
        } else if self.local & DATA != 0 && !matches!(self.method(), Method::FullNat) {
            Role::Data(self.local & !DATA)
        } else {
            Role::Plain
        }
    }

    /// Notes it of a NAT flow. The template of a control connection is kept elsewhere then.
    pub(in crate::flow) const fn set_role(&mut self, role: Role) {
        match role {
            Role::Plain => {}
            Role::Control(at) => {
                self.tag |= SPECIAL;
                self.local = at;
            }
            Role::Data(at) => self.local = at | DATA,
        }
    }

    /// True for established TCP that is not special.
    #[inline(always)]
    pub(crate) const fn is_established(&self) -> bool {
        const OF_TCP: u64 = (TcpState::Established as u64) << STATE_SHIFT
            | (Protocol::Tcp as u64) << PROTOCOL_SHIFT;
        self.tag & (STATE | PROTOCOL | SPECIAL) == OF_TCP
    }

    /// True for a UDP flow under a template that no server's packet of it has vouched for.
    #[inline(always)]
    pub(crate) const fn awaits_reply(&self) -> bool {
        // The state of UDP is no TCP state.
        self.tag & STATE != 0
    }

    pub(in crate::flow) const fn set_awaits_reply(&mut self, awaits: bool) {
        self.tag = self.tag & !STATE | (awaits as u64) << STATE_SHIFT;
    }

    #[inline]
    pub(crate) const fn set_state(&mut self, state: State) {
        self.tag = self.tag & !STATE | (state.index() as u64) << STATE_SHIFT;
    }

    /// Of the first entry of a line: how many entries have their home in the line and found no
    /// place in it.
    #[inline(always)]
    pub(in crate::flow) const fn away(&self) -> u8 {
        (self.tag >> AWAY_SHIFT) as u8 & 0xf
    }

    pub(in crate::flow) const fn set_away(&mut self, away: u8) {
        self.tag = self.tag & !AWAY | (away as u64) << AWAY_SHIFT;
    }
}
