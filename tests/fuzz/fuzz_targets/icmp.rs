//! ICMP errors about flows of every method and kind of tunnel, with anything done to what they
//! quote: whatever is passed on is right in itself.
//!
//! An input is a list of steps of six bytes: which flow, which error, how much is quoted, and one
//! byte of it that is changed.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use weir_core::service::{Method, Tunnel};
use weir_wire::builder::PacketBuilder;
use weir_wire::{Headers, Parsed, icmp, parse};
use world::{Described, LAN, LAN_MAC, Net, WAN, World, server_mac};

const WAYS: [(Method, Tunnel); 6] = [
    (Method::Nat, Tunnel::Ipip),
    (Method::Dr, Tunnel::Ipip),
    (Method::FullNat, Tunnel::Ipip),
    (Method::Tun, Tunnel::Ipip),
    (Method::Tun, Tunnel::Gre { checksum: true }),
    (
        Method::Tun,
        Tunnel::Gue {
            port: 6080,
            checksum: false,
        },
    ),
];

fn services() -> Vec<Described> {
    let mut all = Vec::new();
    for net in Net::both() {
        for (n, (method, tunnel)) in WAYS.into_iter().enumerate() {
            let mut service = Described::web(&net, method);
            service.tunnel = tunnel;
            service.key.port = 80 + n as u16;
            service.servers = vec![(all.len() as u8 + 1, service.key.port, 1)];
            all.push(service);
        }
    }
    all
}

fn headers(frame: &[u8]) -> Headers {
    match parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("what leaves does not parse: {other:?}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new(&services());
    let mut sent = Vec::new();
    for net in Net::both() {
        for n in 0..WAYS.len() as u16 {
            let open = net.client_frame().tcp(4000, 80 + n).flags(2).build();
            world.receive(WAN, &[open]);
            sent.extend(world.sent().into_iter().map(|(_, frame)| (net, frame)));
        }
    }
    for step in input.chunks_exact(6) {
        let &[which, kind, code, keep, at, value] = step else {
            return;
        };
        let (net, about) = &sent[usize::from(which) % sent.len()];
        let h = headers(about);
        let mut quoted = about[usize::from(h.l3)..].to_vec();
        quoted.truncate(usize::from(keep));
        if let Some(byte) = quoted.get_mut(usize::from(at)) {
            *byte ^= value;
        }
        let (port, frame) = match which & 0x40 {
            0 => {
                let from = server_mac(9);
                let to = if value & 1 == 0 { h.src } else { net.client };
                (LAN, PacketBuilder::eth(from, LAN_MAC).ip(net.server(9), to))
            }
            _ => (WAN, net.client_frame()),
        };
        let told = frame.icmp_error(kind & 15, code & 15, u32::from(code) << 4, &quoted);
        world.receive(port, &[told.build()]);
        for (_, frame) in world.sent() {
            let h = headers(&frame);
            assert!(
                !h.is_icmp() || icmp::checksum_ok(&frame, &h),
                "a wrong checksum leaves"
            );
        }
    }
});
