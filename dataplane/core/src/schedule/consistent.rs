//! A server by consistent hash: the same client leads to the same server without anything being
//! remembered, on every director, also after a restart; when a server comes or goes, few others
//! change theirs. For packets of flows that find no place in the flow table.
//!
//! It is Maglev's table (NSDI 2016 §3.4) with weights: each server fills places in an order of its
//! own, as often as its weight says, until the table is full.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use weir_wire::Addr;

use crate::flow::Tuple;

/// Places for each server: a server's share is right to within some percent.
const PLACES_A_SERVER: usize = 16;
/// The same for a share that is right to within one percent.
const PLACES_EVEN: usize = 128;
const PLACES_MIN: usize = 64;
/// With more servers than a sixteenth of this each has fewer places.
const PLACES_MAX: usize = 1 << 18;

const FREE: u32 = u32::MAX;

/// The table of one service. It is empty when no server may be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consistent {
    /// Positions in the service's list; as many places as a power of two has.
    places: Box<[u32]>,
}

impl Consistent {
    /// For servers of these addresses, ports and weights, in the order of the service's list.
    #[must_use]
    pub fn new(servers: &[(Addr, u16, u32)]) -> Self {
        Self::sized(servers, PLACES_A_SERVER)
    }

    /// The same with so many places that with equal weights the shares differ by less than a percent,
    /// up to 2048 servers.
    #[must_use]
    pub fn even(servers: &[(Addr, u16, u32)]) -> Self {
        Self::sized(servers, PLACES_EVEN)
    }

    fn sized(servers: &[(Addr, u16, u32)], places_each: usize) -> Self {
        let greatest = servers.iter().map(|(_, _, weight)| *weight).max();
        let Some(greatest) = greatest.filter(|greatest| *greatest > 0) else {
            return Self::default();
        };
        let wanted = (servers.len() * places_each).next_power_of_two();
        let size = wanted.clamp(PLACES_MIN, PLACES_MAX);
        let mut places = vec![FREE; size];
        let usable = (0u32..).zip(servers).filter(|(_, server)| server.2 > 0);
        let mut turns: Vec<Turns> = usable
            .map(|(position, server)| Turns::new(position, *server, size))
            .collect();
        let mut left = size;
        // Each round fills a place at least, that of the server with the greatest weight.
        while left > 0 {
            for server in &mut turns {
                server.credit += u64::from(server.weight);
                if server.credit >= u64::from(greatest) && left > 0 {
                    server.credit -= u64::from(greatest);
                    server.fill(&mut places);
                    left -= 1;
                }
            }
        }
        Self {
            places: places.into(),
        }
    }

    /// The position of the server for the flow of a client's packet; none when there is no server.
    #[inline]
    #[must_use]
    pub fn pick(&self, request: &Tuple) -> Option<usize> {
        self.from(request).next()
    }

    /// The same, and then those at the places behind, once round the table.
    #[inline]
    pub fn from(&self, request: &Tuple) -> impl Iterator<Item = usize> {
        let hash = mix(request.src, u64::from(request.src_port));
        let at = hash as usize & self.places.len().saturating_sub(1);
        let (before, behind) = self.places.split_at(at);
        let places = behind.iter().chain(before);
        places.map(|position| *position as usize)
    }
}

/// One server's way through the table.
struct Turns {
    position: u32,
    weight: u32,
    credit: u64,
    next: usize,
    /// Odd, so that every place is reached.
    step: usize,
}

impl Turns {
    fn new(position: u32, (addr, port, weight): (Addr, u16, u32), size: usize) -> Self {
        let mixed = mix(addr, u64::from(port) | 1 << 32);
        Self {
            position,
            weight,
            credit: 0,
            next: mixed as usize & (size - 1),
            step: (mixed >> 32) as usize | 1,
        }
    }

    /// Takes the next place of its order that is free; there is one.
    fn fill(&mut self, places: &mut [u32]) {
        let mask = places.len() - 1;
        while places[self.next] != FREE {
            self.next = (self.next + self.step) & mask;
        }
        places[self.next] = self.position;
    }
}

/// Every input bit reaches every output bit. The same on every machine and for ever.
#[inline]
fn mix(addr: Addr, rest: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = addr.0 as u64 ^ ((addr.0 >> 64) as u64).rotate_left(29);
    let mut mixed = (folded ^ rest.rotate_left(40)).wrapping_mul(ODD);
    mixed = (mixed ^ mixed >> 32).wrapping_mul(ODD);
    mixed ^ mixed >> 29
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Protocol;

    fn servers(weights: &[u32]) -> Vec<(Addr, u16, u32)> {
        let server = |(n, weight): (u8, &u32)| (Addr::from_v4_bytes([10, 0, 0, n]), 80, *weight);
        (1u8..).zip(weights).map(server).collect()
    }

    fn shares(table: &Consistent, count: usize) -> Vec<usize> {
        let mut shares = vec![0; count];
        for place in &table.places {
            shares[*place as usize] += 1;
        }
        shares
    }

    #[test]
    fn without_a_usable_server_there_is_none() {
        let request = Tuple {
            src: Addr::from_v4_bytes([192, 0, 2, 1]),
            dst: Addr::from_v4_bytes([192, 0, 2, 2]),
            src_port: 1,
            dst_port: 2,
            protocol: Protocol::Tcp,
        };
        assert_eq!(Consistent::new(&[]).pick(&request), None);
        assert_eq!(Consistent::new(&servers(&[0, 0])).pick(&request), None);
        assert_eq!(Consistent::new(&servers(&[0, 1])).pick(&request), Some(1));
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [1, 2, 0, 4, 1];
        let shares = shares(&Consistent::new(&servers(&weights)), 5);
        let places: usize = shares.iter().sum();
        for (share, weight) in shares.iter().zip(weights) {
            let fair = places * weight as usize / 8;
            assert!(share.abs_diff(fair) <= 1, "{shares:?}");
        }
    }

    #[test]
    fn few_clients_change_their_server_when_another_goes() {
        let before = Consistent::new(&servers(&[1; 16]));
        let mut weights = [1; 16];
        weights[5] = 0;
        let after = Consistent::new(&servers(&weights));
        let places = before.places.iter().zip(&after.places);
        let moved = places.filter(|(a, b)| **a != 5 && a != b).count();
        assert!(
            moved < before.places.len() / 8,
            "{moved} of {}",
            before.places.len()
        );
    }

    /// Every director finds the same, whatever the order of its list.
    #[test]
    fn the_order_of_the_list_does_not_matter_for_most() {
        let forwards = servers(&[1; 8]);
        let mut backwards = forwards.clone();
        backwards.reverse();
        let (a, b) = (Consistent::new(&forwards), Consistent::new(&backwards));
        let places = a.places.iter().zip(&b.places);
        let same = places.filter(|(a, b)| **a == 7 - **b).count();
        assert!(same > a.places.len() / 2, "{same} of {}", a.places.len());
    }
}
