//! Marks: rules that say which packets belong together, whatever their addresses and ports, so that a
//! service can be had for a mark (LVS's firewall marks).
//!
//! The first rule that matches sets the mark. Only packets that meet no flow are asked about, so the
//! cost is one of new flows. Rules for one destination address are found by it; all others are
//! looked at in their order, a few comparisons each.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use hashbrown::HashMap;
use weir_wire::{Addr, Family};

use crate::flow::Tuple;
use crate::io::PortId;
use crate::persist::mask_of_len;
use crate::service::Protocol;

/// What a packet has to be like to get a mark. What is none or empty does not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// The mark, not 0.
    pub mark: u32,
    /// The family of its addresses.
    pub family: Option<Family>,
    /// Its transport protocol.
    pub protocol: Option<Protocol>,
    /// A prefix of its source: an address and how many bits of it count.
    pub source: Option<(Addr, u8)>,
    /// The same of its destination.
    pub destination: Option<(Addr, u8)>,
    /// Its source port is in one of these.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// Its destination port is in one of these.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// Where it was received.
    pub interface: Option<PortId>,
    /// It need not be for the director itself: what is for other hosts is taken from its way, too, as
    /// a transparent cache wants it.
    pub any_destination: bool,
}

/// Part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    mask: u128,
    bits: u128,
}

impl Prefix {
    /// Every address of the family, or of both.
    fn all(family: Option<Family>) -> Self {
        match family {
            None => Self { mask: 0, bits: 0 },
            Some(Family::V4) => Self::of((Addr::from_v4_bytes([0; 4]), 0)),
            // That no IPv4 address is meant is seen to by whoever compares families.
            Some(Family::V6) => Self { mask: 0, bits: 0 },
        }
    }

    fn of((addr, len): (Addr, u8)) -> Self {
        let mask = mask_of_len(addr.family(), len);
        let bits = addr.0 & mask;
        Self { mask, bits }
    }

    #[inline]
    fn has(&self, addr: Addr) -> bool {
        addr.0 & self.mask == self.bits
    }

    fn is_one_address(&self) -> bool {
        self.mask == !0
    }
}

/// A rule as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Compiled {
    mark: u32,
    family: Option<Family>,
    protocol: Option<Protocol>,
    interface: Option<PortId>,
    any_destination: bool,
    source: Prefix,
    destination: Prefix,
    source_ports: Box<[RangeInclusive<u16>]>,
    destination_ports: Box<[RangeInclusive<u16>]>,
}

impl Compiled {
    fn of(rule: &MarkRule) -> Self {
        let named = rule
            .source
            .or(rule.destination)
            .map(|(addr, _)| addr.family());
        let family = rule.family.or(named);
        let prefix = |of: Option<(Addr, u8)>| of.map_or(Prefix::all(family), Prefix::of);
        Self {
            mark: rule.mark,
            family,
            protocol: rule.protocol,
            interface: rule.interface,
            any_destination: rule.any_destination,
            source: prefix(rule.source),
            destination: prefix(rule.destination),
            source_ports: rule.source_ports.as_slice().into(),
            destination_ports: rule.destination_ports.as_slice().into(),
        }
    }

    /// `port` is none where a packet is only told of: then its interface does not count.
    #[inline]
    fn matches(&self, packet: &Tuple, port: Option<PortId>) -> bool {
        self.destination.has(packet.dst)
            && self.source.has(packet.src)
            && self.protocol.is_none_or(|is| is == packet.protocol)
            && self.family.is_none_or(|is| is == packet.dst.family())
            && has_port(&self.destination_ports, packet.dst_port)
            && has_port(&self.source_ports, packet.src_port)
            && (self.interface.is_none() || port.is_none() || self.interface == port)
    }
}

#[inline]
fn has_port(ranges: &[RangeInclusive<u16>], port: u16) -> bool {
    ranges.is_empty() || ranges.iter().any(|range| range.contains(&port))
}

/// All rules, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkRules {
    rules: Box<[Compiled]>,
    /// Those for one destination address, by it.
    of_address: HashMap<Addr, Vec<u32>, BuildMix>,
    /// All others.
    others: Box<[u32]>,
    /// There are rules for what is for other hosts.
    reach_others: bool,
}

impl MarkRules {
    /// Prepares `rules`, the first of which comes first.
    #[must_use]
    pub fn new(rules: &[MarkRule]) -> Self {
        let rules: Box<[Compiled]> = rules.iter().map(Compiled::of).collect();
        let mut of_address: HashMap<Addr, Vec<u32>, BuildMix> = HashMap::default();
        let mut others = Vec::new();
        for (at, rule) in (0..).zip(&rules) {
            match rule.destination.is_one_address() {
                true => of_address
                    .entry(Addr(rule.destination.bits))
                    .or_default()
                    .push(at),
                false => others.push(at),
            }
        }
        Self {
            reach_others: rules.iter().any(|rule| rule.any_destination),
            rules,
            of_address,
            others: others.into(),
        }
    }

    /// True when there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// True when what is for other hosts may have a mark.
    #[inline]
    #[must_use]
    pub fn reach_others(&self) -> bool {
        self.reach_others
    }

    /// The mark of a packet, 0 for none; whether it is for the director itself says `is_ours`. `port`
    /// is where it was received, none when it was not: an ICMP error tells of it, say.
    #[must_use]
    pub fn mark_of(&self, packet: &Tuple, is_ours: bool, port: Option<PortId>) -> u32 {
        let rule = |at: &&u32| {
            let rule = self.rules.get(**at as usize);
            rule.is_some_and(|rule| (is_ours || rule.any_destination) && rule.matches(packet, port))
        };
        let own = self.of_address.get(&packet.dst);
        let own = own.and_then(|own| own.iter().find(rule));
        let before = own.copied().unwrap_or(u32::MAX);
        let mut others = self.others.iter().take_while(|at| **at < before);
        let first = others.find(rule).or(own);
        let first = first.and_then(|at| self.rules.get(*at as usize));
        first.map_or(0, |rule| rule.mark)
    }
}

/// Hashes an address. Rules come from the configuration, so nobody can choose them to collide.
#[derive(Clone, Copy, Debug, Default)]
struct BuildMix;

#[derive(Clone, Copy, Debug, Default)]
struct MixHasher(u64);

impl core::hash::BuildHasher for BuildMix {
    type Hasher = MixHasher;

    fn build_hasher(&self) -> MixHasher {
        MixHasher::default()
    }
}

impl core::hash::Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            let product = u128::from(self.0 ^ u64::from_ne_bytes(word) ^ 0x243f_6a88_85a3_08d3)
                * u128::from(0x9e37_79b9_7f4a_7c15_u64);
            self.0 = product as u64 ^ (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests;
