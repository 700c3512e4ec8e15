//! Fragments of a few packets, in any order and any state of repair: what is put together is what
//! was sent, everything that leaves is right, and in the end nothing waits.
//!
//! An input is a list of fragments, six bytes each: which packet, where it begins and ends in units
//! of 8 bytes, what more is wrong with it.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use weir_core::service::{Method, Protocol};
use weir_wire::{Parsed, parse, protocol};
use world::{Described, Net, WAN, World};

const METHODS: [Method; 4] = [Method::Nat, Method::Dr, Method::Tun, Method::FullNat];

fn services() -> Vec<Described> {
    let mut all = Vec::new();
    for net in Net::both() {
        for (n, method) in METHODS.into_iter().enumerate() {
            let mut service = Described::web(&net, method);
            (service.key.protocol, service.key.port) = (Protocol::Udp, 80 + n as u16);
            service.servers = vec![(all.len() as u8 + 1, service.key.port, 1)];
            all.push(service);
        }
    }
    all
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new(&services());
    let mut received = 0;
    for step in input.chunks_exact(6) {
        let &[which, from, to, more, wrong, value] = step else {
            return;
        };
        let net = Net::both()[usize::from(which & 1)];
        let method = which >> 1 & 3;
        let (from, to) = (
            u16::from(from) * 8,
            u16::from(to) * 8 + u16::from(value & 7),
        );
        // The payload of each packet: ports, length, no checksum, then numbers.
        let mut datagram = vec![0x10, method, 0, 80 + method, 0, 0, 0, 0];
        datagram.extend((8..2100u32).map(|n| n as u8));
        datagram[4..6].copy_from_slice(&2100u16.to_be_bytes());
        let piece = &datagram[usize::from(from)..usize::from(to.max(from)).min(2100)];
        let frame = net
            .client_frame()
            .id(u32::from(which >> 3))
            .fragment(from, more & 1 != 0);
        let frame = if more & 2 != 0 { frame.df() } else { frame };
        let frame = frame.tos(more >> 2 & 3);
        let mut frame = frame.raw(protocol::UDP).payload(piece).build();
        match wrong {
            0xff => frame.truncate(usize::from(value)),
            0xfe => {
                if let Some(byte) = frame.get_mut(usize::from(value)) {
                    *byte ^= more;
                }
            }
            0xfd => {
                world.later(u32::from(value));
                world.housekeep();
            }
            _ => {}
        }
        received += 1;
        world.receive(WAN, &[frame]);
        for (_, frame) in world.sent() {
            let Ok(Parsed::Ip(h)) = parse(&frame, true) else {
                panic!("what leaves does not parse");
            };
            assert!(usize::from(h.end) == frame.len());
        }
    }
    world.later(61);
    for _ in 0..8 {
        world.housekeep();
    }
    let drops = weir_core::counters::DropReason::ALL;
    let counters = world.counters();
    let ended: u64 = drops.iter().map(|reason| counters.drops(*reason)).sum();
    let whole = counters.reassembled.get();
    let passed = counters.forwarded.get() + counters.punted.get() + ended;
    assert!(passed <= received && passed >= whole, "lost count");
});
