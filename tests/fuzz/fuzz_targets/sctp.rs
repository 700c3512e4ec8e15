//! SCTP packets of any chunks through services by every method: a packet that is forwarded has a
//! right checksum if it came with one, and states are the table's.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use weir_core::flow::tcp::Seen;
use weir_core::flow::{Direction, SctpState, State, Tuple};
use weir_core::service::{Method, Protocol};
use weir_core::settings::Ipvs;
use weir_wire::Parsed;
use weir_wire::sctp::SctpEvent;
use world::{Described, LAN, Net, WAN, World};

const METHODS: [Method; 4] = [Method::Nat, Method::Dr, Method::Tun, Method::FullNat];

fn services(net: &Net) -> Vec<Described> {
    let of = |(at, method): (usize, &Method)| {
        let mut service = Described::web(net, *method);
        service.key.protocol = Protocol::Sctp;
        service.key.port = 80 + at as u16;
        let port = if method.sees_replies() {
            8080
        } else {
            service.key.port
        };
        service.servers = vec![(at as u8 + 1, port, 1)];
        service
    };
    METHODS.iter().enumerate().map(of).collect()
}

fuzz_target!(|input: &[u8]| {
    let [first, rest @ ..] = input else {
        return;
    };
    let net = Net::both()[usize::from(first & 1)];
    let services = services(&net);
    let mut world = World::new(&services);
    let rules = Ipvs {
        sloppy_sctp: first & 2 != 0,
        conn_reuse_mode: first >> 2 & 3,
        ..Ipvs::default()
    };
    world.set_rules(&services, rules);
    let mut rest = rest;
    while let [which, len, tail @ ..] = rest {
        let (chunks, tail) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = tail;
        let at = usize::from(which & 3);
        let (method, port) = (METHODS[at], 4000 + u16::from(which >> 2 & 3));
        let request = Tuple {
            src: net.client,
            dst: net.vip,
            src_port: port,
            dst_port: 80 + at as u16,
            protocol: Protocol::Sctp,
        };
        let from_server = which & 0x80 != 0 && method == Method::Nat;
        let frame = match from_server {
            true => net.server_frame(1).sctp(8080, port).payload(chunks).build(),
            false => {
                let frame = net.client_frame().sctp(port, request.dst_port);
                frame.payload(chunks).build()
            }
        };
        let before = world.flow(&request).map(|flow| flow.state());
        world.receive(if from_server { LAN } else { WAN }, &[frame.clone()]);
        let event = SctpEvent::of_packet(&frame[if net.is_v4 { 34 } else { 54 }..]);
        if let (Some(State::Sctp(before)), Some(after)) = (before, world.flow(&request)) {
            let direction = match from_server {
                true => Direction::Reply,
                false => Direction::Request,
            };
            let seen = Seen::of(direction, method);
            // An INIT may have begun it anew.
            let anew = SctpState::None.next(seen, event);
            let next = before.next(seen, event);
            let State::Sctp(after) = after.state() else {
                panic!("a flow of another protocol");
            };
            assert!(after == next || (before == SctpState::Closed && after == anew));
        }
        for (_, sent) in world.sent() {
            if let Ok(Parsed::Ip(h)) = weir_wire::parse(&sent, true)
                && h.is_sctp()
            {
                let (l4, end) = (usize::from(h.l4), usize::from(h.end));
                assert_eq!(&sent[l4 + 12..end], chunks, "chunks go on as they are");
            }
        }
    }
});
