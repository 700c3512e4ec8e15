use std::collections::HashMap;
use std::vec::Vec;

use proptest::prelude::*;
use weir_wire::Addr;

use super::*;
use crate::flow::family::AWAITED;
use crate::service::Protocol;

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211];

fn addr(family: IpFamily, n: u32) -> Addr {
    match family {
        IpFamily::V4 => Addr::from_v4_bytes(n.to_be_bytes()),
        IpFamily::V6 => Addr(0x2001_0db8 << 96 | u128::from(n)),
    }
}

fn tuple(family: IpFamily, client: u32, port: u16) -> Tuple {
    Tuple {
        src: addr(family, 0xc633_6400 + client),
        dst: addr(family, 0xc000_0264),
        src_port: port,
        dst_port: 80,
        protocol: Protocol::Tcp,
    }
}

fn reply_to(request: &Tuple) -> Tuple {
    Tuple {
        src: addr(request.src.family(), 0x0a00_0001),
        src_port: 8080,
        ..request.reversed()
    }
}

fn flow(request: &Tuple, method: Method, expires: Tick) -> NewFlow {
    NewFlow {
        request: *request,
        reply: method.sees_replies().then(|| reply_to(request)),
        server: ServerId(7),
        method,
        expires,
        is_controlled: false,
        template: None,
    }
}

fn find(table: &FlowTable, tuple: &Tuple) -> Option<(FlowId, Direction)> {
    table.find(tuple, table.hash(tuple))
}

/// A whole round of the sweep.
fn sweep(table: &mut FlowTable, now: Tick) -> Vec<Flow> {
    let mut ended = Vec::new();
    let mut due = table.groups();
    while due > 0 {
        due -= table.sweep(now, due, |Expired(flow)| ended.push(flow));
    }
    ended
}

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

#[test]
fn both_directions_of_a_nat_flow_are_found_and_one_of_a_dr_flow() {
    for family in FAMILIES {
        for (method, finds_reply) in [(Method::Nat, true), (Method::Dr, false)] {
            let mut table = FlowTable::new(4, 4, SEED);
            let request = tuple(family, 1, 4000);
            let new = flow(&request, method, Tick(0));
            let id = table.insert(&new).expect("there is room");
            assert_eq!(find(&table, &request), Some((id, Direction::Request)));
            let reply = find(&table, &reply_to(&request));
            assert_eq!(reply, finds_reply.then_some((id, Direction::Reply)));
            let held = table.remove(id);
            assert_eq!((held.request(), held.method()), (&request, method));
            assert_eq!((held.server(), held.local()), (ServerId(7), None));
            assert_eq!(find(&table, &request), None);
            assert_eq!(find(&table, &reply_to(&request)), None);
            assert!(table.is_empty());
        }
    }
}

#[test]
fn tcp_and_udp_of_the_same_ports_are_two_flows() {
    for family in FAMILIES {
        let mut table = FlowTable::new(4, 4, SEED);
        let tcp = tuple(family, 1, 53);
        let udp = Tuple {
            protocol: Protocol::Udp,
            ..tcp
        };
        let of_tcp = table
            .insert(&flow(&tcp, Method::Nat, Tick(0)))
            .expect("room");
        assert_eq!(find(&table, &udp), None);
        let of_udp = table
            .insert(&flow(&udp, Method::Nat, Tick(0)))
            .expect("room");
        assert_ne!(of_tcp, of_udp);
        assert_eq!(find(&table, &tcp), Some((of_tcp, Direction::Request)));
    }
}

#[test]
fn a_local_end_is_remembered_when_the_server_does_not_see_the_client() {
    for family in FAMILIES {
        let mut table = FlowTable::new(4, 4, SEED);
        let request = tuple(family, 1, 4000);
        let mut new = flow(&request, Method::FullNat, Tick(0));
        let local = (addr(family, 0x0a00_00fe), 1025);
        let reply = new.reply.as_mut().expect("of NAT");
        (reply.dst, reply.dst_port) = local;
        let reply = *reply;
        let id = table.insert(&new).expect("room");
        assert_eq!(table.get(id).local(), Some(local));
        assert_eq!(find(&table, &reply), Some((id, Direction::Reply)));
    }
}

#[test]
fn a_full_table_says_so_and_forgets_nothing() {
    for family in FAMILIES {
        let mut table = FlowTable::new(100, 100, SEED);
        for port in 0..100 {
            let flow = flow(&tuple(family, 1, port), Method::Nat, Tick(0));
            assert!(table.insert(&flow).is_ok());
        }
        let one_more = flow(&tuple(family, 2, 0), Method::Nat, Tick(0));
        assert_eq!(table.insert(&one_more), Err(Full));
        assert_eq!(table.len(), 100);
        assert!((0..100).all(|port| find(&table, &tuple(family, 1, port)).is_some()));
    }
}

#[test]
fn a_reply_that_two_flows_share_leads_to_the_younger() {
    for family in FAMILIES {
        let mut table = FlowTable::new(4, 4, SEED);
        let first = tuple(family, 1, 4000);
        let second = Tuple {
            dst_port: 81,
            ..first
        };
        let old = table
            .insert(&flow(&first, Method::Nat, Tick(0)))
            .expect("room");
        let young = flow(&second, Method::Nat, Tick(0));
        let id = table.insert(&young).expect("room");
        let reply = reply_to(&second);
        assert_eq!(find(&table, &reply), Some((id, Direction::Reply)));
        table.remove(old);
        assert_eq!(find(&table, &reply), Some((id, Direction::Reply)));
    }
}

#[test]
fn a_sweep_ends_what_is_due_and_a_visit_sees_the_rest() {
    for family in FAMILIES {
        let mut table = FlowTable::new(64, 64, SEED);
        for port in 0..64 {
            let expires = Tick(100 + u32::from(port));
            let flow = flow(&tuple(family, 1, port), Method::Nat, expires);
            assert!(table.insert(&flow).is_ok());
        }
        assert_eq!(sweep(&mut table, Tick(99)).len(), 0);
        assert_eq!(sweep(&mut table, Tick(131)).len(), 32);
        assert_eq!((sweep(&mut table, Tick(131)).len(), table.len()), (0, 32));
        let (mut seen, mut at) = (0, Some(0));
        while let Some(from) = at {
            at = table.visit(from, 10, |_| seen += 1);
        }
        assert_eq!(seen, 32);
        assert_eq!(sweep(&mut table, Tick(163)).len(), 32);
    }
}

/// A flow that was kept alive, or whose end came nearer, ends at its own time.
#[test]
fn a_sweep_follows_changed_ends_of_life() {
    let timeouts = Timeouts::default();
    for family in FAMILIES {
        let mut table = FlowTable::new(64, 64, SEED);
        let request = tuple(family, 1, 4000);
        let id = table
            .insert(&flow(&request, Method::Dr, Tick(300)))
            .expect("room");
        let syn = weir_wire::tcp_flag::SYN;
        table.advance(id, Direction::Request, Signal::tcp(syn), &timeouts, Tick(0));
        let ack = weir_wire::tcp_flag::ACK;
        table.advance(
            id,
            Direction::Request,
            Signal::tcp(ack),
            &timeouts,
            Tick(10),
        );
        assert_eq!(sweep(&mut table, Tick(10 + 90_000 - 1)).len(), 0);
        let reset = weir_wire::tcp_flag::RST;
        let reset = Signal::tcp(reset);
        table.advance(id, Direction::Request, reset, &timeouts, Tick(90_000));
        assert_eq!(sweep(&mut table, Tick(90_999)).len(), 0);
        assert_eq!(sweep(&mut table, Tick(91_000)).len(), 1);
    }
}

#[test]
fn a_sweep_reads_no_more_than_it_may() {
    let mut table = FlowTable::new(10_000, 64, SEED);
    for n in 0..10_000 {
        let flow = flow(&tuple(IpFamily::V4, n, 80), Method::Dr, Tick(1));
        assert!(table.insert(&flow).is_ok());
    }
    let mut ended = 0;
    let looked = table.sweep(Tick(2), usize::MAX, |_| ended += 1);
    // Eight groups of 32 lines of two.
    assert!(looked < table.groups() && ended <= 512, "{looked} {ended}");
    assert_eq!(sweep(&mut table, Tick(2)).len() + ended, 10_000);
}

#[test]
fn half_open_flows_are_counted() {
    let timeouts = Timeouts::default();
    let mut table = FlowTable::new(64, 64, SEED);
    let request = tuple(IpFamily::V6, 1, 4000);
    let id = table
        .insert(&flow(&request, Method::Dr, Tick(300)))
        .expect("room");
    let mut counts = Vec::new();
    for flags in [weir_wire::tcp_flag::SYN, weir_wire::tcp_flag::ACK] {
        let signal = Signal::tcp(flags);
        table.advance(id, Direction::Request, signal, &timeouts, Tick(0));
        counts.push(table.half_open());
    }
    assert_eq!(counts, [1, 0]);
}

/// The table is sized for this: every flow of two entries, every place of its families used.
#[test]
fn as_many_flows_as_promised_find_their_place() {
    for (family, count) in [(IpFamily::V4, 1_000_000), (IpFamily::V6, 300_000)] {
        let mut table = match family {
            IpFamily::V4 => FlowTable::new(count, 1, SEED),
            IpFamily::V6 => FlowTable::new(1, count, SEED),
        };
        for n in 0..count as u32 {
            let flow = flow(&tuple(family, n, n as u16), Method::Nat, Tick(0));
            assert!(table.insert(&flow).is_ok(), "flow {n} found no place");
        }
        for n in (0..count as u32).step_by(7) {
            let request = tuple(family, n, n as u16);
            let found = find(&table, &request).expect("it was inserted");
            assert_eq!(table.get(found.0).request(), &request);
            let reply = find(&table, &reply_to(&request));
            assert_eq!(reply, Some((found.0, Direction::Reply)));
        }
    }
}

/// Clients that follow each other, under many seeds: with one multiplication in the hash, one table
/// of some thousand had lines so crowded that flows found no place.
#[test]
fn no_seed_crowds_the_table() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..1000 {
        let seed = [next(), next()];
        let mut table = FlowTable::new(1000, 1, seed);
        for n in 0..1000 {
            let flow = flow(&tuple(IpFamily::V4, n, 1024), Method::Nat, Tick(0));
            assert!(table.insert(&flow).is_ok(), "flow {n} under {seed:x?}");
        }
    }
}

proptest! {
    /// Small tables, so that entries are pushed around.
    #[test]
    fn the_table_agrees_with_a_map(
        steps in prop::collection::vec((0u8..6, 0u32..40, 0u16..24, any::<bool>(), any::<bool>()), 1..1500)
    ) {
        const MOST: usize = 120;
        let mut table = FlowTable::new(MOST, MOST, SEED);
        let mut model: HashMap<Tuple, Method> = HashMap::new();
        for (what, client, port, nat, v6) in steps {
            let family = if v6 { IpFamily::V6 } else { IpFamily::V4 };
            let tuple = tuple(family, client, port);
            let found = find(&table, &tuple);
            prop_assert_eq!(found.is_some(), model.contains_key(&tuple));
            match (what, found) {
                (0..=4, None) => {
                    let method = if nat { Method::Nat } else { Method::Tun };
                    let len = model.keys().filter(|t| t.src.family() == family).count();
                    let added = table.insert(&flow(&tuple, method, Tick(0)));
                    prop_assert_eq!(added.is_ok(), len < MOST);
                    if added.is_ok() {
                        model.insert(tuple, method);
                    }
                }
                (_, Some((id, Direction::Request))) => {
                    prop_assert_eq!(model.remove(&tuple), Some(table.remove(id).method()));
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
        }
        for (tuple, method) in &model {
            let (id, _) = find(&table, tuple).expect("it is there");
            prop_assert_eq!(*table.get(id).request(), *tuple);
            let reply = find(&table, &reply_to(tuple));
            prop_assert_eq!(reply, method.sees_replies().then_some((id, Direction::Reply)));
        }
        // All gone, nothing is left of it: no entry, no count of entries away.
        let ids: Vec<_> = model.keys().copied().collect();
        for tuple in ids {
            let (id, _) = find(&table, &tuple).expect("it is there");
            table.remove(id);
        }
        prop_assert!(table.is_empty() && table.half_open() == 0);
        prop_assert!(table.v4.is_pristine() && table.v6.is_pristine());
    }
}

/// A flow as the table must have it.
struct Kept {
    expires: Tick,
    state: State,
    /// Its reply's entry is made, and no younger flow has taken it over.
    has_reply: bool,
}

/// A table that pushes entries around all the time, since more flows are let in than it is made
/// for, and what must be in it.
struct Crowded {
    table: FlowTable,
    kept: HashMap<Tuple, Kept>,
    /// Which flow a reply leads to.
    replies: HashMap<Tuple, Tuple>,
    /// Whose replies are still to be made.
    unsettled: Vec<Tuple>,
    timeouts: Timeouts,
    now: Tick,
}

/// The flow of a tuple: method and reply follow from it. Two services have the same replies.
fn crowded_flow(request: &Tuple, expires: Tick) -> NewFlow {
    let method = match request.src.0 % 4 {
        0 => Method::Dr,
        1 => Method::FullNat,
        _ => Method::Nat,
    };
    let mut new = flow(request, method, expires);
    if let Some(reply) = new.reply.as_mut().filter(|_| method == Method::FullNat) {
        reply.dst_port = request.src_port * 100 + (request.src.0 % 64) as u16;
        reply.dst = addr(request.src.family(), 0x0a00_00fe);
    }
    new
}

impl Crowded {
    const MADE_FOR: usize = 40;

    fn new() -> Self {
        let mut table = FlowTable::new(Self::MADE_FOR, Self::MADE_FOR, SEED);
        (table.of_v4.most, table.of_v6.most) = (usize::MAX, usize::MAX);
        let mut timeouts = Timeouts {
            udp: 30,
            ..Timeouts::default()
        };
        timeouts.tcp = core::array::from_fn(|state| 10 + 7 * state as u32);
        Self {
            table,
            kept: HashMap::new(),
            replies: HashMap::new(),
            unsettled: Vec::new(),
            timeouts,
            now: Tick(u32::MAX - 500),
        }
    }

    fn insert(&mut self, tuple: &Tuple, lifetime: u32, is_unsettled: bool) {
        let new = crowded_flow(tuple, self.now.after(lifetime));
        let family = tuple.src.family();
        let of_family = |t: &&Tuple| t.src.family() == family;
        let waits = is_unsettled && self.unsettled.iter().filter(of_family).count() < AWAITED;
        let added = match is_unsettled {
            true => self.table.insert_unsettled(&new),
            false => self.table.insert(&new),
        };
        if added.is_ok() {
            let kept = Kept {
                expires: new.expires,
                state: State::first(tuple.protocol),
                has_reply: false,
            };
            self.kept.insert(*tuple, kept);
        }
        match new.reply {
            Some(_) if waits && added.is_ok() => self.unsettled.push(*tuple),
            // Without a place even for the request, an older flow keeps the reply.
            Some(reply) if !waits && (added.is_ok() || find(&self.table, &reply).is_none()) => {
                self.attach(tuple, &reply, added.is_ok());
            }
            _ => {}
        }
        if added.is_err() {
            let used = self.kept.keys().filter(of_family).count() * 2;
            let places = match family {
                IpFamily::V4 => self.table.v4.places(),
                IpFamily::V6 => self.table.v6.places(),
            };
            assert!(
                used > places / 2,
                "{used} entries at most in {places} places"
            );
        }
    }

    /// The reply leads to the flow from now on, and to none that it led to before.
    fn attach(&mut self, tuple: &Tuple, reply: &Tuple, has_place: bool) {
        if let Some(older) = self.replies.remove(reply) {
            self.kept.get_mut(&older).expect("it is there").has_reply = false;
        }
        if has_place {
            self.replies.insert(*reply, *tuple);
            self.kept.get_mut(tuple).expect("it is there").has_reply = true;
        } else {
            self.kept.remove(tuple);
        }
    }

    fn settle(&mut self) {
        let mut failed = Vec::new();
        self.table.settle(|flow| failed.push(*flow.request()));
        for tuple in std::mem::take(&mut self.unsettled) {
            if let (true, Some(reply)) = (
                self.kept.contains_key(&tuple),
                crowded_flow(&tuple, self.now).reply,
            ) {
                self.attach(&tuple, &reply, !failed.contains(&tuple));
            }
        }
    }

    fn forget(&mut self, flow: &Flow) -> Kept {
        let tuple = flow.request();
        let kept = self.kept.remove(tuple).expect("it was there");
        if kept.has_reply {
            let reply = crowded_flow(tuple, self.now).reply.expect("of two entries");
            assert_eq!(self.replies.remove(&reply), Some(*tuple));
        }
        self.assert_is(flow, &kept);
        kept
    }

    fn assert_is(&self, flow: &Flow, kept: &Kept) {
        let new = crowded_flow(flow.request(), kept.expires);
        assert_eq!((flow.method(), flow.server()), (new.method, new.server));
        assert_eq!(flow.expires, kept.expires);
        assert_eq!(flow.state(), kept.state);
        let local = new.reply.map(|reply| (reply.dst, reply.dst_port));
        let has_local = flow.method() == Method::FullNat && kept.has_reply;
        assert_eq!(flow.local(), local.filter(|_| has_local));
    }

    fn advance(&mut self, tuple: &Tuple, tcp_flags: u8) {
        let Some((id, direction)) = find(&self.table, tuple) else {
            return;
        };
        let request = *self.table.get(id).request();
        let kept = self.kept.get_mut(&request).expect("it is there");
        let method = crowded_flow(&request, self.now).method;
        let seen = tcp::Seen::of(direction, method);
        let signal = Signal::tcp(tcp_flags);
        kept.state = kept.state.next(seen, signal, false);
        let lifetime = self.timeouts.of(kept.state);
        kept.expires = self.now.after(lifetime);
        let (now, timeouts) = (self.now, self.timeouts);
        self.table.advance(id, direction, signal, &timeouts, now);
    }

    fn sweep(&mut self, groups: usize) -> usize {
        let mut ended = Vec::new();
        let looked = self
            .table
            .sweep(self.now, groups, |Expired(flow)| ended.push(flow));
        for flow in ended {
            let kept = self.forget(&flow);
            assert!(self.now.has_reached(kept.expires), "ended early");
        }
        looked
    }

    fn sweep_a_round(&mut self) {
        let mut left = self.table.groups();
        while left > 0 {
            left -= self.sweep(left);
        }
        let late = |kept: &&Kept| self.now.has_reached(kept.expires);
        assert_eq!(self.kept.values().filter(late).count(), 0, "ends late");
    }

    fn assert_sound(&self) {
        self.table.v4.assert_sound();
        self.table.v6.assert_sound();
        assert_eq!(self.table.len(), self.kept.len());
        let mut half_open = 0;
        for (tuple, kept) in &self.kept {
            let (id, direction) = find(&self.table, tuple).expect("it is there");
            assert_eq!(direction, Direction::Request);
            self.assert_is(&self.table.get(id), kept);
            half_open += usize::from(kept.state.is_half_open());
            let reply = crowded_flow(tuple, self.now).reply;
            if let Some(reply) = reply.filter(|_| kept.has_reply) {
                let found = find(&self.table, &reply);
                assert_eq!(found, Some((id, Direction::Reply)));
            }
        }
        assert_eq!(self.table.half_open, half_open);
    }
}

proptest! {
    #[test]
    fn a_crowded_table_loses_nothing_and_ends_flows_in_time(
        steps in prop::collection::vec(
            (0u8..32, 0u32..20, 0u16..8, any::<[bool; 3]>(), any::<u8>()), 1..1200
        )
    ) {
        let mut crowded = Crowded::new();
        for (what, client, port, [is_v6, is_udp, is_other], value) in steps {
            let family = if is_v6 { IpFamily::V6 } else { IpFamily::V4 };
            let mut tuple = tuple(family, client, 4000 + port);
            tuple.dst_port = if is_other { 81 } else { 80 };
            tuple.src_port %= 100;
            if is_udp {
                tuple.protocol = Protocol::Udp;
            }
            let found = find(&crowded.table, &tuple);
            prop_assert_eq!(found.is_some(), crowded.kept.contains_key(&tuple));
            match (what, found) {
                (0..=19, None) => {
                    crowded.insert(&tuple, u32::from(value), what < 10);
                }
                (20, _) => crowded.settle(),
                (21, _) => {
                    crowded.now = crowded.now.after(u32::from(value % 16));
                    crowded.sweep(usize::from(value >> 6));
                }
                (22, _) => crowded.sweep_a_round(),
                (23 | 24, Some((id, _))) => {
                    let flow = crowded.table.remove(id);
                    crowded.forget(&flow);
                }
                (25..=28, _) => crowded.advance(&tuple, value),
                (29.., _) => {
                    if let Some(reply) = crowded_flow(&tuple, Tick(0)).reply {
                        crowded.advance(&reply, value);
                    }
                }
                _ => {}
            }
            crowded.assert_sound();
        }
        // All ended, nothing is left.
        crowded.settle();
        crowded.now = crowded.now.after(1000);
        crowded.sweep_a_round();
        prop_assert!(crowded.table.is_empty());
        crowded.assert_sound();
    }
}
