//! Silent flows of a server that had its time to drain: their ends are asked for their numbers.

use std::collections::BTreeSet;

use weir_core::flow::{State, TcpState};
use weir_core::service::{Method, Protocol};
use weir_wire::tcp_flag::{ACK, RST, SYN};
use weir_wire::{Addr, Headers, Parsed};

use crate::world::{Described, LAN, Net, WAN, World};

/// A world whose server 3 has a silent flow from port 4000, and had its time.
fn drained(net: &Net, method: Method) -> World {
    let services = vec![Described::web(net, method)];
    let mut world = World::new(&services);
    world.receive(WAN, &[net.syn(4000)]);
    if method == Method::Nat {
        let reply = net.server_frame(3).tcp(80, 4000).flags(SYN | ACK);
        world.receive(LAN, &[reply.seq(4999).ack(1001).build()]);
    }
    world.receive(WAN, &[net.segment(4000, ACK)]);
    assert_eq!(world.server_of(&net.tuple(4000)), Some(3));
    end_time(&mut world, services, &[3]);
    world
}

fn end_time(world: &mut World, mut services: Vec<Described>, slots: &[u8]) {
    for server in &mut services[0].servers {
        if slots.contains(&server.0) {
            server.2 = 0;
        }
    }
    world.resets = slots.to_vec();
    world.publish(&services, &[]);
    world.sent();
    world.moved();
}

/// The turns of a second: the table is looked at once. What they sent.
fn round(world: &mut World) -> Vec<(weir_core::io::PortId, Vec<u8>)> {
    world.later(1);
    for _ in 0..32 {
        world.housekeep();
    }
    world.sent()
}

fn headers(frame: &[u8]) -> Headers {
    match weir_wire::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("{other:?}"),
    }
}

fn numbers(frame: &[u8], h: &Headers) -> (u32, u32) {
    let number = |at| {
        let at = usize::from(h.l4) + at;
        u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"))
    };
    (number(4), number(8))
}

/// From, to and flags; the checksums are right.
fn seen(frame: &[u8]) -> ((Addr, u16), (Addr, u16), u8) {
    let h = headers(frame);
    assert!(weir_wire::tcp::checksum_ok(frame, &h));
    ((h.src, h.src_port), (h.dst, h.dst_port), h.tcp_flags)
}

#[test]
fn a_nat_server_is_asked_in_its_clients_name_and_its_answer_resets_both() {
    for net in Net::both() {
        let mut world = drained(&net, Method::Nat);
        let sent = round(&mut world);
        let [(LAN, probe)] = &sent[..] else {
            panic!("{sent:?}")
        };
        let (client, server) = ((net.client, 4000), (net.server(3), 80));
        assert_eq!(seen(probe), (client, server, SYN));
        world.assert_moved(&[("drain_probes", 1)]);
        let answer = net.server_frame(3).tcp(80, 4000).flags(ACK);
        world.receive(LAN, &[answer.seq(5000).ack(1006).build()]);
        let sent = world.sent();
        assert_eq!(seen(&sent[0].1), (client, server, RST));
        assert_eq!(numbers(&sent[0].1, &headers(&sent[0].1)).0, 1006);
        assert_eq!(seen(&sent[1].1), ((net.vip, 80), client, RST | ACK));
        assert_eq!(numbers(&sent[1].1, &headers(&sent[1].1)).0, 5000);
        let moved = world.moved();
        assert!(
            moved.contains(&("drained_reset".to_owned(), 1)),
            "{moved:?}"
        );
        // It is not asked again, and gone soon.
        for _ in 0..3 {
            assert!(round(&mut world).is_empty());
        }
        assert!(world.flow(&net.tuple(4000)).is_none());
        world.assert_moved(&[("rs3.inactive", 1_u64.wrapping_neg())]);
    }
}

#[test]
fn where_replies_go_past_the_director_the_client_is_asked_by_the_service() {
    for method in [Method::Dr, Method::Tun] {
        for net in Net::both() {
            let mut world = drained(&net, method);
            let mut flags = Vec::new();
            for _ in 0..3 {
                let sent = round(&mut world);
                let [(WAN, probe)] = &sent[..] else {
                    panic!("{method:?}: {sent:?}")
                };
                let (from, to, its) = seen(probe);
                assert_eq!((from, to), ((net.vip, 80), (net.client, 4000)));
                flags.push(its);
            }
            assert_eq!(flags, [SYN | ACK, ACK, SYN | ACK]);
            let answer = net.client_frame().tcp(4000, 80).flags(ACK);
            world.receive(WAN, &[answer.seq(1006).ack(5000).build()]);
            let sides: Vec<_> = world.sent().iter().map(|(port, _)| *port).collect();
            assert_eq!(sides, [WAN, LAN]);
            let flow = world.flow(&net.tuple(4000)).expect("for a moment");
            assert_eq!(flow.state(), State::Tcp(TcpState::Close));
        }
    }
}

#[test]
fn a_fullnat_server_is_asked_by_the_local_end_that_stands_for_the_client() {
    let net = Net::v4();
    let mut world = drained(&net, Method::FullNat);
    let flow = world.flow(&net.tuple(4000)).expect("it is silent");
    let local = flow.local().expect("it is FullNAT's");
    let sent = round(&mut world);
    assert_eq!(seen(&sent[0].1), (local, (net.server(3), 80), SYN));
}

#[test]
fn when_nobody_answers_the_flow_is_taken_out_after_three_questions() {
    let net = Net::v4();
    let mut world = drained(&net, Method::Nat);
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.extend(round(&mut world).into_iter().map(|(port, _)| port));
    }
    // The server may be gone: the client is asked in between.
    assert_eq!(asked, [LAN, WAN, LAN]);
    assert!(world.flow(&net.tuple(4000)).is_some());
    assert!(round(&mut world).is_empty());
    assert!(world.flow(&net.tuple(4000)).is_none());
    world.assert_moved(&[
        ("drain_probes", 3),
        ("drained_removed", 1),
        ("rs3.active", 1_u64.wrapping_neg()),
    ]);
    for _ in 0..3 {
        assert!(round(&mut world).is_empty());
    }
    world.assert_moved(&[]);
}

#[test]
fn what_cannot_be_reset_is_taken_out_at_once() {
    let net = Net::v4();
    let mut service = Described::web(&net, Method::Nat);
    service.key.protocol = Protocol::Udp;
    let services = vec![service];
    let mut world = World::new(&services);
    let datagrams: Vec<_> = (4000..4009)
        .map(|port| net.client_frame().udp(port, 80).build())
        .collect();
    world.receive(WAN, &datagrams);
    end_time(&mut world, services, &[3]);
    assert!(round(&mut world).is_empty());
    world.assert_moved(&[
        ("drained_removed", 3),
        ("rs3.inactive", 3_u64.wrapping_neg()),
    ]);
}

/// A router that translates addresses takes what does not fit its connection for itself.
#[test]
fn a_reset_that_answers_the_question_ends_nothing() {
    for method in [Method::Nat, Method::Dr] {
        let net = Net::v4();
        let mut world = drained(&net, method);
        let probe = round(&mut world).remove(0).1;
        let (seq, ack) = numbers(&probe, &headers(&probe));
        let refusal = match method {
            Method::Nat => {
                let reset = net.server_frame(3).tcp(80, 4000).flags(RST | ACK);
                (LAN, reset.seq(0).ack(seq + 1).build())
            }
            _ => {
                let reset = net.client_frame().tcp(4000, 80).flags(RST);
                (WAN, reset.seq(ack).ack(0).build())
            }
        };
        world.moved();
        world.receive(refusal.0, &[refusal.1]);
        world.assert_moved(&[("drop.server_drained", 1)]);
        assert_eq!(round(&mut world).len(), 1, "{method:?}");
        // One of the connection itself ends it.
        let reset = net.client_frame().tcp(4000, 80).flags(RST).seq(1006);
        world.receive(WAN, &[reset.ack(0).build()]);
        assert_eq!(world.only_sent().0, LAN);
        assert!(round(&mut world).is_empty());
    }
}

#[test]
fn a_turn_asks_few_and_a_round_asks_all_and_others_flows_go_on() {
    let net = Net::v4();
    let services = vec![Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    let syns: Vec<_> = (0..900).map(|n| net.syn(4000 + n)).collect();
    for burst in syns.chunks(32) {
        world.receive(WAN, burst);
    }
    end_time(&mut world, services, &[1, 3]);
    let mut asked = BTreeSet::new();
    for tick in 0..100 {
        world.now = world.now.after(1);
        let mut of_tick = 0;
        for _ in 0..if tick < 50 { 8 } else { 1 } {
            world.housekeep();
            let sent = world.sent();
            assert!(sent.len() < 64, "{}", sent.len());
            of_tick += sent.len();
            for (_, probe) in sent {
                assert!(asked.insert(seen(&probe).1.1), "asked twice in a round");
            }
        }
        assert!(of_tick < 256 + 32, "{of_tick}");
    }
    assert_eq!(asked.len(), 600);
    world.moved();
    for _ in 0..8 {
        round(&mut world);
    }
    assert_eq!(world.director.flows().len(), 300);
    let moved = world.moved();
    let removed = ("drained_removed".to_owned(), 600);
    assert!(moved.contains(&removed), "{moved:?}");
}

#[test]
fn a_server_that_joins_later_has_rounds_of_its_own_and_one_called_off_has_none() {
    let net = Net::v4();
    let services = vec![Described::web(&net, Method::Dr)];
    let mut world = World::new(&services);
    // Three servers have a flow each, the one added last first.
    world.receive(WAN, &[net.syn(4003), net.syn(4002), net.syn(4001)]);
    for n in 1..=3 {
        assert_eq!(world.server_of(&net.tuple(4000 + n)), Some(n.into()));
    }
    end_time(&mut world, services.clone(), &[3]);
    assert_eq!(round(&mut world).len(), 1);
    assert_eq!(round(&mut world).len(), 1);
    end_time(&mut world, services.clone(), &[1, 3]);
    assert_eq!(round(&mut world).len(), 2);
    assert_eq!(round(&mut world).len(), 1);
    assert!(world.flow(&net.tuple(4003)).is_none());
    end_time(&mut world, services.clone(), &[3]);
    for _ in 0..4 {
        assert!(round(&mut world).is_empty());
    }
    assert!(world.flow(&net.tuple(4001)).is_some());
    // Drained once more it is asked from the beginning.
    end_time(&mut world, services, &[1, 3]);
    for _ in 0..3 {
        assert_eq!(round(&mut world).len(), 1);
    }
    assert!(round(&mut world).is_empty());
    assert!(world.flow(&net.tuple(4001)).is_none());
    assert!(world.flow(&net.tuple(4002)).is_some());
}
