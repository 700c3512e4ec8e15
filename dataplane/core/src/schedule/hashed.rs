//! The schedulers that hash: `dh` by destination, `sh` and `mh` by client. Control fills a table of
//! places of the service's list at each change of it; a choice is a look into the table.
//!
//! Hashes are the kernel's and the same on every director, so that several agree.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use weir_wire::{Addr, Family};

use super::siphash::{Key, siphash13};
use super::{Arrival, Member, is_usable};
use crate::service::{Candidate, ServerId, Service};

/// Places of `dh` and `sh`.
const PLACES: usize = 256;
/// Places of `mh`, a prime: the kernel's default.
const MAGLEV_PLACES: usize = 4093;
/// Half the bits of such a table's size: no server takes more turns of a round than so many bits.
const TURN_BITS: u32 = 6;

const FREE: u32 = u32::MAX;

/// Both keys of `mh`.
const FIRST: Key = [2_654_435_761; 2];
const SECOND: Key = [2_654_446_892; 2];

/// Positions in the service's list; empty when there is nobody to be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Arc<[u32]>);

/// What `sh` and `mh` may be told besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashFlags {
    /// The client's port is hashed with its address.
    pub port: bool,
    /// When the server found is not usable, others are tried.
    pub fallback: bool,
}

/// Each server in turn has a place, whatever its weight.
pub(super) fn fill_dh(members: &[Member]) -> Places {
    let all = 0..members.len() as u32;
    Places(all.cycle().take(PLACES).collect())
}

/// Each server in turn has as many places as its weight says, and one if that is 0.
pub(super) fn fill_sh(members: &[Member]) -> Places {
    let all = (0u32..).zip(members).cycle();
    let places = all.flat_map(|(position, member)| {
        let count = member.weight.clamp(1, PLACES as u32);
        core::iter::repeat_n(position, count as usize)
    });
    Places(places.take(PLACES).collect())
}

/// Each server in turn takes the next free places of an order of its own. What counts is the last
/// weight that was not 0, so that a server that is drained keeps its places.
pub(super) fn fill_mh(members: &[Member], family: Family) -> Places {
    let weights = members.iter().map(|member| member.last_weight);
    let divisor = weights.clone().fold(0, super::wrr::gcd);
    if divisor == 0 {
        return Places::default();
    }
    let greatest = weights.max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(TURN_BITS);
    let of_weight = |weight: u32| match (weight / divisor) >> shift {
        0 => u32::from(weight != 0),
        turns => turns,
    };
    let mut ways: Vec<Way> = (0u32..)
        .zip(members)
        .map(|(position, member)| Way {
            position,
            turns: of_weight(member.last_weight),
            ..Way::of(member, family)
        })
        .filter(|way| way.turns > 0)
        .collect();
    let mut places: Box<[u32]> = vec![FREE; MAGLEV_PLACES].into();
    let mut left = MAGLEV_PLACES;
    while left > 0 {
        for way in &mut ways {
            for _ in 0..(way.turns as usize).min(left) {
                way.take_next(&mut places);
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
    }
    Places(places.into())
}

/// A server's way through the table of `mh`.
struct Way {
    position: u32,
    turns: u32,
    next: usize,
    step: usize,
}

impl Way {
    fn of(member: &Member, family: Family) -> Self {
        let word = server_word(member.addr, family).wrapping_add(member.port.into());
        Self {
            position: 0,
            turns: 0,
            next: siphash13(word, FIRST) as usize % MAGLEV_PLACES,
            step: siphash13(word, SECOND) as usize % (MAGLEV_PLACES - 1) + 1,
        }
    }

    /// There is a free place, and the table's size is prime, so that the way passes all places.
    fn take_next(&mut self, places: &mut [u32]) {
        while places[self.next] != FREE {
            self.next = (self.next + self.step) % MAGLEV_PLACES;
        }
        places[self.next] = self.position;
    }
}

/// The server of the packet's destination.
pub(super) fn dh(service: &Service, places: &Places, arrival: &Arrival<'_>) -> Option<ServerId> {
    let place = hash32(fold(arrival.request.dst));
    places.usable(service, arrival, place)
}

/// The server of the client.
pub(super) fn sh(
    service: &Service,
    places: &Places,
    flags: HashFlags,
    arrival: &Arrival<'_>,
) -> Option<ServerId> {
    let hash = hash32(client_word(flags, arrival));
    let at = |offset: usize| (hash + offset) % PLACES;
    find(service, places, flags, arrival, hash, at)
}

/// The server of the client.
pub(super) fn mh(
    service: &Service,
    places: &Places,
    flags: HashFlags,
    arrival: &Arrival<'_>,
) -> Option<ServerId> {
    let word = client_word(flags, arrival);
    let at =
        |offset: usize| siphash13(word.wrapping_add(offset as u32), FIRST) as usize % MAGLEV_PLACES;
    find(service, places, flags, arrival, at(0), at)
}

/// Who is at `first`; with fallback, and when that one is not usable, the first usable one of those
/// at the places that follow from the offsets `first`, `first` + 1, ….
fn find(
    service: &Service,
    places: &Places,
    flags: HashFlags,
    arrival: &Arrival<'_>,
    first: usize,
    at: impl Fn(usize) -> usize,
) -> Option<ServerId> {
    let found = places.usable(service, arrival, first);
    if found.is_some() || !flags.fallback {
        return found;
    }
    let all = places.0.len();
    let offsets = (0..all).map(|offset| (offset + first) % all);
    let mut found = offsets.map(|offset| places.usable(service, arrival, at(offset)));
    found.find_map(|found| found)
}

impl Places {
    fn usable(&self, service: &Service, arrival: &Arrival<'_>, at: usize) -> Option<ServerId> {
        let candidate: &Candidate = service.servers.get(*self.0.get(at)? as usize)?;
        is_usable(candidate, arrival.loads).then_some(candidate.server)
    }
}

fn client_word(flags: HashFlags, arrival: &Arrival<'_>) -> u32 {
    let port = if flags.port {
        arrival.request.src_port
    } else {
        0
    };
    fold(arrival.request.src).wrapping_add(port.into())
}

/// The address in one word: an IPv6 one is folded.
fn fold(addr: Addr) -> u32 {
    if addr.is_v4() {
        return addr.0 as u32;
    }
    let words = [96, 64, 32, 0].map(|shift| (addr.0 >> shift) as u32);
    words[0] ^ words[1] ^ words[2] ^ words[3]
}

/// A server's address, which may be of another family than its service: the kernel looks at the
/// words that the service's family has.
fn server_word(addr: Addr, of_service: Family) -> u32 {
    match of_service {
        Family::V4 if !addr.is_v4() => (addr.0 >> 96) as u32,
        _ => fold(addr),
    }
}

/// The upper bits of a product, as many as a table of 256 places needs.
fn hash32(word: u32) -> usize {
    (word.wrapping_mul(0x61c8_8647) >> (u32::BITS - PLACES.trailing_zeros())) as usize
}
