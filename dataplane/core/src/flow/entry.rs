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
//! FullNAT's local address of IPv4 (that of IPv6 stands in the reply's entry); of a flow by another
//! method, and of FullNAT's reply, it is the flow's persistence template. A one-way flow (DR, TUN) is one entry. Where replies pass the director (NAT, FullNAT) a second
//! one, keyed by the reply's tuple, leads to the first, which alone has state and lifetime.
//! Addresses and ports are kept as the packet has them, so that a plain packet is compared
//! without any conversion.

mod head;

use weir_wire::plain::{Ip, V4, V6};

use super::Tuple;
use crate::service::{Method, Protocol};

pub(super) use head::AWAY_MAX;
use head::protocol_of;
pub(crate) use head::{Head, PACKETS_MAX, key_tag};

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// What a packet is found by: its bytes, as numbers of the machine's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key<I: Ip> {
    pub(crate) addrs: I::Addrs,
    /// See [`key_tag`].
    pub(crate) tag: u64,
}

impl<I: Ip> Key<I> {
    /// Of no packet.
    pub(crate) const NONE: Self = Self {
        addrs: I::NOBODYS,
        tag: 0,
    };

    /// Of a packet with these addresses, the source first, and ports, all as packets have them.
    #[inline(always)]
    pub(crate) fn new(ends: [I::Addr; 2], ports: [u16; 2], protocol: Protocol) -> Self {
        let ([i, j], [k, l]) = (ports[0].to_ne_bytes(), ports[1].to_ne_bytes());
        Self {
            addrs: I::both(ends),
            tag: key_tag(u32::from_ne_bytes([i, j, k, l]), protocol),
        }
    }

    /// Of a packet with this tuple, which is of this family.
    #[inline]
    pub(crate) fn of(tuple: &Tuple) -> Self {
        let ports = [tuple.src_port, tuple.dst_port].map(u16::to_be);
        let ends = [tuple.src, tuple.dst].map(I::addr_of);
        Self::new(ends, ports, tuple.protocol)
    }

    /// Source and destination address, as packets have them.
    #[inline(always)]
    pub(crate) fn ends(&self) -> [I::Addr; 2] {
        I::ends(self.addrs)
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

    /// In words.
    pub(crate) fn tuple(&self) -> Tuple {
        let ([src, dst], [src_port, dst_port]) = (self.ends(), self.ports());
        Tuple {
            src: I::addr(src),
            dst: I::addr(dst),
            src_port: u16::from_be(src_port),
            dst_port: u16::from_be(dst_port),
            protocol: self.protocol(),
        }
    }
}

/// An entry of either family.
pub(crate) trait Entry: Copy {
    /// The family.
    type Ip: Ip;

    /// Entries in a cache line.
    const PER_LINE: usize;
    /// How full a table of them is when it holds all it may and each flow has two entries, in
    /// percent. Higher: more entries are away from home, and each of those costs a line more; much
    /// higher, and some would find no place.
    const FULL_PERCENT: usize;
    /// The content of a free place.
    const FREE: Self;

    /// The hash of a key under a seed: both halves are used, for two places.
    fn hash(key: &Key<Self::Ip>, seed: [u64; 2]) -> u64;

    /// A new entry under `key` without link; for a reply `server` and `method` are those of its
    /// request.
    fn new(key: Key<Self::Ip>, method: Method, is_reply: bool, server: u32) -> Self;

    /// 0 when a packet of this key belongs to it.
    fn differs(&self, key: &Key<Self::Ip>) -> u64;

    /// True when a packet of this key belongs to it.
    #[inline(always)]
    fn is_under(&self, key: &Key<Self::Ip>) -> bool {
        self.differs(key) == 0
    }

    /// What it is found by.
    fn own_key(&self) -> Key<Self::Ip>;

    /// Source and destination address, as packets have them.
    #[inline(always)]
    fn ends(&self) -> [<Self::Ip as Ip>::Addr; 2] {
        self.own_key().ends()
    }

    /// The key in words.
    fn tuple(&self) -> Tuple {
        self.own_key().tuple()
    }

    /// Notes of a NAT or FullNAT request what of its reply's key cannot be told otherwise.
    #[inline(always)]
    fn note_reply(&mut self, reply: &Key<Self::Ip>, method: Method) {
        let ([_, to], [server_port, to_port]) = (reply.ends(), reply.ports());
        if matches!(method, Method::FullNat) {
            self.set_local(to);
            self.head_mut().set_other_port(to_port);
        } else {
            self.head_mut().set_other_port(server_port);
        }
    }

    /// Notes FullNAT's local address, where a request has room for it.
    fn set_local(&mut self, addr: <Self::Ip as Ip>::Addr);

    fn head(&self) -> &Head;
    fn head_mut(&mut self) -> &mut Head;
}

/// An entry of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(crate) struct Entry4 {
    /// Source and destination address, as the packet has them.
    addrs: u64,
    head: Head,
}

const _: () = assert!(size_of::<Entry4>() == 32);

impl Entry for Entry4 {
    type Ip = V4;

    const PER_LINE: usize = 2;
    const FULL_PERCENT: usize = 64;
    const FREE: Self = Self {
        addrs: 0,
        head: Head::FREE,
    };

    #[inline(always)]
    fn hash(key: &Key<V4>, [low, high]: [u64; 2]) -> u64 {
        // Once is not enough: under some seeds addresses that follow each other would crowd some
        // lines, as the product of a progression is one.
        fold(fold(key.addrs ^ low, key.tag ^ high), MIX)
    }

    fn new(key: Key<V4>, method: Method, is_reply: bool, server: u32) -> Self {
        Self {
            addrs: key.addrs,
            head: Head::new(key.tag, method, is_reply, server),
        }
    }

    #[inline(always)]
    fn differs(&self, key: &Key<V4>) -> u64 {
        (self.addrs ^ key.addrs) | (self.head.key_tag() ^ key.tag)
    }

    #[inline(always)]
    fn own_key(&self) -> Key<V4> {
        Key {
            addrs: self.addrs,
            tag: self.head.key_tag(),
        }
    }

    #[inline(always)]
    fn set_local(&mut self, addr: u32) {
        self.head.local = addr;
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
    /// Source and destination address, as the packet has them.
    addrs: [u128; 2],
    head: Head,
}

const _: () = assert!(size_of::<Entry6>() == 64);

impl Entry for Entry6 {
    type Ip = V6;

    const PER_LINE: usize = 1;
    const FULL_PERCENT: usize = 70;
    const FREE: Self = Self {
        addrs: [0; 2],
        head: Head::FREE,
    };

    #[inline(always)]
    fn hash(key: &Key<V6>, [low, high]: [u64; 2]) -> u64 {
        let [src, dst] = key.addrs;
        let near = fold(src as u64 ^ low, dst as u64 ^ high);
        let far = fold(
            (src >> 64) as u64 ^ high,
            (dst >> 64) as u64 ^ key.tag ^ low,
        );
        fold(near ^ MIX, far ^ near.rotate_left(32))
    }

    fn new(key: Key<V6>, method: Method, is_reply: bool, server: u32) -> Self {
        Self {
            addrs: key.addrs,
            head: Head::new(key.tag, method, is_reply, server),
        }
    }

    #[inline(always)]
    fn differs(&self, key: &Key<V6>) -> u64 {
        let [src, dst] = self.addrs;
        let addrs = (src ^ key.addrs[0]) | (dst ^ key.addrs[1]);
        addrs as u64 | (addrs >> 64) as u64 | (self.head.key_tag() ^ key.tag)
    }

    #[inline(always)]
    fn own_key(&self) -> Key<V6> {
        Key {
            addrs: self.addrs,
            tag: self.head.key_tag(),
        }
    }

    #[inline(always)]
    fn set_local(&mut self, _: u128) {}

    #[inline(always)]
    fn head(&self) -> &Head {
        &self.head
    }

    #[inline(always)]
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a 128-bit product, folded: every input bit reaches every output bit.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
