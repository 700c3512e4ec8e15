//! What is stored of a flow: 32 bytes a direction for IPv4, 64 for IPv6.
//!
//! ```text
//! Entry4  0               8       12      16      20      24      28    30 31
//!         +---------------+-------+-------+-------+-------+-------+-----+--+--+
//!         | src, dst      | ports | local |expires|server | link  |lport|st|bi|
//!         +---------------+-------+-------+-------+-------+-------+-----+--+--+
//! Entry6  0               16              32      36      48 (as above)       64
//!         +---------------+---------------+-------+-------+-------------------+
//!         | src           | dst           | ports | spare | expires ... bits  |
//!         +---------------+---------------+-------+-------+-------------------+
//! ```
//!
//! A one-way flow (DR, TUN) is one entry. Where replies pass the director (NAT, FullNAT) a second
//! one, keyed by the reply's tuple, leads to the first, which alone has state and lifetime.
//! Addresses and ports are kept as the packet has them, so that a plain packet is compared
//! without any conversion.

use weir_wire::Addr;

use super::{TcpState, Tuple};
use crate::service::{Method, Protocol};
use crate::time::Tick;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// The part that both families have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Head {
    /// When the flow ends if no packet comes; of requests only.
    pub(crate) expires: Tick,
    /// The real server's slot.
    pub(crate) server: u32,
    /// The place of the other direction's entry, [`NONE`] if there is none.
    pub(crate) link: u32,
    /// FullNAT: the local port, in the packet's byte order.
    pub(crate) local_port: u16,
    /// The TCP state in the low four bits. In the first entry of a line, the high four count the
    /// entries whose home the line is and that found no place in it.
    state: u8,
    /// See the constants.
    bits: u8,
}

const STATE: u8 = 0x0f;
/// Counted no further: see [`Head::state`].
pub(super) const AWAY_MAX: u8 = 15;

const LIVE: u8 = 1;
const REPLY: u8 = 1 << 1;
const PROTOCOL_SHIFT: u8 = 2;
const PROTOCOL: u8 = 0b11 << PROTOCOL_SHIFT;
const METHOD_SHIFT: u8 = 4;
const METHOD: u8 = 0b11 << METHOD_SHIFT;

impl Head {
    const FREE: Self = Self {
        expires: Tick(0),
        server: u32::MAX,
        link: NONE,
        local_port: 0,
        state: 0,
        bits: 0,
    };

    const fn new(protocol: Protocol, method: Method, is_reply: bool, server: u32) -> Self {
        let reply = if is_reply { REPLY } else { 0 };
        Self {
            server,
            bits: LIVE
                | reply
                | (protocol as u8) << PROTOCOL_SHIFT
                | (method as u8) << METHOD_SHIFT,
            ..Self::FREE
        }
    }

    #[inline]
    pub(crate) const fn is_live(&self) -> bool {
        self.bits & LIVE != 0
    }

    #[inline]
    pub(crate) const fn is_reply(&self) -> bool {
        self.bits & REPLY != 0
    }

    #[inline]
    pub(crate) const fn is_request(&self) -> bool {
        self.bits & (LIVE | REPLY) == LIVE
    }

    #[inline]
    pub(crate) const fn protocol(&self) -> Protocol {
        match (self.bits & PROTOCOL) >> PROTOCOL_SHIFT {
            0 => Protocol::Tcp,
            _ => Protocol::Udp,
        }
    }

    #[inline]
    pub(crate) const fn method(&self) -> Method {
        match (self.bits & METHOD) >> METHOD_SHIFT {
            0 => Method::Nat,
            1 => Method::Dr,
            2 => Method::Tun,
            _ => Method::FullNat,
        }
    }

    #[inline]
    pub(crate) const fn tcp_state(&self) -> TcpState {
        TcpState::from_index(self.state & STATE)
    }

    /// True for established TCP.
    #[inline(always)]
    pub(crate) const fn is_established(&self) -> bool {
        self.state & STATE == TcpState::Established as u8
            && self.bits & PROTOCOL == (Protocol::Tcp as u8) << PROTOCOL_SHIFT
    }

    #[inline]
    pub(crate) const fn set_tcp_state(&mut self, state: TcpState) {
        self.state = self.state & !STATE | state as u8;
    }

    /// True when the protocol is this one and the entry is in use.
    #[inline]
    const fn is_of(&self, protocol: Protocol) -> bool {
        self.bits & (LIVE | PROTOCOL) == LIVE | (protocol as u8) << PROTOCOL_SHIFT
    }

    pub(super) const fn away(&self) -> u8 {
        self.state >> 4
    }

    pub(super) const fn set_away(&mut self, away: u8) {
        self.state = self.state & STATE | away << 4;
    }
}

/// An entry of either family.
pub(crate) trait Entry: Copy {
    /// What it is found by.
    type Key: Copy;

    /// Entries in a cache line.
    const PER_LINE: usize;
    /// How full a table of them may be, in percent: with more, some would find no place. Tried
    /// with the tests of `table.rs`.
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

    /// True when a packet of this key belongs to it.
    fn is_under(&self, key: &Self::Key) -> bool;

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
    /// Source and destination address as they stand in the packet.
    pub(crate) addrs: u64,
    /// Source and destination port as they stand in the packet.
    pub(crate) ports: u32,
    /// FullNAT: the local address, in the packet's byte order.
    pub(crate) local: u32,
    pub(crate) head: Head,
}

const _: () = assert!(size_of::<Entry4>() == 32);

/// What an IPv4 packet is found by: its bytes, as numbers of the machine's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key4 {
    pub(crate) addrs: u64,
    pub(crate) ports: u32,
    pub(crate) protocol: Protocol,
}

impl Entry for Entry4 {
    type Key = Key4;

    const PER_LINE: usize = 2;
    const FULL_PERCENT: usize = 80;
    const FREE: Self = Self {
        addrs: 0,
        ports: 0,
        local: 0,
        head: Head::FREE,
    };

    #[inline]
    fn key(tuple: &Tuple) -> Key4 {
        let [a, b, c, d] = tuple.src.v4_bytes();
        let [e, f, g, h] = tuple.dst.v4_bytes();
        Key4 {
            addrs: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            ports: ports_of(tuple),
            protocol: tuple.protocol,
        }
    }

    #[inline]
    fn hash(key: &Key4, [low, high]: [u64; 2]) -> u64 {
        let ports = u64::from(key.ports) | (key.protocol as u64) << 32;
        fold(key.addrs ^ low, ports ^ high)
    }

    fn new(key: Key4, method: Method, is_reply: bool, server: u32) -> Self {
        Self {
            addrs: key.addrs,
            ports: key.ports,
            local: 0,
            head: Head::new(key.protocol, method, is_reply, server),
        }
    }

    #[inline]
    fn is_under(&self, key: &Key4) -> bool {
        self.addrs == key.addrs && self.ports == key.ports && self.head.is_of(key.protocol)
    }

    #[inline]
    fn own_key(&self) -> Key4 {
        Key4 {
            addrs: self.addrs,
            ports: self.ports,
            protocol: self.head.protocol(),
        }
    }

    fn tuple(&self) -> Tuple {
        let [a, b, c, d, e, f, g, h] = self.addrs.to_ne_bytes();
        let (src, dst) = ([a, b, c, d], [e, f, g, h]);
        tuple(
            Addr::from_v4_bytes(src),
            Addr::from_v4_bytes(dst),
            self.ports,
            self.head.protocol(),
        )
    }

    fn set_local(&mut self, addr: Addr, port: u16) {
        self.local = u32::from_ne_bytes(addr.v4_bytes());
        self.head.local_port = port.to_be();
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

/// An entry of IPv6, a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Entry6 {
    src: u128,
    dst: u128,
    ports: u32,
    spare: [u32; 3],
    head: Head,
}

const _: () = assert!(size_of::<Entry6>() == 64);

/// What an IPv6 packet is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key6 {
    src: u128,
    dst: u128,
    ports: u32,
    protocol: Protocol,
}

impl Entry for Entry6 {
    type Key = Key6;

    const PER_LINE: usize = 1;
    const FULL_PERCENT: usize = 70;
    const FREE: Self = Self {
        src: 0,
        dst: 0,
        ports: 0,
        spare: [0; 3],
        head: Head::FREE,
    };

    #[inline]
    fn key(tuple: &Tuple) -> Key6 {
        Key6 {
            src: tuple.src.0,
            dst: tuple.dst.0,
            ports: ports_of(tuple),
            protocol: tuple.protocol,
        }
    }

    #[inline]
    fn hash(key: &Key6, [low, high]: [u64; 2]) -> u64 {
        let ports = u64::from(key.ports) | (key.protocol as u64) << 32;
        let near = fold(key.src as u64 ^ low, key.dst as u64 ^ high);
        let far = fold(
            (key.src >> 64) as u64 ^ high,
            (key.dst >> 64) as u64 ^ ports ^ low,
        );
        fold(near ^ MIX, far ^ near.rotate_left(32))
    }

    fn new(key: Key6, method: Method, is_reply: bool, server: u32) -> Self {
        Self {
            src: key.src,
            dst: key.dst,
            ports: key.ports,
            spare: [0; 3],
            head: Head::new(key.protocol, method, is_reply, server),
        }
    }

    #[inline]
    fn is_under(&self, key: &Key6) -> bool {
        self.ports == key.ports
            && self.src == key.src
            && self.dst == key.dst
            && self.head.is_of(key.protocol)
    }

    #[inline]
    fn own_key(&self) -> Key6 {
        Key6 {
            src: self.src,
            dst: self.dst,
            ports: self.ports,
            protocol: self.head.protocol(),
        }
    }

    fn tuple(&self) -> Tuple {
        tuple(
            Addr(self.src),
            Addr(self.dst),
            self.ports,
            self.head.protocol(),
        )
    }

    fn set_local(&mut self, _: Addr, port: u16) {
        // The address stands in the reply's key.
        self.head.local_port = port.to_be();
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

/// Both ports in the order and bytes of the packet.
#[inline]
fn ports_of(tuple: &Tuple) -> u32 {
    let ([a, b], [c, d]) = (tuple.src_port.to_be_bytes(), tuple.dst_port.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

fn tuple(src: Addr, dst: Addr, ports: u32, protocol: Protocol) -> Tuple {
    let [a, b, c, d] = ports.to_ne_bytes();
    Tuple {
        src,
        dst,
        src_port: u16::from_be_bytes([a, b]),
        dst_port: u16::from_be_bytes([c, d]),
        protocol,
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a 128-bit product, folded: every input bit reaches every output bit.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
