//! A few addresses, so that nearly all others are told from them without a look-up.

use weir_wire::plain::{Ip, V4, V6};
use weir_wire::{Addr, Family};

/// Bits of a filter.
const BITS: usize = 1024;

/// Addresses of either family. It may take another for one of them, but none of them for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnFilter([u64; BITS / 64]);

impl OwnFilter {
    /// Adds an address.
    pub(crate) fn add(&mut self, addr: Addr) {
        let at = place_of(match addr.family() {
            Family::V4 => V4::folded(V4::addr_of(addr)),
            Family::V6 => V6::folded(V6::addr_of(addr)),
        });
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// False for an address, as packets have it, that was not added.
    #[inline(always)]
    pub(crate) fn may_have<I: Ip>(&self, addr: I::Addr) -> bool {
        let at = place_of(I::folded(addr));
        self.0[at / 64] & 1 << (at % 64) != 0
    }
}

/// Below [`BITS`].
#[inline(always)]
const fn place_of(folded: u32) -> usize {
    (folded.wrapping_mul(0x9e37_79b1) >> 22) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told_from_others<I: Ip>(addr: impl Fn(u32) -> Addr) {
        let mut filter = OwnFilter::default();
        let own = (0..32).map(|n| addr(0x0a00_0101 + n));
        own.clone().for_each(|addr| filter.add(addr));
        assert!(
            own.clone()
                .all(|addr| filter.may_have::<I>(I::addr_of(addr)))
        );
        let clients = (0..100_000).map(|n| I::addr_of(addr(0xc612_0000 + n)));
        let hits = clients.filter(|addr| filter.may_have::<I>(*addr)).count();
        assert!(hits < 5000, "{hits} of 100000");
        assert!(!OwnFilter::default().may_have::<I>(I::NOBODY));
    }

    #[test]
    fn what_was_added_is_never_missed_and_others_seldom_hit() {
        is_told_from_others::<V4>(|n| Addr::from_v4_bytes(n.to_be_bytes()));
        is_told_from_others::<V6>(|n| Addr(0x2001_0db8 << 96 | u128::from(n)));
        is_told_from_others::<V6>(|n| Addr(0x2001_0db8 << 96 | u128::from(n) << 64 | 1));
    }
}
