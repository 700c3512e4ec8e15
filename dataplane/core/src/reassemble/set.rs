//! The fragments of one packet, in the order of its payload.

use weir_wire::Addr;
use weir_wire::fragment::EcnSeen;

use super::{FRAGMENTS_MAX, Key, Part, Summary};
use crate::counters::DropReason;
use crate::io::PortId;
use crate::time::Tick;

/// No place and no set.
pub(super) const NONE: u16 = u16::MAX;

/// Where a fragment waits.
#[derive(Debug)]
pub(super) struct Place<F> {
    pub(super) frame: Option<(PortId, F)>,
    /// Of its payload in that of the packet, and one past its end.
    pub(super) offset: u16,
    pub(super) end: u16,
    /// Of its payload in the frame.
    pub(super) at: u16,
    /// The next of the packet; of a free place the next free one.
    pub(super) next: u16,
}

impl<F> Place<F> {
    pub(super) const fn free(next: u16) -> Self {
        Self {
            frame: None,
            offset: 0,
            end: 0,
            at: 0,
            next,
        }
    }
}

/// A packet of which fragments are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub(super) key: Key,
    pub(super) began: Tick,
    pub(super) deadline: Tick,
    /// The next in its bucket; of a free set the next free one.
    pub(super) next: u16,
    /// Of its family, those that began before and after it.
    pub(super) older: u16,
    pub(super) newer: u16,
    /// Its places, by offset.
    pub(super) first: u16,
    last: u16,
    count: u16,
    /// Bytes of payload that are there, and one past the last of them.
    got: u16,
    end: u16,
    /// The end is the packet's.
    is_end_known: bool,
    longest: u16,
    longest_uncut: u16,
    ecn: EcnSeen,
}

/// Where a fragment belongs.
pub(super) enum Fit {
    /// Behind this place; [`NONE`]: before all.
    After(u16),
    /// It is there already.
    Again,
    /// It goes for this reason, and the others wait on.
    Alone(DropReason),
    /// The packet can no more be put together.
    Refused(DropReason),
}

impl Set {
    pub(super) const fn free(next: u16) -> Self {
        Self {
            key: Key {
                src: Addr(0),
                dst: Addr(0),
                id: 0,
                protocol: 0,
            },
            began: Tick(0),
            deadline: Tick(0),
            next,
            older: NONE,
            newer: NONE,
            first: NONE,
            last: NONE,
            count: 0,
            got: 0,
            end: 0,
            is_end_known: false,
            longest: 0,
            longest_uncut: 0,
            ecn: EcnSeen::EMPTY,
        }
    }

    /// Takes `part`, which is there already, in the place of the last one when it tells that the packet ends
    /// there. Gives back the frame that is not kept.
    pub(super) fn hear<F>(
        &mut self,
        places: &mut [Place<F>],
        part: &Part,
        frame: (PortId, F),
    ) -> (PortId, F) {
        let last = places.get_mut(usize::from(self.last));
        let same = last.filter(|last| (last.offset, last.end) == (part.offset, part.end));
        match same {
            Some(Place {
                frame: Some(kept),
                at,
                ..
            }) if !part.more => {
                self.is_end_known = true;
                *at = part.at;
                core::mem::replace(kept, frame)
            }
            _ => frame,
        }
    }

    /// Where `part` belongs. One that contradicts the end of the packet does away with all of IPv4, as in
    /// Linux, and with itself of IPv6. Of IPv4 an end that is no multiple of 8 though more follows is taken
    /// back to one, as Linux does; of IPv6 it is a fault.
    pub(super) fn fit<F>(&self, part: &mut Part, is_v4: bool, places: &[Place<F>]) -> Fit {
        const MALFORMED: Fit = Fit::Refused(DropReason::Fragment);
        let contrary = match is_v4 {
            true => Fit::Refused(DropReason::FragmentOverlap),
            false => Fit::Alone(DropReason::FragmentOverlap),
        };
        if part.more && !part.end.is_multiple_of(8) {
            if !is_v4 {
                return MALFORMED;
            }
            part.end &= !7;
        }
        if part.end <= part.offset {
            return MALFORMED;
        }
        let is_beyond = part.end > self.end;
        let is_cut_short = !part.more && part.end < self.end;
        if is_cut_short || (is_beyond && self.is_end_known) {
            return contrary;
        }
        let fit = self.search(part, places);
        match fit {
            Fit::After(_) if usize::from(self.count) >= FRAGMENTS_MAX => {
                Fit::Refused(DropReason::FragmentLimit)
            }
            fit => fit,
        }
    }

    fn search<F>(&self, part: &Part, places: &[Place<F>]) -> Fit {
        const CONTRARY: Fit = Fit::Refused(DropReason::FragmentOverlap);
        let place = |at: u16| places.get(usize::from(at));
        // Nearly all come in order.
        let mut before = match place(self.last) {
            Some(last) if last.offset <= part.offset => self.last,
            _ => NONE,
        };
        if before == NONE {
            let mut at = self.first;
            while let Some(next) = place(at).filter(|next| next.offset <= part.offset) {
                before = at;
                at = next.next;
            }
        }
        let (run_end, next) = match place(before) {
            Some(before) => (before.end, before.next),
            None => (0, self.first),
        };
        if part.offset < run_end {
            // What follows without a gap counts as one piece.
            let (mut run_end, mut at) = (run_end, next);
            while let Some(next) = place(at).filter(|next| next.offset == run_end) {
                (run_end, at) = (next.end, next.next);
            }
            return if part.end <= run_end {
                Fit::Again
            } else {
                CONTRARY
            };
        }
        match place(next) {
            Some(next) if next.offset < part.end => CONTRARY,
            _ => Fit::After(before),
        }
    }

    /// Puts `place` behind `after`, where [`fit`](Self::fit) has found it to belong. True when that
    /// makes the packet complete.
    pub(super) fn link<F>(
        &mut self,
        places: &mut [Place<F>],
        place: u16,
        after: u16,
        part: &Part,
    ) -> bool {
        let next = match places.get_mut(usize::from(after)) {
            Some(after) => core::mem::replace(&mut after.next, place),
            None => core::mem::replace(&mut self.first, place),
        };
        if let Some(place) = places.get_mut(usize::from(place)) {
            place.next = next;
        }
        if next == NONE {
            self.last = place;
        }
        self.count += 1;
        self.got += part.end - part.offset;
        self.end = self.end.max(part.end);
        self.is_end_known |= !part.more;
        self.longest = self.longest.max(part.packet_len);
        if part.dont_fragment {
            self.longest_uncut = self.longest_uncut.max(part.packet_len);
        }
        self.ecn = self.ecn.with(part.tos);
        // No two overlap, so the bytes add up only when none is missing.
        self.is_end_known && self.got == self.end
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            len: usize::from(self.end),
            longest: self.longest,
            dont_fragment: self.longest_uncut == self.longest && self.longest > 0,
            ecn: self.ecn,
        }
    }
}
