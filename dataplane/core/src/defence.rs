//! Defences against floods of new connections, as the kernel has them: `secure_tcp`, `drop_entry`
//! and `drop_packet`. What tells the kernel that a flood is on, little free memory, does not exist
//! here; instead a flow table that is nearly full does ([`crate::settings::Ipvs::amemthresh`]).

use core::ops::Range;

use weir_wire::Family;

use crate::director::Director;
use crate::flow::entry::PACKETS_MAX;
use crate::flow::{Flow, SctpState, State, TcpState, Timeouts};
use crate::io::Frame;
use crate::persist::End;
use crate::settings::{Defence, Ipvs};
use crate::time::{TICKS_PER_SECOND, Tick, seconds};
use crate::track::uncount;

/// The part of the flow table that is thinned out each second.
const THINNED_PART: usize = 32;
/// Places of it that one turn looks at.
const PLACES_A_TURN: usize = 512;
/// A flow for which so long nothing came is idle.
const IDLE: u32 = seconds(60);

/// Where the defences of one worker stand.
#[derive(Debug)]
pub(crate) struct Defences {
    /// When they are looked at next; none: at once.
    next: Option<Tick>,
    /// One of so many packets that would begin a flow is dropped; 0: none.
    drop_rate: u32,
    drop_counter: u32,
    /// `drop_entry` is on.
    thins: bool,
    /// Places that are still to be thinned out.
    thin: Range<usize>,
    spared: Spared,
    random: u64,
}

/// How many idle flows are spared until one ends, by how many packets their clients have sent.
#[derive(Debug, Default)]
struct Spared([u8; PACKETS_MAX as usize]);

impl Defences {
    /// `seed` is random.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            next: None,
            drop_rate: 0,
            drop_counter: 0,
            thins: false,
            thin: 0..0,
            spared: Spared::default(),
            random: seed | 1,
        }
    }

    /// Has them looked at in this turn: the settings may be others.
    pub(crate) fn look_again(&mut self) {
        self.next = None;
    }

    /// True while some of the packets that would begin flows are dropped.
    #[inline]
    pub(crate) const fn is_dropping(&self) -> bool {
        self.drop_rate != 0
    }

    /// True while `drop_entry` is on.
    pub(crate) fn are_thinning(&self) -> bool {
        self.thins
    }

    /// True while a part of the flow table is still to be thinned out.
    pub(crate) fn are_at_it(&self) -> bool {
        !self.thin.is_empty()
    }

    /// True when a packet that would begin a flow is to be dropped.
    #[inline]
    pub(crate) fn drops_packet(&mut self) -> bool {
        self.is_dropping() && self.is_its_turn()
    }

    fn is_its_turn(&mut self) -> bool {
        self.drop_counter = self.drop_counter.saturating_sub(1);
        let is_its_turn = self.drop_counter == 0;
        if is_its_turn {
            self.drop_counter = self.drop_rate;
        }
        is_its_turn
    }

    fn set_drop_rate(&mut self, rules: &Ipvs, free: u32) {
        let missing = rules.amemthresh.saturating_sub(free);
        self.drop_rate = match rules.drop_packet {
            Defence::Always => rules.am_droprate,
            Defence::Auto if missing > 0 => {
                self.drop_counter = rules.amemthresh / missing;
                self.drop_counter
            }
            Defence::Auto | Defence::Never => 0,
        };
    }

    /// Another part of `places` is to be thinned out.
    fn thin_out(&mut self, places: usize) {
        // Marsaglia's xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = (self.random >> 32) as usize % THINNED_PART;
        let size = places.div_ceil(THINNED_PART);
        self.thin = (part * size).min(places)..((part + 1) * size).min(places);
    }
}

impl Spared {
    /// True when chance, which has hit on `flow`, ends it, as the kernel has it: half-open; or idle, and
    /// of *n* such flows whose clients have sent *n* packets it is the last, which are eight at most.
    fn ends(&mut self, flow: &Flow, timeouts: &Timeouts, now: Tick) -> bool {
        match flow.state() {
            _ if flow.has_data() => false,
            State::Tcp(TcpState::SynRecv | TcpState::SynAck)
            | State::Sctp(SctpState::Init1 | SctpState::Init) => true,
            state @ (State::Tcp(TcpState::Established)
            | State::Sctp(SctpState::Established)
            | State::Udp) => {
                let idle = timeouts.of(state).saturating_sub(flow.ticks_left(now));
                idle >= IDLE && self.is_its_turn(flow.packets())
            }
            State::Tcp(_) | State::Sctp(_) => false,
        }
    }

    fn is_its_turn(&mut self, packets: u8) -> bool {
        let Some(spared) = self.0.get_mut(usize::from(packets)).filter(|_| packets > 0) else {
            return false;
        };
        let is_its_turn = *spared <= 1;
        *spared = if is_its_turn { packets } else { *spared - 1 };
        is_its_turn
    }
}

impl<F: Frame> Director<F> {
    /// Looks once a second whether defences are to be on, and goes on with what they do.
    pub(crate) fn defend(&mut self, now: Tick) {
        if self.defences.next.is_none_or(|next| now.has_reached(next)) {
            self.defences.next = Some(now.after(TICKS_PER_SECOND));
            let rules = self.snapshot.settings.ipvs;
            let free = self.free_flows(rules.amemthresh);
            let is_nearly_full = free < rules.amemthresh;
            self.flows
                .set_secure(rules.secure_tcp.is_on(is_nearly_full));
            self.defences.set_drop_rate(&rules, free);
            self.defences.thins = rules.drop_entry.is_on(is_nearly_full);
            if self.defences.thins {
                self.defences.thin_out(self.flows.places());
            }
        }
        if !self.defences.thin.is_empty() {
            self.end_some(now);
        }
    }

    /// How many flows find room in the family with the least room, among those that hold more than
    /// `threshold` at all; `threshold` when none does.
    fn free_flows(&self, threshold: u32) -> u32 {
        let all = [Family::V4, Family::V6].into_iter();
        let big = all.filter(|family| self.flows.capacity(*family) > threshold as usize);
        let free = big.map(|family| self.flows.capacity(family) - self.flows.len_of(family));
        free.min().map_or(threshold, |free| free as u32)
    }

    /// Ends half-open and some idle flows in the part of the table that chance chose.
    fn end_some(&mut self, now: Tick) {
        let (counters, snapshot) = (&self.counters, &self.snapshot);
        let Range { start, end } = self.defences.thin;
        let count = PLACES_A_TURN.min(end - start);
        let spared = &mut self.defences.spared;
        let _ = self.flows.prune(start, count, |flow| {
            let ends = spared.ends(flow, &snapshot.settings.timeouts, now);
            if ends {
                counters.flows_expired.add(1);
                uncount(counters, snapshot, now, flow, End::Forced);
            }
            ends
        });
        self.defences.thin = start + count..end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn dropped(defences: &mut Defences, packets: u32) -> Vec<u32> {
        let packets = 1..=packets;
        packets.filter(|_| defences.drops_packet()).collect()
    }

    #[test]
    fn every_so_many_packets_are_dropped_while_drop_packet_is_on() {
        let mut defences = Defences::new(7);
        let always = Ipvs {
            drop_packet: Defence::Always,
            ..Ipvs::default()
        };
        defences.set_drop_rate(&always, 0);
        assert_eq!(dropped(&mut defences, 35), [1, 11, 21, 31]);
        defences.set_drop_rate(&Ipvs::default(), 0);
        assert_eq!(dropped(&mut defences, 35), []);
    }

    #[test]
    fn the_fuller_the_table_the_more_packets_are_dropped() {
        let auto = Ipvs {
            drop_packet: Defence::Auto,
            ..Ipvs::default()
        };
        for (free, expected) in [(2000, 0), (1024, 0), (1023, 9), (512, 5000), (0, 10_000)] {
            let mut defences = Defences::new(7);
            defences.set_drop_rate(&auto, free);
            assert_eq!(
                dropped(&mut defences, 10_000).len(),
                expected,
                "{free} free"
            );
        }
    }

    #[test]
    fn all_of_the_table_is_thinned_out_in_time() {
        for places in [64, 1000, 4096] {
            let mut defences = Defences::new(0x1234_5678_9abc_def1);
            let mut seen = std::vec![false; places];
            for _ in 0..1000 {
                defences.thin_out(places);
                let thin = defences.thin.clone();
                assert!(thin.len() <= places.div_ceil(THINNED_PART));
                seen[thin].fill(true);
            }
            assert!(seen.iter().all(|seen| *seen));
        }
    }

    #[test]
    fn of_idle_flows_with_n_packets_every_nth_ends_and_none_with_many() {
        let mut spared = Spared::default();
        for (packets, expected) in [(0, 0), (1, 24), (2, 12), (3, 8), (8, 3), (9, 0), (15, 0)] {
            let ended = (0..24).filter(|_| spared.is_its_turn(packets));
            assert_eq!(ended.count(), expected, "{packets} packets");
        }
    }

    #[test]
    fn levels_are_the_kernels() {
        let levels = [
            Defence::Never,
            Defence::Auto,
            Defence::Auto,
            Defence::Always,
        ];
        for (level, defence) in (0..).zip(levels) {
            assert_eq!(Defence::from_level(level), defence);
        }
        assert!(!Defence::Auto.is_on(false) && Defence::Auto.is_on(true));
        assert!(!Defence::Never.is_on(true) && Defence::Always.is_on(false));
    }
}
