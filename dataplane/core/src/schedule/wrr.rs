//! Weighted round robin, interleaved: for weights 4, 3, 2 in list order the sequence is
//! A A B A B C A B C.
//!
//! The walk looks for a server whose weight reaches the current weight `cw`; at the end of the
//! list `cw` falls by the greatest common divisor of all weights. The cursor packs the list's
//! generation (12 bits), the place last used plus one (20 bits, 0 = head) and `cw` (32 bits): when
//! the generation has changed, the walk starts again at the head and `cw` is fitted to the new
//! weights, as the kernel does on any change of a server.

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
        let mut so_far = Self {
            divisor: 1,
            max: 0,
            first: 0,
        };
        let (mut divisor, mut greatest) = (0, 0);
        for &weight in weights.iter().rev() {
            divisor = gcd(divisor, weight);
            greatest = greatest.max(weight);
            so_far.divisor = divisor.max(1);
            so_far.max = greatest.saturating_sub(so_far.divisor - 1);
            so_far.first = so_far.fit(so_far.first);
        }
        so_far
    }

    /// The cursor at the head of the list with a whole round before it.
    pub(super) fn restarted(self, generation: u16) -> u64 {
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

fn gcd(a: u32, b: u32) -> u32 {
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

pub(super) fn pick(service: &Service, weights: &Weights) -> Option<ServerId> {
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
        let (chosen, moved) = walk(&service.servers, weights, cursor)?;
        if is_newer(Cursor::unpack(seen).generation, own) {
            // This worker still holds the older list for a moment: it must not turn the cursor of
            // the newer one back.
            return Some(chosen);
        }
        match service.cursor.compare_exchange_weak(
            seen,
            moved.pack(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return Some(chosen),
            Err(other) => seen = other,
        }
    }
}

fn is_newer(generation: u16, than: u16) -> bool {
    let distance = generation.wrapping_sub(than) % GENERATIONS;
    distance != 0 && distance < GENERATIONS / 2
}

fn walk(
    servers: &[Candidate],
    weights: &Weights,
    mut cursor: Cursor,
) -> Option<(ServerId, Cursor)> {
    // `max` is positive, so some server is reached before `cw` has come round twice.
    for _ in 0..2 * (weights.max.div_ceil(weights.divisor) + 1) {
        let rest = servers.get(cursor.next..).unwrap_or_default();
        if let Some(steps) = rest.iter().position(|c| c.weight >= cursor.cw) {
            cursor.next += steps + 1;
            return Some((rest[steps].server, cursor));
        }
        cursor.next = 0;
        cursor.cw = match cursor.cw.checked_sub(weights.divisor) {
            None | Some(0) => weights.max,
            Some(lower) => lower,
        };
    }
    None
}
