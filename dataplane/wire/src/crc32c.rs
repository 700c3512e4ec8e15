//! CRC32c, the checksum of SCTP (RFC 9260 §6.8, appendix A).

/// The remainder of each byte, least significant bit first.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = (rest >> 1) ^ (0x82f6_3b78 & (rest & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

const fn step(rest: u32, byte: u8) -> u32 {
    (rest >> 8) ^ TABLE[((rest ^ byte as u32) & 0xff) as usize]
}

/// The CRC of a message of `len` bytes after its first four became `new`, given its CRC before.
///
/// The CRC is linear: messages that differ by `old ^ new` have CRCs that differ by the remainder of
/// `old ^ new` followed by zeros. A wrong CRC therefore stays wrong. Takes `len` steps.
pub(crate) fn replace_first(crc: u32, old: [u8; 4], new: [u8; 4], len: usize) -> u32 {
    let mut rest = 0;
    for (old, new) in old.into_iter().zip(new) {
        rest = step(rest, old ^ new);
    }
    for _ in 4..len {
        rest = step(rest, 0);
    }
    crc ^ rest
}

/// The CRC of `bytes`.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |rest, byte| step(rest, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_comes_out() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_difference_does_what_a_new_crc_would() {
        assert_eq!(
            replace_first(crc32c(b"123456789"), *b"1234", *b"abcd", 9),
            crc32c(b"abcd56789")
        );
    }
}
