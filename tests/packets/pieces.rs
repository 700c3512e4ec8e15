//! In which fragments a packet leaves that came in fragments, and whose are put together at all.

use weir_core::io::PortId;
use weir_core::service::{Method, Protocol};
use weir_wire::builder::PacketBuilder;
use weir_wire::fragment::{self, Piece};
use weir_wire::tcp_flag::{ACK, PSH, SYN};
use weir_wire::{Parsed, protocol};

use crate::several_workers::{deliver, workers};
use crate::world::{Described, LAN, Net, WAN, World};

/// A datagram's service and one of TCP, with one server each.
fn services(net: &Net, method: Method) -> Vec<Described> {
    let each = [(1, Protocol::Udp, 53), (2, Protocol::Tcp, 80)].map(|(server, protocol, port)| {
        let mut service = Described::web(net, method);
        (service.key.protocol, service.key.port) = (protocol, port);
        service.servers = vec![(server, port, 1)];
        service
    });
    each.to_vec()
}

/// The packet of a frame in fragments that end at these places, and one with the rest.
fn cut_at(frame: &[u8], ends: &[u16], id: u32) -> Vec<Vec<u8>> {
    let Ok(Parsed::Ip(h)) = weir_wire::parse(frame, true) else {
        panic!("no packet");
    };
    let len = fragment::room(frame, &h, u16::MAX).len;
    let mut offset = 0;
    let pieces = ends.iter().copied().chain([len]).map(|end| {
        let piece = Piece {
            offset,
            len: end - offset,
            more: end < len,
        };
        offset = end;
        let mut fragment = frame[..14].to_vec();
        fragment.resize(14 + frame.len(), 0);
        let len = fragment::write_fragment(&mut fragment[14..], frame, &h, &piece, id);
        fragment.truncate(14 + len);
        fragment
    });
    pieces.collect()
}

/// Where each fragment that left begins, and how long it is.
fn seams(sent: &[(PortId, Vec<u8>)]) -> Vec<(u16, u16)> {
    let each = sent.iter().map(|(_, frame)| {
        let Ok(Parsed::Ip(h)) = weir_wire::parse(frame, true) else {
            panic!("no packet");
        };
        let info = fragment::info(frame, &h).or_else(|| fragment::atomic(frame, &h));
        info.map_or((0, h.end - h.l4), |info| (info.offset, h.end - info.at))
    });
    each.collect()
}

/// Length of the packet, where the fragments that come are cut, and those that leave: offset and length.
type Case = (u16, &'static [u16], &'static [(u16, u16)]);

/// As the kernel, which keeps them apart; compared with it by the scenarios `fragments/`.
#[test]
fn a_packet_leaves_in_the_fragments_that_it_came_in_while_they_fit() {
    let cases: [Case; 3] = [
        (1000, &[200, 800], &[(0, 200), (200, 600), (800, 208)]),
        (1000, &[800], &[(0, 800), (800, 208)]),
        (1400, &[8, 1200], &[(0, 8), (8, 1192), (1200, 208)]),
    ];
    // The kernel joins those of IPv4 for its own addresses, and cuts to the longest.
    let joined: [&[(u16, u16)]; 3] = [
        &[(0, 600), (600, 408)],
        &[(0, 800), (800, 208)],
        &[(0, 1192), (1192, 216)],
    ];
    for net in Net::both() {
        for method in [Method::Nat, Method::Dr, Method::FullNat] {
            for ((len, ends, as_came), joined) in cases.into_iter().zip(joined) {
                let expected = if net.is_v4 { joined } else { as_came };
                let mut world = World::new(&services(&net, method));
                let frame = net.client_frame().udp(4000, 53);
                let frame = frame.payload(&vec![7; usize::from(len)]).build();
                let mut fragments = cut_at(&frame, ends, 7);
                fragments.rotate_left(1);
                world.receive(WAN, &fragments);
                assert_eq!(seams(&world.sent()), expected, "{method:?}");
            }
        }
        // A reply, too.
        let mut world = World::new(&services(&net, Method::Nat));
        let ask = net.client_frame().udp(4000, 53).payload(b"?");
        world.receive(WAN, &[ask.build()]);
        world.sent();
        let reply = net.server_frame(1).udp(53, 4000).payload(&[8; 1000]);
        world.receive(LAN, &cut_at(&reply.build(), &[200, 800], 9));
        assert_eq!(seams(&world.sent()), cases[0].2);
    }
}

#[test]
fn it_is_cut_anew_where_a_tunnel_or_a_rewritten_header_moves_its_seams() {
    // The header of a segment that is rewritten is in one piece; behind it no seam is at 8 bytes.
    let net = Net::v4();
    let mut world = World::new(&services(&net, Method::Nat));
    world.receive(WAN, &[net.client_frame().tcp(4000, 80).flags(SYN).build()]);
    world.sent();
    let segment = net.client_frame().tcp(4000, 80).payload(&[7; 100]).build();
    world.receive(WAN, &cut_at(&segment, &[8, 72], 7));
    assert_eq!(seams(&world.sent()), [(0, 64), (64, 56)]);
    // IPv6 in IPv6: the packet's own header goes with its first fragment, as long as that fits 1280 bytes.
    let net = Net::v6();
    let mut world = World::new(&services(&net, Method::Tun));
    let datagram = net.client_frame().udp(4000, 53).payload(&[7; 2000]).build();
    world.receive(WAN, &cut_at(&datagram, &[800], 7));
    assert_eq!(seams(&world.sent()), [(0, 840), (840, 1208)]);
    world.receive(WAN, &cut_at(&datagram, &[1208], 8));
    assert_eq!(seams(&world.sent()), [(0, 1232), (1232, 816)]);
}

#[test]
fn what_reads_as_no_fragment_of_ipv6_is_linuxs() {
    let net = Net::v6();
    let mut world = World::new(&services(&net, Method::Nat));
    let segment = net
        .client_frame()
        .tcp(4000, 80)
        .flags(SYN)
        .payload(&[7; 100]);
    let datagram = net.client_frame().udp(4000, 53).payload(&[7; 100]);
    // Without all of the header, and of a length that none can follow.
    let headless = cut_at(&segment.build(), &[16], 7).remove(0);
    let odd = cut_at(&datagram.build(), &[44], 8).remove(0);
    world.receive(WAN, &[headless, odd]);
    world.assert_moved(&[("punted", 2)]);
}

#[test]
fn an_icmp_error_in_fragments_is_one() {
    for net in Net::both() {
        let mut world = World::new(&services(&net, Method::Nat));
        let ask = net.client_frame().udp(4000, 53).payload(b"?");
        world.receive(WAN, &[ask.build()]);
        world.sent();
        let quoted = net.client_frame().ip(net.client, net.server(1));
        let quoted = quoted.udp(4000, 53).payload(&[7; 400]).build_ip();
        let (unreachable, port) = if net.is_v4 { (3, 3) } else { (1, 4) };
        let error = net
            .server_frame(1)
            .icmp_error(unreachable, port, 0, &quoted);
        // What is rewritten of IPv6 is in the first fragment: else it would be cut anew, to 1280 bytes.
        let first = if net.is_v4 { 16 } else { 104 };
        world.receive(LAN, &cut_at(&error.build(), &[first, 200], 9));
        let sent = world.sent();
        assert!(sent.len() > 1 && sent.iter().all(|(port, _)| *port == WAN));
        for (_, frame) in &sent {
            let Ok(Parsed::Ip(h)) = weir_wire::parse(frame, true) else {
                panic!("no packet");
            };
            assert_eq!((h.src, h.dst), (net.vip, net.client));
        }
        // What is no error is Linux's, as it came.
        let echo = net
            .client_frame()
            .icmp(if net.is_v4 { 8 } else { 128 }, 0, 1);
        let echo = cut_at(&echo.payload(&[7; 400]).build(), &[200], 10);
        world.receive(WAN, &echo);
        let punted: Vec<_> = world.out.punted.drain(..).map(|(_, frame)| frame).collect();
        assert_eq!(punted, echo);
    }
}

#[test]
fn esp_in_fragments_follows_the_key_exchange() {
    for net in Net::both() {
        let mut service = Described::web(&net, Method::Nat);
        (service.key.protocol, service.key.port) = (Protocol::Udp, 500);
        service.servers = vec![(1, 500, 1)];
        let mut world = World::new(&[service]);
        world.receive(WAN, &[net.client_frame().udp(500, 500).build()]);
        world.sent();
        let packet = |frame: PacketBuilder| frame.raw(protocol::ESP).payload(&[7; 1000]).build();
        for (port, to, frame) in [
            (WAN, LAN, net.client_frame()),
            (LAN, WAN, net.server_frame(1)),
        ] {
            world.receive(port, &cut_at(&packet(frame), &[400], 9));
            let sent = world.sent();
            assert!(sent.iter().all(|(port, _)| *port == to));
            assert_eq!(seams(&sent), [(0, 400), (400, 600)]);
        }
    }
}

/// Where a server's packet may be one of FTP or not, two workers may have its flow, and its fragments find
/// the second, too.
#[test]
fn a_servers_reply_in_fragments_is_read_whichever_worker_has_its_control_connection() {
    const TEXT: &str = "227 Entering Passive Mode (10,0,0,1,156,64)\r\n";
    let mut told = 0;
    for n in 1..12 {
        let mut net = Net::v4();
        net.client = weir_wire::Addr::from_v4_bytes([198, 51, 100, n]);
        let mut ftp = Described::web(&net, Method::Nat);
        ftp.key.port = 21;
        // The worker cannot tell from the port that this server is one of FTP.
        ftp.servers = vec![(1, 8021, 1)];
        let mut worlds = workers(3, &[ftp]);
        let mut pass = |at: usize, port, packets: &[Vec<u8>]| {
            for (n, packet) in packets.iter().enumerate() {
                worlds[(at + n) % 3].receive(port, std::slice::from_ref(packet));
            }
            for _ in 0..4 {
                deliver(&mut worlds);
            }
            worlds.iter_mut().flat_map(World::sent).collect::<Vec<_>>()
        };
        let client = |flags, seq, ack, text: &str| {
            let tcp = net
                .client_frame()
                .tcp(5000, 21)
                .flags(flags)
                .seq(seq)
                .ack(ack);
            vec![tcp.payload(text.as_bytes()).build()]
        };
        let server = |flags, seq, ack, text: &str| {
            let tcp = net
                .server_frame(1)
                .tcp(8021, 5000)
                .flags(flags)
                .seq(seq)
                .ack(ack);
            tcp.payload(text.as_bytes()).build()
        };
        pass(0, WAN, &client(SYN, 1000, 0, ""));
        pass(0, LAN, &[server(SYN | ACK, 7000, 1001, "")]);
        pass(0, WAN, &client(ACK, 1001, 7001, ""));
        pass(0, WAN, &client(PSH | ACK, 1001, 7001, "PASV\r\n"));
        for at in 0..3 {
            let reply = server(PSH | ACK, 7001, 1007, TEXT);
            let sent = pass(
                at,
                LAN,
                &cut_at(&reply, &[24, 40], u32::from(n) * 3 + at as u32),
            );
            let text: Vec<u8> = sent
                .iter()
                .flat_map(|(_, frame)| frame[34..].to_vec())
                .collect();
            assert!(
                text.ends_with(b"(192,0,2,100,156,64)\r\n"),
                "client {n}, worker {at}"
            );
            told += 1;
        }
    }
    assert_eq!(told, 33);
}

#[test]
fn a_fragment_of_ipv4_that_goes_no_further_is_linuxs_by_itself() {
    let net = Net::v4();
    let mut world = World::new(&[]);
    world.mtu_wan = 1000;
    world.publish(&services(&net, Method::Nat), &[]);
    let ask = net.client_frame().udp(4000, 53).payload(b"?");
    world.receive(WAN, &[ask.build()]);
    world.moved();
    let reply = net.server_frame(1);
    for (reply, id) in [(reply.clone().ttl(1), 1), (reply.df(), 2)] {
        let reply = reply.udp(53, 4000).payload(&[8; 2000]).build();
        world.receive(LAN, &cut_at(&reply, &[1200], id)[..1]);
        world.assert_moved(&[("punted", 1)]);
    }
}
