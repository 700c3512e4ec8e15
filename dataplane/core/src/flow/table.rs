//! The flow table of one worker: which flow a packet belongs to, in one cache line or little more.
//!
//! IPv4 and IPv6 flows are kept apart, each in a `Family` with entries of its own size. All memory
//! is taken at start, in huge pages where there are any.

mod begin;
mod pair;
mod walk;

use weir_memory::Pages;
use weir_wire::Family as IpFamily;
use weir_wire::plain::Ip;

use super::entry::{Entry, Entry4, Entry6, Key};
use super::family::Family;
use super::ftp::Controls;
use super::{Flow, Signal, State, TcpState, Timeouts, Tuple, tcp};
use crate::persist::TemplateId;
use crate::service::{Method, ServerId};
use crate::time::Tick;
use pair::{find_in, flow_at, insert_in, insert_unsettled_in, remove_from, settle_in, template_of};

pub(crate) use begin::PlainFlow;
pub use walk::READS_A_SWEEP;

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the real server (NAT, FullNAT).
    Reply,
}

/// The place of a flow in its table; good until another is inserted or this one is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId {
    place: u32,
    family: IpFamily,
}

impl FlowId {
    pub(crate) const fn place(self) -> u32 {
        self.place
    }

    pub(super) const fn family(self) -> IpFamily {
        self.family
    }
}

/// The hash of a tuple under a table's seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TupleHash(u64);

impl TupleHash {
    /// Half of its bits.
    pub(crate) const fn folded(self) -> u32 {
        (self.0 ^ self.0 >> 32) as u32
    }
}

/// A flow that ended by time.
#[derive(Clone, Copy, Debug)]
pub struct Expired(pub Flow);

/// There is no room for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a flow begins with.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// The tuple of the client's packets.
    pub request: Tuple,
    /// The tuple of the server's packets as they reach the director, where they do.
    pub reply: Option<Tuple>,
    /// The real server's slot.
    pub server: ServerId,
    /// How packets reach it.
    pub method: Method,
    /// When it ends if no packet comes.
    pub expires: Tick,
    /// See [`Flow::is_controlled`].
    pub is_controlled: bool,
    /// The persistence template that chose the server.
    pub template: Option<TemplateId>,
}

/// What a packet did to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// The flow counted as active before.
    pub was_active: bool,
    /// It does now.
    pub is_active: bool,
    /// It vouches for the flow's template, if it has one: both sides have been heard.
    pub assures: bool,
}

/// All flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    pub(crate) v4: Family<Entry4>,
    pub(crate) v6: Family<Entry6>,
    of_v4: Count,
    of_v6: Count,
    /// Flows whose handshake is not complete.
    half_open: usize,
    /// TCP's states follow the table of the defence `secure_tcp`.
    is_secure: bool,
    /// FTP's control connections.
    pub(super) controls: Controls,
    /// The group that the sweep looks at next: IPv4's, then IPv6's.
    sweep_at: usize,
}

#[derive(Debug)]
pub(crate) struct Count {
    len: usize,
    most: usize,
}

/// An entry that has its half of the table.
pub(crate) trait Half: Entry {
    /// FullNAT's local address stands in the reply's entry alone.
    const LOCAL_IN_REPLY: bool;

    /// FullNAT's local address of a request, as packets have it.
    fn local(&self, table: &FlowTable) -> Option<<Self::Ip as Ip>::Addr>;

    fn half(table: &FlowTable) -> &Family<Self>;

    /// With the count of its flows.
    fn half_mut(table: &mut FlowTable) -> (&mut Family<Self>, &mut Count);
}

impl Half for Entry4 {
    const LOCAL_IN_REPLY: bool = false;

    #[inline(always)]
    fn local(&self, _: &FlowTable) -> Option<u32> {
        Some(self.head().local)
    }

    #[inline(always)]
    fn half(table: &FlowTable) -> &Family<Self> {
        &table.v4
    }

    #[inline(always)]
    fn half_mut(table: &mut FlowTable) -> (&mut Family<Self>, &mut Count) {
        (&mut table.v4, &mut table.of_v4)
    }
}

impl Half for Entry6 {
    const LOCAL_IN_REPLY: bool = true;

    #[inline(always)]
    fn local(&self, table: &FlowTable) -> Option<u128> {
        let [_, local] = table.v6.at(self.head().link)?.ends();
        Some(local)
    }

    #[inline(always)]
    fn half(table: &FlowTable) -> &Family<Self> {
        &table.v6
    }

    #[inline(always)]
    fn half_mut(table: &mut FlowTable) -> (&mut Family<Self>, &mut Count) {
        (&mut table.v6, &mut table.of_v6)
    }
}

/// Does the same with the entries of either family.
macro_rules! in_family {
    ($family:expr, $v4:expr, $v6:expr, $entries:ident => $body:expr) => {
        match $family {
            IpFamily::V4 => {
                let $entries = $v4;
                $body
            }
            IpFamily::V6 => {
                let $entries = $v6;
                $body
            }
        }
    };
}

impl FlowTable {
    /// A table for so many IPv4 and IPv6 flows. `seed` keeps strangers from choosing colliding
    /// addresses. Takes 100 bytes for each IPv4 flow and 183 for each IPv6 flow, all of it touched
    /// here: a one-way flow uses 32 or 64 of them, one whose replies pass twice that.
    #[must_use]
    pub fn new(flows_v4: usize, flows_v6: usize, seed: [u64; 2]) -> Self {
        let count = |most| Count { len: 0, most };
        Self {
            v4: Family::new(flows_v4, seed),
            v6: Family::new(flows_v6, seed),
            of_v4: count(flows_v4),
            of_v6: count(flows_v6),
            half_open: 0,
            is_secure: false,
            controls: Controls::new(flows_v4 + flows_v6),
            sweep_at: 0,
        }
    }

    /// Flows in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of_v4.len + self.of_v6.len
    }

    /// Flows of a family in the table.
    #[must_use]
    pub fn len_of(&self, family: IpFamily) -> usize {
        match family {
            IpFamily::V4 => self.of_v4.len,
            IpFamily::V6 => self.of_v6.len,
        }
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most flows of a family that it can hold.
    #[must_use]
    pub fn capacity(&self, family: IpFamily) -> usize {
        match family {
            IpFamily::V4 => self.of_v4.most,
            IpFamily::V6 => self.of_v6.most,
        }
    }

    /// Bytes of memory taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }

    /// What the memory of the IPv4 flows came from.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.v4.pages()
    }

    /// Flows whose handshake is not complete.
    #[inline]
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    /// Whether TCP's states follow the table of the defence `secure_tcp` from now on.
    pub fn set_secure(&mut self, is_secure: bool) {
        self.is_secure = is_secure;
    }

    /// True while they do.
    #[inline]
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    #[inline]
    pub(super) fn count_half_open(&mut self, was: State, is: State) {
        self.half_open += usize::from(is.is_half_open());
        self.half_open -= usize::from(was.is_half_open());
    }

    /// The hash by which [`find`](Self::find) looks.
    #[inline]
    #[must_use]
    pub fn hash(&self, tuple: &Tuple) -> TupleHash {
        TupleHash(match tuple.src.family() {
            IpFamily::V4 => self.v4.hash(&Key::of(tuple)),
            IpFamily::V6 => self.v6.hash(&Key::of(tuple)),
        })
    }

    /// Asks for the memory that [`find`](Self::find) will read first.
    #[inline]
    pub fn prefetch(&self, family: IpFamily, TupleHash(hash): TupleHash) {
        let _line = match family {
            IpFamily::V4 => self.v4.prefetch_home(hash),
            IpFamily::V6 => self.v6.prefetch_home(hash),
        };
    }

    /// The flow that a packet with this tuple belongs to, and which way it goes.
    #[inline]
    #[must_use]
    pub fn find(&self, tuple: &Tuple, TupleHash(hash): TupleHash) -> Option<(FlowId, Direction)> {
        let (family, found) = match tuple.src.family() {
            IpFamily::V4 => (IpFamily::V4, find_in(&self.v4, &Key::of(tuple), hash)),
            IpFamily::V6 => (IpFamily::V6, find_in(&self.v6, &Key::of(tuple), hash)),
        };
        let (place, direction) = found?;
        Some((FlowId { place, family }, direction))
    }

    /// The flow at `id`.
    ///
    /// # Panics
    /// When `id` is not from this table.
    #[must_use]
    pub fn get(&self, id: FlowId) -> Flow {
        let flow = in_family!(id.family, &self.v4, &self.v6, entries => flow_at(entries, id.place));
        self.controls.complete(flow)
    }

    /// Takes a packet of the flow at `id` into account: its state moves on and its life begins anew.
    pub fn advance(
        &mut self,
        id: FlowId,
        direction: Direction,
        signal: Signal,
        timeouts: &Timeouts,
        now: Tick,
    ) -> Advanced {
        let is_secure = self.is_secure;
        let (was, is) = in_family!(id.family, &mut self.v4, &mut self.v6, entries => {
            let head = entries.get_mut(id.place).head_mut();
            let was = head.state();
            if direction == Direction::Request {
                head.count_packet();
            }
            if was == State::Udp {
                let assures = direction == Direction::Reply && head.awaits_reply();
                if assures {
                    head.set_awaits_reply(false);
                }
                entries.keep_until(id.place, now.after(timeouts.of(was)));
                return Advanced { was_active: false, is_active: false, assures };
            }
            let is = was.next(tcp::Seen::of(direction, head.method()), signal, is_secure);
            head.set_state(is);
            entries.keep_until(id.place, now.after(timeouts.of(is)));
            (was, is)
        });
        self.count_half_open(was, is);
        Advanced {
            was_active: was.is_active(),
            is_active: is.is_active(),
            assures: was != is && is.is_established(),
        }
    }

    /// Closes the TCP flow at `id`, in whatever state it is; its life goes on as that of a closed one.
    pub(crate) fn close(&mut self, id: FlowId, timeouts: &Timeouts, now: Tick) -> Advanced {
        let closed = State::Tcp(TcpState::Close);
        let was = in_family!(id.family, &mut self.v4, &mut self.v6, entries => {
            let head = entries.get_mut(id.place).head_mut();
            let was = head.state();
            head.set_state(closed);
            entries.keep_until(id.place, now.after(timeouts.of(closed)));
            was
        });
        self.count_half_open(was, closed);
        Advanced {
            was_active: was.is_active(),
            is_active: closed.is_active(),
            assures: false,
        }
    }

    /// Takes a flow in. The caller has looked before: no flow with this request tuple is there.
    /// A reply tuple that another flow has already (two services share a server and the client
    /// its port) now leads to this flow, the younger one, as in the kernel.
    ///
    /// # Errors
    /// [`Full`] when there are as many as there may be, or no place is left for this one. Nothing
    /// has changed then, but that an older flow may have lost a reply tuple that both had.
    pub fn insert(&mut self, flow: &NewFlow) -> Result<FlowId, Full> {
        self.insert_by(flow, insert_in, insert_in)
    }

    /// As [`insert`](Self::insert), but the reply's entry is made by [`settle`](Self::settle): its
    /// line, which nobody could know of before, is asked for and not waited for.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn insert_unsettled(&mut self, flow: &NewFlow) -> Result<FlowId, Full> {
        self.insert_by(flow, insert_unsettled_in, insert_unsettled_in)
    }

    fn insert_by(
        &mut self,
        flow: &NewFlow,
        v4: impl FnOnce(&mut Family<Entry4>, &NewFlow) -> Result<u32, Full>,
        v6: impl FnOnce(&mut Family<Entry6>, &NewFlow) -> Result<u32, Full>,
    ) -> Result<FlowId, Full> {
        let family = flow.request.src.family();
        let count = self.count(family);
        if count.len == count.most {
            return Err(Full);
        }
        let place = match family {
            IpFamily::V4 => v4(&mut self.v4, flow)?,
            IpFamily::V6 => v6(&mut self.v6, flow)?,
        };
        self.count(family).len += 1;
        Ok(FlowId { place, family })
    }

    /// Makes the replies' entries that were put off. A flow whose reply finds no place is taken out
    /// and told to `failed`.
    pub(crate) fn settle(&mut self, mut failed: impl FnMut(&Flow)) {
        // In their order: of two flows with the same reply the younger has it.
        for at in 0..self.v4.awaited.len() {
            if let Some(flow) = settle_in(&mut self.v4, at) {
                let flow = self.controls.complete(flow);
                self.forget(IpFamily::V4, &flow);
                failed(&flow);
            }
        }
        self.v4.awaited.clear();
        for at in 0..self.v6.awaited.len() {
            if let Some(flow) = settle_in(&mut self.v6, at) {
                let flow = self.controls.complete(flow);
                self.forget(IpFamily::V6, &flow);
                failed(&flow);
            }
        }
        self.v6.awaited.clear();
    }

    /// Takes the flow at `id` out and returns it.
    pub fn remove(&mut self, id: FlowId) -> Flow {
        let flow = in_family!(id.family, &mut self.v4, &mut self.v6, entries => remove_from(entries, id.place));
        let flow = self.controls.complete(flow);
        self.forget(id.family, &flow);
        flow
    }

    fn forget(&mut self, family: IpFamily, flow: &Flow) {
        self.count(family).len -= 1;
        self.half_open -= usize::from(flow.state().is_half_open());
        self.controls.forget(flow);
    }

    fn count(&mut self, family: IpFamily) -> &mut Count {
        match family {
            IpFamily::V4 => &mut self.of_v4,
            IpFamily::V6 => &mut self.of_v6,
        }
    }

    /// Moves the state of the flow at `place` from `was` to `is`.
    pub(crate) fn change_state<E: Half>(&mut self, place: u32, was: TcpState, is: TcpState) {
        let (was, is) = (State::Tcp(was), State::Tcp(is));
        E::half_mut(self).0.get_mut(place).head_mut().set_state(is);
        self.count_half_open(was, is);
    }

    /// The template of the flow at `place`.
    pub(crate) fn template_of<E: Half>(&self, place: u32) -> Option<TemplateId> {
        let entries = E::half(self);
        template_of(entries, entries.get(place).head())
    }
}

#[cfg(test)]
mod tests;
