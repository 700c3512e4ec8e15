//! A few IPv4 addresses, so that nearly all others are told from them without a look-up.

/// Bits of a filter.
const BITS: usize = 1024;

/// Addresses of IPv4. It may take another for one of them, but none of them for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnFilter([u64; BITS / 64]);

impl OwnFilter {
    /// Adds an address, as packets have it.
    pub(crate) fn add(&mut self, addr: u32) {
        let at = place_of(addr);
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// False for an address, as packets have it, that was not added.
    #[inline(always)]
    pub(crate) fn may_have(&self, addr: u32) -> bool {
        let at = place_of(addr);
        self.0[at / 64] & 1 << (at % 64) != 0
    }
}

/// Below [`BITS`].
#[inline(always)]
const fn place_of(addr: u32) -> usize {
    (addr.wrapping_mul(0x9e37_79b1) >> 22) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_never_missed_and_others_seldom_hit() {
        let mut filter = OwnFilter::default();
        let own = (0..32u32).map(|n| (0x0a00_0101 + n).to_be());
        own.clone().for_each(|addr| filter.add(addr));
        assert!(own.clone().all(|addr| filter.may_have(addr)));
        let clients = (0..100_000u32).map(|n| (0xc612_0000 + n).to_be());
        let hits = clients.filter(|addr| filter.may_have(*addr)).count();
        assert!(hits < 5000, "{hits} of 100000");
        assert!(!OwnFilter::default().may_have(0));
    }
}
