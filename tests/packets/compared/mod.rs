//! The same packets by the short way and by the general way: two sets of workers that differ in
//! nothing else, driven by the bytes of a property test or a fuzzer.
//!
//! Input is a list of steps, each an operation with its operands. Most are bursts of good packets,
//! some of them damaged, of few clients and ports, so that flows are met again in every state.
//! Replies and ICMP errors answer what was sent before.

mod input;
mod outcome;
mod packets;
mod scene;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::flow::Timeouts;
use weir_core::io::{BURST_MAX, PortId, RxChecksum};
use weir_core::persist::Templates;
use weir_core::settings::FtpPorts;
use weir_core::testing::MemFrame;
use weir_wire::Addr;
use weir_wire::builder::addr;

use crate::world::{Described, LAN, Net, WAN, World, each_counter, number_of};
use input::Bytes;
use outcome::{difference, outcome};
use packets::pieces;
use scene::{LIMITS, SLOTS, SLOTS_V6, marks, rules, services};

/// Frames that replies and errors may answer.
const REMEMBERED: usize = 64;

/// Workers of which one set takes the short way where it can.
pub(crate) struct Compared {
    short: Vec<World>,
    general: Vec<World>,
    services: Vec<Described>,
    removed: Vec<u8>,
    /// What was sent last, and by which port.
    sent: Vec<(PortId, Vec<u8>)>,
    /// How many of eight packets are of IPv6, of those that answer nothing.
    share_of_v6: u8,
}

/// What a run met, by name, so that one can tell what was compared.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) BTreeMap<String, u64>);

impl Seen {
    /// Adds another run.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
}

impl Compared {
    pub(crate) fn new(workers: u16) -> Self {
        let services = services();
        let worlds = |is_general: bool| {
            let mut worlds: Vec<World> = Vec::new();
            for id in 0..workers {
                let mut world = World::worker(id, workers, LIMITS, &services);
                if is_general {
                    world.director.take_the_general_way_only();
                }
                // Until a change says otherwise new flows are asked nothing special.
                world.settings.ipvs.ftp_ports = FtpPorts::NONE;
                world.templates = Arc::new(Templates::new(6, LIMITS.servers, [7, 9]));
                match worlds.first() {
                    Some(first) => world.share_cursor(first, &services),
                    None => world.publish(&services, &[]),
                }
                worlds.push(world);
            }
            worlds
        };
        Self {
            short: worlds(false),
            general: worlds(true),
            services: services.clone(),
            removed: Vec::new(),
            sent: Vec::new(),
            share_of_v6: 0,
        }
    }

    /// Takes every step of `input`.
    ///
    /// # Panics
    /// When the two ways differ.
    pub(crate) fn run(mut self, input: &[u8]) -> Seen {
        let mut input = Bytes(input);
        while !input.0.is_empty() {
            match input.below(10) {
                0 => self.pass_time(&mut input),
                1 | 2 => self.change(&mut input),
                _ => self.burst(&mut input),
            }
        }
        let mut seen = Seen(BTreeMap::new());
        for world in &self.short {
            // Of all servers together.
            each_counter(world.counters(), |name, value| {
                let name = name.to_string();
                let name = name.split_once('.').map_or(name.as_str(), |(_, last)| last);
                *seen.0.entry(name.to_owned()).or_default() += value;
            });
        }
        seen
    }

    fn each(&mut self, mut change: impl FnMut(&mut World)) {
        self.short.iter_mut().for_each(&mut change);
        self.general.iter_mut().for_each(change);
    }

    fn pass_time(&mut self, input: &mut Bytes<'_>) {
        let ticks = input.of(&[1, 20, 100, 300, 1_000, 6_100, 12_100, 60_000, 100_000]);
        let groups = input.of(&[usize::MAX, 1, 2]);
        self.each(|world| {
            world.now = world.now.after(ticks);
            world.director.housekeep(world.now, groups, &mut world.out);
            world.director.end_drained(world.now, &mut world.out);
        });
        self.compare("time passed");
    }

    /// Publishes something else.
    fn change(&mut self, input: &mut Bytes<'_>) {
        let is_v6 = input.once_in(3);
        let (net, slot) = match is_v6 {
            false => (Net::v4(), input.of(&SLOTS)),
            true => (Net::v6(), input.of(&SLOTS_V6)),
        };
        let toggle = |list: &mut Vec<Addr>, who| match list.iter().position(|w| *w == who) {
            Some(at) => {
                list.swap_remove(at);
            }
            None => list.push(who),
        };
        match input.below(18) {
            0 | 1 => match self.removed.iter().position(|s| *s == slot) {
                Some(at) => {
                    self.removed.swap_remove(at);
                }
                None => self.removed.push(slot),
            },
            2 | 3 => {
                let weight = u32::from(input.next() % 3);
                // Only a server without weight has had its time to drain.
                self.each(|world| world.resets.retain(|s| *s != slot || weight == 0));
                let all = self.services.iter_mut().flat_map(|s| &mut s.servers);
                all.filter(|server| server.0 == slot)
                    .for_each(|server| server.2 = weight);
            }
            4 | 5 => {
                let who = net.server(number_of(slot));
                self.each(|world| toggle(&mut world.unknown_neighbours, who));
            }
            6 => {
                let router = addr(if is_v6 {
                    "2001:db8:1::fe"
                } else {
                    "192.0.2.254"
                });
                self.each(|world| toggle(&mut world.unknown_neighbours, router));
            }
            7 => {
                let mtu = input.of(&[1500, 1400, 576, 1514, 80, 1330]);
                self.each(|world| world.mtu_lan = mtu);
            }
            8 => self.each(|world| world.settings.pmtu_disc ^= true),
            9 => {
                let vlan = input.of(&[0, 0, 7]);
                self.each(|world| world.vlan_lan = vlan);
            }
            10 => {
                let timeouts = input.of(&[Timeouts::default(), Timeouts::with(5, 3, 2)]);
                self.each(|world| world.settings.timeouts = timeouts);
            }
            11 | 12 => {
                let ipvs = rules(input);
                self.each(|world| world.settings.ipvs = ipvs);
            }
            13 => {
                let all = self.services.iter_mut().flat_map(|s| &mut s.servers);
                all.filter(|server| server.0 == slot)
                    .for_each(|server| server.2 = 0);
                self.each(|world| match world.resets.iter().position(|s| *s == slot) {
                    Some(at) => {
                        world.resets.swap_remove(at);
                    }
                    None => world.resets.push(slot),
                });
            }
            14 => self.each(|world| match world.marks.is_empty() {
                true => world.marks = marks(),
                false => world.marks.clear(),
            }),
            _ => {
                let (which, is_so) = (input.below(4), input.once_in(2));
                self.each(|world| match which {
                    0 => world.out.without_twin = if is_so { vec![WAN] } else { vec![] },
                    1 => world.out.is_exhausted = is_so,
                    2 => world.out.is_stuck = is_so,
                    _ => world.is_one_arm = is_so,
                });
            }
        }
        let (services, removed) = (self.services.clone(), self.removed.clone());
        self.each(|world| world.publish(&services, &removed));
        self.compare("another publication");
    }

    fn burst(&mut self, input: &mut Bytes<'_>) {
        let count = 1 + input.below(BURST_MAX);
        self.share_of_v6 = input.of(&[0, 0, 0, 1, 4, 8, 8]);
        let worker = input.below(self.short.len());
        let mut bursts = [(WAN, Vec::new()), (LAN, Vec::new())];
        for _ in 0..count {
            let (mut port, bytes) = self.packet(input);
            let mut frame = MemFrame::new(&bytes);
            let (copies, vouched, odd) = match input.next() {
                0xff => (1, RxChecksum::Unknown, 1),
                0xfe => (1, RxChecksum::Unknown, 2),
                0xfd | 0xfc => (1, RxChecksum::Bad, 0),
                0xe0..=0xfb => (1, RxChecksum::Good, 0),
                0xc0..=0xdf => (2, RxChecksum::Unknown, 0),
                _ => (1, RxChecksum::Unknown, 0),
            };
            frame.checksum = vouched;
            frame.linear = odd != 1;
            if odd == 2 {
                port = if port == WAN { LAN } else { WAN };
            }
            let burst = &mut bursts[usize::from(port.0)].1;
            if input.once_in(12) {
                burst.extend(pieces(&bytes, input));
            } else {
                burst.extend(std::iter::repeat_n(frame, copies));
            }
        }
        for (port, frames) in bursts {
            for frames in frames.chunks(BURST_MAX) {
                for world in [&mut self.short[worker], &mut self.general[worker]] {
                    world.take_frames(port, false, frames.iter().cloned().collect());
                }
                self.compare("a burst");
            }
        }
    }

    /// Compares all workers, and lets what one hands off reach its owner until none is under way.
    fn compare(&mut self, after: &str) {
        let mut under_way = Vec::new();
        for (id, (short, general)) in self.short.iter_mut().zip(&mut self.general).enumerate() {
            let (is, handed_off) = outcome(short);
            let (should, _) = outcome(general);
            if is != should {
                let told = difference(&is, &should, short);
                panic!("worker {id} after {after}: {told}");
            }
            self.sent.extend(is.sent);
            under_way.extend(handed_off);
        }
        let many = self.sent.len().saturating_sub(REMEMBERED);
        self.sent.drain(..many);
        if under_way.is_empty() {
            return;
        }
        for (owner, port, frame) in under_way {
            let at = usize::from(owner.0);
            for world in [&mut self.short[at], &mut self.general[at]] {
                world.take_frames(port, true, [frame.clone()].into_iter().collect());
            }
        }
        self.compare("a hand-off");
    }
}
