use super::*;
use crate::flow::table::Expired;
use crate::flow::{Signal, Timeouts};
use crate::service::{Method, Protocol};
use weir_wire::builder::addr;
use weir_wire::{Addr, tcp_flag};

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211];

#[test]
fn numbers_shift_as_the_kernels_do() {
    // A 227 of 46 bytes at 7001 becomes one of 49.
    let mut shift = Shift::default();
    assert_eq!((shift.of_seq(7001), shift.of_ack(7001)), (7001, 7001));
    assert!(!shift.is_any());
    shift.grow(7001, 3);
    assert!(shift.is_any());
    assert_eq!(shift.of_seq(7001), 7001);
    assert_eq!(shift.of_seq(7047), 7050);
    assert_eq!(shift.of_ack(7001), 7001);
    assert_eq!(shift.of_ack(7050), 7047);
    // Sent again, it is the same segment.
    shift.grow(7001, 3);
    assert_eq!(shift.of_seq(7047), 7050);
    // Another at 7103 becomes shorter by one.
    shift.grow(7103, -1);
    assert_eq!(shift.of_seq(7103), 7106);
    assert_eq!(shift.of_seq(7149), 7151);
    assert_eq!(shift.of_ack(7106), 7103);
    assert_eq!(shift.of_ack(7151), 7149);
    // A part of what was put in is acknowledged as nothing of it.
    let mut shift = Shift::default();
    shift.grow(7001, 3);
    for ack in 7001..=7004 {
        assert_eq!(shift.of_ack(ack), 7001);
    }
}

#[test]
fn numbers_shift_over_the_wrap() {
    let mut shift = Shift::default();
    shift.grow(u32::MAX - 10, 3);
    assert_eq!(shift.of_seq(u32::MAX - 10), u32::MAX - 10);
    assert_eq!(shift.of_seq(35), 38);
    assert_eq!(shift.of_ack(38), 35);
}

fn control(port: u16) -> NewFlow {
    let request = Tuple {
        src: addr("198.51.100.7"),
        dst: addr("192.0.2.100"),
        src_port: port,
        dst_port: 21,
        protocol: Protocol::Tcp,
    };
    NewFlow {
        request,
        reply: Some(Tuple {
            src: server(),
            ..request.reversed()
        }),
        server: ServerId(3),
        method: Method::Nat,
        expires: Tick(100),
        is_controlled: false,
        template: None,
    }
}

fn server() -> Addr {
    addr("10.0.0.1")
}

fn announced(at: u32, port: u16) -> Announced {
    Announced {
        request: Tuple {
            src_port: 0,
            dst_port: port,
            ..control(0).request
        },
        reply: None,
        server: ServerId(3),
        server_port: port,
        control: at,
        expires: Tick(50),
    }
}

/// A table with one control connection, and its place.
fn table() -> (FlowTable, FlowId, u32) {
    let mut table = FlowTable::new(64, 64, SEED);
    let id = table.insert(&control(5000)).expect("room");
    assert!(table.watch(id));
    let Role::Control(at) = table.get(id).role else {
        panic!("it is watched");
    };
    (table, id, at)
}

fn sweep(table: &mut FlowTable, now: Tick) -> usize {
    let mut ended = 0;
    table.sweep(now, table.groups(), |Expired(_)| ended += 1);
    ended
}

#[test]
fn an_announced_connection_waits_and_gets_its_clients_port() {
    let (mut table, _, at) = table();
    assert!(!table.awaits_clients());
    assert_eq!(table.announce(&announced(at, 40_000)), Ok(true));
    assert_eq!(table.announce(&announced(at, 40_000)), Ok(false), "again");
    assert!(table.awaits_clients());
    let request = Tuple {
        src_port: 5001,
        ..announced(at, 40_000).request
    };
    let id = table.connect(&request, |_| Some(server())).expect("waits");
    let flow = table.get(id);
    assert_eq!(flow.state(), State::Tcp(TcpState::Listen));
    assert!(flow.is_controlled());
    assert_eq!(flow.nat_port, 40_000);
    assert!(!table.awaits_clients());
    let reply = Tuple {
        src: server(),
        ..request.reversed()
    };
    let found = table.find(&reply, table.hash(&reply));
    assert_eq!(found, Some((id, Direction::Reply)));
    assert_eq!(table.connect(&request, |_| Some(server())), None);
    assert_eq!(table.len(), 2);
}

#[test]
fn a_control_connection_outlives_its_data_connections() {
    let (mut table, id, at) = table();
    let mut data = announced(at, 40_000);
    data.expires = Tick(20_000);
    assert_eq!(table.announce(&data), Ok(true));
    // Its time is over at 100, and it is kept for a minute each time.
    assert_eq!(sweep(&mut table, Tick(150)), 0);
    assert_eq!(sweep(&mut table, Tick(6149)), 0);
    assert_eq!(table.get(id).seconds_left(Tick(150)), 60);
    assert_eq!(sweep(&mut table, Tick(6150)), 0);
    assert_eq!(sweep(&mut table, Tick(20_000)), 1, "the data connection");
    assert_eq!(sweep(&mut table, Tick(26_150)), 1, "and then it");
    assert!(table.is_empty() && !table.awaits_clients());
}

#[test]
fn places_are_used_again_when_all_of_a_connection_has_gone() {
    let (mut table, id, at) = table();
    let all = table.controls.free.len();
    assert_eq!(table.announce(&announced(at, 40_000)), Ok(true));
    table.remove(id);
    assert_eq!(table.controls.free.len(), all, "a data connection is left");
    assert_eq!(sweep(&mut table, Tick(60)), 1);
    assert_eq!(table.controls.free.len(), all + 1);
}

#[test]
fn the_number_of_control_connections_is_bounded() {
    let mut table = FlowTable::new(100, 64, SEED);
    let mut watched = 0;
    for port in 5000..5100 {
        let id = table.insert(&control(port)).expect("room");
        watched += usize::from(table.watch(id));
        let ack = Signal::tcp(tcp_flag::ACK);
        let timeouts = Timeouts::default();
        table.advance(id, Direction::Request, ack, &timeouts, Tick(0));
    }
    assert_eq!(watched, CONTROLS_MIN);
}

#[test]
fn a_tuple_of_another_flow_is_not_taken_over() {
    let (mut table, _, at) = table();
    let mut taken = announced(at, 21);
    taken.request.src_port = 5000;
    assert_eq!(table.announce(&taken), Err(Full));
    assert_eq!(table.announce(&announced(9999, 40_000)), Err(Full));
    assert_eq!(table.len(), 1);
}
