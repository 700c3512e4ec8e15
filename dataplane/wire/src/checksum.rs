//! The Internet checksum: whole (RFC 1071) and by difference (RFC 1624).
//!
//! A sum is kept in 32 bits with its carries still in the upper half, so that sums can be added up
//! and folded once at the end. The field in the packet is the complement of the folded sum.

use crate::addr::Addr;

/// Adds `bytes`, taken as 16-bit numbers in network order, to `start` (RFC 1071 §1).
///
/// An odd last byte counts as the upper half of a number, so only the last piece of a sum that is
/// made of several may have an odd length. The result is below 2¹⁷: a few of them may be added
/// before folding.
#[inline]
#[must_use]
pub fn sum(bytes: &[u8], start: u32) -> u32 {
    // The sum does not depend on byte order (RFC 1071 §2 B), so words are added as the machine
    // reads them, four bytes at a time, and the result is swapped once. 2³² words fit.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff_ffff) + (total >> 32);
    u32::from(u16::from_be(fold(total as u32))) + u32::from(fold(start))
}

/// The sum in 16 bits, carries added in, not complemented.
#[inline]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// What the checksum field holds for this sum; 0 when the sum covers a right checksum field.
#[inline]
#[must_use]
pub const fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// The sum of the pseudo header of TCP, UDP and ICMPv6 (RFC 9293 §3.1, RFC 8200 §8.1).
///
/// `len` is the number of bytes from the transport header to the packet's end. The family is that
/// of `src`; both addresses have the same.
#[inline]
#[must_use]
pub const fn pseudo_header(src: Addr, dst: Addr, protocol: u8, len: u32) -> u32 {
    let addresses = sum_addr(src) + sum_addr(dst);
    addresses + protocol as u32 + (len >> 16) + (len & 0xffff)
}

/// The sum of an address as it stands in its header: 32 bits for IPv4, 128 for IPv6.
const fn sum_addr(addr: Addr) -> u32 {
    if addr.is_v4() {
        sum_u32(addr.v4_bits())
    } else {
        sum_u128(addr.0)
    }
}

const fn sum_u32(n: u32) -> u32 {
    (n >> 16) + (n & 0xffff)
}

const fn sum_u128(n: u128) -> u32 {
    sum_u32((n >> 96) as u32)
        + sum_u32((n >> 64) as u32)
        + sum_u32((n >> 32) as u32)
        + sum_u32(n as u32)
}

/// What changes in the bytes under a checksum, to be applied to the checksum itself.
///
/// RFC 1624 §3, equation 3: HC' = ~(~HC + ~m + m'). A wrong checksum stays wrong by the same
/// difference, so that the receiver still finds what was damaged before it came here.
/// Up to a thousand replacements may be gathered in one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u32);

impl Delta {
    /// A 16-bit number at an even place became another.
    #[inline]
    #[must_use]
    pub const fn replace_u16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u32 + new as u32)
    }

    /// A 32-bit number at an even place became another.
    #[inline]
    #[must_use]
    pub const fn replace_u32(self, old: u32, new: u32) -> Self {
        Self(self.0 + sum_u32(!old) + sum_u32(new))
    }

    /// An address became another of the same family.
    #[inline]
    #[must_use]
    pub const fn replace_addr(self, old: Addr, new: Addr) -> Self {
        if old.is_v4() && new.is_v4() {
            self.replace_u32(old.v4_bits(), new.v4_bits())
        } else {
            Self(self.0 + sum_u128(!old.0) + sum_u128(new.0))
        }
    }

    /// The checksum field after the change, given the one before.
    ///
    /// UDP sends 0xffff where this is 0 (RFC 768).
    #[inline]
    #[must_use]
    pub const fn apply(self, check: u16) -> u16 {
        finish((!check) as u32 + self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// RFC 1071 §1 as it is written, one word after the other.
    fn sum_by_words(bytes: &[u8]) -> u16 {
        let mut total = 0u64;
        for pair in bytes.chunks(2) {
            total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn the_sum_of_rfc_1071_section_3_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes, 0)), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_section_4_gives_positive_zero() {
        // Equation 2 of RFC 1141 would give 0xffff here.
        assert_eq!(
            Delta::default().replace_u16(0x5555, 0x3285).apply(0xdd2f),
            0x0000
        );
    }

    #[test]
    fn a_field_that_becomes_zero_or_all_ones_keeps_the_checksum_right() {
        for (old, new) in [
            (0, 0xffff),
            (0xffff, 0),
            (0, 0),
            (0xffff, 0xffff),
            (1, 0xffff),
        ] {
            for other in [1u16, 0x7fff, 0xfffe, 0xffff] {
                let check = finish(u32::from(old) + u32::from(other));
                let after = Delta::default().replace_u16(old, new).apply(check);
                let whole = u32::from(new) + u32::from(other) + u32::from(after);
                assert_eq!(
                    fold(whole),
                    0xffff,
                    "{old:#x} to {new:#x} beside {other:#x}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_plain_definition(bytes: Vec<u8>, start: u32) {
            let expected = sum_by_words(&[&fold(start).to_be_bytes()[..], &bytes].concat());
            prop_assert_eq!(fold(sum(&bytes, start)), expected);
        }

        #[test]
        fn a_sum_can_be_made_in_pieces_of_even_length(a: Vec<u16>, b: Vec<u8>) {
            let a: Vec<u8> = a.iter().flat_map(|n| n.to_be_bytes()).collect();
            prop_assert_eq!(fold(sum(&b, sum(&a, 0))), sum_by_words(&[a, b].concat()));
        }

        #[test]
        fn a_difference_does_what_a_new_sum_would(
            mut words in proptest::collection::vec(any::<u16>(), 10..40),
            new: u32, new_addr: u128,
        ) {
            let bytes = |words: &[u16]| -> Vec<u8> {
                words.iter().flat_map(|n| n.to_be_bytes()).collect()
            };
            words[0] |= 1; // An all-zero message has two right checksums.
            let check = finish(sum(&bytes(&words), 0));
            let old = u32::from(words[1]) << 16 | u32::from(words[2]);
            let old_addr = (3..11).fold(0, |n, i| n << 16 | words.get(i).copied().map_or(0, u128::from));
            prop_assume!(words.len() >= 11);
            let delta = Delta::default()
                .replace_u32(old, new)
                .replace_addr(Addr(old_addr), Addr(new_addr));
            (words[1], words[2]) = ((new >> 16) as u16, new as u16);
            for (i, word) in words[3..11].iter_mut().enumerate() {
                *word = (new_addr >> (112 - 16 * i)) as u16;
            }
            prop_assert_eq!(fold(sum(&bytes(&words), u32::from(delta.apply(check)))), 0xffff);
        }
    }
}
