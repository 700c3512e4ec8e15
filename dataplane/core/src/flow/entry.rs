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
//! server  0                            28    32
//!         +----------------------------+-----+
//!         | slot                       |count|    of the client's packets, while there are few
//!         +----------------------------+-----+
//! ```
//!
//! `oport` is a port on the server's side: FullNAT's local one, NAT's real server's. `local` is
//! FullNAT's local address of IPv4; of a flow by another method, and of FullNAT's reply, it is the
//! flow's persistence template. A one-way flow (DR, TUN) is one entry. Where replies pass the director (NAT, FullNAT) a second
//! one, keyed by the reply's tuple, leads to the first, which alone has state and lifetime.
//! Addresses and ports are kept as the packet has them, so that a plain packet is compared
//! without any conversion.

mod head;

use weir_wire::Addr;

use super::Tuple;
use crate::service::{Method, Protocol};

pub(super) use head::AWAY_MAX;
use head::protocol_of;
pub(crate) use head::{Head, PACKETS_MAX, key_tag};

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

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
