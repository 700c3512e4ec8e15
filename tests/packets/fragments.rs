//! Packets that come in fragments: scheduled once, and sent on in fragments.

use weir_core::counters::DropReason;
use weir_core::io::PortId;
use weir_core::service::{Method, Protocol};
use weir_core::steer::Steering;
use weir_wire::builder::PacketBuilder;
use weir_wire::{Headers, Parsed, checksum, fragment, protocol};

use crate::several_workers::{by_device, deliver, workers};
use crate::world::{Described, LAN, LAN_MAC, Net, WAN, World, server_mac};

const METHODS: [Method; 4] = [Method::Nat, Method::Dr, Method::Tun, Method::FullNat];

/// UDP port 53 of the VIP over server 1.
fn dns(net: &Net, method: Method) -> Described {
    let mut service = Described::web(net, method);
    (service.key.protocol, service.key.port) = (Protocol::Udp, 53);
    service.servers = vec![(1, 53, 1)];
    service
}

fn headers(frame: &[u8]) -> Headers {
    match weir_wire::parse(frame, true) {
        Ok(Parsed::Ip(headers)) => headers,
        other => panic!("{other:?}"),
    }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

/// The packet in fragments of up to `mtu` bytes.
pub(crate) fn cut(frame: &[u8], mtu: u16, id: u32) -> Vec<Vec<u8>> {
    // Longer than a frame, so it is read as a packet.
    let packet = &frame[14..];
    let h = weir_wire::parse_ip(packet, 0, true).expect("a packet");
    let pieces = fragment::plan(packet, &h, mtu);
    let piece = |piece| {
        let mut fragment = frame[..14].to_vec();
        fragment.resize(14 + usize::from(mtu), 0);
        let len = fragment::write_fragment(&mut fragment[14..], packet, &h, &piece, id);
        fragment.truncate(14 + len);
        fragment
    };
    pieces.map(piece).collect()
}

/// What fragments carry together, and the headers of the first. They come in order.
fn joined(frames: &[(PortId, Vec<u8>)]) -> (Headers, Vec<u8>) {
    let mut whole = Vec::new();
    let first = headers(&frames[0].1);
    for (n, (_, frame)) in frames.iter().enumerate() {
        let h = headers(frame);
        let info = fragment::info(frame, &h).or_else(|| fragment::atomic(frame, &h));
        let info = info.expect("a fragment");
        assert_eq!(usize::from(info.offset), whole.len());
        assert_eq!(info.more, n + 1 < frames.len());
        assert!(h.packet_len() <= 1500);
        whole.extend(&frame[usize::from(info.at)..usize::from(h.end)]);
    }
    (first, whole)
}

/// Ports, payload and checksum of a datagram between these.
fn check_udp(first: &Headers, datagram: &[u8], ports: (u16, u16), expected: &[u8]) {
    let port = |at| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    assert_eq!((port(0), port(2)), ports);
    assert_eq!(&datagram[8..], expected);
    let len = datagram.len() as u32;
    let pseudo = checksum::pseudo_header(first.src, first.dst, protocol::UDP, len);
    assert_eq!(checksum::finish(checksum::sum(datagram, pseudo)), 0);
}

/// Bursts of up to 32.
fn receive_all(world: &mut World, port: PortId, frames: &[Vec<u8>]) {
    for frames in frames.chunks(32) {
        world.receive(port, frames);
    }
}

#[test]
fn a_datagram_of_any_length_passes_in_any_order() {
    for net in Net::both() {
        for method in METHODS {
            for (len, mtu) in [(100, 88), (3000, 1400), (8192, 1280), (65_000, 1400)] {
                if mtu < 1280 && !net.is_v4 {
                    continue;
                }
                let mut limits = crate::world::limits();
                limits.fragments = 128;
                let mut world = World::worker(0, 1, limits, &[dns(&net, method)]);
                let data = payload(len);
                let frame = net.client_frame().udp(4000, 53).payload(&data).build();
                let mut pieces = cut(&frame, mtu, 7);
                let whole = headers(&pieces[0]).l3;
                assert!(pieces.len() > 1 && whole == 14);
                pieces.reverse();
                pieces.rotate_left(1);
                receive_all(&mut world, WAN, &pieces);
                let sent = world.sent();
                assert!(sent.iter().all(|(port, _)| *port == LAN), "{method:?}");
                let (first, datagram) = joined(&sent);
                let port = match method {
                    Method::FullNat => 0,
                    _ => 4000,
                };
                match method {
                    Method::Tun => {
                        let inner = weir_wire::parse_ip(&datagram, 0, true).expect("a packet");
                        assert_eq!((inner.src, inner.dst), (net.client, net.vip));
                        let inside = &datagram[usize::from(inner.l4)..];
                        check_udp(&inner, inside, (4000, 53), &data);
                    }
                    Method::FullNat => {
                        assert_eq!(first.dst, net.server(1));
                        let own = u16::from_be_bytes([datagram[0], datagram[1]]);
                        check_udp(&first, &datagram, (own, 53), &data);
                    }
                    _ => {
                        let dst = if method == Method::Nat {
                            net.server(1)
                        } else {
                            net.vip
                        };
                        assert_eq!((first.src, first.dst), (net.client, dst));
                        check_udp(&first, &datagram, (port, 53), &data);
                    }
                }
                let counters = world.counters();
                let server = &counters.servers[1];
                assert_eq!(server.packets_in.get(), 1);
                let bytes = frame.len() as u64 - 14;
                assert_eq!(server.bytes_in.get(), bytes, "of the whole");
                assert_eq!(
                    (counters.reassembled.get(), counters.forwarded.get()),
                    (1, 1)
                );
                let drops = DropReason::ALL.iter().map(|reason| counters.drops(*reason));
                assert_eq!(drops.sum::<u64>(), 0);
            }
        }
    }
}

#[test]
fn a_reply_in_fragments_reaches_the_client_in_the_name_of_the_service() {
    for net in Net::both() {
        let mut world = World::new(&[dns(&net, Method::Nat)]);
        world.receive(
            WAN,
            &[net.client_frame().udp(4000, 53).payload(b"?").build()],
        );
        world.sent();
        let data = payload(8192);
        for with_checksum in [true, false] {
            let reply = net.server_frame(1);
            let reply = match with_checksum {
                true => reply.udp(53, 4000),
                // It is filled in, as that of a whole packet.
                false => reply.udp_without_checksum(53, 4000),
            };
            let reply = reply.payload(&data).build();
            world.receive(LAN, &cut(&reply, 1400, 9));
            let sent = world.sent();
            assert!(sent.iter().all(|(port, _)| *port == WAN));
            let (first, datagram) = joined(&sent);
            assert_eq!((first.src, first.dst), (net.vip, net.client));
            check_udp(&first, &datagram, (53, 4000), &data);
        }
    }
}

#[test]
fn fragments_at_any_worker_come_together_at_the_flows_owner() {
    for net in Net::both() {
        for method in METHODS {
            for steering in [Steering::by_client(3), by_device(3), Steering::by_client(8)] {
                let services = [dns(&net, method)];
                let mut worlds = workers(steering, &services);
                let count = worlds.len();
                for client in 0..40u16 {
                    let data = payload(4000 + usize::from(client));
                    let frame = net.client_frame().udp(4000 + client, 53).payload(&data);
                    let pieces = cut(&frame.build(), 1300, u32::from(client));
                    for (n, piece) in pieces.iter().enumerate() {
                        let at = (n + usize::from(client)) % count;
                        worlds[at].receive(WAN, std::slice::from_ref(piece));
                    }
                    // To the worker that gathers, and on to the owner.
                    let handed = deliver(&mut worlds) + deliver(&mut worlds);
                    assert!(handed <= 2 * pieces.len());
                    assert_eq!(deliver(&mut worlds), 0);
                    let sent: Vec<_> = worlds.iter_mut().map(World::sent).collect();
                    let senders = sent.iter().filter(|sent| !sent.is_empty()).count();
                    assert_eq!(senders, 1);
                    let sent = sent.concat();
                    let (_, datagram) = joined(&sent);
                    assert!(datagram.len() >= data.len());
                }
                let flows: usize = worlds
                    .iter()
                    .map(|world| world.director.flows().len())
                    .sum();
                assert_eq!(flows, 40);
                let sum = |of: fn(&World) -> u64| worlds.iter().map(of).sum::<u64>();
                assert_eq!(sum(|world| world.counters().reassembled.get()), 40);
                assert_eq!(
                    sum(|world| world.counters().servers[1].packets_in.get()),
                    40
                );
            }
        }
    }
}

#[test]
fn what_came_in_fragments_goes_to_linux_as_it_came() {
    for net in Net::both() {
        let mut world = World::new(&[dns(&net, Method::Nat)]);
        let frame = net.client_frame().udp(4000, 54).payload(&payload(3000));
        let pieces = cut(&frame.build(), 1300, 7);
        world.receive(WAN, &pieces);
        let punted: Vec<_> = world.out.punted.drain(..).map(|(_, frame)| frame).collect();
        assert_eq!(punted, pieces);
        world.assert_moved(&[("punted", 3), ("reassembled", 1)]);
        // Where there is no Linux, Weir answers about the whole.
        world.out.without_twin.push(WAN);
        world.receive(WAN, &pieces);
        let (port, answer) = world.only_sent();
        let h = headers(&answer);
        assert_eq!((port, h.src, h.dst), (WAN, net.vip, net.client));
        let quoted = &answer[weir_wire::icmp::quoted_at(&h)..];
        let len = if net.is_v4 { 548 } else { 1232 };
        let whole = frame.build_ip();
        assert_eq!(quoted.len(), len);
        assert_eq!(
            quoted[if net.is_v4 { 20 } else { 40 }..],
            whole[if net.is_v4 { 20 } else { 40 }..len]
        );
    }
}

#[test]
fn a_packet_that_misses_a_fragment_ends_in_time() {
    for (net, seconds) in [(Net::v4(), 30), (Net::v6(), 60)] {
        // A fragment to a local address of FullNAT must not reach Linux either.
        let mut world = World::new(&[dns(&net, Method::FullNat)]);
        let stray = PacketBuilder::eth(server_mac(1), LAN_MAC)
            .ip(net.server(1), net.local(0))
            .fragment(0, true)
            .udp(53, 5000)
            .payload(&[0; 64]);
        world.receive(LAN, &[stray.build()]);
        world.later(seconds - 1);
        world.housekeep();
        world.assert_moved(&[]);
        world.later(1);
        world.housekeep();
        world.assert_moved(&[("drop.fragment_timeout", 1)]);
    }
}

#[test]
fn fragments_longer_than_the_next_link_are_told_so() {
    // Of IPv6 nobody but its source may cut them smaller; of IPv4 DF forbids it.
    for net in Net::both() {
        let mut world = World::new(&[]);
        world.mtu_lan = 1300;
        world.publish(&[dns(&net, Method::Nat)], &[]);
        let frame = net.client_frame().udp(4000, 53).payload(&payload(3000));
        let frame = if net.is_v4 { frame.df() } else { frame };
        world.receive(WAN, &cut(&frame.build(), 1400, 7));
        let (port, answer) = world.only_sent();
        let h = headers(&answer);
        assert_eq!((port, h.src), (WAN, net.vip));
        assert_eq!(weir_wire::icmp::too_big_mtu(&answer, &h), Some(1300));
        if net.is_v4 {
            // Without, they are cut again.
            let frame = net.client_frame().udp(4000, 53).payload(&payload(3000));
            world.receive(WAN, &cut(&frame.build(), 1400, 8));
            let sent = world.sent();
            assert!(sent.iter().all(|(_, frame)| frame.len() <= 1314));
            joined(&sent);
        }
    }
}

#[test]
fn overlapping_fragments_end_with_their_packet() {
    for net in Net::both() {
        let mut world = World::new(&[dns(&net, Method::Nat)]);
        let frame = net.client_frame().udp(4000, 53).payload(&payload(3000));
        let pieces = cut(&frame.build(), 1300, 7);
        let other = cut(&frame.build(), 1308, 7);
        world.receive(
            WAN,
            &[pieces[0].clone(), other[1].clone(), pieces[1].clone()],
        );
        world.assert_moved(&[("drop.fragment_overlap", 3)]);
    }
}

#[test]
fn a_fragmented_request_to_the_director_itself_reaches_linux_in_its_own_terms() {
    let net = Net::v4();
    let mut service = dns(&net, Method::Nat);
    // 10.0.0.254 is the director.
    service.servers = vec![(1, 5353, 1)];
    service.servers_of = net;
    let mut world = World::new(&[]);
    world.own_addresses = vec![net.server(1)];
    world.publish(&[service], &[]);
    let whole = net
        .client_frame()
        .udp(4000, 53)
        .payload(&payload(3000))
        .build();
    world.receive(WAN, &cut(&whole, 1300, 7));
    let punted = std::mem::take(&mut world.out.punted);
    let (first, datagram) = joined(&punted);
    assert_eq!((first.dst, first.ttl), (net.server(1), 64));
    check_udp(&first, &datagram, (4000, 5353), &payload(3000));
    let syn = net.client_frame().udp(4001, 53).payload(b"one").build();
    world.receive(WAN, &[syn]);
    let h = headers(&world.out.punted[0].1);
    assert_eq!((h.dst, h.dst_port, h.ttl), (net.server(1), 5353, 64));
    assert!(world.sent().is_empty());
}

/// RFC 1122 §3.3.2, RFC 8200 §4.5; where no replies are seen it counts as one, as in the kernel.
#[test]
fn who_sent_the_first_fragment_hears_that_others_did_not_come() {
    for (net, seconds, kind) in [(Net::v4(), 30, (11, 1)), (Net::v6(), 60, (3, 1))] {
        for (method, counted) in [(Method::Nat, 0), (Method::Dr, 1)] {
            let mut world = World::new(&[dns(&net, method)]);
            world.receive(
                WAN,
                &[net.client_frame().udp(4000, 53).payload(b"?").build()],
            );
            world.sent();
            let frame = net.client_frame().udp(4000, 53).payload(&payload(3000));
            let pieces = cut(&frame.build(), 1300, 7);
            // Of one packet the first is missing, of the other the last.
            world.receive(WAN, &pieces[..2]);
            world.receive(WAN, &cut(&frame.clone().id(8).build(), 1300, 8)[1..]);
            world.later(seconds);
            world.housekeep();
            let (port, told) = world.only_sent();
            let h = headers(&told);
            assert_eq!((port, h.src, h.dst), (WAN, net.vip, net.client));
            assert_eq!((h.icmp_type, h.icmp_code), kind);
            let quoted = &told[weir_wire::icmp::quoted_at(&h)..];
            assert_eq!(quoted, &pieces[0][14..14 + quoted.len()]);
            let counters = world.counters();
            let server = &counters.servers[1];
            assert_eq!(server.packets_out.get(), counted);
            assert_eq!(server.bytes_out.get(), counted * h.packet_len() as u64);
            assert_eq!(counters.drops(DropReason::FragmentTimeout), 4);
        }
    }
}
