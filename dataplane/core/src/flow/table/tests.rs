use std::collections::HashMap;
use std::vec::Vec;

use proptest::prelude::*;
use weir_wire::Addr;

use super::*;
use crate::service::{Method, Protocol, ServerId};

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211];

fn tuple(client: u8, port: u16) -> Tuple {
    Tuple {
        src: Addr::from_v4_bytes([198, 51, 100, client]),
        dst: Addr::from_v4_bytes([192, 0, 2, 100]),
        src_port: port,
        dst_port: 80,
        protocol: Protocol::Tcp,
    }
}

fn flow(tuple: &Tuple, method: Method, expires: Tick) -> Flow {
    let dest = Addr::from_v4_bytes([10, 0, 0, 1]);
    Flow::new(tuple, ServerId(0), dest, 8080, method, expires)
}

fn find(table: &FlowTable, tuple: &Tuple) -> Option<(FlowId, Direction)> {
    table.find(tuple, table.hash(tuple))
}

#[test]
fn both_directions_of_a_nat_flow_are_found_and_one_of_a_dr_flow() {
    for (method, finds_reply) in [(Method::Nat, true), (Method::Dr, false)] {
        let mut table = FlowTable::new(4, SEED);
        let request = tuple(1, 4000);
        let flow = flow(&request, method, Tick(0));
        let id = table.insert(flow).expect("there is room");
        assert_eq!(find(&table, &request), Some((id, Direction::Request)));
        let reply = find(&table, &flow.reply());
        assert_eq!(reply, finds_reply.then_some((id, Direction::Reply)));
        assert_eq!(table.remove(id), flow);
        assert_eq!(find(&table, &request), None);
        assert_eq!(find(&table, &flow.reply()), None);
    }
}

#[test]
fn a_full_table_says_so_and_forgets_nothing() {
    let mut table = FlowTable::new(100, SEED);
    for port in 0..100 {
        let flow = flow(&tuple(1, port), Method::Nat, Tick(0));
        assert!(table.insert(flow).is_ok());
    }
    let one_more = flow(&tuple(2, 0), Method::Nat, Tick(0));
    assert_eq!(table.insert(one_more), Err(Full));
    assert_eq!(table.len(), 100);
    assert!((0..100).all(|port| find(&table, &tuple(1, port)).is_some()));
}

#[test]
fn a_reply_that_two_flows_share_leads_to_the_younger() {
    let mut table = FlowTable::new(4, SEED);
    let first = tuple(1, 4000);
    let second = Tuple {
        dst_port: 81,
        ..first
    };
    let old = table
        .insert(flow(&first, Method::Nat, Tick(0)))
        .expect("room");
    let young = flow(&second, Method::Nat, Tick(0));
    let id = table.insert(young).expect("room");
    assert_eq!(find(&table, &young.reply()), Some((id, Direction::Reply)));
    table.remove(old);
    assert_eq!(find(&table, &young.reply()), Some((id, Direction::Reply)));
}

#[test]
fn a_sweep_ends_what_is_due_and_a_visit_sees_the_rest() {
    let mut table = FlowTable::new(64, SEED);
    for port in 0..64 {
        let expires = Tick(u32::from(port));
        let flow = flow(&tuple(1, port), Method::Dr, expires);
        assert!(table.insert(flow).is_ok());
    }
    let mut ended = 0;
    // In pieces: a bounded turn at a time.
    for _ in 0..8 {
        table.sweep(Tick(31), 8, |_| ended += 1);
    }
    assert_eq!((ended, table.len()), (32, 32));
    let (mut seen, mut at) = (0, Some(0));
    while let Some(from) = at {
        at = table.visit(from, 10, |_| seen += 1);
    }
    assert_eq!(seen, 32);
}

#[test]
fn a_million_flows_find_their_place() {
    let count = 1_000_000u32;
    let mut table = FlowTable::new(count as usize, SEED);
    for n in 0..count {
        let tuple = Tuple {
            src: Addr::from_v4_bytes(n.to_be_bytes()),
            ..tuple(0, n as u16)
        };
        let flow = flow(&tuple, Method::Nat, Tick(0));
        assert!(table.insert(flow).is_ok(), "flow {n} found no place");
    }
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_map(
        steps in prop::collection::vec((0u8..4, 0u8..4, 0u16..24, any::<bool>()), 1..400)
    ) {
        let mut table = FlowTable::new(32, SEED);
        let mut model: HashMap<Tuple, Flow> = HashMap::new();
        for (what, client, port, nat) in steps {
            let tuple = tuple(client, port);
            let found = find(&table, &tuple);
            prop_assert_eq!(found.is_some(), model.contains_key(&tuple));
            match (what, found) {
                (0..=2, None) => {
                    let method = if nat { Method::Nat } else { Method::Tun };
                    let flow = flow(&tuple, method, Tick(0));
                    prop_assert_eq!(table.insert(flow).is_ok(), model.len() < 32);
                    if model.len() < 32 {
                        model.insert(tuple, flow);
                    }
                }
                (_, Some((id, Direction::Request))) => {
                    prop_assert_eq!(model.remove(&tuple), Some(table.remove(id)));
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
        }
        for (tuple, flow) in &model {
            let replies: Vec<_> = find(&table, &flow.reply()).into_iter().collect();
            prop_assert_eq!(find(&table, tuple).map(|(id, _)| *table.get(id)), Some(*flow));
            prop_assert_eq!(replies.len(), usize::from(flow.method().sees_replies()));
        }
    }
}
