//! FTP's flows: control connections, of which more is remembered than an entry holds, and the data
//! connections that they announce.
//!
//! A control connection is *special*: a bit in its entry sends its packets the general way, and the
//! entry's field for a persistence template tells its place here. A data connection has its control
//! connection's place there, goes the short way once it is open, and is a plain NAT flow otherwise.
//! Plain flows pay nothing.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use weir_wire::{Addr, Family};

use super::entry::{Entry, Head};
use super::table::{FlowId, Full};
use super::{Direction, Flow, FlowTable, NewFlow, State, TcpState, Tuple};
use crate::persist::TemplateId;
use crate::service::{Method, ServerId};
use crate::time::{Tick, seconds};

/// A control connection with data connections is kept for so many seconds when its time is over.
const HELD_SECONDS: u32 = 60;
/// Most data connections of one control connection, those that have ended and are remembered
/// included.
const DATA_MAX: u32 = 4096;
/// One of so many flows may be a control connection of FTP.
const FLOWS_PER_CONTROL: usize = 16;
const CONTROLS_MIN: usize = 64;
const CONTROLS_MAX: usize = 1 << 16;

/// What FTP makes of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing.
    #[default]
    Plain,
    /// A control connection, by its place.
    Control(u32),
    /// A data connection of the control connection there.
    Data(u32),
}

/// How a stream's sequence numbers are shifted by what was put in or taken out, as the kernel has
/// it: all after the last change by one amount, all before by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// Where the last changed segment began, in the sender's numbers.
    init_seq: u32,
    delta: u32,
    previous_delta: u32,
    is_on: bool,
}

/// True when `a` comes after `b` in a stream.
const fn is_after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

impl Shift {
    /// The segment at `seq` has become longer by `by`. Once only: a segment that is sent again
    /// changes nothing.
    pub(crate) fn grow(&mut self, seq: u32, by: i32) {
        if !self.is_on || is_after(seq, self.init_seq) {
            self.previous_delta = self.delta;
            self.delta = self.delta.wrapping_add_signed(by);
            self.init_seq = seq;
            self.is_on = true;
        }
    }

    /// The sender's number in the receiver's count.
    pub(crate) const fn of_seq(&self, seq: u32) -> u32 {
        let delta = match is_after(seq, self.init_seq) {
            true => self.delta,
            false => self.previous_delta,
        };
        if self.is_on {
            seq.wrapping_add(delta)
        } else {
            seq
        }
    }

    /// What the receiver acknowledges, in the sender's count. Of the changed segment itself only
    /// the whole can be told from nothing; the kernel is not exact there, and may acknowledge a
    /// byte too many of a segment that became shorter.
    pub(crate) const fn of_ack(&self, ack: u32) -> u32 {
        if !self.is_on {
            return ack;
        }
        if !is_after(ack, self.init_seq.wrapping_add(self.previous_delta)) {
            return ack.wrapping_sub(self.previous_delta);
        }
        let acked = ack.wrapping_sub(self.delta);
        if is_after(self.init_seq, acked) {
            self.init_seq
        } else {
            acked
        }
    }

    /// True for the segment that was changed last, sent again: it has to become the same again.
    pub(crate) const fn is_of(&self, seq: u32) -> bool {
        self.is_on && seq == self.init_seq
    }

    /// True when numbers are other ones at all.
    pub(crate) const fn is_any(&self) -> bool {
        self.is_on && (self.delta != 0 || self.previous_delta != 0)
    }
}

/// What the client has asked for last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No data connection, or one that the server makes.
    #[default]
    Active,
    /// A 227.
    Pasv,
    /// A 229.
    Epsv,
}

/// What is remembered of a control connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    /// Of what the server sends.
    pub(crate) shift: Shift,
    /// What the server sends next, unless it sends something again; none before it has spoken.
    edge: Option<u32>,
    pub(crate) mode: Mode,
    pub(crate) server: ServerId,
    /// The persistence template that chose it.
    template: Option<TemplateId>,
    /// Data connections in the table.
    data: u32,
    /// The control connection itself is.
    is_alive: bool,
    /// It is established.
    pub(crate) is_open: bool,
}

const _: () = assert!(size_of::<Control>() <= 48);

impl Control {
    /// Takes note of `len` numbers from `seq` on that the server has used. True when none of them
    /// was seen before: only such a segment may be changed, or the client would get two streams.
    pub(crate) fn is_new(&mut self, seq: u32, len: u32) -> bool {
        let end = seq.wrapping_add(len);
        let is_new = self.edge.is_none_or(|edge| !is_after(edge, seq));
        if self.edge.is_none_or(|edge| is_after(end, edge)) {
            self.edge = Some(end);
        }
        is_new
    }
}

/// All control connections of one worker.
#[derive(Debug)]
pub(super) struct Controls {
    places: Box<[Control]>,
    free: Vec<u32>,
    /// Data connections in the table whose client port is not known.
    pub(super) without_port: u32,
}

impl Controls {
    /// For a table of so many flows.
    pub(super) fn new(flows: usize) -> Self {
        let most = (flows / FLOWS_PER_CONTROL).clamp(CONTROLS_MIN, CONTROLS_MAX);
        let none = Control {
            shift: Shift::default(),
            edge: None,
            mode: Mode::Active,
            server: ServerId(0),
            template: None,
            data: 0,
            is_alive: false,
            is_open: false,
        };
        Self {
            places: vec![none; most].into_boxed_slice(),
            free: (0..most as u32).rev().collect(),
            without_port: 0,
        }
    }

    fn take(&mut self, flow: &Flow) -> Option<u32> {
        let at = self.free.pop()?;
        let place = self.places.get_mut(at as usize)?;
        *place = Control {
            shift: Shift::default(),
            edge: None,
            mode: Mode::Active,
            server: flow.server(),
            template: flow.template(),
            data: 0,
            is_alive: true,
            is_open: false,
        };
        Some(at)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Control> {
        self.places.get_mut(at as usize)
    }

    /// True for a control connection that has to outlive its data connections.
    pub(super) fn is_held(&self, role: Role) -> bool {
        match role {
            Role::Control(at) => self.places.get(at as usize).is_some_and(|c| c.data > 0),
            Role::Plain | Role::Data(_) => false,
        }
    }

    /// A flow as its entry tells it, with what is kept here instead.
    pub(super) fn complete(&self, mut flow: Flow) -> Flow {
        if let Role::Control(at) = flow.role {
            flow.template = self.places.get(at as usize).and_then(|c| c.template);
            flow.has_data = self.is_held(flow.role);
        }
        flow
    }

    /// A flow has left the table.
    pub(super) fn forget(&mut self, flow: &Flow) {
        let (at, is_control) = match flow.role {
            Role::Plain => return,
            Role::Control(at) => (at, true),
            Role::Data(at) => (at, false),
        };
        if !is_control && flow.request().src_port == 0 {
            self.without_port -= 1;
        }
        let Some(control) = self.places.get_mut(at as usize) else {
            return;
        };
        if is_control {
            control.is_alive = false;
        } else {
            control.data -= 1;
        }
        if !control.is_alive && control.data == 0 {
            self.free.push(at);
        }
    }

    /// Until when a control connection is kept whose time is over.
    pub(super) const fn held_until(now: Tick) -> Tick {
        now.after(seconds(HELD_SECONDS))
    }
}

/// A data connection that a control connection has announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    /// The tuple of the client's packets; source port 0 when it is not known.
    pub(crate) request: Tuple,
    /// The tuple of the server's, when all of it is known.
    pub(crate) reply: Option<Tuple>,
    pub(crate) server: ServerId,
    pub(crate) server_port: u16,
    /// The place of the control connection.
    pub(crate) control: u32,
    /// How long it is waited for.
    pub(crate) expires: Tick,
}

impl FlowTable {
    /// Makes the flow at `id` a control connection; false when there are too many.
    pub(crate) fn watch(&mut self, id: FlowId) -> bool {
        let flow = self.get(id);
        let Some(at) = self.controls.take(&flow) else {
            return false;
        };
        self.set_role(id, Role::Control(at));
        true
    }

    /// What is remembered of the control connection at `at`.
    pub(crate) fn control_mut(&mut self, at: u32) -> Option<&mut Control> {
        self.controls.get_mut(at)
    }

    /// True while a data connection may come whose client port is not known.
    #[inline]
    pub(crate) fn awaits_clients(&self) -> bool {
        self.controls.without_port > 0
    }

    /// Takes in a data connection that is announced, or lets one that is there already wait anew.
    /// True when it is new.
    ///
    /// # Errors
    /// [`Full`] when there is no room, or the tuple is another flow's.
    pub(crate) fn announce(&mut self, announced: &Announced) -> Result<bool, Full> {
        let request = &announced.request;
        if let Some((id, direction)) = self.find(request, self.hash(request)) {
            let role = self.get(id).role;
            if direction != Direction::Request || !matches!(role, Role::Data(_)) {
                return Err(Full);
            }
            self.listen(id, announced.expires);
            return Ok(false);
        }
        let control = self.controls.get_mut(announced.control);
        if control.is_none_or(|control| control.data >= DATA_MAX) {
            return Err(Full);
        }
        let id = self.insert(&NewFlow {
            request: *request,
            reply: announced.reply,
            server: announced.server,
            method: Method::Nat,
            expires: announced.expires,
            is_controlled: true,
            template: None,
        })?;
        self.controls.without_port += u32::from(request.src_port == 0);
        if let Some(control) = self.controls.get_mut(announced.control) {
            control.data += 1;
        }
        self.set_role(id, Role::Data(announced.control));
        self.set_server_port(id, announced.server_port);
        self.listen(id, announced.expires);
        Ok(true)
    }

    /// The data connection that waits for a packet with this tuple under source port 0, now with
    /// its port. `addr_of` tells the address of a server.
    pub(crate) fn connect(
        &mut self,
        request: &Tuple,
        addr_of: impl FnOnce(ServerId) -> Option<Addr>,
    ) -> Option<FlowId> {
        let waiting = Tuple {
            src_port: 0,
            ..*request
        };
        let (id, direction) = self.find(&waiting, self.hash(&waiting))?;
        let flow = self.get(id);
        let Role::Data(control) = flow.role else {
            return None;
        };
        if direction != Direction::Request || flow.state() != State::Tcp(TcpState::Listen) {
            return None;
        }
        let server = flow.server();
        let reply = Tuple {
            src: addr_of(server)?,
            src_port: flow.nat_port,
            ..request.reversed()
        };
        // Its control connection is not to go in between.
        self.controls.get_mut(control)?.data += 1;
        self.remove(id);
        let new = NewFlow {
            request: *request,
            reply: Some(reply),
            server,
            method: flow.method(),
            expires: flow.expires,
            is_controlled: true,
            template: None,
        };
        // One has just left, so there is room for as many entries, but their lines may be full.
        let Ok(id) = self.insert(&new) else {
            self.controls.forget(&Flow {
                request: *request,
                ..flow
            });
            return None;
        };
        self.set_role(id, Role::Data(control));
        self.listen(id, flow.expires);
        Some(id)
    }

    fn listen(&mut self, id: FlowId, expires: Tick) {
        let listen = State::Tcp(TcpState::Listen);
        let was = self.get(id).state();
        self.head_mut(id).set_state(listen);
        match id.family() {
            Family::V4 => self.v4.keep_until(id.place(), expires),
            Family::V6 => self.v6.keep_until(id.place(), expires),
        }
        self.count_half_open(was, listen);
    }

    fn set_role(&mut self, id: FlowId, role: Role) {
        self.head_mut(id).set_role(role);
    }

    /// Of a flow whose reply's tuple is not known yet.
    fn set_server_port(&mut self, id: FlowId, port: u16) {
        self.head_mut(id).set_other_port(port.to_be());
    }

    fn head_mut(&mut self, id: FlowId) -> &mut Head {
        match id.family() {
            Family::V4 => self.v4.get_mut(id.place()).head_mut(),
            Family::V6 => self.v6.get_mut(id.place()).head_mut(),
        }
    }
}

#[cfg(test)]
mod tests;
