//! What is stored of a flow: 32 bytes a direction for IPv4, 64 for IPv6.
//!
//! ```text
//! Entry4  0               8               16      20      24      28      32
//!         +---------------+---------------+-------+-------+-------+-------+
//!         | src, dst      | tag           |expires|server | link  | local |
//!         +---------------+---------------+-------+-------+-------+-------+
//! Entry6  0               16              32              40              56    64
//!         +---------------+---------------+---------------+---------------+-----+
//!         | src           | dst           | tag           | expires ...   |spare|
//!         +---------------+---------------+---------------+---------------+-----+
//! tag     0               32     48   52   56     64
//!         +---------------+------+----+----+------+    what a packet is compared
//!         | ports         |oport |stat|away| bits |    with: ports and some of bits
//!         +---------------+------+----+----+------+
//! ```
//!
//! `oport` is a port on the server's side: FullNAT's local one, NAT's real server's. `local` is
//! FullNAT's local address of IPv4; of a flow by another method, and of FullNAT's reply, it is the
//! flow's persistence template. A one-way flow (DR, TUN) is one entry. Where replies pass the director (NAT, FullNAT) a second
//! one, keyed by the reply's tuple, leads to the first, which alone has state and lifetime.
//! Addresses and ports are kept as the packet has them, so that a plain packet is compared
//! without any conversion.

use weir_wire::Addr;

use super::ftp::Role;
use super::{State, TcpState, Tuple};
use crate::persist::TemplateId;
use crate::service::{Method, Protocol};
use crate::time::Tick;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// The part that both families have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Head {
    /// Ports (as the packet has them), a port on the server's side (likewise), state, the count of
    /// entries away (see [`Head::away`]), and bits.
    tag: u64,
    /// When the flow ends if no packet comes; of requests only.
    pub(crate) expires: Tick,
    /// The real server's slot.
    pub(crate) server: u32,
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

/// Of a local address that is none but says that this is a data connection of FTP. There are fewer
/// templates.
const DATA: u32 = 1 << 31;

/// Counted no further: see [`Head::away`].
pub(super) const AWAY_MAX: u8 = 15;

/// What of a tag belongs to the key.
const KEY: u64 = PORTS | LIVE | PROTOCOL;

/// The key's part of the tag: both ports, as the packet has them, and the protocol.
#[inline(always)]
pub(crate) const fn key_tag(ports: u32, protocol: Protocol) -> u64 {
    ports as u64 | LIVE | (protocol as u64) << PROTOCOL_SHIFT
}

#[inline(always)]
const fn protocol_of(tag: u64) -> Protocol {
    match (tag & PROTOCOL) >> PROTOCOL_SHIFT {
        0 => Protocol::Tcp,
        1 => Protocol::Udp,
        _ => Protocol::Sctp,
    }
}

impl Head {
    const FREE: Self = Self {
        tag: 0,
        expires: Tick(0),
        server: u32::MAX,
        link: NONE,
        local: 0,
    };

    const fn new(key: u64, method: Method, is_reply: bool, server: u32) -> Self {
        let reply = if is_reply { REPLY } else { 0 };
        Self {
            tag: key | reply | (method as u64) << METHOD_SHIFT,
            server,
            ..Self::FREE
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
    const fn key_tag(&self) -> u64 {
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
    pub(super) const fn set_other_port(&mut self, port: u16) {
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

    pub(super) const fn set_template(&mut self, template: TemplateId) {
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

    /// See [`Flow::is_controlled`](super::Flow::is_controlled).
    #[inline(always)]
    pub(crate) const fn is_controlled(&self) -> bool {
        self.tag & CONTROLLED != 0
    }

    pub(super) const fn set_controlled(&mut self) {
        self.tag |= CONTROLLED;
    }

    /// True for FTP's control connections, whose packets need more than the short way gives.
    #[inline(always)]
    pub(crate) const fn is_special(&self) -> bool {
        self.tag & SPECIAL != 0
    }

    /// What FTP makes of a request's flow.
    pub(super) const fn role(&self) -> Role {
        if self.is_special() {
            Role::Control(self.local)
        } else if self.local & DATA != 0 && !matches!(self.method(), Method::FullNat) {
            Role::Data(self.local & !DATA)
        } else {
            Role::Plain
        }
    }

    /// Notes it of a NAT flow. The template of a control connection is kept elsewhere then.
    pub(super) const fn set_role(&mut self, role: Role) {
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

    pub(super) const fn set_awaits_reply(&mut self, awaits: bool) {
        self.tag = self.tag & !STATE | (awaits as u64) << STATE_SHIFT;
    }

    #[inline]
    pub(crate) const fn set_state(&mut self, state: State) {
        self.tag = self.tag & !STATE | (state.index() as u64) << STATE_SHIFT;
    }

    /// Of the first entry of a line: how many entries have their home in the line and found no
    /// place in it.
    #[inline(always)]
    pub(super) const fn away(&self) -> u8 {
        (self.tag >> AWAY_SHIFT) as u8 & 0xf
    }

    pub(super) const fn set_away(&mut self, away: u8) {
        self.tag = self.tag & !AWAY | (away as u64) << AWAY_SHIFT;
    }
}

/// An entry of either family.
pub(crate) trait Entry: Copy {
    /// What it is found by.
    type Key: Copy + core::fmt::Debug;

    /// Entries in a cache line.
    const PER_LINE: usize;
    /// How full a table of them is when it holds all it may and each flow has two entries, in
    /// percent. Higher: more entries are away from home, and each of those costs a line more; much
    /// higher, and some would find no place.
    const FULL_PERCENT: usize;
    /// The content of a free place.
    const FREE: Self;

    /// The key of a tuple of this family.
    fn key(tuple: &Tuple) -> Self::Key;

    /// The hash of a key under a seed: both halves are used, for two places.
    fn hash(key: &Self::Key, seed: [u64; 2]) -> u64;

    /// A new entry under `key` without link; for a reply `server` and `method` are those of its
    /// request.
    fn new(key: Self::Key, method: Method, is_reply: bool, server: u32) -> Self;

    /// 0 when a packet of this key belongs to it.
    fn differs(&self, key: &Self::Key) -> u64;

    /// True when a packet of this key belongs to it.
    #[inline(always)]
    fn is_under(&self, key: &Self::Key) -> bool {
        self.differs(key) == 0
    }

    /// What it is found by.
    fn own_key(&self) -> Self::Key;

    /// The key in words.
    fn tuple(&self) -> Tuple;

    /// Notes FullNAT's local end of a request.
    fn set_local(&mut self, addr: Addr, port: u16);

    fn head(&self) -> &Head;
    fn head_mut(&mut self) -> &mut Head;
}

/// An entry of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(crate) struct Entry4 {
    /// Source and destination address, as the packet has them.
    pub(crate) addrs: u64,
    pub(crate) head: Head,
}

const _: () = assert!(size_of::<Entry4>() == 32);

/// What an IPv4 packet is found by: its bytes, as numbers of the machine's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key4 {
    pub(crate) addrs: u64,
    /// See [`key_tag`].
    pub(crate) tag: u64,
}

impl Key4 {
    /// Of a packet with these addresses, the source first, and ports, all as packets have them.
    #[inline(always)]
    pub(crate) const fn new(addrs: [u32; 2], ports: [u16; 2], protocol: Protocol) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (addrs[0].to_ne_bytes(), addrs[1].to_ne_bytes());
        let ([i, j], [k, l]) = (ports[0].to_ne_bytes(), ports[1].to_ne_bytes());
        Self {
            addrs: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            tag: key_tag(u32::from_ne_bytes([i, j, k, l]), protocol),
        }
    }

    /// Source and destination address, as packets have them.
    #[inline(always)]
    pub(crate) const fn ends(&self) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = self.addrs.to_ne_bytes();
        [
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
        ]
    }

    /// Source and destination port, as packets have them.
    #[inline(always)]
    pub(crate) const fn ports(&self) -> [u16; 2] {
        let [a, b, c, d] = (self.tag as u32).to_ne_bytes();
        [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
    }

    /// The transport protocol.
    #[inline(always)]
    pub(crate) const fn protocol(&self) -> Protocol {
        protocol_of(self.tag)
    }

    pub(crate) fn tuple(&self) -> Tuple {
        Entry4::new(*self, Method::Nat, false, 0).tuple()
    }
}

impl Entry4 {
    /// Notes of a NAT or FullNAT request what of its reply's key cannot be told otherwise.
    #[inline(always)]
    pub(super) const fn note_reply(&mut self, reply: &Key4, method: Method) {
        let ([_, to], [server_port, to_port]) = (reply.ends(), reply.ports());
        if matches!(method, Method::FullNat) {
            self.head.local = to;
            self.head.set_other_port(to_port);
        } else {
            self.head.set_other_port(server_port);
        }
    }
}

impl Entry for Entry4 {
    type Key = Key4;

    const PER_LINE: usize = 2;
    const FULL_PERCENT: usize = 64;
    const FREE: Self = Self {
        addrs: 0,
        head: Head::FREE,
    };

    #[inline]
    fn key(tuple: &Tuple) -> Key4 {
        let [a, b, c, d] = tuple.src.v4_bytes();
        let [e, f, g, h] = tuple.dst.v4_bytes();
        Key4 {
            addrs: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            tag: tag_of(tuple),
        }
    }

    #[inline(always)]
    fn hash(key: &Key4, [low, high]: [u64; 2]) -> u64 {
        // Once is not enough: under some seeds addresses that follow each other would crowd some
        // lines, as the product of a progression is one.
        fold(fold(key.addrs ^ low, key.tag ^ high), MIX)
    }

    fn new(key: Key4, method: Method, is_reply: bool, server: u32) -> Self {
        Self {
            addrs: key.addrs,
            head: Head::new(key.tag, method, is_reply, server),
        }
    }

    #[inline(always)]
    fn differs(&self, key: &Key4) -> u64 {
        (self.addrs ^ key.addrs) | (self.head.key_tag() ^ key.tag)
    }

    #[inline]
    fn own_key(&self) -> Key4 {
        Key4 {
            addrs: self.addrs,
            tag: self.head.key_tag(),
        }
    }

    fn tuple(&self) -> Tuple {
        let [a, b, c, d, e, f, g, h] = self.addrs.to_ne_bytes();
        let (src, dst) = ([a, b, c, d], [e, f, g, h]);
        tuple(
            Addr::from_v4_bytes(src),
            Addr::from_v4_bytes(dst),
            &self.head,
        )
    }

    fn set_local(&mut self, addr: Addr, port: u16) {
        self.head.local = u32::from_ne_bytes(addr.v4_bytes());
        self.head.set_other_port(port.to_be());
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        &self.head
    }

    #[inline(always)]
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}

/// An entry of IPv6, a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Entry6 {
    src: u128,
    dst: u128,
    head: Head,
}

const _: () = assert!(size_of::<Entry6>() == 64);

/// What an IPv6 packet is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key6 {
    src: u128,
    dst: u128,
    tag: u64,
}

impl Entry for Entry6 {
    type Key = Key6;

    const PER_LINE: usize = 1;
    const FULL_PERCENT: usize = 70;
    const FREE: Self = Self {
        src: 0,
        dst: 0,
        head: Head::FREE,
    };

    #[inline]
    fn key(tuple: &Tuple) -> Key6 {
        Key6 {
            src: tuple.src.0,
            dst: tuple.dst.0,
            tag: tag_of(tuple),
        }
    }

    #[inline]
    fn hash(key: &Key6, [low, high]: [u64; 2]) -> u64 {
        let near = fold(key.src as u64 ^ low, key.dst as u64 ^ high);
        let far = fold(
            (key.src >> 64) as u64 ^ high,
            (key.dst >> 64) as u64 ^ key.tag ^ low,
        );
        fold(near ^ MIX, far ^ near.rotate_left(32))
    }

    fn new(key: Key6, method: Method, is_reply: bool, server: u32) -> Self {
        Self {
            src: key.src,
            dst: key.dst,
            head: Head::new(key.tag, method, is_reply, server),
        }
    }

    #[inline]
    fn differs(&self, key: &Key6) -> u64 {
        let addrs = (self.src ^ key.src) | (self.dst ^ key.dst);
        addrs as u64 | (addrs >> 64) as u64 | (self.head.key_tag() ^ key.tag)
    }

    #[inline]
    fn own_key(&self) -> Key6 {
        Key6 {
            src: self.src,
            dst: self.dst,
            tag: self.head.key_tag(),
        }
    }

    fn tuple(&self) -> Tuple {
        tuple(Addr(self.src), Addr(self.dst), &self.head)
    }

    fn set_local(&mut self, _: Addr, port: u16) {
        // The address stands in the reply's key.
        self.head.set_other_port(port.to_be());
    }

    #[inline]
    fn head(&self) -> &Head {
        &self.head
    }

    #[inline]
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}

#[inline]
fn tag_of(tuple: &Tuple) -> u64 {
    let ([a, b], [c, d]) = (tuple.src_port.to_be_bytes(), tuple.dst_port.to_be_bytes());
    key_tag(u32::from_ne_bytes([a, b, c, d]), tuple.protocol)
}

fn tuple(src: Addr, dst: Addr, head: &Head) -> Tuple {
    let [a, b, c, d] = head.ports().to_ne_bytes();
    Tuple {
        src,
        dst,
        src_port: u16::from_be_bytes([a, b]),
        dst_port: u16::from_be_bytes([c, d]),
        protocol: head.protocol(),
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a 128-bit product, folded: every input bit reaches every output bit.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
