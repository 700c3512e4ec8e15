//! Weighted round robin, interleaved: for weights 4, 3, 2 in list order the sequence is
//! A A B A B C A B C.
//!
//! The walk looks for a server whose weight reaches the current weight `cw`; at the end of the
//! list `cw` falls by the greatest common divisor of all weights. The cursor packs the list's
//! generation (12 bits), the place last used plus one (20 bits, 0 = head) and `cw` (32 bits): when
//! the generation has changed, the walk starts again at the head and `cw` is fitted to the new
//! weights, as the kernel does on any change of a server.
//!
//! Overloaded servers are passed over as if their weight were less than `cw`.

use crate::load::Loads;
use crate::service::{Candidate, ServerId, Service};
use crate::sync::Ordering;

/// Longest list whose places fit the cursor.
pub(super) const SERVERS_MAX: usize = (1 << 20) - 1;
const GENERATIONS: u16 = 1 << 12;

/// What the walk needs to know of all weights together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Greatest common divisor of the positive weights; 1 when there is none.
    divisor: u32,
    /// Where `cw` starts a round: the greatest weight less (divisor − 1); 0 when no server is
    /// usable.
    max: u32,
    /// `cw` of a service that has not chosen yet: what is left of it when the servers are added
    /// one after the other, as ipvsadm adds them, for each addition fits `cw` to the weights so
    /// far. So a kernel with weights 3, 2, 1 begins with a round of all three.
    first: u32,
}

impl Weights {
    /// Of the weights of a service's servers, in list order: the last added first.
    #[must_use]
    pub fn of(weights: &[u32]) -> Self {
        let weights = weights.iter().rev();
        weights.fold(Self::NONE, |so_far, weight| so_far.with(*weight))
    }

    /// Of no servers.
    const NONE: Self = Self {
        divisor: 1,
        max: 0,
        first: 0,
    };

    /// With one server more.
    #[must_use]
    pub fn with(self, weight: u32) -> Self {
        let (divisor, greatest) = match self.max {
            0 => (0, 0),
            max => (self.divisor, max + (self.divisor - 1)),
        };
        let divisor = gcd(divisor, weight).max(1);
        let with = Self {
            divisor,
            max: greatest.max(weight).saturating_sub(divisor - 1),
            first: 0,
        };
        Self {
            first: with.fit(self.first),
            ..with
        }
    }

    /// The cursor after a change that left these weights: at the head of the list of `generation`.
    /// Control moves it at each change, so that what the kernel does at each is done, whether or not
    /// a worker schedules in between.
    #[must_use]
    pub fn carry(self, cursor: u64, generation: u16) -> u64 {
        let cursor = Cursor {
            generation: generation % GENERATIONS,
            next: 0,
            cw: match cursor {
                0 => self.first,
                _ => self.fit(Cursor::unpack(cursor).cw),
            },
        };
        cursor.pack()
    }

    /// The cursor of a service that gets this scheduler while it has servers: at the head of the list,
    /// with a whole round before it.
    #[must_use]
    pub fn restarted(self, generation: u16) -> u64 {
        let cursor = Cursor {
            generation: generation % GENERATIONS,
            next: 0,
            cw: self.max,
        };
        cursor.pack()
    }

    /// `cw` as it goes on after a change of the servers.
    fn fit(self, cw: u32) -> u32 {
        if cw > self.max || cw == 0 {
            self.max
        } else if self.divisor > 1 {
            cw / self.divisor * self.divisor + 1
        } else {
            cw
        }
    }
}

/// The greatest common divisor; of 0 and a number that number.
pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[derive(Clone, Copy)]
struct Cursor {
    generation: u16,
    /// Places already walked in this round: the index after the last used server.
    next: usize,
    cw: u32,
}

impl Cursor {
    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 52) as u16,
            next: (word >> 32) as usize & SERVERS_MAX,
            cw: word as u32,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.generation) << 52 | (self.next as u64) << 32 | u64::from(self.cw)
    }
}

pub(super) fn pick(service: &Service, weights: &Weights, loads: &Loads) -> Option<ServerId> {
    if weights.max == 0 {
        return None;
    }
    let own = service.generation % GENERATIONS;
    let mut seen = service.cursor.load(Ordering::Relaxed);
    loop {
        let mut cursor = Cursor::unpack(seen);
        if cursor.generation != own || seen == 0 {
            let cw = match seen {
                0 => weights.first,
                _ => weights.fit(cursor.cw),
            };
            cursor = Cursor {
                generation: own,
                next: 0,
                cw,
            };
        }
        let (chosen, moved) = walk(&service.servers, weights, loads, cursor);
        if is_newer(Cursor::unpack(seen).generation, own) {
            // This worker still holds the older list for a moment: it must not turn the cursor of
            // the newer one back.
            return chosen;
        }
        match service.cursor.compare_exchange_weak(
            seen,
            moved.pack(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return chosen,
            Err(other) => seen = other,
        }
    }
}

fn is_newer(generation: u16, than: u16) -> bool {
    let distance = generation.wrapping_sub(than) % GENERATIONS;
    distance != 0 && distance < GENERATIONS / 2
}

/// The next server, and the cursor behind it. Without a usable server the cursor moves as the
/// kernel's does.
fn walk(
    servers: &[Candidate],
    weights: &Weights,
    loads: &Loads,
    mut cursor: Cursor,
) -> (Option<ServerId>, Cursor) {
    let find = |from: usize, cw: u32| {
        let rest = servers.get(from..).unwrap_or_default();
        let is_it = |c: &Candidate| c.weight >= cw && !loads.is_overloaded(c.server);
        rest.iter().position(is_it).map(|steps| from + steps)
    };
    let mut found = find(cursor.next, cursor.cw);
    if found.is_none() {
        // At the list's end `cw` falls, and at once as far as a server reaches.
        let usable = servers.iter().filter(|c| !loads.is_overloaded(c.server));
        let greatest = usable.map(|candidate| candidate.weight).max().unwrap_or(0);
        if greatest == 0 {
            cursor.cw = match cursor.next {
                0 => weights.max,
                _ => 1,
            };
            return (None, cursor);
        }
        cursor.cw = match cursor.cw.checked_sub(weights.divisor) {
            None | Some(0) => weights.max,
            Some(lower) => lower,
        };
        let over = cursor.cw.saturating_sub(greatest);
        cursor.cw -= over.div_ceil(weights.divisor) * weights.divisor;
        found = find(0, cursor.cw);
    }
    match found {
        Some(at) => {
            cursor.next = at + 1;
            (Some(servers[at].server), cursor)
        }
        None => {
            debug_assert!(false, "the greatest weight reaches {}", cursor.cw);
            (None, cursor)
        }
    }
}
