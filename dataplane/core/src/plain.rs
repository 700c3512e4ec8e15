//! The short way of a plain packet ([`weir_wire::plain`]) whose flow is known: no [`Note`], no
//! [`weir_wire::Headers`], no hash of addresses other than its flow's.
//!
//! It does what `track.rs` and `forward/` do for such a packet, byte for byte and count for count.
//! Whatever it does not know it gives back untouched, and those decide.
//!
//! [`Note`]: crate::note::Note

mod begin;
mod side;
mod target;
mod way;

use weir_memory::prefetch;
use weir_wire::plain::{self, Ip, Plain};
use weir_wire::protocol;

use crate::director::Director;
use crate::flow::Signal;
use crate::flow::entry::{Head, Key, key_tag};
use crate::io::{Frame, Outlet, RxChecksum};
use crate::note::Verdict;
use crate::service::{Method, Protocol};
use crate::time::Tick;
use begin::{OPENINGS, Opening};
use target::Target;
use way::Way;

pub(crate) use side::{Shorts, Side};
pub(crate) use way::count_activity;

/// What is known of a packet between the stages.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Found<E: Side> {
    key: Key<E::Ip>,
    /// The home line of its flow.
    home: u32,
    /// The place of the flow's entry, or one of the constants.
    place: u32,
    /// Bytes of the IP packet.
    len: u16,
    tcp_flags: u8,
}

/// Its home line does not have it.
const NOWHERE: u32 = u32::MAX;
/// It is not plain: its note says what it is.
const GENERAL: u32 = u32::MAX - 1;

impl<E: Side> Found<E> {
    /// A packet that is not plain.
    pub(crate) const GENERAL: Self = Self {
        key: Key::NONE,
        home: 0,
        place: GENERAL,
        len: 0,
        tcp_flags: 0,
    };

    #[inline(always)]
    pub(crate) const fn is_general(&self) -> bool {
        self.place == GENERAL
    }

    /// True for a plain packet whose flow is not in its home line.
    #[inline(always)]
    pub(crate) const fn is_nowhere(&self) -> bool {
        self.place == NOWHERE
    }
}

impl<F: Frame> Director<F> {
    /// Stage 1: reads a frame that was received at the station `mac`, none where no packet of the family is
    /// plain, and asks for its flow's line. Of a packet that is not plain only that is noted.
    #[inline(always)]
    pub(crate) fn read_plain<E: Side>(&self, frame: &F, mac: Option<u64>, found: &mut Found<E>) {
        let read = mac.and_then(|mac| {
            let verify = match frame.rx_checksum() {
                RxChecksum::Good => false,
                RxChecksum::Unknown => true,
                RxChecksum::Bad => return None,
            };
            E::Ip::read(frame.bytes(), mac, verify)
        });
        let Some(plain) = read.filter(|_| frame.is_linear()) else {
            found.place = GENERAL;
            return;
        };
        let Plain {
            addrs,
            ports,
            len,
            protocol,
            tcp_flags,
        } = plain;
        let protocol = match protocol {
            protocol::TCP => Protocol::Tcp,
            _ => Protocol::Udp,
        };
        let key = Key {
            addrs,
            tag: key_tag(ports, protocol),
        };
        let entries = E::half(&self.flows);
        *found = Found {
            key,
            home: entries.prefetch_home(entries.hash(&key)),
            place: NOWHERE,
            len,
            tcp_flags,
        };
    }

    /// Stage 2: looks into the line, and asks for what the flow leads to. False when the flow may
    /// be away from home: its other lines are asked for.
    #[inline(always)]
    pub(crate) fn find_plain<E: Side>(&self, found: &mut Found<E>) -> bool {
        if found.is_general() {
            return true;
        }
        let entries = E::half(&self.flows);
        let Some((place, entry)) = entries.in_line(found.home, &found.key) else {
            let is_absent = entries.is_absent(found.home);
            if is_absent {
                entries.prefetch_due(found.home);
            } else {
                entries.prefetch_others(&found.key);
            }
            return is_absent;
        };
        found.place = place;
        self.prefetch_of::<E>(entry.head());
        true
    }

    /// What the flow of an entry leads to.
    #[inline(always)]
    fn prefetch_of<E: Side>(&self, entry: &Head) {
        if entry.is_reply() || (E::LOCAL_IN_REPLY && entry.method() == Method::FullNat) {
            E::half(&self.flows).prefetch_place(entry.link);
        }
        if self.has_many_servers {
            let server = entry.slot() as usize;
            if let (Some(target), Some(counters)) = (
                E::short(&self.shorts).targets.get(server),
                self.counters.servers.get(server),
            ) {
                prefetch(target);
                prefetch(counters);
            }
        }
    }

    /// Notes in which state of the table the burst is looked up.
    #[inline(always)]
    pub(crate) fn note_version<E: Side>(&mut self) {
        E::short_mut(&mut self.shorts).looked_up = E::half(&self.flows).version();
    }

    /// Stage 2 once more for those that may be away from home.
    #[inline(never)]
    pub(crate) fn find_away<'a, E: Side + 'a>(
        &self,
        found: impl Iterator<Item = &'a mut Found<E>>,
    ) {
        for found in found.filter(|found| found.is_nowhere()) {
            if let Some(place) = self.find_again(found) {
                found.place = place;
                if let Some(entry) = E::half(&self.flows).at(place) {
                    self.prefetch_of::<E>(entry.head());
                }
            }
        }
    }

    /// Stage 3: sends a plain packet of a known flow on. Gives it back, and has changed nothing,
    /// when the general way has to see to it.
    #[inline(always)]
    pub(crate) fn pass_plain<E: Side, O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        found: &Found<E>,
        frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        // An earlier packet of this burst may have put another flow in this place. Of a packet that is
        // not plain or nowhere there is nothing in its place: no table is so big.
        let looked_up = E::short(&self.shorts).looked_up;
        if E::half(&self.flows).version() != looked_up && !self.is_still_there(found) {
            return Err(frame);
        }
        self.pass_at(now, found, found.place, frame, outlet)
    }

    /// The same of a packet whose flow is known to be at `place`.
    #[inline(always)]
    pub(crate) fn pass_at<E: Side, O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        found: &Found<E>,
        place: u32,
        mut frame: F,
        outlet: &mut O,
    ) -> Result<(), F> {
        let mut way = Way::<E> {
            now,
            len: found.len,
            tcp_flags: found.tcp_flags,
            flows: &mut self.flows,
            counters: &self.counters,
            snapshot: &self.snapshot,
            has_resets: self.has_resets,
            next_ip_id: &mut self.next_ip_id,
            targets: &E::short(&self.shorts).targets,
        };
        let Some((out, len)) = way.pass(place, &mut frame) else {
            return Err(frame);
        };
        frame.truncate(plain::ETHERNET_LEN + usize::from(len));
        self.passed += 1;
        outlet.transmit(out, frame);
        Ok(())
    }

    #[inline(never)]
    fn is_still_there<E: Side>(&self, found: &Found<E>) -> bool {
        let entry = E::half(&self.flows).at(found.place);
        entry.is_some_and(|entry| entry.is_under(&found.key))
    }

    /// The place of a plain packet's flow that was not at home when the burst was looked up.
    pub(crate) fn find_again<E: Side>(&self, found: &Found<E>) -> Option<u32> {
        E::half(&self.flows).find_from(found.home, &found.key)
    }

    /// Begins a flow for a plain packet that has none, as `track.rs` does, and returns its place; none when the general way
    /// has to see to it, and then the packet may have found what becomes of it.
    #[inline(never)]
    pub(crate) fn open_plain<E: Side>(
        &mut self,
        now: Tick,
        found: &Found<E>,
        is_handed_off: bool,
    ) -> Result<u32, Option<Verdict>> {
        match self.begin_plain(now, found, is_handed_off) {
            Some(begun) => begun.map_err(Some),
            None => self.open_unprepared(now, found, is_handed_off),
        }
    }

    #[inline(never)]
    fn open_unprepared<E: Side>(
        &mut self,
        now: Tick,
        found: &Found<E>,
        is_handed_off: bool,
    ) -> Result<u32, Option<Verdict>> {
        let tuple = found.key.tuple();
        let to_many = tuple.dst.is_multicast() || tuple.dst.is_broadcast();
        if to_many || E::Ip::is_martian(tuple.src, tuple.dst) {
            return Err(None);
        }
        let signal = Signal::tcp(found.tcp_flags);
        let opened = self.open(now, &tuple, signal, is_handed_off, None);
        let id = opened.map_err(|verdict| match verdict {
            Verdict::LookUp => None,
            decided => Some(decided),
        })?;
        let place = id.place();
        if let Some(entry) = E::half(&self.flows).at(place) {
            let server = entry.head().server();
            self.make_target::<E>(now, server);
        }
        self.make_opening::<E>(&found.key);
        Ok(place)
    }
}
