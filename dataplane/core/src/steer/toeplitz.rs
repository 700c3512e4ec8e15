//! The Toeplitz hash, by which devices spread packets over their queues (Microsoft's "RSS Hashing
//! Functions"): for every bit of the input that is set, 32 bits of the key from there on, XORed.
//!
//! The input is what stands in the packet, in this order: source address, destination address,
//! source port, destination port. The hash is linear: those of the parts, XORed, are that of the
//! whole, so that only one port need be looked at again when only a port changes.

use alloc::boxed::Box;
use alloc::vec;

use weir_wire::Addr;

/// Bytes of the key that matter: the longest input and the 32 bits behind its last bit. Devices with
/// longer keys use the rest for headers that Weir has no business with.
pub const KEY_BYTES: usize = 40;

/// A device's key.
pub type Key = [u8; KEY_BYTES];

/// IPv6 addresses and ports.
const INPUT_BYTES: usize = 36;

/// Where a port's bytes stand in the input.
const V4_PORTS: [usize; 2] = [8, 10];
const V6_PORTS: [usize; 2] = [32, 34];

/// The hash as its definition says it, a bit at a time. Of `input` at most the first 36 bytes count.
#[must_use]
pub fn plain(key: &Key, input: &[u8]) -> u32 {
    let bits = input
        .iter()
        .take(INPUT_BYTES)
        .enumerate()
        .flat_map(|(at, byte)| {
            let is_set = move |bit: &usize| byte & (0x80 >> bit) != 0;
            (0..8).filter(is_set).map(move |bit| 8 * at + bit)
        });
    bits.fold(0, |hash, bit| hash ^ window(key, bit))
}

/// 32 bits of the key from `bit` on.
fn window(key: &Key, bit: usize) -> u32 {
    let five = (0..5).fold(0, |bits, n| bits << 8 | u64::from(key[bit / 8 + n]));
    (five >> (8 - bit % 8)) as u32
}

/// The hash with one key, worked out beforehand for every value of every byte: a look-up and an XOR
/// for each byte. 36 KiB, of which IPv4 touches 12. A table for each half byte would be an eighth of
/// that, and took 10 ns for an IPv4 tuple where this one takes 4 (IPv6: 59 and 16; caches warm).
#[derive(Debug)]
pub struct Toeplitz {
    of_byte: Box<[[u32; 256]; INPUT_BYTES]>,
}

impl Toeplitz {
    /// Works the tables out.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let mut tables = vec![[0; 256]; INPUT_BYTES].into_boxed_slice();
        for (at, table) in tables.iter_mut().enumerate() {
            for (byte, hash) in table.iter_mut().enumerate() {
                let bits = (0..8).filter(|bit| byte & (0x80 >> bit) != 0);
                *hash = bits.fold(0, |hash, bit| hash ^ window(key, 8 * at + bit));
            }
        }
        let of_byte = tables.try_into().expect("it was made with this length");
        Self { of_byte }
    }

    /// The part of two addresses of one family: the whole hash of a packet whose ports do not count.
    #[inline]
    #[must_use]
    pub fn addresses(&self, src: Addr, dst: Addr) -> u32 {
        if src.is_v4() {
            self.at::<0, 4>(src.v4_bytes()) ^ self.at::<4, 4>(dst.v4_bytes())
        } else {
            self.at::<0, 16>(src.v6_bytes()) ^ self.at::<16, 16>(dst.v6_bytes())
        }
    }

    /// The part of a packet's source port.
    #[inline]
    #[must_use]
    pub fn src_port(&self, is_v4: bool, port: u16) -> u32 {
        let bytes = port.to_be_bytes();
        match is_v4 {
            true => self.at::<{ V4_PORTS[0] }, 2>(bytes),
            false => self.at::<{ V6_PORTS[0] }, 2>(bytes),
        }
    }

    /// The part of a packet's destination port.
    #[inline]
    #[must_use]
    pub fn dst_port(&self, is_v4: bool, port: u16) -> u32 {
        let bytes = port.to_be_bytes();
        match is_v4 {
            true => self.at::<{ V4_PORTS[1] }, 2>(bytes),
            false => self.at::<{ V6_PORTS[1] }, 2>(bytes),
        }
    }

    /// The part of the bytes that stand at `AT` in the input.
    #[inline]
    fn at<const AT: usize, const N: usize>(&self, bytes: [u8; N]) -> u32 {
        let hashes = bytes.iter().enumerate();
        hashes.fold(0, |hash, (n, byte)| {
            hash ^ self.of_byte[AT + n][usize::from(*byte)]
        })
    }
}

/// A key from `random` bits by which ports alone spread flows evenly: of every 512 ports that begin
/// at a multiple of 512, each place of a table of 512 (or fewer) gets as many as every other, for
/// whichever addresses and other port, source and destination, IPv4 and IPv6.
///
/// A strange key would be as likely to send all flows of one client to one worker. Nor should the
/// key be known to strangers, who could then choose the worker that they burden.
///
/// # Panics
/// When a thousand tries find none, which with random bits does not happen: one in 16 will do.
#[must_use]
pub fn draw_key(mut random: impl FnMut() -> u64) -> Key {
    for _ in 0..1000 {
        let mut key = [0; KEY_BYTES];
        for bytes in key.chunks_exact_mut(8) {
            bytes.copy_from_slice(&random().to_be_bytes());
        }
        if V4_PORTS
            .iter()
            .chain(&V6_PORTS)
            .all(|at| spreads(&key, *at, 9, 9))
        {
            return key;
        }
    }
    panic!("the random bits are not random");
}

/// True when the last `port_bits` of the port at `at` lead to every value of the hash's last
/// `hash_bits`: when the windows of the former, cut to the latter, are of full rank.
pub(super) fn spreads(key: &Key, at: usize, port_bits: usize, hash_bits: usize) -> bool {
    let mask = ((1_u64 << hash_bits) - 1) as u32;
    let mut reached: [u32; 32] = [0; 32];
    let mut rank = 0;
    for bit in 16 - port_bits..16 {
        let mut rest = window(key, 8 * at + bit) & mask;
        while rest != 0 {
            let top = rest.ilog2() as usize;
            if reached[top] == 0 {
                reached[top] = rest;
                rank += 1;
                break;
            }
            rest ^= reached[top];
        }
    }
    rank == hash_bits
}

/// Whether a packet's destination port alone leads to every place of a table of `places`, which is a
/// power of two.
pub(super) fn dst_port_reaches_all(key: &Key, is_v4: bool, places: usize) -> bool {
    let at = if is_v4 { V4_PORTS[1] } else { V6_PORTS[1] };
    spreads(key, at, 16, places.ilog2() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use weir_wire::builder::addr;

    /// Of Microsoft's "Verifying the RSS Hash Calculation".
    const PUBLISHED: Key = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Source, destination, hash of the addresses, hash with the ports.
    type Vector = ((&'static str, u16), (&'static str, u16), u32, u32);

    const VECTORS: [Vector; 8] = [
        (
            ("66.9.149.187", 2794),
            ("161.142.100.80", 1766),
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            ("199.92.111.2", 14230),
            ("65.69.140.83", 4739),
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            ("24.19.198.95", 12898),
            ("12.22.207.184", 38024),
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            ("38.27.205.30", 48228),
            ("209.142.163.6", 2217),
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            ("153.39.163.191", 44251),
            ("202.188.127.2", 1303),
            0x5d18_09c5,
            0x10e8_28a2,
        ),
        (
            ("3ffe:2501:200:1fff::7", 2794),
            ("3ffe:2501:200:3::1", 1766),
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            ("3ffe:501:8::260:97ff:fe40:efab", 14230),
            ("ff02::1", 4739),
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
            ("fe80::200:f8ff:fe21:67cf", 38024),
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    fn input(src: Addr, dst: Addr, ports: Option<(u16, u16)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for addr in [src, dst] {
            match addr.is_v4() {
                true => bytes.extend(addr.v4_bytes()),
                false => bytes.extend(addr.v6_bytes()),
            }
        }
        for port in ports.into_iter().flat_map(|(src, dst)| [src, dst]) {
            bytes.extend(port.to_be_bytes());
        }
        bytes
    }

    fn hash(toeplitz: &Toeplitz, src: (Addr, u16), dst: (Addr, u16)) -> u32 {
        let is_v4 = src.0.is_v4();
        toeplitz.addresses(src.0, dst.0)
            ^ toeplitz.src_port(is_v4, src.1)
            ^ toeplitz.dst_port(is_v4, dst.1)
    }

    #[test]
    fn both_forms_give_the_published_hashes() {
        let toeplitz = Toeplitz::new(&PUBLISHED);
        for ((src, src_port), (dst, dst_port), without, with) in VECTORS {
            let (src, dst) = (addr(src), addr(dst));
            assert_eq!(plain(&PUBLISHED, &input(src, dst, None)), without);
            let all = input(src, dst, Some((src_port, dst_port)));
            assert_eq!(plain(&PUBLISHED, &all), with);
            assert_eq!(toeplitz.addresses(src, dst), without);
            assert_eq!(hash(&toeplitz, (src, src_port), (dst, dst_port)), with);
        }
    }

    fn endpoint(is_v4: bool) -> impl Strategy<Value = (Addr, u16)> {
        (any::<u128>(), any::<u16>()).prop_map(move |(bits, port)| match is_v4 {
            true => (Addr::from_v4_bytes((bits as u32).to_be_bytes()), port),
            false => (Addr(bits | 1 << 127), port),
        })
    }

    fn endpoints() -> impl Strategy<Value = ((Addr, u16), (Addr, u16))> {
        any::<bool>().prop_flat_map(|is_v4| (endpoint(is_v4), endpoint(is_v4)))
    }

    proptest! {
        #[test]
        fn tables_agree_with_the_definition(
            key in any::<[u8; KEY_BYTES]>(),
            (src, dst) in endpoints(),
        ) {
            let toeplitz = Toeplitz::new(&key);
            let without = plain(&key, &input(src.0, dst.0, None));
            prop_assert_eq!(toeplitz.addresses(src.0, dst.0), without);
            let with = plain(&key, &input(src.0, dst.0, Some((src.1, dst.1))));
            prop_assert_eq!(hash(&toeplitz, src, dst), with);
        }

        #[test]
        fn it_is_linear(
            key in any::<[u8; KEY_BYTES]>(),
            a in any::<[u8; INPUT_BYTES]>(),
            b in any::<[u8; INPUT_BYTES]>(),
        ) {
            let both: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
            prop_assert_eq!(plain(&key, &both), plain(&key, &a) ^ plain(&key, &b));
        }

        #[test]
        fn a_drawn_key_spreads_512_ports_over_512_places(seed in any::<u64>(), high in 0..128_u16) {
            let mut state = seed;
            let toeplitz = Toeplitz::new(&draw_key(|| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ mixed >> 31
            }));
            for is_v4 in [true, false] {
                for part in [Toeplitz::src_port, Toeplitz::dst_port] {
                    let mut is_reached = [false; 512];
                    for low in 0..512 {
                        let hash = part(&toeplitz, is_v4, high << 9 | low);
                        is_reached[hash as usize % 512] = true;
                    }
                    prop_assert!(is_reached.iter().all(|is| *is));
                }
            }
        }
    }

    #[test]
    fn a_key_that_ignores_the_port_is_told_from_one_that_does_not() {
        assert!(dst_port_reaches_all(&PUBLISHED, true, 128));
        assert!(dst_port_reaches_all(&PUBLISHED, false, 128));
        assert!(dst_port_reaches_all(&[0; KEY_BYTES], true, 1));
        assert!(!dst_port_reaches_all(&[0; KEY_BYTES], true, 128));
        // All windows are alike, so that they reach two places.
        assert!(!dst_port_reaches_all(&[0xff; KEY_BYTES], true, 4));
    }
}
