//! Which worker owns a flow.
//!
//! The owner follows from the client's address and port alone, so that both directions lead to it:
//! requests carry the client as their source, NAT replies as their destination. A FullNAT reply
//! carries a local end instead, which the owner chose so that it leads back to it.

use weir_wire::Addr;

use crate::io::WorkerId;

/// The owner, among `workers`, of the flows of this client and port.
#[inline]
#[must_use]
pub fn owner(client: Addr, port: u16, workers: u16) -> WorkerId {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = (client.0 as u64) ^ ((client.0 >> 64) as u64).rotate_left(17);
    let mixed = (folded ^ u64::from(port) << 40).wrapping_mul(ODD);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(ODD);
    WorkerId((((mixed >> 32) * u64::from(workers)) >> 32) as u16)
}

/// The owner, among `workers`, of the FullNAT flows whose local end has this port: it took the end
/// because of that.
#[inline]
#[must_use]
pub fn owner_of_local(port: u16, workers: u16) -> WorkerId {
    WorkerId(port % workers.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_wire::Addr;

    #[test]
    fn flows_spread_evenly() {
        let mut counts = [0u32; 3];
        for host in 0..64u8 {
            for port in (1024..65000).step_by(64) {
                let client = Addr::from_v4_bytes([192, 0, 2, host]);
                counts[usize::from(owner(client, port, 3).0)] += 1;
            }
        }
        let even = counts.iter().sum::<u32>() / 3;
        for count in counts {
            assert!(count.abs_diff(even) < even / 50, "{counts:?}");
        }
    }
}
